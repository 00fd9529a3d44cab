"""``run.leaderboard`` and ``run.show``, and what a run shows by itself."""

import io
import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image
from small_networks import PairNet

import xaibench
from xaibench.api import StoreError, UsageError

SIZE = 24
CARD = {"size": SIZE, "target_layer": "body"}


def pictures(n=3):
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (2 * n, SIZE, SIZE, 3), dtype=np.uint8)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[4:12, 6:14] = 255
    images[1::2] = np.where(mask[:, :, None] > 0, images[1::2], images[::2])
    return {"images": images, "labels": ["real", "fake"] * n, "masks": [None, mask] * n,
            "pairs": [None if i % 2 == 0 else i - 1 for i in range(2 * n)], "methods": [None, "swap <b>"] * n}  # fmt: skip


@pytest.fixture(scope="module")
def run():
    return xaibench.evaluate(
        [PairNet(), PairNet()], pictures(), explainers=["gradcam", "rise:masks=8", "mask-oracle"], maps="keep", target="fake",
        metrics=["deletion:steps=4", "mask-auc", "entropy-spatial"], controls=False, card=CARD,
    )  # fmt: skip


# ---- leaderboard ----------------------------------------------------------------------------------------------------


def test_the_board_of_a_family_holds_its_means(run):
    board = run.leaderboard("faithfulness")
    assert {b.family for b in board.leaderboards.boards} == {"faithfulness"}
    rows = [r for r in board.to_arrow().to_pylist() if r["score"] == "deletion" and r["model"] == "held/pair-net"]
    scores = run.to_pandas()
    for row in rows:
        mine = scores[(scores.explainer == f"xaibench/{row['explainer']}") & (scores.score == "deletion")
                      & (scores.model == "held/pair-net") & (scores.status == "ok")]  # fmt: skip
        if row["value"] is not None:
            assert row["value"] == pytest.approx(mine.value.mean(), abs=1e-12) and row["n"] == len(mine)
    assert {r["explainer"] for r in rows} >= {"gradcam", "rise:masks=8"}
    assert {r["better"] for r in rows} == {"lower"}


def test_the_board_is_text_a_table_and_a_data_frame(run):
    board = run.leaderboard("localisation")
    text, html = repr(board), board._repr_html_()
    assert "localisation" in text and "mask-auc" in text and "faithfulness" not in text and "\x1b" not in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "<h3>localisation" in html and html.count("<table") >= 2 and "faithfulness" not in html
    assert pl.DataFrame(board).shape == board.to_pandas().shape == board.to_arrow().shape


def test_a_family_that_is_not_there_is_refused(run):
    with pytest.raises(UsageError) as refusal:
        run.leaderboard("faith")
    assert refusal.value.mend == "boards: faithfulness, localisation, salience"


# ---- show -----------------------------------------------------------------------------------------------------------


def test_a_sheet_shows_picture_mask_and_every_map(run):
    sheet = run.show("0001", model="held/pair-net")
    assert [p.title for p in sheet.panels] == ["picture", "mask", "gradcam", "rise:masks=8", "mask-oracle"]
    picture, mask = pictures()["images"][1], pictures()["masks"][1]
    assert np.array_equal(sheet.panels[0].pixels, picture)
    assert np.array_equal(sheet.panels[1].pixels, np.where(mask[:, :, None] > 0, picture, picture // 4))
    saliency = run.map("0001", "gradcam", model="pair-net")
    assert sheet.panels[2].peak == np.unravel_index(saliency.argmax(), saliency.shape)
    p_fake = next(r["p_fake"] for r in run.predictions.to_pylist() if r["sample"] == "0001")
    assert (
        sheet.facts.startswith("fake swap <b>; verdict ")
        and f"P(fake) = {p_fake:.3f}; maps explain fake" in sheet.facts
    )


def test_a_picture_without_a_mask_says_why_it_has_no_map(run):
    sheet = run.show("0000", model="held/pair-net-2")
    assert [p.title for p in sheet.panels][1] != "mask"
    oracle = sheet.panels[-1]
    assert oracle.pixels is None and oracle.why.startswith("undefined: ") and oracle.why in repr(sheet)


def test_a_sheet_is_text_a_page_and_a_figure(run, tmp_path):
    sheet = run.show("0001", model="held/pair-net")
    html = sheet._repr_html_()
    assert html.count("data:image/png;base64,") == 5 and "swap &lt;b&gt;" in html and "<b>;" not in html
    assert re.search(r"gradcam: highest at row \d+, column \d+", repr(sheet))
    assert Image.open(io.BytesIO(sheet._repr_png_())).size[0] > 500
    for suffix, start in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml"), ("html", b"<style>")):
        sheet.save(tmp_path / f"sheet.{suffix}")
        assert (tmp_path / f"sheet.{suffix}").read_bytes().startswith(start)
    with pytest.raises(UsageError, match=r"'sheet.bmp' does not say what to write"):
        sheet.save(tmp_path / "sheet.bmp")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sample": "9"}, "no sample '9'"),
        ({"sample": "0001"}, "2 detectors in this run"),
        ({"sample": "0001", "model": "x"}, "no such detector"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_a_line(run, arguments, words):
    with pytest.raises(UsageError, match=words):
        run.show(**arguments)


def test_a_run_that_kept_no_maps_says_so():
    run = xaibench.evaluate(
        PairNet(), pictures(1), explainers="gradcam", metrics="entropy-spatial", controls=False, maps="drop", card=CARD
    )
    with pytest.raises(StoreError, match="kept no map of 0001"):
        run.show("0001")


# ---- the run itself -------------------------------------------------------------------------------------------------


def test_a_run_shows_what_was_evaluated(run):
    html = run._repr_html_()
    for text in ("2: held/pair-net pair-net, ", "6 of held/picture-arrays", "3: gradcam", "run.leaderboard",
                 "gone with this object"):  # fmt: skip
        assert text in html
    assert repr(run) == f"Run({run.path!r})"


def test_tables_of_a_run_are_taken_by_every_library(run):
    assert pl.DataFrame(run.scores).shape == run.to_polars().shape == run.to_pandas().shape == run.scores.shape
    assert pl.DataFrame(run.scores)["value"].to_list() == run.scores["value"].to_pylist()
    frame = pd.DataFrame.from_arrow(run.scores) if hasattr(pd.DataFrame, "from_arrow") else run.to_pandas()
    assert frame["score"].tolist() == run.scores["score"].to_pylist()


def test_a_run_gives_pictures_and_masks(run):
    pixels, mask = run.picture("0001")
    assert np.array_equal(pixels, pictures()["images"][1]) and np.array_equal(mask, pictures()["masks"][1] > 0)
    assert run.picture("0000")[1] is None
