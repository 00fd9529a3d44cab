"""Tar archives and the manifest of their members: the same samples and pictures, and what is refused."""

from __future__ import annotations

import json
import tarfile
import threading
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from xaibench.api import Native, Sample, digest_native, file_state
from xaibench.data.survey import survey
from xaibench.discovery.paths import open_dataset
from xaibench.discovery.registry import load_registry
from xaibench_datasets import files_ahead
from xaibench_datasets.file_ranges import FetchedFile
from xaibench_datasets.packing import pack
from xaibench_datasets.shards import ShardMember


def opened(place):
    return open_dataset(str(place), registry=load_registry()).instance


def told(dataset):
    """The samples and the digests of their pictures."""
    return list(dataset.samples()), [digest_native(dataset.read(s)) for s in dataset.samples()]


@pytest.fixture
def memory():
    fs = fsspec.filesystem("memory")
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.fixture
def faces(tmp_path):
    """A folder of pictures of several formats, with masks and landmarks."""
    root = tmp_path / "faces"
    rng = np.random.default_rng(0)
    for name in (
        "real/a.png",
        "real/b.jpg",
        "fake/swap/a.jpg",
        "fake/swap/b.png",
        "fake/blend/b.png",
        "masks/swap/a.png",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (9, 8, 3), np.uint8)).save(root / name)
    (root / "landmarks").mkdir()
    (root / "landmarks/a.csv").write_text("1,2\n3,4\n")
    (root / "fake/swap/broken.png").write_bytes(b"x")
    return root


def test_a_packed_folder_is_the_folder(faces, tmp_path):
    """In its samples, pictures, groups and pairs, and in the bytes of its files."""
    source = opened(faces)
    packed = pack(source, source.samples(), tmp_path / "packed", 2048)
    assert (packed.samples, len(packed.problems)) == (5, 1) and packed.shards > 1
    packed_set = opened(tmp_path / "packed")
    samples = [s for s in source.samples() if "broken" not in s.id]
    assert told(packed_set) == (samples, [digest_native(source.read(s)) for s in samples])
    with tarfile.open(tmp_path / "packed" / "shard-00000.tar") as archive:
        names = archive.getnames()
        first = archive.extractfile(names[0]).read()
    assert names[0].startswith("00000000.")
    assert first in {f.read_bytes() for f in faces.rglob("*.*")}
    assert len(packed_set.problems()) == 0


def test_packed_pictures_of_no_file_lose_nothing_and_are_the_same_bytes_again(tmp_path):
    demo = opened("demo:identities=4")
    for name in ("one", "two"):
        pack(demo, demo.samples(), tmp_path / name, 2**20)
    assert told(opened(tmp_path / "one")) == told(demo)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_a_packed_set_can_be_packed_again(tmp_path):
    demo = opened("demo:identities=2")
    pack(demo, demo.samples(), tmp_path / "one", 2**20)
    one = opened(tmp_path / "one")
    pack(one, one.samples(), tmp_path / "two", 2**20)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


class Weighted:
    """A data set whose mask is float32 and whose groups are crossed."""

    def __init__(self):
        self._samples = [
            Sample(id="r", label="real", group="p", columns=(("age", 3),)),
            Sample(id="f", label="fake", group="p", method="swap", pair="r", has_mask=True, columns=(("age", 4),)),
        ]

    def samples(self):
        return self._samples

    def read(self, sample):
        rng = np.random.default_rng(1)
        mask = rng.random((6, 5), np.float32) if sample.has_mask else None
        return Native(rng.integers(0, 255, (6, 5, 3), np.uint8), mask, rng.random((4, 2), np.float32))


def test_weights_landmarks_and_columns_are_kept(tmp_path):
    source = Weighted()
    pack(source, source.samples(), tmp_path / "p", 2**20)
    again = opened(tmp_path / "p")
    for sample in source.samples():
        native, kept = source.read(sample), again.read(sample)
        assert (native.landmarks == kept.landmarks).all() and (native.pixels == kept.pixels).all()
        assert native.mask is None or (native.mask == kept.mask).all()
    assert [dict(s.columns) for s in again.samples()] == [{"age": 4}, {"age": 3}]
    assert {s.id: (s.group, s.pair, s.method) for s in again.samples()} == {
        "r": ("p", None, None),
        "f": ("p", "r", "swap"),
    }


