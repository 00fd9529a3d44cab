"""Finding plugins one at a time, so that a broken one never hides the others.

find (entry points, no import) -> load (import, register, check hook names, call hooks) -> commit all records or none.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from xaibench.api import (
    API_VERSION,
    PROJECT,
    ComponentRecord,
    Kind,
    PluginError,
    UnknownComponent,
    UsageError,
    as_exception,
    describe_error,
    hookspecs,
    plugin_output,
    printable,
    trace_of,
)
from xaibench.api.versions import accepts_api
from xaibench.discovery.process_state import undone

LOCAL = "local"
"""Stands where the distribution of a component does, for plugin files."""
_ALMOST = 0.8  # names so near are taken for a slip of the pen
_HOOK_KINDS: dict[str, Kind] = {
    "xaibench_models": "model",
    "xaibench_explainers": "explainer",
    "xaibench_datasets": "dataset",
    "xaibench_metrics": "metric",
    "xaibench_fills": "fill",
    "xaibench_executors": "executor",
    "xaibench_recipes": "recipe",
    "xaibench_run_events": "listener",
    "xaibench_run_views": "view",
    "xaibench_report_sections": "section",
    "xaibench_papers": "paper",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a plugin comes from. ``local`` plugins are single files; their version is the file's digest."""

    distribution: str
    version: str
    entry_point: str

    @property
    def built_in(self) -> bool:
        return self.distribution == PROJECT


@dataclass(frozen=True, slots=True)
class Registered:
    """A component record and where it comes from. ``registry`` is where its parameters look up what they name; None:
    they know the built-in components alone. ``instance``: the object itself, where it was handed over in Python and no
    import string leads to it; no other process can make it."""

    record: ComponentRecord
    origin: Origin
    registry: Registry | None = field(default=None, repr=False, compare=False)
    instance: object | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """``distribution/name``, as in every table."""
        return f"{self.origin.distribution}/{self.record.name}"

    @property
    def built_in(self) -> bool:
        return self.origin.built_in

    def load(self, target: str = "") -> Any:
        """Import what ``target`` names, by default the record's class.

        Raises :class:`PluginError` naming plugin and version when that fails.
        """
        if self.instance is not None:
            return _Maker(self.instance)
        target = target or self.record.target
        module, _, attribute = target.partition(":")
        try:
            with plugin_output(), undone(self.name, built_in=self.built_in):
                return getattr(importlib.import_module(module), attribute)
        except BaseException as raised:
            error = as_exception(raised)
            raise PluginError(
                f"{self.record.kind} '{self.name}' ({self.origin.distribution} {self.origin.version}) cannot be "
                f"imported from {target}: {describe_error(error)}",
                f"reinstall or update {self.origin.distribution}, or leave '{self.record.name}' out",
            ) from error


class _Maker:
    """Stands for the class of an object that exists already: called, it gives that object."""

    def __init__(self, instance: object) -> None:
        from xaibench.api import Parameters

        own = getattr(instance, "parameters", None)
        self.instance = instance
        self.Parameters = type(own) if isinstance(own, Parameters) else Parameters

    def __call__(self, parameters: object) -> object:
        return self.instance


@dataclass(frozen=True, slots=True)
class PluginFailure:
    """A plugin that could not be loaded. ``stage``: import, api, register or hooks."""

    origin: Origin
    stage: str
    error: str
    trace: str

    def __str__(self) -> str:
        o = self.origin
        return printable(f"{o.distribution} {o.version} ({o.entry_point}): {self.stage}: {self.error}")


