"""Models and data sets given as text: which component, with which values, called what."""

from __future__ import annotations

import pytest

from xaibench.api import UsageError
from xaibench.discovery.paths import open_dataset, open_models
from xaibench.discovery.registry import load_registry


@pytest.fixture(scope="module")
def registry():
    return load_registry()


@pytest.fixture
def folder(tmp_path):
    """A folder of pictures, by its looks."""
    for label in ("real", "fake"):
        (tmp_path / "faces" / label).mkdir(parents=True)
    return tmp_path / "faces"


def test_a_data_set_is_called_by_its_folder_or_by_its_name(registry, folder):
    by_path = open_dataset(f"{folder}/", registry=registry)
    assert (by_path.display_name, by_path.name.partition(":")[0]) == ("faces", "xaibench/folder")
    by_name = open_dataset("demo:identities=8", registry=registry)
    assert by_name.display_name == by_name.name == "xaibench/demo:identities=8"


def test_overrides_reach_the_component_they_name_and_the_text_wins(registry):
    overrides = {"dataset.demo.identities": 8, "dataset.folder.path": "elsewhere", "model.demo.members": 2}
    assert open_dataset("demo", overrides=overrides, registry=registry).parameters.identities == 8
    assert open_dataset("demo:identities=6", overrides=overrides, registry=registry).parameters.identities == 6


def test_overrides_of_a_model_reach_every_member_of_its_family(registry, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.onnx").write_bytes(b"")
    overrides = {"model.onnx.provider": "tensorrt"}
    uses = open_models(str(tmp_path), overrides=overrides, registry=registry)
    assert [name for name, _ in uses] == ["a", "b"]
    assert {u.parameters.provider for _, u in uses} == {"tensorrt"}


def test_an_override_that_is_none_is_refused(registry):
    with pytest.raises(UsageError, match=r"'masks' is not KIND\.NAME\.KEY"):
        open_models("demo", overrides={"masks": 8}, registry=registry)
