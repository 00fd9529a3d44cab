"""``explain`` and ``score`` on arrays: the maps and values of a run, to the byte, and what is refused."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from small_networks import PairNet

import xaibench
from xaibench.api import Explanation, UsageError, XaibenchError

SIZE = 24
CARD = {"size": SIZE, "target_layer": "body"}


def pictures(n=4):
    """Pairs of a real picture and a fake that differs from it within its mask."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (2 * n, SIZE, SIZE, 3), dtype=np.uint8)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[4:12, 6:14] = 255
    images[1::2] = np.where(mask[:, :, None] > 0, images[1::2], images[::2])
    return {
        "images": images,
        "labels": ["real", "fake"] * n,
        "masks": [None, mask] * n,
        "pairs": [None if i % 2 == 0 else i - 1 for i in range(2 * n)],
    }


def beside(data):
    """The same as arguments of ``explain`` and ``score``."""
    reals = [None if p is None else data["images"][p] for p in data["pairs"]]
    return {"labels": data["labels"], "masks": data["masks"], "counterparts": reals}


def rows_of(run, metric, explainer):
    """(sample, score, item) -> (value, status, reason)."""
    return {
        (r["sample"], r["score"], r["item"]): (r["value"], r["status"], r["reason"])
        for r in run.scores.to_pylist()
        if (r["metric"], r["explainer"], r["repeat"]) == (f"xaibench/{metric}", f"xaibench/{explainer}", 0)
    }


METRICS = (
    "deletion:steps=4",  # a curve of detector passes
    "entropy-spatial",  # none
    "mask-auc",  # masks
    "repair",  # real counterparts
    "faithfulness-correlation:subsets=20",  # random draws
)


@pytest.fixture(scope="module")
def run():
    return xaibench.evaluate(
        PairNet(), pictures(), explainers=["gradcam", "rise:masks=8"], metrics=list(METRICS), target="fake",
        controls=False, maps="keep", seed=3, card=CARD,
    )  # fmt: skip


# ---- the same as a run ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_scores_on_arrays_are_those_of_a_run_to_the_byte(run, metric):
    data = pictures()
    saliency = np.stack([run.map(f"{i:04d}", "rise:masks=8") for i in range(8)])
    scores = xaibench.score(
        metric, PairNet(), data["images"], saliency, "fake", seed=3, card=CARD, **beside(data)
    )  # fmt: skip
    mine = {
        (r["sample"], r["score"], r["item"]): (r["value"], r["status"], r["reason"])
        for r in scores.to_arrow().to_pylist()
    }
    theirs = rows_of(run, metric, "rise:masks=8")
    assert mine == theirs  # floats compare bit for bit here: there is no NaN among them
    assert sum(status == "ok" for _, status, _ in mine.values()) >= 4


@pytest.mark.parametrize("explainer", ["gradcam", "rise:masks=8"])
def test_maps_on_arrays_are_those_of_a_run_to_the_byte(run, explainer):
    maps = xaibench.explain(PairNet(), pictures()["images"], explainer, "fake", card=CARD, seed=3)
    theirs = np.stack([run.map(i, explainer) for i in maps.ids])
    assert maps.array.dtype == np.float32 and maps.array.tobytes() == theirs.tobytes()
    assert set(maps.status) == {"ok"} and set(maps.targets) == {"fake"}
    p_fake = dict(zip(run.predictions["sample"].to_pylist(), run.predictions["p_fake"].to_pylist(), strict=True))
    assert maps.p_fake == tuple(p_fake[i] for i in maps.ids)


def test_a_control_draws_what_it_draws_in_a_run():
    """Controls draw by the detector too, whose digest is that of its weights."""
    choice = {"metrics": "entropy-spatial", "controls": False, "maps": "keep", "seed": 3, "card": CARD}
    run = xaibench.evaluate(PairNet(), pictures(1), explainers="random", **choice)
    maps = xaibench.explain(PairNet(), pictures(1)["images"], "random", card=CARD, seed=3)
    assert maps.array.tobytes() == np.stack([run.map(i, "random") for i in maps.ids]).tobytes()


