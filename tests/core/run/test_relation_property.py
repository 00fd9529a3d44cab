"""Random histories of a run: extended, killed, damaged, mended and merged, it reads as a fresh run of the same plan."""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections import Counter
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from dying_files import Killed, dies_after
from hypothesis import HealthCheck, Phase, event, example, given, note, settings
from hypothesis import strategies as st
from toy_runs import EQUAL, glob_differences, toy_run, without_structure

from conftest import comparable, same_bytes
from xaibench.api import StoreError
from xaibench.store import commits, merging
from xaibench.store.commits import CommitLog
from xaibench.store.folder import RUN_FILE, RunFolder

EXAMPLES = int(os.environ.get("XAIBENCH_TEST_HISTORIES") or (400 if os.environ.get("XAIBENCH_TEST_EVERYWHERE") else 6))
EXPLAINERS = ("rows", "flaky", "random", "shared")
METRICS = ("range", "spread", "channels")
LIMITS = range(2, 7)  # the first sample is a real picture, which alone is refused
TABLES = (*EQUAL, "maps", "artefacts")
STORED = ("samples", "runs", "components", "commits", *TABLES)


@dataclass(frozen=True)
class Plan:
    explainers: tuple[str, ...]
    metrics: tuple[str, ...]
    limit: int
    maps: str

    def grown(self, dimension: str | None) -> Plan:
        """One sample, explainer or metric more, where there is one more."""
        more = {
            "limit": {"limit": min(self.limit + 1, max(LIMITS))},
            "explainers": {"explainers": (*self.explainers, *(e for e in EXPLAINERS if e not in self.explainers))[: len(self.explainers) + 1]},
            "metrics": {"metrics": (*self.metrics, *(m for m in METRICS if m not in self.metrics))[: len(self.metrics) + 1]},
        }  # fmt: skip
        return Plan(**{**vars(self), **more.get(dimension or "", {})})

    def run(self, out: Path, **more: Any) -> Any:
        return toy_run(out, explainer=self.explainers, metric=self.metrics, limit=self.limit, maps=self.maps, **more)


@cache
def _fresh_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="xaibench-fresh-"))


@cache
def fresh(plan: Plan) -> dict[str, Any]:
    """The tables of a calm run of a plan."""
    out = _fresh_folder() / f"{len(list(_fresh_folder().iterdir()))}"
    told = os.environ.pop("TOY_FLAKY", None)
    assert plan.run(out).exit_code == 0
    if told:
        os.environ["TOY_FLAKY"] = told
    assert not glob_differences(out, TABLES)
    return {t: rows_of(out, t) for t in TABLES}


def rows_of(out: Path, table: str) -> Any:
    return without_structure(comparable(out, table))


some = {"explainers": st.lists(st.sampled_from(EXPLAINERS), min_size=1, max_size=2, unique=True).map(tuple)}
some |= {"metrics": st.lists(st.sampled_from(METRICS[:2]), min_size=1, max_size=2, unique=True).map(tuple)}
plans = st.builds(Plan, **some, limit=st.sampled_from(LIMITS), maps=st.sampled_from(["keep", "keep", "drop"]))
kills = st.none() | st.integers(0, 25)
steps = st.one_of(
    st.tuples(st.just("eval"), st.sampled_from(["limit", "explainers", "metrics", None]), st.sampled_from([1, 2, 7]), kills),
    st.tuples(
        st.just("damage"), st.sampled_from([RUN_FILE, *STORED]), st.integers(0, 9),
        st.sampled_from(["delete", "cut", "flip"]), st.floats(0, 1, exclude_max=True),
    ),
    st.tuples(st.just("flaky"), st.booleans()),
    st.tuples(st.just("merge"), kills),
)  # fmt: skip
constants = st.fixed_dictionaries({
    "many": st.integers(2, 5), "at_end": st.integers(2, 4), "adopted": st.sampled_from([1, 6000, 2**25]),
    "largest": st.sampled_from([1, 20000, 2**27]),
})  # fmt: skip