def test_a_start_asks_for_each_archive_once_and_for_no_member(faces, memory, monkeypatch):
    source = opened(faces)
    pack(source, source.samples(), entries_place := _memory("packed"), 2048)
    assert entries_place.is_dir()
    asked = []
    info = type(memory).info
    monkeypatch.setattr(
        type(memory), "info", lambda self, path, **more: (asked.append(path), info(self, path, **more))[1]
    )
    dataset = opened("memory://packed")
    states = {dataset.fingerprint(s) for s in dataset.samples()}
    assert len(states) == 5 and None not in states
    tars = [p for p in asked if p.endswith(".tar")]
    assert sorted(set(tars)) == sorted(tars)


def _memory(name):
    from xaibench.api import location

    return location(f"memory://{name}")


def test_a_changed_archive_changes_the_fingerprints_of_its_samples(faces, memory, tmp_path):
    source = opened(faces)
    pack(source, source.samples(), _memory("packed"), 2**20)
    before = [opened("memory://packed").fingerprint(s) for s in opened("memory://packed").samples()]
    memory.pipe_file("/packed/shard-00000.tar", memory.cat_file("/packed/shard-00000.tar") + b"\0")
    after = [opened("memory://packed").fingerprint(s) for s in opened("memory://packed").samples()]
    assert len(before) == len(after) == 5 and not set(before) & set(after)
    assert file_state(source.entry(source.samples()[0]).picture)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("a.tar@0+99999", "lies beyond the end of its archive of 10,240 bytes"),
        ("a.tar@512+0", "is empty"),
        ("b.tar@512+5", "does not exist"),
        ("../a.tar@512+5", "lies outside the folder of the manifest"),
    ],
)
def test_members_that_cannot_be_are_named(tmp_path, cell, reason):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("x"))
    (tmp_path / "r.png").write_bytes(b"x")
    (tmp_path / "manifest.csv").write_text(f"id,image,label\nr,r.png,real\nf,{cell},fake\n")
    (problem,) = opened(tmp_path).problems()
    assert problem.reason == reason and problem.file in cell


def test_cells_of_members():
    assert str(ShardMember.parse("x/a.tar@1536+20")) == "x/a.tar@1536+20"
    assert ShardMember.parse("a.tar@x+1") is None and ShardMember.parse("a@1+1.png") is None


def _requests(memory, monkeypatch):
    """The names of the threads that ask the file system for bytes, as they do."""
    asked, cat = [], type(memory).cat_file

    def counted(self, path, start=None, end=None, **more):
        asked.append(threading.current_thread().name)
        return cat(self, path, start, end, **more)

    monkeypatch.setattr(type(memory), "cat_file", counted)
    return asked


def test_files_are_fetched_ahead_of_those_that_are_read(faces, memory, monkeypatch):
    """By other threads, window by window; what is read is the same."""
    monkeypatch.setattr(files_ahead, "WINDOW", 1)
    source = opened(faces)
    pack(source, source.samples(), _memory("packed"), 2**20)
    dataset = opened("memory://packed")
    samples, digests = told(dataset)
    asked = _requests(memory, monkeypatch)
    dataset.expect(samples)
    assert asked == []
    first = digest_native(dataset.read(samples[0]))
    assert 0 < len(asked) <= 2  # of two windows of a sample each
    assert [first, *(digest_native(dataset.read(s)) for s in samples[1:])] == digests
    assert {name.split("-")[0] for name in asked} == {"xaibench fetch"}
    dataset.expect(samples[3:])
    assert digest_native(dataset.read(samples[0])) == digests[0]  # out of order
    dataset.expect(())