def test_a_batch_in_parts_is_the_same_batch(run, monkeypatch):
    monkeypatch.setattr("xaibench.run.on_arrays.most_samples", lambda facts: 3)
    data = pictures()
    maps = xaibench.explain(PairNet(), data["images"], "rise:masks=8", "fake", card=CARD, seed=3)
    assert maps.array.tobytes() == np.stack([run.map(i, "rise:masks=8") for i in maps.ids]).tobytes()
    masks = data["masks"]  # draws of what metrics share hang on the picture and its mask
    scores = xaibench.score("deletion:steps=4", PairNet(), data["images"], maps, masks=masks, card=CARD, seed=3)
    theirs = rows_of(run, "deletion:steps=4", "rise:masks=8")
    assert scores.values["deletion"].tolist() == [theirs[i, "deletion", ""][0] for i in scores.ids]


def test_pictures_share_detector_calls():
    """The masks of all pictures meet in compute batches of 16."""
    calls = []

    def detector(shown):
        calls.append(len(shown))
        return 9 * shown.mean(dim=(2, 3))[:, :2]

    images = pictures()["images"]
    xaibench.score(
        "entropy-spatial", detector, images, np.ones((8, SIZE, SIZE)), card={"size": SIZE}, accept_detector=True
    )
    opening = len(calls)  # what opening a model asks, and the clean predictions
    calls.clear()
    xaibench.explain(detector, images, "rise:masks=8", card={"size": SIZE}, accept_detector=True)
    assert len(calls) == opening + 4 and set(calls[-4:]) == {16}  # 8 x 8 masks


def test_a_single_picture_is_a_batch_of_one(run):
    image, known = pictures()["images"][1], {"ids": "0001", "masks": pictures()["masks"][1], "seed": 3, "card": CARD}
    maps = xaibench.explain(PairNet(), image, "gradcam", "fake", **known)
    assert maps.array.shape == (1, SIZE, SIZE) and len(maps) == 1 and isinstance(maps[0], Explanation)
    assert np.array_equal(maps[0].array, run.map("0001", "gradcam"))
    for given in (maps, maps.array, maps[0].array, maps[0].map, maps.array[:, None]):
        scores = xaibench.score("deletion:steps=4", PairNet(), image, given, "fake", **known)
        assert scores.values["deletion"][0] == rows_of(run, "deletion:steps=4", "gradcam")["0001", "deletion", ""][0]
        assert scores[0].curves[0].name == "deletion"


def test_pictures_of_any_usual_form_give_the_same_maps(tmp_path):
    from PIL import Image

    images = pictures(1)["images"]
    files = [tmp_path / "0000.png", tmp_path / "0001.png"]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image).save(file)
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    forms = (images, list(images), tensor, files, [str(f) for f in files], [Image.open(f) for f in files])
    maps = [xaibench.explain(PairNet(), form, "rise:masks=8", card=CARD) for form in forms]
    assert {m.ids for m in maps} == {("0000", "0001")}
    assert len({m.array.tobytes() for m in maps}) == 1
    assert xaibench.explain(PairNet(), files[1], "edges", card=CARD).ids == ("0001",)


# ---- targets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "names"),
    [
        ("fake", ["fake"] * 4),
        (1, ["fake"] * 4),
        (["fake", "real", "fake", "real"], ["fake", "real", "fake", "real"]),
        (np.array([0, 1, 1, 0]), ["real", "fake", "fake", "real"]),
        (torch.tensor([0, 1, 1, 0]), ["real", "fake", "fake", "real"]),
        ("label", ["real", "fake", "real", "fake"]),
    ],
)
def test_a_target_for_all_or_for_each(targets, names):
    data = pictures(2)
    maps = xaibench.explain(PairNet(), data["images"], "gradcam", targets, labels=data["labels"], card=CARD)
    assert list(maps.targets) == names


