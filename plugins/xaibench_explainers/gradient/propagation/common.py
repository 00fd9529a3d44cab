"""What explainers that change a network's operations share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from xaibench.api import Detector, Explanation, Output
from xaibench_operations import Call, Operations

_TEXT = 200


def lacks(detector: Detector, *needs: str) -> str:
    """Why the detector cannot be explained, empty where it gives all of ``needs``."""
    facts = detector.facts
    missing = next((n for n in needs if n not in facts.gives), None)
    return f"the detector gives no {missing}: {facts.limits.get(missing, 'not said why')}" if missing else ""


def target_values(detector: Any, images: Tensor, targets: Tensor, output: Output, mode: Operations) -> Tensor:
    """``(b,)`` outputs of the targets, computed under ``mode``."""
    with mode:
        logits = detector.logits(images)
        outputs = logits if output == "logit" else torch.softmax(logits, dim=1)
    return outputs.gather(1, targets[:, None])[:, 0]


def steered(value: Tensor, route: Tensor, scale: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """The number ``value``, whose gradient goes through ``scale`` and then along ``route``."""
    result = value.detach() + (route - route.detach())
    if scale is not None and result.requires_grad:
        result.register_hook(scale)  # type: ignore[no-untyped-call]
    return result


def slope(run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Derivative of a function of one number at every element of ``x``; 0 where it is not finite."""
    leaf = x.detach().requires_grad_(True)
    with torch.enable_grad():
        (found,) = torch.autograd.grad(run(leaf).sum(), leaf)
    return found.nan_to_num(0.0, 0.0, 0.0)


Inverse = Callable[[Tensor], Tensor]


def layer_norm(call: Call, inverse: Inverse) -> Tensor:
    """Layer norm of simple operations; ``inverse`` of the variance scales what is centred."""
    shape, eps = call.get(1, "normalized_shape"), call.get(4, "eps", 1e-5)
    normal = _normalised(call.args[0], tuple(range(-len(shape), 0)), eps, inverse)
    return _affine(normal, call.get(2, "weight"), call.get(3, "bias"))


def group_norm(call: Call, inverse: Inverse) -> Tensor:
    """Group norm of simple operations, as :func:`layer_norm`."""
    x, native = call.args[0], call.bare == "native_group_norm"
    groups, eps = (call.args[6], call.args[7]) if native else (call.get(1, "num_groups"), call.get(4, "eps", 1e-5))
    normal = _normalised(x.reshape(len(x), groups, -1), (2,), eps, inverse).view_as(x)
    first = 1 if native else 2
    weight, bias = call.get(first, "weight"), call.get(first + 1, "bias")
    shape = (1, -1, *[1] * (x.ndim - 2))
    return _affine(normal, *(None if t is None else t.view(shape) for t in (weight, bias)))


def _normalised(x: Tensor, axes: tuple[int, ...], eps: float, inverse: Inverse) -> Tensor:
    centred = x - x.mean(dim=axes, keepdim=True)
    return centred * inverse((centred * centred).mean(dim=axes, keepdim=True) + eps)


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    scaled = x if weight is None else x * weight
    return scaled if bias is None else scaled + bias


def upsample(native: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear interpolation (half-pixel centres) of ``(n, h, w)`` to ``(n, H, W)``."""
    return F.interpolate(native[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def relative(found: Tensor, expected: Tensor) -> Tensor:
    """``|found - expected| / |expected|``; the absolute difference where ``expected`` is 0."""
    gap = (found - expected).abs()
    return torch.where(expected == 0, gap, gap / expected.abs())


# ---- words in a reply of tensors --------------------------------------------------------------------------------


def as_rows(text: str, rows: int) -> Tensor:
    """``(rows, 200)`` uint8: a programme's reply has tensors alone, one row a picture."""
    coded = text.encode()[:_TEXT].ljust(_TEXT, b"\0")
    return torch.tensor(list(coded), dtype=torch.uint8).expand(rows, -1)


def as_text(row: Tensor) -> str:
    """The text of a row of :func:`as_rows`."""
    return bytes(row.tolist()).rstrip(b"\0").decode(errors="ignore")


def explained(saliency: Tensor, zero: str, **details: float) -> Explanation:
    """A ``(H, W)`` map with its details; none where it is not finite or, with the reason ``zero``, zero everywhere."""
    shown = saliency.detach().float().cpu()
    if not shown.isfinite().all():
        return Explanation.none("the relevance is not finite")
    if not shown.any():
        return Explanation.none(zero)
    return Explanation(map=shown, details=details)
