"""Which engine computes the passes without gradient of each detector; its choice by a clock is made once a run."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from xaibench.api import Detector, ModelError, PlanError, Runtime, StoreError
from xaibench.detector.batch_size import compute_batch
from xaibench.plan.parts import PlannedDataset, PlannedMember, PlannedModel
from xaibench.plan.settings import Settings
from xaibench.plan.tasks import OWN, DetectorRef
from xaibench.plan.verifying import first_pictures
from xaibench.store.folder import RunFolder

if TYPE_CHECKING:
    from torch import Tensor

OTHERS = ("onnxruntime", "compile")
MOST_DIFFERENCE = 1e-5
"""Of a probability on the data's pictures, between torch and another engine."""
LEAST_GAIN = 0.05
"""Share of a pass that another engine must save for ``auto`` to take it."""
_ROUNDS = 5


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
    """The engine of every member that can be given another than torch.

    ``engine=auto`` takes what an earlier plan in the folder ``out`` recorded, else the fastest that agrees with torch.
    Raises :class:`PlanError` where an engine was named that does not run a detector or differs from torch.
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
            if choice.is_open:
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


@dataclass(frozen=True, slots=True)
class _Choice:
    """The choice for one member."""

    settings: Settings
    runtime: Runtime
    datasets: Sequence[PlannedDataset]
    detector: Detector
    planned: PlannedMember
    name: str
    notes: list[str]

    @property
    def is_open(self) -> bool:
        """Whether the detector can be given another engine."""
        facts = self.planned.facts
        return facts.engine == "torch" and self.detector.device.type == "cpu" and hasattr(self.detector, "with_engine")

    def member(self, recorded: str | None) -> tuple[PlannedMember, Detector]:
        if not self.is_open:
            return self.planned, self.detector
        if self.settings.engine != "auto":
            return self._with(self.settings.engine, self._named(self.settings.engine))
        if recorded is not None:
            self.notes.append(f"{self.name}engine {_word(recorded)}, as the run chose before")
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
            raise PlanError(f"--engine {engine}: {self.name}{error.what}", "use --engine torch or auto") from error

    def _agreeing(self, engine: str) -> Detector:
        """The detector with another engine. Raises :class:`ModelError` where it differs from torch."""
        other = with_engine(self.detector, engine, self.runtime)
        for images in self._pictures():
            difference = float((other.probabilities(images) - self.detector.probabilities(images)).abs().max())
            if not difference <= MOST_DIFFERENCE:
                raise ModelError(
                    f"{engine} differs from torch by {difference:.2g} of a probability on the data's pictures",
                    "use --engine torch",
                )
        return other

    def _pictures(self) -> Iterator[Tensor]:
        for dataset in self.datasets:
            images = first_pictures(dataset, self.planned.facts)
            if images is not None:
                yield images

    def _fastest(self) -> tuple[str, Detector]:
        """The engine whose passes take least; torch where none saves enough."""
        candidates: dict[str, Detector] = {OWN: self.detector}
        for engine in OTHERS:
            try:
                candidates[engine] = self._agreeing(engine)
            except ModelError as error:
                self.notes.append(f"{self.name}engine {engine} is not used: {error.what}")
        seconds = _seconds(candidates, self.settings.batch_size)
        best = min(seconds, key=lambda engine: seconds[engine])
        chosen = best if seconds[best] < (1 - LEAST_GAIN) * seconds[OWN] else OWN
        times = ", ".join(f"{_word(engine)} {s * 1e3:.2f} ms" for engine, s in seconds.items())
        self.notes.append(f"{self.name}engine {_word(chosen)} chosen, once for this run; a pass takes: {times}")
        return chosen, candidates[chosen]


def _seconds(candidates: Mapping[str, Detector], batch_size: int | None) -> dict[str, float]:
    """Seconds of a pass of a picture in each, in its own compute batch: the least of some rounds, in turns."""
    import torch

    least = dict.fromkeys(candidates, math.inf)
    for _ in range(_ROUNDS + 1):  # the first call of an engine prepares it; a minimum leaves it out
        for engine, detector in candidates.items():
            batch = compute_batch(detector, batch_size)
            images = torch.full((batch, 3, *detector.facts.input_size), 0.5)
            start = time.perf_counter()
            detector.probabilities(images)
            least[engine] = min(least[engine], (time.perf_counter() - start) / batch)
    return least


def _word(engine: str) -> str:
    return "torch" if engine == OWN else engine