@dataclass(slots=True)
class Registry:
    """All components of all working plugins, and the failures of the others."""

    components: list[Registered] = field(default_factory=list)
    failures: list[PluginFailure] = field(default_factory=list)
    seconds: dict[Origin, float] = field(default_factory=dict)
    manager: pluggy.PluginManager | None = None

    def of_kind(self, kind: Kind) -> list[Registered]:
        return [c for c in self.components if c.record.kind == kind]

    def add(self, found: Sequence[Registered]) -> None:
        """Add all of a plugin's components, or none if one of them is there already."""
        taken = {(c.record.kind, c.name): c for c in self.components}
        for component in found:
            key = (component.record.kind, component.name)
            if key in taken:
                other = taken[key].origin
                raise ValueError(
                    f"{key[0]} '{key[1]}' is already registered by entry point '{other.entry_point}' of "
                    f"{other.distribution} {other.version}"
                )
            taken[key] = component
        self.components.extend(found)

    def add_commands(self, app: Any) -> set[str]:
        """Let every plugin add its commands to ``app``, one at a time; one that fails is recorded.

        Returns the names of those that are no built-in ones.
        """
        from typer.main import get_command

        foreign: set[str] = set()
        if self.manager is None:
            return foreign
        for impl in self.manager.hook.xaibench_add_commands.get_hookimpls():
            before = _command_names(app)
            try:
                own = type(app)()
                own.callback()(lambda: None)
                with plugin_output():
                    impl.function(own)
                distribution = impl.plugin_name.partition(":")[0]
                if distribution != PROJECT:
                    get_command(own)  # a flag of a type that no command line has would end every command
                    foreign |= _command_names(own) - before
                    for info in (*own.registered_commands, *own.registered_groups):
                        info.rich_help_panel = f"Commands of {distribution}"
                app.registered_commands += own.registered_commands
                app.registered_groups += own.registered_groups
            except BaseException as raised:
                error = as_exception(raised)
                distribution, _, entry_point = impl.plugin_name.partition(":")
                origin = Origin(distribution, "", entry_point)
                self.failures.append(PluginFailure(origin, "commands", describe_error(error), trace_of(error)))

        return foreign

    def find(self, kind: Kind, name: str) -> Registered:
        """The component of a qualified name; of a bare one, the built-in or else the only match."""
        known = self.of_kind(kind)
        exact = [c for c in known if c.name == name]
        bare = [c for c in known if c.record.name == name]
        matches = exact or [c for c in bare if c.origin.built_in] or bare
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise UnknownComponent(
                f"{kind} '{name}' is brought by several plugins", f"write {' or '.join(c.name for c in matches)}"
            )
        raise UnknownComponent(f"no {kind} called '{name}'", self.hint(known, name))

    def hint(self, known: Sequence[Registered], name: str) -> str:
        """How to mend a name that none of the ``known`` components has: those that are near, the closest first."""
        names = sorted({n for c in known for n in (c.record.name, c.name)})
        near = difflib.get_close_matches(name, names, n=3)
        parts = [f"did you mean {' or '.join(near)}?"] if near else []
        parts.append("'xaibench list' shows what there is")
        if not difflib.get_close_matches(name, names, n=1, cutoff=_ALMOST) or name.startswith("local/"):
            parts.append("--plugin FILE loads a component of your own file")
        parts += [f"broken plugin: {failure}" for failure in self.failures]
        return "; ".join(parts)


def installed() -> list[tuple[EntryPoint, Origin]]:
    """Every entry point of our group, the built-ins first, in the same order on every machine."""
    found: dict[tuple[str, str], tuple[EntryPoint, Origin]] = {}
    for dist in distributions():
        points = [p for p in dist.entry_points if p.group == PROJECT]
        if points:
            name, version = dist.metadata["Name"], dist.version
            for point in points:  # of two equal distributions on sys.path the first is the one imports see
                found.setdefault((name, point.name), (point, Origin(name, version, point.name)))
    return sorted(found.values(), key=lambda p: (not p[1].built_in, p[1].distribution, p[1].entry_point))


def _command_names(app: Any) -> set[str]:
    """The names of the commands and groups of a ``typer.Typer``."""
    commands = {c.name or c.callback.__name__.replace("_", "-") for c in app.registered_commands if c.callback}
    return commands | {g.name or g.typer_instance.info.name for g in app.registered_groups if g.typer_instance}


