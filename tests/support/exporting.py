"""Exporting modules to ONNX files, and comparing the maps of two forms of one network."""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import onnxruntime as ort
import torch
from torch import Tensor, nn

from xaibench_models.onnx_model import OnnxDetector
from xaibench_models.torch_detector import TorchDetector


def export(module: nn.Module, size: tuple[int, int], path: Path, dynamo: bool) -> Path:
    """The module as PyTorch's exporters write it, for any number of pictures; what they print and warn of is dropped."""
    pictures = (torch.rand(3, 3, *size),)
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
                torch.onnx.export(module, pictures, path, dynamo=False, **names)
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
