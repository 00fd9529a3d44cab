"""The built-in datasets: what they list from a tree, in which order, and what they say of what is wrong with it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from shared_faces import FACES

from xaibench.api import (
    Dataset,
    DatasetError,
    NothingToEvaluate,
    Sample,
    UnreadablePicture,
    UsageError,
    XaibenchError,
    build_parameters,
    check_columns,
)
from xaibench_datasets import faceforensics
from xaibench_datasets.columns import typed
from xaibench_datasets.demo import DemoDataset
from xaibench_datasets.demo_faces import METHODS, render_fake, render_real
from xaibench_datasets.faceforensics import FaceForensicsDataset, spread
from xaibench_datasets.folder import FolderDataset
from xaibench_datasets.manifest import ManifestDataset


def opened(target: type, **values: object) -> Dataset:
    return target(build_parameters(target.Parameters, values, target.__name__))  # type: ignore[attr-defined, no-any-return]


def by_id(dataset: Dataset) -> dict[str, Sample]:
    samples = dataset.samples()
    assert len({s.id for s in samples}) == len(samples)
    assert [s.id for s in samples] == sorted(s.id for s in samples)
    assert all(s.pair is None or s.pair in {r.id for r in samples if r.label == "real"} for s in samples)
    return {s.id: s for s in samples}


def picture(path: Path, value: int = 0, size: tuple[int, int] = (4, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)
    return path


def touch(path: Path) -> Path:
    """A file that is listed and never decoded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


# ---- folder ----


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, value in (
        ("real/a.png", 1),
        ("real/b.jpg", 2),
        ("fake/swap/a.png", 3),
        ("fake/blend/a.png", 4),
        ("fake/c.png", 5),
    ):
        picture(tmp_path / name, value)
    picture(tmp_path / "masks/swap/a.jpg", 200)
    picture(tmp_path / "masks/c.png", 100)
    text(tmp_path / "landmarks/a.csv", "x,y\n1,2\n")
    return tmp_path


def test_folder_lists_methods_pairs_masks_and_landmarks(folder: Path) -> None:
    dataset = opened(FolderDataset, path=str(folder))
    assert list(by_id(dataset).values()) == [
        Sample(id="fake/blend/a", label="fake", group="a", method="blend", pair="real/a", has_landmarks=True),
        Sample(id="fake/fake/c", label="fake", group="c", method="fake", has_mask=True),
        Sample(
            id="fake/swap/a", label="fake", group="a", method="swap", pair="real/a", has_mask=True, has_landmarks=True
        ),
        Sample(id="real/a", label="real", group="a", has_landmarks=True),
        Sample(id="real/b", label="real", group="b"),
    ]
    assert dataset.problems() == ()


def test_folder_reads_picture_mask_and_landmarks(folder: Path) -> None:
    dataset = opened(FolderDataset, path=str(folder))
    native = dataset.read(by_id(dataset)["fake/swap/a"])
    assert native.pixels.tolist() == np.full((4, 4, 3), 3).tolist()
    assert native.mask is not None
    assert native.mask.tolist() == np.full((4, 4), 200).tolist()
    assert native.landmarks is not None
    assert native.landmarks.tolist() == [[1, 2]]
    assert dataset.read(by_id(dataset)["real/b"]).mask is None


def test_folder_names_below_folders(tmp_path: Path) -> None:
    for name in ("real/v1/0.png", "real/v1/1.png", "fake/swap/v1/0.png", "fake/swap/v2/0.png"):
        touch(tmp_path / name)
    samples = by_id(opened(FolderDataset, path=str(tmp_path), group_pattern=r"^(\w+)/"))
    assert {s.id: (s.group, s.pair) for s in samples.values()} == {
        "real/v1/0": ("v1", None),
        "real/v1/1": ("v1", None),
        "fake/swap/v1/0": ("v1", "real/v1/0"),
        "fake/swap/v2/0": ("v2", None),
    }


def test_folder_without_pairs_puts_every_picture_into_a_group_of_its_own(folder: Path) -> None:
    samples = by_id(opened(FolderDataset, path=str(folder), pairs=False))
    assert all(s.pair is None and s.group == s.id and not s.has_landmarks for s in samples.values())
    text(folder / "landmarks/swap/a.csv", "1,2")
    text(folder / "landmarks/real/a.csv", "1,2")
    samples = by_id(opened(FolderDataset, path=str(folder), pairs=False))
    assert {s.id for s in samples.values() if s.has_landmarks} == {"real/a", "fake/swap/a"}


def test_folder_pair_pattern_and_groups_that_it_joins(tmp_path: Path) -> None:
    for name in ("real/000_01.png", "real/000_02.png", "fake/df/000_003_01.png", "fake/df/003_000_01.png"):
        touch(tmp_path / name)
    values = {"pair_pattern": r"^(\d+)_\d+(_\d+)$", "group_pattern": r"^\d+"}
    samples = by_id(opened(FolderDataset, path=str(tmp_path), **values))
    assert samples["fake/df/000_003_01"].pair == "real/000_01"
    assert samples["fake/df/003_000_01"].pair is None
    assert [s.group for s in samples.values()] == ["000", "003", "000", "000"]


