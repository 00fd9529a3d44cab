"""From a name with parameters to an object: the one way in which components are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from xaibench.api import (
    ComponentRecord,
    Detector,
    Kind,
    Parameters,
    PlanError,
    Runtime,
    UsageError,
    XaibenchError,
    as_exception,
    build_parameters,
    format_spec,
    parameter_class,
    parse_spec,
)
from xaibench.discovery.registry import Origin, Registered, Registry, load_registry


@dataclass(frozen=True, slots=True)
class Ref:
    """A component by name and parameters: picklable, resolved anew in every process."""

    kind: Kind
    name: str
    parameters: str  # JSON


@dataclass(frozen=True)
class Use:
    """A component with its parameters: ``name`` is ``distribution/name[:key=value,…]``, defaults left out."""

    registered: Registered
    parameters: Parameters

    @property
    def name(self) -> str:
        return format_spec(self.registered.name, self.parameters, self.registered.record.parameters)

    @property
    def ref(self) -> Ref:
        return Ref(self.registered.record.kind, self.registered.name, self.parameters.model_dump_json())

    def trait(self, name: str) -> bool:
        """``stochastic``, ``signed`` or ``model_independent`` of an explainer: what these parameters make of it, else
        the record's word."""
        return bool(getattr(self.instance, name, getattr(self.registered.record, name, False)))

    def open(self, member: str, runtime: Runtime) -> Detector:
        """A member of a model. One that calls ``sys.exit`` is a :class:`PluginError`, not the end of the command."""
        try:
            opened: Detector = self.instance.open(member, runtime)
        except SystemExit as error:
            raise as_exception(error) from error
        return opened

    @cached_property
    def instance(self) -> Any:
        """The object. Whatever its construction raises that is no :class:`XaibenchError` becomes a PlanError."""
        target = self.registered.load()
        try:
            return target(self.parameters)
        except XaibenchError:
            raise
        except (Exception, SystemExit) as error:
            raise PlanError(
                f"{self.registered.record.kind} '{self.name}' cannot be made: {type(error).__name__}: {error}",
                f"this is a fault of {self.registered.origin.distribution} {self.registered.origin.version}",
            ) from error


def open_component(
    kind: Kind, spec: str, parameters: Mapping[str, object] | None = None, *, registry: Registry | None = None
) -> Use:
    """A component by name: ``name[:key=value,…]`` with further parameter values; a wrong one is refused here.

    Values are taken from, last wins: the record's ready-made ones, ``parameters``, the spec itself. ``registry`` None
    finds what is installed. Raises :class:`~xaibench.api.UnknownComponent` and :class:`~xaibench.api.UsageError`.
    """
    name, values = parse_spec(spec)
    return make((registry or load_registry()).find(kind, name), {**(parameters or {}), **values})


def make(registered: Registered, values: Mapping[str, object]) -> Use:
    """A component with these parameter values over the record's ready-made ones."""
    model = parameter_class(registered.load())
    given = {**registered.record.parameters, **values}
    return Use(registered, build_parameters(model, given, registered.record.name, registered.registry))


def resolve(registry: Registry, ref: Ref) -> Use:
    """The component a :class:`Ref` names, with exactly its parameters."""
    registered = registry.find(ref.kind, ref.name)
    model = parameter_class(registered.load())
    return Use(registered, model.model_validate_json(ref.parameters, context=registry))


# ---- models and datasets given as paths -----------------------------------------------------------------------------


def parse_overrides(entries: Mapping[str, object]) -> dict[tuple[str, str], dict[str, object]]:
    """Split ``{"explainer.rise.masks": 8000}`` into ``{("explainer", "rise"): {"masks": 8000}}``."""
    found: dict[tuple[str, str], dict[str, object]] = {}
    for key, value in entries.items():
        parts = key.split(".")
        if len(parts) != 3 or parts[0] not in ("model", "dataset", "explainer", "metric", "executor"):
            raise UsageError(f"parameter '{key}' is not KIND.NAME.KEY", "write for example explainer.rise.masks=8000")
        found.setdefault((parts[0], parts[1]), {})[parts[2]] = value
    return found


def hold_component(record: ComponentRecord, instance: object, *, distribution: str = "held") -> Use:
    """An object as a component, without a plugin: its name is ``held/NAME``, its record the one given.

    Its parameters are those that it holds itself (``instance.parameters``), or none.
    """
    own = getattr(instance, "parameters", None)
    use = Use(Registered(record, Origin(distribution, "0", "")), own if isinstance(own, Parameters) else Parameters())
    use.__dict__["instance"] = instance
    return use
