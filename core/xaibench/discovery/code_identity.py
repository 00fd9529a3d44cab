"""Digests and keys of cells: a key covers everything that can change a number, and nothing else."""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from xaibench.api import Fill, Parameters, digest, parse_toml
from xaibench.discovery.components import HELD, Use
from xaibench.discovery.registry import LOCAL, Origin, Registered

KEY_SCHEME = 1

CODE_SUFFIXES = {".py", ".pyc", ".pyd", ".so", ".dylib", ".pyx", ".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp"}
SETTING_SUFFIXES = {".toml", ".json", ".yaml", ".yml", ".ini", ".cfg"}
SOURCE_SUFFIXES = CODE_SUFFIXES | SETTING_SUFFIXES
"""What counts as source in an editable installation. Weights, arrays, pictures and tables do not: they are large, and a
training or a download writes them among the sources. Pictures have digests of their own, detectors have those of their
weights, and a component that reads another file gives ``content_digest``."""


def cell_key(parts: Mapping[str, object]) -> str:
    """Key of a cell, 32 hex digits; ``parts`` is everything that can change its numbers."""
    return digest({"scheme": KEY_SCHEME, **parts})[:32]


def component_identity(component: Registered) -> dict[str, Any]:
    """Name, versions and the digest of the code, which can change under one version number."""
    return {
        "name": component.name,
        "definition": component.record.version,
        "distribution": component.origin.version,
        "code": code_digest(component.origin, component.record.target),
    }


def code_digest(origin: Origin, target: str) -> str:
    """Digest of the code behind a component.

    An installed release: the paths and hashes in the RECORD of its distribution, data files included, so that a rebuilt
    wheel of the same version is other code. An editable installation, and a distribution whose RECORD does not cover
    ``target``: the sources of its packages and of the target's own. A ``--plugin`` file: the file. An object handed
    over in Python: the version given to :func:`~xaibench.discovery.components.hold_component`.
    """
    if origin.distribution in (LOCAL, HELD):
        return origin.version
    module = target.partition(":")[0]
    recorded = _recorded_hashes(origin.distribution)
    stem = module.replace(".", "/")
    if any(path.startswith((f"{stem}.", f"{stem}/__init__.")) for path in recorded):
        return _recorded_digest(origin.distribution)
    packages = {module.partition(".")[0], *_packages(origin.distribution)}
    return digest({p: _package_digest(p) for p in sorted(packages)})[:16]


@cache
def _recorded_digest(distribution: str) -> str:
    return digest(sorted(_recorded_hashes(distribution).items()))[:16]


@cache
def _recorded_hashes(distribution: str) -> dict[str, str]:
    """Path to hash of the files that the RECORD of an installed release names.

    The dist-info folder, scripts and ``__pycache__`` are left out: they differ between two installations of one wheel.
    Empty where RECORD does not describe the code: an editable installation, no RECORD, or a file without a hash in it.
    """
    if is_editable(distribution):
        return {}
    rows = csv.reader((importlib.metadata.distribution(distribution).read_text("RECORD") or "").splitlines())
    hashes = {row[0].replace("\\", "/"): (row[1:] or [""])[0] for row in rows if row}
    kept = {path: value for path, value in hashes.items() if not _is_installers(PurePosixPath(path))}
    return kept if all(kept.values()) else {}


def _is_installers(path: PurePosixPath) -> bool:
    """Whether the installer writes the file. Byte code outside ``__pycache__`` comes with the wheel."""
    script = path.parts[0] in ("..", "/") and path.parent.name in ("bin", "Scripts")
    return script or path.parts[0].endswith(".dist-info") or "__pycache__" in path.parts


@cache
def _packages(distribution: str) -> frozenset[str]:
    """Top-level packages of a distribution; of an editable one, those that lie beside them in its folders too."""
    try:
        found = importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return frozenset()
    points = {p.value.partition(":")[0].partition(".")[0] for p in found.entry_points}
    tops = points | set((found.read_text("top_level.txt") or "").split())
    if not is_editable(distribution):  # the packages beside an installed one are other distributions'
        return frozenset(tops)
    places = {
        Path(r).parent for t in tops if (s := importlib.util.find_spec(t)) for r in s.submodule_search_locations or ()
    }
    beside = {f.parent.name for place in places if place.name != "site-packages" for f in place.glob("*/__init__.py")}
    return frozenset(tops | beside)


@cache
def is_editable(distribution: str) -> bool:
    """Whether pip installed the distribution in development mode (PEP 610), so that its code can change in place."""
    try:
        text = importlib.metadata.distribution(distribution).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return True  # run from a source tree that is on sys.path without being installed
    return bool(text and json.loads(text).get("dir_info", {}).get("editable", False))


@cache
def _package_digest(package: str) -> str:
    spec = importlib.util.find_spec(package)
    roots = [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []
    files = sorted((f.relative_to(root).as_posix(), f) for root in roots for f in _sources(root))
    if not files and spec and spec.origin:
        files = [(Path(spec.origin).name, Path(spec.origin))]
    total = hashlib.sha256()
    for name, file in files:
        total.update(f"{name}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return total.hexdigest()[:16]


def _sources(root: Path) -> Iterator[Path]:
    """The files below a folder that people edit: code, and settings beside it."""
    for folder, inner, names in os.walk(root):
        if "run.toml" in names and _is_run(Path(folder)):
            inner.clear()  # a run that somebody keeps among the sources changes with every commit
            continue
        inner[:] = [name for name in inner if name != "__pycache__" and not name.startswith(".")]
        yield from (Path(folder, name) for name in names if Path(name).suffix in SOURCE_SUFFIXES)


def _is_run(folder: Path) -> bool:
    """Whether ``run.toml`` is the record of a run and not a run file of the user."""
    try:
        return "record" in parse_toml((folder / "run.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def use_identity(use: Use) -> dict[str, Any]:
    """All of a component that can change numbers: versions, code, every parameter, the fills that they name, the
    content it reads."""
    identity = component_identity(use.registered) | {"as": use.name, "parameters": json.loads(use.ref.parameters)}
    fills = {fill: component_identity(component) for fill, component in fills_of(use).items()}
    content = getattr(use.instance, "content_digest", None)
    return identity | ({"fills": fills} if fills else {}) | ({"content": content()} if content else {})


def fills_of(use: Use) -> dict[Fill, Registered]:
    """The components of the fills that the parameters of a component name."""
    named = {fill: fill.component for fill in _fills(use.parameters)}
    return {fill: component for fill, component in named.items() if isinstance(component, Registered)}


def _fills(value: object) -> Iterator[Fill]:
    """The fills among the values of parameters, however deep."""
    if isinstance(value, Fill):
        yield value
    elif isinstance(value, Parameters):
        yield from _fills(dict(value))
    elif isinstance(value, Mapping | list | tuple | set | frozenset):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _fills(inner)
