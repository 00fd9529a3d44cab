"""Strangers: who they are, that the limit does not change them, and the control that shows their masks."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from xaibench import hold_component
from xaibench.api import ExplainerRecord, Native, Parameters, Sample, UnreadablePicture
from xaibench.data.survey import survey
from xaibench.store.folder import RunFolder
from xaibench_explainers.controls import OtherMask
from xaibench_testing import planted_samples, value
from xaibench_testing.harness import explain
from xaibench_testing.planted import FAKE, REAL, PatchDetector
from xaibench_testing.planted_data import pictures_of


class People:
    """Fakes of two methods; ``donors`` crosses the groups; ``broken`` cannot be read."""

    def __init__(self, people, methods=("a", "b"), donors=False, broken=()):
        self.rows = [
            Sample(
                id=f"{p}-{m}", label="fake", group=f"p{p}", method=m, has_mask=True,
                cross_group=f"p{(p + 1) % people}" if donors else None,
            )
            for p in range(people) for m in methods
        ]  # fmt: skip
        self.broken = broken

    def samples(self):
        return self.rows

    def problems(self):
        return ()

    def read(self, sample):
        if sample.id in self.broken:
            raise UnreadablePicture(f"{sample.id} is broken")
        return Native(np.full((8, 8, 3), int(sample.id.partition("-")[0]), np.uint8), np.eye(8, dtype=np.uint8))


def chosen(dataset, **more):
    return survey(dataset, "people", seed=0, strangers=True, **more)


def test_a_stranger_shares_nobody_and_has_the_same_method():
    found = chosen(People(6, donors=True))
    by_id = found.by_id()
    assert len(found.strangers) == 12
    for sample, other in ((by_id[a], by_id[b]) for a, b in found.strangers.items()):
        assert not {sample.group, sample.cross_group} & {other.group, other.cross_group}
        assert sample.method == other.method


def test_another_method_serves_where_nobody_else_has_the_same():
    dataset = People(3)
    dataset.rows = [s for s in dataset.rows if s.method == "a" or s.group == "p0"]
    assert chosen(dataset).strangers["0-b"].endswith("-a")


def test_the_limit_changes_no_choice_and_brings_strangers_from_outside():
    whole, part = chosen(People(9)), chosen(People(9), limit=4)
    assert len(part.samples) == 4
    assert part.strangers == {s.id: whole.strangers[s.id] for s in part.samples}
    assert set(part.strangers.values()) <= set(part.by_id())
    assert set(part.strangers.values()) <= set(part.digests)


def test_a_broken_stranger_is_passed_over():
    usual = chosen(People(5))
    broken = usual.strangers["0-a"]
    again = chosen(People(5, broken=(broken,)))
    assert again.strangers["0-a"] not in (broken, None)


def test_one_person_alone_has_no_stranger():
    assert chosen(People(1)).strangers == {}
    assert survey(People(4), "people", seed=0).strangers == {}


def test_the_control_shows_the_strangers_mask():
    detector = PatchDetector()
    pictures = pictures_of(planted_samples(2), detector)
    fakes = [p for p in pictures if p.sample.label == "fake"]
    use = hold_component(
        ExplainerRecord(name="other-mask", target="held:Toy", summary="a control"), OtherMask(Parameters())
    )
    for picture, done in zip(fakes, explain(use, detector, fakes, FAKE), strict=True):
        other = picture.stranger()
        assert other is not None and other.sample.id != picture.sample.id
        assert value(done).map.equal(other.mask.float())
    lost = [replace(fakes[0], mask=None), replace(fakes[1], mask=torch.zeros_like(fakes[1].mask))]
    reasons = [value(d).reason for d in explain(use, detector, lost, FAKE)]
    assert reasons == ["the picture has no mask", "the mask is empty"]  # as of mask-oracle
    said = [value(d) for d in explain(use, detector, pictures, REAL)]
    assert {e.status for e in said} == {"undefined"} and all(e.reason for e in said)


def test_a_strangers_mask_that_changed_is_refused(cli, tmp_path):
    """The data are not the same as they were."""
    from PIL import Image

    data, out = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    lines = ["id,image,label,identity,mask"]
    for i in range(9):
        Image.new("RGB", (24, 24), (20 * i, 99, 50)).save(data / f"{i}.png")
        Image.fromarray(np.eye(24, k=i, dtype=np.uint8) * 255).save(data / f"m{i}.png")
        lines.append(f"{i},{i}.png,fake,p{i},m{i}.png")
    lines.append("real,0.png,real,p0,")
    (data / "manifest.csv").write_text("\n".join(lines) + "\n")

    def run(*more):
        return cli("eval", "--model", "demo", "--dataset", data, "--limit", 3, "-e", "edges", "-x", "mask-auc",
                   "--threads", 1, "-q", "-o", out, *more)  # fmt: skip

    assert run()[0] == 0
    scored = {r["sample"] for r in RunFolder(out).table("scores").to_pylist()} - {""}
    for i in {str(i) for i in range(9)} - scored:
        Image.fromarray(np.ones((24, 24), dtype=np.uint8) * np.uint8(255) * (np.arange(24) > 11)).save(
            data / f"m{i}.png"
        )
    code, _, err = run()
    assert code == 3 and "the stranger of sample" in err and "--replace" in err
    assert run("--replace")[0] == 0
    rows = [r for r in RunFolder(out).table("scores").to_pylist() if r["explainer"] == "xaibench/other-mask"]
    keys = [(r["metric"], r["sample"], r["score"], r["item"], r["repeat"]) for r in rows]
    assert keys and len(keys) == len(set(keys))


@pytest.mark.slow
def test_in_a_run_it_stands_among_the_controls_and_a_limit_redraws_nothing(cli, tmp_path):
    def run(limit):
        return cli("eval", "--model", "demo", "--dataset", "demo:identities=12", "--limit", limit, "-e", "saliency",
                   "-x", "mask-auc", "--threads", 1, "--json", "-q", "-o", tmp_path, "--task-samples", 4)  # fmt: skip

    code, _, _ = run(8)
    assert code == 0
    rows = [r for r in RunFolder(tmp_path).table("scores").to_pylist() if r["explainer"] == "xaibench/other-mask"]
    ok = [r for r in rows if r["status"] == "ok"]
    assert ok and {r["label"] for r in ok} == {"fake"} and all(r["value"] < 1 for r in ok)

    def drawn():
        commits = RunFolder(tmp_path).table("commits").to_pylist()
        maps = [c for c in commits if c["explainer"] == "xaibench/other-mask" and c["kind"] == "explain"]
        return [(x, c["attempts"]) for c in maps for x in zip(c["samples"], c["digests"], strict=True)]

    before = drawn()
    code, out, _ = run(12)
    assert code == 0 and json.loads(out)["failed"] == 0
    assert set(before) < set(drawn()) and len(before) == 8 and len(drawn()) == 12
