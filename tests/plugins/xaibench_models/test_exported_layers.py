"""The layer of an ONNX file is that of the module it was exported from, through both exporters and the optimiser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from exporting import correlation, export, grad_cam, optimised
from large_networks import LARGE, SMALL, Entry, network
from toy_runs import LONG

from xaibench.api import Runtime, build_parameters
from xaibench_models.live_model import LiveModel
from xaibench_models.onnx_model import OnnxDetector, OnnxModel, OnnxParameters
from xaibench_models.torch_detector import TorchDetector

LEAST = 0.999


def opened(path: Path, size: int) -> OnnxDetector:
    model = OnnxModel(build_parameters(OnnxParameters, {"": str(path), "size": size}, "onnx"))
    return model.open(model.members()[0], Runtime(threads=2))


def compare(entry: Entry, tmp_path: Path, forms: Sequence[str] = ("torchscript", "dynamo")) -> dict[str, float]:
    """Correlations of every form's map with that of the module; each layer lies on the grid that is known."""
    module, size, grid = network(entry), entry[1], entry[2]
    images = torch.rand((2, 3, size, size), generator=torch.Generator().manual_seed(7))
    reference = LiveModel(module, "m", {"size": size}, "1").open("m", Runtime(threads=2))
    assert isinstance(reference, TorchDetector)
    expected = grad_cam(reference, images)
    assert tuple(expected.shape[1:]) == grid
    found = {}
    for name in forms:
        path = export(module, (size, size), tmp_path / f"{name}.onnx", name == "dynamo")
        for form in (path, optimised(path)):
            detector = opened(form, size)
            assert detector.facts.target_layer is not None, detector.facts.limits
            found[form.stem] = correlation(grad_cam(detector, images), expected)
    return found


@pytest.mark.parametrize(("name", "form"), [("meso4", "dynamo"), ("xception", "torchscript"), ("clip", "torchscript")])
def test_the_layer_of_a_file_is_that_of_its_module(name: str, form: str, tmp_path: Path) -> None:
    found = compare(SMALL[name], tmp_path, (form,))
    assert min(found.values()) >= LEAST, found


@LONG
@pytest.mark.parametrize("name", LARGE)
def test_the_layer_of_a_file_in_its_published_size_is_that_of_its_module(name: str, tmp_path: Path) -> None:
    found = compare(LARGE[name], tmp_path)
    print(f"\n{name}: {found}")
    assert min(found.values()) >= LEAST, found
