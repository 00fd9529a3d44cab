"""What a plan is, in a few lines: said before a run begins, and kept in its log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaibench.api import Passes

if TYPE_CHECKING:
    from xaibench.plan.parts import Plan


def plan_lines(plan: Plan) -> list[str]:
    """Notes, the detectors with their data, and how much there is to do."""
    sizes = ", ".join(f"{d.name} ({len(d.survey.samples)} samples)" for d in plan.datasets)
    cells = [c for c in plan.cells if c.metric is not None]
    out = sum(bool(c.reason) for c in cells)
    return [
        *plan.notes,
        f"{', '.join(m.name for m in plan.models)} on {sizes}",
        f"plan: {len(cells) - out} cells, {out} not applicable, {count_passes(plan.passes)}; results in {plan.out}",
    ]


def cell_lines(plan: Plan) -> list[str]:
    """A line for each cell: its passes, or the reason why it does not run."""
    return [
        f"cell: {' '.join(filter(None, (c.explainer, c.metric or '(maps)')))} on {c.dataset}: "
        + (c.reason or count_passes(c.passes))
        for c in plan.cells
    ]


def count_passes(passes: Passes) -> str:
    """Passes in words: ``at most 1,200 forward and 48 backward passes``."""
    word = "" if passes.exact else "at most "
    back = f" and {passes.backward:,} backward" if passes.backward else ""
    return f"{word}{passes.forward:,} forward{back} passes"
