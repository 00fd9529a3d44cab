"""Components that are right, for tests of the kit to bend."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from xaibench.api import Explanation, Forward, MapCase, Passes, Score, Scores, ScoreSpec
from xaibench.store.map_rows import stored_form


def stored(saliency):
    """A map as a metric sees it: after float16 storage."""
    return stored_form(Explanation(map=saliency)).map


def failing(results):
    """Names of the checks that failed."""
    return {r.name for r in results if r.status == "fail"}


class GoodExplainer:
    """Six random masks weighted by the target's probability."""

    def explain(self, request):
        masks = self.masks(request)
        scores = yield Forward(request.picture.image * masks[:, None])
        return self.explanation(request, torch.tensordot(scores[:, request.target], masks, dims=1) / 6)

    def masks(self, request):
        grid = (torch.rand((1, 6, 4, 6), generator=self.generator(request)) < 0.5).float()
        return functional.interpolate(grid, size=tuple(request.picture.image.shape[1:]), mode="nearest")[0]

    def generator(self, request):
        return request.streams.torch("masks")

    def explanation(self, request, saliency):
        return Explanation(map=saliency)

    def passes(self, query):
        return Passes(forward=6)


class Plain:
    """An explainer without passes: the picture's brightness."""

    def explain(self, request):
        return Explanation(map=request.picture.image.mean(dim=0))

    def passes(self, query):
        return Passes()


DROP = ScoreSpec(name="drop", better="higher", low=-1, high=1, ranks_evidence=True, description="loss of probability")


class GoodMetric:
    """How much the target's probability falls when the most salient eighth of the pixels goes black."""

    scores = (DROP,)

    def score(self, case: MapCase):
        saliency = case.explanation.map
        if saliency.min() == saliency.max():
            return Scores.undefined(self.scores, "the map is constant")
        reply = yield Forward((case.picture.image * ~self.top(saliency))[None])
        return self.scored(case, float(case.clean[case.target] - reply[0, case.target]))

    def top(self, saliency: Tensor):
        k = saliency.numel() // 8
        chosen = torch.zeros(saliency.numel(), dtype=torch.bool)
        chosen[saliency.flatten().argsort(descending=True, stable=True)[:k]] = True
        return chosen.view(saliency.shape)

    def scored(self, case, drop):
        return Scores((Score(name="drop", value=drop),))

    def passes(self, query):
        return Passes(forward=1)
