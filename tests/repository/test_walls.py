"""The walls of the house: who may import whom, wherever an import stands, and what importing a door loads.

import-linter holds the same walls between modules (``lint-imports``, contracts in pyproject.toml). Here is what it cannot
say: where in a file an import stands, which names a door offers, circles through a package's own ``__init__``, and what
is loaded.
"""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(p.name for p in (ROOT / "plugins").iterdir() if p.is_dir() and any(p.rglob("*.py")))
LIBRARIES = {  # each with those that it may import
    "xaibench_statistics": (),
    "xaibench_operations": ("xaibench_statistics",),
    "xaibench_perturbation": ("xaibench_statistics",),
    "xaibench_testing": ("xaibench_operations", "xaibench_perturbation", "xaibench_statistics"),
}
BELOW = {  # each room of the core with those that it may import
    "api": (),
    "data": ("api",),
    "detector": ("api",),
    "discovery": ("api",),
    "store": ("api", "data", "detector", "discovery"),
    "plan": ("api", "data", "detector", "discovery", "store"),
    "run": ("api", "data", "detector", "discovery", "store", "plan"),
    "cli": ("api", "data", "detector", "discovery", "store", "plan", "run", ""),
    "": ("api", "data", "detector", "discovery", "store", "plan", "run"),  # the upper door
    "__main__": ("cli",),
}
LAZY_DOORS = ("xaibench", "xaibench.api", "xaibench_testing")
DOORS = (*LAZY_DOORS, "xaibench_operations", "xaibench_perturbation", "xaibench_statistics")
HEAVY = ("torch", "numpy", "scipy", "pyarrow", "onnxruntime", "pydantic", "PIL")

Place = Literal["module", "typing", "function"]


# ---- what is imported, and where ------------------------------------------------------------------------------------


def _modules() -> dict[str, Path]:
    """Every module of core and plugins with its file."""
    files = [(root, f) for root in ("core", "plugins") for f in (ROOT / root).rglob("*.py")]
    names = {f.relative_to(ROOT / root).with_suffix("").as_posix().replace("/", "."): f for root, f in files}
    return {name.removesuffix(".__init__"): file for name, file in sorted(names.items())}


MODULES = _modules()


@dataclass(frozen=True)
class Import:
    """``from module import name`` (``name`` empty for ``import module``) in a file."""

    importer: str
    module: str
    name: str
    place: Place
    line: int

    @property
    def target(self) -> str:
        """The module that is imported."""
        inner = f"{self.module}.{self.name}"
        return inner if inner in MODULES else self.module

    def __str__(self) -> str:
        what = f"from {self.module} import {self.name}" if self.name else f"import {self.module}"
        return f"{MODULES[self.importer].relative_to(ROOT)}:{self.line}: {what}"


def imports_in(importer: str, source: str) -> Iterator[Import]:
    """The imports of our own packages in a source text."""
    for node, place in _placed(ast.parse(source), "module"):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{importer}:{node.lineno}: a relative import"
            found = [(node.module or "", alias.name) for alias in node.names]
        else:
            found = [(alias.name, "") for alias in node.names]
        for module, name in found:
            if module.partition(".")[0] in ("xaibench", *PLUGINS):
                yield Import(importer, module, name, place, node.lineno)


