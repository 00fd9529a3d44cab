"""Digests and unit keys: a key covers everything that can change a number, and nothing else."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from xaibench.api import Fill, Parameters, digest
from xaibench.discovery.components import HELD, Use
from xaibench.discovery.registry import Origin, Registered

KEY_SCHEME = 1


def unit_key(parts: Mapping[str, object]) -> str:
    """Key of a unit, 32 hex digits; ``parts`` is everything that can change its numbers."""
    return digest({"scheme": KEY_SCHEME, **parts})[:32]


def component_identity(component: Registered) -> dict[str, Any]:
    """Name, versions and, for code that can change without its version changing, the digest of that code."""
    identity: dict[str, Any] = {
        "name": component.name,
        "definition": component.record.version,
        "distribution": component.origin.version,
    }
    code = code_digest(component.origin, component.record.target)
    return identity | ({"code": code} if code else {})


def code_digest(origin: Origin, target: str) -> str | None:
    """Digest of the Python files behind a local or editable component; None for an installed release.

    The files are those of every package that the distribution brings, and of the target's own, since components use
    what lies beside them; for a ``--plugin`` file it is the file itself.
    """
    if origin.distribution in ("local", HELD):
        return origin.version
    if not is_editable(origin.distribution):
        return None
    packages = {target.partition(":")[0].partition(".")[0], *_packages(origin.distribution)}
    return digest({p: _package_digest(p) for p in sorted(packages)})[:16]


@cache
def _packages(distribution: str) -> frozenset[str]:
    """Top-level packages behind a distribution's entry points, and those that lie beside them in its folders."""
    try:
        points = importlib.metadata.distribution(distribution).entry_points
    except importlib.metadata.PackageNotFoundError:
        return frozenset()
    tops = {p.value.partition(":")[0].partition(".")[0] for p in points}
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
    files = sorted((f.relative_to(root).as_posix(), f) for root in roots for f in root.rglob("*.py"))
    if not files and spec and spec.origin:
        files = [(Path(spec.origin).name, Path(spec.origin))]
    total = hashlib.sha256()
    for name, file in files:
        total.update(name.encode() + b"\0" + file.read_bytes())
    return total.hexdigest()[:16]


def use_identity(use: Use) -> dict[str, Any]:
    """All of a component that can change numbers: versions, code, every parameter, the fills that they name, the
    content it reads."""
    identity = component_identity(use.registered) | {"as": use.name, "parameters": json.loads(use.ref.parameters)}
    named = {fill: fill.component for fill in _fills(use.parameters)}
    fills = {fill: component_identity(c) for fill, c in named.items() if isinstance(c, Registered)}
    content = getattr(use.instance, "content_digest", None)
    return identity | ({"fills": fills} if fills else {}) | ({"content": content()} if content else {})


def _fills(value: object) -> Iterator[Fill]:
    """The fills among the values of parameters, however deep."""
    if isinstance(value, Fill):
        yield value
    elif isinstance(value, Parameters):
        yield from _fills(dict(value))
    elif isinstance(value, Mapping | list | tuple | set | frozenset):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _fills(inner)