def test_folder_patterns_that_are_wrong(folder: Path) -> None:
    with pytest.raises(UsageError, match="group_pattern="):
        opened(FolderDataset, path=str(folder), group_pattern="(")
    with pytest.raises(DatasetError, match="pair_pattern 'z' does not match 'a'"):
        opened(FolderDataset, path=str(folder), pair_pattern="z").samples()


def test_folder_reports_by_name_what_is_no_picture(folder: Path) -> None:
    for name in (
        "real/notes.txt",
        "real/.DS_Store",
        "real/.cache/x.png",
        "real/a.jpg",
        "fake/fake/c.png",
        "real/Thumbs.db",
    ):
        touch(folder / name)
    dataset = opened(FolderDataset, path=str(folder))
    assert len(by_id(dataset)) == 5
    assert {p.file: p.reason for p in dataset.problems()} == {
        "real/notes.txt": "is no picture by its suffix",
        "real/a.png": "has the same name as a.jpg",
        "fake/fake/c.png": "has the same name as fake/c.png",
    }


def test_folder_broken_files_are_listed_and_refused_when_read(folder: Path) -> None:
    touch(folder / "real/broken.png")
    picture(folder / "masks/blend/a.png", size=(3, 5))
    dataset = opened(FolderDataset, path=str(folder))
    samples = by_id(dataset)
    with pytest.raises(UnreadablePicture, match=r"broken\.png: is empty"):
        dataset.read(samples["real/broken"])
    with pytest.raises(UnreadablePicture, match="fake/blend/a: the mask is 3 x 5 pixels, the picture 4 x 4"):
        dataset.read(samples["fake/blend/a"])


def test_folder_listing_decodes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "open", None)
    assert len(opened(FolderDataset, path=str(folder)).samples()) == 5


@pytest.mark.parametrize("target", [FolderDataset, FaceForensicsDataset])
def test_the_order_of_the_file_system_does_not_matter(
    target: type, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = request.getfixturevalue("folder" if target is FolderDataset else "small_tree")
    before = opened(target, path=str(tree)).samples()
    scandir, iterdir = os.scandir, Path.iterdir

    @contextmanager
    def backwards(folder: Path) -> Iterator[list[os.DirEntry[str]]]:
        with scandir(folder) as entries:
            yield sorted(entries, key=lambda e: e.name, reverse=True)

    monkeypatch.setattr(os, "scandir", backwards)
    monkeypatch.setattr(Path, "iterdir", lambda self: sorted(iterdir(self), reverse=True))
    assert opened(target, path=str(tree)).samples() == before


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_folder_follows_links_but_not_in_circles(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    touch(elsewhere / "z.png")
    (folder / "fake" / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder / "fake")
    (folder / "fake" / "swap" / "loop").symlink_to(folder / "fake")
    (folder / "fake" / "alias").symlink_to(folder / "fake" / "blend")
    names = {name for name in by_id(opened(FolderDataset, path=str(folder))) if name.startswith("fake/")}
    assert names >= {"fake/linked/z", "fake/swap/a", "fake/blend/a", "fake/alias/a"}
    assert len(names) < 20


def test_folder_that_cannot_be_listed_is_a_problem(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(place: Path) -> object:
        if place.name == "blend":
            raise PermissionError(13, "Permission denied")
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refuse)
    dataset = opened(FolderDataset, path=str(folder))
    assert len(by_id(dataset)) == 4
    assert [(p.file, p.reason) for p in dataset.problems()] == [("fake/blend", "cannot be listed (Permission denied)")]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse or rewrite such names")
def test_folder_names_in_every_encoding(folder: Path) -> None:
    touch(folder / "fake/swap/u\u0308.png")  # u and a combining diaeresis, as macOS writes it
    touch(folder / "real/\u00fc.png")
    touch(Path(os.fsdecode(bytes(folder) + b"/real/\xff.png")))
    dataset = opened(FolderDataset, path=str(folder))
    assert by_id(dataset)["fake/swap/\u00fc"].pair == "real/\u00fc"
    assert [(p.file, p.reason) for p in dataset.problems()] == [("real/\\udcff.png", "its name is not UTF-8")]


def test_a_folder_of_one_label(folder: Path) -> None:
    for name in ("masks", "landmarks"):
        shutil.rmtree(folder / name)
    shutil.move(folder / "fake", folder / "aside")
    assert {s.label for s in opened(FolderDataset, path=str(folder)).samples()} == {"real"}
    shutil.move(folder / "real", folder / "reals")
    shutil.move(folder / "aside", folder / "fake")
    fakes = opened(FolderDataset, path=str(folder)).samples()
    assert {(s.label, s.pair) for s in fakes} == {("fake", None)}
    shutil.rmtree(folder / "fake")
    with pytest.raises(NothingToEvaluate, match="no fakes in"):
        opened(FolderDataset, path=str(folder)).samples()


@pytest.mark.parametrize(("lost", "error"), [("fake/swap/a.txt", NothingToEvaluate), ("real/a.txt", DatasetError)])
def test_a_label_that_is_missing_while_files_are_left_out(
    tmp_path: Path, lost: str, error: type[XaibenchError]
) -> None:
    touch(tmp_path / ("real/b.png" if lost.startswith("fake") else "fake/swap/b.png"))
    touch(tmp_path / lost)
    with pytest.raises(error, match=r"no (fakes|real pictures) in .*1 files left out, first: ") as caught:
        opened(FolderDataset, path=str(tmp_path)).samples()
    assert "left out" in caught.value.mend


@pytest.mark.parametrize("target", [FolderDataset, FaceForensicsDataset, ManifestDataset])
@pytest.mark.parametrize("path", ["", "nowhere"])
def test_a_folder_that_is_none(target: type, path: str) -> None:
    with pytest.raises(DatasetError) as caught:
        opened(target, path=path).samples()
    assert caught.value.mend
    assert "\n" not in caught.value.what + caught.value.mend


# ---- fingerprints ----


def fingerprints(target: type, path: Path) -> dict[str, str | None]:
    dataset = opened(target, path=str(path))
    return {s.id: dataset.fingerprint(s) for s in dataset.samples()}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("real/b.jpg", {"real/b"}),
        ("masks/swap/a.jpg", {"fake/swap/a"}),
        ("landmarks/a.csv", {"real/a", "fake/swap/a", "fake/blend/a"}),
    ],
)
def test_a_fingerprint_follows_size_and_time_of_every_file(folder: Path, name: str, of: set[str]) -> None:
    before, file = fingerprints(FolderDataset, folder), folder / name
    state = file.stat()
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    newer = fingerprints(FolderDataset, folder)
    assert {i for i in before if before[i] != newer[i]} == of
    file.write_bytes(file.read_bytes() + b" ")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    longer = fingerprints(FolderDataset, folder)
    assert {i for i in before if before[i] != longer[i]} == of


