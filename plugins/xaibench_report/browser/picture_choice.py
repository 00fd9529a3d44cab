"""Which pictures the browser of a run holds: the best, the median, the worst, the disputed, and some at random.

Best, median and worst are told by one score, the mean over explainers of one picture. Disputed pictures are those on
whose maps explainers agree least. The rule is fixed before anybody looks, and the page states it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from xaibench_report.values.run_values import (
    ScoreInfo,
    ScoreKey,
    Table,
    family_order,
    score_order,
    texts,
)

REASONS: Final = ("best", "median", "worst", "disputed", "random")
DISPUTE_CANDIDATES: Final = 100
_SEED: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureValues:
    """What pictures are chosen by. ``goodness``: sample to the oriented value of ``score``, larger is better;
    ``agreement``: sample to the mean rank correlation between the maps of its explainers, of those that were looked
    at."""

    score: str
    better: str
    goodness: Mapping[str, float]
    agreement: Mapping[str, float]
    looked_at: int


def choose_pictures(samples: Iterable[str], values: PictureValues, most: int) -> dict[str, tuple[str, ...]]:
    """At most ``most`` samples with the reasons why each is among them, in the order of the reasons.

    A fifth each is the best, the median, the worst and the disputed; random ones fill what is left. Where all fit, all
    are there. Ties are broken by the order of the names.
    """
    names = sorted(set(samples))
    quota = max(1, min(most, len(names)) // len(REASONS))
    disputed = sorted((s for s in names if s in values.agreement), key=lambda s: (values.agreement[s], s))
    good = {s: values.goodness[s] for s in names if s in values.goodness}
    parts = {**_ends(good, quota), "disputed": disputed[:quota]}
    reasons: dict[str, list[str]] = {}
    for reason, part in parts.items():
        for sample in part:
            if sample in reasons or len(reasons) < most:
                reasons.setdefault(sample, []).append(reason)
    for sample in drawn(names, len(names)):
        if len(reasons) >= most:
            break
        if sample not in reasons:
            reasons[sample] = ["random"]
    return {sample: tuple(reasons[sample]) for sample in sorted(reasons, key=lambda s: (_place(reasons[s]), s))}


def ranked_ends(goodness: Mapping[str, float], most: int) -> list[str]:
    """All that can be best, median or worst among at most ``most`` pictures."""
    return [s for part in _ends(goodness, max(1, most // len(REASONS))).values() for s in part]


def _ends(goodness: Mapping[str, float], quota: int) -> dict[str, list[str]]:
    """``quota`` samples at both ends and in the middle of the order by goodness."""
    ranked = sorted(goodness, key=lambda s: (-goodness[s], s))
    half = max(0, (len(ranked) - quota) // 2)
    return {"best": ranked[:quota], "median": ranked[half : half + quota], "worst": ranked[::-1][:quota]}


def _place(reasons: Sequence[str]) -> int:
    return REASONS.index(reasons[0])


def drawn(names: Sequence[str], count: int) -> list[str]:
    """Names drawn without replacement by a fixed seed, whatever their order was."""
    ordered = sorted(names)
    order = np.random.default_rng(_SEED).permutation(len(ordered))
    return [ordered[i] for i in order[:count]]


def choosing_score(scores: Table, info: ScoreInfo) -> ScoreKey | None:
    """The score that tells good pictures from bad ones: the first primary one with a direction and a value a sample, of
    localisation where there is one, else of the first family that has one."""
    directed = pc.and_(pc.not_equal(scores["better"], "none"), pc.equal(scores["scope"], "sample"))
    rows = scores.filter(pc.and_(directed, pc.equal(scores["status"], "ok"))).select(["metric", "score"])
    present = {(r["metric"], r["score"]) for r in rows.group_by(["metric", "score"]).aggregate([]).to_pylist()}
    order = score_order(info)
    keys = sorted((k for k in present if info.primary(*k)), key=lambda k: (_family_place(info.family(k[0])), order(k)))
    return keys[0] if keys else None


def _family_place(family: str) -> tuple[bool, tuple[int, str]]:
    return family != "localisation", family_order(family)


def goodness(scores: Table, info: ScoreInfo, key: ScoreKey) -> tuple[dict[str, float], str]:
    """The mean of a score over explainers, items and repeats by sample, oriented so that larger is better; and its
    direction. A sample on which an explainer has no value is left out. Controls and references do not count."""
    rows = scores.filter(pc.and_(pc.equal(scores["metric"], key[0]), pc.equal(scores["score"], key[1])))
    explainer, status = texts(rows, "explainer"), texts(rows, "status")
    mine = np.asarray([info.role(e) == "explainer" for e in explainer], dtype=bool)
    samples, values = texts(rows, "sample"), np.asarray(pc.fill_null(rows["value"], 0.0).to_numpy(), dtype=np.float64)
    broken = set(samples[mine & (status != "ok")].tolist())
    kept = mine & (status == "ok") & np.asarray([s not in broken for s in samples], dtype=bool)
    better = str(rows["better"][0].as_py()) if len(rows) else "higher"
    names, owner = np.unique(samples[kept], return_inverse=True)
    sums = np.bincount(owner, weights=values[kept], minlength=len(names))
    means = sums / np.bincount(owner, minlength=len(names))
    sign = 1.0 if better == "higher" else -1.0
    return {str(n): sign * float(v) for n, v in zip(names, means, strict=True)}, better


def agreement(maps: Sequence[npt.NDArray[np.floating[Any]]]) -> float | None:
    """The mean Spearman correlation between the maps of explainers on one picture, of equal shape; None for fewer than
    two maps that vary."""
    from scipy.stats import rankdata

    ranks = [rankdata(m.reshape(-1)) for m in maps if float(m.min()) != float(m.max())]
    if len(ranks) < 2:
        return None
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in combinations(ranks, 2)]))


def rule(values: PictureValues, shown: int, total: int) -> str:
    """The rule of the choice in words."""
    by = (
        f"Best, median and worst are told by {values.score} ({values.better} is better), the mean over explainers of "
        "one picture"
        if values.goodness
        else "No score tells good pictures from bad ones"
    )
    disputed = (
        f"disputed are those of {values.looked_at} pictures drawn by a fixed seed on whose maps the "
        "explainers' rank correlation is least"
    )
    fill = "the others are drawn at random by a fixed seed"
    return f"{shown} of {total} pictures with maps. {by}; {disputed}; {fill}."
