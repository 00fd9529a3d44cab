"""Files below a folder or a URL: whole under their name or not there."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from xaibench.api import PlanError, StoreError
from xaibench.store.files import LocalFiles, RemoteFiles, location_of, open_files


def test_what_is_written_is_read_back(files):
    assert files.sizes("scores") == {} and files.entries() == []
    files.write("scores/1.parquet", b"abc")
    files.write("scores/1.parquet", b"abcd")
    files.write("run.toml", b"x")
    assert files.read("scores/1.parquet") == b"abcd"
    assert files.sizes("scores") == {"1.parquet": 4}
    assert [e for e in files.entries() if not e.startswith(".")] == ["run.toml", "scores"]
    assert files.digest("scores/1.parquet") == hashlib.sha256(b"abcd").hexdigest()
    with files.open("scores/1.parquet") as file:
        file.seek(2)
        assert file.read() == b"cd"


def test_a_file_that_is_not_there(files):
    for look in (files.read, files.digest, files.open):
        with pytest.raises(FileNotFoundError):
            look("scores/2.parquet")
    files.remove("scores/2.parquet")
    files.write("scores/2.parquet", b"")
    files.remove("scores/2.parquet")
    assert files.sizes("scores") == {}


def test_a_folder_is_no_file(files):
    files.write("scores/1.parquet", b"abc")
    assert "scores" not in files.sizes("")


def test_one_writer_at_a_time(files):
    with files.lock():
        with pytest.raises(StoreError, match=f"is being written by process {os.getpid()}") as refused, files.lock():
            pass
        assert "--out" in refused.value.mend
    with files.lock():
        pass


def test_the_lock_of_a_killed_process_holds_nobody_up(tmp_path):
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom xaibench.store.files import LocalFiles\n"
        "with LocalFiles(Path(sys.argv[1])).lock():\n    os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 9
    with LocalFiles(tmp_path).lock():
        pass


def test_the_lock_clears_what_a_killed_writer_staged(tmp_path):
    (tmp_path / ".staging").mkdir()
    (tmp_path / ".staging" / "half").write_bytes(b"half")
    with LocalFiles(tmp_path).lock():
        assert not list((tmp_path / ".staging").iterdir())


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    files = LocalFiles(tmp_path)
    files.write("run.toml", b"old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        files.write("run.toml", b"new")
    assert files.read("run.toml") == b"old" and not list((tmp_path / ".staging").iterdir())


class Vanished:
    """A file that was listed and then merged away."""

    name = "00000001.parquet"

    def is_file(self):
        return True

    def stat(self):
        raise FileNotFoundError


def test_a_file_that_vanishes_while_it_is_listed_hides_no_other(tmp_path, monkeypatch):
    files = LocalFiles(tmp_path)
    files.write("scores/00000002.parquet", b"abc")
    original = os.scandir

    @contextmanager
    def scandir(folder):
        with original(folder) as entries:
            yield [Vanished(), *entries]

    monkeypatch.setattr(os, "scandir", scandir)
    assert files.sizes("scores") == {"00000002.parquet": 3}


def test_a_folder_that_cannot_be_read_is_not_empty(tmp_path, monkeypatch):
    """Else a run would be repaired of all that it holds."""
    files = LocalFiles(tmp_path)
    files.write("scores/00000002.parquet", b"abc")

    def scandir(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(StoreError, match=r"cannot read .*scores: Permission denied"):
        files.sizes("scores")


def test_a_file_that_may_not_be_read_is_one_line(tmp_path, monkeypatch):
    files = LocalFiles(tmp_path)
    files.write("scores/1.parquet", b"abc")

    def refuse(*arguments, **keywords):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StoreError, match=r"cannot read .*scores.1\.parquet: Permission denied"):
        files.read("scores/1.parquet")


def test_a_store_that_stops_answering_while_a_file_is_compared_is_one_line(monkeypatch):
    class Stream(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            raise RuntimeError("Could not connect to the endpoint URL")

    monkeypatch.setattr(RemoteFiles, "open", lambda self, name: Stream())
    with pytest.raises(StoreError, match=r"x/run\.toml cannot be read: Could not connect"):
        open_files("memory://x").digest("run.toml")


def test_locations(tmp_path):
    assert location_of(f"file://{tmp_path}/run") == tmp_path / "run"
    assert location_of("~/run") == Path("~/run").expanduser()
    assert location_of("memory://a/run/") == "memory://a/run"
    assert isinstance(open_files(location_of("memory://a")), RemoteFiles)
    with pytest.raises(PlanError, match="cannot be opened") as error:
        location_of("no-such-protocol://a")
    assert error.value.mend == "check the address"
