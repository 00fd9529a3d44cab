"""Files of a run: on this machine, and in memory behind an fsspec URL."""

from __future__ import annotations

import os
import uuid

import pytest

from xaibench.store.files import location_of, open_files


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch):
    """A disk that is asked for every file takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(params=["local", "memory"])
def place(request, tmp_path):
    """The folder of a run, as a user gives it."""
    if request.param == "local":
        yield str(tmp_path / "run")
        return
    import fsspec

    root = f"/{uuid.uuid4().hex}"
    yield f"memory://{root[1:]}/run"
    memory = fsspec.filesystem("memory")
    if memory.exists(root):
        memory.rm(root, recursive=True)


@pytest.fixture
def files(place):
    return open_files(location_of(place))
