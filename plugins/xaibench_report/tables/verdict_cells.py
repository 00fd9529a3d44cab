"""What the boards say of every explainer against the controls, for the cells of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from xaibench_report.boards.leaderboard import Board, build_leaderboards
from xaibench_report.judgement.verdicts import OWN_INVERSE, ScoreVerdict, Verdict
from xaibench_report.values.aliases import Aliases
from xaibench_report.values.run_values import CellKey, RunTables, ScoreInfo, inverse_of, short


@dataclass(frozen=True, slots=True)
class VerdictCell:
    """``word``: *better*, *not told apart* or *worse*; empty where there is none, which ``why`` gives the reason of.
    ``control``: the one that decides as people read it, ``control_name`` in full, both empty for *better*.
    ``controls``: all that it was held against, as people read them."""

    word: str
    control: str = ""
    control_name: str = ""
    why: str = ""
    controls: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """The word, and below it the control in parentheses."""
        return tuple(text for text in (self.word, f"({self.control})" if self.control else "") if text)


def verdict_cells(tables: RunTables, info: ScoreInfo, aliases: Aliases, seed: int) -> dict[CellKey, VerdictCell]:
    """The verdict of every explainer under every score of a board that is held against controls."""
    boards = build_leaderboards(tables, info, seed=seed).boards
    return {key: cell for board in boards for key, cell in _of_board(board, aliases)}


def _of_board(board: Board, aliases: Aliases) -> Iterator[tuple[CellKey, VerdictCell]]:
    withheld = {(c.metric, c.score): c.withheld for c in board.columns}
    for found in board.verdicts:
        score = CellKey(board.where, found.metric, found.score, "")
        for row in board.rows if found.unjudged else ():
            yield score._replace(explainer=row.explainer), VerdictCell("", why=found.unjudged)
        for verdict in found.verdicts:
            yield score._replace(explainer=verdict.explainer), _cell(verdict, found, withheld, aliases)


def _cell(
    verdict: Verdict, found: ScoreVerdict, withheld: Mapping[tuple[str, str], str], aliases: Aliases
) -> VerdictCell:
    if verdict.word is None:
        gated = withheld.get((found.metric, found.score))
        return VerdictCell("", why="" if gated else found.unjudged or verdict.why)
    controls = tuple(_name(verdict, a.control, aliases) for a in verdict.against)
    if verdict.word == "better":
        return VerdictCell(verdict.word, controls=controls)
    return VerdictCell(
        verdict.word, _name(verdict, verdict.control, aliases), short(verdict.control), controls=controls
    )


def _name(verdict: Verdict, control: str, aliases: Aliases) -> str:
    own = inverse_of(control) == short(verdict.explainer)
    return OWN_INVERSE if own else aliases(control)