def test_a_fingerprint_follows_masks_that_come_and_go(folder: Path) -> None:
    before = fingerprints(FolderDataset, folder)
    (folder / "masks/swap/a.jpg").unlink()
    after = fingerprints(FolderDataset, folder)
    assert {i for i in before if before[i] != after[i]} == {"fake/swap/a"}


def test_a_fingerprint_is_the_same_where_the_folder_was_moved(folder: Path, tmp_path: Path) -> None:
    before = fingerprints(FolderDataset, folder)
    moved = tmp_path.with_name(f"{tmp_path.name} moved")
    folder.rename(moved)
    assert fingerprints(FolderDataset, moved) == before


def test_a_fingerprint_names_the_decoders(folder: Path) -> None:
    assert all(f"Pillow {PIL.__version__}" in str(f) for f in fingerprints(FolderDataset, folder).values())


def test_a_file_that_vanished_has_no_fingerprint(folder: Path) -> None:
    dataset = opened(FolderDataset, path=str(folder))
    samples = by_id(dataset)
    (folder / "real/b.jpg").unlink()
    assert dataset.fingerprint(samples["real/b"]) is None  # type: ignore[attr-defined]


def test_a_manifest_fingerprints_its_files(tmp_path: Path) -> None:
    table(tmp_path, *PAIR)
    before = fingerprints(ManifestDataset, tmp_path)
    assert before["r"] is not None
    assert before["r"].startswith("r.png ")
    picture(tmp_path / "m.png", 50)
    after = fingerprints(ManifestDataset, tmp_path)
    assert {i for i in before if before[i] != after[i]} == {"f"}


def test_demo_fingerprints_tell_populations_and_pictures_apart() -> None:
    datasets = [opened(DemoDataset, identities=2, seed=seed) for seed in (0, 1, 0)]
    told = [[d.fingerprint(s) for s in d.samples()] for d in datasets]  # type: ignore[attr-defined]
    assert told[0] == told[2]
    assert len({*told[0], *told[1]}) == 20


# ---- manifest ----

COLUMNS = ("id", "image", "label", "method", "identity", "donor", "pair", "mask", "landmarks", "split")


def row(name: str, label: str, **cells: str) -> dict[str, str]:
    return {"id": name, "image": f"{name}.png", "label": label, **cells}


def table(folder: Path, *rows: Mapping[str, object], columns: tuple[str, ...] = COLUMNS) -> Path:
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    for cells in rows:
        picture(folder / f"{cells['id']}.png")
    return folder


PAIR = (
    row("r", "real", identity="7", split="test"),
    row("f", "fake", identity="7", method="swap", pair="r", mask="m.png", landmarks="l.csv", split="test"),
)


def refused(path: Path) -> DatasetError:
    with pytest.raises(DatasetError) as caught:
        opened(ManifestDataset, path=str(path)).samples()
    assert "\n" not in caught.value.what
    return caught.value


def test_manifest_columns(tmp_path: Path) -> None:
    table(tmp_path, *PAIR)
    picture(tmp_path / "m.png", 50)
    text(tmp_path / "l.csv", "3,4")
    for path in (tmp_path, tmp_path / "manifest.csv"):
        dataset = opened(ManifestDataset, path=str(path))
        assert list(by_id(dataset).values()) == [
            Sample(
                id="f",
                label="fake",
                group="7",
                method="swap",
                pair="r",
                split="test",
                has_mask=True,
                has_landmarks=True,
            ),
            Sample(id="r", label="real", group="7", split="test"),
        ]
    native = dataset.read(dataset.samples()[0])
    assert native.mask is not None
    assert native.mask.max() == 50
    assert native.landmarks is not None
    assert native.landmarks.tolist() == [[3, 4]]


