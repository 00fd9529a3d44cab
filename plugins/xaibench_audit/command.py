"""The command ``audit``: options are declared here, everything that computes is imported when it is given."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xaibench.api import (
    SHARED_FLAGS,
    JsonFlag,
    PluginFiles,
    UsageError,
    help_page,
    make_console,
    plugin_output,
    print_json,
)

if TYPE_CHECKING:
    from xaibench_audit.audit import Audit

LEAST = 10


@help_page(
    "Check and extend",
    "xaibench audit --quick --metric deletion",
    "xaibench audit --metric deletion --metric repair --out audit",
)
def audit(
    metric: Annotated[
        list[str] | None, SHARED_FLAGS["metric"].option("metric, NAME[:KEY=VALUE,...]; default: all that rank")
    ] = None,
    evidence: Annotated[
        list[str] | None, typer.Option("--evidence", help="Planted evidence: patch, seam@0.5 ...; default all.")
    ] = None,
    pictures: Annotated[
        int | None, typer.Option(max=10**6, help="Fakes, each with its real counterpart (default 12).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the pictures and of every draw.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Three kinds of evidence, ten fakes, no explainers.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the tables (Parquet).")] = None,
    jobs: Annotated[
        int | None, SHARED_FLAGS["jobs"].option("worker processes; default: all cores, with --quick 1", max=1024)
    ] = None,
    plugin: PluginFiles = None,
    json: JsonFlag = False,
) -> None:
    """Say which measures can be believed: run each on detectors whose evidence is planted and known."""
    from xaibench import load_registry
    from xaibench_audit import audit as auditing
    from xaibench_audit.evidence import NAMES
    from xaibench_audit.evidence import evidence as known
    from xaibench_audit.maps import EXPLAINERS
    from xaibench_audit.tables import opened, to_json, write

    if pictures is not None and pictures < LEAST:
        raise UsageError(f"--pictures {pictures} gives no intervals", f"take {LEAST} or more")
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs {jobs} is no number of processes", "take 1 or more")
    registry = load_registry(plugin or [])
    for failure in registry.failures:
        print(f"broken plugin: {failure}", file=sys.stderr)
    names = metric or []
    wanted = tuple(dict.fromkeys(known(n).name for n in evidence or (QUICK if quick else NAMES)))
    chosen = auditing.choose(registry, names)
    settings = auditing.Settings(
        metrics=chosen.metrics,
        questions=() if quick and not names else chosen.questions,
        evidence=tuple(n for n in NAMES if n in wanted),
        pairs=pictures or (LEAST if quick else 12),
        draws=1 if quick else 3,
        explainers=() if quick else EXPLAINERS,
        seed=seed,
        plugins=tuple(str(p) for p in plugin or []),
        left=chosen.left,
    )
    cores = 1 if quick else len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with opened(out) if out is not None else nullcontext() as staging:
            with plugin_output():
                found = auditing.run(settings, jobs or cores, progress())
            try:
                if out is not None and staging is not None:
                    write(found, out, staging)
                    print(f"tables in {out}", file=sys.stderr)
            finally:  # minutes of work are shown though they could not be written
                _print(found, to_json(found) if json else None)
    except KeyboardInterrupt:
        print("xaibench: interrupted; no table was written, an audit begins anew", file=sys.stderr)
        raise typer.Exit(130) from None
    for line in found.failures:
        print(f"failed: {line}", file=sys.stderr)
    raise typer.Exit(1 if found.failures else 0)


def _print(found: Audit, as_json: dict[str, Any] | None) -> None:
    if as_json is not None:
        print_json(as_json)
        return
    from xaibench_audit.render import show

    show(found, make_console())


QUICK = ("patch", "missing-texture", "seam")


def progress() -> Callable[[str, int, int], None]:
    """A line on stderr after each piece, with the time so far."""
    began = time.monotonic()

    def say(title: str, finished: int, of: int) -> None:
        print(f"audit: {finished} of {of}, {title}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)

    return say
