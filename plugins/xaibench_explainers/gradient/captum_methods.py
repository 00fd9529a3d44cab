"""Attribution classes of captum by name, held to the invariants of this framework."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import torch
from pydantic import Field, field_validator
from torch import Tensor

from xaibench.api import (
    Backward,
    ExplainRequest,
    Explanation,
    Forward,
    Gradients,
    Output,
    Parameters,
    Passes,
    PassQuery,
    Programme,
    UsageError,
    to_device,
)
from xaibench_explainers.gradient.calls_as_requests import Ask, Generators, as_programme
from xaibench_explainers.gradient.propagation.common import explained
from xaibench_explainers.perturbation.regions import no_signal
from xaibench_perturbation import CHUNK, SIGMA, PictureFill, background_of, grid_segments

Options = Mapping[str, Any]
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Wrapped:
    """One class of captum: the pictures that it asks for, given its options, the size and the cells of the grid.

    ``at_once`` is its option for the pictures of one call; ``masked``: it gives one number to all channels;
    ``draws``: at random; ``fits``: it needs scikit-learn, which captum does not install; ``once``: it asks once, for
    the gradients at the picture itself.
    """

    pictures: Callable[[Options, Size, int], int]
    at_once: str = ""
    gradients: bool = False
    baselines: bool = True
    grid: bool = False
    masked: bool = False
    draws: bool = False
    fits: bool = False
    once: bool = False


def _counted(option: str, default: int) -> Callable[[Options, Size, int], int]:
    return lambda options, size, cells: int(options.get(option, default))


def _windows(options: Options, size: Size, cells: int) -> int:
    """Positions of the occluding window, and the picture itself."""
    shape, strides = options["sliding_window_shapes"], options["strides"]
    steps = strides if isinstance(strides, tuple) else (strides,) * 3
    positions: int = math.prod(-(-(n - w) // s) + 1 for n, w, s in zip((3, *size), shape, steps, strict=True))
    return positions + 1


_ON_GRID: dict[str, Any] = {"at_once": "perturbations_per_eval", "grid": True, "masked": True}
WRAPPED: Mapping[str, Wrapped] = {
    "FeatureAblation": Wrapped(lambda o, size, cells: cells + 1, **_ON_GRID),
    "GradientShap": Wrapped(_counted("n_samples", 5), gradients=True, draws=True),
    "InputXGradient": Wrapped(lambda o, size, cells: 1, gradients=True, baselines=False, once=True),
    "IntegratedGradients": Wrapped(_counted("n_steps", 50), "internal_batch_size", gradients=True),
    "KernelShap": Wrapped(_counted("n_samples", 25), draws=True, fits=True, **_ON_GRID),
    "Lime": Wrapped(_counted("n_samples", 25), draws=True, fits=True, **_ON_GRID),
    "NoiseTunnel": Wrapped(
        _counted("nt_samples", 5), "nt_samples_batch_size", gradients=True, baselines=False, draws=True
    ),
    "Occlusion": Wrapped(_windows, "perturbations_per_eval", masked=True),
    "Saliency": Wrapped(lambda o, size, cells: 1, gradients=True, baselines=False, once=True),
    "ShapleyValueSampling": Wrapped(
        lambda o, size, cells: int(o.get("n_samples", 25)) * cells + 1, draws=True, **_ON_GRID
    ),
}
REFUSED: Mapping[str, str] = {
    "DeepLift": "it needs every activation to be a module of its own: use deeplift",
    "DeepLiftShap": "it needs every activation to be a module of its own: use deeplift",
    "Deconvolution": "it needs every rectifier to be a module: use guided-backprop:rule=deconvnet",
    "FeaturePermutation": "it shuffles the pictures of a batch, so that maps depend on batch mates: use occlusion",
    "GuidedBackprop": "it needs every rectifier to be a module: use guided-backprop",
    "GuidedGradCam": "it needs every rectifier to be a module: use gradcam or guided-backprop",
    "LRP": "it needs every operation to be a module: use lrp",
    "ShapleyValues": "it asks for every order of the features: use kernel-shap, exact on few segments",
}
_OURS = frozenset((
    "additional_forward_args", "args", "baselines", "feature_mask", "inputs", "kwargs", "return_convergence_delta",
    "return_input_shape", "self", "show_progress", "target",
))  # fmt: skip


class CaptumParameters(Parameters):
    """Parameters of ``captum``."""

    method: str = Field(description=f"class of captum.attr: {', '.join(WRAPPED)}")
    options: str = Field("{}", description='arguments of its attribute(), as JSON: {"n_steps": 20}')
    baseline: PictureFill = Field("black", description="baseline of classes that take one")
    sigma: float = Field(SIGMA, gt=0, le=1, description="blur of baseline=blur, as a share of the shorter side")
    cells: int = Field(64, ge=2, description="cells of the grid, for classes that take features to be cells")
    output: Output = Field("logit", description="what is explained")

    @field_validator("options", mode="before")
    @classmethod
    def _as_json(cls, value: object) -> str:
        """One form for a table of a run file, an inline table of a flag and JSON."""
        try:
            found = json.loads(value) if isinstance(value, str) else value
        except RecursionError:
            raise ValueError("options are nested too deep") from None
        if not isinstance(found, Mapping):
            raise ValueError('options are a table, such as {"n_steps": 20}')
        return json.dumps(found, sort_keys=True)


def full_options(parameters: CaptumParameters, size: Size) -> dict[str, Any]:
    """The options with lists as tuples; ``Occlusion`` gets windows of an eighth of the shorter side, side by side."""
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(parameters.options).items()}
    if parameters.method != "Occlusion":
        return given
    side = max(1, min(size) // 8)
    return {"sliding_window_shapes": (3, side, side), "strides": (3, side, side)} | given


# ---- captum's calls as requests ---------------------------------------------------------------------------------


class NotFiniteScore(Exception):
    """A black box gave a score that captum's regressions refuse."""