def test_manifest_of_three_columns(tmp_path: Path) -> None:
    table(tmp_path, row("r", "real"), row("f", "fake"), columns=("label", "id", "image"))
    samples = by_id(opened(ManifestDataset, path=str(tmp_path)))
    assert samples["f"] == Sample(id="f", label="fake", group="f", method="fake")


def test_manifest_further_columns(tmp_path: Path) -> None:
    table(
        tmp_path,
        {**row("r", "real", identity="7"), "age": "31", "generator": "", "quality": "0.5", "code": "007"},
        {**row("f", "fake", identity="7"), "age": "8", "generator": "1", "quality": "2", "code": "12"},
        {**row("g", "fake", identity="7"), "age": "", "generator": "gan", "quality": "", "code": "3"},
        columns=("quality", *COLUMNS, "generator", "code", "age", ""),
    )
    samples = by_id(opened(ManifestDataset, path=str(tmp_path)))
    assert {name: dict(s.columns) for name, s in samples.items()} == {
        "r": {"age": 31, "quality": 0.5, "code": "007"},
        "f": {"age": 8, "generator": "1", "quality": 2.0, "code": "12"},
        "g": {"generator": "gan", "code": "3"},
    }
    assert [name for name, _ in samples["f"].columns] == ["age", "code", "generator", "quality"]
    assert isinstance(samples["f"].columns[3][1], float)
    assert isinstance(samples["f"].columns[0][1], int)
    check_columns(samples.values(), "x")


def test_manifest_further_columns_of_parquet(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {**row("r", "real"), "age": 31.0, "seen": True, "blob": b"1", "boxes": [1, 2], "__index_level_0__": 0},
        {**row("f", "fake"), "age": np.nan, "seen": False, "blob": b"2", "boxes": [], "__index_level_0__": 1},
    ]
    table(tmp_path, *PAIR, *rows)
    (tmp_path / "manifest.csv").unlink()
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "manifest.parquet")
    samples = by_id(opened(ManifestDataset, path=str(tmp_path)))
    assert samples["r"].columns == (("age", 31), ("seen", "True"))
    assert samples["f"].columns == (("seen", "False"),)


@pytest.mark.parametrize(
    ("column", "what"),
    [(pa.array([-(2**31)] * 2, pa.date32()), "'more' of type date32[day] cannot be written as text"),
     (pa.array([2**62] * 2, pa.timestamp("us")), "'more' of type timestamp[us] cannot be written as text"),
     (pa.array([0] * 2, pa.timestamp("us", "Mars/Olympus")), "'more' of type timestamp[us, tz=Mars/Olympus] cannot be"),
     (pa.array(["x" * 200_000] * 2), "a cell of column 'more' holds 200,000 bytes"),
     (pa.array(["x" * 200_000] * 2).dictionary_encode(), "a cell of column 'more' holds 200,000 bytes")],
)  # fmt: skip
def test_manifest_parquet_names_a_column_that_is_no_text(tmp_path: Path, column: pa.Array, what: str) -> None:
    rows = pa.Table.from_pylist([row("r", "real"), row("f", "fake")])
    parquet.write_table(rows.append_column("more", column), tmp_path / "m.parquet")
    assert what in refused(tmp_path / "m.parquet").what


def test_manifest_of_a_million_columns_is_refused_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    header = ",".join(f"c{i}" for i in range(1_000_000))
    error = refused(text(tmp_path / "m.csv", f"id,image,label,{header}\na,b,real\n"))
    assert "1,000,003 columns, more than 10,000" in error.what and time.monotonic() - began < 10


def test_manifest_parquet_keeps_a_dictionary_as_text(tmp_path: Path) -> None:
    table(tmp_path, *PAIR)
    column = pa.array(["a", None]).dictionary_encode()
    rows = pa.Table.from_pylist([row("r", "real"), row("f", "fake")]).append_column("more", column)
    parquet.write_table(rows, tmp_path / "m.parquet")
    samples = by_id(opened(ManifestDataset, path=str(tmp_path / "m.parquet")))
    assert samples["r"].columns == (("more", "a"),) and samples["f"].columns == ()


def test_manifest_parquet_of_very_many_equal_rows_ends_at_the_second(tmp_path: Path) -> None:
    cells = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), ["x" * 300])
    rows = pa.table({name: pa.chunked_array([cells] * 100) for name in ("id", "image")})
    label = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), ["real"])
    parquet.write_table(rows.append_column("label", pa.chunked_array([label] * 100)), tmp_path / "m.parquet")
    began = time.monotonic()
    assert "row 2: id " in refused(tmp_path / "m.parquet").what
    assert time.monotonic() - began < 10  # all ten million as text take a minute


@pytest.mark.parametrize(
    ("column", "what"),
    [("digest", "column 'digest' has the name"), ("Sample", "column 'Sample' has the name"),
     ("face_size", "column 'face_size' has the name"), ("Label", "column 'Label' has the name")],
)  # fmt: skip
def test_manifest_refuses_columns_of_our_own(tmp_path: Path, column: str, what: str) -> None:
    error = refused(table(tmp_path, {**row("r", "real"), column: "1"}, row("f", "fake"), columns=(*COLUMNS, column)))
    assert what in error.what
    assert "manifest.csv" in error.what
    assert error.mend == "rename it"


