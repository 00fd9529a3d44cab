"""Draw small faults at random, put each into a copy of the checkout, and see whether a test notices.

A *mutant* is the product with one operator, number or keyword changed (cosmic-ray's operators; ``nox -s mutants``
installs it). Mutants of annotations and docstrings are not drawn, since they change nothing that runs. Each mutant
meets the tests of its own folder, stopped at the first failure; a time limit counts as noticed. What survives is
printed with its difference, for a reader to judge: some mutants are equivalent to the original.

    python tools/mutants.py --count 60 --seed 1 [--jobs 2] [--only REGEX]
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import SimpleQueue

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

ROOT = Path(__file__).resolve().parents[1]

TRIVIAL = re.compile(r"Bit|Shift|Invert|Pow\b|Decorator")
"""Operators whose mutants of numbers raise at once: any test that runs the line notices."""

GATES = "fill_gate|score_gates|manipulation_methods|verdicts|score_items|marks|censoring|by_column|board_cells"
PLUGINS = "tests/plugins"
FROZEN = "tests/repository/test_frozen_records.py"
TESTS = {
    r"plugins/xaibench_statistics/": [f"{PLUGINS}/xaibench_statistics", f"{PLUGINS}/xaibench_report", FROZEN],
    r"plugins/xaibench_metrics/": [f"{PLUGINS}/xaibench_metrics", f"{PLUGINS}/xaibench_testing/conformance", FROZEN],
    rf"plugins/xaibench_report/[a-z]+/({GATES})\.py": [f"{PLUGINS}/xaibench_report", FROZEN],
}
"""Files that are mutated, as patterns of their path, and the tests that each has to fail."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One occurrence of one operator in one file. ``path`` is relative to the checkout."""

    path: str
    operator: str
    arguments: tuple[tuple[str, object], ...]
    occurrence: int

    def code(self, source: str) -> str:
        """The changed source."""
        operator = cosmic_ray.plugins.get_operator(self.operator)(**dict(self.arguments))
        changed = mutate_code(source, operator, self.occurrence)
        if changed is None:
            raise RuntimeError(f"{self}: no such occurrence")
        return str(changed)


def mutated_files(only: str) -> list[str]:
    """The files of :data:`TESTS`, sorted."""
    files = (p.relative_to(ROOT).as_posix() for p in (ROOT / "plugins").rglob("*.py"))
    return sorted(f for f in files if any(re.match(t, f) for t in TESTS) and re.search(only, f))


def mutants_of(path: str) -> Iterator[Mutant]:
    """Every mutant of a file, those that change nothing that runs too."""
    nodes = list(ast_nodes(get_ast((ROOT / path).read_text(encoding="utf-8"))))
    for name in sorted(cosmic_ray.plugins.operator_names()):
        operator_class = cosmic_ray.plugins.get_operator(name)
        if operator_class.arguments() or TRIVIAL.search(name):
            continue
        operator = operator_class()
        for occurrence in range(sum(1 for node in nodes for _ in operator.mutation_positions(node))):
            yield Mutant(path, name, (), occurrence)


def changes_something(mutant: Mutant) -> bool:
    """Whether the changed file is another program: not an annotation or a docstring, and no syntax error."""
    source = (ROOT / mutant.path).read_text(encoding="utf-8")
    try:
        return _running_code(mutant.code(source)) != _running_code(source)
    except SyntaxError:
        return False


def _running_code(source: str) -> str:
    """The syntax tree without annotations and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign | ast.arg):
            node.annotation = ast.Constant(None)  # type: ignore[assignment]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(getattr(node, "body", None), list):
            node.body = [s for s in node.body if not _is_text(s)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def draw(count: int, seed: int, only: str) -> list[Mutant]:
    """``count`` mutants, drawn among all of all files alike."""
    every = [m for path in mutated_files(only) for m in mutants_of(path)]
    print(f"{len(every)} mutants in {len(mutated_files(only))} files; seed {seed}", flush=True)
    random.Random(seed).shuffle(every)
    return list(islice(filter(changes_something, every), count))


def checkout(folder: Path) -> Path:
    """A copy that the tests import in place of the installed one."""
    copied = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "dist", "site", "runs")
    shutil.copytree(ROOT, folder, ignore=copied)
    shared = ROOT.parent / "shared"
    if shared.exists() and not (folder.parent / "shared").exists():
        (folder.parent / "shared").symlink_to(shared)
    return folder


def nearest_first(mutant: Mutant, folder: Path, tests: list[str]) -> list[str]:
    """The test files, those first that name the module of a mutant most often: they are likely to notice."""
    stem = re.escape(Path(mutant.path).stem)
    pattern = re.compile(rf"{stem}|{stem.replace('_', '-')}")
    places = [folder / t for t in tests]
    files = sorted(p for place in places for p in ([place] if place.is_file() else place.rglob("test_*.py")))
    named = {p: len(pattern.findall(p.read_text(encoding="utf-8"))) for p in files}
    return [str(p.relative_to(folder)) for p in sorted(files, key=lambda p: -named[p])]


def notices(mutant: Mutant, folder: Path, limit: float) -> str:
    """``failed``, ``timed out`` or ``survived``."""
    target = folder / mutant.path
    source = target.read_text(encoding="utf-8")
    tests = next(tests for pattern, tests in TESTS.items() if re.match(pattern, mutant.path))
    paths = os.pathsep.join([str(folder / "core"), str(folder / "plugins")])
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command = [sys.executable, "-m", "pytest", *options, *nearest_first(mutant, folder, tests)]
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    target.write_text(mutant.code(source), encoding="utf-8")
    try:
        ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return "timed out"
    finally:
        target.write_text(source, encoding="utf-8")
    return "survived" if ended.returncode == 0 else "failed"


def difference(mutant: Mutant) -> str:
    """The lines that a mutant changes."""
    source = (ROOT / mutant.path).read_text(encoding="utf-8")
    lines = difflib.unified_diff(source.splitlines(), mutant.code(source).splitlines(), mutant.path, n=1, lineterm="")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit", type=float, default=900, help="seconds for the tests of one mutant")
    parser.add_argument("--only", default="", help="a regular expression of paths")
    chosen = parser.parse_args()
    mutants = draw(chosen.count, chosen.seed, chosen.only)
    with tempfile.TemporaryDirectory() as hold, ThreadPoolExecutor(chosen.jobs) as pool:
        folders: SimpleQueue[Path] = SimpleQueue()
        for i in range(chosen.jobs):
            folders.put(checkout(Path(hold) / f"copy-{i}"))

        def judge(mutant: Mutant) -> str:
            folder = folders.get()
            try:
                verdict = notices(mutant, folder, chosen.limit)
            finally:
                folders.put(folder)
            print(f"{verdict}: {mutant.path} {mutant.operator} {mutant.occurrence}", flush=True)
            return verdict

        verdicts = list(pool.map(judge, mutants))
    survivors = [m for m, v in zip(mutants, verdicts, strict=True) if v == "survived"]
    for mutant in survivors:
        print(f"\n{difference(mutant)}")
    print(f"\n{len(survivors)} of {len(mutants)} survived")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
