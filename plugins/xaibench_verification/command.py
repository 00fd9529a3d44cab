"""``xaibench verify``: random rows of a run computed anew. What computes is imported when the command is given."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from xaibench.api import (
    SHARED_FLAGS,
    JsonFlag,
    Parameters,
    PlanError,
    RunFolder,
    describe_error,
    help_page,
    make_console,
    plugin_output,
    print_json,
    say,
    setting,
    with_flags,
)

if TYPE_CHECKING:
    from xaibench import Cost
    from xaibench_verification.row_comparison import ValueChange
    from xaibench_verification.verification import CheckedRow, PreparedVerification, State, Verification

_MOST_CHANGES = 5  # of one row
_MOST_ROWS = 20
_NOT_EQUAL: tuple[State, ...] = ("different", "close", "unavailable")


class Verifying(Parameters):
    """What ``xaibench verify`` can be told."""

    rows: int = setting(20, "rows that are drawn and computed anew", ge=1, le=10**9)
    seed: int = setting(0, "seed of the draw", ge=0, lt=2**63)
    model: tuple[str, ...] = setting((), "new place of a detector that was moved, one for each of the run in order",
                                     short="-m")  # fmt: skip
    dataset: tuple[str, ...] = setting((), "new place of a data set that was moved, one for each of the run in order",
                                       short="-D")  # fmt: skip
    plugin: tuple[str, ...] = setting(
        (), "new place of a plugin file of the run that was moved, of the same name", path=True
    )
    device: str | None = setting(None, SHARED_FLAGS["device"])
    max_hours: float = setting(
        1.0, "hours of detector work beyond which it asks before it starts", ge=0, allow_inf_nan=False
    )
    yes: bool = setting(False, "start without asking, however long it takes", short="-y")


@help_page(
    "Read a run",
    "xaibench verify xaibench-runs/RUN",
    "xaibench verify RUN --rows 100 -D /data/faces  # the pictures moved",
)
@with_flags
def verify(run: RunFolder, *, flags: Verifying, json: JsonFlag = False) -> None:
    """Compute random rows of a run anew from detector, pictures and parameters, and say whether they are equal."""
    from xaibench import open_run
    from xaibench_verification.verification import prepared_verification

    try:
        with (
            plugin_output(),
            prepared_verification(
                open_run(run, plugin=flags.plugin),
                flags.rows,
                seed=flags.seed,
                model=flags.model,
                dataset=flags.dataset,
                device=flags.device,
                name=run,
            ) as prepared,
        ):
            if not _may_start(prepared, flags):
                print("xaibench: nothing was computed", file=sys.stderr)
                raise typer.Exit(PlanError.exit_code)
            verification = prepared.compute(progress=True)
    except KeyboardInterrupt:
        print("xaibench: interrupted: no verdict", file=sys.stderr)
        raise typer.Exit(130) from None
    if json:
        print_json({"schema": "xaibench.verify/1", **_to_json(verification)})
    else:
        _show(verification)
    raise typer.Exit(verification.exit_code)


# ---- before it is computed ----


def _may_start(prepared: PreparedVerification, flags: Verifying) -> bool:
    """Say what is not as it was and what the rows cost; beyond ``max_hours`` ask.

    Raises :class:`PlanError` beyond ``max_hours`` where nobody can answer.
    """
    for line in prepared.record.lines:
        print(f"not as the run records it: {line}", file=sys.stderr)
    cost = _cost(prepared)
    if cost is None:
        return True
    passes, seconds = cost.passes, cost.seconds
    sets = f", {prepared.of_whole_sets} of whole data sets" if prepared.of_whole_sets else ""
    print(
        f"rows to compute: {len(prepared.rows)}{sets}; at most {passes.forward:,} forward and {passes.backward:,} "
        f"backward passes, about {_duration(seconds)} of detector work",
        file=sys.stderr,
    )
    if flags.yes or seconds <= 3600 * flags.max_hours:
        return True
    if all(stream and stream.isatty() for stream in (sys.stdin, sys.stderr)):
        print(f"this is more than --max-hours {flags.max_hours:g}; start? [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    mend = "--yes starts it"
    if prepared.of_whole_sets and (fewer := prepared.rows_before_sets):
        mend += f"; --rows {fewer} leaves out the rows that need a whole data set"
    raise PlanError(
        f"these rows take {_duration(seconds)} of detector work by estimate, more than --max-hours"
        f" {flags.max_hours:g}", mend,
    )  # fmt: skip


def _cost(prepared: PreparedVerification) -> Cost | None:
    """Passes and seconds of what is computed; None where nothing is, or where no time can be told."""
    if not prepared.only:
        return None
    try:
        return prepared.again.estimate(prepared.only)
    except Exception as error:  # what a detector raises fails its rows
        print(f"no estimate of the time: the detector raised {describe_error(error)}", file=sys.stderr)
        return None


def _duration(seconds: float) -> str:
    """A duration, such as ``0.4 s``, ``12 s``, ``5 min`` or ``2.5 h``."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


