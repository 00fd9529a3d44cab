"""The records of a plan: the commit with which it begins, its row of ``runs``, ``run.toml``, what it may not change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import tomli_w

from xaibench.api import PROJECT, canonical_json, digest, printable, redact
from xaibench.store.commits import PLAN_TABLES, CommitLog, DataFile
from xaibench.store.merging import START
from xaibench.store.provenance import provenance, version_of
from xaibench.store.schema import RUNS
from xaibench.store.table_paths import shorten

_MANY = 16


def run_id() -> str:
    """The id of an invocation, from the time in UTC."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def add_plan(log: CommitLog, samples: pa.Table, runs: Iterable[pa.Table], components: Iterable[pa.Table]) -> None:
    """Commit the tables of a plan. ``samples`` takes the place of the earlier one; the others are added to.

    The commit replaces those of earlier plans, and takes over their files of ``runs`` and ``components``: as they are,
    or in one where they are many. Commits that are lost are replaced, too: their work is done again.
    """
    old = [n for n, c in log.commits.items() if c.level == START]
    tables = {"samples": [samples], "runs": list(runs), "components": list(components)}
    adopted: list[DataFile] = []
    for table in PLAN_TABLES[1:]:
        files = [f for n in old for f in log.commits[n].of(table) if f"{table}/{f.name}" not in log.damage]
        if len(files) < _MANY:
            adopted += files
        else:
            tables[table] = [*(log.read_file(f) for f in files), *tables[table]]
    log.add(tables, (), level=START, replaces=[*old, *log.lost], adopted=adopted)


def is_whole(log: CommitLog) -> bool:
    """Whether no commit and no table of the plan is lost; else a plan that is committed anew takes their place."""
    return not log.lost and not any(name.partition("/")[0] in PLAN_TABLES for name in log.damage)


def run_table(plan: str, run: str, seed: int, command: Sequence[str]) -> pa.Table:
    """A row of ``runs`` with this plan, and the provenance of this process."""
    row = {
        "run": run,
        "started": datetime.now(UTC),
        "command": printable(redact(" ".join(map(shorten, command)))),
        "seed": seed,
        "plan": plan,
        "plan_digest": digest(plan),
        "provenance": canonical_json(provenance()),
    }
    return pa.Table.from_pylist([row], schema=RUNS)


def run_toml(run_file: Mapping[str, Any], run: str, commit: int, paths: Mapping[str, str]) -> str:
    """The text of ``run.toml``: the settings of the last plan, as a run file, the number of the last commit, and what
    the shortened ``paths`` in the tables stand for."""
    record = {"xaibench": version_of(PROJECT), "run": run, "commit": commit, "paths": dict(sorted(paths.items()))}
    return "# Written by xaibench; `xaibench eval` on this file does the same run.\n" + tomli_w.dumps(
        {**run_file, "record": record}
    )


def changes_of(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """What a plan changes of an earlier one's identity, in words by key; it may add to it."""
    return {key: _describe(key, old[key], new[key]) for key in old if key in new and old[key] != new[key]}


def _describe(key: str, old: object, new: object) -> str:
    is_short = all(len(str(value)) <= 40 for value in (old, new))
    return f"{key} was {old}, now {new}" if is_short else f"{key} is not the same as it was"
