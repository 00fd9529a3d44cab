"""All inner layers of a network with their shapes, and why each is or is not a place to look."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from xaibench.api import LayerShape
from xaibench_models.grids import Places
from xaibench_models.layer_choice import candidates, token_counts, unusable
from xaibench_models.layers import Forward, Seen, watch


def layer_shapes(
    module: nn.Module, forward: Forward, pictures: Tensor, places: Places, chosen: str | None
) -> tuple[LayerShape, ...]:
    """Every layer that gave a tensor, in the order of the runs that they stand for."""
    seen = watch(module, forward, pictures)
    n = len(pictures)
    tokens = token_counts(seen, n, places)
    options = candidates(seen, n, places)
    by_layer: dict[str, list[Seen]] = {}
    for s in seen:
        by_layer.setdefault(s.layer, []).append(s)
    standing = {s: s.layer for s in (_shown(runs, places, n, tokens) for runs in by_layer.values())}
    found = []
    for s in seen:
        if s not in standing:
            continue
        grid = places(s.layer, s.shape, n)
        remark = unusable(s, places, n, tokens)
        if not remark and s.layer not in options:
            remark = "the same tensor as a later layer"
        count = len(by_layer[s.layer])
        if count > 1:
            remark = "; ".join(filter(None, (remark, f"run {s.run + 1} of {count}")))
        found.append(
            LayerShape(
                name=s.layer,
                shape=_of_one_picture(s.shape, n),
                grid=str(grid) if grid is not None else "",
                chosen=s.layer == chosen,
                remark=remark,
            )
        )
    return tuple(found)


def _shown(runs: Sequence[Seen], places: Places, pictures: int, tokens: set[int]) -> Seen:
    """The last run that lies on the picture; the last of all where none does."""
    return next((s for s in reversed(runs) if not unusable(s, places, pictures, tokens)), runs[-1])


def _of_one_picture(shape: tuple[int, ...], pictures: int) -> tuple[int, ...]:
    axis = next((i for i, length in enumerate(shape[:2]) if length == pictures), None)
    return tuple(1 if i == axis else length for i, length in enumerate(shape))
