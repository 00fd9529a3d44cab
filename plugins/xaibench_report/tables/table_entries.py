"""The numbers of a table before it has a shape: one entry for each combination of keys."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from xaibench.api import NothingToEvaluate, UsageError
from xaibench_report.boards.board_cells import Cell, make_cell
from xaibench_report.boards.detector_tables import of_detector
from xaibench_report.boards.leaderboard import prepared_cells
from xaibench_report.detectors.detection import detections
from xaibench_report.tables.footing import Best, Footings, with_reason
from xaibench_report.tables.over_runs import family_cells
from xaibench_report.tables.sample_parts import EVERY, Label, Part, sample_keys, split_tables
from xaibench_report.tables.score_choice import (
    SECONDS,
    ScoreChoice,
    choose_scores,
    item_names,
    item_parts,
    items_apart,
)
from xaibench_report.tables.seconds import seconds_cells
from xaibench_report.tables.table_request import COMPONENT_KEYS, TableRequest, check_keys
from xaibench_report.tables.untouched import untouched_cells
from xaibench_report.tables.verdict_cells import VerdictCell, verdict_cells
from xaibench_report.values.aliases import Aliases
from xaibench_report.values.run_values import (
    CellKey,
    CellValues,
    Role,
    RunTables,
    ScoreInfo,
    encode,
    family_order,
    short,
)
from xaibench_statistics import SEED

UNTOUCHED: Final = "untouched"
_ROLES: Final[tuple[Role, ...]] = ("explainer", "control", "inverse", "reference")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """One number of a table. ``labels`` by key; ``section`` sorts kinds of rows: the untouched detector 0, explainers
    1, controls 2. ``notes``: what a reader must know of it; ``best``: whether its explainer is not told apart from the
    best one, or why none is."""

    labels: Mapping[str, Label]
    key: CellKey
    cell: Cell
    better: str
    section: int = 1
    notes: tuple[str, ...] = ()
    best: Best = Best(False)
    verdict: VerdictCell = VerdictCell("")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entries:
    """All numbers of a request. ``absent``: why an explainer has no value of a score on one detector at all;
    ``info``: what the scores mean; ``choice``: the scores; ``names``: the parts of their items. ``split``: the keys
    that are columns of the samples. ``aliases``: short names of explainers and metrics. ``footings``: the order of the
    boards."""

    entries: tuple[Entry, ...]
    absent: Mapping[CellKey, str]
    choice: ScoreChoice
    info: ScoreInfo
    names: tuple[str, ...]
    split: tuple[str, ...]
    aliases: Aliases
    footings: Footings


def make_entries(tables: RunTables, info: ScoreInfo, request: TableRequest, seed: int = SEED) -> Entries:
    """Every number that the request asks for.

    Raises UsageError for a key or score that the run does not have, NothingToEvaluate for a run without scores.
    """
    choice = choose_scores(tables, info, request.scores)
    names, samples = item_names(choice, info), sample_keys(tables.samples)
    check_keys(request, (*COMPONENT_KEYS, *names, *samples))
    apart = bool({"item", *names} & set(request.keys))
    labels = _Labels(choice, items_apart(choice, info) if apart else info, _explainers(tables), apart)
    split = [k for k in request.keys if k == "repeat" or (k in samples and k not in (*COMPONENT_KEYS, *names))]
    entries: list[Entry] = []
    absent: dict[CellKey, str] = {}
    if request.verdicts and split:
        raise UsageError(f"a verdict is on all pictures, not by {split[0]}", f"leave out {split[0]} or --verdicts")
    aliases = _aliases(tables, info)
    verdicts = verdict_cells(tables, labels.info, aliases, seed) if request.verdicts else {}
    footings = Footings.of(tables, labels.info, choice.metrics, detections(tables), seed)
    for part in split_tables(_of_metrics(tables, choice), split):
        found, nothing = _of_part(part, labels, request, footings, seed)
        entries += found
        absent |= nothing
    if SECONDS in choice.items:
        entries += _seconds(tables, labels, split, request)
    entries = [_with_verdict(e, verdicts[e.key]) if e.key in verdicts else e for e in entries]
    if not request.controls:
        entries = _without_controls(entries)
    return Entries(
        entries=tuple(entries), absent=absent, choice=choice, info=labels.info, names=names,
        split=tuple(k for k in split if k != "repeat"), aliases=aliases, footings=footings,
    )  # fmt: skip


def _aliases(tables: RunTables, info: ScoreInfo) -> Aliases:
    """As the boards have them: of all explainers and metrics of the run, whatever the table shows."""
    explainers, metrics = (set(encode(tables.scores, c).names.tolist()) - {""} for c in ("explainer", "metric"))
    return Aliases.of(explainers | info.controls, metrics | info.families.keys())


def _of_metrics(tables: RunTables, choice: ScoreChoice) -> RunTables:
    """The tables without the scores of metrics that the table does not show."""
    rows = pc.is_in(tables.scores["metric"], pa.array(choice.metrics, pa.string()))
    return replace(tables, scores=tables.scores.filter(rows))


def _without_controls(entries: Sequence[Entry]) -> list[Entry]:
    shown = [e for e in entries if e.section < 2]
    if entries and not any(e.section for e in shown):
        raise NothingToEvaluate("only controls and references have these scores", "show them with --controls")
    return shown


@dataclass(frozen=True, slots=True)
class _Labels:
    """From the key of a cell to the labels of its components. ``apart``: whether items have keys of their own."""

    choice: ScoreChoice
    info: ScoreInfo
    explainers: Sequence[str]
    apart: bool

    def of(self, key: CellKey) -> dict[str, Label]:
        score, _, item = key.score.partition(" ")
        places = list(self.choice.items)
        place = (places.index((key.metric, score)),)
        title = self.choice.title((key.metric, score))
        own = item if self.apart else ""
        parts = item_parts((key.metric, score), item, self.info) if self.apart else {}
        return {
            "dataset": Label((key.where.dataset,), short(key.where.dataset)),
            "model": Label((key.where.model,), short(key.where.model)),
            "member": Label((key.where.member,), key.where.member or "(family)"),
            "explainer": self._explainer(key.explainer),
            "metric": Label(place, short(key.metric)),
            "family": Label(family_order(self.info.family(key.metric)), self.info.family(key.metric)),
            "score": Label(
                place if self.apart else (*place, *natural(item)),
                title if self.apart or not item else f"{title} {item}",
            ),
            "item": Label(natural(own), own),
            **{name: Label(natural(value), value) for name, value in parts.items()},
        }

    def _explainer(self, name: str) -> Label:
        role = self.info.role(name)
        place = self.explainers.index(name) if name in self.explainers else len(self.explainers)
        shown = short(name) or "(detector)"
        return Label((_ROLES.index(role), place, name), f"{shown} (reference)" if role == "reference" else shown)


def natural(text: str) -> tuple[tuple[int, float, str], ...]:
    """A key that sorts ``top-2`` before ``top-10``."""
    parts = re.findall(r"\d+(?:\.\d+)?|[^\d]+", text)
    return tuple((0, float(p), "") if p[0].isdigit() else (1, 0.0, p) for p in parts)


def _explainers(tables: RunTables) -> list[str]:
    """In the order in which the run was given them."""
    rows = [] if tables.components is None else tables.components.select(["run", "kind", "name"]).to_pylist()
    latest = max((r["run"] for r in rows), default="")
    newest = sorted(rows, key=lambda r: r["run"] != latest)
    return list(dict.fromkeys(r["name"] for r in newest if r["kind"] == "explainer"))


# ---- one part -------------------------------------------------------------------------------------------------------


def _of_part(
    part: Part, labels: _Labels, request: TableRequest, footings: Footings, seed: int
) -> tuple[list[Entry], dict[CellKey, str]]:
    """The entries of one part, and why explainers have no value at all where no sample is named."""
    cells = _chosen_cells(part, labels)
    if request.over_runs:
        return _of_families(cells, part, labels, request, footings, seed), {}
    whole = [k for k, c in cells.items() if part.labels and part.holds is None and not c.any]
    best = footings.best(cells) if request.bold else {}
    entries = [
        _entry(key, cell, part, labels, footings, best.get(key, Best(False)), request, seed)
        for key, cell in cells.items()
        if key not in whole
    ]
    if request.untouched:
        entries += _untouched(entries, part, labels, footings.tables)
    return entries, {k: without_status(make_cell(cells[k], seed).why) for k in whole}


def _of_families(
    cells: Mapping[CellKey, CellValues], part: Part, labels: _Labels, request: TableRequest, footings: Footings,
    seed: int,
) -> list[Entry]:  # fmt: skip
    """The entries of the means over runs: marks and gates of each run are noted once."""
    entries = []
    for key, (first, made) in family_cells(cells, seed).items():
        runs = [k for k in cells if k._replace(where=k.where._replace(member="")) == key]
        below = dict.fromkeys(n for k in runs for n in footings.notes(k, cells[k])) if made.estimate else ()
        entries.append(_entry_of(key, first, made, part, labels, (*_notes(made, first, request.intervals), *below)))
    return entries


def _chosen_cells(part: Part, labels: _Labels) -> dict[CellKey, CellValues]:
    """The cells of the scores that are asked for. What a metric could not say of any item of a sample is said of all
    items, where these have cells of their own."""
    cells = prepared_cells(part.tables, labels.info)
    chosen = {k: c for k, c in cells.items() if labels.choice.holds(k.metric, *_score_and_item(k))}
    for key in [k for k, cell in cells.items() if " " not in k.score and not cell.any]:
        spec = labels.info.spec(key.metric, key.score)
        if spec is None or not spec.per_item or not (items := labels.choice.items_of(key.metric, key.score)):
            continue
        nothing = cells[key]
        chosen.pop(key, None)
        for own in (key._replace(score=f"{key.score} {item}") for item in items):
            chosen[own] = _joined(chosen[own], nothing) if own in chosen else nothing
    return dict(sorted(chosen.items()))


def _joined(cell: CellValues, nothing: CellValues) -> CellValues:
    """A cell with the samples that have no value of any item."""
    reasons = Counter(cell.left_out) + Counter(nothing.left_out)
    return replace(cell, left_out=dict(sorted(reasons.items())), incomplete=cell.incomplete + nothing.incomplete)


def _score_and_item(key: CellKey) -> tuple[str, str]:
    score, _, item = key.score.partition(" ")
    return score, item


def _entry(
    key: CellKey, cell: CellValues, part: Part, labels: _Labels, footings: Footings, best: Best,
    request: TableRequest, seed: int,
) -> Entry:  # fmt: skip
    made = make_cell(cell, seed)
    made = replace(made, why=without_status(made.why))
    notes = (*_notes(made, cell, request.intervals), *(footings.notes(key, cell) if made.estimate else ()))
    return replace(_entry_of(key, cell, made, part, labels, notes), best=best)


def _entry_of(key: CellKey, cell: CellValues, made: Cell, part: Part, labels: _Labels, notes: tuple[str, ...]) -> Entry:
    role = labels.info.role(key.explainer)
    return Entry(
        labels={**labels.of(key), **part.labels},
        key=key,
        cell=made,
        better=cell.better,
        section=1 if role == "explainer" or of_detector(cell) else 2,
        notes=notes,
    )


def _with_verdict(entry: Entry, verdict: VerdictCell) -> Entry:
    """Why there is no verdict is noted where there is a value."""
    if not verdict.why or entry.cell.estimate is None or any(verdict.why in note for note in entry.notes):
        return replace(entry, verdict=verdict)
    return replace(entry, verdict=verdict, notes=(*entry.notes, with_reason("no verdict", verdict.why)))


def _notes(made: Cell, cell: CellValues, intervals: bool) -> Iterator[str]:
    """Why there is no value or no interval, and over what its mean is not."""
    if made.estimate is None:
        yield made.why or "no rows"
        return
    if made.incomplete:
        reasons = dict.fromkeys(
            without_status(f"{status.replace('_', ' ')}: {reason}") if reason else status.replace("_", " ")
            for status, reason in cell.left_out
        )
        yield with_reason("samples are left out", "; ".join(reasons))
    if made.estimate.note and (intervals or not made.estimate.n):
        yield made.estimate.note
    if cell.censored is not None and cell.censored.any():
        yield "the mean is restricted to the largest value tried"


def without_status(reason: str) -> str:
    """A reason without the status that it stands behind, unless that says that something went wrong."""
    status, _, rest = reason.partition(": ")
    return rest if rest and status in ("undefined", "not applicable") else reason


def _untouched(entries: Iterable[Entry], part: Part, labels: _Labels, tables: RunTables) -> list[Entry]:
    """The detector on the untouched pictures, once for each combination that some explainer has a value of."""
    first: dict[CellKey, list[Entry]] = {}
    for entry in entries:
        if entry.section == 1 and entry.key.explainer:
            first.setdefault(entry.key._replace(explainer=UNTOUCHED), []).append(entry)
    made = untouched_cells({k: [e.cell for e in group] for k, group in first.items()}, part, tables, labels.info)
    label = Label((-1, 0, ""), f"({UNTOUCHED})")
    return [
        replace(first[k][0], labels={**first[k][0].labels, "explainer": label}, key=k, cell=cell, section=0,
                notes=notes, best=Best(False))
        for k, (cell, notes) in made.items()
    ]  # fmt: skip


def _seconds(tables: RunTables, labels: _Labels, split: Sequence[str], request: TableRequest) -> list[Entry]:
    every = {k: Label((-1,), EVERY) for k in split}
    return [
        Entry(labels={**labels.of(key), **every}, key=key, cell=cell, better="lower", notes=notes,
              section=1 if labels.info.role(key.explainer) == "explainer" else 2)
        for key, (cell, notes) in seconds_cells(tables).items()
    ]  # fmt: skip
