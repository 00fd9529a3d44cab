"""``xaibench explain`` of several pictures, its contact sheet, and regions calibrated on a run."""

import json

import numpy as np
import pytest
from PIL import Image

from conftest import TOY
from xaibench.api import NothingToEvaluate
from xaibench.cli.explain_files import picture_files, read_files

EXPLAIN = ("explain", "--plugin", TOY, "--model", "toy", "-e", "rows")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def picture(path, seed=0, size=(32, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_folders_are_looked_into_and_names_are_unique(tmp_path):
    for name in ("b/x.png", "a/x.jpg", "a/y.png"):
        picture(tmp_path / name)
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    files = picture_files([tmp_path, tmp_path / "b" / "x.png"])
    assert [(f.path.name, f.name) for f in files] == [("x.jpg", "x"), ("y.png", "y"), ("x.png", "x-2")]
    others = picture_files([picture(tmp_path / name) for name in ("c/x.png", "c/x.jpg", "c/x-2.png")])
    assert [f.name for f in others] == ["x", "x-2", "x-2-2"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingToEvaluate, match="holds no picture"):
        picture_files([tmp_path / "empty"])
    (tmp_path / "broken.png").write_bytes(b"no")
    read, broken = read_files(picture_files([tmp_path / "broken.png", tmp_path / "a" / "y.png"]))
    assert [f.name for f, _ in read] == ["y"] and "broken.png" in broken[0].reason


def test_a_broken_picture_is_named_and_the_others_go_on(cli, tmp_path):
    picture(tmp_path / "in" / "one.png", size=(40, 60))
    picture(tmp_path / "in" / "two.png", seed=1)
    (tmp_path / "in" / "broken.png").write_bytes(b"\x89PNG no")
    code, out, err = cli(*EXPLAIN, "in", "--json")
    found = json.loads(out)
    assert code == 1 and "broken.png" in err and "Traceback" not in err
    assert [p["image"].rpartition("/")[2] for p in found["pictures"]] == ["one.png", "two.png"]
    assert [u["image"].rpartition("/")[2] for u in found["unreadable"]] == ["broken.png"]
    page = (tmp_path / "xaibench-explain" / "sheet.html").read_text("utf-8")
    assert page.count('<img src="data:image/jpeg;base64,') == 4 and "one.png" in page and "60 x 40 pixels" in page
    assert "1st percentile" in page and 'alt="local/rows on ' in page
    for row in found["pictures"]:
        assert np.load(row["maps"][0]["map"]).shape == (32, 32)


def test_a_png_sheet_has_the_picture_at_its_own_size(cli, tmp_path):
    picture(tmp_path / "one.png", size=(300, 500))
    code, _, _ = cli(*EXPLAIN, "one.png", "--sheet", "s/sheet.png")
    with Image.open(tmp_path / "s" / "sheet.png") as sheet:
        assert code == 0 and sheet.width > 2 * 500 and sheet.height > 300
        shown = np.asarray(sheet.convert("RGB"))
    own = np.asarray(Image.open(tmp_path / "one.png"))
    at = np.argwhere((shown[:-299, :-499] == own[0, 0]).all(axis=2))
    assert any((shown[y : y + 300, x : x + 500] == own).all() for y, x in at)


def test_of_several_pictures_each_has_a_png_sheet(cli, tmp_path):
    for name in ("in/one.png", "in/one.jpg"):
        picture(tmp_path / name)
    code, out, err = cli(*EXPLAIN, "in", "--sheet", "s/sheet.png", "--json")
    assert code == 0, err
    sheets = [p["sheet"] for p in json.loads(out)["pictures"]]
    assert sorted(sheets) == sorted(str(p.relative_to(tmp_path)) for p in (tmp_path / "s").iterdir())
    assert sheets == ["s/sheet-one.png", "s/sheet-one-2.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--sheet", "sheet.docx"], 2, ".html or .png"),
        (["--calibrated-on", "absent"], 3, "absent does not exist"),
    ],
)
def test_what_explain_cannot_do_is_one_line(cli, tmp_path, arguments, code, words):
    picture(tmp_path / "one.png")
    found, _, err = cli(*EXPLAIN, "one.png", *arguments)
    assert found == code and words in err and "Traceback" not in err


def test_a_region_is_calibrated_on_a_run_of_the_same_detector_and_explainer(cli, toy_eval, tmp_path):
    assert toy_eval("-o", "run", "--maps", "keep")[0] == 0
    picture(tmp_path / "one.png")
    calibrated = (*EXPLAIN, "one.png", "--calibrated-on", "run", "--json")
    code, out, _ = cli(*calibrated, "--alpha", "0.5")
    region = json.loads(out)["maps"][0]["region"]
    assert code == 0 and -1 <= region["threshold"] <= 1
    assert "misses at most 50 % of the manipulated pixels on average over groups" in region["statement"]
    assert "rows was not held against the centre prior" in region["warning"]
    page = (tmp_path / "xaibench-explain" / "sheet.html").read_text("utf-8")
    assert "region of local/rows" in page and "Warning:" in page and "misses at most 50 %" in page
    for arguments, words in (
        (("--alpha", "0.001"), "takes 999"),
        (("--alpha", "1.5"), "not between 0 and 1"),
        (("--target", "fake"), "--target predicted"),
        (("-e", "rows:bands=2"), "no maps of"),
        (("--model", "demo"), "another detector"),
    ):
        code, _, err = cli(*calibrated, *arguments)
        assert code == 2 and words in err and "Traceback" not in err, arguments
