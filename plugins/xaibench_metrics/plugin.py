"""Registration of the built-in metrics. Loads none of their code."""

from __future__ import annotations

from xaibench.api import MetricRecord, hookimpl
from xaibench_metrics.attack.records import ATTACK
from xaibench_metrics.faithfulness.records import FAITHFULNESS
from xaibench_metrics.interpretability.records import INTERPRETABILITY
from xaibench_metrics.localisation.records import LOCALISATION
from xaibench_metrics.robustness.records import ROBUSTNESS
from xaibench_metrics.salience.records import SALIENCE

XAIBENCH_API = "1"


@hookimpl
def xaibench_metrics() -> list[MetricRecord]:
    """The built-in metrics, family by family."""
    return [*FAITHFULNESS, *LOCALISATION, *ATTACK, *ROBUSTNESS, *SALIENCE, *INTERPRETABILITY]