@plugin_output()
def load_registry(files: Iterable[str | Path] = (), without: Iterable[str] = ()) -> Registry:
    """Load every plugin; what fails is recorded, not raised.

    Parameters
    ----------
    files: one-off plugin files (``--plugin FILE.py``).
    without: distributions or ``distribution:entry_point`` not to load (``--no-plugin``,
        ``XAIBENCH_DISABLE_PLUGINS=a,b``). A name that matches no plugin is refused.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    registry = Registry(manager=manager)
    points = installed()
    blocked = _blocked(without, [origin for _, origin in points])
    for point, origin in points:
        if not blocked & {origin.distribution, f"{origin.distribution}:{origin.entry_point}"}:
            _load_plugin(registry, manager, origin, point.load)
    for file in files:
        path = Path(file)
        _load_plugin(registry, manager, local_origin(path), lambda path=path: import_file(path))
    if registry.failures and os.environ.get("XAIBENCH_STRICT_PLUGINS", "") not in ("", "0"):
        raise PluginError(f"broken plugin: {registry.failures[0]}", "mend it, or unset XAIBENCH_STRICT_PLUGINS")
    return registry


def _blocked(without: Iterable[str], origins: Sequence[Origin]) -> set[str]:
    names = {n for n in os.environ.get("XAIBENCH_DISABLE_PLUGINS", "").split(",") if n} | set(without)
    known = {o.distribution for o in origins} | {f"{o.distribution}:{o.entry_point}" for o in origins}
    unknown = sorted(names - known)
    if unknown:
        raise UsageError(f"no plugin '{unknown[0]}' to leave out", f"installed: {', '.join(sorted(known))}")
    return names


def local_origin(path: Path) -> Origin:
    """Where the components of a plugin file come from. Raises :class:`UsageError` where there is no such file."""
    if not path.is_file():
        raise UsageError(f"plugin file '{path}' does not exist", "give the path of a Python file to --plugin")
    return Origin(LOCAL, hashlib.sha256(path.read_bytes()).hexdigest()[:12], str(path))


def import_file(path: Path) -> ModuleType:
    """Import a plugin file under a name of its own, so that its targets can name it: ``xaibench_local_STEM:Class``."""
    name = f"xaibench_local_{path.stem.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _load_plugin(registry: Registry, manager: pluggy.PluginManager, origin: Origin, load: Any) -> None:
    stage, start, name = "import", time.perf_counter(), f"{origin.distribution}:{origin.entry_point}"
    try:
        with undone(f"plugin {name}", built_in=origin.built_in):
            module = load()
            stage = "api"
            _check_api(module)
            stage = "register"
            _check_hook_names(module)
            manager.register(module, name=name)
            stage = "hooks"
            registry.add([Registered(record, origin, registry) for record in _records(manager, module)])
    except BaseException as raised:
        error = as_exception(raised)
        if manager.has_plugin(name):
            manager.unregister(name=name)
        registry.failures.append(PluginFailure(origin, stage, describe_error(error), trace_of(error)))
    registry.seconds[origin] = time.perf_counter() - start


def _check_api(module: Any) -> None:
    wants = getattr(module, "XAIBENCH_API", API_VERSION)
    if not accepts_api(wants):
        raise PluginError(f"written for plugin API {wants}; this xaibench has {API_VERSION}")


def _check_hook_names(module: Any) -> None:
    """A misspelled hook registers without complaint in pluggy; here it breaks the plugin."""
    known = [n for n in vars(hookspecs) if n.startswith("xaibench_")]
    for name in dir(module):
        marked = hasattr(getattr(module, name, None), f"{PROJECT}_impl")
        if marked and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise PluginError(f"unknown hook '{name}'" + (f", did you mean '{near[0]}'?" if near else ""))


def _records(manager: pluggy.PluginManager, module: Any) -> Iterator[ComponentRecord]:
    for caller in manager.get_hookcallers(module) or ():
        kind = _HOOK_KINDS.get(caller.name)
        if kind is None:
            continue
        for impl in caller.get_hookimpls():
            if impl.plugin is module:
                records: Iterable[ComponentRecord] = impl.function()  # type: ignore[assignment]
                for record in records:
                    if not isinstance(record, ComponentRecord) or record.kind != kind:
                        raise TypeError(f"{caller.name} returned {record!r}, not a {kind} record")
                    yield record
