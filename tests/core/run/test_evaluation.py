"""The upper door: evaluation, maps and scores from Python, of live objects and of files."""

import gc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file
from small_networks import PairNet

import xaibench
from xaibench.api import DatasetError, ModelError, StoreError, UsageError

SIZE = 24
CARD = {"size": SIZE, "target_layer": "body"}
CHOICE = {"explainers": ["gradcam", "rise:masks=40"], "metrics": ["deletion:steps=4"], "target": "fake", "controls": False}


def arrays(n=6, masks=False):
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (2 * n, SIZE, SIZE, 3), dtype=np.uint8)
    pictures = {"images": images, "labels": ["real", "fake"] * n, "pairs": [None if i % 2 == 0 else i - 1 for i in range(2 * n)]}
    if masks:
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[4:12, 6:14] = 255
        pictures["masks"] = [None, mask] * n
    return pictures


def values(run):
    rows = [r for r in run.scores.to_pylist() if r["status"] == "ok"]
    return {(r["explainer"], r["score"], r["sample"]): r["value"] for r in rows}


@pytest.fixture
def as_file(tmp_path):
    """The network of :class:`PairNet` as a description of a factory and a file of weights."""
    save_file(PairNet().state_dict(), tmp_path / "pair.safetensors")
    support = Path(__file__).parents[2] / "support"
    (tmp_path / "pair.toml").write_text(
        f'factory = "small_networks:PairNet"\nweights = "pair.safetensors"\npythonpath = ["{support}"]\n'
        f'size = {SIZE}\ntarget_layer = "body"\n'
    )
    return tmp_path / "pair.toml"


# ---- evaluate -------------------------------------------------------------------------------------------------------


def test_a_module_on_arrays_in_five_lines(tmp_path, as_file):
    net = PairNet()
    pictures = arrays()
    run = xaibench.evaluate(net, pictures, card=CARD, **CHOICE)
    table = run.to_pandas()
    assert set(table.explainer) == {"xaibench/gradcam", "xaibench/rise:masks=40"}

    filed = xaibench.evaluate(as_file, pictures, out=tmp_path / "run", **CHOICE)
    assert values(run) == values(filed) and len(values(run)) == 24
    assert run.predictions["p_fake"].to_pylist() == filed.predictions["p_fake"].to_pylist()


def test_a_callable_on_arrays(as_file, tmp_path):
    net = PairNet()

    def detector(pictures):
        with torch.no_grad():
            return net(pictures).numpy()

    run = xaibench.evaluate(detector, arrays(), card={"size": SIZE}, **CHOICE)
    filed = xaibench.evaluate(as_file, arrays(), out=tmp_path / "run", **CHOICE)
    mine = {k: v for k, v in values(run).items() if "rise" in k[0]}
    theirs = {k: v for k, v in values(filed).items() if "rise" in k[0]}
    # a file's weights lie in memory as is fastest, which a callable's cannot: the last bits may differ
    assert mine == pytest.approx(theirs, abs=1e-5) and len(mine) == 12
    reasons = {r["reason"] for r in run.scores.to_pylist() if r["explainer"] == "xaibench/gradcam"}
    assert all("needs activations" in r for r in reasons)


def test_objects_that_keep_the_contracts_are_taken_as_they_are():
    from xaibench.api import Explanation, Passes, Score, Scores, ScoreSpec

    class FirstRow:
        def explain(self, request):
            height, width = request.picture.image.shape[1:]
            return Explanation(map=torch.eye(height, width))

        def passes(self, query):
            return Passes()

    class Total:
        scores = (ScoreSpec(name="total", better="none", why_not="a sum"),)

        def score(self, case):
            return Scores((Score(name="total", value=float(case.explanation.map.sum())),))

        def passes(self, query):
            return Passes()

    run = xaibench.evaluate(PairNet(), arrays(2), explainers=FirstRow(), metrics=[Total()], card=CARD, controls=False)
    assert {(r["explainer"], r["metric"]): r["value"] for r in run.scores.to_pylist()} == {
        ("held/first-row", "held/total"): float(SIZE)
    }


