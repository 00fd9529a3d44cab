"""Guided backpropagation: rectifiers pass back positive gradients alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import Apply, ExplainRequest, Explanation, Output, Parameters, Passes, PassQuery, Programme, to_device
from xaibench_explainers.gradient.pixels import Reduction, over_channels
from xaibench_explainers.gradient.propagation.common import explained, lacks, steered, target_values
from xaibench_operations import Call, Operations, depends

Backwards = Literal["guided", "deconvnet"]


class GuidedBackpropParameters(Parameters):
    """Parameters of ``guided-backprop``."""

    rule: Backwards = Field("guided", description="guided, or that of deconvolutional networks")
    reduction: Reduction = Field("max", description="how the absolute values of a pixel's channels become one number")
    output: Output = Field("logit", description="what is differentiated")


class GuidedRectifiers(Operations):
    """Rectifiers with another backward pass; ``met`` counts those that the picture passes.

    ``guided``: ``max(g, 0)`` where the gradient g passes the rectifier at all. ``deconvnet``: ``max(g, 0)``
    everywhere. A rectifier is ``relu``, a ``clamp`` or ``threshold`` at 0 from below, or ``relu6``.
    """

    def __init__(self, rule: Backwards) -> None:
        names = ("relu", "relu6", "hardtanh", "clamp", "clamp_min", "threshold")
        super().__init__(dict.fromkeys(names, self._rectify))
        self.rule, self.met = rule, 0

    def _rectify(self, call: Call) -> Tensor:
        value, x = call.run(), call.args[0]
        if not depends(x) or not is_rectifier(call):
            return value
        self.met += 1
        route = value if self.rule == "guided" else x
        return steered(value, route, lambda g: g.clamp(min=0))


def is_rectifier(call: Call) -> bool:
    """Whether the operation is ``max(x, 0)``, at most cut off at 6."""
    if call.name in ("relu", "relu6"):
        return True
    if call.name == "threshold":
        return _is(call.get(1, "threshold"), 0) and _is(call.get(2, "value"), 0)
    if call.name == "clamp_min":
        return _is(call.get(1, "min"), 0)
    low, high = ("min_val", "max_val") if call.name == "hardtanh" else ("min", "max")
    above = call.get(2, high, 1.0 if call.name == "hardtanh" else None)
    return _is(call.get(1, low, -1.0 if call.name == "hardtanh" else None), 0) and (above is None or _is(above, 6))


def _is(value: Any, number: float) -> bool:
    return isinstance(value, (int, float)) and value == number


@dataclass(frozen=True)
class GuidedGradient:
    """The gradient of the target's output at the pixels with guided rectifiers, ``(b, 3, H, W)``, and their number."""

    rule: Backwards
    output: Output

    def __call__(
        self, detector: Any, images: Tensor, targets: Tensor, extras: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        mode = GuidedRectifiers(self.rule)
        values = target_values(detector, images, targets, self.output, mode)
        (gradient,) = torch.autograd.grad(values.sum(), images)
        return gradient, torch.full((len(images),), mode.met)


class GuidedBackprop:
    """Guided backpropagation (Springenberg et al. 2014, arXiv:1412.6806, section 3.4) or, with ``rule=deconvnet``, the
    backward pass of Zeiler and Fergus (2013, arXiv:1311.2901), of the target's logit.

    ``(H, W)``, never negative. The gradient has the form of equation for *guided backpropagation* in figure 1:
    ``R_l = (f_l > 0) (R_{l+1} > 0) R_{l+1}`` at every rectifier. Equal to captum's ``GuidedBackprop`` and
    ``Deconvolution`` before the reduction, where those can be used: they replace modules of class ``ReLU``; here
    functional rectifiers, exported programs and ONNX graphs are guided too, and rectifiers cut off at 6. Other
    activations (GELU, SiLU) keep their derivative. A network without a rectifier has no such map. The map depends
    little on what the last layers learned (Adebayo et al. 2018). Details: ``rectifiers`` met.
    """

    Parameters = GuidedBackpropParameters

    def __init__(self, parameters: GuidedBackpropParameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        p = self.parameters
        if reason := lacks(request.detector, "operations"):
            return Explanation.none(reason)
        image = to_device(request.picture.image, request.detector.device)
        gradient, met = yield Apply(GuidedGradient(p.rule, p.output), image[None], request.target, output=p.output)
        if not met[0]:
            return Explanation.none("no rectifier in the network: there is nothing to guide")
        zero = "no positive gradient passes the rectifiers: the map is zero everywhere"
        return explained(over_channels(gradient[0], p.reduction), zero, rectifiers=float(met[0]))

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=1, backward=1)
