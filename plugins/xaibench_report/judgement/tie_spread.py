"""What ties do to a score: how far its mean moves with the order of equal pixels, and how many pixels are equal.

A removal measure whose map has many equal values computes its score under further orders of them. Its companion score
``ScoreSpec.tie_spread`` holds, for each sample, the largest minus the smallest of these values; ``tied-share`` holds
the share of pixels whose place is decided by the order alone. The *margin* of an explainer is the mean spread over the
samples compared, a sample without a value counting 0. No verdict and no rank rests on a difference within the larger
margin of the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from xaibench_report.values.number_format import number
from xaibench_report.values.run_values import CellKey, Cells, CellValues, ScoreInfo, ScoreKey, Where, score_name, short
from xaibench_statistics import Strings, exact_mean

NOTED: Final = 0.2
"""Where more than this share of the pixels is tied, a line beneath the board says so."""
_SHARE: Final = "tied-share"


def tie_spreads(
    where: Where,
    key: ScoreKey,
    cells: Cells,
    explainers: Iterable[str],
    info: ScoreInfo,
) -> dict[str, CellValues]:
    """The spreads of a score by explainer; empty where it declares none."""
    spec = info.spec(*key)
    return _companions(where, key, spec.tie_spread, cells, explainers) if spec is not None and spec.tie_spread else {}


def _companions(
    where: Where,
    key: ScoreKey,
    name: str,
    cells: Cells,
    explainers: Iterable[str],
) -> dict[str, CellValues]:
    """The cells of another score of the same metric and item."""
    score = f"{name} {key[1].partition(' ')[2]}".strip()
    keys = {e: CellKey(where, key[0], score, e) for e in explainers}
    return {e: cells[k] for e, k in keys.items() if k in cells}


def margin(spread: CellValues | None, samples: Strings) -> float:
    """The mean spread over ``samples``, those without a value counting 0; 0 for no spread at all."""
    if spread is None or not len(samples):
        return 0.0
    here = spread.values.on(samples).values
    return exact_mean(here) * len(here) / len(samples) if len(here) else 0.0


def tie_notes(where: Where, columns: Mapping[ScoreKey, Iterable[str]], cells: Cells, info: ScoreInfo) -> list[str]:
    """One line a metric: which explainers have more than a fifth of the pixels tied, and how far their order moves the
    mean of each of its scores at most; controls have no line. ``columns``: the explainers under each score."""
    scores: dict[str, list[ScoreKey]] = {}
    for key in columns:
        scores.setdefault(key[0], []).append(key)
    lines = (_metric_note(where, metric, {k: columns[k] for k in keys}, cells, info) for metric, keys in scores.items())
    return [line for line in lines if line]


def _metric_note(
    where: Where, metric: str, columns: Mapping[ScoreKey, Iterable[str]], cells: Cells, info: ScoreInfo
) -> str:
    explainers = sorted({e for found in columns.values() for e in found if info.role(e) == "explainer"})
    shares = {e: c.values for e, c in _companions(where, (metric, ""), _SHARE, cells, explainers).items() if c.any}
    means = {e: exact_mean(v.values) for e, v in shares.items()}
    tied = [e for e in means if means[e] > NOTED]
    if not tied:
        return ""
    moves = []
    for key in columns:
        spreads = tie_spreads(where, key, cells, tied, info)
        if spreads:
            moves.append(
                f"{score_name(*key)} by up to {number(max(margin(s, shares[e].samples) for e, s in spreads.items()))}"
            )
    names = ", ".join(f"{short(e)} {means[e]:.0%}" for e in tied)
    effect = f"their order moves {', '.join(moves)}" if moves else "what another order would give was not computed"
    return f"{short(metric)}: tied pixels: {names}; {effect}"
