"""What a plan's pictures can show: the difference that they tell from the controls, before anything is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from xaibench.plan.parts import Plan, PlannedDataset, PlannedExplainer, PlannedMetric

EFFECTS: Final = (0.2, 0.5, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSize:
    """What ``groups`` of a dataset tell with probability .8 on its largest board, of ``tests`` explainers times scores.

    ``difference`` is in standard deviations of the paired difference, infinite where nothing is told. ``needed``: how
    many groups tell each of :data:`EFFECTS`.
    """

    dataset: str
    groups: int
    tests: int
    difference: float
    needed: dict[float, int]

    def lines(self) -> Iterator[str]:
        """Two lines for people."""
        told = f"a difference of {self.difference:.2g} SD is" if self.difference < float("inf") else "no difference is"
        yield (
            f"{self.groups:,} groups on {self.dataset}: with power .8 {told} told from every control, "
            f"corrected for {self.tests:,} tests on its largest board"
        )
        needed = ", ".join(f"{effect:g} SD {groups:,}" for effect, groups in self.needed.items())
        yield f"groups that would tell: {needed} (SD: standard deviation of the paired difference)"


def sample_sizes(plan: Plan) -> Iterator[SampleSize]:
    """That of every dataset on which anything is ranked."""
    from xaibench_statistics import detectable_difference, groups_needed

    for dataset in plan.datasets:
        groups, tests = _groups(dataset), _tests(plan, dataset.name)
        if tests:
            yield SampleSize(
                dataset=dataset.name,
                groups=groups,
                tests=tests,
                difference=detectable_difference(groups, tests=tests),
                needed={effect: groups_needed(effect, 1.0, tests=tests) for effect in EFFECTS},
            )


def _groups(dataset: PlannedDataset) -> int:
    """The groups of the samples; of two crossed factors the levels of the rarer one."""
    samples = dataset.survey.samples
    donors = {s.cross_group for s in samples if s.cross_group}
    groups = len({s.group for s in samples})
    return min(groups, len(donors)) if donors else groups


def _tests(plan: Plan, dataset: str) -> int:
    """Explainers times scores that are ranked on the largest board of a dataset. A score of items counts once."""
    ranked = {e.name for e in plan.explainers if _is_ranked(e)}
    scores = {m.name: (m.record.family, _ranked_scores(m)) for m in plan.metrics}
    boards = Counter[tuple[str, str, str]]()
    for cell in plan.cells:
        if cell.dataset == dataset and cell.explainer in ranked and cell.metric is not None and not cell.reason:
            family, count = scores[cell.metric]
            boards[cell.model, cell.member, family] += count
    return max(boards.values(), default=0)


def _is_ranked(explainer: PlannedExplainer) -> bool:
    record = explainer.record
    return not (record.control or record.reference or record.model_independent)


def _ranked_scores(metric: PlannedMetric) -> int:
    """Those with a column in the leaderboard and a rank on it; only scores of single pictures are tested."""
    if metric.record.scope != "sample":
        return 0
    return sum(s.primary and s.ranked and s.better != "none" for s in metric.scores)
