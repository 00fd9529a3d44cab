"""Datasets on file systems of fsspec: they list and read what they do on a disk."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from xaibench.api import Dataset, DatasetError, ModelError, UnreadablePicture, digest_native
from xaibench.data.survey import survey
from xaibench.discovery.paths import open_dataset, open_models
from xaibench.discovery.registry import load_registry

Move = Callable[[Path], str]


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """The file system in memory, which is empty before and after."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.fixture(params=["memory", "file", "zip"])
def move(request: pytest.FixtureRequest, memory: fsspec.AbstractFileSystem, tmp_path: Path) -> Move:
    """Copies a tree elsewhere and gives its address."""

    def to_memory(tree: Path) -> str:
        memory.put(str(tree), "/faces", recursive=True)
        return "memory://faces"

    def to_zip(tree: Path) -> str:
        with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
            for file in tree.rglob("*"):
                archive.write(file, f"faces/{file.relative_to(tree).as_posix()}")
        return f"zip://faces::{(tmp_path / 'faces.zip').as_uri()}"

    return {"memory": to_memory, "zip": to_zip, "file": Path.as_uri}[request.param]


def picture(path: Path, value: int, size: tuple[int, int] = (4, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def folder(root: Path) -> None:
    names = ("real/a.png", "real/v1/b.png", "fake/swap/a.png", "fake/blend/v1/b.png", "fake/c.png", "masks/swap/a.png")
    for value, name in enumerate(names, start=1):
        picture(root / name, value)
    text(root / "landmarks/a.csv", "1,2\n3,4\n")
    text(root / "landmarks/blend/v1/b.csv", "5,6\n7,9\n")
    text(root / "real/.hidden", "")
    text(root / "real/notes.txt", "x")
    text(root / "fake/broken.png", "x")
    picture(root / "masks/swap/of-none.png", 9)


def rows(root: Path) -> list[dict[str, str]]:
    table = [
        {"id": "r", "image": "img/r.png", "label": "real", "mask": "", "landmarks": "", "age": "3"},
        {"id": "f", "image": "img/f.png", "label": "fake", "mask": "m/f.png", "landmarks": "l/f.csv", "age": "4"},
        {"id": "g", "image": "img/g.png", "label": "fake", "mask": "m/none.png", "landmarks": "", "age": ""},
        {"id": "lost", "image": "nowhere/lost.png", "label": "fake", "mask": "", "landmarks": "", "age": ""},
        {"id": "up", "image": "../up.png", "label": "fake", "mask": "", "landmarks": "", "age": ""},
    ]
    for value, name in enumerate(("img/r.png", "img/f.png", "img/g.png", "m/f.png"), start=1):
        picture(root / name, value)
    text(root / "l/f.csv", "1,2\n3,5\n")
    return table


def csv_table(root: Path) -> None:
    table = rows(root)
    text(root / "manifest.csv", "\n".join([",".join(table[0]), *(",".join(r.values()) for r in table)]))


def parquet_table(root: Path) -> None:
    parquet.write_table(pa.Table.from_pylist(rows(root)), root / "manifest.parquet")


def tree(root: Path) -> None:
    for frame in range(3):
        for video in ("000", "003"):
            picture(root / f"original_sequences/youtube/c23/faces/{video}/{frame:04d}.png", frame)
        picture(root / f"manipulated_sequences/Deepfakes/c23/faces/000_003/{frame:04d}.png", 9 + frame)
        picture(root / f"manipulated_sequences/Deepfakes/c23/masks/000_003/{frame:04d}.png", 90)
    picture(root / "manipulated_sequences/Other/c23/faces/000_003/0000.png", 1)
    text(root / "splits/test.json", json.dumps([["000", "003"]]))


def listed(place: str) -> tuple[object, ...]:
    """All that a dataset tells: its samples, problems, and pictures."""
    dataset: Dataset = open_dataset(place, registry=load_registry()).instance
    pictures: dict[str, str] = {}
    for sample in dataset.samples():
        try:
            pictures[sample.id] = digest_native(dataset.read(sample))
        except UnreadablePicture as error:
            pictures[sample.id] = error.what.rpartition(": ")[2]
    return list(dataset.samples()), list(dataset.problems()), pictures


@pytest.mark.parametrize("fill", [folder, csv_table, parquet_table, tree])
def test_a_remote_dataset_is_the_local_one(fill: Callable[[Path], None], move: Move, tmp_path: Path) -> None:
    fill(tmp_path / "faces")
    local = listed(str(tmp_path / "faces"))
    assert len(local[0]) >= 3  # type: ignore[arg-type]
    assert local[1]
    assert listed(move(tmp_path / "faces")) == local


def test_an_address_with_parameters(move: Move, tmp_path: Path) -> None:
    folder(tmp_path / "faces")
    use = open_dataset(f"{move(tmp_path / 'faces')}:pairs=false", registry=load_registry())
    assert use.display_name == "faces"
    assert not use.parameters.pairs  # type: ignore[attr-defined]
    assert {s.pair for s in use.instance.samples()} == {None}


def test_an_address_of_a_table(memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    csv_table(tmp_path / "faces")
    memory.put(str(tmp_path / "faces"), "/faces", recursive=True)
    assert listed("memory://faces/manifest.csv")[0] == listed(str(tmp_path / "faces"))[0]


def test_self_blends_of_a_remote_dataset(memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / f"faces/real/{name}.png", 50, (32, 32))
        text(tmp_path / f"faces/landmarks/{name}.csv", "4,4\n28,4\n16,28\n")
    memory.put(str(tmp_path / "faces"), "/faces", recursive=True)
    assert listed("self-blend:of=memory://faces") == listed(f"self-blend:of={tmp_path / 'faces'}")


def test_a_second_survey_of_a_remote_dataset_decodes_what_was_written_again(
    memory: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    csv_table(tmp_path / "faces")
    memory.put(str(tmp_path / "faces"), "/faces", recursive=True)

    def surveyed(**more: object) -> tuple[list[str], object]:
        dataset = open_dataset("memory://faces", registry=load_registry()).instance
        read, decoded = dataset.read, list[str]()
        dataset.read = lambda sample: (decoded.append(sample.id), read(sample))[1]
        return decoded, survey(dataset, "faces", seed=0, **more)

    decoded, first = surveyed()
    assert sorted(decoded) == ["f", "g", "r"]
    decoded, second = surveyed(known=first.known())  # type: ignore[attr-defined]
    assert (decoded, second) == ([], first)
    memory.pipe_file("/faces/m/f.png", memory.cat_file("/faces/img/r.png"))
    decoded, third = surveyed(known=first.known())  # type: ignore[attr-defined]
    assert decoded == ["f"]
    assert third.digests["f"] != first.digests["f"]  # type: ignore[attr-defined]


def test_addresses_that_hold_nothing(memory: fsspec.AbstractFileSystem) -> None:
    with pytest.raises(DatasetError, match=r"dataset folder memory://.*nowhere does not exist"):
        open_dataset("memory://nowhere", registry=load_registry())
    memory.pipe_file("/empty/a.txt", b"x")
    with pytest.raises(DatasetError, match="holds nothing that a dataset recognises"):
        open_dataset("memory://empty", registry=load_registry())


def test_a_model_that_is_not_there_and_one_at_a_file_address(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model file memory://.*m\.onnx does not exist"):
        open_models("memory://m.onnx:provider=cpu", registry=load_registry())
    (tmp_path / "m.onnx").write_bytes(np.zeros(3).tobytes())
    address = (tmp_path / "m.onnx").as_uri()
    ((_, use),) = open_models(f"{address}:provider=tensorrt", registry=load_registry())
    assert use.parameters.path == str(tmp_path / "m.onnx")  # type: ignore[attr-defined]
    assert use.parameters.provider == "tensorrt"  # type: ignore[attr-defined]
