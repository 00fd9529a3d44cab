"""What stands above and beneath a table: what it shows of what, over what its numbers are means, and its signs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from xaibench_report.boards.wording import ARROWS, detector_title
from xaibench_report.judgement.manipulation_methods import FAMILY
from xaibench_report.tables.table_entries import Entries, Entry
from xaibench_report.tables.table_request import TableRequest
from xaibench_report.values.aliases import Aliases
from xaibench_report.values.number_format import plural
from xaibench_report.values.run_values import ScoreInfo, inverse_of, short

_DIRECTIONS = {"higher": "higher is better", "lower": "lower is better"}
_CROSSED = "over runs crossed with groups"
_OVER = ("over runs alone", "over people alone")


def title_of(entries: Sequence[Entry], by: Sequence[str], found: Entries, request: TableRequest) -> str:
    """``Localisation of the explanations of demo (demo-0) on demo, k 1``: all that no header says."""
    of_maps = any(e.key.explainer for e in entries)
    place = _place(entries, request)
    if "score" in (*request.rows, *request.columns):
        title = " ".join(p for p in (_family(entries, found), "of the explanations" if of_maps else "", place) if p)
    else:
        place = f"explanations {place}".strip() if of_maps else place.removeprefix("of ")
        title = ": ".join(p for p in (_score_title(entries, found, request), place) if p)
    named = {"score", "metric", "family", "dataset", "model", "member"}
    parts = [f"{k} {entries[0].labels[k].text}" for k in by if k in entries[0].labels and k not in named]
    if "explainer" not in (*request.keys, *by):
        parts += _only({found.aliases.text(e.labels["explainer"].text) for e in entries if e.key.explainer})
    return _capital(", ".join([title, *parts]))


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _family(entries: Iterable[Entry], found: Entries) -> str:
    """The family of the scores where they have one."""
    families = {found.info.family(e.key.metric) if e.key.metric else "" for e in entries}
    return next(iter(families)) if len(families) == 1 and families.isdisjoint({"", "other"}) else "scores"


def _score_title(entries: Sequence[Entry], found: Entries, request: TableRequest) -> str:
    metric, score = entries[0].key.metric, entries[0].key.score.partition(" ")[0]
    text, alias = entries[0].labels["score"].text, found.aliases(metric) if metric else ""
    if metric and "metric" not in request.keys and alias.partition(":")[0] != score:
        text = f"{_score_words(text, metric)} of {alias}"
    elif metric:
        text = found.aliases.text(text)
    direction = _DIRECTIONS.get(entries[0].better, "")
    return f"{text} ({direction})" if direction else text


def _score_words(text: str, metric: str) -> str:
    """The label of a score without the metric that it begins with where several metrics have the score."""
    return text.removeprefix(f"{short(metric)} ")


def _only(texts: set[str]) -> list[str]:
    return [next(iter(texts))] if len(texts) == 1 else []


def _place(entries: Sequence[Entry], request: TableRequest) -> str:
    """``of demo (demo-0) on demo``, as far as it is one for the table and no header says it."""
    axes = (*request.rows, *request.columns)
    wheres = {e.key.where for e in entries}
    models, datasets = {w.model for w in wheres}, {w.dataset for w in wheres}
    where = next(iter(wheres))
    member = where.member if len({w.member for w in wheres}) == 1 and "member" not in axes else ""
    named = len(models) == 1 and "model" not in axes
    detector = (
        f"of {detector_title(where._replace(member=member))}" if named else f"of member {member}" if member else ""
    )
    dataset = f"on {short(where.dataset)}" if len(datasets) == 1 and "dataset" not in axes else ""
    return f"{detector} {dataset}".strip()


def caption_of(entries: Sequence[Entry], found: Entries, request: TableRequest) -> str:
    """What one number is: the mean over which samples, with which interval, and how many samples it stands on."""
    sampled = [e for e in entries if e.cell.estimate and e.cell.estimate.n]
    if not sampled:
        value = "the mean over training runs of a value" if request.over_runs else "one value"
        return f"Each number is {value} of a whole set{_interval_over(entries, request)}."
    parts = [_mean(sampled, found, request), _sizes(sampled, found, request)]
    if len(sampled) < sum(e.cell.estimate is not None for e in entries):
        parts.append("Other numbers are of whole sets.")
    return " ".join(parts)


def _mean(entries: Sequence[Entry], found: Entries, request: TableRequest) -> str:
    text = "Means over training runs, of means over samples" if request.over_runs else "Means over samples"
    within = [k for k in ("repeat", "item") if k not in request.keys and _averaged(entries, k, found.info)]
    if within:
        text += f" (first over the {' and '.join(f'{k}s' for k in within)} of each)"
    text += _interval_over(entries, request)
    if "method" not in request.keys and any(found.info.family(e.key.metric) == FAMILY for e in entries):
        text += "; scores of localisation weigh every manipulation method alike"
    return f"{text}."


def _interval_over(entries: Iterable[Entry], request: TableRequest) -> str:
    """What an interval is over, where one is shown."""
    estimates = [e.cell.estimate for e in entries if e.cell.estimate and e.cell.estimate.low is not None]
    if not request.intervals or not estimates:
        return ""
    if not request.over_runs:
        return " with 95 % intervals clustered by group"
    # a note begins with what the interval is over where that is not both: see runs_interval
    kinds = {next((k for k in _OVER if e.note.startswith(k)), _CROSSED) for e in estimates}
    over = ", or ".join(kind for kind in (_CROSSED, *_OVER) if kind in kinds)
    return f" with 95 % intervals {over}{' where a note says so' if len(kinds) > 1 else ''}"


def _averaged(entries: Iterable[Entry], key: str, info: ScoreInfo) -> bool:
    """Whether a sample may have several values of a score: repeats always, items where they have no cell each."""
    if key == "repeat":
        return True
    specs = (info.spec(e.key.metric, e.key.score) for e in entries)
    return any(spec is not None and spec.item_form and not spec.per_item for spec in specs)


def _sizes(entries: Sequence[Entry], found: Entries, request: TableRequest) -> str:
    """``6 samples of 6 groups per column``: what one number stands on, never the sum over columns or rows."""
    sizes = sorted({(e.cell.estimate.n, e.cell.estimate.groups) for e in entries if e.cell.estimate})
    groups = sorted(g for _, g in sizes)
    n = f"{sizes[0][0]} to {sizes[-1][0]} samples" if sizes[0][0] < sizes[-1][0] else plural(sizes[0][0], "sample")
    within = f"{groups[0]} to {groups[-1]} groups" if groups[0] < groups[-1] else plural(groups[0], "group")
    return f"{n} of {within}{_each(found, request)}."


def _each(found: Entries, request: TableRequest) -> str:
    """Whether columns, rows or single numbers have samples of their own."""
    rows, columns = (bool(set(keys) & set(found.split)) for keys in (request.rows, request.columns))
    return " per number" if rows and columns else " per column" if columns else " per row" if rows else ""


def legend_of(entries: Sequence[Entry], found: Entries, request: TableRequest) -> list[str]:
    """The metrics of scores, the parameters behind short names, arrows, and what is bold."""
    lines = []
    if "score" in (*request.rows, *request.columns):
        lines += _metrics(entries, found.aliases) if "metric" not in request.keys else []
        if any(ARROWS.get(e.better) for e in entries):
            lines.append("an arrow points to where a score is better")
    lines += _parameters(entries, found.aliases)
    lines += _verdicts(entries) if request.verdicts else []
    return [*lines, *(_bold(entries, found, request) if request.bold else ())]


def _verdicts(entries: Iterable[Entry]) -> list[str]:
    """What the words below values mean."""
    held = [e.verdict for e in entries if e.verdict.word]
    if not held:
        return ["no explainer is held against a control here"]
    controls = ", ".join(sorted({c for verdict in held for c in verdict.controls}))
    named = "the control that decides stands in parentheses" if any(v.control for v in held) else ""
    text = f"better: on average, paired and corrected, than every control ({controls})"
    return ["; ".join(t for t in (text, named) if t)]


def _metrics(entries: Iterable[Entry], aliases: Aliases) -> list[str]:
    """The metrics of scores whose headers do not say them."""
    by_metric: dict[str, dict[str, None]] = {}
    for entry in entries:
        alias, score = aliases(entry.key.metric), entry.key.score.partition(" ")[0]
        head = aliases.text(entry.labels["score"].text)
        if entry.key.metric and not head.startswith(aliases.score(entry.key.metric, score)):
            by_metric.setdefault(alias, {})[score] = None
    return [f"{', '.join(scores)}: of {metric}" for metric, scores in by_metric.items()]


def _parameters(entries: Sequence[Entry], aliases: Aliases) -> list[str]:
    """``rise: masks=400; deletion: steps=10``, of the explainers and then the metrics that are shown."""
    names = dict.fromkeys([*(e.key.explainer for e in entries), *(e.key.metric for e in entries)])
    found = {aliases(n): short(n) for n in names if n and aliases(n) != short(n) and not inverse_of(n)}
    parts = [f"{alias}: {full.removeprefix(alias).lstrip(':,')}" for alias, full in found.items()]
    return ["; ".join(parts)] if parts else []


def _bold(entries: Iterable[Entry], found: Entries, request: TableRequest) -> Iterator[str]:
    """What is bold, and by reason the headers under which nothing is."""
    keys = [k for k in (*request.columns, *request.rows) if k != "explainer"]
    ranked = [e for e in entries if e.section == 1 and e.cell.estimate is not None]
    ranked.sort(key=lambda e: [e.labels[k].order for k in keys if k in e.labels])
    if any(e.best.is_best for e in ranked):
        yield "bold: not told apart from the best explainer (95 %), on the samples that all ranked ones have"
    heads: dict[str, dict[str, None]] = {}
    for entry in ranked:
        if not any(e.best.is_best for e in ranked if _same(e, entry, keys)):
            head = " ".join(found.aliases.text(entry.labels[k].text) for k in keys if k in entry.labels)
            heads.setdefault(entry.best.why_not or "the score is of whole sets", {})[head] = None
    for reason, names in heads.items():
        where = "" if len(heads) == 1 and not any(e.best.is_best for e in ranked) else f" under {', '.join(names)}"
        yield f"nothing is bold{where}: {reason}"


def _same(a: Entry, b: Entry, keys: Iterable[str]) -> bool:
    return all(a.labels.get(k) == b.labels.get(k) for k in keys)
