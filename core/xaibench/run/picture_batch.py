"""Some pictures in front of one detector: verdicts, maps and scores of maps, exactly as a run makes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from xaibench.api import (
    Detector,
    Done,
    Explanation,
    Passes,
    Picture,
    PlanError,
    PluginError,
    Scores,
    UsageError,
    check_target_rule,
    describe_error,
    resolve_target,
)
from xaibench.api.errors import Interference
from xaibench.data.arrays import PictureArrays
from xaibench.data.survey import Survey
from xaibench.detector.batch_size import compute_batch
from xaibench.discovery.components import Use, open_component
from xaibench.discovery.registry import Registry
from xaibench.plan.cells import unmet
from xaibench.run.explain import explanation_of, run_explainer
from xaibench.run.measure import SampleMap, run_metric, scores_of_map
from xaibench.run.predict import clean_predictions
from xaibench.run.score_rows import blank_scores
from xaibench.run.workbench import Bench

TargetRule = str | int
"""A rule, the name of a class, or its index."""


class PictureBatch:
    """Pictures that a detector is shown together. Maps and what components share are computed once.

    Parameters
    ----------
    found: the survey of ``pictures``, which withdraws masks and counterparts in doubt.
    ids: the samples that are explained, in order; the others are shown as counterparts and strangers.
    foreign: the name of the detector where it comes from a third party.
    """

    def __init__(
        self,
        detector: Detector,
        pictures: PictureArrays,
        found: Survey,
        ids: Sequence[str],
        registry: Registry,
        seed: int = 0,
        foreign: str = "",
    ) -> None:
        self.detector, self.registry, self._found = detector, registry, found
        samples = found.by_id()
        self.samples = tuple(samples[i] for i in ids)
        self.bench = Bench(
            detector,
            pictures,
            samples.values(),
            registry,
            seed=seed,
            batch_size=compute_batch(detector),
            strangers=found.strangers,
            foreign_detector=foreign,
        )

    def picture(self, sample_id: str) -> Picture:
        """A picture as the detector sees it."""
        return self.bench.picture(sample_id)

    def pixels(self, sample_id: str) -> Any:
        """The same as ``(H, W, 3)`` uint8 RGB."""
        return (self.picture(sample_id).image.permute(1, 2, 0).cpu().numpy() * 255).round().astype("uint8")

    # ---- predictions and targets ----

    @cached_property
    def predictions(self) -> dict[str, Done[list[float]]]:
        """Class probabilities of the untouched pictures by id, or the exceptions that prevented them."""
        with _interference_named():
            return clean_predictions(self.bench, self.samples, self.detector.facts.name)

    def raise_failed(self) -> None:
        """Raise what the detector raised, if it failed on a picture."""
        for done in self.predictions.values():
            if done.error is not None:
                raise done.error

    def probabilities(self, sample_id: str) -> tuple[float, ...] | None:
        """Class probabilities of an untouched picture; None where the detector failed on it."""
        value = self.predictions[sample_id].value
        return None if value is None else tuple(value)

    def targets(self, rules: Sequence[TargetRule]) -> dict[str, int]:
        """The explained class of each picture by id, of one rule a picture; without those that have no prediction.

        Raises :class:`UsageError` for what is neither a rule nor a class of the detector.
        """
        facts = self.detector.facts
        for rule in dict.fromkeys(rules):
            if isinstance(rule, str):
                check_target_rule(rule, facts)
            elif not 0 <= rule < len(facts.classes):
                what = f"target {rule} is no class of {facts.name}"
                raise UsageError(what, f"count from 0 to {len(facts.classes) - 1}, or give a class name")
        found = {}
        for sample, rule in zip(self.samples, rules, strict=True):
            probabilities = self.probabilities(sample.id)
            if probabilities is not None and isinstance(rule, int):
                found[sample.id] = rule
            elif probabilities is not None and isinstance(rule, str):
                found[sample.id] = resolve_target(rule, sample, probabilities, facts)
        return found

    # ---- maps and scores ----

    def explain(self, use: Use, targets: Mapping[str, int]) -> list[Explanation]:
        """A map of every picture, or the status and reason why there is none."""
        reason = unmet(explainer_needs(use, self.registry), self.detector.facts, self._found)
        if reason:
            return [Explanation(map=None, status="not_applicable", reason=reason) for _ in self.samples]
        requests = [(s, targets[s.id], 0) for s in self.samples if s.id in targets]
        with _interference_named():
            outcomes = run_explainer(self.bench, use, requests)
        return [explanation_of(outcomes[s.id, 0]) if s.id in targets else self._unpredicted(s.id) for s in self.samples]

    def score(
        self, metric: Use, explainer: Use, maps: Sequence[Explanation], targets: Mapping[str, int]
    ) -> list[Scores]:
        """The scores of a map of every picture, in its stored form. ``explainer`` draws maps of other views."""
        specs = {s.name: s for s in metric.instance.scores}
        needs = metric.registered.record.needs | frozenset(getattr(metric.instance, "needs", ()))  # type: ignore[attr-defined]
        reason = unmet(needs, self.detector.facts, self._found)
        if reason:
            return [blank_scores(specs.values(), "not_applicable", reason) for _ in self.samples]
        drawn = [
            SampleMap(s, targets.get(s.id, -1), 0, m if s.id in targets else self._unpredicted(s.id), Passes())
            for s, m in zip(self.samples, maps, strict=True)
        ]
        with _interference_named():
            outcomes = run_metric(self.bench, explainer, drawn, metric, self.probabilities)
        return [scores_of_map(specs, m, outcomes.get(i)) for i, m in enumerate(drawn)]

    def _unpredicted(self, sample_id: str) -> Explanation:
        error = self.predictions[sample_id].error
        why = describe_error(error) if error else "no prediction"
        return Explanation(map=None, status="failed", reason=f"the clean prediction failed: {why}")


def explainer_needs(use: Use, registry: Registry, above: Sequence[str] = ()) -> frozenset[str]:
    """What an explainer needs with these parameters, and what those whose maps it asks for need.

    Raises :class:`PlanError` for one that asks for its own map.
    """
    if use.name in above:
        raise PlanError(f"explainer '{use.name}' asks for its own map", "name another explainer in its parameters")
    own: frozenset[str] = use.registered.record.needs | frozenset(getattr(use.instance, "needs", ()))  # type: ignore[attr-defined]
    depends = (open_component("explainer", spec, registry=registry) for spec in getattr(use.instance, "depends", ()))
    return own.union(*(explainer_needs(other, registry, (*above, use.name)) for other in depends))


@contextmanager
def _interference_named() -> Iterator[None]:
    """What a component of a third party changed and nobody can undo ends the call."""
    try:
        yield
    except Interference as error:
        raise PluginError(" ".join(str(error).split()), "evaluate() runs it in a process of its own") from error
