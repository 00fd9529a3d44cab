"""Layer-wise relevance propagation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import Apply, ExplainRequest, Explanation, Output, Parameters, Passes, PassQuery, Programme, to_device
from xaibench_explainers.gradient.propagation.common import (
    as_rows,
    as_text,
    explained,
    group_norm,
    lacks,
    layer_norm,
    steered,
    target_values,
)
from xaibench_operations import LINEAR, MAX_POOLS, Call, Linear, Operations, as_linear, batch_norm_affine, depends

Rule = Literal["epsilon", "gamma", "alpha1beta0", "epsilon-plus"]

ACTIVATIONS = (
    "celu", "clamp", "clamp_max", "clamp_min", "elu", "erf", "gelu", "hardsigmoid", "hardswish", "hardtanh",
    "leaky_relu", "mish", "prelu", "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "tanh",
    "threshold",
)  # fmt: skip
PASSING = frozenset((
    *MAX_POOLS, "T", "_to_copy", "_unsafe_view", "add", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "adaptive_max_pool1d", "adaptive_max_pool2d", "_adaptive_avg_pool2d", "alias", "alpha_dropout", "amax",
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "broadcast_to", "cat", "chunk", "clone", "constant_pad_nd", "contiguous",
    "cumsum", "diagonal", "double", "dropout", "dropout1d", "dropout2d", "expand", "expand_as", "feature_alpha_dropout",
    "feature_dropout", "flatten", "flip", "float", "gather", "get", "getitem", "half", "bfloat16", "hstack", "index",
    "index_select", "interpolate", "masked_fill", "max", "mean", "moveaxis", "movedim", "narrow", "neg", "pad",
    "permute", "pixel_shuffle", "pixel_unshuffle", "ravel", "repeat", "repeat_interleave", "reshape", "reshape_as",
    "roll", "rsub", "select", "slice", "softmax", "split", "split_with_sizes", "squeeze", "stack", "sub", "sum",
    "swapaxes", "t", "tile", "to", "transpose", "type", "type_as", "unbind", "unflatten", "unfold", "unsqueeze",
    "upsample_bicubic2d", "upsample_bilinear2d", "upsample_nearest2d", "view", "view_as", "vstack", "where",
))  # fmt: skip
"""Operations whose gradient carries relevance on as it should: linear ones, maxima (the winner takes all), sums
(shares in proportion), and softmax."""

_TINY = 1e-9
T = TypeVar("T")


class LrpParameters(Parameters):
    """Parameters of ``lrp``."""

    rule: Rule = Field("epsilon", description="how relevance is shared out; epsilon-plus: alpha1beta0 in convolutions")
    epsilon: float = Field(1e-6, ge=0, description="takes relevance from what has little to give")
    gamma: float = Field(0.25, gt=0, description="rule=gamma: weight of what speaks for an output")
    output: Output = Field("logit", description="what is explained")


def stabilised(value: Tensor, epsilon: float) -> Tensor:
    """``value`` moved away from 0 by ``epsilon``; 0 counts as positive."""
    return value + torch.where(value < 0, -epsilon, epsilon)


class Relevance(Operations):
    """Makes ``autograd`` propagate relevance: the gradient c at every tensor y is ``R / y``, R its relevance.

    In this form linear operations without bias pass c as any gradient, a sum gives its terms shares in proportion,
    and each rule is a change of the gradient: see :class:`Lrp`. ``unruled`` names operations on the way that have no
    rule, once the gradient has been taken.
    """

    def __init__(self, rule: Rule, epsilon: float, gamma: float) -> None:
        rules: dict[str, Callable[[Call], Any]] = dict.fromkeys(LINEAR, self._linear)
        rules |= dict.fromkeys(ACTIVATIONS, self._activation)
        rules |= dict.fromkeys(("mul", "einsum"), self._product)
        rules |= {"batch_norm": self._batch_norm, "div": self._quotient}
        rules |= {"layer_norm": self._layer_norm, "group_norm": self._group_norm}
        super().__init__(rules)
        self.rule, self.epsilon, self.gamma = rule, epsilon, gamma
        self.unruled: list[str] = []
        self._last: tuple[Tensor, Linear, bool] | None = None

    def otherwise(self, call: Call, plain: Callable[[], Any]) -> Any:
        result = plain()
        return result if call.name in PASSING else self._without_rule(call, result)

    def _without_rule(self, call: Call, result: T) -> T:
        """Take note of the operation if relevance arrives there (the divisor of a norm gets none)."""
        tensors: tuple[Any, ...] = tuple(result) if isinstance(result, (tuple, list)) else (result,)
        for tensor in tensors:
            if depends(tensor) and not tensor.is_leaf:
                tensor.register_hook(lambda _: self.unruled.append(call.name))
        return result

    def _linear(self, call: Call) -> Tensor:
        value: Tensor = call.run()
        linear = as_linear(call)
        if linear is None:
            return self._product(call) if call.name == "matmul" else self._without_rule(call, value)
        dense = call.name in ("linear", "addmm", "matmul")
        result = self._shared(value, linear, dense, whole=value)
        self._last = (result, linear, dense)
        return result

    def _batch_norm(self, call: Call) -> Tensor:
        """Taken into the linear operation before it, or an affine operation of its own."""
        value: Tensor = call.run()
        affine = batch_norm_affine(call)
        if affine is None:
            return self._without_rule(call, value)
        x, scale, shift = affine
        if self._last is not None and self._last[0] is x and self._last[1].foldable:
            folded = self._last[1].folded(scale, shift)
            return self._shared(value, folded, self._last[2], whole=folded.apply(folded.x, folded.weight, folded.bias))
        return self._by_epsilon(value, value)

    def _shared(self, value: Tensor, linear: Linear, dense: bool, *, whole: Tensor) -> Tensor:
        """The rule for a linear operation whose result is ``value``, and ``whole`` inside autograd."""
        rule = self.rule if self.rule != "epsilon-plus" else "epsilon" if dense else "alpha1beta0"
        if rule == "epsilon":
            return self._by_epsilon(value, whole)
        speaking, against = _parts(linear)
        if rule == "alpha1beta0":
            return self._scaled(value, speaking)
        favoured = torch.where(value.detach() >= 0, speaking, against)
        return self._scaled(value, whole + self.gamma * favoured)

    def _by_epsilon(self, value: Tensor, route: Tensor) -> Tensor:
        kept = value.detach()
        share = kept / stabilised(kept, self.epsilon) if self.epsilon else torch.ones_like(kept)
        return steered(value, route, lambda c: c * share)

    def _scaled(self, value: Tensor, route: Tensor) -> Tensor:
        """Relevance ``c y`` shared out in proportion to the terms of ``route``."""
        share = value.detach() / stabilised(route.detach(), max(self.epsilon, _TINY))
        return steered(value, route, lambda c: c * share)

    def _activation(self, call: Call) -> Tensor:
        """Passes relevance: ``R_x = R_y``, so that c is multiplied by ``y / x``."""
        value: Tensor = call.run()
        if len(call.operands()) != 1 or not depends(call.args[0]):
            return self._without_rule(call, value)
        x = call.args[0]
        here = x.detach()
        ratio = value.detach() / torch.where(here.abs() < _TINY, stabilised(torch.zeros_like(here), _TINY), here)
        return steered(value, ratio * x)

    def _product(self, call: Call) -> Any:
        """Two factors that depend on the picture get half of the relevance each."""
        value = call.run()
        if call.name == "einsum" and len(call.args) != 3:
            return self._without_rule(call, value)
        return steered(value, value, lambda c: c / 2) if len(call.operands()) == 2 else value

    def _quotient(self, call: Call) -> Tensor:
        """What is divided gets all of the relevance."""
        over, under = call.args[0], call.args[1]
        if call.kwargs.get("rounding_mode") or (depends(under) and not depends(over)):
            return self._without_rule(call, call.run())
        return call.run({1: under.detach()}) if depends(under) else call.run()

    def _layer_norm(self, call: Call) -> Tensor:
        return layer_norm(call, lambda variance: variance.detach().rsqrt())

    def _group_norm(self, call: Call) -> Tensor:
        return group_norm(call, lambda variance: variance.detach().rsqrt())


def _parts(linear: Linear) -> tuple[Tensor, Tensor]:
    """The sums of the positive and of the negative terms of a linear operation, biases among them."""
    x, w, b = linear.x, linear.weight, linear.bias
    up, down, plus, minus = x.clamp(min=0), x.clamp(max=0), w.clamp(min=0), w.clamp(max=0)
    b_plus, b_minus = (None, None) if b is None else (b.clamp(min=0), b.clamp(max=0))
    speaking = linear.apply(up, plus, b_plus) + linear.apply(down, minus, None)
    return speaking, linear.apply(up, minus, b_minus) + linear.apply(down, plus, None)


@dataclass(frozen=True)
class PixelRelevance:
    """``(b, 3, H, W)`` relevances, the target's output ``(b,)``, and the name of an operation without a rule."""

    rule: Rule
    epsilon: float
    gamma: float
    output: Output

    def __call__(
        self, detector: Any, images: Tensor, targets: Tensor, extras: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        mode = Relevance(self.rule, self.epsilon, self.gamma)
        values = target_values(detector, images, targets, self.output, mode)
        (shares,) = torch.autograd.grad(values.sum(), images)
        unruled = min(mode.unruled, default="")
        return shares * images, values, as_rows(unruled, len(images))


class Lrp:
    """Layer-wise relevance propagation (Bach et al. 2015, doi:10.1371/journal.pone.0130140; Montavon et al. 2019,
    doi:10.1007/978-3-030-28954-6_10), from the target's logit to the pixels, summed over channels; signed, positive =
    speaks for the target, in units of the output.

    Relevance R_k of an output ``z_k = sum_j x_j w_jk + b_k`` of a linear operation is shared out among its inputs:

    * ``epsilon``: ``R_j = sum_k x_j w_jk R_k / (z_k + epsilon sign z_k)``;
    * ``gamma``: the terms ``x_j w_jk`` of the sign of z_k count ``1 + gamma`` times, above and below the line;
    * ``alpha1beta0`` (z-plus): positive terms alone, inputs and weights of either sign;
    * ``epsilon-plus``: alpha1beta0 in convolutions, epsilon in dense layers.

    Biases take their share, so that the sum is the output only where there are none. Batch norm is folded into the
    linear operation before it, elsewhere (and the detector's normalisation of pictures) it is a linear operation by
    epsilon. Activations pass relevance on; sums share in proportion; average pools are linear; in a max pool the winner
    takes all; factors that both depend on the picture get half each, a quotient's divisor and the deviation in layer
    and group norm nothing, and softmax the gradient (Achtibat et al. 2024, arXiv:2402.05602). An operation without
    a rule makes the map ``undefined`` and is named. With ``epsilon`` near 0 and no biases, on ReLU nets, the map is
    input x gradient. Pixels are those in [0, 1]: black ones get no relevance.

    Equal to captum's ``LRP`` where that works (modules used once, no functional activation) with the same rules;
    with gamma and alpha1beta0 captum leaves negative biases in the divisor, which here count as terms.
    Details: ``conserved``, the sum of the map over the output.
    """

    Parameters = LrpParameters

    def __init__(self, parameters: LrpParameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        p = self.parameters
        if reason := lacks(request.detector, "operations"):
            return Explanation.none(reason)
        image = to_device(request.picture.image, request.detector.device)
        compute = PixelRelevance(p.rule, p.epsilon, p.gamma, p.output)
        relevance, values, unruled = yield Apply(compute, image[None], request.target, output=p.output)
        if name := as_text(unruled[0]):
            return Explanation.none(f"LRP has no rule for the operation '{name}' of this network")
        value = float(values[0])
        conserved = {"conserved": float(relevance.double().sum()) / value} if value else {}
        return explained(relevance[0].sum(dim=0), "no relevance arrives at the pixels", **conserved)

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=1, backward=1)
