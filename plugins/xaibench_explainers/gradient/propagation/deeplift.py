"""DeepLIFT: what the difference from a baseline contributes, passed back by multipliers in place of slopes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from xaibench.api import Apply, ExplainRequest, Explanation, Output, Parameters, Passes, PassQuery, Programme, to_device
from xaibench_explainers.gradient.propagation.common import (
    explained,
    group_norm,
    lacks,
    layer_norm,
    relative,
    slope,
    steered,
    target_values,
)
from xaibench_operations import ELEMENTWISE, MAX_POOLS, Call, Operations, depends
from xaibench_perturbation import SIGMA, PictureFill, background_of

NEAR = 1e-6
"""Below this difference of its inputs a function's multiplier is its slope."""


class DeepLiftParameters(Parameters):
    """Parameters of ``deeplift``."""

    baseline: PictureFill = Field("black", description="the picture that differences are taken from")
    sigma: float = Field(SIGMA, gt=0, le=1, description="blur of baseline=blur, as a share of the shorter side")
    output: Output = Field("logit", description="what is explained")


class Rescale(Operations):
    """Passes contributions back. The network runs twice in this mode: on the baseline, which is kept, then, after
    :meth:`compare`, on the picture.

    The k-th operation of the second run is compared with the k-th of the first, so that nothing needs to know which
    axis the pictures lie along.
    """

    def __init__(self) -> None:
        rules: dict[str, Callable[[Call], Tensor]] = dict.fromkeys(ELEMENTWISE, self._elementwise)
        rules |= dict.fromkeys(("mul", "matmul", "einsum"), self._product)
        rules |= dict.fromkeys(MAX_POOLS, self._max_pool)
        rules |= {"div": self._quotient, "softmax": self._softmax}
        super().__init__(rules | {"layer_norm": self._layer_norm, "group_norm": self._group_norm})
        self._kept: list[tuple[Tensor, ...]] = []
        self._next: int | None = None

    def compare(self) -> None:
        """From now on the picture runs."""
        self._next = 0

    def _baseline(self, *tensors: Tensor) -> tuple[Tensor, ...] | None:
        """What these tensors were on the baseline; None while the baseline runs."""
        if self._next is None:
            self._kept.append(tuple(t.detach().clone() for t in tensors))
            return None
        self._next += 1
        return self._kept[self._next - 1]

    def _elementwise(self, call: Call) -> Tensor:
        value: Tensor = call.run()
        if len(call.operands()) != 1:
            return value
        at = call.operands()[0]
        x = call.args[at]
        kept = self._baseline(x, value)
        if kept is None:
            return value
        change, near = x.detach() - kept[0], (x.detach() - kept[0]).abs() < NEAR
        rise = (value.detach() - kept[1]) / torch.where(near, 1, change)
        multiplier = torch.where(near, slope(lambda leaf: call.run({at: leaf}), x), rise)
        return steered(value, multiplier * x)

    def _product(self, call: Call) -> Tensor:
        value: Tensor = call.run()
        if len(call.operands()) != 2:
            return value
        i, j = call.operands()
        a, b = call.args[i], call.args[j]
        kept = self._baseline(a, b)
        if kept is None:
            return value
        halfway = (a.detach() + kept[0]) / 2, (b.detach() + kept[1]) / 2
        return steered(value, call.run({i: a, j: halfway[1]}) + call.run({i: halfway[0], j: b}))

    def _quotient(self, call: Call) -> Tensor:
        if not depends(call.args[1]) or call.kwargs.get("rounding_mode"):
            return call.run()
        with self:
            quotient: Tensor = call.args[0] * call.args[1].reciprocal()
        return quotient

    def _max_pool(self, call: Call) -> Tensor:
        x = call.args[0]
        if not depends(x):
            return call.run()
        value, winners = pooled(call, x)
        kept = self._baseline(x, value, winners)
        if kept is None:
            return value
        cells = torch.where(value >= kept[1], winners, kept[2])
        here, there = (t.flatten(2).gather(2, cells.flatten(2)).view_as(value) for t in (x, kept[0]))
        change = here.detach() - there
        near = change.abs() < NEAR
        multiplier = torch.where(near, 1, (value.detach() - kept[1]) / torch.where(near, 1, change))
        return steered(value, multiplier * here)

    def _softmax(self, call: Call) -> Tensor:
        value: Tensor = call.run()
        x, dim = call.args[0], call.get(1, "dim")
        if not depends(x):
            return value
        kept = self._baseline(x)
        return value if kept is None else steered(value, _softmax_route(x, kept[0], dim))

    def _layer_norm(self, call: Call) -> Tensor:
        with self:
            return layer_norm(call, torch.rsqrt)

    def _group_norm(self, call: Call) -> Tensor:
        with self:
            return group_norm(call, torch.rsqrt)


