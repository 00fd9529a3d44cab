"""The scores of one board as ranks and verdicts use them, with the ranks of the explainers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, cast

import numpy as np

from xaibench_report.judgement.manipulation_methods import CentreGate, even
from xaibench_report.judgement.score_gates import withheld_scores, without_headroom
from xaibench_report.judgement.tie_spread import margin, tie_spreads
from xaibench_report.values.run_values import (
    CellKey,
    CellValues,
    ScoreInfo,
    ScoreKey,
    Where,
    measured,
    score_name,
    short,
)
from xaibench_statistics import (
    Difference,
    Ranking,
    common_samples,
    covered,
    holm,
    paired_difference,
    rank_explainers,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BoardScore:
    """One primary score of a board.

    ``cells`` by explainer, without the samples and the explainers that a gate leaves out; ``left_out``: the reason by
    explainer. ``spreads``: what ties move, by explainer. ``withheld``: why a gate lets the score rank nothing.
    ``unjudged``: why explainers are not held against controls although the score is not withheld. ``ranking`` is None
    for scores that rank nothing.
    """

    key: ScoreKey
    better: str
    cells: Mapping[str, CellValues]
    left_out: Mapping[str, str] = field(default_factory=dict)
    spreads: Mapping[str, CellValues] = field(default_factory=dict)
    withheld: str = ""
    unjudged: str = ""
    ranking: Ranking | None = None


def board_scores(
    where: Where,
    columns: Mapping[ScoreKey, Mapping[str, CellValues]],
    every: Mapping[CellKey, CellValues],
    centre: CentreGate,
    info: ScoreInfo,
    seed: int,
) -> list[BoardScore]:
    """The scores of a board in the order of its columns."""
    ranking = {key: cells for key, cells in columns.items() if _ranks(key, info) and measured(cells).better != "none"}
    withheld = withheld_scores(where, ranking, every, info)
    return [
        _score(where, key, cells, every, centre, withheld=withheld.get(key, ""), info=info, seed=seed)
        for key, cells in columns.items()
    ]


def _score(
    where: Where,
    key: ScoreKey,
    cells: Mapping[str, CellValues],
    every: Mapping[CellKey, CellValues],
    centre: CentreGate,
    *,
    withheld: str,
    info: ScoreInfo,
    seed: int,
) -> BoardScore:
    left_out = without_headroom(where, key, cells, every, info)
    kept = {e: centre.keeps(c) for e, c in cells.items() if e not in left_out}
    spreads = tie_spreads(where, key, every, cells, info)
    ranked = _ranks(key, info) and not withheld
    return BoardScore(
        key=key,
        better=measured(cells).better,
        cells=kept,
        left_out=left_out,
        spreads=spreads,
        withheld=withheld,
        unjudged=_unjudged(key, info),
        ranking=explainer_ranks(kept, spreads, info, seed) if ranked else None,
    )


def _ranks(key: ScoreKey, info: ScoreInfo) -> bool:
    spec = info.spec(*key)
    return spec is None or spec.ranked


def _unjudged(key: ScoreKey, info: ScoreInfo) -> str:
    spec = info.spec(*key)
    if spec is None or (spec.ranks_evidence and spec.ranked):
        return ""
    return spec.why_not or "the score is only shown"


def gate_notes(score: BoardScore) -> Iterator[str]:
    """Which explainers a gate leaves out of a score that it does not withhold."""
    reasons: dict[str, list[str]] = {}
    for explainer, reason in sorted(score.left_out.items()):
        reasons.setdefault(reason, []).append(short(explainer))
    for reason, names in reasons.items() if not score.withheld else ():
        yield f"{score_name(*score.key)}: not ranked: {', '.join(names)}: {reason}"


# ---- ranks ----------------------------------------------------------------------------------------------------------


def explainer_ranks(
    cells: Mapping[str, CellValues], spreads: Mapping[str, CellValues], info: ScoreInfo, seed: int
) -> Ranking | None:
    """Ranks of the explainers that are no controls; None for scores without samples or direction.

    Every manipulation method weighs alike on the common samples. ``spreads``: what ties move, by explainer.
    """
    ranked = {e: c for e, c in cells.items() if e and info.role(e) == "explainer" and len(c.values)}
    if not ranked or measured(ranked).better == "none":
        return None
    better = cast(Literal["higher", "lower"], measured(ranked).better)
    samples = common_samples(covered({e: c.values for e, c in ranked.items()}).values())
    margins = {e: margin(spreads.get(e), samples) for e in ranked}
    return rank_explainers({e: even(c, samples) for e, c in ranked.items()}, better, margins=margins, seed=seed)


def versus_best(score: BoardScore, seed: int) -> dict[str, Difference]:
    """The paired difference of every ranked explainer to the one with the best mean, on the samples of the ranks;
    ``p_holm`` is adjusted over the column."""
    if score.ranking is None or len(score.ranking.order) < 2:
        return {}
    best, *others = score.ranking.order
    samples = np.asarray(score.ranking.samples, dtype=np.str_)
    on = {e: even(score.cells[e], samples).on(samples) for e in score.ranking.order}
    found = [paired_difference(on[e], on[best], seed=seed) for e in others]
    adjusted = holm([d.p for d in found])
    return {e: replace(d, p_holm=p) for e, d, p in zip(others, found, adjusted, strict=True)}
