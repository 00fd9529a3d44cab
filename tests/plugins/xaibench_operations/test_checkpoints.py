"""Weights in files against a network. Files that are no weights: tests of the models and of the training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from xaibench.api import ModelError
from xaibench_operations import check_fit, read_tensors, without_prefix

FILE = Path("weights.pt")


class Tied(nn.Module):
    """The head's weight is the stem's; a batch norm counts batches."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 3, bias=False)
        self.norm = nn.BatchNorm1d(3)
        self.head = nn.Linear(3, 3, bias=False)
        self.head.weight = self.stem.weight


def state_without(*keys: str) -> dict[str, torch.Tensor]:
    return {k: v for k, v in Tied().state_dict().items() if k not in keys}


def test_what_is_tied_and_counters_of_batches_may_be_missing():
    expected = Tied().state_dict()
    check_fit(FILE, state_without("head.weight", "norm.num_batches_tracked"), expected, "mend it")
    check_fit(FILE, state_without("stem.weight"), expected, "mend it")


def test_what_does_not_fit_is_named():
    expected = Tied().state_dict()
    with pytest.raises(ModelError, match=r"2 weights missing \(stem.weight, head.weight\), 0 left over") as found:
        check_fit(FILE, state_without("stem.weight", "head.weight"), expected, "mend it")
    assert found.value.mend == "mend it"
    extra = {name: torch.zeros(1) for name in "abcd"}
    with pytest.raises(ModelError, match=r"0 weights missing, 4 left over \(a, b, c, …\)"):
        check_fit(FILE, {**state_without(), **extra}, expected, "mend it")
    with pytest.raises(ModelError, match=r"'norm.bias' has shape \(2,\), the network's \(3,\)"):
        check_fit(FILE, {**state_without(), "norm.bias": torch.zeros(2)}, expected, "mend it")


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model", "net", "weights", "params"])
def test_a_table_within_a_checkpoint_is_read(wrapper, tmp_path):
    file = tmp_path / "w.pt"
    torch.save({"epoch": 3, wrapper: {"module.a": torch.ones(2)}}, file)
    (read,) = without_prefix(read_tensors(file), "module.").items()
    assert (read[0], read[1].tolist()) == ("a", [1, 1])