def pooled(call: Call, x: Tensor) -> tuple[Tensor, Tensor]:
    """A max pool's result on ``x`` and where in each flattened plane it came from."""
    pool = getattr(F, call.name)
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    given = {name: call.get(i + 1, name) for i, name in enumerate(names)}
    given["stride"] = given["stride"] or None  # aten writes "the kernel's" as ()
    known = {name: value for name, value in given.items() if value is not None}
    value, winners = pool(x, **known, return_indices=True)
    return value, winners


def _softmax_route(x: Tensor, baseline: Tensor, dim: int) -> Tensor:
    """A function of x whose slope is the multiplier of ``exp(x) / sum exp(x)``, an exponential (rescale rule) times a
    reciprocal of its sum (rescale rule) as a product of two."""
    here, top = x.detach(), torch.maximum(x.detach(), baseline).amax(dim, keepdim=True)
    e, e0 = (here - top).exp(), (baseline - top).exp()
    change = here - baseline
    near = change.abs() < NEAR
    raised = torch.where(near, e, (e - e0) / torch.where(near, 1, change)) * x
    total, total0 = (t.sum(dim, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny) for t in (e, e0))
    sums = raised.sum(dim, keepdim=True) / total / total0
    return raised * (1 / total + 1 / total0) / 2 - (e + e0) / 2 * sums


@dataclass(frozen=True)
class Contributions:
    """``(b, 3, H, W)`` contributions of the pixels, and the target's output on picture and baseline, ``(b,)`` each."""

    output: Output

    def __call__(
        self, detector: Any, images: Tensor, targets: Tensor, extras: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        mode, baseline = Rescale(), extras[0].detach().requires_grad_(True)
        below = target_values(detector, baseline, targets, self.output, mode).detach()
        mode.compare()
        values = target_values(detector, images, targets, self.output, mode)
        (multipliers,) = torch.autograd.grad(values.sum(), images)
        return multipliers * (images - baseline), values, below


class DeepLift:
    """DeepLIFT with the rescale rule (Shrikumar, Greenside, Kundaje 2017, arXiv:1704.02685, section 3.5.1), summed over
    channels; signed, positive = speaks for the target, in units of the output.

    Contributions sum to ``f(x) - f(b)``. A function of one number has the multiplier ``(y - y_b) / (x - x_b)``, its
    slope where the inputs differ by less than 1e-6; a maximum gives its change to the element that is the larger
    one's; linear operations and batch norms pass multipliers like gradients. Where two things that depend on the
    picture are multiplied (gates, attention) each has the other's mean of picture and baseline as multiplier, which
    the paper leaves open and which keeps the sum; quotients, softmax, layer and group norm are made of these.
    Operations outside of this (``max`` over an axis, ``norm``, ``var``) keep their gradient, and the sum shows it.

    captum's ``DeepLift`` is equal on the nets that it takes, but for max pools, where captum 0.9's sum misses
    ``f(x) - f(b)`` (by a quarter on the net of our tests), and for softmax, where it takes off a mean over the
    whole batch. It needs every activation to be a module of its own, used once; here functional and exported code
    works, and picture and baseline run one after the other. Details: ``gap``, the relative difference of the sum from
    ``f(x) - f(b)``, and ``change``, ``f(x) - f(b)``.
    """

    Parameters = DeepLiftParameters

    def __init__(self, parameters: DeepLiftParameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        p = self.parameters
        if reason := lacks(request.detector, "operations"):
            return Explanation.none(reason)
        image = to_device(request.picture.image, request.detector.device)
        baseline = yield from background_of(request, p.baseline, p.sigma)
        found, above, below = yield Apply(
            Contributions(p.output), image[None], request.target, (baseline[None],), forward=2, output=p.output
        )
        change = (above - below).double()
        gap = relative(found.double().sum(dim=(1, 2, 3)), change)
        zero = "nothing that differs from the baseline changes the output"
        return explained(found[0].sum(dim=0), zero, gap=float(gap), change=float(change))

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=2, backward=1)
