"""From a name with parameters to an object: the one way in which components are made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from xaibench.api import (
    ComponentRecord,
    Detector,
    Kind,
    ModelError,
    Parameters,
    PlanError,
    Runtime,
    UsageError,
    XaibenchError,
    as_exception,
    build_parameters,
    describe_error,
    format_spec,
    is_url,
    name_delay,
    parameter_class,
    parse_spec,
    plugin_output,
)
from xaibench.api.parameters import public_json
from xaibench.discovery.model_copies import local_copy
from xaibench.discovery.process_state import undone
from xaibench.discovery.registry import Origin, Registered, Registry, load_registry
from xaibench.discovery.secrets import fill_secrets


@dataclass(frozen=True, slots=True)
class Ref:
    """A component by name and parameters: picklable, resolved anew in every process."""

    kind: Kind
    name: str
    parameters: str  # JSON without secrets, which every process takes from its environment


@dataclass(frozen=True)
class Use:
    """A component with its parameters: ``name`` is ``distribution/name[:key=value,…]``, defaults left out.

    ``alias`` is the name of the folder or file that it was opened from, empty where it was opened by its own name.
    """

    registered: Registered
    parameters: Parameters
    alias: str = ""

    @cached_property
    def name(self) -> str:
        return format_spec(self.registered.name, self.parameters, self.registered.record.parameters)

    @property
    def display_name(self) -> str:
        """What people and tables call it: the alias, else the name."""
        return self.alias or self.name

    @property
    def ref(self) -> Ref:
        return Ref(self.registered.record.kind, self.registered.name, public_json(self.parameters))

    def trait(self, name: str) -> bool:
        """``stochastic``, ``signed`` or ``model_independent`` of an explainer: what these parameters make of it, else
        the record's word."""
        return bool(getattr(self.instance, name, getattr(self.registered.record, name, False)))

    def _foreign_code(self) -> AbstractContextManager[None]:
        return undone(self.name, built_in=self.registered.built_in)

    def open(self, member: str, runtime: Runtime) -> Detector:
        """A member of a model. Whatever opening raises that is no :class:`XaibenchError` becomes a ModelError."""
        instance = self.instance
        try:
            with self._foreign_code(), plugin_output(), name_delay(f"opening {self.display_name} {member}".rstrip()):
                opened: Detector = instance.open(member, runtime)
        except XaibenchError as known:
            if (error_of_address := self._of_address(known)) is not known:
                raise error_of_address from known
            raise
        except BaseException as raised:
            error = as_exception(raised)
            if isinstance(error, XaibenchError):
                raise error from raised
            raise ModelError(
                f"model '{self.name}' cannot be opened: {describe_error(error)}",
                f"--debug shows where {self.registered.origin.distribution} raised it",
            ) from error
        return opened

    def _local_parameters(self) -> Parameters:
        """The parameters, and those of a model that lies behind a URL with the place of its copy on this machine."""
        path = getattr(self.parameters, "path", None)
        if self.registered.record.kind != "model" or not isinstance(path, str) or not is_url(path):
            return self.parameters
        with name_delay(f"copying {path} to this machine"):
            return self.parameters.model_copy(update={"path": str(local_copy(path))})

    def _of_address(self, error: XaibenchError) -> XaibenchError:
        """The error of a model behind a URL, with its address in the place of that of its copy."""
        copy = str(getattr(getattr(self.instance, "parameters", None), "path", ""))
        address = str(getattr(self.parameters, "path", ""))
        if not is_url(address) or copy == address:
            return error
        return type(error)(error.what.replace(copy, address), error.mend.replace(copy, address))

    @cached_property
    def instance(self) -> Any:
        """The object. Whatever its construction raises that is no :class:`XaibenchError` becomes a PlanError."""
        target, parameters = self.registered.load(), self._local_parameters()
        try:
            with self._foreign_code(), plugin_output():
                return target(parameters)
        except XaibenchError:
            raise
        except BaseException as raised:
            error = as_exception(raised)
            raise PlanError(
                f"{self.registered.record.kind} '{self.name}' cannot be made: {describe_error(error)}",
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
    given = {**registered.record.parameters, **fill_secrets(registered, model, values)}
    return Use(registered, build_parameters(model, given, registered.record.name, registered.registry))


def resolve(registry: Registry, ref: Ref) -> Use:
    """The component a :class:`Ref` names, with exactly its parameters."""
    registered = registry.find(ref.kind, ref.name)
    model = parameter_class(registered.load())
    text = ref.parameters
    if secrets := fill_secrets(registered, model, {}):
        text = json.dumps({**json.loads(text), **secrets}, default=_revealed)
    return Use(registered, model.model_validate_json(text, context=registry))


def _revealed(secret: Any) -> Any:
    """The value of a secret that a record brings ready-made."""
    return secret.get_secret_value()


def parse_overrides(entries: Mapping[str, object]) -> dict[tuple[str, str], dict[str, object]]:
    """Split ``{"explainer.rise.masks": 8000}`` into ``{("explainer", "rise"): {"masks": 8000}}``."""
    found: dict[tuple[str, str], dict[str, object]] = {}
    for key, value in entries.items():
        parts = key.split(".")
        if len(parts) != 3 or parts[0] not in ("model", "dataset", "explainer", "metric", "executor"):
            raise UsageError(f"parameter '{key}' is not KIND.NAME.KEY", "write for example explainer.rise.masks=8000")
        found.setdefault((parts[0], parts[1]), {})[parts[2]] = value
    return found


def overrides_of(registered: Registered, entries: Mapping[str, object]) -> dict[str, object]:
    """The values among ``KIND.NAME.KEY`` entries that are meant for one component."""
    return parse_overrides(entries).get((registered.record.kind, registered.record.name), {})


HELD = "held"
"""Stands where the distribution of a component does, for objects that were handed over in Python."""


def hold_component(record: ComponentRecord, instance: object, *, version: str = "0") -> Use:
    """An object as a component, without a plugin: its name is ``held/NAME``, its record the one given.

    Its parameters are those that it holds itself (``instance.parameters``), or none. ``version`` stands for its code
    in keys.
    """
    own = getattr(instance, "parameters", None)
    parameters = own if isinstance(own, Parameters) else Parameters()
    return Use(Registered(record, Origin(HELD, version, ""), instance=instance), parameters)


def with_held(registry: Registry, held: Sequence[Use]) -> Registry:
    """A registry of the same components and of objects of :func:`hold_component`."""
    larger = replace(registry, components=list(registry.components))
    larger.components += [replace(use.registered, registry=larger) for use in held]
    return larger
