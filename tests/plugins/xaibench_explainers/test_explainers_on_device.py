"""Every explainer on a fake device: its maps are those of the CPU, and no pass waits for the device but for its reply."""

from __future__ import annotations

import os

import pytest
import torch
from tests.support import on_device

from xaibench import load_registry
from xaibench.api import ExplainerRecord
from xaibench_explainers.plugin import xaibench_explainers
from xaibench_testing.harness import explain

FILES = {"maps"}
"""Explainers that read files and ask no detector."""
OWN_WAITS = {"captum"}
"""captum reads numbers on the host while it works."""
OF_ATTENTION = {"attention-rollout", "transformer-attribution"}
ALIASES = ("-t24", "lime-adv", "shap-adv", "sobol-adv")
"""Ends of names of what another explainer here does with other parameters; tried with ``XAIBENCH_TEST_EVERYWHERE``."""
EXPLAINERS = [
    record
    for record in xaibench_explainers()
    if record.name not in FILES
    and (
        os.environ.get("XAIBENCH_TEST_EVERYWHERE")
        or not record.name.endswith(ALIASES)
        or record.name == "gradcam++-t24"
    )
]


@pytest.mark.parametrize("record", EXPLAINERS, ids=lambda record: record.name)
def test_maps_are_those_of_the_cpu_and_no_pass_waits(record: ExplainerRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = on_device.detectors("tokens" if record.name in OF_ATTENTION else "convolutions")
    use, registry = on_device.component("explainer", record), load_registry()
    fake = on_device.pictures()[1:]
    (one,) = explain(use, here, fake, 1, registry=registry)
    with on_device.watched(monkeypatch) as seen:
        (two,) = explain(use, there, fake, 1, registry=registry)
    assert one.error is None and two.error is None, (one.error, two.error)
    assert one.value is not None and two.value is not None
    assert (one.value.status, one.value.reason, one.passes) == (two.value.status, two.value.reason, two.passes)
    if one.value.map is not None:
        assert two.value.map.device.type == "cpu"
        assert torch.allclose(one.value.map, two.value.map, atol=1e-3 * float(one.value.map.abs().max()))
    if record.name not in OWN_WAITS:
        assert not seen.in_passes, seen.in_passes


@pytest.mark.parametrize("name", ["rise", "smoothgrad", "vargrad", "integrated-gradients", "sobol", "lime"])
def test_more_passes_cost_no_synchronisation(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two replies these explainers leave the device alone: what they wait for, they wait for once a map."""
    record = next(r for r in EXPLAINERS if r.name == name)
    many = {"rise": "masks", "integrated-gradients": "steps", "sobol": "designs"}.get(name, "samples")
    counts = []
    for amount in (24, 80) if name != "sobol" else (2, 16):
        use = on_device.component("explainer", record, **{many: amount})
        with on_device.watched(monkeypatch) as seen:
            explain(use, on_device.detectors()[1], on_device.pictures()[1:], 1)
        counts.append(sum(map(len, (w for steps in seen.in_steps.values() for w in steps))))
    assert counts[0] == counts[1], seen.in_steps