@dataclass(slots=True)
class Answers:
    """What captum calls: pictures to ``(n,)`` outputs of one target, asked of the engine, with a count.

    ``seen`` are the answers of a black box. Raises :class:`NotFiniteScore` where one of them is no number.
    """

    ask: Ask
    target: int
    output: Output
    gradients: bool
    asked: int = 0
    seen: list[Tensor] = field(default_factory=list)

    def __call__(self, images: Tensor) -> Tensor:
        self.asked += len(images)
        if self.gradients:
            values: Tensor = _Differentiated.apply(images, self)  # type: ignore[no-untyped-call]
            return values
        scores: Tensor = self.ask(Forward(images.detach(), self.output))[:, self.target]
        if not scores.isfinite().all():
            raise NotFiniteScore
        self.seen.append(scores)
        return scores


class _Differentiated(torch.autograd.Function):
    """Outputs of pictures, whose gradients come with them: an output depends on its own picture alone."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, answers: Answers) -> Tensor:
        reply: Gradients = answers.ask(Backward(images.detach(), answers.target, answers.output))
        ctx.save_for_backward(reply.gradients)
        return reply.values

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None]:
        (gradients,) = ctx.saved_tensors
        return outer[0][:, None, None, None] * gradients, None


def attribution(parameters: CaptumParameters, ask: Ask, image: Tensor, target: int, baseline: Tensor) -> Tensor:
    """``(H, W)`` attribution of one picture ``(3, H, W)``.

    NaN where a black box's score is not finite; 0 where its scores are equal but for rounding, of which captum's Kernel
    SHAP would draw a map.
    """
    p, wrapped = parameters, WRAPPED[parameters.method]
    size = (image.shape[1], image.shape[2])
    answers = Answers(ask, target, p.output, wrapped.gradients)
    options = full_options(p, size)
    if wrapped.at_once:
        options = {wrapped.at_once: CHUNK} | options
    if wrapped.baselines:
        options["baselines"] = baseline[None]
    if wrapped.grid:
        options["feature_mask"] = to_device(grid_segments(*size, p.cells), image.device)[None, None]
    x = image[None].detach().clone().requires_grad_(wrapped.gradients)
    try:
        with torch.set_grad_enabled(wrapped.gradients):
            values: Tensor = _instance(p.method, answers).attribute(x, target=None, **options)[0].detach()
    except NotFiniteScore:
        return torch.full_like(image[0], torch.nan)
    stated = pictures_asked(p, size)
    if answers.asked > stated:
        raise RuntimeError(f"captum's {p.method} asked for {answers.asked} pictures, stated are {stated}")
    if answers.seen and no_signal(torch.cat(answers.seen)):
        return torch.zeros_like(image[0])
    return values.mean(dim=0) if wrapped.masked else values.sum(dim=0)


def attribution_from(parameters: CaptumParameters, image: Tensor, gradients: Tensor) -> Tensor:
    """``(H, W)`` attribution of one picture ``(3, H, W)`` by a class that asks once, from the ``(3, H, W)`` gradients.

    Raises ``RuntimeError`` where captum asks for anything but the gradients at this picture.
    """
    from captum import attr as captum

    def known(forward: object, inputs: tuple[Tensor, ...], *more: object) -> tuple[Tensor, ...]:
        if len(inputs) != 1 or not torch.equal(inputs[0], image[None]):
            raise RuntimeError(f"captum's {parameters.method} asked for another picture than the explained one")
        return (gradients[None],)

    def forward(images: Tensor) -> Tensor:
        raise RuntimeError(f"captum's {parameters.method} asked for outputs, stated are gradients alone")

    method = getattr(captum, parameters.method)(forward)
    method.gradient_func = known
    x = image[None].detach().clone().requires_grad_(True)
    options = full_options(parameters, (image.shape[1], image.shape[2]))
    with torch.no_grad():
        values: Tensor = method.attribute(x, target=None, **options)[0]
    return values.sum(dim=0)


def _instance(method: str, answers: Answers) -> Any:
    from captum import attr as captum

    made = captum.Saliency(answers) if method == "NoiseTunnel" else answers
    return getattr(captum, method)(made)


def pictures_asked(parameters: CaptumParameters, size: Size) -> int:
    """Pictures that captum forwards for one map."""
    wrapped = WRAPPED[parameters.method]
    cells = int(grid_segments(*size, parameters.cells).max()) + 1 if wrapped.grid else 0
    return wrapped.pictures(full_options(parameters, size), size, cells)


class Captum:
    """``captum:CLASS``: the attribution of a class of ``captum.attr`` for the target's logit, ``(H, W)``, signed.

    Gradient classes are summed over channels; classes that switch cells or windows of all channels give their one
    number. ``NoiseTunnel`` goes over ``Saliency``. Features are the cells of a grid, where captum's default would be
    single values; everything else is as captum has it (25 samples for Lime and Kernel SHAP are few).

    Every picture is explained on its own, and what captum calls is asked of the engine, which joins the calls for many
    pictures; an output and its gradient are one request. ``Saliency`` and ``InputXGradient`` are given the gradients of
    the engine in the place of their own ``gradient_func``. Draws come from global generators, seeded from the streams
    while captum runs. On another kind of device they differ, as they are drawn there. Passes are those that the class
    is known to ask for; more are an error.

    Raises :class:`UsageError` for a name that captum does not have, classes that need modules (and says what to use
    instead), classes that need scikit-learn where it is missing, and options that the class does not take.
    """

    Parameters = CaptumParameters

    def __init__(self, parameters: CaptumParameters) -> None:
        self.parameters = parameters
        _check(parameters)
        self.stochastic = WRAPPED[parameters.method].draws

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"gradients"} if WRAPPED[self.parameters.method].gradients else ())

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        p = self.parameters
        image = to_device(request.picture.image, request.detector.device)
        baseline = image
        if WRAPPED[p.method].baselines:
            baseline = yield from background_of(request, p.baseline, p.sigma)
        if WRAPPED[p.method].once:  # captum's own call in a thread costs as much as a pass of a small network
            reply: Gradients = yield Backward(image[None], request.target, p.output)
            values = attribution_from(p, image, reply.gradients[0])
            return explained(values, f"captum's {p.method} is zero everywhere")
        generators = Generators(request.streams.seed("captum"), image.device) if self.stochastic else None
        values = yield from as_programme(
            lambda ask: attribution(p, ask, image, request.target, baseline), generators or nullcontext()
        )
        return explained(values, f"captum's {p.method} is zero everywhere")

    def passes(self, query: PassQuery) -> Passes:
        cost = pictures_asked(self.parameters, query.facts.input_size)
        return Passes(forward=cost, backward=cost if self.needs else 0)


def _check(parameters: CaptumParameters) -> None:
    method = parameters.method
    if method in REFUSED:
        raise UsageError(f"captum:{method} cannot be used: {REFUSED[method].partition(': ')[0]}", _mend(method))
    usable = [name for name, wrapped in WRAPPED.items() if not wrapped.fits or find_spec("sklearn")]
    if method not in WRAPPED:
        raise UsageError(f"captum: no class '{method}' that can be used", f"there are {', '.join(usable)}")
    if method not in usable:
        raise UsageError(
            f"captum:{method} needs scikit-learn, which is not installed",
            "install scikit-learn, or use lime or kernel-shap, which are built in",
        )
    from captum import attr as captum

    taken = sorted(set(inspect.signature(getattr(captum, method).attribute).parameters) - _OURS)
    wrong = next((name for name in json.loads(parameters.options) if name not in taken), None)
    if wrong is not None:
        raise UsageError(f"captum:{method} has no option '{wrong}'", f"it takes {', '.join(taken) or 'none'}")


def _mend(method: str) -> str:
    return REFUSED[method].partition(": ")[2]
