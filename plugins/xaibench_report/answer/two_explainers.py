"""Two explainers against each other: by which measures one is shown better, and by which they are not told apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xaibench_report.answer.family_words import measures
from xaibench_report.boards.leaderboard import Board
from xaibench_report.values.aliases import Aliases


def two_explainers(boards: Sequence[Board], explainers: Sequence[str], aliases: Aliases) -> list[str]:
    """``Against each other: gradcam is better by mask-auc; not told apart by deletion.`` Nothing of another number of
    explainers than two, and nothing of measures that hold nothing against controls."""
    if len(explainers) != 2:
        return []
    by_winner: dict[str, list[str]] = {}
    for board in boards:
        for at, measure in enumerate(measures([board])):
            winner = _winner(board, at, explainers) if measure.state == "judged" else None
            if winner is not None:
                by_winner.setdefault(winner, []).append(aliases.score(measure.metric, measure.score))
    parts = list(_parts(by_winner, explainers, aliases))
    return [f"Against each other: {'; '.join(parts)}."] if parts else []


def _parts(by_winner: dict[str, list[str]], explainers: Sequence[str], aliases: Aliases) -> Iterator[str]:
    for explainer in explainers:
        if names := by_winner.get(explainer):
            yield f"{aliases(explainer)} is shown better by {', '.join(dict.fromkeys(names))}"
    if names := by_winner.get(""):
        yield f"not told apart by {', '.join(dict.fromkeys(names))}"


def _winner(board: Board, at: int, explainers: Sequence[str]) -> str | None:
    """The explainer of the better rank, empty where they share one; None where one has none."""
    cells = {row.explainer: row.cells[at] for row in board.rows}
    ranks = [c.rank.rank if (c := cells.get(e)) is not None and c.rank is not None else None for e in explainers]
    if ranks[0] is None or ranks[1] is None:
        return None
    return "" if ranks[0] == ranks[1] else explainers[0] if ranks[0] < ranks[1] else explainers[1]