def test_predicted_is_the_verdict():
    maps = xaibench.explain(PairNet(), pictures(2)["images"], "gradcam", card=CARD)
    assert maps.targets == maps.verdicts and all(
        (p >= 0.5) == (v == "fake") for p, v in zip(maps.p_fake, maps.verdicts, strict=True)
    )


def test_maps_keep_the_target_that_was_explained():
    """Deletion of a map for *real* is scored on P(real), unless another target is named."""
    images = pictures(1)["images"]
    maps = xaibench.explain(PairNet(), images, "gradcam", "real", card=CARD)
    kept = xaibench.score("deletion:steps=4", PairNet(), images, maps, card=CARD)
    named = xaibench.score("deletion:steps=4", PairNet(), images, maps, "fake", card=CARD)
    assert kept.targets == ("real", "real") and named.targets == ("fake", "fake")
    both = kept.values["deletion"] + named.values["deletion"]
    assert both == pytest.approx([1, 1], abs=1e-6)  # two classes: the curves of P(real) and P(fake) add up to 1


# ---- what has no value ----------------------------------------------------------------------------------------------


def test_a_picture_without_a_map_says_why_and_the_others_go_on():
    data = pictures(2)
    maps = xaibench.explain(PairNet(), data["images"], "mask-oracle", "fake", card=CARD, **beside(data))
    assert maps.status == ("undefined", "ok", "undefined", "ok")
    assert np.isnan(maps.array[0]).all() and np.array_equal(maps.array[1] > 0.5, data["masks"][1] > 0)
    scores = xaibench.score("entropy-spatial", PairNet(), data["images"], maps, card=CARD)
    assert scores.status["entropy-spatial"] == maps.status and scores.reasons["entropy-spatial"] == maps.reasons
    assert np.isnan(scores.values["entropy-spatial"]).tolist() == [True, False, True, False]
    assert "2 undefined: " in repr(scores) and scores.to_arrow()["value"].null_count == 2


def test_what_nothing_was_handed_over_for_is_not_applicable():
    image = pictures(1)["images"][1]
    maps = xaibench.explain(PairNet(), image, "mask-oracle", card=CARD)
    assert (maps.status, maps.reasons) == (("not_applicable",), ("needs masks: no sample has one",))
    with pytest.raises(ValueError, match="no map: not_applicable: needs masks"):
        _ = maps[0].array
    scores = xaibench.score("mask-auc", PairNet(), image, np.ones((SIZE, SIZE)), card=CARD)
    assert set(scores.status["mask-auc"]) == {"not_applicable"}


def test_an_exception_fails_one_picture_alone():
    class Picky:
        def explain(self, request):
            if request.picture.sample.id == "0001":
                raise RuntimeError("not this one")
            return Explanation(map=torch.eye(SIZE))

        def passes(self, query):
            from xaibench.api import Passes

            return Passes()

    maps = xaibench.explain(PairNet(), pictures(1)["images"], Picky(), card=CARD)
    assert maps.status == ("ok", "failed") and "not this one" in maps.reasons[1]


def test_a_metric_that_draws_further_maps_needs_the_explainer():
    images = pictures(1)["images"]
    maps = xaibench.explain(PairNet(), images, "gradcam", card=CARD)
    metric = "max-sensitivity:samples=2"
    alone = xaibench.score(metric, PairNet(), images, maps, card=CARD)
    assert all(set(s) == {"undefined"} for s in alone.status.values())
    drawn = xaibench.score(metric, PairNet(), images, maps, explainer="gradcam", card=CARD)
    assert any("ok" in s for s in drawn.status.values())


# ---- tables and displays --------------------------------------------------------------------------------------------


def test_scores_are_a_table_for_every_library():
    images = pictures(1)["images"]
    scores = xaibench.score(
        "deletion:steps=4", PairNet(), images, np.random.default_rng(0).random((2, SIZE, SIZE)), card=CARD
    )
    for frame in (pl.DataFrame(scores), scores.to_pandas(), pd.DataFrame(scores.to_arrow().to_pylist())):
        column = [v for v, s in zip(frame["value"], frame["score"], strict=True) if s == "deletion"]
        assert column == scores.values["deletion"].tolist()


