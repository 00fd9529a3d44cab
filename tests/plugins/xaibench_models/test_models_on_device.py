"""Model files on another device: constants of a program move with it, and what ONNX Runtime is told on a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support import fake_device
from torch import Tensor, nn

from xaibench.api import Runtime
from xaibench_models import onnx_session
from xaibench_models.torch_loading import load_file
from xaibench_models.torch_model import TorchModel, TorchParameters


class Constants(nn.Module):
    """A network with a constant that is no parameter and a tensor that its graph makes."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(3, 2)

    def forward(self, images: Tensor) -> Tensor:
        colours = images.mean(dim=(2, 3)) - torch.tensor([0.1, 0.2, 0.3])
        return self.last(colours) + torch.arange(2)


def exported(folder: Path) -> Path:
    program = torch.export.export(Constants().eval(), (torch.rand(2, 3, 8, 8),))
    file = folder / "constants.pt2"
    torch.export.save(program, file)
    return file


def test_constants_of_an_exported_program_move_with_it(tmp_path: Path) -> None:
    file = exported(tmp_path)
    parameters = TorchParameters(path=str(file), classes=("real", "fake"), activation="logit")
    here, there = (
        TorchModel(parameters).open("constants", Runtime(device=device, precision="fp32", threads=1))
        for device in ("cpu", str(fake_device.device()))
    )
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(here.scores(images), there.scores(images.to(there.device)).cpu())
    fresh = there.randomised(["last"], torch.Generator().manual_seed(0))
    assert fresh.scores(images.to(there.device)).device == there.device


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_loaded_for_its_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "script.pt"
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).eval()
    torch.jit.trace(module, torch.rand(2, 3, 8, 8)).save(str(file))
    devices: list[torch.device] = []
    load = torch._C.import_ir_module_from_buffer

    def told(unit: Any, content: bytes, device: torch.device, *rest: Any) -> Any:
        devices.append(device)
        return load(unit, content, torch.device("cpu"), *rest)

    monkeypatch.setattr(torch._C, "import_ir_module_from_buffer", told)
    load_file(file, torch.device("meta"))
    assert devices == [torch.device("meta")]


def test_tensorrt_keeps_its_engines_in_the_folder_that_the_user_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("XAIBENCH_ENGINES", str(tmp_path / "engines"))
    monkeypatch.setattr(
        onnx_session.ort,
        "get_available_providers",
        lambda: ["CPUExecutionProvider", *onnx_session._NAMES.values()],
    )
    wanted = onnx_session._wanted(Runtime(device="cuda:1", precision="fp16", threads=1), "tensorrt")
    assert [name for name, _ in wanted] == [
        "TensorrtExecutionProvider",
        "CUDAExecutionProvider",
        "CPUExecutionProvider",
    ]
    options = wanted[0][1]
    assert options["trt_engine_cache_enable"] and options["trt_fp16_enable"]
    assert options["trt_engine_cache_path"] == str(tmp_path / "engines")
    assert (tmp_path / "engines").is_dir()
    assert {o["device_id"] for _, o in wanted[:2]} == {1}


def test_onnx_runtime_shares_the_stream_of_torch_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        cuda_stream = 4711

    monkeypatch.setattr(
        onnx_session.ort,
        "get_available_providers",
        lambda: ["CPUExecutionProvider", *onnx_session._NAMES.values()],
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(onnx_session, "_stream", lambda device: Stream())
    (cuda, _) = onnx_session._wanted(Runtime(device="cuda", precision="fp32", threads=1), "cuda")
    assert cuda[1]["user_compute_stream"] == "4711"
