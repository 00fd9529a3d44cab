"""Registers the model components. Light: the classes are imported when they are first used."""

from __future__ import annotations

from xaibench.api import ModelRecord, hookimpl

XAIBENCH_API = "1"

_DIFFERENTIABLE = frozenset({"gradients", "activations", "operations"})


@hookimpl
def xaibench_models() -> list[ModelRecord]:
    """The detectors that this plugin can open."""
    return [
        ModelRecord(
            name="onnx",
            target="xaibench_models.onnx_model:OnnxModel",
            summary="An ONNX file with a card saying what goes in and what comes out.",
            gives=_DIFFERENTIABLE,
            suffixes=(".onnx",),
            card="xaibench_models.card:OnnxKeys",
        ),
        ModelRecord(
            name="torch",
            target="xaibench_models.torch_model:TorchModel",
            summary="A PyTorch model: torch.export .pt2, TorchScript, or a .toml naming a factory and weights.",
            gives=_DIFFERENTIABLE,
            suffixes=(".pt2", ".pt", ".ts", ".torchscript", ".toml"),
            card="xaibench_models.torch_card:TorchKeys",
            wraps="xaibench_models.live_model:LiveModel",
        ),
        ModelRecord(
            name="demo",
            target="xaibench_models.demo.model:Demo",
            summary="A small detector trained on the demo faces, shipped with xaibench.",
            gives=_DIFFERENTIABLE,
        ),
        ModelRecord(
            name="demo-family",
            target="xaibench_models.demo.model:DemoFamily",
            summary="Five independent training runs of the demo detector.",
            gives=_DIFFERENTIABLE,
        ),
    ]
