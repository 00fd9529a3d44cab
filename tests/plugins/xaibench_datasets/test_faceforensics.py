"""Trees of FaceForensics++ as the download script and common extractors leave them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from xaibench.api import DatasetError, NothingToEvaluate, Sample, build_parameters
from xaibench.data.survey import survey
from xaibench_datasets.faceforensics import METHODS, FaceForensicsDataset, FaceForensicsParameters
from xaibench_datasets.faceforensics_tree import child, contents

YOUTUBE, ACTORS = "original_sequences/youtube", "original_sequences/actors"
DEEPFAKES, DFD = "manipulated_sequences/Deepfakes", "manipulated_sequences/DeepFakeDetection"


def frames(root: Path, folder: str, *names: str) -> None:
    """Pictures that are listed and never decoded."""
    for name in names or ("00023.png",):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / name).touch()


def tree(root: Path, level: str = "c23", real: str = "faces/{}", fake: str = "", method: str = "Deepfakes") -> None:
    """Videos 000 and 001, and the fakes of one of the other."""
    for a, b in (("000", "001"), ("001", "000")):
        frames(root, f"{YOUTUBE}/{level}/{real.format(a)}")
        frames(root, f"manipulated_sequences/{method}/{level}/{(fake or real).format(f'{a}_{b}')}")


def opened(root: Path, **values: object) -> FaceForensicsDataset:
    parameters = build_parameters(FaceForensicsParameters, {"path": str(root), **values}, "faceforensics")
    assert isinstance(parameters, FaceForensicsParameters)
    return FaceForensicsDataset(parameters)


def by_id(root: Path, **values: object) -> dict[str, Sample]:
    return {s.id: s for s in opened(root, **values).samples()}


def said(root: Path, **values: object) -> dict[str, str]:
    """Problems, without that of the missing split files."""
    problems = opened(root, **values).problems()
    return {p.file: p.reason for p in problems if p.file != "splits"}


IDS = {"real/000/00023", "real/001/00023", "Deepfakes/000_001/00023", "Deepfakes/001_000/00023"}


@pytest.mark.parametrize("place", ["faces", "frames", "images", "videos", "crops"])
@pytest.mark.parametrize("video", ["{}", "{}.mp4", "{}.MP4", "{}.avi"])
def test_folders_of_frames_may_be_called_as_their_videos(tmp_path: Path, place: str, video: str) -> None:
    tree(tmp_path, real=f"{place}/{video}")
    samples = by_id(tmp_path)
    assert set(samples) == IDS
    assert samples["Deepfakes/001_000/00023"] == Sample(
        id="Deepfakes/001_000/00023",
        label="fake",
        group="000",
        method="Deepfakes",
        pair="real/001/00023",
        columns=(("compression", "c23"),),
    )
    assert said(tmp_path) == {}


def test_frames_directly_below_the_level(tmp_path: Path) -> None:
    tree(tmp_path, real="{}.mp4")
    frames(tmp_path, f"{DEEPFAKES}/c23/masks/000_001.mp4")
    assert set(by_id(tmp_path)) == IDS
    assert [s.id for s in by_id(tmp_path).values() if s.has_mask] == ["Deepfakes/000_001/00023"]
    assert said(tmp_path) == {}


def test_names_of_folders_count_in_any_case(tmp_path: Path) -> None:
    frames(tmp_path, "original_sequences/YouTube/C23/Faces/000", "00023.PNG")
    frames(tmp_path, "manipulated_sequences/DEEPFAKES/C23/FACES/000_001", "00023.PNG")
    frames(tmp_path, "manipulated_sequences/DEEPFAKES/Masks/Videos/000_001.MP4", "00023.PNG")
    fake = by_id(tmp_path)["Deepfakes/000_001/00023"]
    assert (fake.method, fake.pair, fake.has_mask) == ("Deepfakes", "real/000/00023", True)


@pytest.mark.parametrize("folder", ["raw", "c0"])
@pytest.mark.parametrize("asked", ["auto", "raw", "c0"])
def test_raw_is_also_called_c0(tmp_path: Path, folder: str, asked: str) -> None:
    tree(tmp_path, folder)
    assert {s.columns for s in by_id(tmp_path, compression=asked).values()} == {(("compression", folder),)}
    assert said(tmp_path) == {}


def test_the_chosen_one_of_several_levels_is_said(tmp_path: Path) -> None:
    for level in ("raw", "c40"):
        tree(tmp_path, level)
    assert said(tmp_path) == {"compression": "raw is taken and c40 left: compression=c40 chooses"}
    tree(tmp_path, "c23")
    assert {s.columns for s in by_id(tmp_path).values()} == {(("compression", "c23"),)}
    reason = "c23 is taken and raw and c40 left: compression=raw or compression=c40 chooses"
    assert said(tmp_path) == {"compression": reason}
    assert {s.columns for s in by_id(tmp_path, compression="c40").values()} == {(("compression", "c40"),)}
    assert said(tmp_path, compression="c40") == {}


def test_a_level_of_which_only_videos_are_there_is_not_chosen(tmp_path: Path) -> None:
    tree(tmp_path, "c40")
    frames(tmp_path, f"{YOUTUBE}/c23/videos", "000.mp4")
    frames(tmp_path, f"{DEEPFAKES}/c23/videos", "000_001.mp4")
    assert {s.columns for s in by_id(tmp_path).values()} == {(("compression", "c40"),)}
    with pytest.raises(DatasetError) as caught:
        by_id(tmp_path, compression="c23")
    assert caught.value.what == (
        f"no frames in {tmp_path}: looked for originals in original_sequences/youtube|actors/c23/faces|frames|images|videos/"
        "VIDEO/FRAME.png; original_sequences/youtube/c23 holds videos/ (1 video)"
    )
    assert caught.value.mend == (
        "extract frames of the originals into original_sequences/youtube/c23/faces/VIDEO/ (videos are not read), or say"
        " compression=c40"
    )


@pytest.mark.parametrize(
    ("folders", "there"),
    [
        ([], "original_sequences holds nothing"),
        (["youtube/faces/000"], "original_sequences/youtube holds faces/ (1 folder)"),
        (["youtube/c23/faces/id0_0001"], "original_sequences/youtube/c23 holds faces/ (1 folder)"),
        (["youtube/c23/a/000", "youtube/c23/b/000"], "youtube/c23 holds a/ (1 folder), b/ (1 folder)"),
        (["tube/c23/faces/000"], "original_sequences holds tube/ (1 folder)"),
    ],
)
def test_a_tree_that_is_not_understood_says_what_is_there(tmp_path: Path, folders: list[str], there: str) -> None:
    (tmp_path / "original_sequences").mkdir()
    frames(tmp_path, f"{DEEPFAKES}/c23/faces/000_001")
    for folder in folders:
        frames(tmp_path, f"original_sequences/{folder}")
    with pytest.raises(DatasetError) as caught:
        by_id(tmp_path)
    assert caught.value.what.endswith(there)
    assert "\n" not in caught.value.what + caught.value.mend


def test_originals_and_fakes_of_different_levels_are_refused(tmp_path: Path) -> None:
    frames(tmp_path, f"{YOUTUBE}/raw/faces/000")
    frames(tmp_path, f"{DEEPFAKES}/c40/faces/000_001")
    with pytest.raises(DatasetError) as caught:
        by_id(tmp_path)
    assert caught.value.what.endswith("at one level: originals have raw and fakes c40")


def test_fakes_of_which_only_videos_are_there(tmp_path: Path) -> None:
    frames(tmp_path, f"{YOUTUBE}/raw/faces/000")
    frames(tmp_path, f"{DEEPFAKES}/raw/videos", "000_001.mp4", "001_000.mp4")
    with pytest.raises(DatasetError) as caught:
        by_id(tmp_path)
    assert caught.value.what == (
        f"no frames in {tmp_path}: looked for fakes in manipulated_sequences/METHOD/c23|raw|c0|c40/faces|frames|images|"
        "videos/VIDEO/FRAME.png; manipulated_sequences/Deepfakes/raw holds videos/ (2 videos)"
    )


def test_contents_of_a_folder(tmp_path: Path) -> None:
    frames(tmp_path, "videos", "a.mp4", "b.MP4", "c.png", ".hidden", "d.txt")
    (tmp_path / "faces").mkdir()
    assert contents(tmp_path) == "faces/ (empty), videos/ (1 other file, 1 picture, 2 videos)"
    assert child(tmp_path, "nothing", "FACES") == tmp_path / "faces"


def test_faceshifter_and_a_method_without_the_level(tmp_path: Path) -> None:
    tree(tmp_path)
    tree(tmp_path, method="FaceShifter")
    frames(tmp_path, "manipulated_sequences/NeuralTextures/raw/faces/000_001")
    frames(tmp_path, "manipulated_sequences/Face2Face/c23/videos", "000_001.mp4")
    assert Counter(s.method for s in by_id(tmp_path).values()) == {None: 2, "Deepfakes": 2, "FaceShifter": 2}
    assert said(tmp_path) == {
        "manipulated_sequences/NeuralTextures": "has no frames: there is no c23/, but raw/ (1 folder)",
        "manipulated_sequences/Face2Face": (
            "has no frames: manipulated_sequences/Face2Face/c23 holds videos/ (1 video)"
        ),
    }


def test_originals_of_an_older_download(tmp_path: Path) -> None:
    frames(tmp_path, "original_sequences/c0/faces/000")
    frames(tmp_path, f"{DEEPFAKES}/c0/faces/000_001")
    assert by_id(tmp_path)["Deepfakes/000_001/00023"].pair == "real/000/00023"


# ---- which folder of frames ----


def test_originals_and_fakes_are_taken_from_folders_of_one_name(tmp_path: Path) -> None:
    tree(tmp_path, real="frames/{}")
    frames(tmp_path, f"{YOUTUBE}/c23/faces/000", "0.png")
    assert set(by_id(tmp_path)) == IDS
    assert said(tmp_path) == {f"{YOUTUBE}/c23/faces": f"is passed over: {YOUTUBE}/c23/frames is taken"}
    frames(tmp_path, f"{DEEPFAKES}/c23/faces/000_001", "0.png")
    assert set(by_id(tmp_path)) == {"real/000/0", "Deepfakes/000_001/0"}


def test_a_method_with_a_folder_of_another_name_is_said(tmp_path: Path) -> None:
    tree(tmp_path, fake="videos/{}.mp4")
    assert set(by_id(tmp_path)) == IDS
    reason = "is taken for this part alone, others lie in faces/: see that all are cropped alike"
    assert said(tmp_path) == {f"{DEEPFAKES}/c23/videos": reason}


def test_videos_without_frames_are_counted(tmp_path: Path) -> None:
    tree(tmp_path)
    frames(tmp_path, f"{YOUTUBE}/c23/videos", "000.mp4", "001.mp4", "002.mp4", "003.mp4")
    frames(tmp_path, f"{DEEPFAKES}/c23/videos", "000_001.mp4")
    assert said(tmp_path) == {f"{YOUTUBE}/c23/videos": "2 videos without a folder of frames, first 002.mp4"}


def test_a_video_that_is_there_twice_is_read_once(tmp_path: Path) -> None:
    tree(tmp_path)
    frames(tmp_path, f"{YOUTUBE}/c23/faces/000.mp4", "7.png")
    assert set(by_id(tmp_path)) == IDS
    reason = f"is there twice: {YOUTUBE}/c23/faces/000 is read"
    assert said(tmp_path) == {f"{YOUTUBE}/c23/faces/000.mp4": reason}


def test_frames_of_one_video_alone(tmp_path: Path) -> None:
    frames(tmp_path, f"{YOUTUBE}/c23/faces/000", "1.png", "2.png")
    frames(tmp_path, f"{DEEPFAKES}/c23/faces/000_001", "2.png", "3.png")
    (tmp_path / f"{YOUTUBE}/c23/faces/001").mkdir()
    assert {s.id: s.pair for s in by_id(tmp_path).values()} == {
        "real/000/1": None,
        "real/000/2": None,
        "Deepfakes/000_001/2": "real/000/2",
    }
    assert said(tmp_path) == {f"{YOUTUBE}/c23/faces/001": "holds no pictures"}


# ---- masks ----


@pytest.mark.parametrize("video", ["000_001", "000_001.mp4"])
@pytest.mark.parametrize(
    "place",
    [
        "c23/masks", "c23/masks/videos", "c23/mask", "masks", "masks/videos", "masks/images", "masks/faces",
        "masks/c23", "masks/c23/videos", "masks/videos/c23", "raw/masks", "c40/masks/videos",
    ],
)  # fmt: skip
def test_places_of_masks(tmp_path: Path, place: str, video: str) -> None:
    tree(tmp_path)
    frames(tmp_path, f"{DEEPFAKES}/{place}/{video}")
    assert [s.id for s in by_id(tmp_path).values() if s.has_mask] == ["Deepfakes/000_001/00023"]
    assert said(tmp_path) == {}


def test_masks_are_taken_from_the_folder_called_as_that_of_the_frames(tmp_path: Path) -> None:
    tree(tmp_path, real="frames/{}")
    for kind in ("faces", "frames", "videos"):
        frames(tmp_path, f"{DEEPFAKES}/masks/{kind}/000_001.mp4")
    dataset = opened(tmp_path)
    (sample,) = (s for s in dataset.samples() if s.has_mask)
    assert "masks/frames/000_001.mp4/00023.png" in str(dataset.fingerprint(sample))


def test_masks_among_the_frames(tmp_path: Path) -> None:
    tree(tmp_path)
    frames(tmp_path, f"{DEEPFAKES}/c23/faces/000_001", "00023_mask.png")
    samples = by_id(tmp_path)
    assert set(samples) == IDS
    assert [s.id for s in samples.values() if s.has_mask] == ["Deepfakes/000_001/00023"]


def test_methods_without_masks_are_said(tmp_path: Path) -> None:
    for method in ("Deepfakes", "FaceShifter", "FaceSwap", "Face2Face"):
        tree(tmp_path, method=method)
    assert said(tmp_path) == {}
    frames(tmp_path, f"{DEEPFAKES}/masks/videos/000_001.mp4")
    frames(tmp_path, "manipulated_sequences/FaceSwap/masks/videos", "000_001.mp4")
    looked = "no mask of a frame taken: looked in c23/masks/ and masks/ for [videos/]VIDEO/FRAME.png"
    assert said(tmp_path) == {
        "manipulated_sequences/FaceShifter": f"{looked}; the official download has none",
        "manipulated_sequences/Face2Face": looked,
        "manipulated_sequences/FaceSwap": (
            f"{looked}; manipulated_sequences/FaceSwap/masks holds videos/ (1 video); the masks are videos, which are"
            " not read: extract their frames"
        ),
    }


def test_masks_of_other_frames_are_said(tmp_path: Path) -> None:
    tree(tmp_path)
    frames(tmp_path, f"{DEEPFAKES}/c23/masks/000_001", "mask7.png")
    frames(tmp_path, f"{DEEPFAKES}/c23/masks/001_000")
    assert said(tmp_path) == {
        f"{DEEPFAKES}/c23/masks/000_001": ("holds no mask of a frame taken (first frame 00023, first mask mask7)")
    }


def test_masks_of_whole_frames_beside_cropped_faces_are_said(tmp_path: Path) -> None:
    tree(tmp_path)
    for file in tmp_path.rglob("00023.png"):
        Image.new("L", (8, 8)).save(file)
    for video in ("000_001", "001_000"):
        frames(tmp_path, f"{DEEPFAKES}/masks/videos/{video}.mp4")
        Image.new("L", (16, 16)).save(tmp_path / f"{DEEPFAKES}/masks/videos/{video}.mp4/00023.png")
    with pytest.raises(NothingToEvaluate, match="the mask is 16 x 16 pixels, the picture 8 x 8"):
        survey(opened(tmp_path), "ff", seed=0)


# ---- DeepFakeDetection ----


def actors(root: Path, *pairs: str, scenes: tuple[str, ...] = ("walking_outside",)) -> None:
    for pair in pairs:
        for scene in scenes:
            frames(root, f"{ACTORS}/c23/faces/{pair[:2]}__{scene}.mp4")
            frames(root, f"{DFD}/c23/faces/{pair}__{scene}__ABCDEFGH.mp4")


def test_deepfakedetection(tmp_path: Path) -> None:
    actors(tmp_path, "03_09", "09_03")
    frames(tmp_path, f"{DFD}/masks/videos/03_09__walking_outside__ABCDEFGH.mp4")
    samples = by_id(tmp_path)
    assert len(samples) == 4
    assert samples["DeepFakeDetection/03_09__walking_outside__ABCDEFGH/00023"] == Sample(
        id="DeepFakeDetection/03_09__walking_outside__ABCDEFGH/00023",
        label="fake",
        group="actor 03",
        method="DeepFakeDetection",
        pair="real/03__walking_outside/00023",
        has_mask=True,
        columns=(("compression", "c23"),),
    )
    assert samples["real/09__walking_outside/00023"].group == "actor 03"
    assert said(tmp_path) == {}


def test_an_actor_is_one_group_in_all_scenes_and_nobody_of_youtube(tmp_path: Path) -> None:
    tree(tmp_path)
    frames(tmp_path, f"{YOUTUBE}/c23/faces/03")
    actors(tmp_path, "03_09", scenes=("kitchen_still", "hugging_happy"))
    groups: dict[str, set[str]] = {}
    for sample in by_id(tmp_path).values():
        groups.setdefault(sample.group, set()).add(sample.id.split("/")[1])
    assert groups == {
        "000": {"000", "001", "000_001", "001_000"},
        "03": {"03"},
        "actor 03": {
            "03__kitchen_still",
            "03__hugging_happy",
            "03_09__kitchen_still__ABCDEFGH",
            "03_09__hugging_happy__ABCDEFGH",
        },
    }


def test_actors_that_fakes_join_are_two_crossed_factors(tmp_path: Path) -> None:
    tree(tmp_path)
    actors(tmp_path, "01_02", "02_03", "03_01")
    groups = {s.id.split("/")[1]: (s.group, s.cross_group) for s in by_id(tmp_path).values()}
    assert groups == {
        **dict.fromkeys(("000", "001", "000_001", "001_000"), ("000", None)),
        "01__walking_outside": ("actor 01", None),
        "02__walking_outside": ("actor 02", None),
        "03__walking_outside": ("actor 03", None),
        "01_02__walking_outside__ABCDEFGH": ("actor 01", "actor 02"),
        "02_03__walking_outside__ABCDEFGH": ("actor 02", "actor 03"),
        "03_01__walking_outside__ABCDEFGH": ("actor 03", "actor 01"),
    }


def test_splits_that_are_missing_or_list_no_actors_are_said(tmp_path: Path) -> None:
    tree(tmp_path)
    actors(tmp_path, "03_09")
    (tmp_path / "splits").mkdir()
    for split, pairs in {"train": "[]", "test": '[["000", "001"]]'}.items():
        (tmp_path / "splits" / f"{split}.json").write_text(pairs)
    dataset = opened(tmp_path)
    assert {s.id.split("/")[1]: s.split for s in dataset.samples() if s.label == "real"} == {
        "000": "test",
        "001": "test",
        "03__walking_outside": None,
    }
    assert {p.file: p.reason for p in dataset.problems()} == {
        "splits": "the official ones list no actors, whose split is unknown",
        "splits/val.json": "does not exist: the videos that it would list have no split",
    }


def test_all_methods_at_once(tmp_path: Path) -> None:
    for method in METHODS[:-1]:
        tree(tmp_path, method=method)
    actors(tmp_path, "03_09")
    counts = Counter(s.method for s in by_id(tmp_path).values())
    assert counts == {None: 3, **dict.fromkeys(METHODS[:-1], 2), "DeepFakeDetection": 1}
