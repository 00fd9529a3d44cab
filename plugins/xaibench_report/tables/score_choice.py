"""Which scores of a run a table shows, and the parts of their items."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from xaibench.api import NothingToEvaluate, UsageError, closest_first
from xaibench_report.values.run_values import RunTables, ScoreInfo, ScoreKey, score_name, short

SECONDS: Final = ("", "seconds")
"""The key of the seconds that a map takes, which no metric measures."""


@dataclass(frozen=True, slots=True)
class ScoreChoice:
    """The scores of a table in the order in which they are named; ``items``: those asked for, None for all; ``known``:
    the items that each score of the run has."""

    items: Mapping[ScoreKey, frozenset[str] | None]
    known: Mapping[ScoreKey, frozenset[str]]

    def holds(self, metric: str, score: str, item: str) -> bool:
        """Whether a value is asked for; ``item`` is empty where the items of a score are averaged."""
        wanted = self.items.get((metric, score), frozenset())
        return wanted is None or item in wanted

    def items_of(self, metric: str, score: str) -> list[str]:
        """The items of a score that are asked for."""
        return sorted(i for i in self.known.get((metric, score), ()) if self.holds(metric, score, i))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of the scores."""
        return tuple(dict.fromkeys(metric for metric, _ in self.items if metric))

    def title(self, key: ScoreKey) -> str:
        """The score's name alone where no other score of the table has it, else with its metric."""
        same = [k for k in self.items if k[1] == key[1]]
        return key[1] if len(same) < 2 else score_name(*key)


def choose_scores(tables: RunTables, info: ScoreInfo, wanted: Sequence[str]) -> ScoreChoice:
    """The scores that ``wanted`` names, those of a family being its primary ones; all primary ones of explainers where
    it names none.

    Raises UsageError, with the scores that there are, for a name that fits none, and NothingToEvaluate for a run
    without scores.
    """
    there = _scores_of(tables)
    if not there:
        raise NothingToEvaluate("the run has no scores", "evaluate a metric first")
    known = {key: frozenset(items - {""}) for key, (items, _) in there.items()}
    if not wanted:
        return ScoreChoice(dict.fromkeys(_ordered(_primary(there, info) or there, info)), known)
    chosen: dict[ScoreKey, frozenset[str] | None] = {}
    for text in wanted:
        for key, items in _chosen(text, there, info).items():
            before = chosen.get(key, frozenset())
            chosen[key] = None if before is None or items is None else before | items
    return ScoreChoice(chosen, known)


def _scores_of(tables: RunTables) -> dict[ScoreKey, tuple[set[str], set[str]]]:
    """Every score of a run with its items and scopes."""
    found: dict[ScoreKey, tuple[set[str], set[str]]] = {}
    columns = ["metric", "score", "item", "scope"]
    for row in tables.scores.select(columns).group_by(columns).aggregate([]).to_pylist():
        items, scopes = found.setdefault((row["metric"], row["score"]), (set(), set()))
        items.add(row["item"] or "")
        scopes.add(row["scope"])
    return found


def _ordered(keys: Iterable[ScoreKey], info: ScoreInfo) -> list[ScoreKey]:
    declared = list(info.specs)
    return sorted(keys, key=lambda k: (declared.index(k) if k in declared else len(declared), k))


def _chosen(
    text: str, there: Mapping[ScoreKey, tuple[set[str], set[str]]], info: ScoreInfo
) -> dict[ScoreKey, frozenset[str] | None]:
    words = text.split()
    first = words[0] if words else ""
    of_metric = [k for k in there if _is_metric(first, k[0])]
    named = [k for k in there if k[1] == first]
    if first == SECONDS[1] and not named:
        return {SECONDS: None}
    if of_metric and len(words) > 1 and any(k[1] == words[1] for k in of_metric):
        keys, rest = [k for k in of_metric if k[1] == words[1]], words[2:]
    elif named:
        keys, rest = named, words[1:]
    elif of_metric:
        keys, rest = [k for k in of_metric if info.primary(*k)] or of_metric, words[1:]
    else:
        keys, rest = [k for k in _primary(there, info) if info.family(k[0]) == first], words[1:]
    fits = {k: frozenset(i for i in there[k][0] if set(rest) <= set(i.split())) for k in _ordered(keys, info)}
    fits = {k: items for k, items in fits.items() if items}
    if not fits:
        each = "give every score a --score of its own; " if "," in text else ""
        items = {i for k in keys for i in there[k][0] if i}
        names = closest_first(first, items) if rest and keys else _names(first, there, info)
        raise UsageError(f"no score '{text}' in this run", f"{each}there are {names}")
    return {k: None if not rest else items for k, items in fits.items()}


def _primary(there: Mapping[ScoreKey, tuple[set[str], set[str]]], info: ScoreInfo) -> list[ScoreKey]:
    """The primary scores of explainers."""
    return [k for k, (_, scopes) in there.items() if info.primary(*k) and scopes != {"model"}]


def _names(name: str, there: Mapping[ScoreKey, tuple[set[str], set[str]]], info: ScoreInfo) -> str:
    """All that can be named: primary scores and families, then companions and seconds, then metrics; the closest first
    in each."""
    primary = _primary(there, info)
    scores = {k[1] for k in primary} | {info.family(k[0]) for k in primary}
    companions = {k[1] for k in there} - scores | {SECONDS[1]}
    metrics = {short(k[0]) for k in there} - scores - companions
    return ", ".join(closest_first(name, names) for names in (scores, companions, metrics) if names)


def _is_metric(name: str, metric: str) -> bool:
    """``deletion:steps=10`` by its name in the tables, without the distribution, or without parameters."""
    return bool(name) and name in (metric, short(metric), short(metric).partition(":")[0])


# ---- items ----------------------------------------------------------------------------------------------------------


def item_names(choice: ScoreChoice, info: ScoreInfo) -> tuple[str, ...]:
    """The names of the parts that items of these scores have: ``segmentation``, ``k``."""
    forms = [spec.item_form for key in choice.items if (spec := info.spec(*key)) is not None]
    return tuple(dict.fromkeys(name for form in forms for name in re.findall(r"\{(\w+)\}", form)))


def item_parts(key: ScoreKey, item: str, info: ScoreInfo) -> dict[str, str]:
    """The parts of an item by name; empty where the score does not say how its items are written."""
    spec = info.spec(*key)
    if spec is None or not spec.item_form:
        return {}
    pattern = "".join(
        f"(?P<{part[1:-1]}>.+?)" if part.startswith("{") else re.escape(part)
        for part in re.split(r"(\{\w+\})", spec.item_form)
    )
    match = re.fullmatch(pattern, item)
    return match.groupdict() if match else {}


def items_apart(choice: ScoreChoice, info: ScoreInfo) -> ScoreInfo:
    """What the scores mean where every item of their metrics has a cell of its own."""
    metrics = set(choice.metrics)
    specs = {
        key: replace(spec, per_item=True) if key[0] in metrics and not spec.item_is_sample else spec
        for key, spec in info.specs.items()
    }
    return replace(info, specs=specs)