def test_displays_in_a_terminal_and_in_a_notebook():
    images = pictures(1)["images"]
    maps = xaibench.explain(PairNet(), images, "gradcam", "fake", ids=["<a>", "b"], card=CARD)
    text, html = repr(maps), maps._repr_html_()
    assert text.splitlines()[0] == "gradcam: 2 pictures" and len(text.splitlines()) == 4
    assert html.count("data:image/jpeg;base64,") == 4 and "&lt;a&gt;" in html and "<a>" not in html
    assert maps.show()._repr_html_() in html
    scores = xaibench.score("entropy-spatial", PairNet(), images, maps, card=CARD)
    mean = scores.values["entropy-spatial"].mean()
    assert re.search(rf"entropy-spatial +\S+ +{mean:.4g} ", repr(scores)) and f"{mean:.4g}</td>" in scores._repr_html_()
    many = xaibench.explain(PairNet(), np.repeat(images, 10, axis=0), "edges", card=CARD)
    assert "... and 4 more" in repr(many) and "... and 4 more" in many._repr_html_()


# ---- what is refused ------------------------------------------------------------------------------------------------

IMAGE = pictures(1)["images"][1]
MAP = np.ones((SIZE, SIZE))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"targets": "label"}, "has no label"),
        ({"targets": "forged"}, "neither a rule nor a class"),
        ({"targets": 2}, "is no class"),
        ({"targets": ["fake", "fake"]}, "targets holds 2 entries for 1 picture"),
        ({"targets": 0.5}, "neither a rule nor a class"),
        ({"seed": -1}, "seed=-1 is wrong"),
        ({"images": "nope.png"}, "does not exist"),
        ({"images": []}, "no picture"),
        ({"images": np.zeros((SIZE, SIZE))}, "shape"),
        ({"images": IMAGE.astype(np.float32)}, "outside [0, 1]"),
        ({"masks": np.zeros((3, 3))}, "the mask is 3 x 3 pixels"),
        ({"masks": "mask.png"}, "is a str, no array"),
        ({"masks": [None, None]}, "masks holds 2 entries for 1 picture"),
        ({"labels": ["x"]}, "neither real nor fake"),
        ({"ids": ["a", "b"]}, "ids holds 2 entries"),
        ({"model": ""}, "no model called ''"),
        ({"explainer": "gradcan"}, "no explainer called 'gradcan'"),
        ({"explainer": Explanation}, "is a class"),
    ],
)
def test_what_cannot_be_explained_is_refused_in_a_line(arguments, words):
    call = {"model": PairNet(), "images": IMAGE} | arguments
    with pytest.raises(XaibenchError) as refusal:
        xaibench.explain(**call, card=None if arguments.get("model") == "" else CARD)
    assert words in refusal.value.what


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"maps": np.zeros((3, 3))}, r"shape is (3, 3)"),
        ({"maps": np.full((SIZE, SIZE), np.nan)}, "NaN"),
        ({"maps": "x"}, "no map"),
        ({"maps": np.ones((1, 3, SIZE, SIZE))}, "their sum: maps.sum(1)"),
        ({"maps": np.ones((2, SIZE, SIZE))}, "maps holds 2 entries for 1 picture"),
        ({"metric": "run-stability"}, "it scores no single map"),
        ({"metric": "deletoin"}, "no metric called 'deletoin'"),
        ({"metric": PairNet()}, "is no metric"),
        ({"metric": PairNet(), "model": IMAGE}, "is no metric"),  # the order of an earlier version
    ],
)
def test_what_cannot_be_scored_is_refused_in_a_line(arguments, words):
    call = {"metric": "deletion", "model": PairNet(), "images": IMAGE, "maps": MAP, "card": CARD} | arguments
    with pytest.raises(UsageError if "metric" not in arguments else XaibenchError) as refusal:
        xaibench.score(**call)
    assert words in f"{refusal.value.what} {refusal.value.mend}"
