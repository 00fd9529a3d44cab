"""Inner layers: catching an activation inside autograd, bringing it to a grid, and choosing the one to look at."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from xaibench.api import ModelError
from xaibench_models.runs import acting, gradients_at

LayerLayout: TypeAlias = Literal["NCHW", "NHWC", "NLC", "LNC"]
Forward: TypeAlias = Callable[[Tensor], Tensor]
Place: TypeAlias = Callable[[Sequence[int]], "Grid | None"]

_MOST_EXTRA_TOKENS = 8
_FEWEST_TOKENS = 4
_FIRST = 4  # enough for most convolutional networks, and little to go back through
_AT_ONCE = 32  # layers looked at in one pass: one a pass would take minutes, all at once the memory of training
_POOLING = (
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AvgPool2d,
    nn.MaxPool2d,
    nn.LPPool2d,
    nn.FractionalMaxPool2d,
)


# ---- grids ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Grid:
    """How a layer's activation lies on the picture.

    ``NLC`` and ``LNC`` are token sequences whose first ``extra`` tokens (class, registers) are no part of the picture.
    """

    layout: LayerLayout
    height: int
    width: int
    extra: int = 0

    def __call__(self, tensor: Tensor) -> Tensor:
        """An activation, or a gradient of its shape, as ``(N, K, h, w)``."""
        if self.layout == "NCHW":
            return tensor
        if self.layout == "NHWC":
            return tensor.permute(0, 3, 1, 2)
        tokens = tensor if self.layout == "NLC" else tensor.transpose(0, 1)
        n, _, channels = tokens.shape
        return tokens[:, self.extra :].reshape(n, self.height, self.width, channels).permute(0, 3, 1, 2)

    def __str__(self) -> str:
        left_out = f", the first {self.extra} tokens left out" if self.extra else ""
        return f"{self.height}x{self.width}, {self.layout}{left_out}"


def grid_of(
    shape: Sequence[int], pictures: int, size: tuple[int, int], known: Sequence[tuple[int, int]] = ()
) -> Grid | None:
    """How an activation of this shape lies on pictures of ``size`` (H, W); None where it cannot.

    Four axes are channels first unless only channels last has the picture's proportions. Three axes are tokens: their
    grid is the latest of the ``known`` ones (h, w) that fits with at most 8 tokens before it, else the largest with
    the picture's proportions.
    """
    if len(shape) == 4 and shape[0] == pictures:
        last = _proportional(shape[1], shape[2], size) and not _proportional(shape[2], shape[3], size)
        return Grid("NHWC", shape[1], shape[2]) if last else Grid("NCHW", shape[2], shape[3])
    if len(shape) != 3 or pictures not in shape[:2]:
        return None
    layout: LayerLayout = "NLC" if shape[0] == pictures else "LNC"
    length = shape[1] if layout == "NLC" else shape[0]
    for height, width in (*reversed(known), *_grids(length, size)):
        if length >= _FEWEST_TOKENS and 0 <= length - height * width <= _MOST_EXTRA_TOKENS:
            return Grid(layout, height, width, length - height * width)
    return None


def _proportional(height: int, width: int, size: tuple[int, int]) -> bool:
    slack = 0 if size[0] == size[1] else max(size)
    return abs(height * size[1] - width * size[0]) <= slack


def _grids(length: int, size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Grids of at most ``length`` cells with the picture's proportions, largest first."""
    for height in range(length, 0, -1):
        width = round(height * size[1] / size[0])
        if 0 < height * width <= length and _proportional(height, width, size):
            yield height, width


# ---- names ------------------------------------------------------------------------------------------------------


class NamedLayers(nn.Module):
    """A module whose layers go by other names than its sub-modules' (the tensors of an ONNX graph).

    ``hidden`` names those that are no place to look at the picture: the inside of an attention, projections.
    """

    hidden: frozenset[str] = frozenset()

    def named_layers(self) -> dict[str, nn.Module]:
        """Every layer by its name, in the order in which they run."""
        raise NotImplementedError


def layers_of(module: nn.Module) -> dict[str, nn.Module]:
    """Every layer that can be named: the sub-modules, or what a :class:`NamedLayers` says."""
    if isinstance(module, NamedLayers):
        return module.named_layers()
    return {name: inner for name, inner in module.named_modules() if name}


