"""Live objects that were handed over in Python, as components of a run."""

from __future__ import annotations

import dataclasses
import inspect
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from xaibench.api import (
    ComponentRecord,
    DatasetRecord,
    ExplainerRecord,
    MetricRecord,
    ModelRecord,
    PluginError,
    UsageError,
)
from xaibench.data.arrays import PictureArrays
from xaibench.discovery.components import Use, hold_component, parse_overrides
from xaibench.discovery.registry import Registry
from xaibench.plan.choice import choose_executor
from xaibench.plan.settings import Settings
from xaibench.run.driver import PreparedRun


@dataclass
class LiveObjects:
    """What was handed over in Python, as components: ``uses``. Paths and names pass through as they are."""

    registry: Registry
    card: Mapping[str, Any]
    version: str

    def __post_init__(self) -> None:
        if not isinstance(self.card, Mapping):
            raise UsageError(f"card is a {type(self.card).__name__}", "give a dict with the keys of a model card")
        self.version = "" if self.version is None else str(self.version)
        self.uses: list[Use] = []
        self._code = self.version or uuid.uuid4().hex

    def model(self, thing: Any) -> str:
        if isinstance(thing, str | Path):
            return str(thing)
        _refuse_class(thing)
        if not callable(thing):
            raise UsageError(f"{type(thing).__name__} is no model", "give a path, a name, a module or a callable")
        maker = next((c for c in self.registry.of_kind("model") if getattr(c.record, "wraps", "")), None)
        if maker is None:
            raise PluginError("no plugin makes detectors of live objects", "leave the built-in models in")
        # a name of its own: detectors are told apart by their digests, which hold it
        name = self._free(_kebab(getattr(thing, "__name__", type(thing).__name__)))
        instance = maker.load(maker.record.wraps)(thing, name, self.card, self.version)  # type: ignore[attr-defined]
        return self._hold(ModelRecord(name=name, target="held:Model", summary="A model in memory."), instance)

    def dataset(self, thing: Any) -> str:
        if isinstance(thing, str | Path):
            return str(thing)
        if isinstance(thing, Mapping):
            thing = _picture_arrays(thing)
        otherwise = 'a path, a name, {"images": ..., "labels": ...}'
        _refuse_other(thing, "data set", ("samples", "read", "problems"), otherwise)
        name = _kebab(type(thing).__name__)
        return self._hold(DatasetRecord(name=name, target="held:Dataset", summary="Pictures in memory."), thing)

    def explainer(self, thing: Any) -> str:
        if isinstance(thing, str):
            return thing
        _refuse_other(thing, "explainer", ("explain", "passes"), "a spec such as 'gradcam'")
        record = ExplainerRecord(
            name=_kebab(type(thing).__name__), target="held:Explainer", summary="An explainer in memory.", signed=True
        )
        return self._hold(record, thing)

    def metric(self, thing: Any) -> str:
        if isinstance(thing, str):
            return thing
        return self._hold(metric_record(thing), thing)

    def refuse_idle_card(self) -> None:
        """Refuse a card where no model in memory takes it."""
        if self.card and not any(isinstance(use.registered.record, ModelRecord) for use in self.uses):
            raise UsageError(
                "card describes a model in memory, and none was given",
                "write its keys into the model's .toml, or as parameters, FILE:size=224",
            )

    def settings(self, chosen: Settings, out: str | Path | None) -> Settings:
        """The settings of the run. Raises :class:`UsageError` where live objects would have to leave this process."""
        if self.uses:
            executor = choose_executor(self.registry, chosen, parse_overrides(chosen.parameter)).instance
            if not getattr(executor, "in_process", False):
                raise UsageError(
                    f"{self.uses[0].name} lies in this process, and workers cannot have it",
                    "leave jobs at 1, or give a file",
                )
        return chosen if out is None else chosen.model_copy(update={"out": str(out)})

    def noted(self, prepared: PreparedRun) -> PreparedRun:
        """The plan with a note that nobody can resume it, where that is so."""
        if not self.uses or self.version:
            return prepared
        names = ", ".join(use.name for use in self.uses)
        note = f"{names}: handed over in Python without a version; no other process resumes this run"
        plan = dataclasses.replace(prepared.plan, notes=(*prepared.plan.notes, note))
        return dataclasses.replace(prepared, plan=plan)

    def _hold(self, record: ComponentRecord, instance: object) -> str:
        named = dataclasses.replace(record, name=self._free(record.name))
        use = hold_component(named, instance, version=self._code)
        self.uses.append(use)
        return use.name

    def _free(self, name: str) -> str:
        taken = {use.registered.record.name for use in self.uses}
        return next(n for n in chain([name], (f"{name}-{i}" for i in count(2))) if n not in taken)


def metric_record(thing: Any) -> MetricRecord:
    """The record of a metric in memory. Raises :class:`UsageError` for what is none."""
    _refuse_other(thing, "metric", ("scores", "score", "passes"), "a spec such as 'deletion'")
    return MetricRecord(
        name=_kebab(type(thing).__name__), target="held:Metric", summary="A metric in memory.", family="faithfulness"
    )


def _kebab(name: str) -> str:
    """``FacesNet`` -> ``faces-net``; what holds no letter is ``object``."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", name)
    return "-".join(words).lower() or "object"


def _picture_arrays(arguments: Mapping[str, Any]) -> PictureArrays:
    known = list(inspect.signature(PictureArrays).parameters)
    wrong = next((key for key in arguments if key not in known), None)
    if wrong is not None:
        raise UsageError(f"pictures in memory have no '{wrong}'", f"give {', '.join(known)}")
    absent = next((key for key in ("images", "labels") if key not in arguments), None)
    if absent is not None:
        raise UsageError(f"pictures in memory need {absent}", "give images and labels")
    return PictureArrays(**arguments)


def _refuse_class(thing: Any) -> None:
    if isinstance(thing, type):
        raise UsageError(f"{thing.__name__} is a class", f"give an object: {thing.__name__}(...)")


def _refuse_other(thing: Any, kind: str, contract: Sequence[str], otherwise: str) -> None:
    """Refuse what lacks an attribute of a contract."""
    _refuse_class(thing)
    absent = [name for name in contract if not hasattr(thing, name)]
    if absent:
        what = f"{getattr(thing, '__name__', type(thing).__name__)} is no {kind}: it has no {absent[0]}"
        raise UsageError(what, f"give {otherwise}, or an object with {', '.join(contract)}")