def test_the_folder_of_live_objects_goes_with_the_run():
    run = xaibench.evaluate(PairNet(), arrays(2), card=CARD, **CHOICE)
    path = run.path
    assert path.is_dir()
    del run
    gc.collect()
    assert not path.exists()


def test_without_a_version_nobody_resumes_and_the_run_says_so(tmp_path, capsys):
    out = tmp_path / "run"
    run = xaibench.evaluate(PairNet(), arrays(2), card=CARD, out=out, progress=True, **CHOICE)
    assert "no other process resumes this run" in capsys.readouterr().err
    assert "no other process resumes this run" in run.table("runs")["plan"][0].as_py()
    with pytest.raises(StoreError, match="holds another run"):
        xaibench.evaluate(PairNet(), arrays(2), card=CARD, out=out, **CHOICE)


def test_with_a_version_the_same_call_resumes(tmp_path):
    out = tmp_path / "run"
    first = xaibench.evaluate(PairNet(), arrays(2), card=CARD, out=out, version="3", **CHOICE)
    again = xaibench.evaluate(PairNet(), arrays(2), card=CARD, out=out, version="3", **CHOICE)
    assert len(again.table("runs")) == 2 and values(first) == values(again)
    assert set(again.table("units")["attempts"].to_pylist()) == {1}


def test_other_weights_under_one_version_are_another_detector(tmp_path):
    out, changed = tmp_path / "run", PairNet()
    xaibench.evaluate(PairNet(), arrays(2), card=CARD, out=out, version="3", **CHOICE)
    with torch.no_grad():
        changed.head.bias += 1
    with pytest.raises(StoreError, match="holds another run"):
        xaibench.evaluate(changed, arrays(2), card=CARD, out=out, version="3", **CHOICE)