def with_parameters(module: nn.Module) -> tuple[str, ...]:
    """Layers that have parameters of their own, in the order of definition (of a graph: of execution)."""
    return tuple(name for name, inner in layers_of(module).items() if [*inner.parameters(recurse=False)])


# ---- catching ---------------------------------------------------------------------------------------------------


@contextmanager
def caught(
    module: nn.Module, layer: str, edit: Callable[[Tensor], Tensor] | None = None, run: int = 0
) -> Iterator[list[Tensor]]:
    """Catch what ``layer`` gives while the context lasts, one tensor a run of it.

    ``edit`` changes what goes on of the run with the number ``run``.

    What goes on through the network is a copy of the tensor caught, so that gradients reach it, and a ReLU in place
    after the layer does not change it.
    """
    found: list[Tensor] = []

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        first = output[0] if isinstance(output, tuple) else output
        if not isinstance(first, Tensor):
            raise ModelError(
                f"layer '{layer}' gives {type(first).__name__}, not a tensor", "set target_layer to another"
            )
        kept = first.clone() if first.requires_grad else first.detach().clone().requires_grad_(torch.is_grad_enabled())
        found.append(kept)
        on = edit(kept) if edit and len(found) == run + 1 else kept.clone()
        return (on, *output[1:]) if isinstance(output, tuple) else on

    handle = named_layer(module, layer).register_forward_hook(hook)
    try:
        yield found
    finally:
        handle.remove()


def named_layer(module: nn.Module, layer: str) -> nn.Module:
    """The sub-module of that name. Raises :class:`ModelError` with near matches."""
    layers = layers_of(module)
    names = list(layers)
    if layer not in layers:
        near = difflib.get_close_matches(layer, names, n=3, cutoff=0.4) or names[-3:]
        hint = f"near matches: {', '.join(near)}" if near else "it has no layers that can be named"
        raise ModelError(f"the model has no layer '{layer}'", hint)
    return layers[layer]


def run_of(module: nn.Module, forward: Forward, images: Tensor, layer: str) -> int:
    """The number, from 0, of the run of ``layer`` whose activation to look at: the last that the verdict depends on.

    Raises :class:`ModelError` where the verdict depends on several that do not feed one another (a network that sees
    the picture and its mirror image): the activation of each is that of a part of the verdict, or lies elsewhere.
    """
    with torch.inference_mode(False), torch.enable_grad(), caught(module, layer) as runs:
        logits = forward(images.clone().requires_grad_(True))
        if len(runs) < 2:  # one that never runs is refused where it is asked for
            return 0
        last, beside = acting(runs, gradients_at(logits[:, -1].sum(), runs))
    if beside:
        raise ModelError(
            f"layer '{layer}' runs {len(runs)} times in a forward pass, and the verdict depends on several of them "
            "side by side (as in test-time augmentation): no single one shows it",
            "name another layer, or give the model without the augmentation",
        )
    return len(runs) - 1 if last is None else last


