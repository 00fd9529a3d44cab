"""Two explainers of one run on the same samples: ``compare RUN --pair 'A - B'``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from xaibench.api import NothingToEvaluate, UsageError, closest_first
from xaibench_report.comparisons.compare import ComparedScore, RunComparison, compare_runs
from xaibench_report.comparisons.ranking import LEVEL
from xaibench_report.tables.score_choice import ScoreChoice, choose_scores
from xaibench_report.values.run_values import RunTables, ScoreInfo, Table, short

_BETWEEN = " - "
_SEPARATOR = "\x1f"


def compare_explainers(
    tables: RunTables, info: ScoreInfo, pairs: Sequence[str], scores: Sequence[str] = ()
) -> RunComparison:
    """The first explainer of each pair minus the second, on the samples that both have.

    ``pairs``: ``'A - B'``, each a name as in the tables, its short form, or the name alone where one explainer of the
    run has it. ``scores``: as for tables; none: the primary ones. Rows carry the pair in place of the explainer,
    ``first`` and ``second`` are the means of A and of B, and p is adjusted by Holm over all rows. ``improved`` is given
    only where that p is below 0.05 and the interval excludes 0. A score of which no pair has a value is left out.

    Raises UsageError for a name that the run does not have, and NothingToEvaluate where no pair has a score in common.
    """
    there = sorted(set(tables.scores["explainer"].unique().to_pylist()) - {None, ""})
    sides = {text: _sides(text, there) for text in pairs}
    choice = choose_scores(tables, info, scores)
    table = _of_scores(tables.scores, choice)
    shown = replace(info, specs={k: replace(s, primary=True) for k, s in info.specs.items()})
    minuends, subtrahends = (
        replace(tables, scores=_renamed(table, {text: both[side] for text, both in sides.items()})) for side in (0, 1)
    )
    comparison = compare_runs(subtrahends, minuends, shown)
    measured = {(r.where, r.metric, r.score) for r in comparison.rows if r.difference.value is not None}
    rows = [_of_pair(r) for r in comparison.rows if (r.where, r.metric, r.score) in measured]
    if not rows:
        raise NothingToEvaluate("no pair has a score in common", "name another --score, or other explainers")
    rows.sort(key=lambda r: ((r.where, r.metric, r.score), pairs.index(r.explainer)))
    return replace(comparison, rows=tuple(rows), second_marks=())  # both sides are one run, with one set of marks


def _of_pair(row: ComparedScore) -> ComparedScore:
    """The row of a comparison of runs, whose second run is the first explainer of the pair."""
    p = row.difference.p_holm
    shown = p is not None and p < LEVEL
    return replace(row, first=row.second, second=row.first, improved=row.improved if shown else None)


def _sides(text: str, there: Sequence[str]) -> tuple[str, str]:
    names = text.split(_BETWEEN)
    if len(names) != 2:
        raise UsageError(f"'{text}' is no pair of explainers", "write 'FIRST - SECOND', with blanks around the dash")
    first, second = (_explainer(name.strip(), there) for name in names)
    return first, second


def _explainer(name: str, there: Sequence[str]) -> str:
    """The one explainer of the run that a name stands for."""
    exact = [e for e in there if _parts(name) in (_parts(e), _parts(short(e)))]
    matches = exact or [e for e in there if short(e).partition(":")[0] == name]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(f"'{name}' is several explainers of the run", f"write {' or '.join(map(short, matches))}")
    raise UsageError(f"no explainer '{name}' in the run", f"there are {closest_first(name, map(short, there))}")


def _parts(name: str) -> tuple[str, list[str]]:
    """The name and its parameters, whose order does not matter."""
    component, _, parameters = name.partition(":")
    return component, sorted(parameters.split(","))


def _of_scores(scores: Table, choice: ScoreChoice) -> Table:
    """The rows of the chosen scores and items."""
    columns = (pc.fill_null(scores[name].cast(pa.string()), "") for name in ("metric", "score", "item"))
    keys = pc.binary_join_element_wise(*columns, _SEPARATOR)
    chosen = [key for key in keys.unique().to_pylist() if choice.holds(*key.split(_SEPARATOR))]
    return scores.filter(pc.is_in(keys, value_set=pa.array(chosen, pa.string())))


def _renamed(scores: Table, explainers: Mapping[str, str]) -> Table:
    """The rows of one side of every pair, with the pair in place of the explainer."""
    parts = []
    for text, explainer in explainers.items():
        rows = scores.filter(pc.equal(scores["explainer"], explainer))
        at = rows.schema.get_field_index("explainer")
        parts.append(
            rows.set_column(at, rows.schema.field(at), pa.array([text] * len(rows), rows.schema.field(at).type))
        )
    return pa.concat_tables(parts)