def test_manifest_refuses_columns_that_differ_in_case_alone(tmp_path: Path) -> None:
    error = refused(table(tmp_path, row("r", "real"), row("f", "fake"), columns=(*COLUMNS, "Age", "age")))
    assert "'Age' and 'age' differ in case alone" in error.what


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "-2", "", "+3"], [1, -2, None, 3]),
        (["1", "2.5", "1e3", ".5"], [1.0, 2.5, 1000.0, 0.5]),
        (["1", "x"], ["1", "x"]),
        (["0", "0.0"], [0.0, 0.0]),
        (["01", "2"], ["01", "2"]),
        (["nan", "1"], ["nan", "1"]),
        (["inf", "1"], ["inf", "1"]),
        (["1e999", "1"], ["1e999", "1"]),
        (["1_000", "1"], ["1_000", "1"]),
        (["\u0661", "1"], ["\u0661", "1"]),
        (["9223372036854775807"], [2**63 - 1]),
        (["9223372036854775808", "0.5"], ["9223372036854775808", "0.5"]),
        (["9" * 400], ["9" * 400]),
        (["", ""], [None, None]),
    ],
)
def test_columns_are_numbers_where_all_cells_are(cells: list[str], values: list[object]) -> None:
    found = typed(cells)
    assert found == values
    assert list(map(type, found)) == list(map(type, values))


def test_manifest_groups_without_identity_follow_the_counterpart(tmp_path: Path) -> None:
    table(tmp_path, row("r", "real"), row("f", "fake", pair="r"), row("g", "fake"))
    assert [s.group for s in opened(ManifestDataset, path=str(tmp_path)).samples()] == ["r", "g", "r"]


@pytest.mark.parametrize("column", ["group", "video"])
def test_manifest_group_or_video_stands_in_for_identity(tmp_path: Path, column: str) -> None:
    table(tmp_path, *({**cells, column: "v1"} for cells in PAIR), columns=(*COLUMNS, column))
    assert {s.group for s in opened(ManifestDataset, path=str(tmp_path)).samples()} == {"v1"}


def test_manifest_donors_join_or_cross(tmp_path: Path) -> None:
    people = [f"{i:02d}" for i in range(20)]
    reals = [row(f"r{i}", "real", identity=i) for i in people]
    couples = [row(f"f{i}", "fake", identity=i, donor=f"{int(i) ^ 1:02d}") for i in people]
    table(tmp_path, *reals, *couples)
    samples = by_id(opened(ManifestDataset, path=str(tmp_path)))
    assert samples["r01"].group == samples["f00"].group == "00"
    assert {s.cross_group for s in samples.values()} == {None}
    ring = [row(f"f{i}", "fake", identity=i, donor=f"{(int(i) + 1) % 20:02d}") for i in people]
    table(tmp_path, *reals, *ring)
    samples = by_id(opened(ManifestDataset, path=str(tmp_path)))
    assert (samples["f00"].group, samples["f00"].cross_group) == ("00", "01")
    assert (samples["r01"].group, samples["r01"].cross_group) == ("01", None)


def test_manifest_parquet_is_the_same_as_csv(tmp_path: Path) -> None:
    table(tmp_path, *PAIR, row("g", "fake", identity="8", donor="7"))
    picture(tmp_path / "m.png")
    text(tmp_path / "l.csv", "3,4")
    expected = opened(ManifestDataset, path=str(tmp_path)).samples()
    rows = [
        {**dict.fromkeys(COLUMNS), **cells, "identity": int(cells["identity"]), "donor": donor}
        for cells, donor in zip((*PAIR, row("g", "fake", identity="8")), (None, np.nan, 7.0), strict=True)
    ]
    (tmp_path / "manifest.csv").unlink()
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "manifest.parquet")
    assert opened(ManifestDataset, path=str(tmp_path)).samples() == expected
    (tmp_path / "manifest.parquet").write_bytes(b"PAR1")
    assert "cannot be read as Parquet" in refused(tmp_path).what