def test_the_module_is_left_as_it_was():
    net = PairNet().train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    xaibench.evaluate(net, arrays(2), card=CARD, **CHOICE)
    assert net.training and all(p.requires_grad for p in net.parameters())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: xaibench.evaluate(PairNet(), arrays(2), jobs=2, card=CARD), UsageError, "workers cannot have it"),
        (lambda: xaibench.evaluate(PairNet(), arrays(2)), ModelError, "how large its input is"),
        (lambda: xaibench.evaluate(3, arrays(2)), UsageError, "int is no model"),
        (lambda: xaibench.evaluate(PairNet(), 3), UsageError, "int is no data set"),
        (lambda: xaibench.evaluate(PairNet(), arrays(2), card=CARD, sead=1), UsageError, "did you mean 'seed'"),
        (lambda: xaibench.evaluate(PairNet(), arrays(2), card={"weights": "x"}), ModelError, "is for files"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_in_a_line(call, error, words):
    with pytest.raises(error) as refusal:
        call()
    assert words in f"{refusal.value.what} {refusal.value.mend}"


# ---- an opened run --------------------------------------------------------------------------------------------------


def test_a_run_gives_tables_maps_pictures_and_views():
    pictures = arrays(2)
    run = xaibench.evaluate(PairNet(), pictures, card=CARD, maps="keep", **CHOICE)
    assert isinstance(run.scores, pa.Table) and run.map("0001", "gradcam").shape == (SIZE, SIZE)
    assert np.array_equal(run.picture_reader()("0001"), pictures["images"][1])
    assert run.leaderboards().boards[0].family == "faithfulness"
    assert "leaderboards" in dir(run)
    with pytest.raises(AttributeError, match="no view called 'leaderbords'"):
        run.leaderbords()
    with pytest.raises(UsageError, match="no table 'score'"):
        run.table("score")
    with pytest.raises(StoreError, match="no map of 0099"):
        run.map("0099", "gradcam")


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(StoreError, match="is no run"):
        xaibench.open_run(tmp_path)


# ---- one picture ----------------------------------------------------------------------------------------------------


def test_explain_draws_the_map_that_a_run_draws():
    pictures = arrays(2)
    run = xaibench.evaluate(PairNet(), pictures, card=CARD, maps="keep", **CHOICE)
    explanation = xaibench.explain(PairNet(), pictures["images"][1], "gradcam", target="fake", card=CARD)
    assert explanation.status == "ok"
    assert np.array_equal(explanation.array, run.map("0001", "gradcam"))


def test_explain_says_why_there_is_no_map():
    image = arrays(1)["images"][0]
    explanation = xaibench.explain(PairNet(), image, "mask-oracle", card=CARD)
    assert (explanation.status, explanation.reason.partition(":")[0]) == ("not_applicable", "needs mask")
    with pytest.raises(ValueError, match="no map: not_applicable: needs mask"):
        _ = explanation.array


def test_masks_and_counterparts_can_be_handed_over():
    pictures = arrays(1, masks=True)
    real, fake, mask = pictures["images"][0], pictures["images"][1], pictures["masks"][1]
    oracle = xaibench.explain(PairNet(), fake, "mask-oracle", mask=mask, target="fake", card=CARD)
    assert np.array_equal(oracle.array > 0.5, mask > 0)
    swapped = xaibench.explain(
        PairNet(), fake, "rise:masks=20,fill=counterpart", counterpart=real, target="fake", card=CARD
    )
    assert swapped.status == "ok"


def test_score_gives_what_a_run_gives():
    pictures = arrays(2, masks=True)
    run = xaibench.evaluate(
        PairNet(), pictures, explainers="gradcam", metrics=["deletion:steps=4", "mask-auc"], target="fake",
        controls=False, maps="keep", card=CARD,
    )  # fmt: skip
    saliency, image = run.map("0001", "gradcam"), pictures["images"][1]
    for metric in ("deletion:steps=4", "mask-auc"):
        scores = xaibench.score(
            PairNet(), image, saliency, metric, target="fake", mask=pictures["masks"][1], card=CARD
        )
        mine = {s.name: s.value for s in scores.values if s.status == "ok"}
        theirs = {r["score"]: r["value"] for r in run.scores.to_pylist()
                  if r["sample"] == "0001" and r["metric"] == f"xaibench/{metric}" and r["status"] == "ok"}  # fmt: skip
        assert mine == theirs and mine


def test_a_map_of_another_size_and_a_metric_of_sets_are_refused():
    image = arrays(1)["images"][0]
    with pytest.raises(ValueError, match=r"the map's shape is \(3, 3\)"):
        xaibench.score(PairNet(), image, np.zeros((3, 3)), "deletion", card=CARD)
    with pytest.raises(UsageError, match="it scores no single map"):
        xaibench.score(PairNet(), image, np.zeros((SIZE, SIZE)), "run-stability", card=CARD)


# ---- arrays ---------------------------------------------------------------------------------------------------------


def test_arrays_of_any_usual_form_are_the_same_pictures():
    images = arrays(2)["images"]
    floats = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    plain, tensors = (xaibench.PictureArrays(x, [0, 1, 0, 1]) for x in (images, floats))
    for sample in plain.samples():
        assert np.array_equal(plain.read(sample).pixels, tensors.read(sample).pixels)
    assert [s.label for s in plain.samples()] == ["real", "fake", "real", "fake"]


def test_a_fake_and_its_counterpart_are_one_group():
    pictures = xaibench.PictureArrays(arrays(2)["images"], ["real", "fake"] * 2, pairs=[None, 0, None, 2])
    assert [s.group for s in pictures.samples()] == ["0000", "0000", "0002", "0002"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": ["real"]}, "labels holds 1 entries for 4 images"),
        ({"labels": ["real", "maybe", "real", "fake"]}, "'maybe' is neither real nor fake"),
        ({"pairs": [None, 3, None, 2]}, "pairs[1] = 3 is no real picture"),
        ({"ids": ["a", "a", "b", "c"]}, "two pictures have the same id"),
        ({"images": np.zeros((4, SIZE, SIZE), np.uint8)}, "picture 0000 has shape (24, 24)"),
        ({"images": np.full((4, SIZE, SIZE, 3), 2.0)}, "float64 values outside [0, 1]"),
        ({"images": np.full((4, SIZE, SIZE, 3), np.nan)}, "float64 values outside [0, 1]"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(changes, words):
    pictures = {"images": arrays(2)["images"], "labels": ["real", "fake"] * 2} | changes
    with pytest.raises(DatasetError) as refusal:
        xaibench.PictureArrays(**pictures)
    assert words in refusal.value.what
