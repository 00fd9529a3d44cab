"""Forward passes of a PyTorch network on a CPU by another engine than torch: ONNX Runtime, or ``torch.compile``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import torch
from torch import Tensor, nn

from xaibench.api import ModelError
from xaibench_models.interface import ModelInput, check_pictures
from xaibench_models.outputs import as_columns

if TYPE_CHECKING:
    import onnxruntime as ort

ForwardPass: TypeAlias = Callable[[Tensor], Tensor]
"""``(N, 3, H, W)`` pictures to the ``(N, columns)`` values of a network."""
ENGINES = ("onnxruntime", "compile")
_OPSET = 17


class Network(Protocol):
    """What is needed of :class:`xaibench_models.torch_detector.Network`, which imports this module."""

    @property
    def module(self) -> nn.Module: ...
    @property
    def source(self) -> ModelInput: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def precision(self) -> str: ...
    def __call__(self, images: Tensor) -> Tensor: ...
    def called(self, x: Tensor) -> Any: ...
    def picked(self, returned: Any, pictures: int) -> Tensor: ...


_MEND = "use --engine torch, which runs every network"


def forward_by(engine: str, network: Network, threads: int) -> ForwardPass:
    """The forward pass of ``network`` by ``engine`` (``onnxruntime`` or ``compile``), tried on the check pictures.

    Raises :class:`ModelError` with the reason where the network is not in float32 on a CPU, cannot be exported or
    compiled, or does not run then.
    """
    if network.device.type != "cpu" or network.precision != "fp32":
        raise ModelError("another engine than torch is for float32 on a CPU", _MEND)
    try:
        forward = _onnx_runtime(network, threads) if engine == "onnxruntime" else _compiled(network)
        with torch.inference_mode():
            forward(check_pictures(network.source, network.device))
    except ModelError:
        raise
    except Exception as error:  # of exporters, compilers and engines, which share no base class
        first = (str(error).strip().splitlines() or [""])[0][:200]
        raise ModelError(f"{engine} does not run it: {type(error).__name__}: {first}", _MEND) from error
    return forward


def _compiled(network: Network) -> ForwardPass:
    if isinstance(network.module, torch.jit.ScriptModule):
        raise ModelError("TorchScript is compiled already", _MEND)
    # Without a pool of compilers, whose threads would outlive the command.
    module = torch.compile(network.module, options={"compile_threads": 1})
    return cast("ForwardPass", replace(cast("Any", network), module=module))


class _Exported(nn.Module):
    """The tensor of scores that a network returns for its preprocessed input."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.module, self._network = network.module, network

    def forward(self, x: Tensor) -> Tensor:
        return self._network.picked(self._network.called(x), x.shape[0])


def _onnx_runtime(network: Network, threads: int) -> ForwardPass:
    session = _session(_exported(network), threads)

    def forward(images: Tensor) -> Tensor:
        batch = network.source.preprocessing(images).contiguous()
        (values,) = session.run(["scores"], {"x": batch.numpy()})
        return as_columns(torch.from_numpy(values), len(images))

    return forward


def _exported(network: Network) -> bytes:
    fixed = network.source.batch.fixed
    pictures = check_pictures(network.source, network.device)
    example = network.source.preprocessing(pictures).contiguous()
    free = None if fixed else {"x": {0: "n"}, "scores": {0: "n"}}
    with TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        file = Path(folder) / "network.onnx"
        warnings.simplefilter("ignore")  # of the tracer, about constants: the values are compared
        torch.onnx.export(
            _Exported(network), (example,), file, dynamo=False, opset_version=_OPSET, input_names=["x"],
            output_names=["scores"], dynamic_axes=free, training=torch.onnx.TrainingMode.PRESERVE,
        )  # fmt: skip
        return file.read_bytes()


def _session(model: bytes, threads: int) -> ort.InferenceSession:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
