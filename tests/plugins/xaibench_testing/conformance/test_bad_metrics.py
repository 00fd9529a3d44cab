"""Metrics made wrong on purpose fail the check that is there for it, and good ones pass."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from toys import DROP, GoodMetric, failing

from xaibench import hold_component
from xaibench.api import Curve, Forward, MetricRecord, Passes, Score, Scores, ScoreSpec, SetCase
from xaibench_testing import check_component, check_names


def ids(rows):
    return [f"{cls.__name__}-{check}" for cls, _, check, _ in rows]


class Undescribed(GoodMetric):
    scores = (replace(DROP, description=""),)


class NoWhyNot(GoodMetric):
    scores = (replace(DROP, ranks_evidence=False),)


class SpreadOfNone(GoodMetric):
    """Names a score that holds how far ties move it, and declares none."""

    scores = (replace(DROP, tie_spread="tie-spread"),)


class EmptyRange(GoodMetric):
    scores = (replace(DROP, low=1, high=1),)

    def scored(self, case, drop):
        return Scores((Score(name="drop", value=1.0),))


class AlwaysHalf(GoodMetric):
    def scored(self, case, drop):
        return Scores((Score(name="drop", value=0.5),))


class WrongWay(GoodMetric):
    scores = (replace(DROP, better="lower"),)


class OutOfRange(GoodMetric):
    def scored(self, case, drop):
        return Scores((Score(name="drop", value=drop * 5),))


class NanScore(GoodMetric):
    def scored(self, case, drop):
        return Scores((Score(name="drop", value=math.nan),))


class Unreasoned(GoodMetric):
    def scored(self, case, drop):
        return Scores((Score(name="drop", status="undefined"),))


class OtherName(GoodMetric):
    def scored(self, case, drop):
        return Scores((Score(name="fall", value=drop),))


class SaidTwice(GoodMetric):
    def scored(self, case, drop):
        return Scores((Score(name="drop", value=drop), Score(name="drop", value=drop)))


class RaggedCurve(GoodMetric):
    def scored(self, case, drop):
        return Scores((Score(name="drop", value=drop),), (Curve(name="drop", x=[0, 1], y=[drop]),))


class NoiseMetric(GoodMetric):
    def scored(self, case, drop):
        return Scores((Score(name="drop", value=drop * (1 - 1e-3 * float(torch.rand(())))),))


class Stateful(GoodMetric):
    """Adds a trifle for every case seen on one bench."""

    def scored(self, case, drop):
        bench = vars(case.artefacts._bench)
        bench["count"] = bench.get("count", 0) + 1
        return Scores((Score(name="drop", value=drop * (1 - bench["count"] / 1000)),))


class ChangesMap(GoodMetric):
    def score(self, case):
        case.explanation.map.mul_(2)
        return (yield from super().score(case))


class ChangesPicture(GoodMetric):
    def score(self, case):
        case.picture.image.mul_(0.999)
        return (yield from super().score(case))


class Cheaper(GoodMetric):
    def passes(self, query):
        return Passes()


class Dearer(GoodMetric):
    def passes(self, query):
        return Passes(forward=2)


class RowByRow(GoodMetric):
    """A pass for every row of the picture, said to be 33 at most."""

    def score(self, case):
        image = case.picture.image
        yield Forward(image.expand(image.shape[1], -1, -1, -1))
        return (yield from super().score(case))

    def passes(self, query):
        return Passes(forward=33, exact=False)


class SharesNothing(GoodMetric):
    """Declares that others may do its pass, and does it again."""

    def shared(self, query):
        return {"drop": Passes(forward=1)}


class SharesMore(GoodMetric):
    def shared(self, query):
        return {"drop": Passes(forward=1), "more": Passes(forward=1)}


class NeedsMask(GoodMetric):
    def score(self, case):
        if case.picture.mask is None:
            return Scores.undefined(self.scores, "no mask")
        return (yield from super().score(case))


class AccompaniedByNone(GoodMetric):
    def accompanied_by(self):
        return ("no-such-metric",)


class AccompaniedByText(GoodMetric):
    def accompanied_by(self):
        return "fill-response"


class ItemsOfSamples(GoodMetric):
    scores = (replace(GoodMetric.scores[0], item_is_sample=True),)


class NanOnConstant(GoodMetric):
    def score(self, case):
        saliency = case.explanation.map
        spread = float((saliency - saliency.min()).max())
        reply = yield Forward((case.picture.image * ~self.top(saliency))[None])
        return self.scored(case, float(case.clean[1] - reply[0, 1]) * (1.0 if spread else math.nan))


class DividesByChange(GoodMetric):
    """No value on a picture whose score does not change at all."""

    def scored(self, case, drop):
        return Scores((Score(name="drop", value=drop if drop else math.nan),))


def metric(instance, **record):
    fields = {"name": "toy", "target": "toys:Toy", "summary": "a toy", "family": "faithfulness", **record}
    fields.setdefault("better", instance.scores[0].better if instance.scores else "none")
    return hold_component(MetricRecord(**fields), instance)


BAD_METRICS = [
    (Undescribed, {}, "declarations", {"declarations"}),
    (NoWhyNot, {}, "declarations", {"declarations"}),
    (SpreadOfNone, {}, "declarations", {"declarations"}),
    (AccompaniedByNone, {}, "declarations", {"declarations"}),
    (AccompaniedByText, {}, "declarations", {"declarations"}),
    (ItemsOfSamples, {}, "declarations", {"declarations"}),
    (EmptyRange, {}, "declarations", {"declarations", "evidence"}),
    (AlwaysHalf, {}, "evidence", {"evidence"}),
    (WrongWay, {}, "evidence", {"evidence"}),
    (OutOfRange, {}, "values", None),
    (NanScore, {}, "values", None),
    (Unreasoned, {}, "values", None),
    (OtherName, {}, "values", None),
    (SaidTwice, {}, "values", {"values"}),
    (RaggedCurve, {}, "values", None),
    (NoiseMetric, {}, "determinism", {"determinism", "order", "batch-mates"}),
    (Stateful, {}, "order", {"order", "batch-mates"}),
    (ChangesMap, {}, "mutation", {"mutation"}),
    (ChangesPicture, {}, "mutation", {"mutation"}),
    (Cheaper, {}, "passes", {"passes"}),
    (Dearer, {}, "passes", {"passes"}),
    (RowByRow, {}, "passes", {"passes"}),
    (SharesNothing, {}, "shared", {"shared"}),
    (SharesMore, {}, "shared", {"shared"}),
    (NeedsMask, {}, "values", {"values"}),
    (GoodMetric, {"needs": frozenset({"mask"})}, "needs", {"needs"}),
    (GoodMetric, {"needs": frozenset({"gradients"})}, "needs", {"needs"}),
    (GoodMetric, {"needs": frozenset({"family"})}, "declarations", {"declarations"}),
    (NanOnConstant, {}, "awkward-maps", {"awkward-maps"}),
    (DividesByChange, {}, "awkward", None),
]


@pytest.mark.parametrize(("cls", "record", "check", "exactly"), BAD_METRICS, ids=ids(BAD_METRICS))
def test_a_bad_metric_fails(cls, record, check, exactly):
    results = check_component(metric(cls(), **record))
    assert check in failing(results)
    assert exactly is None or failing(results) == exactly


class Agreement:
    """Over a set: how well each map agrees with the next."""

    scores = (
        ScoreSpec(
            name="agreement",
            better="higher",
            low=-1,
            high=1,
            why_not="a wrong map repeated agrees",
            description="mean correlation of neighbouring maps",
        ),
    )

    def score(self, case: SetCase):
        maps = [c.explanation.map.flatten() for cases in case.members.values() for c in cases]
        pairs = [torch.stack(p) for p in pairwise(maps) if all(m.std() > 0 for m in p)]
        if not pairs:
            return Scores.undefined(self.scores, "fewer than two maps that vary")
        mean = sum(float(torch.corrcoef(p.double())[0, 1]) for p in pairs) / len(pairs)
        return Scores((Score(name="agreement", value=mean),))

    def passes(self, query):
        return Passes()


class SetDrop(GoodMetric):
    """The mean drop over a set: one forward pass a map."""

    def score(self, case: SetCase):
        drops = []
        for c in (c for cases in case.members.values() for c in cases):
            shown = c.picture.image * ~self.top(c.explanation.map)
            reply = yield Forward(shown[None], detector=c.detector)
            drops.append(float(c.clean[c.target] - reply[0, c.target]))
        if not drops:
            return Scores.undefined(self.scores, "no maps")
        return self.scored(case, sum(drops) / len(drops))


class NeedsMaps(SetDrop):
    def score(self, case: SetCase):
        found = yield from super().score(case)
        drop = found.values[0].value
        return self.scored(case, math.nan if drop is None else drop)


class CheaperSet(SetDrop):
    def passes(self, query):
        return Passes()


@pytest.mark.parametrize(
    "use",
    [
        metric(GoodMetric()),
        metric(NeedsMask(), needs=frozenset({"mask"})),
        metric(Agreement(), scope="detector"),
        metric(Agreement(), scope="family", needs=frozenset({"family"})),
        metric(SetDrop(), scope="detector"),
        metric(SetDrop(), scope="family", needs=frozenset({"family"})),
    ],
    ids=["sample", "mask", "detector", "family", "detector-passes", "family-passes"],
)
def test_a_good_metric_passes(use):
    results = check_component(use)
    assert [r for r in results if r.status == "fail"] == []
    assert [r.name for r in results] == list(check_names("metric"))


def test_a_set_metric_that_cannot_do_without_maps_fails():
    assert failing(check_component(metric(NeedsMaps(), scope="detector"))) == {"few"}


def test_a_set_metric_that_costs_more_than_it_says_fails():
    assert failing(check_component(metric(CheaperSet(), scope="detector"))) == {"passes"}
