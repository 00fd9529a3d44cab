"""Every metric on a fake device: its scores are those of the CPU, and no pass waits for the device but for its reply."""

from __future__ import annotations

import pytest
from tests.support import on_device
from tests.support.recorded_metrics import MIXED

from xaibench.api import Done, MetricRecord, Scores
from xaibench_metrics.plugin import xaibench_metrics
from xaibench_testing.harness import score

METRICS = [record for record in xaibench_metrics() if record.scope == "sample"]
VARIANTS = [
    ("irof", {"fill": "current-mean"}), ("irof", {"fill": "noise"}), ("region-perturbation", {"fill": "noise"}),
    ("infidelity", {"perturbation": "noise"}), ("segment-attack", {"attack": "nes", "steps": 2, "pairs": 4}),
    ("deletion", {"fill": "blur"}),
]  # fmt: skip
REPLIES = ("curves.py", "changes.py", "road.py", "infidelity.py", "repair.py", "stability.py", "compression.py",
           "responses.py", "judging.py")  # fmt: skip
"""Files whose waits between two passes are those for a reply."""


def test_variants_name_metrics() -> None:
    assert {name for name, _ in VARIANTS} <= {record.name for record in METRICS}


@pytest.mark.parametrize(
    ("name", "values"), [*((r.name, {}) for r in METRICS), *VARIANTS], ids=lambda v: v if isinstance(v, str) else ""
)
def test_scores_are_those_of_the_cpu_and_no_pass_waits(
    name: str, values: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    record: MetricRecord = next(r for r in METRICS if r.name == name)
    use = on_device.component("metric", record, **values)
    here, there = on_device.detectors()
    fake = on_device.pictures()[1:]
    (one,) = score(use, MIXED, here, fake, 1)
    with on_device.watched(monkeypatch) as seen:
        (two,) = score(use, MIXED, there, fake, 1)
    assert one.passes == two.passes
    assert rows(two) == [(*key, pytest.approx(v, abs=1e-3)) for *key, v in rows(one)]
    assert not seen.in_passes, seen.in_passes


def rows(done: Done[Scores]) -> list[tuple[str, str, str, float | None]]:
    assert done.error is None, done.error
    assert done.value is not None
    return [(s.name, s.item, s.status, s.value) for s in done.value.values]