def test_manifest_files_missing_or_outside_are_problems_by_name(tmp_path: Path) -> None:
    inside = tmp_path / "set"
    inside.mkdir()
    table(
        inside,
        *PAIR,
        row("absolute", "fake", pair="gone", mask="../secret.png"),
        {**row("gone", "real"), "image": "gone/gone.png"},
        {**row("up", "fake"), "image": "x/../../up.png"},
        {**row("root", "fake"), "image": "/etc/hostname"},
        {**row("drive", "fake"), "image": "C:\\a.png"},
        row("odd", "fake", pair="f"),
        {**row("windows", "fake"), "image": ".\\sub\\..\\f.png"},
    )
    dataset = opened(ManifestDataset, path=str(inside))
    samples = by_id(dataset)
    assert set(samples) == {"r", "f", "absolute", "odd", "windows"}
    assert not samples["f"].has_mask
    assert not samples["f"].has_landmarks
    outside, missing = "lies outside the folder of the manifest", "does not exist"
    assert {(p.file, p.reason) for p in dataset.problems()} == {
        ("m.png", missing),
        ("l.csv", missing),
        ("gone/gone.png", missing),
        ("../secret.png", outside),
        ("x/../../up.png", outside),
        ("/etc/hostname", outside),
        ("C:\\a.png", outside),
        ("absolute", "its pair 'gone' is not listed, or its picture is missing"),
        ("odd", "its pair 'f' is not a real picture"),
    }


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("id,image\n", "no column 'label'"),
        ("", "no column 'id'"),
        ("id,image,label,id\n", "two columns 'id'"),
        ("id,image,label\na,a.png,real\n\nb,b.png,Real\n", "row 4: label 'Real'"),
        ("id,image,label\na,a.png,real\na,b.png,fake\n", "row 3: id 'a' is also row 2's"),
        ("id,image,label\na,,real\n", "row 2: no image"),
        ("id,image,label\na,a,b.png,real\n", "row 2: 4 cells for 3 columns"),
        ('id,image,label\n"a,a.png,real\n', "cannot be read as CSV"),
        ("id,image,label\n\udcff,a.png,real\n", "cannot be read as CSV"),
    ],
)
def test_manifest_errors_name_the_row(tmp_path: Path, content: str, what: str) -> None:
    (tmp_path / "manifest.csv").write_bytes(content.encode("utf-8", "surrogateescape"))
    error = refused(tmp_path)
    assert what in error.what
    assert str(tmp_path / "manifest.csv") in error.what
    assert error.mend


def test_manifest_errors_of_the_whole(tmp_path: Path) -> None:
    assert "holds none of manifest.csv, manifest.tsv, manifest.parquet" in refused(tmp_path).what
    assert "neither .csv, .tsv nor .parquet" in refused(text(tmp_path / "m.txt", "x")).what
    table(tmp_path, row("r", "real"))
    assert [s.label for s in opened(ManifestDataset, path=str(tmp_path)).samples()] == ["real"]
    table(tmp_path, row("f", "fake"))
    assert [s.label for s in opened(ManifestDataset, path=str(tmp_path)).samples()] == ["fake"]


@pytest.mark.skipif(not (FACES / "manifest.csv").is_file(), reason="no face photographs: set XAIBENCH_FACES")
def test_manifest_of_the_face_photographs() -> None:
    dataset = opened(ManifestDataset, path=str(FACES))
    samples = by_id(dataset)
    assert dataset.problems() == ()
    assert Counter(s.label for s in samples.values()) == {"real": 140, "fake": 420}
    assert Counter(s.split for s in samples.values()) == {"train": 336, "val": 88, "test": 136}
    assert len({s.group for s in samples.values()}) == 70
    assert samples["face_swap/124_n"].cross_group == "017"
    assert all(s.has_landmarks and s.has_mask == (s.label == "fake") for s in samples.values())
    native = dataset.read(samples["face_swap/124_n"])
    assert native.mask is not None
    assert native.landmarks is not None
    assert (native.pixels.shape, native.mask.shape, native.landmarks.shape) == ((256, 256, 3), (256, 256), (68, 2))


# ---- FaceForensics++ ----


def originals(root: Path, video: str, frames: int, part: str = "c23/faces") -> None:
    for i in range(frames):
        touch(root / "original_sequences/youtube" / part / video / f"{i:04d}.png")


def fakes(root: Path, method: str, video: str, frames: int, part: str = "c23/faces") -> None:
    for i in range(frames):
        touch(root / "manipulated_sequences" / method / part / video / f"{i:04d}.png")


@pytest.fixture
def small_tree(tmp_path: Path) -> Path:
    for a, b in (("000", "003"), ("010", "011")):
        originals(tmp_path, a, 5)
        originals(tmp_path, b, 5)
        for method in faceforensics.METHODS[:4]:
            fakes(tmp_path, method, f"{a}_{b}", 5)
            fakes(tmp_path, method, f"{b}_{a}", 5)
    for split, pairs in {"train": [], "val": [["010", "011"]], "test": [["003", "000"]]}.items():
        text(tmp_path / "splits" / f"{split}.json", json.dumps(pairs))
    return tmp_path


def test_faceforensics_samples(small_tree: Path) -> None:
    picture(small_tree / "manipulated_sequences/Deepfakes/c23/faces/000_003/0002.png", 6)
    picture(small_tree / "manipulated_sequences/Deepfakes/c23/masks/000_003/0002.png", 7)
    dataset = opened(FaceForensicsDataset, path=str(small_tree), frames=3)
    samples = by_id(dataset)
    assert [p.file.rpartition("/")[2] for p in dataset.problems()] == ["Face2Face", "FaceSwap", "NeuralTextures"]
    assert {p.reason.partition(":")[0] for p in dataset.problems()} == {"no mask of a frame taken"}
    assert len(samples) == 3 * (4 + 16)
    assert samples["Deepfakes/000_003/0002"] == Sample(
        id="Deepfakes/000_003/0002",
        label="fake",
        group="000",
        method="Deepfakes",
        pair="real/000/0002",
        split="test",
        has_mask=True,
        columns=(("compression", "c23"),),
    )
    assert samples["FaceSwap/003_000/0004"].pair == "real/003/0004"
    assert samples["real/011/0000"] == Sample(
        id="real/011/0000", label="real", group="010", split="val", columns=(("compression", "c23"),)
    )
    native = dataset.read(samples["Deepfakes/000_003/0002"])
    assert native.mask is not None
    assert (native.pixels.max(), native.mask.max()) == (6, 7)


