"""One cell of the answer: what an explainer is shown to be under the measures of one family, counted by word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from xaibench_report.boards.board_cells import Column
from xaibench_report.boards.leaderboard import Board
from xaibench_report.judgement.verdicts import OWN_INVERSE, ScoreVerdict, Verdict
from xaibench_report.values.aliases import Aliases
from xaibench_report.values.number_format import plural
from xaibench_report.values.run_values import inverse_of, short

State: TypeAlias = Literal["judged", "withheld", "describes", "no verdict"]
Counts: TypeAlias = tuple[tuple[str, int], ...]
DESCRIBES: Final = "describes only"
MARKED: Final = "the detector is marked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One score of a family on one detector. ``state``: *judged* where some explainer has a verdict, *withheld* by a
    gate or a mark, *describes* where the score ranks no evidence, *no verdict* where none could be given; ``why``."""

    metric: str
    score: str
    member: str
    state: State
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyCell:
    """One explainer under the judged measures of one family, over the training runs of the detector.

    ``judged`` verdicts: ``better`` than every control, ``level`` by the control that it is not told apart from,
    ``worse`` by the control that is better. ``none`` by the reason why a measure gives no verdict. ``text``: in words.
    """

    family: str
    judged: int = 0
    better: int = 0
    level: Counts = ()
    worse: Counts = ()
    none: Counts = ()
    text: str = ""


def measures(boards: Iterable[Board]) -> tuple[Measure, ...]:
    """The measures of one family's boards."""
    return tuple(_measure(board, column) for board in boards for column in board.columns)


def _measure(board: Board, column: Column) -> Measure:
    state, why = _state(board, column)
    return Measure(metric=column.metric, score=column.score, member=board.where.member, state=state, why=why)


def _state(board: Board, column: Column) -> tuple[State, str]:
    verdict = score_verdict(board, column)
    if board.withheld:
        return "withheld", MARKED
    if column.withheld:
        return "withheld", column.withheld
    if verdict is None or verdict.unjudged:
        return "describes", verdict.unjudged if verdict else "no side of it is better"
    if any(v.word for v in verdict.verdicts):
        return "judged", ""
    reasons = [v.why for v in verdict.verdicts if v.why]
    return "no verdict", _commonest(reasons) or _no_value(board, column)


def _no_value(board: Board, column: Column) -> str:
    at = board.columns.index(column)
    cells = [row.cells[at] for row in board.rows if row.role == "explainer"]
    reasons = [c.why for c in cells if c is not None and c.why] or list(board.absent.values())
    return _commonest(reasons) or "no explainer has a value"


def _commonest(reasons: Sequence[str]) -> str:
    return Counter(reasons).most_common(1)[0][0] if reasons else ""


def score_verdict(board: Board, column: Column) -> ScoreVerdict | None:
    """The verdicts under one score of a board; None where it has no direction."""
    return next((v for v in board.verdicts if (v.metric, v.score) == (column.metric, column.score)), None)


def brief(reason: str) -> str:
    """A reason in few words: its first clause. A status before it goes."""
    text = reason
    for status in ("undefined: ", "not applicable: ", "failed: "):
        text = text.removeprefix(status)
    for end in (": ", "; ", " ("):
        text = text.partition(end)[0]
    return text


# ---- the cell -------------------------------------------------------------------------------------------------------


def family_cell(explainer: str, family: str, boards: Sequence[Board], aliases: Aliases) -> FamilyCell:
    """What is shown of one explainer on the boards of one family."""
    every = measures(boards)
    if not any(m.state == "judged" for m in every):
        return FamilyCell(family=family, none=_counts(brief(m.why) for m in every), text=_nothing(every))
    better, level, worse, none = 0, list[str](), list[str](), list[str]()
    for board, column in _judged(boards):
        verdict = _verdict(board, column, explainer)
        if verdict.word is None:
            none.append(brief(verdict.why))
        elif verdict.word == "better":
            better += 1
        else:
            control = _control(verdict, aliases)
            (worse if verdict.word == "worse" else level).append(control)
    cell = FamilyCell(
        family=family,
        judged=better + len(level) + len(worse),
        better=better,
        level=_counts(level),
        worse=_counts(worse),
        none=_counts(none),
    )
    return replace(cell, text=_text(cell))


def _judged(boards: Iterable[Board]) -> Iterator[tuple[Board, Column]]:
    for board in boards:
        for column in board.columns:
            if _state(board, column)[0] == "judged":
                yield board, column


def _verdict(board: Board, column: Column, explainer: str) -> Verdict:
    found = score_verdict(board, column)
    verdict = next((v for v in found.verdicts if v.explainer == explainer), None) if found else None
    if verdict is not None:
        return verdict
    row = next((r for r in board.rows if r.explainer == explainer), None)
    cell = row.cells[board.columns.index(column)] if row else None
    why = cell.why if cell and cell.why else board.absent.get(explainer, "not applicable")
    return Verdict(explainer=explainer, word=None, why=why)


def _control(verdict: Verdict, aliases: Aliases) -> str:
    own = inverse_of(verdict.control) == short(verdict.explainer)
    return OWN_INVERSE if own else aliases(verdict.control)


def _counts(names: Iterable[str]) -> Counts:
    return tuple(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def _text(cell: FamilyCell) -> str:
    """``better 2 of 4; not told apart 1 (edges); worse 1 (face-hull)``; of one measure ``worse than edges``."""
    n = cell.judged + sum(k for _, k in cell.none)
    if n == 1:
        return _only(cell)
    parts = [f"better {cell.better} of {n}"]
    words = (("not told apart", cell.level), ("worse", cell.worse), ("no verdict", cell.none))
    for word, counts in words:
        if counts:
            parts.append(f"{word} {sum(k for _, k in counts)} ({_named(counts)})")
    return "; ".join(parts)


def _named(counts: Counts) -> str:
    """``edges``, or ``edges 2, own inverse 1``."""
    return counts[0][0] if len(counts) == 1 else ", ".join(f"{name} {k}" for name, k in counts)


def _only(cell: FamilyCell) -> str:
    words = (("not told apart from", cell.level), ("worse than", cell.worse), ("no verdict:", cell.none))
    return next((f"{word} {counts[0][0]}" for word, counts in words if counts), "better")


def _nothing(every: Sequence[Measure]) -> str:
    if all(m.state == "describes" for m in every):
        return DESCRIBES
    reasons = dict.fromkeys(brief(m.why) for m in every if m.state != "describes")
    more = f" (and {plural(len(reasons) - 1, 'further reason')})" if len(reasons) > 1 else ""
    return f"not measurable: {next(iter(reasons))}{more}"