# ---- choosing ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """A layer's tensor in one forward pass. ``pooled``: it left a pooling layer. ``linear``: from a projection.
    ``hidden``: no place to look (:class:`NamedLayers`)."""

    layer: str
    identity: int
    shape: tuple[int, ...]
    pooled: bool
    linear: bool
    hidden: bool = False


def watch(module: nn.Module, forward: Forward, images: Tensor) -> list[Seen]:
    """Every tensor that a layer gave for ``images``, in the order in which the layers finished."""
    seen: list[Seen] = []
    alive: list[Tensor] = []  # so that no two tensors share an id

    def watcher(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.is_floating_point():
                alive.append(output)
                pooled = _pools(layer) or any(s.identity == id(output) and s.pooled for s in seen)
                linear = isinstance(layer, nn.Linear)
                seen.append(Seen(name, id(output), tuple(output.shape), pooled, linear, name in hidden))

        return hook

    hidden = module.hidden if isinstance(module, NamedLayers) else frozenset[str]()
    handles = [m.register_forward_hook(watcher(name)) for name, m in layers_of(module).items()]
    try:
        with torch.no_grad():
            forward(images)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _pools(layer: nn.Module) -> bool:
    return isinstance(layer, _POOLING) or getattr(layer, "pools", False) is True


def known_grids(seen: Sequence[Seen], pictures: int) -> tuple[tuple[int, int], ...]:
    """The ``(h, w)`` of every channels-first activation, in order: hints for the grid of later tokens."""
    shown = (s.shape for s in seen if len(s.shape) == 4 and s.shape[0] == pictures and not s.hidden)
    return tuple((shape[2], shape[3]) for shape in shown)


def candidates(seen: Sequence[Seen], pictures: int, size: tuple[int, int]) -> dict[str, Grid]:
    """Layers whose activation lies on the picture, the last one first; of several that give one tensor, the outermost.

    A layer that runs several times stands at its last tensor that lies on the picture. Left out are pooled tensors,
    single cells, what does not have the picture's proportions, and the inside of an attention: its weights (tokens by
    tokens) and its projections to queries, keys and values.
    """
    tokens = {s.shape[1] if s.shape[0] == pictures else s.shape[0] for s in seen if len(s.shape) == 3}
    known = known_grids(seen, pictures)
    found: dict[str, Grid] = {}
    taken: set[int] = set()
    for s in reversed(seen):
        grid = grid_of(s.shape, pictures, size, known)
        if grid is None or s.pooled or s.hidden or grid.height * grid.width < 2 or _inside_attention(s, tokens):
            continue
        proportional = len(s.shape) == 3 or _proportional(grid.height, grid.width, size)
        if proportional and s.identity not in taken:
            taken.add(s.identity)
            found.setdefault(s.layer, grid)
    return found


def _inside_attention(seen: Seen, tokens: set[int]) -> bool:
    if len(seen.shape) == 3:
        return seen.linear
    return seen.shape[2] == seen.shape[3] and seen.shape[2] in tokens


@dataclass(frozen=True, slots=True)
class Chosen:
    """The layer to look at and its grid, or ``limit``: why there is none. ``known`` are grids seen on the way."""

    layer: str | None
    grid: Grid | None
    known: tuple[tuple[int, int], ...]
    limit: str = ""


def choose(module: nn.Module, forward: Forward, images: Tensor, size: tuple[int, int]) -> Chosen:
    """The last layer that lies on the picture and through whose cells the verdict depends on it.

    For a convolutional network that is the last convolutional block before pooling. For a transformer that reads its
    verdict off the class token it is the normalisation at the entry of the last block: behind it the other tokens
    have no influence, and their gradient is zero. Layers that :func:`run_of` refuses are passed over.

    Parameters
    ----------
    forward: pictures to ``(N, C)`` logits, inside autograd.
    """
    seen = watch(module, forward, images)
    options = [*candidates(seen, len(images), size).items()]
    known = known_grids(seen, len(images))
    limit = "no layer lies on the picture and passes gradients; set target_layer=NAME"
    place = partial(grid_of, pictures=len(images), size=size, known=known)
    for some in (options[i:j] for i, j in pairwise((0, _FIRST, *range(_AT_ONCE, len(options) + _AT_ONCE, _AT_ONCE)))):
        layer, beside = _first_that_matters(module, forward, images, dict(some), place)
        if layer is not None:
            return Chosen(layer, dict(some)[layer], known)
        if beside:
            limit = (
                "the layers run several times side by side in a forward pass (as in test-time augmentation), so that "
                "no single activation shows the verdict; give the model without it"
            )
    return Chosen(None, None, known, limit)


def _first_that_matters(
    module: nn.Module, forward: Forward, images: Tensor, options: Mapping[str, Grid], place: Place
) -> tuple[str | None, bool]:
    """The first layer at whose cells the last class's logit has a gradient; whether one runs side by side."""
    beside = False
    with torch.enable_grad(), ExitStack() as stack:
        found = {layer: stack.enter_context(caught(module, layer)) for layer in options}
        try:
            value = forward(images.clone().requires_grad_(True))[:, -1].sum()
            every = iter(gradients_at(value, [run for runs in found.values() for run in runs]))
        except RuntimeError:  # no gradient passes here, for one reason or another
            return None, False
        for layer, runs in found.items():
            gradients = [*islice(every, len(runs))]
            last = next((g for g in reversed(gradients) if g is not None), None)
            if last is None or place(last.shape) != options[layer] or not bool(options[layer](last).abs().sum() > 0):
                continue
            if not acting(runs, gradients)[1]:
                return layer, beside
            beside = True
    return None, beside
