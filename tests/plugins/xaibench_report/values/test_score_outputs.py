"""What is said of a board that mixes probabilities and logits."""

from __future__ import annotations

from typing import Any

import pytest

from xaibench.api import ScoreSpec
from xaibench_metrics.faithfulness.changes import watching
from xaibench_metrics.faithfulness.correlation import FAITHFULNESS_ESTIMATE, MuFidelity
from xaibench_report.values.run_values import ScoreInfo
from xaibench_report.values.score_outputs import output_notes


def info(**outputs: Any) -> ScoreInfo:
    specs = {("xaibench/m", n): ScoreSpec(name=n, better="higher", output=output) for n, output in outputs.items()}
    return ScoreInfo(specs=specs)


def test_a_board_that_mixes_outputs_names_each_score_once() -> None:
    keys = [("xaibench/m", name) for name in ("drop top-1", "drop top-2", "sufficiency top-1", "flip", "unknown")]
    assert output_notes(keys, info(drop="logit", sufficiency="probability", flip=None)) == [
        "the board mixes units: of probabilities: m sufficiency; of logits (log-odds): m drop: no difference of one kind "
        "compares with one of the other"
    ]


@pytest.mark.parametrize("outputs", [{"drop": "logit"}, {"drop": "probability", "flip": None}, {"flip": None}])
def test_a_board_of_one_output_says_nothing(outputs: dict[str, Any]) -> None:
    assert output_notes([("xaibench/m", name) for name in outputs], info(**outputs)) == []


def test_a_metric_declares_the_output_that_its_parameter_names() -> None:
    for output in ("logit", "probability"):
        parameters = MuFidelity.Parameters.model_validate({"output": output})
        assert [s.output for s in MuFidelity(parameters).scores] == [output]
    assert watching("logit", FAITHFULNESS_ESTIMATE)[0].name == "faithfulness-estimate"
