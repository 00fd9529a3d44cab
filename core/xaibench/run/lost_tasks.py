"""Cutting a task whose worker died: by component, then by sample, until one component at one sample is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xaibench.plan.tasks import ArtefactTask, CellPart, Chunk, ExplainTask, ExplainUnit, PredictTask, Task


def cut(task: Task) -> list[Task]:
    """Smaller tasks in place of one that was lost; none where it cannot be cut.

    Of an explain task whose maps are due they draw the maps alone: their scores are still due afterwards, and find the
    maps in the store.
    """
    if isinstance(task, ExplainTask):
        return [*_by_component(task)] or [*_by_sample(task)]
    if isinstance(task, PredictTask | ArtefactTask):
        parts = _halves(task.part.due)
        return [replace(task, chunk=_chunk(task, ids), part=replace(task.part, due=ids)) for ids in parts]
    return []


def _by_component(task: ExplainTask) -> list[Task]:
    """One task for the maps of each explainer or, where none is due, for each metric."""
    if sum(bool(u.part.due) + len(u.scores) for u in task.units) < 2:
        return []
    drawn = [replace(u, scores=(), needed=u.part.due) for u in task.units if u.part.due]
    scored = [replace(u, scores=(s,), needed=s.part.due) for u in task.units for s in u.scores]
    return [replace(task, units=(unit,)) for unit in drawn or scored]


def _by_sample(task: ExplainTask) -> list[Task]:
    unit = task.units[0]
    return [replace(task, units=(_of_samples(unit, ids),)) for ids in _halves(unit.needed)]


def _of_samples(unit: ExplainUnit, ids: Sequence[str]) -> ExplainUnit:
    return replace(
        unit,
        part=_part(unit.part, ids),
        needed=tuple(i for i in unit.needed if i in ids),
        stored=tuple(i for i in unit.stored if i in ids),
        scores=tuple(replace(s, part=_part(s.part, ids)) for s in unit.scores),
    )


def _part(part: CellPart, ids: Sequence[str]) -> CellPart:
    return replace(part, due=tuple(i for i in part.due if i in ids))


def _chunk(task: PredictTask | ArtefactTask, ids: Sequence[str]) -> Chunk:
    chunk = task.chunk
    here = [s for s in chunk.samples if s.id in ids]
    others = [s for s in chunk.samples if s.id not in ids]
    return replace(chunk, samples=tuple(here), auxiliary=(*chunk.auxiliary, *others))


def _halves(ids: Sequence[str]) -> list[tuple[str, ...]]:
    middle = len(ids) // 2
    return [tuple(ids[:middle]), tuple(ids[middle:])] if middle else []
