"""Cutting a task whose worker died: by component, then by sample, until one component at one sample is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from xaibench.api import Lost
from xaibench.plan.tasks import (
    ArtefactTask,
    CellPart,
    Chunk,
    ExplainTask,
    ExplainUnit,
    LookTask,
    PredictTask,
    SetTask,
    Task,
)


def cut(task: Task, lost: Lost) -> tuple[list[Task], list[Task]]:
    """Smaller tasks in place of one that was lost: those that are to blame, as far as is known, and the others.

    Both are empty where the task cannot be cut. Of an explain task whose maps are due, and of which nothing is known,
    they draw the maps alone: their scores are still due afterwards, and find the maps in the store.
    """
    if lost.component and lost.sample:
        blamed, others = _around(task, lost.component, lost.sample)
        if blamed:
            return (blamed, others) if others else ([], [])
    if isinstance(task, ExplainTask):
        return [], [*_by_component(task)] or [*_by_sample(task)]
    if isinstance(task, PredictTask | ArtefactTask):
        return [], [_of_part(task, ids) for ids in _halves(task.part.due)]
    return [], []


def parts_of(task: Task) -> Iterator[CellPart]:
    """The cells of a task, with the samples of which it gives a result."""
    if isinstance(task, ExplainTask):
        for unit in task.units:
            if unit.part.due:
                yield unit.part
            yield from (score.part for score in unit.scores)
    elif isinstance(task, PredictTask | ArtefactTask | LookTask):
        yield task.part
    else:
        yield task.score.part


def without(task: Task, component: str) -> tuple[Task | None, Task | None]:
    """What of a task a component does, and the rest. None where that is nothing."""
    if isinstance(task, SetTask):
        return (task, None) if component in (task.score.name, task.explainer) else (None, task)
    if not isinstance(task, ExplainTask):
        return None, task
    own, rest = [], []
    for unit in task.units:
        if unit.name == component:
            own.append(unit)
            continue
        scores = tuple(s for s in unit.scores if s.name == component)
        own.append(replace(unit, part=_part(unit.part, ()), scores=scores))
        rest.append(replace(unit, scores=tuple(s for s in unit.scores if s.name != component)))
    return _with(task, own), _with(task, rest)


def _with(task: ExplainTask, units: Sequence[ExplainUnit]) -> ExplainTask | None:
    """The task with those of these units that give a result."""
    left = tuple(u for u in units if u.part.due or any(s.part.due for s in u.scores))
    return replace(task, units=left) if left else None


def _around(task: Task, component: str, sample: str) -> tuple[list[Task], list[Task]]:
    """What a component does at one sample, and the rest of a task."""
    if isinstance(task, PredictTask | ArtefactTask):
        others = tuple(i for i in task.part.due if i != sample)
        if sample not in task.part.due:
            return [], []
        return [_of_part(task, (sample,))], [_of_part(task, others)] if others else []
    if not isinstance(task, ExplainTask):
        return [], []
    blamed: list[ExplainUnit] = []
    rest: list[ExplainUnit] = []
    for unit in task.units:
        others = tuple(i for i in unit.needed if i != sample)
        if unit.name == component and sample in unit.needed:
            one = _of_samples(unit, (sample,))
            blamed.append(replace(one, scores=(), stored=()) if one.part.due else one)
            rest.append(_of_samples(unit, others))
            continue
        accused = [s for s in unit.scores if s.name == component and sample in s.part.due]
        if accused:  # the map is drawn for the score alone where it is due, too: its row is the rest's
            scores = tuple(replace(s, part=_part(s.part, (sample,))) for s in accused)
            stored = tuple(i for i in unit.stored if i == sample)
            part = _part(unit.part, ())
            blamed.append(replace(unit, part=part, needed=(sample,), stored=stored, scores=scores))
            left = {s.name for s in accused}
            scores = tuple(
                replace(s, part=_part(s.part, [i for i in s.part.due if i != sample])) if s.name in left else s
                for s in unit.scores
            )
            unit = replace(unit, scores=tuple(s for s in scores if s.part.due))
        rest.append(unit)
    return [replace(task, units=(u,)) for u in blamed], [t for t in [_with(task, rest)] if t is not None]


def _by_component(task: ExplainTask) -> Iterator[Task]:
    """One task for the maps of each explainer or, where none is due, for each metric."""
    if sum(bool(u.part.due) + len(u.scores) for u in task.units) < 2:
        return
    drawn = [replace(u, scores=(), needed=u.part.due) for u in task.units if u.part.due]
    scored = [replace(u, scores=(s,), needed=s.part.due) for u in task.units for s in u.scores]
    yield from (replace(task, units=(unit,)) for unit in drawn or scored)


def _by_sample(task: ExplainTask) -> Iterator[Task]:
    unit = task.units[0]
    yield from (replace(task, units=(_of_samples(unit, ids),)) for ids in _halves(unit.needed))


def _of_samples(unit: ExplainUnit, ids: Sequence[str]) -> ExplainUnit:
    scores = (replace(s, part=_part(s.part, ids)) for s in unit.scores)
    return replace(
        unit,
        part=_part(unit.part, ids),
        needed=tuple(i for i in unit.needed if i in ids),
        stored=tuple(i for i in unit.stored if i in ids),
        scores=tuple(s for s in scores if s.part.due),
    )


def _part(part: CellPart, ids: Sequence[str]) -> CellPart:
    return replace(part, due=tuple(i for i in part.due if i in ids))


def _of_part(task: PredictTask | ArtefactTask, ids: tuple[str, ...]) -> PredictTask | ArtefactTask:
    return replace(task, chunk=_chunk(task, ids), part=replace(task.part, due=ids))


def _chunk(task: PredictTask | ArtefactTask, ids: Sequence[str]) -> Chunk:
    chunk = task.chunk
    here = [s for s in chunk.samples if s.id in ids]
    others = [s for s in chunk.samples if s.id not in ids]
    return replace(chunk, samples=tuple(here), auxiliary=(*chunk.auxiliary, *others))


def _halves(ids: Sequence[str]) -> list[tuple[str, ...]]:
    middle = len(ids) // 2
    return [tuple(ids[:middle]), tuple(ids[middle:])] if middle else []
