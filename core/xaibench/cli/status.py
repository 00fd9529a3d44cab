"""``xaibench status``: what a run's folder holds of its plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xaibench.api import JsonFlag, RunFolder, help_page, print_json, printable
from xaibench.store.folder import LOG_FILE
from xaibench.store.folder import RunFolder as Folder

if TYPE_CHECKING:
    from xaibench.store.snapshot import Snapshot


@help_page(
    "Read a run", "xaibench status xaibench-runs/RUN", "xaibench status xaibench-runs/RUN --verify  # compare digests"
)
def show_status(
    run: RunFolder,
    verify: Annotated[bool, typer.Option("--verify", help="Compare every file with its digest.")] = False,
    json: JsonFlag = False,
) -> None:
    """Say what is done, failed and left in a run's folder, and whether its files are there."""
    snapshot = Folder(run).snapshot(verify=verify)
    log = f"{run}/{LOG_FILE}" if LOG_FILE in snapshot.log.files.entries() else None
    found = {"schema": "xaibench.status/2", "out": str(run), "log": log, **_state(snapshot)}
    if verify:
        found["files"] = sum(len(commit.files) + 1 for commit in snapshot.log.commits.values())
    if json:
        print_json(found)
    else:
        _print_state(found)
    if snapshot.log.damage:
        raise typer.Exit(3)


def _state(snapshot: Snapshot) -> dict[str, Any]:
    """What is done, failed and left of the last plan, and what it cost."""
    relation, ledger = snapshot.relation, snapshot.log.ledger
    counts: Counter[tuple[str, str]] = Counter()
    left = 0
    for cell in relation.cells:
        ids = ("",) if cell.whole else relation.samples[cell.address.dataset].ids
        valid = ledger.valid(cell, relation)
        left += int((~valid).sum())
        statuses = (s for s, v in zip(ledger.statuses(cell.address, ids), valid, strict=True) if v)
        counts.update((cell.address.kind, "failed" if "failed" in s else s.partition(" ")[0]) for s in statuses)
    rows = list(snapshot.commit_rows())
    return {
        "results": [{"kind": k, "status": s, "count": n} for (k, s), n in sorted(counts.items())],
        "samples": {d: len(s.ids) for d, s in relation.samples.items()}, "left": left, "outside": snapshot.outside,
        "seconds": sum(r["seconds"] for r in rows), "forward": sum(r["forward"] for r in rows),
        "backward": sum(r["backward"] for r in rows), "damage": snapshot.log.damage,
        "errors": {r["metric"] or r["explainer"] or r["kind"]: r["error"] or r["reason"] for r in rows if r["failed"]},
    }  # fmt: skip


def _print_state(found: Mapping[str, Any]) -> None:
    for row in found["results"]:
        print(f"{row['kind']}: {row['count']:,} {row['status']}")
    print(f"left: {found['left']:,}")
    if found["outside"]:
        print(f"of other plans: {found['outside']:,} results, which nothing shows")
    print(f"{found['forward']:,} forward and {found['backward']:,} backward passes, {found['seconds']:.0f} s")
    if found["log"]:
        print(f"log: {found['log']}")
    for component, error in found["errors"].items():
        print(printable(f"failed: {component}: {error}"))
    if "files" in found and not found["damage"]:
        print(f"files: {found['files']:,}, all as recorded")
    for name, what in found["damage"].items():
        print(f"damaged: {printable(f'{name}: {what}')}; the same xaibench eval does its work again")