@dataclass
class History:
    """A run's folder, what was done to it, and what has to hold."""

    out: Path
    plan: Plan
    before: frozenset[Plan] = frozenset()
    """Plans whose rows may still be shown: of a run that was killed before its first commit the last one's."""
    damaged: list[str] = field(default_factory=list)
    said: str = ""
    """What was said since the damage."""
    failing: bool = False
    """Whether something in the folder may have failed."""

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.out)

    def eval(self, dimension: str | None, size: int, kill: int | None) -> None:
        last, self.plan = self.plan, self.plan.grown(dimension)
        self.before |= {last}
        told, said, killed = bool(os.environ.get("TOY_FLAKY")), io.StringIO(), True
        self.failing |= told and "flaky" in self.plan.explainers
        try:
            with dies_after(kill), redirect_stderr(said):
                self.plan.run(self.out, task_samples=size, rerun="failed" if self.failing else "missing")
        except Killed:
            event("killed")
        else:
            killed = False
        self.said += said.getvalue()
        if killed:  # the next one finds the damage that this one did not come to mend
            self.check_partial()
            return
        self.check_named(self.said)
        self.before, self.damaged, self.said = frozenset({last}), [], ""
        if not told:
            self.failing = False
            self.check_whole()

    def merge(self, kill: int | None) -> None:
        if not self.folder.exists():
            return
        said = io.StringIO()
        with suppress(Killed), dies_after(kill), redirect_stderr(said), self.folder.writing() as log:
            merging.merge_all(log)
        self.damaged += ["?"] if self.damaged else []  # what is left may be named otherwise
        self.check_partial()

    def damage(self, table: str, index: int, how: str, where: float) -> None:
        files = sorted((self.out / table).glob("*.parquet")) if table != RUN_FILE else [self.out / RUN_FILE]
        files = [f for f in files if f.exists()]
        if not files:
            return
        file, used = files[index % len(files)], self.used()
        data = bytearray(file.read_bytes())
        at = int(where * len(data))
        if how == "delete" or not data:
            file.unlink()
        elif how == "cut":
            file.write_bytes(data[:at])
        else:
            data[at] ^= 1 << index % 8
            file.write_bytes(data)
        event(f"damage: {how}")
        note(f"{how} {file.relative_to(self.out)}")
        first, name = not self.damaged, str(file.relative_to(self.out))
        if name not in used:  # a killed process left it, and nobody misses it
            self.check_partial()
            return
        self.damaged.append(name)
        if first and table != RUN_FILE and not self.failing:
            self.check_refused(how)
        else:
            self.check_partial()

    def used(self) -> set[str]:
        """The files that hold something."""
        log = CommitLog.read(self.folder.files)
        names = {f"{f.table}/{f.name}" for c in log.commits.values() for f in c.files}
        return names | {f"commits/{c.name}" for c in log.commits.values()} | {RUN_FILE}

    # ---- what has to hold ----

    def check_whole(self) -> None:
        """After a run's end: it reads as a fresh run, also by a plain glob, and there is nothing left to do."""
        calm = fresh(self.plan)
        wrong = [t for t in TABLES if not same_bytes(rows_of(self.out, t), calm[t])]
        assert not wrong
        assert not glob_differences(self.out, TABLES)
        assert self.folder.snapshot(verify=True).outside == 0
        self.folder.run_file()
        named = Counter((f.table, f.name) for c in self.folder.snapshot().log.commits.values() for f in c.files)
        there = {(t, f.name) for t in STORED if t != "commits" for f in (self.out / t).glob("*")}
        assert set(named) == there and max(named.values()) == 1

    def check_named(self, said: str) -> None:
        """What was damaged is named. Of two damages one may hide the other."""
        if len(self.damaged) == 1 and self.damaged[0] != RUN_FILE:
            table, _, name = self.damaged[0].partition("/")
            wanted = rf"{table}/{name[:8]}" if table == "commits" else re.escape(self.damaged[0])
            assert re.search(wanted, said), f"{self.damaged} is not named in {said!r}"
        if not self.damaged and not self.failing:
            assert not said

    def check_partial(self) -> None:
        """Whatever was done: reading gives rows of a fresh run and no others, or an error that says what is wrong."""
        if self.failing:
            return
        try:
            read = {t: rows_of(self.out, t) for t in EQUAL} if self.folder.exists() else {}
        except StoreError:
            if not self.damaged:
                raise
            return
        for table, rows in read.items():
            allowed = {str(r) for p in {self.plan, *self.before} for r in fresh(p)[table].to_pylist()}
            found = [str(r) for r in rows.to_pylist()]
            assert set(found) <= allowed and len(set(found)) == len(found)

    def check_refused(self, how: str) -> None:
        """The first damage is named by whoever reads the file, and by those who look at all of them."""
        table, _, name = self.damaged[0].partition("/")
        wanted = name[:8] if table == "commits" else name
        if not self.folder.exists():  # that was the only commit
            return
        with pytest.raises(StoreError, match=f"{table}/{wanted}"):
            self.folder.table(table if how == "flip" else "scores")
        assert any(wanted in n for n in self.folder.snapshot(verify=True).log.damage)


@pytest.fixture(scope="module", autouse=True)
def _no_fsync():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@example(  # two runs in a row that end before their first commit
    plan=Plan(("rows",), ("range",), 2, "keep"), size=1, kill=None,
    todo=[("eval", "limit", 1, 0), ("eval", "limit", 1, 0)],
    how={"many": 2, "at_end": 2, "adopted": 1, "largest": 1},
)  # fmt: skip
@given(
    plan=plans, size=st.sampled_from([1, 3, 7]), kill=kills, todo=st.lists(steps, min_size=2, max_size=6), how=constants
)
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, print_blob=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)  # fmt: skip
def test_any_history_reads_as_a_fresh_run(plan, size, kill, todo, how):
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as root:
        patch.setattr(merging, "_MANY", {0: how["many"], 1: how["many"]})
        patch.setattr(merging, "_MANY_AT_END", {0: how["at_end"], 1: how["at_end"]})
        patch.setattr(merging, "_ADOPTED", how["adopted"])
        patch.setattr(commits, "_LARGEST", how["largest"])
        patch.delenv("TOY_FLAKY", raising=False)
        history = History(Path(root) / "run", plan)
        history.eval(None, size, kill)
        for name, *arguments in todo:
            if name == "flaky":
                patch.setenv("TOY_FLAKY", "1") if arguments[0] else patch.delenv("TOY_FLAKY", raising=False)
            else:
                getattr(history, name)(*arguments)
        patch.delenv("TOY_FLAKY", raising=False)
        history.eval(None, 3, None)
        again = history.plan.run(history.out)
        assert (again.done, again.failed, again.exit_code) == (0, 0, 0)
        history.check_whole()
