"""How alike measures, and explainers, order the samples: Spearman's rank correlations over samples.

Scores are turned so that more is better. Two measures are correlated over the samples of every explainer, and the
correlations are averaged over the explainers that are no controls: differences between explainers have no part in them.
Two explainers are correlated over the samples of every measure, and averaged over measures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any, Final, NamedTuple

import numpy as np

from xaibench_report.values.run_values import Cells, CellValues, ScoreInfo, Where, score_name, score_order, short
from xaibench_statistics import Values

LEAST: Final = 10
"""Samples in common below which no correlation is given."""


class Pair(NamedTuple):
    """The mean rank correlation of two names over ``parts`` explainers or measures, on at least ``samples`` samples."""

    first: str
    second: str
    correlation: float
    parts: int
    samples: int


def measures_agreement(where: Where, cells: Cells, info: ScoreInfo) -> list[Pair]:
    """Of all pairs of primary scores, both ways round; of names in the order of the boards."""
    usable = _usable(where, cells, info)
    order = score_order(info)
    by_explainer: dict[str, dict[str, CellValues]] = defaultdict(dict)
    for (metric, score, explainer), cell in sorted(usable.items(), key=lambda item: order(item[0][:2])):
        if info.role(explainer) == "explainer":
            by_explainer[explainer][score_name(metric, score)] = cell
    return _mean_pairs(by_explainer)


def explainers_agreement(where: Where, cells: Cells, info: ScoreInfo) -> list[Pair]:
    """Of all pairs of explainers, both ways round; controls after explainers."""
    by_score: dict[tuple[str, str], dict[str, CellValues]] = defaultdict(dict)
    place: Callable[[str], tuple[bool, str]] = lambda e: (info.role(e) != "explainer", e)  # noqa: E731
    for (metric, score, explainer), cell in sorted(_usable(where, cells, info).items(), key=lambda i: place(i[0][2])):
        by_score[metric, score][short(explainer)] = cell
    return _mean_pairs(by_score)


def _usable(where: Where, cells: Cells, info: ScoreInfo) -> dict[tuple[str, str, str], CellValues]:
    """The cells of primary scores with a direction and enough samples, that are of an explainer."""
    return {
        (key.metric, key.score, key.explainer): cell
        for key, cell in cells.items()
        if key.where == where
        and key.explainer
        and info.primary(key.metric, key.score)
        and cell.better in ("higher", "lower")
        and len(cell.values) >= LEAST
    }


def _mean_pairs(parts: Mapping[Any, Mapping[str, CellValues]]) -> list[Pair]:
    found: dict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
    for cells in parts.values():
        oriented = {name: _oriented(cell) for name, cell in cells.items()}
        for one, two in combinations(oriented, 2):
            correlation, n = spearman(oriented[one], oriented[two])
            if correlation is not None:
                found[one, two].append((correlation, n))
    means = {key: (float(np.mean([c for c, _ in f])), len(f), min(n for _, n in f)) for key, f in found.items()}
    both = [Pair(one, two, *mean) for (a, b), mean in means.items() for one, two in ((a, b), (b, a))]
    return both


def _oriented(cell: CellValues) -> Values:
    return cell.values if cell.better == "higher" else cell.values.with_values(-cell.values.values)


def spearman(first: Values, second: Values) -> tuple[float | None, int]:
    """Spearman's rank correlation on the samples that both have, equal values at their mean rank, and how many they
    are. None below ten samples and where one side is constant."""
    from scipy.stats import rankdata

    _, at, at_second = np.intersect1d(first.samples, second.samples, assume_unique=True, return_indices=True)
    if len(at) < LEAST:
        return None, len(at)
    ranks = [rankdata(v) - (len(at) + 1) / 2 for v in (first.values[at], second.values[at_second])]
    spread = float(np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return (float((ranks[0] * ranks[1]).sum()) / spread if spread > 0 else None), len(at)
