"""The ``demo`` and ``demo-family`` components: the shipped detectors of the demo faces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from pydantic import Field

from xaibench.api import Detector, ModelError, Parameters, Runtime

if TYPE_CHECKING:
    from xaibench_models.demo.network import DemoNet

_CARD: dict[str, Any] = {
    "layout": "NCHW",
    "range": (0.0, 1.0),
    "mean": 0.0,
    "std": 1.0,
    "colour": "RGB",
    "resize": {},
    "activation": "logit",
    "threshold": 0.5,
    "licence": "Apache-2.0",
    "training_data": "xaibench demo faces, drawn from a seed",
}
_FEATURES = "/features/features.17/Relu_output_0"
"""What the ONNX files call the tensor that leaves the PyTorch form's layer ``features``."""


class DemoParameters(Parameters):
    """Which form of the shipped weights to run."""

    form: Literal["torch", "onnx"] = Field("torch", description="PyTorch or ONNX form of the same weights")


class Demo:
    """One small detector trained on the demo faces. Its two forms agree to 1e-5."""

    Parameters = DemoParameters
    names: ClassVar[tuple[str, ...]] = ("demo-0",)

    def __init__(self, parameters: DemoParameters) -> None:
        self.parameters = parameters

    def members(self) -> tuple[str, ...]:
        return self.names

    def open(self, member: str, runtime: Runtime) -> Detector:
        """The member of that name. Raises :class:`ModelError` for an unknown one, or a broken installation."""
        if member not in self.names:
            raise ModelError(f"the demo has no member '{member}'", f"its members are {', '.join(self.names)}")
        open_form = _open_torch if self.parameters.form == "torch" else _open_onnx
        return open_form(member, runtime)


class DemoFamily(Demo):
    """Five detectors of one kind, from training runs with different seeds."""

    names: ClassVar[tuple[str, ...]] = tuple(f"demo-{seed}" for seed in range(5))


@contextmanager
def _shipped(name: str) -> Iterator[Path]:
    resource = files("xaibench_models.demo").joinpath("weights", name)
    if not resource.is_file():
        raise ModelError(f"the demo weights '{name}' are missing", "install xaibench again")
    with as_file(resource) as path:
        yield path


def _open_torch(member: str, runtime: Runtime) -> Detector:
    from xaibench_models.card import validate
    from xaibench_models.demo.network import CLASSES, INPUT_SIZE
    from xaibench_models.torch_card import TorchKeys
    from xaibench_models.torch_loading import load_factory
    from xaibench_models.torch_model import build

    own = {"classes": CLASSES, "size": INPUT_SIZE, "target_layer": "features"}
    keys = validate({**_CARD, **own}, TorchKeys, member)
    with _shipped(f"{member}.safetensors") as path:
        loaded = load_factory("xaibench_models.demo.network:DemoNet", {}, (), path)
    loaded = replace(loaded, module=cast("DemoNet", loaded.module).fused())
    return build(loaded, keys, runtime, member, f"{member}.safetensors")


def _open_onnx(member: str, runtime: Runtime) -> Detector:
    from xaibench_models.demo.network import CLASSES, INPUT_SIZE
    from xaibench_models.onnx_model import OnnxModel, OnnxParameters

    with _shipped(f"{member}.onnx") as path:
        own = {"classes": CLASSES, "size": INPUT_SIZE, "target_layer": _FEATURES}
        values = {**_CARD, **own, "path": str(path)}
        return OnnxModel(OnnxParameters.model_validate(values)).open(member, runtime)
