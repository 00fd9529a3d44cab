"""What a reader of a leaderboard has to know beside its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from xaibench_report.judgement.manipulation_methods import missing_notes
from xaibench_report.values.run_values import CellValues, ScoreInfo, inverse_of, score_name, short
from xaibench_statistics import Estimate, Ranking

INDEPENDENT: Final = "model-independent, never ranked"


def not_applicable(columns: Mapping[tuple[str, str], Mapping[str, CellValues]], names: Iterable[str]) -> dict[str, str]:
    """Explainers to which no score of the board applies, with the reason; they get a note and no row."""
    found = {}
    for name in names:
        cells = [cells[name] for cells in columns.values() if name in cells]
        reasons = [key for c in cells for key in (c.left_out or {("", ""): 1})]
        if name and not any(c.any for c in cells) and {status for status, _ in reasons} == {"not_applicable"}:
            found[name] = reasons[0][1]
    return found


def absent_notes(absent: Mapping[str, str], info: ScoreInfo) -> list[str]:
    """One line a reason; an inverse goes unsaid beside what it inverts."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in sorted(absent.items()):
        if info.role(name) == "explainer" or not any(inverse_of(name) == short(e) for e in absent):
            by_reason.setdefault(reason, []).append(short(name))
    return [f"not applicable: {', '.join(names)}: {reason}" for reason, names in by_reason.items()]


def independent_notes(explainers: Iterable[str], info: ScoreInfo) -> list[str]:
    """Which rows no detector enters."""
    found = sorted(short(e) for e in explainers if e in info.independent)
    return [f"{INDEPENDENT}: {', '.join(found)}: no detector enters these maps"] if found else []


def score_notes(
    key: tuple[str, str], cells: Mapping[str, CellValues], ranking: Ranking | None, info: ScoreInfo
) -> list[str]:
    """What to know of one score: samples and methods that differ, items, definitions, missing controls."""
    name = score_name(key[0], key[1])
    notes = [*_sample_notes(name, cells, ranking), *missing_notes(name, cells)]
    items = {i for c in cells.values() for i in c.items}
    if items and any(len(c.values) for c in cells.values()):
        notes.append(f"{name}: averaged over {len(items)} items within each sample ({_some(sorted(items))})")
    versions = {d for c in cells.values() for d in c.definitions}
    if len(versions) > 1:
        notes.append(f"{name}: definitions {sorted(versions)} are mixed; do not compare them")
    if not any(info.role(e) == "control" for e in cells) and any(map(bool, cells)):
        notes.append(f"{name}: no control ran beside these explainers")
    return notes


def _sample_notes(name: str, cells: Mapping[str, CellValues], ranking: Ranking | None) -> list[str]:
    sizes = {e: len(c.values) for e, c in cells.items() if len(c.values)}
    notes = []
    if len({tuple(cells[e].values.samples.tolist()) for e in sizes}) > 1:
        smaller = [f"{short(e)} {n}" for e, n in sizes.items() if n < max(sizes.values())]
        what = f"{_some(smaller)} of {max(sizes.values())} samples" if smaller else "equally many, but others"
        ranks = f"; ranks use the {ranking.n} that all ranked explainers have" if ranking else ""
        notes.append(f"{name}: explainers differ in the samples where they are defined ({what}){ranks}")
    if ranking and ranking.note and not ranking.n:
        notes.append(f"{name}: {ranking.note}")
    if ranking and ranking.unranked:
        names = ", ".join(map(short, ranking.unranked))
        notes.append(f"{name}: not ranked, less than half of the samples: {names}")
    return notes


def interval_notes(key: tuple[str, str], estimates: Mapping[str, Estimate]) -> list[str]:
    """Why there is no interval, and for which explainers where others have one."""
    why: dict[str, list[str]] = {}
    for explainer, estimate in sorted(estimates.items()):
        if estimate.note:
            why.setdefault(estimate.note, []).append(short(explainer))
    name = score_name(key[0], key[1])
    several = len(why) > 1 or sum(map(len, why.values())) < len(estimates)
    return [f"{name}{f' of {_some(names)}' if several else ''}: {note}" for note, names in why.items()]


def _some(names: Sequence[str], most: int = 6) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
