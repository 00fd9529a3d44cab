"""The layer of an ONNX file is that of the module it was exported from, through both exporters and the optimiser."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import onnxruntime as ort
import pytest
import torch
from large_networks import LARGE, SMALL, Entry, network
from torch import Tensor, nn
from toy_runs import LONG

from xaibench.api import Runtime, build_parameters
from xaibench_models.live_model import LiveModel
from xaibench_models.onnx_model import OnnxDetector, OnnxModel, OnnxParameters
from xaibench_models.torch_detector import TorchDetector

LEAST = 0.999


def opened(path: Path, size: int) -> OnnxDetector:
    model = OnnxModel(build_parameters(OnnxParameters, {"": str(path), "size": size}, "onnx"))
    return model.open(model.members()[0], Runtime(threads=2))


def export(module: nn.Module, size: int, path: Path, dynamo: bool, opset: int | None = None) -> Path:
    pictures = (torch.rand(3, 3, size, size),)
    version = {} if opset is None else {"opset_version": opset}
    logging.disable(logging.ERROR)
    torch.backends.mha.set_fastpath_enabled(False)  # TorchScript has no operator for it
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            if dynamo:
                free = ({0: torch.export.Dim("n")},)
                torch.onnx.export(
                    module, pictures, path, dynamo=True, dynamic_shapes=free, verbose=False, external_data=False
                )
            else:
                names = {"input_names": ["x"], "output_names": ["z"], "dynamic_axes": {"x": {0: "n"}, "z": {0: "n"}}}
                torch.onnx.export(module, pictures, path, dynamo=False, **names, **version)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
        logging.disable(logging.NOTSET)
    return path


def optimised(path: Path, level: ort.GraphOptimizationLevel = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED) -> Path:
    """The file as ONNX Runtime's optimiser saves it."""
    target = path.with_name(f"{path.stem}-optimised.onnx")
    options = ort.SessionOptions()
    options.graph_optimization_level, options.optimized_model_filepath = level, str(target)
    options.log_severity_level = 3
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return target


def grad_cam(detector: OnnxDetector | TorchDetector, images: Tensor) -> Tensor:
    """``(N, h, w)``, before its negative values are cut off."""
    features = detector.features(images)
    (gradient,) = torch.autograd.grad(features.logits[:, -1].sum(), features.activation)
    activation = features.to_grid(features.activation.detach()).double()
    return (features.to_grid(gradient).double().mean((2, 3), keepdim=True) * activation).sum(1)


def correlation(one: Tensor, other: Tensor) -> float:
    """The smallest over pictures; the grids have to be the same."""
    assert one.shape == other.shape
    pairs = (torch.stack((a.flatten(), b.flatten())) for a, b in zip(one, other, strict=True))
    return min(float(torch.corrcoef(pair)[0, 1]) for pair in pairs)


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
        path = export(module, size, tmp_path / f"{name}.onnx", name == "dynamo")
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
