"""Which scores of one board are computed from the detector's probabilities, and which from its logits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from xaibench.api import Output
from xaibench_report.values.run_values import ScoreInfo, score_name

_NAMES: Final[dict[Output, str]] = {"probability": "probabilities", "logit": "logits (log-odds)"}


def output_notes(scores: Iterable[tuple[str, str]], info: ScoreInfo) -> list[str]:
    """A line where the ``(metric, score)`` of a board mix the two outputs; nothing where they share one.

    A probability saturates where a logit does not, so that sizes of the two are not comparable.
    """
    by_output: dict[Output, dict[str, None]] = {}
    for metric, score in scores:
        spec = info.spec(metric, score)
        if spec is not None and spec.output is not None:
            by_output.setdefault(spec.output, {})[score_name(metric, spec.name)] = None
    if len(by_output) < 2:
        return []
    parts = [f"of {_NAMES[output]}: {', '.join(by_output[output])}" for output in _NAMES]
    return [f"the board mixes units: {'; '.join(parts)}: no difference of one kind compares with one of the other"]
