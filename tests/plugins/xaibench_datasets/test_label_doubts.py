"""What names of folders say against labels, and masks of real pictures, as manifest and folder list them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from xaibench.api import build_parameters
from xaibench_datasets.folder import FolderDataset
from xaibench_datasets.label_names import label_doubt
from xaibench_datasets.manifest import ManifestDataset


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), 9).save(path)


def samples(target, path):
    dataset = target(build_parameters(target.Parameters, {"path": str(path)}, "x"))
    return {s.id: s for s in dataset.samples()}, dataset.problems()


@pytest.mark.parametrize(
    ("folder", "label"),
    [("real", "fake"), ("a/REAL/b", "fake"), ("Celeb-real", "fake"), ("original_sequences/youtube", "fake"),
     ("fake", "real"), ("Celeb-synthesis", "real"), ("manipulated_sequences/x", "real")],
)  # fmt: skip
def test_a_folder_that_says_the_other_label_is_a_finding(folder, label):
    assert f"and is labelled {label})" in label_doubt(folder.split("/"), label)


@pytest.mark.parametrize(
    ("folder", "label"),
    [("real", "real"), ("", "fake"), ("real-esrgan", "fake"), ("real_vs_fake/fake", "fake"), ("fake/original", "fake"),
     ("fake_or_real/train", "real"), ("swap", "real")],
)  # fmt: skip
def test_other_folders_are_none(folder, label):
    assert label_doubt(folder.split("/"), label) == ""


def test_a_manifest_with_fakes_in_a_folder_of_reals(tmp_path):
    rows = [
        ("r", "img/a.png", "real", "", ""),
        ("f", "real/a.png", "fake", "r", ""),
        ("g", "img/c.png", "fake", "", ""),
    ]
    with (tmp_path / "manifest.csv").open("w") as file:
        csv.writer(file).writerows([("id", "image", "label", "pair", "mask"), *rows])
    for row in rows:
        picture(tmp_path / row[1])
    found, _ = samples(ManifestDataset, tmp_path)
    assert {i for i, s in found.items() if s.doubt} == {"f"}
    assert "(it lies in real/ and is labelled fake)" in found["f"].doubt


def test_masks_of_real_pictures_are_read(tmp_path):
    for name in ("real/a.png", "fake/swap/a.png", "masks/real/a.png", "masks/swap/a.png", "masks/real/z.png"):
        picture(tmp_path / name)
    found, problems = samples(FolderDataset, tmp_path)
    assert all(s.has_mask for s in found.values())
    assert [(p.file, p.reason) for p in problems] == [("masks/real/z.png", "mask of no picture")]
    (tmp_path / "manifest.csv").write_text(
        "id,image,label,mask\nr,real/a.png,real,masks/real/a.png\nf,fake/swap/a.png,fake,masks/swap/a.png\n"
    )
    assert all(s.has_mask for s in samples(ManifestDataset, tmp_path)[0].values())


def test_folders_below_the_label_speak_against_it(tmp_path):
    for name in ("real/fake/a.png", "real/x/b.png", "fake/original/c.png", "fake/swap/d.png", "fake/e.png"):
        picture(tmp_path / name)
    found, _ = samples(FolderDataset, tmp_path)
    assert {i for i, s in found.items() if s.doubt} == {"real/fake/a", "fake/original/c"}
