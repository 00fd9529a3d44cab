"""Choosing the layer that class activation maps look at, and the run of one that runs several times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice, pairwise

import torch
from torch import Tensor, nn

from xaibench.api import ModelError
from xaibench_models.grids import Channels, Grid, Places, proportional, readings
from xaibench_models.layers import Forward, Seen, caught, watch, with_parameters
from xaibench_models.runs import acting, gradients_at

_FEW_LAYERS = 6
_FIRST = 4  # enough for most convolutional networks, and little to go back through
_AT_ONCE = 32  # layers looked at in one pass: one a pass would take minutes, all at once the memory of training


def places_of(seen: Sequence[Seen], pictures: int, size: tuple[int, int]) -> Places:
    """Where the layers lie, the ambiguous ones as the layers around them.

    A layer that computes over no axis of channels (an activation function, a sum) has those of the last layer before it
    that gave a tensor of the same shape.
    """
    known: list[tuple[int, int]] = []
    channels_last: set[str] = set()
    carried: dict[tuple[int, ...], Channels] = {}
    for s in seen:
        if len(s.shape) != 4 or s.shape[0] != pictures:
            continue
        first, last = readings(s.shape, size)
        channels = s.channels or carried.get(s.shape)
        if first != last:
            channels = "last" if last else "first"
        if channels is not None:
            carried[s.shape] = channels
        if channels == "last" and last and first:
            channels_last.add(s.layer)
        if not s.hidden:
            known.append((s.shape[1], s.shape[2]) if channels == "last" and last else (s.shape[2], s.shape[3]))
    return Places(size, tuple(known), frozenset(channels_last))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A layer that lies on the picture: the grid of its last run that does, and the numbers of all such runs."""

    grid: Grid
    runs: frozenset[int]


def candidates(seen: Sequence[Seen], pictures: int, places: Places) -> dict[str, Candidate]:
    """Layers whose activation lies on the picture, the last one first; of several that give one tensor, the outermost.

    A layer that runs several times stands at its last tensor that lies on the picture. Left out are pooled tensors,
    single cells, what does not have the picture's proportions, and the inside of an attention: its weights (tokens by
    tokens) and its projections to queries, keys and values.
    """
    tokens = _token_counts(seen, pictures)
    runs: dict[str, set[int]] = {}
    for s in seen:
        if _lies(s, places, pictures, tokens) is not None:
            runs.setdefault(s.layer, set()).add(s.run)
    found: dict[str, Candidate] = {}
    taken: set[tuple[int, int]] = set()
    done: set[str] = set()
    for s in reversed(seen):
        grid = _lies(s, places, pictures, tokens)
        if grid is None or s.layer in done:
            continue
        done.add(s.layer)
        if s.identity not in taken:
            taken.add(s.identity)
            found[s.layer] = Candidate(grid, frozenset(runs[s.layer]))
    return found


def _lies(seen: Seen, places: Places, pictures: int, tokens: set[int]) -> Grid | None:
    return None if unusable(seen, places, pictures, tokens) else places(seen.layer, seen.shape, pictures)


def unusable(seen: Seen, places: Places, pictures: int, tokens: set[int]) -> str:
    """Why a tensor is no place for a class activation map, in a few words; empty where it is one."""
    grid = places(seen.layer, seen.shape, pictures)
    if grid is None:
        return "not on the picture"
    if grid.height * grid.width < 2:
        return "a single cell"
    if len(seen.shape) == 4 and not proportional(grid.height, grid.width, places.size):
        return "not in the picture's proportions"
    if seen.pooled:
        return "pooled: the layer before it shows more"
    if seen.hidden:
        return "only moves, projects or mixes tokens"
    return "inside an attention" if _inside_attention(seen, tokens) else ""


def _token_counts(seen: Sequence[Seen], pictures: int) -> set[int]:
    return {s.shape[1] if s.shape[0] == pictures else s.shape[0] for s in seen if len(s.shape) == 3}


def _inside_attention(seen: Seen, tokens: set[int]) -> bool:
    if len(seen.shape) == 3:
        return seen.linear
    return seen.shape[2] == seen.shape[3] and seen.shape[2] in tokens


@dataclass(frozen=True, slots=True)
class Chosen:
    """The layer to look at and its grid, or ``limit``: why there is none. ``notes`` tell what is unusual about it."""

    layer: str | None
    grid: Grid | None
    places: Places
    limit: str = ""
    notes: tuple[str, ...] = ()