def test_faceforensics_test_split_has_70_groups(tmp_path: Path) -> None:
    pairs = [(f"{i:03d}", f"{999 - i:03d}") for i in range(70)]
    for a, b in pairs:
        for target, source in ((a, b), (b, a)):
            originals(tmp_path, target, 2)
            for method in faceforensics.METHODS[:4]:
                fakes(tmp_path, method, f"{target}_{source}", 2)
    text(tmp_path / "splits/test.json", json.dumps(pairs))
    samples = opened(FaceForensicsDataset, path=str(tmp_path)).samples()
    assert len(samples) == 140 * 2 * 5
    assert {s.split for s in samples} == {"test"}
    sizes = Counter(s.group for s in samples)
    assert len(sizes) == 70
    assert set(sizes.values()) == {20}
    assert {s.cross_group for s in samples} == {None}


def test_frames_are_spread_over_the_whole_video(tmp_path: Path) -> None:
    assert spread(300, 10) == [0, 33, 66, 100, 133, 166, 199, 233, 266, 299]
    assert (spread(4, 10), spread(7, 1), spread(0, 3)) == ([0, 1, 2, 3], [3], [])
    for i in (1, 2, 9, 10, 100):
        touch(tmp_path / f"original_sequences/youtube/c23/frames/000/{i}.png")
        touch(tmp_path / f"manipulated_sequences/FaceSwap/c23/frames/000_001/{i}.png")
    samples = opened(FaceForensicsDataset, path=str(tmp_path), frames=3).samples()
    assert {s.id for s in samples if s.label == "real"} == {"real/000/1", "real/000/9", "real/000/100"}


def test_a_shorter_fake_brings_its_own_counterparts(tmp_path: Path) -> None:
    originals(tmp_path, "000", 9)
    fakes(tmp_path, "Deepfakes", "000_001", 9)
    fakes(tmp_path, "NeuralTextures", "000_001", 7)
    samples = by_id(opened(FaceForensicsDataset, path=str(tmp_path), frames=3))
    assert [s for s in samples if s.startswith("Neural")] == [f"NeuralTextures/000_001/{i:04d}" for i in (0, 3, 6)]
    assert [s for s in samples if s.startswith("real")] == [f"real/000/{i:04d}" for i in (0, 3, 4, 6, 8)]
    assert all(s.pair for s in samples.values() if s.label == "fake")


def test_a_fake_without_frames_in_common_has_no_counterpart(tmp_path: Path) -> None:
    originals(tmp_path, "000", 3)
    touch(tmp_path / "manipulated_sequences/Deepfakes/c23/faces/000_001/frame7.png")
    touch(tmp_path / "manipulated_sequences/Deepfakes/c23/faces/005_001/0000.png")
    samples = by_id(opened(FaceForensicsDataset, path=str(tmp_path)))
    assert {s.id for s in samples.values() if s.label == "fake" and s.pair is None} == {
        "Deepfakes/000_001/frame7",
        "Deepfakes/005_001/0000",
    }
    assert {s.group for s in samples.values()} == {"000"}


@pytest.mark.parametrize("place", ["c23/masks", "masks/c23", "masks", "masks/frames"])
def test_masks_are_found_in_every_usual_place(small_tree: Path, place: str) -> None:
    touch(small_tree / "manipulated_sequences/FaceSwap" / place / "010_011/0004.jpg")
    samples = opened(FaceForensicsDataset, path=str(small_tree)).samples()
    assert [s.id for s in samples if s.has_mask] == ["FaceSwap/010_011/0004"]


@pytest.mark.parametrize("part", ["c40/images", "c40/frames", "c40/crops_256"])
def test_compression_and_the_folder_of_frames(tmp_path: Path, part: str) -> None:
    originals(tmp_path, "000", 1, part)
    fakes(tmp_path, "Face2Face", "000_001", 1, part)
    touch(tmp_path / "manipulated_sequences/Face2Face/c40/videos/000_001.mp4")
    assert len(opened(FaceForensicsDataset, path=str(tmp_path), compression="c40").samples()) == 2
    with pytest.raises(DatasetError, match="no frames in") as caught:
        opened(FaceForensicsDataset, path=str(tmp_path), compression="c23").samples()
    assert "compression=c40" in caught.value.mend
    with pytest.raises(UsageError, match="compression=c50"):
        opened(FaceForensicsDataset, path=str(tmp_path), compression="c50")


