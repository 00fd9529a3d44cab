"""Out-of-set: numbers worked by hand, the null, and two datasets in a run."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from xaibench.store.folder import RunFolder
from xaibench_metrics.salience.out_of_set import Drawn, by_chance, compared, dealt, matches, mean_map, p_value


def seen(*values, confidence=0.9, target=1, group="g"):
    return [Drawn(v, target, confidence, f"{group}{i}") for i, v in enumerate(values)]


def test_the_distance_of_two_equal_sets_is_nothing():
    assert compared(seen(0.2, 0.4), seen(0.4, 0.2, group="h"), 0.1) == (0.0, pytest.approx(0.0), 1.0)


def test_a_shift_is_distance_and_difference():
    distance, difference, share = compared(seen(0.5, 0.7), seen(0.2, 0.4, group="h"), 0.1)
    assert (distance, difference, share) == (pytest.approx(0.3), pytest.approx(0.3), 1.0)


def test_only_maps_of_the_same_class_and_confidence_are_compared():
    outside = [Drawn(0.5, 1, 0.9, "a"), Drawn(0.9, 0, 0.9, "b"), Drawn(0.8, 1, 0.5, "c")]
    inside = [Drawn(0.1, 1, 0.95, "x"), Drawn(0.3, 1, 0.85, "y"), Drawn(0.9, 1, 0.7, "z")]
    assert matches(outside, inside, 0.1).tolist() == [[True, True, False], [False] * 3, [False] * 3]
    # the one that matches has 0.5; its matches weigh a half each: |0.5 - 0.1| / 2 + |0.5 - 0.3| / 2
    distance, difference, share = compared(outside, inside, 0.1)
    assert (distance, difference, share) == (pytest.approx(0.3), pytest.approx(0.3), pytest.approx(1 / 3))
    with pytest.raises(ValueError, match="class and confidence"):
        compared(outside[1:2], inside, 0.1)


def test_matches_are_weighed_by_what_they_stand_for():
    outside = [Drawn(0.6, 1, 0.9, "a"), Drawn(0.6, 1, 0.5, "b"), Drawn(0.6, 1, 0.5, "c")]
    inside = [Drawn(0.0, 1, 0.9, "x"), Drawn(0.3, 1, 0.5, "y")]
    assert compared(outside, inside, 0.1)[1] == pytest.approx((0.6 + 0.3 + 0.3) / 3)


def test_a_deal_keeps_groups_whole_and_their_number():
    both = [*seen(0.1, 0.2, 0.3), *seen(0.4, 0.5, group="h"), Drawn(0.9, 1, 0.9, "g0")]
    out, within = dealt(both[:3], both[3:], np.random.default_rng(0))
    assert len({d.group for d in out}) == 3 and not {d.group for d in out} & {d.group for d in within}
    assert sorted(d.statistic for d in (*out, *within)) == sorted(d.statistic for d in both)


def test_the_null_tells_a_real_difference_from_chance():
    rng = np.random.default_rng(1)
    inside = seen(*rng.normal(0.5, 0.05, 30).tolist())
    same, moved = (seen(*rng.normal(m, 0.05, 30).tolist(), group="h") for m in (0.5, 0.6))
    for outside, above in ((same, False), (moved, True)):
        null = by_chance(outside, inside, 0.1, 99, np.random.default_rng(2))
        assert len(null) == 99
        assert bool(compared(outside, inside, 0.1)[0] > null.max()) is above


def test_mean_maps_leave_constant_ones_out():
    rising = torch.tensor([[0.0, 2.0]])
    assert mean_map([rising, torch.ones(1, 2)]).tolist() == [[0.0, 1.0]]
    assert mean_map([torch.ones(1, 2)]).numel() == 0


def test_the_p_value_counts_the_observed_deal_and_those_that_are_as_far():
    null = np.array([0.1, 0.2 - 1e-13, 0.2, 0.3])
    assert p_value(null, 0.2) == (1 + 3) / 5
    assert p_value(null, 0.4) == 1 / 5 and p_value(null, 0.0) == 1
    assert p_value(np.array([]), 0.2) == 1


def test_a_second_dataset_is_compared_with_the_first(cli, tmp_path):
    code, out, _ = cli(
        "eval", "--model", "demo", "--dataset", "demo:identities=8", "--dataset", "demo:identities=8,seed=5",
        "--limit", 8, "-e", "gradcam", "--no-controls", "-x", "out-of-set:nulls=19", "--threads", 1, "--json", "-q",
        "-o", tmp_path,
    )  # fmt: skip
    assert code == 0 and json.loads(out)["failed"] == 0
    rows = RunFolder(tmp_path).table("scores").to_pylist()
    first = [r for r in rows if r["dataset"] == "xaibench/demo:identities=8"]
    assert [r["status"] for r in first] == ["not_applicable"] and "first --dataset" in first[0]["reason"]
    values = {r["score"]: r["value"] for r in rows if r["dataset"] != first[0]["dataset"] and r["status"] == "ok"}
    assert set(values) == {"distance", "null", "p-value", "difference", "matched", "position"}
    assert values["p-value"] * 20 == pytest.approx(round(values["p-value"] * 20)) and values["matched"] > 0.5


def test_one_dataset_is_told_what_is_missing(cli, tmp_path):
    code, _, err = cli("eval", "--model", "demo", "--dataset", "demo:identities=8", "--limit", 4, "-e", "gradcam",
                       "-x", "out-of-set", "--threads", 1, "-q", "-o", tmp_path)  # fmt: skip
    assert code == 4 and "first --dataset" in err


def of_two(cli, out, first, second, explainer="edges"):
    code, _, err = cli(
        "eval", "--model", "demo", "--dataset", first, "--dataset", second, "--limit", 4, "-e", explainer,
        "--no-controls", "-x", "out-of-set:nulls=19", "--threads", 1, "-q", "-o", out,
    )  # fmt: skip
    return code, err, RunFolder(out).table("scores").to_pylist() if code == 0 else []


def test_in_another_order_no_dataset_keeps_both_a_value_and_the_reason_why_there_is_none(cli, tmp_path):
    one, two = "demo:identities=8", "demo:identities=8,seed=5"
    of_two(cli, tmp_path, one, two)
    for first, second in ((two, one), (one, two)):
        code, _, rows = of_two(cli, tmp_path, first, second)
        absent = {r["dataset"] for r in rows if r["status"] == "not_applicable"}
        assert code == 0 and len(absent) == 1
        assert {r["dataset"] for r in rows if r["status"] != "not_applicable"}.isdisjoint(absent)


def test_what_cannot_explain_the_first_dataset_is_said_beforehand(cli, tmp_path):
    from PIL import Image

    people = tmp_path / "people"
    people.mkdir()
    lines = ["id,image,label,identity"]
    for i in range(4):
        Image.new("RGB", (24, 24), (10 * i, 99, 50)).save(people / f"{i}.png")
        lines.append(f"{i},{i}.png,{'fake' if i % 2 else 'real'},p{i}")
    (people / "manifest.csv").write_text("\n".join(lines) + "\n")
    code, _, _ = of_two(cli, tmp_path / "run", people, "demo:identities=8", explainer="mask-oracle")
    assert code == 4
    code, out, _ = cli(
        "eval", "--model", "demo", "--dataset", people, "--dataset", "demo:identities=8", "--limit", 4, "-e",
        "mask-oracle", "--no-controls", "-x", "out-of-set", "--threads", 1, "--dry-run", "--json",
    )  # fmt: skip
    reasons = {c["dataset"]: c["reason"] for c in json.loads(out)["cells"] if c["metric"]}
    assert code == 0 and reasons["xaibench/demo:identities=8"].startswith("no maps of the first dataset: needs masks")
