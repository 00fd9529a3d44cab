"""Bringing tensors to the device of a detector without waiting for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on ``device``: itself where it is there already.

    The host does not wait for a copy from the CPU to a device: it goes through pinned memory on CUDA. A copy to the CPU
    is complete when the function returns.
    """
    if tensor.device.type != "cpu" or device.type == "cpu":
        return tensor.to(device)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
