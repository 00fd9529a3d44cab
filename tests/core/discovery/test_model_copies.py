"""Copies on this machine of model files behind a URL."""

from __future__ import annotations

import fsspec
import pytest

from xaibench.api import ModelError
from xaibench.discovery.model_copies import local_copy
from xaibench.discovery.paths import model_path, open_models
from xaibench.discovery.registry import load_registry
from xaibench.plan.runtime import make_runtime


@pytest.fixture
def memory(tmp_path, monkeypatch):
    """The file system in memory, with a model and what lies beside it."""
    monkeypatch.setenv("XAIBENCH_CACHE", str(tmp_path / "cache"))
    fs = fsspec.filesystem("memory")
    for name in ("det.onnx", "det.onnx.data", "det.toml", "other.onnx", "w.safetensors"):
        fs.pipe_file(f"/models/{name}", b"")
    fs.pipe_file("/models/det.onnx", b"network")
    fs.pipe_file("/models/net.toml", b'factory = "blocks:net"\nweights = "w.safetensors"')
    fs.pipe_file("/models/blocks.py", b"")
    yield fs
    fs.rm("/models", recursive=True)


def test_a_copy_holds_the_model_and_what_belongs_to_it(memory, tmp_path):
    copy = local_copy("memory://models/det.onnx")
    assert copy.read_bytes() == b"network" and copy.is_relative_to(tmp_path / "cache")
    assert sorted(f.name for f in copy.parent.iterdir()) == ["det.onnx", "det.onnx.data", "det.toml"]
    described = local_copy("memory://models/net.toml").parent
    assert sorted(f.name for f in described.iterdir()) == ["blocks.py", "net.toml", "w.safetensors"]
    assert [f.name[0] for f in (tmp_path / "cache" / "models").iterdir() if f.name.startswith(".")] == []


def test_a_changed_model_is_copied_anew_and_another_not(memory):
    first = local_copy("memory://models/det.onnx")
    assert local_copy("memory://models/det.onnx") == first
    memory.pipe_file("/models/det.toml", b"threshold = 0.4")
    assert local_copy("memory://models/det.onnx") != first
    assert (local_copy("memory://models/det.onnx").parent / "det.toml").read_bytes() == b"threshold = 0.4"


def test_a_model_keeps_its_address_in_its_parameters(memory):
    ((member, use),) = open_models("memory://models/det.onnx:provider=cuda", registry=load_registry())
    assert (member, use.parameters.path) == ("", "memory://models/det.onnx")
    assert use.instance.parameters.path == str(local_copy("memory://models/det.onnx"))
    assert use.instance.members() == ("det",)
    assert [name for name, _ in open_models("memory://models", registry=load_registry())] == ["det", "net", "other"]
    assert model_path("memory://models/det.onnx:provider=cuda")[1] == {"provider": "cuda"}


def test_what_cannot_be_copied_is_said(memory, tmp_path, monkeypatch):
    with pytest.raises(ModelError, match="does not exist"):
        local_copy("memory://models/none.onnx")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XAIBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="cannot be copied") as caught:
        local_copy("memory://models/det.onnx")
    assert "XAIBENCH_CACHE" in caught.value.mend


def test_an_error_names_the_address_and_not_the_copy(memory):
    ((_, use),) = open_models("memory://models/det.onnx", registry=load_registry())
    with pytest.raises(ModelError, match=r"^memory://models/det\.onnx: is no ONNX model"):
        use.open("det", make_runtime("cpu"))
