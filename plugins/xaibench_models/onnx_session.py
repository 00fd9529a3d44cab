"""Running an ONNX graph with ONNX Runtime: providers, deterministic options, IO binding."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import local
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import Tensor

from xaibench.api import ModelError, Runtime
from xaibench_models.onnx_file import OnnxFile

Provider: TypeAlias = Literal["cuda", "tensorrt"]
_NAMES = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
_ERRORS_ONLY, _FATAL_ONLY = 3, 4


@dataclass(frozen=True, slots=True)
class OrtRunner:
    """Feeds a batch to a session and fetches one tensor.

    ``shapes`` remembers each output's number type and its shape without the batch axis, for IO binding. ``reused`` is
    the memory of each thread's last call.
    """

    session: ort.InferenceSession
    input: str
    device: torch.device
    shapes: dict[str, tuple[torch.dtype, tuple[int, ...]]] = field(default_factory=dict)
    reused: local = field(default_factory=local)

    @property
    def providers(self) -> tuple[str, ...]:
        """The providers that the session in fact uses."""
        return tuple(self.session.get_providers())

    def memory(self, images: Tensor) -> Tensor | None:
        """Memory of the shape and type of ``images`` for the input of the next call from this thread. None on a GPU.

        The C library puts a large block that is allocated for every call at ever new addresses, and the kernel clears
        each page at its first use. That takes longer than the arithmetic.
        """
        if self.device.type != "cpu":
            return None
        last: Tensor | None = getattr(self.reused, "memory", None)
        if last is None or last.shape != images.shape or last.dtype != images.dtype:
            last = self.reused.memory = torch.empty(images.shape, dtype=images.dtype)
        return last

    def __call__(self, batch: Tensor, output: str) -> Tensor:
        """``batch`` as the model eats it, on ``device``; returns the tensor ``output`` on ``device``."""
        batch = batch.contiguous()
        if output in self.shapes:
            return self._bound(batch, output)
        (value,) = self.session.run([output], {self.input: batch.cpu().numpy()}, _silent())
        result = torch.from_numpy(np.asarray(value))
        if self.device.type == "cpu":
            return result
        result = result.to(self.device)
        if self.device.type == "cuda" and result.ndim and len(result) == len(batch):
            self.shapes[output] = result.dtype, tuple(result.shape[1:])
        return result

    def _bound(self, batch: Tensor, output: str) -> Tensor:
        """The same without leaving the GPU: input and output are bound to torch's memory."""
        index = self.device.index or 0
        number, tail = self.shapes[output]
        result = torch.empty((len(batch), *tail), dtype=number, device=self.device)
        ours, theirs = torch.cuda.current_stream(self.device), _stream(self.device)
        binding = self.session.io_binding()
        binding.bind_input(self.input, "cuda", index, _numpy(batch.dtype), tuple(batch.shape), batch.data_ptr())
        binding.bind_output(output, "cuda", index, _numpy(number), tuple(result.shape), result.data_ptr())
        # One stream waits for the other, and the host for none of them.
        theirs.wait_stream(ours)
        batch.record_stream(theirs)
        result.record_stream(theirs)
        self.session.run_with_iobinding(binding, _unwaited())
        ours.wait_stream(theirs)
        return result


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """The stream on which ONNX Runtime computes on a GPU. It takes the default stream for none at all."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@cache
def _unwaited() -> ort.RunOptions:
    """ONNX Runtime comes back before the GPU is done."""
    options = ort.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options


@cache
def _silent() -> ort.RunOptions:
    """What fails is raised; ONNX Runtime would print it as well, also of a reading that is only tried."""
    options = ort.RunOptions()
    options.log_severity_level = _FATAL_ONLY
    return options


def _numpy(number: torch.dtype) -> np.dtype[Any]:
    return torch.empty(0, dtype=number).numpy().dtype


def start(file: OnnxFile, model: onnx.ModelProto, input_name: str, runtime: Runtime, provider: Provider) -> OrtRunner:
    """A session for ``model``, a copy of the one in ``file`` whose external weights lie beside ``file``.

    Raises :class:`ModelError` where ONNX Runtime refuses the graph, or a GPU was asked for and is not used.
    """
    wanted = _wanted(runtime, provider)
    options = _options(file, runtime.threads)
    source = str(file.path) if model is file.model and not file.changed else model.SerializeToString()
    try:
        session = ort.InferenceSession(source, options, providers=wanted)
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise ModelError(
            f"{file.path}: ONNX Runtime {ort.__version__} cannot load it: {one_line(error)}", _mend_load(error)
        ) from None
    _check_used(session, wanted)
    on_gpu = runtime.device != "cpu" and torch.cuda.is_available()
    return OrtRunner(session, input_name, torch.device(runtime.device if on_gpu else "cpu"))


def _mend_load(error: BaseException) -> str:
    half = next((name for name in ("bfloat16", "float16") if f"tensor({name})" in str(error)), "")
    if half:
        return f"this device has no {half} form of that operator: export the network in float32 (model.float())"
    return "export it again, with an opset that this ONNX Runtime knows"


def _options(file: OnnxFile, threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(file.path.parent.resolve())
    )
    return options


def _wanted(runtime: Runtime, provider: Provider) -> list[tuple[str, dict[str, Any]]]:
    """Providers in order of preference, with options under which two runs give the same numbers."""
    cpu: tuple[str, dict[str, Any]] = ("CPUExecutionProvider", {})
    if runtime.device == "cpu":
        return [cpu]
    device = torch.device(runtime.device)
    if device.type != "cuda":
        raise ModelError(f"ONNX models do not run on '{runtime.device}'", "give --device cpu or --device cuda")
    index = device.index or 0
    shared: dict[str, Any] = {"device_id": index}
    if torch.cuda.is_available():
        shared["user_compute_stream"] = str(_stream(device).cuda_stream)
    wanted = [(_NAMES["cuda"], {**shared, "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": 0}), cpu]
    if provider == "tensorrt":
        wanted.insert(0, (_NAMES["tensorrt"], {**shared, **_tensorrt(runtime.precision)}))
    missing = [name for name, _ in wanted if name not in ort.get_available_providers()]
    if missing:
        raise ModelError(f"this ONNX Runtime has no {missing[0]}", "install onnxruntime-gpu and uninstall onnxruntime")
    return wanted


def _tensorrt(precision: str) -> dict[str, Any]:
    """TensorRT chooses kernels by the clock while it builds an engine, for minutes. Engines are kept, so that a second
    start takes none of that time and computes with the same kernels."""
    folder = engine_cache()
    return {
        "trt_fp16_enable": precision == "fp16",
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": folder,
    }


def engine_cache() -> str:
    """The folder of TensorRT engines: ``$XAIBENCH_ENGINES``, else ``xaibench/tensorrt`` in the user's cache."""
    named = os.environ.get("XAIBENCH_ENGINES")
    cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(named) if named else Path(cache_home) / "xaibench" / "tensorrt"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return str(folder)


def _check_used(session: ort.InferenceSession, wanted: list[tuple[str, dict[str, Any]]]) -> None:
    first, used = wanted[0][0], session.get_providers()
    if first not in used:
        raise ModelError(
            f"{first} was asked for, but ONNX Runtime fell back to {', '.join(used)}",
            "install the CUDA and cuDNN (or TensorRT) libraries it names above, or give --device cpu",
        )


def one_line(error: BaseException) -> str:
    """An exception's message with every run of white space made one blank, cut at 300 characters."""
    return " ".join(str(error).split())[:300]
