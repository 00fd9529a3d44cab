"""Models and data sets given as paths: which component reads a file or folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from xaibench.api import (
    FAMILY_RECORD,
    DatasetError,
    DatasetRecord,
    Kind,
    Location,
    ModelError,
    ModelRecord,
    RemotePath,
    is_url,
    list_folder,
    location,
    parse_spec,
    parse_toml,
    split_parameters,
)
from xaibench.discovery.components import Use, make, overrides_of
from xaibench.discovery.registry import Registered, Registry, load_registry


def is_path(registry: Registry, kind: Kind, text: str) -> bool:
    """Whether ``--model``/``--dataset`` text means a file or folder: it exists, or it looks like a path or an address.

    A component's name means the component even where a folder of that name lies about; ``./NAME`` is the folder.
    """
    head = text.partition(":")[0]
    if not text or any(head in (c.record.name, c.name) for c in registry.of_kind(kind)):
        return False
    return is_url(text) or Path(text).exists() or Path(head).exists() or head.startswith(("/", "./", "../", "~"))


def open_models(
    text: str, *, overrides: Mapping[str, object] | None = None, registry: Registry | None = None
) -> list[tuple[str, Use]]:
    """The (member name, model) pairs that ``--model text`` means.

    A component name or a single file gives one pair with an empty member name; a folder of models is a family and
    gives one pair a file, named by the file's stem, in sorted order. ``overrides`` are parameter values of any
    components by ``KIND.NAME.KEY``, as ``-p`` gives them; those in ``text`` win.
    """
    registry, more = registry or load_registry(), overrides or {}
    suffixes = _suffixes(registry)
    head = text.partition(":")[0]
    if not is_path(registry, "model", text) and Path(head).suffix not in suffixes:
        return [("", _named(registry, "model", text, more))]
    path, values = model_path(text)
    if path.is_dir():
        files = _model_files(path, suffixes)
        if not files:
            raise ModelError(f"no model file in {path}", f"put files ending in {', '.join(suffixes)} there")
        return [(f.stem, _model_file(f, suffixes, values, more)) for f in files]
    if not path.exists():
        raise ModelError(f"model file {path} does not exist", "give a file, a folder of models or a component name")
    if isinstance(path, RemotePath):  # as it was written: an address may name several file systems
        values = {"path": split_parameters(text)[0], **values}
    return [("", _model_file(path, suffixes, values, more))]


def model_path(text: str) -> tuple[Location, dict[str, object]]:
    """The file or folder that ``--model text`` names, and the parameters after it. It need not exist."""
    if is_url(text):
        address, rest = split_parameters(text)
        return location(address), parse_spec(f"x:{rest}")[1] if rest else {}
    if Path(text).exists():
        return Path(text).expanduser(), {}
    head, _, rest = text.partition(":")
    return Path(head).expanduser(), parse_spec(f"x:{rest}")[1] if rest else {}


def _named(registry: Registry, kind: Kind, text: str, overrides: Mapping[str, object]) -> Use:
    name, values = parse_spec(text)
    registered = registry.find(kind, name)
    return make(registered, {**overrides_of(registered, overrides), **values})


def _suffixes(registry: Registry) -> dict[str, Registered]:
    found: dict[str, Registered] = {}
    for component in registry.of_kind("model"):
        record = component.record
        assert isinstance(record, ModelRecord)
        for suffix in record.suffixes:
            found.setdefault(suffix, component)
    return found


def _model_files(folder: Location, suffixes: Mapping[str, Registered]) -> list[Location]:
    """Model files of a folder; a card (.toml beside a model of the same stem) is not a model of its own."""
    files = sorted(folder / name for name, is_folder in list_folder(folder) if not is_folder)
    files = [f for f in files if f.suffix in suffixes and (isinstance(f, RemotePath) or f.is_file())]
    stems = {f.stem for f in files if f.suffix != ".toml"}
    return [f for f in files if f.suffix != ".toml" or (f.stem not in stems and _names_a_model(f))]


def runs_recorded(folder: Location) -> int:
    """How many training runs the record of a family, ``family.toml`` in the folder or in the one around it, tells of.

    0 where there is none that can be read: a folder of models needs no record.
    """
    for place in (folder, folder.resolve().parent):
        try:
            runs = parse_toml((place / FAMILY_RECORD).read_text(encoding="utf-8"))["family"]["runs"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(runs, int):
            return runs
    return 0


def _names_a_model(file: Location) -> bool:
    """Whether a TOML file in a folder of models describes one, rather than anything else."""
    try:
        return bool({"factory", "weights", "path"} & set(parse_toml(file.read_text(encoding="utf-8"))))
    except (OSError, ValueError):
        return False


def _model_file(
    path: Location, suffixes: Mapping[str, Registered], values: Mapping[str, object], overrides: Mapping[str, object]
) -> Use:
    if path.suffix not in suffixes:
        raise ModelError(
            f"{path.name}: no model component reads files ending in '{path.suffix}'",
            f"known endings: {', '.join(sorted(suffixes))}",
        )
    registered = suffixes[path.suffix]
    return make(registered, {"path": str(path), **overrides_of(registered, overrides), **values})


def _address(text: str) -> tuple[str, dict[str, object]]:
    """The path or address of a dataset, and the parameters after it. A path that exists as it is has none."""
    if not is_url(text) and Path(text).exists():
        return text, {}
    address, rest = split_parameters(text)
    return address, parse_spec(f"x:{rest}")[1] if rest else {}


def open_dataset(text: str, *, overrides: Mapping[str, object] | None = None, registry: Registry | None = None) -> Use:
    """The dataset that ``--dataset text`` means: a component name, or a folder or file recognised by its contents.

    ``overrides`` as in :func:`open_models`. The alias of a folder or file is its own name.
    """
    registry, more = registry or load_registry(), overrides or {}
    if not is_path(registry, "dataset", text):
        return _named(registry, "dataset", text, more)
    address, values = _address(text)
    path = location(address).expanduser()
    if not path.exists():
        raise DatasetError(f"dataset folder {path} does not exist", "give a folder, a manifest or a dataset's name")
    candidates = [c for c in registry.of_kind("dataset") if isinstance(c.record, DatasetRecord) and c.record.markers]
    for component in sorted(candidates, key=lambda c: (c.record.precedence, c.name)):  # type: ignore[attr-defined]
        markers = component.record.markers  # type: ignore[attr-defined]
        if (path.is_file() and path.name in markers) or any((path / m).exists() for m in markers):
            place = address if isinstance(path, RemotePath) else str(path)
            use = make(component, {"path": place, **overrides_of(component, more), **values})
            return replace(use, alias=path.resolve().name)
    known = "; ".join(f"{c.record.name}: {' or '.join(c.record.markers)}" for c in candidates)  # type: ignore[attr-defined]
    raise DatasetError(f"{path} holds nothing that a dataset recognises", f"expected one of {known}")
