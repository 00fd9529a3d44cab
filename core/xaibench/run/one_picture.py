"""One picture in front of one detector: its verdict, maps of it, and scores of maps, exactly as a run makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from xaibench.api import (
    SAMPLE_NEEDS,
    Detector,
    Done,
    Explanation,
    Forward,
    Picture,
    PlanError,
    Programme,
    Scores,
    UsageError,
    check_target_rule,
    describe_error,
    resolve_target,
    verdict,
)
from xaibench.data.arrays import PictureArrays
from xaibench.detector.batch_size import compute_batch
from xaibench.discovery.components import Use, open_component
from xaibench.discovery.registry import Registry
from xaibench.plan.cells import lacking
from xaibench.run.measure import validate_scores
from xaibench.run.workbench import Bench


@dataclass(frozen=True)
class OnePicture:
    """The first picture of ``pictures``, shown to ``detector``; a second one is its real counterpart."""

    detector: Detector
    pictures: PictureArrays
    registry: Registry
    seed: int = 0

    @cached_property
    def bench(self) -> Bench:
        """One for everything, so that what explainers and metrics share is made once."""
        return Bench(
            self.detector, self.pictures, self.pictures.samples(), self.registry,
            seed=self.seed, batch_size=compute_batch(self.detector),
        )  # fmt: skip

    @cached_property
    def picture(self) -> Picture:
        return self.bench.picture(self.pictures.samples()[0].id)

    @cached_property
    def probabilities(self) -> tuple[float, ...]:
        """Class probabilities of the untouched picture. Raises what the detector raised."""

        def predict() -> Programme[tuple[float, ...]]:
            reply = yield Forward(self.picture.image[None])
            return tuple(float(p) for p in reply[0])

        probabilities: tuple[float, ...] = _value(self.bench.engine().run_one(predict))
        return probabilities

    @property
    def verdict(self) -> str:
        """``real`` or ``fake``, at the detector's threshold."""
        return verdict(self.probabilities, self.detector.facts)

    def target(self, rule: str) -> int:
        """The class that a rule or a class name means here. Raises :class:`UsageError` for what is neither, and for
        ``label``, which nobody knows of a picture from outside a dataset."""
        if rule == "label":
            raise UsageError(
                "a picture from outside a dataset has no label", "use predicted, fake, real or a class name"
            )
        check_target_rule(rule, self.detector.facts)
        return resolve_target(rule, self.picture.sample, self.probabilities, self.detector.facts)

    def explain(self, use: Use, target: int) -> Explanation:
        """The map, or the status and reason why there is none: an exception of the explainer is ``failed``."""
        reason = self.refusal(use)
        if reason:
            return Explanation(map=None, status="not_applicable", reason=reason)
        done: Done[Explanation] = self.bench.engine().run_one(
            lambda: self.bench.explanation(use, self.picture, target, 0)
        )
        if done.value is None:
            why = describe_error(done.error) if done.error else "no explanation came back"
            return Explanation(map=None, status="failed", reason=why)
        return done.value

    def refusal(self, use: Use) -> str:
        """What the explainer needs and this detector or picture does not give; empty where it can run."""
        needs = explainer_needs(use, self.registry)
        sample = self.picture.sample
        gives = {"mask": sample.has_mask, "pair": sample.pair is not None, "landmarks": sample.has_landmarks}
        absent = sorted(n for n in needs & SAMPLE_NEEDS if not gives.get(n))
        if reason := lacking(needs, self.detector.facts):
            return reason
        return f"needs {absent[0]}: a picture by itself has none (eval on a dataset that does)" if absent else ""

    def score(self, metric: Use, explainer: Use, explanation: Explanation, target: int) -> Scores:
        """The scores of a map in its stored form. Raises what the metric raised."""
        import torch

        clean = torch.tensor(self.probabilities, dtype=torch.float32)
        case = self.bench.case(metric, explainer, explanation, self.picture, target, 0, clean)
        done = self.bench.engine().run_one(lambda: metric.instance.score(case))
        scores: Scores = _value(validate_scores({s.name: s for s in metric.instance.scores}, done))
        return scores


def explainer_needs(use: Use, registry: Registry, above: Sequence[str] = ()) -> frozenset[str]:
    """What an explainer needs with these parameters, and what those whose maps it asks for need.

    Raises :class:`PlanError` for one that asks for its own map.
    """
    if use.name in above:
        raise PlanError(f"explainer '{use.name}' asks for its own map", "name another explainer in its parameters")
    own: frozenset[str] = use.registered.record.needs | frozenset(getattr(use.instance, "needs", ()))  # type: ignore[attr-defined]
    depends = (open_component("explainer", spec, registry=registry) for spec in getattr(use.instance, "depends", ()))
    return own.union(*(explainer_needs(other, registry, (*above, use.name)) for other in depends))


def _value(done: Done[Any]) -> Any:
    if done.error is not None:
        raise done.error
    return done.value