def run_of(module: nn.Module, forward: Forward, images: Tensor, layer: str, places: Places) -> int:
    """The number, from 0, of the run of ``layer`` whose activation to look at.

    The last that lies on the picture, if one does, and on which the verdict depends.

    Raises :class:`ModelError` where the verdict depends on several that do not feed one another (a network that sees
    the picture and its mirror image): the activation of each is that of a part of the verdict, or lies elsewhere.
    """
    with torch.inference_mode(False), torch.enable_grad(), caught(module, layer) as runs:
        logits = forward(images.clone().requires_grad_(True))
        if len(runs) < 2:  # one that never runs is refused where it is asked for
            return 0
        gradients = gradients_at(logits[:, -1].sum(), runs)
    seen = watch(module, forward, images)
    tokens = _token_counts(seen, len(images))
    on_picture = {s.run for s in seen if s.layer == layer and _lies(s, places, len(images), tokens) is not None}
    with torch.inference_mode(False), torch.enable_grad():
        last, beside = acting(runs, gradients, on_picture)
    if beside:
        raise ModelError(
            f"layer '{layer}' runs {len(runs)} times in a forward pass, and the verdict depends on several of them "
            "side by side (as in test-time augmentation): no single one shows it",
            "name another layer, or give the model without the augmentation",
        )
    return len(runs) - 1 if last is None else last


def choose(module: nn.Module, forward: Forward, images: Tensor, size: tuple[int, int]) -> Chosen:
    """The last layer that lies on the picture and through whose cells the verdict depends on it.

    For a convolutional network that is the last convolutional block before pooling. For a transformer that reads its
    verdict off the class token it is the normalisation at the entry of the last block: behind it the other tokens
    have no influence, and their gradient is zero. Layers that :func:`run_of` refuses are passed over. Where the
    gradient is zero everywhere (a saturated probability), it is the last layer that takes part in the verdict.

    Parameters
    ----------
    forward: pictures to ``(N, C)`` logits, inside autograd.
    """
    seen = watch(module, forward, images)
    places = places_of(seen, len(images), size)
    options = [*candidates(seen, len(images), places).items()]
    limit = "no layer lies on the picture and passes gradients; set target_layer=NAME"
    silent: _Match | None = None
    for some in (options[i:j] for i, j in pairwise((0, _FIRST, *range(_AT_ONCE, len(options) + _AT_ONCE, _AT_ONCE)))):
        found = _first_that_matters(module, forward, images, dict(some), places)
        if found.match is not None:
            return Chosen(found.match.layer, found.match.grid, places, notes=_unusual(module, found.match, seen))
        silent = silent or found.silent
        if found.beside:
            limit = (
                "the layers run several times side by side in a forward pass (as in test-time augmentation), so that "
                "no single activation shows the verdict; give the model without it"
            )
    if silent is None:
        return Chosen(None, None, places, limit)
    zero = f"target layer: the gradient at {silent.layer} and all other layers is 0 on noise; the last one is taken"
    return Chosen(silent.layer, silent.grid, places, notes=(zero, *_unusual(module, silent, seen)))


@dataclass(frozen=True, slots=True)
class _Match:
    """Run ``run`` of ``count`` of a layer."""

    layer: str
    grid: Grid
    run: int
    count: int


@dataclass(frozen=True, slots=True)
class _Found:
    """The first layer with a gradient at its cells, the first whose gradient is 0; whether one runs side by side."""

    match: _Match | None = None
    silent: _Match | None = None
    beside: bool = False


def _first_that_matters(
    module: nn.Module, forward: Forward, images: Tensor, options: Mapping[str, Candidate], places: Places
) -> _Found:
    """The first layer at whose cells the last class's logit has a gradient."""
    beside, silent = False, None
    with torch.enable_grad(), ExitStack() as stack:
        found = {layer: stack.enter_context(caught(module, layer)) for layer in options}
        try:
            value = forward(images.clone().requires_grad_(True))[:, -1].sum()
            every = iter(gradients_at(value, [run for runs in found.values() for run in runs]))
        except RuntimeError:  # no gradient passes here, for one reason or another
            return _Found()
        for layer, runs in found.items():
            gradients = [*islice(every, len(runs))]
            last, side_by_side = acting(runs, gradients, options[layer].runs)
            gradient = None if last is None else gradients[last]
            grid = None if gradient is None else places(layer, gradient.shape, len(images))
            if last is None or gradient is None or grid is None or last not in options[layer].runs:
                continue
            beside |= side_by_side
            match = _Match(layer, grid, last, len(runs))
            if not side_by_side and bool(grid(gradient).abs().sum() > 0):
                return _Found(match, silent, beside)
            if not side_by_side and not bool(gradient.any()):
                silent = silent or match
    return _Found(None, silent, beside)


def _unusual(module: nn.Module, match: _Match, seen: Sequence[Seen]) -> tuple[str, ...]:
    """What a reader should know of a layer that was chosen."""
    lines: list[str] = []
    if match.count > 1:
        lines.append(f"target layer: {match.layer} runs {match.count} times; its run {match.run + 1} is looked at")
    own = set(with_parameters(module))
    order = [(s.layer, s.run) for s in seen]
    if (match.layer, match.run) in order:
        after = {layer for layer, _ in order[order.index((match.layer, match.run)) + 1 :]} & own
        if len(own) >= _FEW_LAYERS and 2 * len(after) > len(own):
            lines.append(
                f"target layer: {match.layer} lies far from the verdict: {len(after)} of {len(own)} layers with "
                "weights come after it"
            )
    return tuple(lines)
