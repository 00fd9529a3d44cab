"""From a name with parameters to an object: the one way in which components are made."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from xaibench.contracts import Detector, Runtime
from xaibench.errors import DatasetError, ModelError, PlanError, UsageError, XaibenchError, as_exception
from xaibench.parameters import Parameters, build_parameters, format_spec, parameter_class, parse_spec
from xaibench.plugin import DatasetRecord, Kind, ModelRecord
from xaibench.registry import Registered, Registry

FAMILY_RECORD = "family.toml"
"""File in a family's folder in which its training says what it makes; ``[family] runs`` is read here."""


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


def use(registry: Registry, kind: Kind, spec: str, more: Mapping[str, object] | None = None) -> Use:
    """Resolve ``name[:key=value,…]`` with further parameter values; a wrong name or value is refused here.

    Values are taken from, last wins: the record's ready-made ones, ``more``, the spec itself.
    """
    name, values = parse_spec(spec)
    return make(registry.find(kind, name), {**(more or {}), **values})


def make(registered: Registered, values: Mapping[str, object]) -> Use:
    """A component with these parameter values over the record's ready-made ones."""
    model = parameter_class(registered.load())
    return Use(registered, build_parameters(model, {**registered.record.parameters, **values}, registered.record.name))


def resolve(registry: Registry, ref: Ref) -> Use:
    """The component a :class:`Ref` names, with exactly its parameters."""
    registered = registry.find(ref.kind, ref.name)
    return Use(registered, parameter_class(registered.load()).model_validate_json(ref.parameters))


# ---- models and datasets given as paths -----------------------------------------------------------------------------


def is_path(registry: Registry, kind: Kind, text: str) -> bool:
    """Whether ``--model``/``--dataset`` text means a file or folder: it exists, or it looks like a path.

    A component's name means the component even where a folder of that name lies about; ``./NAME`` is the folder.
    """
    head = text.partition(":")[0]
    if any(head in (c.record.name, c.name) for c in registry.of_kind(kind)):
        return False
    return Path(text).exists() or Path(head).exists() or head.startswith(("/", "./", "../", "~"))


def models(registry: Registry, text: str, more: Mapping[str, object]) -> list[tuple[str, Use]]:
    """The (member name, model) pairs that ``--model text`` means.

    A component name or a single file gives one pair with an empty member name; a folder of models is a family and
    gives one pair a file, named by the file's stem, in sorted order.
    """
    suffixes = _suffixes(registry)
    head, _, rest = text.partition(":")
    if not is_path(registry, "model", text) and Path(head).suffix not in suffixes:
        return [("", use(registry, "model", text, more))]
    path = Path(text).expanduser() if Path(text).exists() else Path(head).expanduser()
    values = {**more, **(parse_spec(f"x:{rest}")[1] if rest and path == Path(head).expanduser() else {})}
    if path.is_dir():
        files = _model_files(path, suffixes)
        if not files:
            raise ModelError(f"no model file in {path}", f"put files ending in {', '.join(suffixes)} there")
        return [(f.stem, _model_file(registry, f, suffixes, values)) for f in files]
    if not path.exists():
        raise ModelError(f"model file {path} does not exist", "give a file, a folder of models or a component name")
    return [("", _model_file(registry, path, suffixes, values))]


def _suffixes(registry: Registry) -> dict[str, Registered]:
    found: dict[str, Registered] = {}
    for component in registry.of_kind("model"):
        record = component.record
        assert isinstance(record, ModelRecord)
        for suffix in record.suffixes:
            found.setdefault(suffix, component)
    return found


def _model_files(folder: Path, suffixes: Mapping[str, Registered]) -> list[Path]:
    """Model files of a folder; a card (.toml beside a model of the same stem) is not a model of its own."""
    files = sorted(f for f in folder.iterdir() if f.is_file() and f.suffix in suffixes)
    stems = {f.stem for f in files if f.suffix != ".toml"}
    return [f for f in files if f.suffix != ".toml" or (f.stem not in stems and _names_a_model(f))]


def runs_recorded(folder: Path) -> int:
    """How many training runs the record of a family, ``family.toml`` in the folder or in the one around it, tells of.

    0 where there is none that can be read: a folder of models needs no record.
    """
    for place in (folder, folder.resolve().parent):
        try:
            runs = tomllib.loads((place / FAMILY_RECORD).read_text(encoding="utf-8"))["family"]["runs"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(runs, int):
            return runs
    return 0


def _names_a_model(file: Path) -> bool:
    """Whether a TOML file in a folder of models describes one, rather than anything else."""
    try:
        return bool({"factory", "weights", "path"} & set(tomllib.loads(file.read_text(encoding="utf-8"))))
    except (OSError, ValueError):
        return False


def _model_file(
    registry: Registry, path: Path, suffixes: Mapping[str, Registered], values: Mapping[str, object]
) -> Use:
    if path.suffix not in suffixes:
        raise ModelError(
            f"{path.name}: no model component reads files ending in '{path.suffix}'",
            f"known endings: {', '.join(sorted(suffixes))}",
        )
    return make(suffixes[path.suffix], {"path": str(path), **values})


def dataset(registry: Registry, text: str, more: Mapping[str, object]) -> Use:
    """The dataset that ``--dataset text`` means: a component name, or a folder or file recognised by its contents."""
    if not is_path(registry, "dataset", text):
        return use(registry, "dataset", text, more)
    head, _, rest = text.partition(":")
    whole = Path(text).exists()
    path = Path(text if whole else head).expanduser()
    values = {**more, **({} if whole or not rest else parse_spec(f"x:{rest}")[1])}
    if not path.exists():
        raise DatasetError(f"dataset folder {path} does not exist", "give a folder, a manifest or a dataset's name")
    candidates = [c for c in registry.of_kind("dataset") if isinstance(c.record, DatasetRecord) and c.record.markers]
    for component in sorted(candidates, key=lambda c: (c.record.precedence, c.name)):  # type: ignore[attr-defined]
        markers = component.record.markers  # type: ignore[attr-defined]
        if (path.is_file() and path.name in markers) or any((path / m).exists() for m in markers):
            return make(component, {"path": str(path), **values})
    known = "; ".join(f"{c.record.name}: {' or '.join(c.record.markers)}" for c in candidates)  # type: ignore[attr-defined]
    raise DatasetError(f"{path} holds nothing that a dataset recognises", f"expected one of {known}")


def parse_overrides(entries: Mapping[str, object]) -> dict[tuple[str, str], dict[str, object]]:
    """Split ``{"explainer.rise.masks": 8000}`` into ``{("explainer", "rise"): {"masks": 8000}}``."""
    found: dict[tuple[str, str], dict[str, object]] = {}
    for key, value in entries.items():
        parts = key.split(".")
        if len(parts) != 3 or parts[0] not in ("model", "dataset", "explainer", "metric", "executor"):
            raise UsageError(f"parameter '{key}' is not KIND.NAME.KEY", "write for example explainer.rise.masks=8000")
        found.setdefault((parts[0], parts[1]), {})[parts[2]] = value
    return found
