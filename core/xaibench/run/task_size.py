"""How many samples a task takes: about a minute of work, as far as the last tasks tell, and what the memory holds."""

from __future__ import annotations

from collections.abc import Sequence

from xaibench.api import Passes
from xaibench.plan.due import most_samples
from xaibench.plan.parts import Plan, PlannedMember

_SECONDS = 60.0
_FIRST_PASSES = 4000
_FIRST = 32
_GROWTH = 8


class TaskSize:
    """The number of samples of the next task of a stage, by detector.

    The first task of a stage is small: at most 32 samples and some 4,000 passes by the plan's count. Later ones follow
    the measured time of the last ones. Nothing but the cut depends on it.
    """

    def __init__(self, plan: Plan) -> None:
        self._fixed = plan.settings.task_samples
        self._plan = plan
        self._next: dict[tuple[str, str, str], float] = {}
        self._seen: dict[tuple[str, str, str], tuple[float, float]] = {}

    def __call__(self, stage: str, member: PlannedMember) -> float:
        """The number of samples; less than 1 where one sample is too much for one task."""
        if self._fixed:
            return self._fixed
        largest = most_samples(member.facts)
        if stage == "sets":
            return largest
        key = (stage, member.ref.model, member.ref.member)
        if key not in self._next:
            self._next[key] = min(_FIRST, _FIRST_PASSES / max(self._passes_a_sample(stage, member), 1))
        return min(self._next[key], largest)

    def measured(self, stage: str, model: str, member: str, samples: int, seconds: float, share: float = 1.0) -> None:
        """Take note of how long a task took that did a share of all that is due at its samples."""
        key = (stage, model, member)
        if samples and key in self._next:
            # Explainers differ in what the plan does not know, so that one of them tells little: a share of a task
            # weighs as much as it is of one.
            kept, (work, time) = 0.5**share, self._seen.get(key, (0.0, 0.0))
            work, time = self._seen[key] = kept * work + share * samples, kept * time + seconds
            self._next[key] = min(_SECONDS * work / max(time, 1e-3), _GROWTH * max(self._next[key], 1))

    def _passes_a_sample(self, stage: str, member: PlannedMember) -> float:
        if stage == "predict":
            return 1
        ref, samples = member.ref, max(sum(len(d.survey.samples) for d in self._plan.datasets), 1)
        cells: Sequence[Passes] = [
            c.passes for c in (self._plan.artefact_cells if stage == "artefacts" else self._plan.cells)
            if (c.model, c.member) == (ref.model, ref.member) and not getattr(c, "reason", "")
        ]  # fmt: skip
        total = sum(cells, Passes())
        return (total.forward + 2 * total.backward) / samples
