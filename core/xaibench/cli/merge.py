"""``xaibench merge``: runs into one. What reads and writes them is imported when the command is given."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from xaibench.api import JsonFlag, Parameters, completion, help_page, print_json, setting, with_flags


class Merging(Parameters):
    """What ``xaibench merge`` can be told."""

    out: str = setting(..., "folder or URL of the joined run; a run that is there is joined, too", short="-o")


@help_page(
    "Evaluate",
    "xaibench merge part-1 part-2 -o whole",
    "xaibench merge xaibench-runs/A xaibench-runs/B --out both --json",
)
@with_flags
def merge(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN", help="Folders or URLs of the runs.", autocompletion=completion("run"))
    ],
    *,
    flags: Merging,
    json: JsonFlag = False,
) -> None:
    """Join runs by address: parts of a dataset (eval --part), or other explainers, metrics, detectors or samples."""
    from xaibench.store.joining import join_runs

    joined = join_runs(runs, flags.out)
    for note in joined.notes:
        print(note, file=sys.stderr)
    if json:
        print_json({
            "schema": "xaibench.merge/1", "out": str(joined.out),
            "runs": [{"run": run, "taken": count} for run, count in joined.taken],
            "results": joined.planned, "left": joined.left, "notes": list(joined.notes),
        })  # fmt: skip
        return
    for run, count in joined.taken:
        print(f"{run}: {count:,} results taken")
    print(f"{joined.out}: {joined.planned - joined.left:,} of {joined.planned:,} results")
    if joined.left:
        print(f"left: {joined.left:,}; xaibench eval {joined.out}/run.toml computes them")
