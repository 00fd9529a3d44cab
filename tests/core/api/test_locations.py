"""Local and remote files: what they are called, what is in them, and what is said where they cannot be read."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from xaibench.api import (
    PlanError,
    RemotePath,
    UnreadablePicture,
    file_state,
    is_url,
    list_folder,
    location,
    read_landmarks,
    read_mask,
    read_picture,
    relative_name,
    split_parameters,
)


@pytest.fixture
def memory():
    """The file system in memory, which is empty before and after."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("s3://bucket/faces", True),
        ("memory://faces", True),
        ("simplecache::s3://bucket/faces", True),
        ("zip://faces::s3://bucket/faces.zip", True),
        ("faces", False),
        ("/data/faces", False),
        ("demo:identities=8", False),
        ("self-blend:of=s3://bucket/faces", False),
        ("./faces:pairs=false", False),
    ],
)
def test_what_is_an_address(text, answer):
    assert is_url(text) is answer


@pytest.mark.parametrize(
    ("text", "address", "parameters"),
    [
        ("faces:pairs=false", "faces", "pairs=false"),
        ("faces", "faces", ""),
        ("s3://b/faces", "s3://b/faces", ""),
        ("s3://b/faces:pairs=false,group_pattern=a:b=c", "s3://b/faces", "pairs=false,group_pattern=a:b=c"),
        ("http://host:8080/faces:frames=5", "http://host:8080/faces", "frames=5"),
        ("zip://f::file:///x.zip:pairs=false", "zip://f::file:///x.zip", "pairs=false"),
    ],
)
def test_parameters_after_a_path_or_an_address(text, address, parameters):
    assert split_parameters(text) == (address, parameters)


def test_a_file_address_is_a_local_path(tmp_path):
    assert location(tmp_path.as_uri()) == tmp_path
    assert location(str(tmp_path)) == location(tmp_path) == tmp_path


def test_local_paths_load_no_fsspec(tmp_path):
    import subprocess

    code = f"import sys; from xaibench.api import location; location({str(tmp_path)!r}); print('fsspec' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_a_protocol_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(PlanError) as caught:
        location("s3://bucket/faces")
    assert caught.value.what == "s3://bucket/faces: the package for s3:// is not installed"
    assert caught.value.mend == "pip install 'xaibench[s3]'"


def test_a_protocol_that_nobody_knows():
    with pytest.raises(PlanError, match="xyz://bucket cannot be opened: Protocol not known: xyz") as caught:
        location("xyz://bucket")
    assert caught.value.mend


def test_folders_and_files_in_memory(memory):
    memory.pipe_file("/faces/real/a.png", b"12")
    root = location("memory://faces/")
    assert isinstance(root, RemotePath)
    file = root / "real/a.png"
    assert (root.name, file.name, file.stem, file.suffix) == ("faces", "a.png", "a", ".png")
    assert file.parent == root / "real"
    assert (root.exists(), root.is_dir(), root.is_file()) == (True, True, False)
    assert (file.exists(), file.is_dir(), file.is_file()) == (True, False, True)
    assert not (root / "fake").exists()
    assert list_folder(root) == [("real", True)]
    assert list_folder(root / "real") == [("a.png", False)]
    assert relative_name(file, root) == "real/a.png"
    assert file.read_bytes() == b"12"
    assert str(file).startswith("memory://")
    assert str(file).endswith("faces/real/a.png")
    assert location(str(file)) == file


def test_what_does_not_lie_below(memory, tmp_path):
    root = location("memory://faces")
    for path, base in ((root, root / "real"), (root, tmp_path), (tmp_path, tmp_path / "a")):
        with pytest.raises(ValueError, match=r"lie below|subpath"):
            relative_name(path, base)


def test_the_state_of_a_file_tells_that_it_was_written_again(memory, tmp_path):
    memory.pipe_file("/a", b"12")
    file = location("memory://a")
    first = file_state(file)
    assert first is not None
    assert file_state(location("memory://a")) == first
    memory.pipe_file("/a", b"34")
    assert file_state(location("memory://a")) != first
    with pytest.raises(FileNotFoundError):
        file_state(location("memory://b"))
    with pytest.raises(FileNotFoundError):
        file_state(tmp_path / "b")


class Silent:
    """A file system that tells sizes alone."""

    def info(self, path):
        return {"name": path, "size": 3, "type": "file"}


class Broken:
    """A file system whose client does not answer."""

    def info(self, path, **options):
        raise RuntimeError("no route\nto host")

    ls = cat_file = info

    def unstrip_protocol(self, path):
        return f"broken://{path}"


def test_a_file_system_without_times_tells_no_state():
    assert file_state(RemotePath(Silent(), "a")) is None


@pytest.mark.parametrize("ask", [RemotePath.exists, RemotePath.read_bytes, list_folder, read_picture])
def test_a_file_system_that_does_not_answer(ask):
    with pytest.raises(PlanError) as caught:
        ask(RemotePath(Broken(), "a"))
    assert caught.value.what == "broken://a cannot be read: no route to host"
    assert caught.value.mend


def test_an_archive_is_read_without_unpacking(tmp_path):
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        archive.writestr("real/a.txt", "x")
    root = location(f"zip://::{(tmp_path / 'faces.zip').as_uri()}")
    assert root.is_dir()
    assert list_folder(root) == [("real", True)]
    assert (root / "real" / "a.txt").read_text() == "x"
    assert relative_name(root / "real" / "a.txt", root) == "real/a.txt"


@pytest.mark.parametrize("remote", [False, True])
def test_readers_read_the_same_from_anywhere(memory, tmp_path, remote):
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "a.csv").write_text("\ufeffx,y\n1,2\n", encoding="utf-8")
    memory.pipe({f"/d/{f.name}": f.read_bytes() for f in tmp_path.iterdir()})
    root = "memory://d" if remote else str(tmp_path)
    assert (read_picture(f"{root}/a.png") == pixels).all()
    assert (read_mask(f"{root}/a.png") == pixels.max(axis=2)).all()
    assert read_landmarks(f"{root}/a.csv").tolist() == [[1, 2]]


def test_remote_files_that_cannot_be_read(memory):
    memory.pipe({"/d/empty.png": b"", "/d/text.png": b"text", "/d/long.csv": b"1,2\n" * 300_000})
    for name, reason in {"none.png": "does not exist", "empty.png": "is empty", "": "is no file",
                         "text.png": "is no picture that can be decoded"}.items():  # fmt: skip
        with pytest.raises(UnreadablePicture, match=f"d/?{name}: {reason}"):
            read_picture(f"memory://d/{name}")
    with pytest.raises(UnreadablePicture, match="too many for landmarks"):
        read_landmarks("memory://d/long.csv")


def test_pathlib_paths_are_local_whatever_they_are_called():
    assert location(Path("memory:/d")) == Path("memory:/d")
