"""The lock of a folder behind a URL: who gets it, who keeps it, and who learns that it is lost."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import asdict, replace

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from xaibench.api import StoreError
from xaibench.api.store_answers import put_was_refused
from xaibench.store import lease as lease_module
from xaibench.store.files import open_files
from xaibench.store.lease import Holder, Lease


@pytest.fixture
def folder():
    return f"/{uuid.uuid4().hex}"


def leases(folder):
    """The leases of a folder in memory, by number."""
    fs = fsspec.filesystem("memory")
    return {int(p.rpartition("/")[2]): Holder.parse(fs.cat_file(p)) for p in sorted(fs.ls(f"{folder}/.lock", False))}


def hold(folder, number, **changes):
    """Put the lease of somebody."""
    other = replace(Holder.here(), token="other", **changes)
    fsspec.filesystem("memory").pipe_file(f"{folder}/.lock/{number:08d}", json.dumps(asdict(other)).encode())
    return other


def lease(folder):
    return Lease(fsspec.filesystem("memory"), folder, f"memory:/{folder}")


def test_numbers_never_go_down(folder):
    for number in (1, 2):
        own = lease(folder)
        own.acquire()
        assert {n: h.process for n, h in leases(folder).items()} == {number: os.getpid()}
        own.check()
        own.release()
        assert leases(folder)[number].is_gone


def test_another_holder_is_named_and_waited_for(folder):
    hold(folder, 7, machine="elsewhere", process=12, host="node3")
    with pytest.raises(StoreError, match="is being written by process 12 of node3") as refused:
        lease(folder).acquire()
    assert "its lease ends in 5" in refused.value.mend
    hold(folder, 7, machine="elsewhere", until=time.time() - 1)
    own = lease(folder)
    own.acquire()
    assert list(leases(folder)) == [8]
    own.release()


def test_a_dead_process_of_this_machine_holds_nobody_up(folder):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    hold(folder, 1, process=dead.pid)
    own = lease(folder)
    own.acquire()
    own.release()
    hold(folder, 3, born="another process of this id")
    lease(folder).acquire()


def test_the_store_grants_a_number_once(folder, monkeypatch):
    """Of many who see the same ended lease one takes the folder."""
    hold(folder, 1, until=0.0)
    monkeypatch.setattr(Lease, "_renew_always", lambda self: None)
    barrier, granted, refused = threading.Barrier(8), [], []
    newest = Lease._newest

    def together(self):
        found = newest(self)
        if self._own is None:
            barrier.wait()
        return found

    monkeypatch.setattr(Lease, "_newest", together)

    def take():
        try:
            own = lease(folder)
            own.acquire()
            granted.append(own)
        except StoreError:
            refused.append(own)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(granted), len(refused)) == (1, 7)
    granted[0].check()


def test_who_was_taken_over_commits_nothing_more(folder):
    files = open_files(f"memory:/{folder}")
    with files.lock():
        files.write("commits/00000001-a.parquet", b"x")
        hold(folder, 2, machine="elsewhere", host="node3", process=5)
        with pytest.raises(StoreError, match="was taken over by process 5 of node3"):
            files.write("commits/00000002-b.parquet", b"x")
        files.write("scores/00000002.parquet", b"x")
    assert list(files.sizes("commits")) == ["00000001-a.parquet"]
    assert not leases(folder)[2].is_gone  # that of the other is not given back


def test_a_lease_is_renewed_while_its_process_works(folder, monkeypatch):
    monkeypatch.setattr(lease_module, "RENEWAL", 0.01)
    own = lease(folder)
    own.acquire()
    first = leases(folder)[1].until
    deadline = time.monotonic() + 10
    while leases(folder)[1].until == first and time.monotonic() < deadline:
        time.sleep(0.01)
    assert leases(folder)[1].until > first
    hold(folder, 2)
    own._thread.join(10)
    assert not own._thread.is_alive()
    with pytest.raises(StoreError, match="taken over"):
        own.check()
    own.release()


def test_a_lease_that_nearly_ended_is_renewed_before_a_commit(folder, monkeypatch):
    monkeypatch.setattr(Lease, "_renew_always", lambda self: None)
    own = lease(folder)
    own.acquire()
    own._own = replace(own._own, until=time.time() + 1)
    own.check()
    assert leases(folder)[1].until > time.time() + 30


def test_a_store_that_keeps_the_last_of_two_puts_grants_one(folder, monkeypatch):
    """One without conditional puts: what is read back decides."""
    monkeypatch.setattr(Lease, "_renew_always", lambda self: None)
    fs = fsspec.filesystem("memory")
    own = Lease(fs, folder, "x")
    put = type(fs).pipe_file

    def overtaken(self, path, value, mode="overwrite", **more):
        put(self, path, value)
        if mode == "create":
            hold(folder, 1, machine="elsewhere", host="node3")

    monkeypatch.setattr(type(fs), "pipe_file", overtaken)
    with pytest.raises(StoreError, match="of node3"):
        own.acquire()


def test_who_is_overwritten_in_a_store_that_keeps_the_last_put_commits_nothing(folder):
    own = lease(folder)
    own.acquire()
    hold(folder, 1, machine="elsewhere", host="node3")
    with pytest.raises(StoreError, match=r"was taken over by .* of node3"):
        own.check()
    own.release()
    assert not leases(folder)[1].is_gone  # the other's


def test_a_file_system_with_folders_gets_them(folder):
    """SFTP and SMB, unlike object stores and memory, write no file where its folder is not there."""

    class WithFolders(MemoryFileSystem):
        def pipe_file(self, path, value, mode="overwrite", **more):
            if not self.isdir(self._parent(path)):
                raise FileNotFoundError(path)
            super().pipe_file(path, value, mode, **more)

    files = open_files(f"memory:/{folder}")
    files._fs = WithFolders()
    with files.lock():
        files.write("commits/00000001-a.parquet", b"x")
    assert list(files.sizes("commits")) == ["00000001-a.parquet"]


def test_an_error_after_the_folder_was_taken_gives_it_back(folder, monkeypatch):
    def unanswered(self):
        raise StoreError("no answer", "wait")

    with monkeypatch.context() as patch:
        patch.setattr(Lease, "_remove_older", unanswered)
        with pytest.raises(StoreError, match="no answer"), open_files(f"memory:/{folder}").lock():
            pass
    with open_files(f"memory:/{folder}").lock():
        assert not leases(folder)[2].is_gone


def test_a_process_of_another_user_lives_where_proc_hides_it(monkeypatch):
    def hidden(self, *arguments, **more):
        raise FileNotFoundError

    def forbidden(process, number):
        raise PermissionError

    holder = Holder.here()
    monkeypatch.setattr(lease_module.Path, "read_text", hidden)
    monkeypatch.setattr(lease_module, "_machine", lambda: holder.machine)
    monkeypatch.setattr(os, "kill", forbidden)
    assert not holder.is_gone


def test_what_is_no_lease_is_no_holder():
    assert Holder.parse(b"process 7") is None and Holder.parse(b'{"token": 1}') is None


@pytest.mark.parametrize(
    ("error", "is_refusal"),
    [
        (FileExistsError(), True),
        (OSError(errno.EINVAL, "At least one of the pre-conditions you specified did not hold"), True),
        (RuntimeError("412 conditionNotMet: Precondition Failed"), True),
        (PermissionError("Access Denied"), False),
        (OSError(errno.EINVAL, "The specified bucket is not valid."), False),
    ],
)
def test_refused_puts_are_told_from_others(error, is_refusal):
    assert put_was_refused(error) == is_refusal