@pytest.mark.parametrize(("gap", "block", "requests"), [(2**16, 2**23, 2), (511, 2**23, 44), (2**16, 1, 44)])
def test_neighbours_in_an_archive_are_one_request(memory, monkeypatch, gap, block, requests):
    """Between members of a tar archive lie 512 bytes or more: 16 pictures with landmarks and 12 masks."""
    monkeypatch.setattr(files_ahead, "GAP", gap)
    monkeypatch.setattr(files_ahead, "BLOCK", block)
    demo = opened("demo:identities=4")
    methods = {None, *sorted({s.method for s in demo.samples() if s.method})[:3]}
    samples = [s for s in demo.samples() if s.method in methods]
    assert len(samples) == 16
    packed = pack(demo, samples, _memory("packed"), 100_000)
    assert packed.shards == 2
    dataset = opened("memory://packed")
    found = list(dataset.samples())
    asked = _requests(memory, monkeypatch)
    dataset.expect(found)
    assert [digest_native(dataset.read(s)) for s in found[::-1]] == [digest_native(demo.read(s)) for s in samples[::-1]]
    assert len(asked) == requests


def test_samples_that_are_passed_over_do_not_stop_the_fetching(memory, monkeypatch):
    """The counterparts of fakes that cannot be read."""
    monkeypatch.setattr(files_ahead, "WINDOW", 30_000)  # about three samples
    demo = opened("demo:identities=4")
    pack(demo, demo.samples(), _memory("packed"), 2**20)
    dataset = opened("memory://packed")
    order = dataset.samples()[:12]
    ahead = files_ahead.FilesAhead(map(dataset.entry, order))
    taken = [ahead.take(dataset.entry(sample)) for sample in order[::2]]
    assert all(isinstance(entry.picture, FetchedFile) for entry in taken)


def test_an_archive_that_became_shorter_is_refused_by_who_reads_it(memory):
    from xaibench.api import UnreadablePicture

    demo = opened("demo:identities=2")
    pack(demo, demo.samples(), _memory("packed"), 2**20)
    dataset = opened("memory://packed")
    samples, digests = told(dataset)
    memory.pipe("/packed/shard-00000.tar", memory.cat("/packed/shard-00000.tar")[:20_000])
    dataset.expect(samples)
    assert digest_native(dataset.read(samples[0])) == digests[0]
    with pytest.raises(UnreadablePicture):
        dataset.read(samples[-1])


def test_a_survey_expects_what_no_earlier_one_knows(faces, memory, monkeypatch):
    source = opened(faces)
    pack(source, source.samples(), _memory("packed"), 2**20)
    dataset, expected = opened("memory://packed"), []
    monkeypatch.setattr(dataset, "expect", lambda samples: expected.append([s.id for s in samples]))
    first = survey(dataset, "packed", seed=0)
    assert survey(dataset, "packed", seed=0, known=first.known()) == first
    assert sorted(expected[0]) == sorted(s.id for s in dataset.samples()) and expected[1:] == [[], [], []]


def test_what_cannot_be_fetched_is_refused_by_who_reads_it(faces, memory):
    memory.put(str(faces), "/faces", recursive=True)
    dataset = opened("memory://faces")
    samples = [s for s in dataset.samples() if "broken" not in s.id]
    dataset.expect(samples)
    memory.rm("/faces/fake/blend/b.png")
    from xaibench.api import UnreadablePicture

    lost = next(s for s in samples if s.id == "fake/blend/b")
    with pytest.raises(UnreadablePicture, match=r"b\.png: does not exist"):
        dataset.read(lost)


def test_the_command(faces, tmp_path, cli):
    out = tmp_path / "packed"
    code, text, err = cli("pack", "-D", faces, "--out", out, "--json")
    assert code == 0 and json.loads(text)["samples"] == 5 and json.loads(text)["left_out"] == 1 and "broken" in err
    assert parquet.read_table(out / "manifest.parquet").num_rows == 5
    code, _, err = cli("pack", "-D", faces, "--out", out)
    assert code == 2 and "manifest.parquet already" in err
    assert sorted(Path(f).name for f in out.iterdir()) == ["manifest.parquet", "shard-00000.tar"]