# ---- the answer ----


def _show(verification: Verification) -> None:
    console = make_console()
    for line in answer_lines(verification):
        say(console, line)


def answer_lines(verification: Verification) -> Iterator[str]:
    """The answer, then the rows that are not equal, and what is not as the run records it."""
    drawn = verification.drawn
    equal = sum(row.state == "equal" for row in drawn)
    yield f"{equal:,} of {len(drawn):,} rows equal to the bit{_counts(verification)}"
    others = len(verification.rows) - len(drawn)
    beside = f" of the drawn rows and of {others:,} that they need" if others else ""
    yield f"compared: {verification.values:,} values, curve points and maps{beside}; seed {verification.seed}"
    shown = [row for state in _NOT_EQUAL for row in verification.in_state(state)]
    for row in shown[:_MOST_ROWS]:
        yield from _row_lines(row)
    if len(shown) > _MOST_ROWS:
        yield f"and {len(shown) - _MOST_ROWS:,} more rows, all of which --json gives"
    if any(row.changes for row in shown):
        yield from (f"not as the run records it: {line}" for line in verification.changes)


def _counts(verification: Verification) -> str:
    words: dict[State, str] = {
        "different": "different",
        "close": f"within {verification.tolerance:g} (not the machine, versions or code of the run)",
        "unavailable": "cannot be computed again",
    }
    counts = {state: len(verification.in_state(state)) for state in _NOT_EQUAL}
    return "".join(f"; {count} {words[state]}" for state, count in counts.items() if count)


def _row_lines(row: CheckedRow) -> Iterator[str]:
    words = {"different": "different", "close": "close", "unavailable": "cannot be computed again"}
    yield f"{words[row.state]}: {row_words(row)}"
    if row.state == "unavailable":
        yield f"  {row.reason}"
    for change in row.changes[:_MOST_CHANGES]:
        yield f"  {_change_words(change)}"
    if len(row.changes) > _MOST_CHANGES:
        yield f"  and {len(row.changes) - _MOST_CHANGES} more values of it"


_KINDS = {"predict": "prediction", "explain": "map", "accuracy": "accuracy", "card": "readings of the card"}


def row_words(row: CheckedRow) -> str:
    """The address of a row in words."""
    names = [name.replace("xaibench/", "") for name in (row.metric, row.explainer, row.artefact) if name]
    what = " of ".join([*([] if row.metric or row.artefact else [_KINDS.get(row.kind, row.kind)]), *names])
    repeat = f", repeat {row.repeat}" if row.repeat else ""
    where = f"{row.model} {row.member}".strip().replace("xaibench/", "")
    sample = f"sample {row.sample} of " if row.sample else ""
    return f"{what}{repeat}; {sample}{row.dataset.replace('xaibench/', '')}; {where}"


def _change_words(change: ValueChange) -> str:
    item = " ".join(filter(None, (change.item, "" if change.column == "value" else change.column)))
    by = "" if change.distance is None else f" (by {change.distance:.2g})"
    if isinstance(change.stored, bytes) or isinstance(change.recomputed, bytes):
        return f"{item or change.table}: not the same{by}"
    return f"{item or change.table}: stored {_gist(change.stored)}, recomputed {_gist(change.recomputed)}{by}"


def _gist(value: Any) -> str:
    text = "none" if value is None else value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _to_json(verification: Verification) -> dict[str, Any]:
    states = ("equal", "close", "different", "unavailable")
    return {
        "out": verification.run,
        "seed": verification.seed,
        "rows": len(verification.drawn),
        **{state: sum(row.state == state for row in verification.drawn) for state in states},
        "further_rows": len(verification.rows) - len(verification.drawn),
        "values": verification.values,
        "tolerance": verification.tolerance,
        "not_as_recorded": list(verification.changes),
        "checked": [_row_json(row) for row in verification.rows],
        "exit": verification.exit_code,
    }


def _row_json(row: CheckedRow) -> dict[str, Any]:
    changes = [{**asdict(c), "stored": _plain(c.stored), "recomputed": _plain(c.recomputed)} for c in row.changes]
    return {**asdict(row), "changes": changes}


def _plain(value: Any) -> Any:
    return f"{len(value)} bytes" if isinstance(value, bytes) else value