def test_split_files_elsewhere_absent_or_broken(small_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    expected = opened(FaceForensicsDataset, path=str(small_tree)).samples()
    elsewhere = tmp_path_factory.mktemp("splits") / "official"
    shutil.move(small_tree / "splits", elsewhere)
    assert opened(FaceForensicsDataset, path=str(small_tree), splits=str(elsewhere)).samples() == expected
    dataset = opened(FaceForensicsDataset, path=str(small_tree))
    assert {s.split for s in dataset.samples()} == {None}
    assert {s.group for s in dataset.samples()} == {"000", "010"}
    assert [p.file for p in dataset.problems()] == ["splits"]
    shutil.copy(elsewhere / "test.json", small_tree)
    assert {s.split for s in opened(FaceForensicsDataset, path=str(small_tree)).samples()} == {None, "test"}
    for content, what in (
        ("{", "no list of pairs"),
        ("[[1, 2]]", "no list of pairs"),
        ('[["010", "000"]]', "010 is in"),
    ):
        text(elsewhere / "train.json", content)
        with pytest.raises(DatasetError, match=what):
            opened(FaceForensicsDataset, path=str(small_tree), splits=str(elsewhere)).samples()
    with pytest.raises(DatasetError, match=r"no train\.json"):
        opened(FaceForensicsDataset, path=str(small_tree), splits="nowhere").samples()


def test_faceforensics_reports_what_it_leaves_out(small_tree: Path) -> None:
    touch(small_tree / "manipulated_sequences/Own/c23/faces/01_02__x/0.png")
    touch(small_tree / "manipulated_sequences/FaceSwap/c23/faces/extra/0.png")
    touch(small_tree / "original_sequences/youtube/c23/faces/044/readme.md")
    dataset = opened(FaceForensicsDataset, path=str(small_tree))
    assert {(p.file, p.reason) for p in dataset.problems()} == {
        ("manipulated_sequences/Own", f"is none of {', '.join(faceforensics.METHODS)}"),
        ("manipulated_sequences/FaceSwap/c23/faces/extra", "is not named TARGET_SOURCE"),
        ("original_sequences/youtube/c23/faces/044/readme.md", "is no picture by its suffix"),
        ("original_sequences/youtube/c23/faces/044", "holds no pictures"),
    }


# ---- demo ----


def test_demo_lists_a_real_and_every_fake_of_each_test_person() -> None:
    samples = by_id(opened(DemoDataset, identities=3))
    assert len(samples) == 3 * (1 + len(METHODS))
    assert samples["swap/10001"] == Sample(
        id="swap/10001",
        label="fake",
        group="10000",
        method="swap",
        pair="real/10001",
        split="test",
        has_mask=True,
        has_landmarks=True,
    )
    assert {s.group for s in samples.values()} == {"10000", "10002"}
    assert not any(s.has_mask for s in samples.values() if s.label == "real")


@pytest.mark.parametrize(("split", "people"), [("train", {"00000", "00001"}), ("test", {"10000", "10001"})])
def test_demo_splits_share_nobody(split: str, people: set[str]) -> None:
    samples = opened(DemoDataset, identities=2, split=split).samples()
    assert {s.id.partition("/")[2] for s in samples} == people
    both = by_id(opened(DemoDataset, identities=2, split="all"))
    assert {s.id for s in both.values() if s.split == split} == {s.id for s in samples}


def test_demo_reads_what_the_generator_draws() -> None:
    dataset = opened(DemoDataset, identities=2, seed=5)
    samples = by_id(dataset)
    real, fake = dataset.read(samples["real/10001"]), dataset.read(samples["warp/10001"])
    drawn = render_fake(5, 10_001, "warp")
    assert fake.mask is not None
    assert fake.pixels.dtype == fake.mask.dtype == np.uint8
    np.testing.assert_array_equal(fake.pixels.transpose(2, 0, 1) / np.float32(255), drawn.image)
    np.testing.assert_array_equal(fake.mask / np.float32(255), drawn.mask)
    assert fake.landmarks is not None
    np.testing.assert_array_equal(fake.landmarks, drawn.landmarks)
    np.testing.assert_array_equal(real.pixels.transpose(2, 0, 1) / np.float32(255), render_real(5, 10_001).image)
    assert real.mask is None
    changed = (real.pixels != fake.pixels).any(-1)
    assert changed.any()
    assert not changed[fake.mask == 0].any()


def test_demo_does_not_depend_on_the_order_of_reading() -> None:
    dataset, again = opened(DemoDataset, identities=1), opened(DemoDataset, identities=1)
    forwards = [dataset.read(s).pixels.tobytes() for s in dataset.samples()]
    backwards = [again.read(s).pixels.tobytes() for s in reversed(again.samples())]
    assert forwards == backwards[::-1]
    assert len(set(forwards)) == 1 + len(METHODS)


@pytest.mark.parametrize(("key", "value"), [("identities", 0), ("identities", 10_001), ("seed", -1), ("split", "val")])
def test_demo_refuses_wrong_values(key: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"{key}={value}"):
        opened(DemoDataset, **{key: value})


# ---- registration ----


def test_registration_is_light_and_complete() -> None:
    code = """
import importlib, sys
from xaibench_datasets import plugin
heavy = {"torch", "numpy", "scipy", "pyarrow", "PIL", "pydantic"} & set(sys.modules)
assert not heavy, heavy
records = plugin.xaibench_datasets()
for record in records:
    module, _, name = record.target.partition(":")
    target = getattr(importlib.import_module(module), name)
    assert all(field.description for field in target.Parameters.model_fields.values())
by_precedence = sorted((r for r in records if r.markers), key=lambda r: r.precedence)
print(*(r.name for r in by_precedence))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["manifest", "faceforensics", "folder"]


@pytest.mark.parametrize("target", [FolderDataset, ManifestDataset, FaceForensicsDataset])
def test_the_path_is_the_first_parameter(target: type) -> None:
    assert next(iter(target.Parameters.model_fields)) == "path"  # type: ignore[attr-defined]
