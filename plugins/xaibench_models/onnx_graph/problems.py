"""Why a graph cannot be run under autograd."""

from __future__ import annotations

from dataclasses import dataclass

from xaibench.api import ModelError

LAYOUT_REASON = "an operator of ONNX Runtime's layout optimisation"


@dataclass(frozen=True, slots=True)
class Problem:
    """One node that is outside the claims: its operator, its name (or its first output) and the reason.

    ``by_opset``: another opset might define it as claimed.
    """

    operator: str
    node: str
    reason: str
    by_opset: bool = False

    def __str__(self) -> str:
        return f"{self.operator} '{self.node}': {self.reason}"


class UnsupportedGraph(ModelError):
    """A graph holds nodes, inputs or weights outside the claims; ``problems`` names each of them."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        shown = "; ".join(str(problem) for problem in problems[:3])
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        super().__init__(
            f"the ONNX graph cannot be differentiated: {shown}{more}",
            "export the float model for inference, without the named operators, or use black-box explainers",
        )
        self.problems = problems

    @property
    def by_opset(self) -> bool:
        """Whether any node is refused for the version of its definition."""
        return any(problem.by_opset for problem in self.problems)

    @property
    def by_layout(self) -> tuple[Problem, ...]:
        """The nodes that a layout optimisation of ONNX Runtime wrote."""
        return tuple(problem for problem in self.problems if problem.reason == LAYOUT_REASON)

    def __reduce__(self) -> tuple[type[UnsupportedGraph], tuple[tuple[Problem, ...]]]:  # type: ignore[override]
        return type(self), (self.problems,)