def _placed(tree: ast.AST, place: Place) -> Iterator[tuple[ast.Import | ast.ImportFrom, Place]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, place
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _placed(node, "function")
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from _placed(node, "typing")
        else:
            yield from _placed(node, place)


IMPORTS = [i for name, file in MODULES.items() for i in imports_in(name, file.read_text(encoding="utf-8"))]


def room_of(module: str) -> str:
    """The room of a module of the core; the upper door's is ``""``."""
    return module.partition(".")[2].partition(".")[0]


def allowed_to_plugin(found: Import) -> bool:
    """Walls 2 and 3: the lower door; the upper door inside functions and for types; libraries by their packages."""
    own = found.importer.partition(".")[0]
    if found.module.partition(".")[0] == own:
        return True
    if found.target == "xaibench":
        return own != "xaibench_statistics" and found.place != "module"
    if found.target == "xaibench.api":
        return own != "xaibench_statistics"
    return found.target in LIBRARIES.get(own, LIBRARIES)


def allowed_to_room(found: Import) -> bool:
    """Walls 1 and 2: rooms below, and of the plugins the library of statistics by its package."""
    if found.module.partition(".")[0] != "xaibench":
        return found.target == "xaibench_statistics"
    importer, target = room_of(found.importer), room_of(found.target)
    return target == importer or target in BELOW[importer]


# ---- the walls ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_imports_the_doors_and_the_libraries_alone(plugin):
    mine = [i for i in IMPORTS if i.importer.partition(".")[0] == plugin]
    assert mine
    assert [str(i) for i in mine if not allowed_to_plugin(i)] == []


@pytest.mark.parametrize("room", BELOW)
def test_a_room_imports_rooms_below_it_alone(room):
    mine = [i for i in IMPORTS if i.importer.partition(".")[0] == "xaibench" and room_of(i.importer) == room]
    assert [str(i) for i in mine if not allowed_to_room(i)] == []


def test_every_module_of_the_core_lies_in_a_room():
    assert {room_of(m) for m in MODULES if m.partition(".")[0] == "xaibench"} == set(BELOW)


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_names_no_room_in_a_string(plugin):
    """What is imported by its name passes the walls by no other way."""
    inner = re.compile(rf"xaibench\.(?:{'|'.join(r for r in BELOW if r)})(?:\.\w+)*(?::\w+)?")
    for name, file in MODULES.items():
        if name.partition(".")[0] == plugin:
            texts = (
                n.value for n in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(n, ast.Constant)
            )
            assert not [t for t in texts if isinstance(t, str) and inner.fullmatch(t)], file


@pytest.mark.parametrize(
    ("importer", "text", "allowed"),
    [
        ("xaibench_metrics.plugin", "from xaibench.api import Score", True),
        ("xaibench_metrics.plugin", "from xaibench.api import metrics", False),
        ("xaibench_metrics.plugin", "from xaibench.api.metrics import Score", False),
        ("xaibench_metrics.plugin", "from xaibench import Bench", False),
        ("xaibench_metrics.plugin", "def f():\n    from xaibench import Bench", True),
        ("xaibench_metrics.plugin", "def f():\n    from xaibench import run", False),
        ("xaibench_metrics.plugin", "if TYPE_CHECKING:\n    from xaibench import Bench", True),
        ("xaibench_metrics.plugin", "class C:\n    def f(self):\n        import xaibench.run.workbench", False),
        ("xaibench_metrics.plugin", "from xaibench_testing import Subject", True),
        ("xaibench_metrics.plugin", "from xaibench_testing.checks import Case", False),
        ("xaibench_metrics.plugin", "def f():\n    import xaibench_models", False),
        ("xaibench_perturbation.fills", "from xaibench_testing import Subject", False),
        ("xaibench_statistics.auc", "from xaibench.api import Score", False),
        ("xaibench.run.worker", "from xaibench.plan import Plan", True),
        ("xaibench.run.worker", "def f():\n    from xaibench.cli import main", False),
        ("xaibench.run.worker", "from xaibench import Bench", False),
        ("xaibench.cli.main", "from xaibench import Bench", True),
        ("xaibench.data.order", "from xaibench.detector.calls import call", False),
        ("xaibench.store.folder", "from xaibench_statistics import Values", True),
        ("xaibench.store.folder", "from xaibench_statistics.values import Values", False),
        ("xaibench.store.folder", "from xaibench_report import cells", False),
    ],
)
def test_what_the_walls_allow(importer, text, allowed):
    (found,) = imports_in(importer, text)
    judge = allowed_to_room if importer.startswith("xaibench.") else allowed_to_plugin
    assert judge(found) is allowed


# ---- no circles -----------------------------------------------------------------------------------------------------


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The sets of nodes that reach one another (Tarjan 1972), each sorted."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            at = stack.index(node)
            component = stack[at:]
            del stack[at:]
            if len(component) > 1 or node in graph.get(node, ()):
                found.append(sorted(component))

    for node in graph:
        if node not in number:
            visit(node)
    return sorted(found)


def test_circles_are_seen():
    graph = {"a": ["b"], "b": ["c", "d"], "c": ["a"], "d": ["e"], "e": ["d", "f"], "f": [], "g": ["g"]}
    assert circles(graph) == [["a", "b", "c"], ["d", "e"], ["g"]]


def test_no_file_imports_itself_by_way_of_others():
    """Imports inside functions and for types included."""
    graph = {module: sorted({i.target for i in IMPORTS if i.importer == module}) for module in MODULES}
    assert circles(graph) == []


# ---- the doors ------------------------------------------------------------------------------------------------------


def in_order(names: Iterable[str]) -> list[str]:
    """Constants, classes, then the rest, each in natural order: as ruff sorts ``__all__`` (RUF022)."""

    def key(name: str) -> tuple[int, list[tuple[int, int | str]]]:
        kind = 0 if name.isupper() else 1 if name[0].isupper() else 2
        return kind, [(0, int(p)) if p.isdigit() else (1, p) for p in re.split(r"(\d+)", name) if p]

    return sorted(names, key=key)


@pytest.mark.parametrize("door", DOORS)
def test_a_door_offers_what_it_imports_in_order(door):
    offered = list(importlib.import_module(door).__all__)
    imported = [i.name for i in IMPORTS if i.importer == door]
    assert offered == in_order(offered)
    assert sorted(offered) == sorted(imported)


@pytest.mark.parametrize("door", DOORS)
def test_every_name_of_a_door_can_be_imported(door):
    module = importlib.import_module(door)
    for name in module.__all__:
        assert getattr(module, name) is not None
        assert f"{door}.{name}" not in MODULES, f"{name} is a module of {door} too"


@pytest.mark.parametrize("door", LAZY_DOORS)
def test_a_lazy_door_finds_each_name_where_its_types_say(door):
    module = importlib.import_module(door)
    said = {i.name: i.module.removeprefix(f"{door}.") for i in IMPORTS if i.importer == door and i.place == "typing"}
    assert said == module._MODULE_OF
    assert set(dir(module)) == set(module.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        module.nothing  # noqa: B018


# ---- what is loaded -------------------------------------------------------------------------------------------------


def loaded_by(module: str) -> set[str]:
    """``sys.modules`` of a fresh interpreter that imports ``module``."""
    code = f"import sys, {module}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("door", LAZY_DOORS)
def test_a_lazy_door_loads_nothing_heavy(door):
    assert loaded_by(door) & {*HEAVY, "pytest"} == set()


def test_the_upper_door_loads_no_room():
    assert {m for m in loaded_by("xaibench") if m.startswith("xaibench")} == {"xaibench"}


@pytest.mark.parametrize("plugin", [p for p in PLUGINS if f"{p}.plugin" in MODULES])
def test_a_registration_module_loads_nothing_heavy_and_no_room(plugin):
    loaded = loaded_by(f"{plugin}.plugin")
    assert loaded & {"torch", "scipy", "pyarrow", "onnxruntime"} == set()
    ours = {m.partition(".")[2].partition(".")[0] for m in loaded if m.partition(".")[0] == "xaibench"}
    assert ours <= {"", "api"}


# ---- import-linter --------------------------------------------------------------------------------------------------

CONTRACTS = {
    c["name"]: c
    for c in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
}


def test_no_contract_lists_an_exception():
    options = {option for contract in CONTRACTS.values() for option in contract}
    assert not {o for o in options if "ignore" in o or "skip" in o}


def test_the_contracts_name_every_plugin_and_room():
    (circles_,) = (c for c in CONTRACTS.values() if c["type"] == "acyclic_siblings")
    assert sorted(circles_["ancestors"]) == sorted(["xaibench", *PLUGINS])
    layered = [
        {n for layer in c["layers"] for n in layer.split(" | ")} for c in CONTRACTS.values() if c["type"] == "layers"
    ]
    assert set(PLUGINS) in layered
    assert set(BELOW) - {""} in layered
    core = CONTRACTS["the core imports no plugin but the library of statistics"]
    assert sorted(core["forbidden_modules"]) == sorted(set(PLUGINS) - {"xaibench_statistics"})
    protected = {m for c in CONTRACTS.values() if c["type"] == "protected" for m in c["protected_modules"]}
    rooms = {f"xaibench.{room}" for room in BELOW if room not in ("", "__main__", "api")}
    assert protected == rooms | {"xaibench.api.*", *(f"{library}.*" for library in LIBRARIES)}
