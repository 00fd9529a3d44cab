"""What stands above and beneath a table: what it shows of what, over what its numbers are means, and its signs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xaibench_report.boards.wording import ARROWS, detector_title
from xaibench_report.judgement.manipulation_methods import FAMILY
from xaibench_report.tables.table_entries import Entries, Entry
from xaibench_report.tables.table_request import TableRequest
from xaibench_report.values.number_format import plural
from xaibench_report.values.run_values import ScoreInfo, score_name, short

_DIRECTIONS = {"higher": "higher is better", "lower": "lower is better"}


def title_of(entries: Sequence[Entry], by: Sequence[str], found: Entries, request: TableRequest) -> str:
    """``accuracy of segment-attack (lower is better), k = 1, demo (demo-0) on demo``: all that no header says."""
    alone = "score" not in (*request.rows, *request.columns)
    parts = [_score_title(entries, found, request) if alone else "scores"]
    named = {"score", "metric", "dataset", "model", "member"}
    parts += [f"{k} {entries[0].labels[k].text}" for k in by if k in entries[0].labels and k not in named]
    if "explainer" not in (*request.keys, *by):
        parts += _only({e.labels["explainer"].text for e in entries if e.key.explainer})
    parts.append(_place(entries, request))
    return ", ".join(p for p in parts if p)


def _score_title(entries: Sequence[Entry], found: Entries, request: TableRequest) -> str:
    keys = dict.fromkeys((e.key.metric, e.key.score) for e in entries)
    metric, score = next(iter(keys))
    text = entries[0].labels["score"].text
    if metric and "metric" not in request.keys and short(metric).partition(":")[0] != score:
        text = f"{text} of {short(metric)}"
    elif metric and short(metric) != text:
        text = short(metric)
    direction = _DIRECTIONS.get(entries[0].better, "")
    return f"{text} ({direction})" if direction else text


def _only(texts: set[str]) -> list[str]:
    return [next(iter(texts))] if len(texts) == 1 else []


def _place(entries: Sequence[Entry], request: TableRequest) -> str:
    """``demo (demo-0) on demo``, as far as it is one for the table and no header says it."""
    axes = (*request.rows, *request.columns)
    wheres = {e.key.where for e in entries}
    models, datasets = {w.model for w in wheres}, {w.dataset for w in wheres}
    where = next(iter(wheres))
    member = where.member if len({w.member for w in wheres}) == 1 and "member" not in axes else ""
    named = len(models) == 1 and "model" not in axes
    detector = (
        f"detector {detector_title(where._replace(member=member))}" if named else f"member {member}" if member else ""
    )
    dataset = f"on {short(where.dataset)}" if len(datasets) == 1 and "dataset" not in axes else ""
    return f"{detector} {dataset}".strip()


def caption_of(entries: Sequence[Entry], found: Entries, request: TableRequest) -> str:
    """What one number is: the mean over which samples, with which interval, and how many samples it stands on."""
    sampled = [e for e in entries if e.cell.estimate and e.cell.estimate.n]
    if not sampled:
        return "Each number is one value of a whole set."
    parts = [_mean(sampled, found, request)]
    parts += [_sizes(sampled)]
    if len(sampled) < sum(e.cell.estimate is not None for e in entries):
        parts.append("Other numbers are of whole sets.")
    return " ".join(parts)


def _mean(entries: Sequence[Entry], found: Entries, request: TableRequest) -> str:
    text = "Means over samples"
    within = [k for k in ("repeat", "item") if k not in request.keys and _averaged(entries, k, found.info)]
    if within:
        text += f" (first over the {' and '.join(f'{k}s' for k in within)} of each)"
    if request.intervals:
        text += " with 95 % intervals clustered by group"
    if "method" not in request.keys and any(found.info.family(e.key.metric) == FAMILY for e in entries):
        text += "; under scores of localisation every manipulation method weighs alike"
    return f"{text}."


def _averaged(entries: Iterable[Entry], key: str, info: ScoreInfo) -> bool:
    """Whether a sample may have several values of a score: repeats always, items where they have no cell each."""
    if key == "repeat":
        return True
    specs = (info.spec(e.key.metric, e.key.score) for e in entries)
    return any(spec is not None and spec.item_form and not spec.per_item for spec in specs)


def _sizes(entries: Sequence[Entry]) -> str:
    sizes = sorted({(e.cell.estimate.n, e.cell.estimate.groups) for e in entries if e.cell.estimate})
    if len(sizes) == 1:
        return f"n = {plural(sizes[0][0], 'sample')} in {plural(sizes[0][1], 'group')}."
    groups = sorted(g for _, g in sizes)
    return f"n is {sizes[0][0]} to {sizes[-1][0]} samples in {_range(groups[0], groups[-1])} groups."


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def legend_of(entries: Sequence[Entry], found: Entries, request: TableRequest) -> list[str]:
    """The full names of scores, arrows, and what is bold."""
    lines = []
    if "score" in (*request.rows, *request.columns):
        lines += _metrics(entries) if "metric" not in request.keys else []
        if any(ARROWS.get(e.better) for e in entries):
            lines.append("an arrow points to where a score is better")
    if request.bold:
        bold = any(e.best for e in entries)
        what = "not told apart from the best explainer (95 %), on the samples that all ranked ones have"
        nothing = "nothing is bold: the scores rank nothing here, or too few groups tell explainers apart"
        lines.append(f"bold: {what}" if bold else nothing)
    return lines


def _metrics(entries: Iterable[Entry]) -> list[str]:
    """The metrics of scores whose headers do not say them."""
    by_metric: dict[str, dict[str, None]] = {}
    for entry in entries:
        text, (score, _, _) = entry.labels["score"].text, entry.key.score.partition(" ")
        if entry.key.metric and not text.startswith(score_name(entry.key.metric, score)):
            by_metric.setdefault(short(entry.key.metric), {})[score] = None
    return [f"{', '.join(scores)}: of {metric}" for metric, scores in by_metric.items()]
