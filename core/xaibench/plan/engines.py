"""Which engine computes the passes without gradient of each detector; its choice by a clock is made once a run.

PyTorch detectors may be given another library, ONNX graphs of one picture a call another way to be called. What a
detector can be given it says itself (``other_engines``).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from xaibench.api import Detector, Forward, ModelError, PlanError, Runtime, StoreError
from xaibench.detector.agreement import disagreement
from xaibench.detector.batch_size import calls_in_a_row, compute_batch
from xaibench.detector.calls import call_detector
from xaibench.detector.torch_threads import threads_beside, torch_with_threads
from xaibench.plan.parts import PlannedDataset, PlannedMember, PlannedModel
from xaibench.plan.settings import Settings
from xaibench.plan.tasks import OWN, DetectorRef
from xaibench.plan.verifying import first_pictures
from xaibench.store.folder import RunFolder

if TYPE_CHECKING:
    from torch import Tensor

MOST_DIFFERENCE = 1e-5
"""Of a probability on the data's pictures, between a detector's own engine and another."""
LEAST_GAIN = 0.05
"""Share of a pass that another engine must save for ``auto`` to take it."""
_ROUNDS = 5
_MEND = "leave --engine out, or use --engine auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """The models with the engines of their members, entries of the identity of the plan, and lines to print."""

    models: tuple[PlannedModel, ...]
    identity: Mapping[str, str]
    notes: tuple[str, ...]


def choose_engines(
    settings: Settings,
    runtime: Runtime,
    out: str,
    models: Sequence[PlannedModel],
    datasets: Sequence[PlannedDataset],
    detectors: MutableMapping[DetectorRef, Detector],
) -> Engines:
    """The engine of every member that can be given another than its own.

    ``engine=auto`` takes what an earlier plan in the folder ``out`` recorded, else the fastest that agrees with the
    detector's own. Raises :class:`PlanError` where an engine was named that does not run a detector or differs.
    """
    if settings.engine == "torch":
        return Engines(models=tuple(models), identity={}, notes=())
    recorded, identity, notes = _recorded(out), dict[str, str](), list[str]()
    new_models = []
    for model in models:
        members = []
        for member in model.members:
            choice = _Choice(settings, runtime, datasets, detectors.pop(member.ref), member, f"{model.name}: ", notes)
            key = f"engine {model.name} {member.ref.member}"
            new, detector = choice.member(recorded.get(key))
            if choice.others:
                identity[key] = new.ref.engine
            detectors[new.ref] = detector
            members.append(new)
        new_models.append(replace(model, members=tuple(members)))
    return Engines(models=tuple(new_models), identity=identity, notes=tuple(notes))


def with_engine(detector: Detector, engine: str, runtime: Runtime) -> Detector:
    """The detector with its forward passes computed by ``engine``; see :class:`xaibench.api.Detector`."""
    return cast("Detector", cast("Any", detector).with_engine(engine, runtime.threads))


def _recorded(out: str) -> Mapping[str, str]:
    """The identity of the last plan in a folder; empty where there is none."""
    try:
        folder = RunFolder(out)
        return folder.snapshot().plan["identity"] if folder.exists() else {}
    except (StoreError, FileNotFoundError):  # damaged: the run says so where it is opened for writing
        return {}


@dataclass(frozen=True)
class _Choice:
    """The choice for one member."""

    settings: Settings
    runtime: Runtime
    datasets: Sequence[PlannedDataset]
    detector: Detector
    planned: PlannedMember
    name: str
    notes: list[str]

    @cached_property
    def others(self) -> tuple[str, ...]:
        """The other engines that the detector can be given."""
        names = getattr(self.detector, "other_engines", None)
        return tuple(names(self.runtime.threads)) if names else ()

    def member(self, recorded: str | None) -> tuple[PlannedMember, Detector]:
        named = self.settings.engine
        if named != "auto" and named not in self.others:
            if named != self.detector.facts.engine:
                self.notes.append(f"{self.name}engine {named} is not for it; it keeps its own")
            return self.planned, self.detector
        if named != "auto":
            return self._with(named, self._named(named))
        if not self.others:
            return self.planned, self.detector
        if recorded in (OWN, *self.others):
            self.notes.append(f"{self.name}engine {self._word(recorded)}, as the run chose before")
            return self._with(recorded, self.detector if recorded == OWN else self._named(recorded))
        engine, detector = self._fastest()
        return self._with(engine, detector)

    def _with(self, engine: str, detector: Detector) -> tuple[PlannedMember, Detector]:
        batch = compute_batch(detector, self.settings.batch_size)
        ref = replace(self.planned.ref, engine=engine)
        return replace(self.planned, ref=ref, facts=detector.facts, batch_size=batch), detector

    def _named(self, engine: str) -> Detector:
        try:
            return self._agreeing(engine)
        except ModelError as error:
            raise PlanError(f"--engine {engine}: {self.name}{error.what}", _MEND) from error

    def _agreeing(self, engine: str) -> Detector:
        """The detector with another engine. Raises :class:`ModelError` where it gives other numbers, or fewer."""
        other = with_engine(self.detector, engine, self.runtime)
        batch = compute_batch(other, self.settings.batch_size)
        for images in self._pictures():
            if reason := disagreement(self.detector, other, images, batch, MOST_DIFFERENCE):
                raise ModelError(f"{engine} {reason}", _MEND)
            verified = getattr(other, "verified", None)
            other = verified(images) if verified else other
        if lost := sorted(self.detector.facts.gives - other.facts.gives):
            raise ModelError(f"{engine} gives no {lost[0]}: {other.facts.limits.get(lost[0], 'not given')}", _MEND)
        return other

    def _pictures(self) -> Iterator[Tensor]:
        for dataset in self.datasets:
            images = first_pictures(dataset, self.planned.facts)
            if images is not None:
                yield images

    def _fastest(self) -> tuple[str, Detector]:
        """The engine whose passes take least; the detector's own where none saves enough."""
        candidates: dict[str, Detector] = {OWN: self.detector}
        for engine in self.others:
            try:
                candidates[engine] = self._agreeing(engine)
            except ModelError as error:
                self.notes.append(f"{self.name}engine {engine} is not used: {error.what}")
        seconds = _seconds(candidates, self.settings.batch_size, self.runtime.threads)
        best = min(seconds, key=lambda engine: seconds[engine])
        chosen = best if seconds[best] < (1 - LEAST_GAIN) * seconds[OWN] else OWN
        times = ", ".join(f"{self._word(engine)} {s * 1e3:.2f} ms" for engine, s in seconds.items())
        self.notes.append(f"{self.name}engine {self._word(chosen)} chosen, once for this run; a pass takes: {times}")
        return chosen, candidates[chosen]

    def _word(self, engine: str) -> str:
        return self.detector.facts.engine if engine == OWN else engine


def _seconds(candidates: Mapping[str, Detector], batch_size: int | None, threads: int) -> dict[str, float]:
    """Seconds of a pass of a picture in each, in calls as a run makes them: the least of some rounds, in turns."""
    import torch

    least = dict.fromkeys(candidates, math.inf)
    for _ in range(_ROUNDS + 1):  # the first call of an engine prepares it; a minimum leaves it out
        for engine, detector in candidates.items():
            facts, batch = detector.facts, compute_batch(detector, batch_size)
            n = batch * calls_in_a_row(facts, batch)
            request = Forward(torch.full((n, 3, *facts.input_size), 0.5))
            with torch_with_threads(threads_beside(facts.engine, detector.device.type, threads)):
                start = time.perf_counter()
                call_detector(detector, [(request, 0, n)], batch)
                least[engine] = min(least[engine], (time.perf_counter() - start) / n)
    return least
