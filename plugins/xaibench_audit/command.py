"""The command ``audit``: options are declared here, everything that computes is imported when it is given."""

from __future__ import annotations

import json as jsonlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from xaibench.errors import UsageError

LEAST = 10


def audit(
    metric: Annotated[
        list[str] | None, typer.Option("--metric", "-x", help="Metric, NAME[:KEY=VALUE,...]; default all that rank.")
    ] = None,
    evidence: Annotated[
        list[str] | None, typer.Option("--evidence", help="Planted evidence: patch, seam@0.5 ...; default all.")
    ] = None,
    pictures: Annotated[int | None, typer.Option(help="Fakes, each with its real counterpart (default 12).")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the pictures and of every draw.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Three kinds of evidence, ten fakes, no explainers.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the tables (Parquet).")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", help="Worker processes (default: all cores).")] = None,
    plugin: Annotated[list[Path] | None, typer.Option("--plugin", help="Load a one-off plugin file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Say which measures can be believed: run each on detectors whose evidence is planted and known."""
    from xaibench.registry import load_registry
    from xaibench_audit import audit as auditing
    from xaibench_audit.evidence import NAMES
    from xaibench_audit.evidence import evidence as known
    from xaibench_audit.maps import EXPLAINERS
    from xaibench_audit.tables import open_folder, to_json, write

    if pictures is not None and pictures < LEAST:
        raise UsageError(f"--pictures {pictures} gives no intervals", f"take {LEAST} or more")
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs {jobs} is no number of processes", "take 1 or more")
    registry = load_registry(plugin or [])
    for failure in registry.failures:
        print(f"broken plugin: {failure}", file=sys.stderr)
    names = metric or []
    wanted = tuple(dict.fromkeys(known(n).name for n in evidence or (QUICK if quick else NAMES)))
    settings = auditing.Settings(
        metrics=auditing.chosen_metrics(registry, names),
        questions=() if quick and not names else auditing.chosen_questions(registry, names),
        evidence=tuple(n for n in NAMES if n in wanted),
        pairs=pictures or (LEAST if quick else 12),
        draws=1 if quick else 3,
        explainers=() if quick else EXPLAINERS,
        seed=seed,
        plugins=tuple(str(p) for p in plugin or []),
    )
    if out is not None:
        open_folder(out)
    cores = 1 if quick else len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = auditing.run(settings, jobs or cores, progress())
    if out is not None:
        write(found, out)
        print(f"tables in {out}", file=sys.stderr)
    if json:
        print(jsonlib.dumps(to_json(found)))
    else:
        from rich.console import Console

        from xaibench_audit.render import show

        show(found, Console())
    raise typer.Exit(1 if found.failed else 0)


QUICK = ("patch", "missing-texture", "seam")


def progress() -> Callable[[str, int, int], None]:
    """A line on stderr after each piece, with the time so far."""
    began = time.monotonic()

    def say(title: str, finished: int, of: int) -> None:
        print(f"audit: {finished} of {of}, {title}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)

    return say
