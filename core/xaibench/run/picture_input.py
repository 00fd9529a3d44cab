"""Pictures, maps and targets as a notebook hands them over: one or a batch, as arrays, tensors or files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from xaibench.api import Explanation, UsageError, read_picture
from xaibench.data.arrays import PictureArrays
from xaibench.run.batch_results import Explanations
from xaibench.run.picture_batch import TargetRule
from xaibench.store.map_rows import BadMap, check, stored_form


def picture_arrays(
    images: Any, *, labels: Any = None, masks: Any = None, counterparts: Any = None, ids: Any = None
) -> tuple[PictureArrays, tuple[str, ...]]:
    """Pictures as a data set, with their real counterparts behind them, and the ids of the pictures themselves.

    Without labels every picture counts as a fake: of a picture from outside nobody knows, and what asks for masks and
    counterparts asks of fakes. Raises :class:`UsageError` for lists of other lengths, and what reading a file and
    :class:`PictureArrays` raise.
    """
    pictures = several(images, 3)
    n = len(pictures)
    if not n:
        raise UsageError("no picture is given", "give one picture or a batch")
    names = _names(pictures) if ids is None else [str(i) for i in _aligned("ids", ids, n, 0)]
    known = ["fake"] * n if labels is None else _aligned("labels", labels, n, 0)
    reals = [None] * n if counterparts is None else _aligned("counterparts", counterparts, n, 3)
    behind = [i for i, real in enumerate(reals) if real is not None]
    pairs: list[int | None] = [None] * n
    for place, i in enumerate(behind):
        pairs[i] = n + place
    blanks = [None] * len(behind)
    arrays = PictureArrays(
        [*map(_pixels, pictures), *(_pixels(reals[i]) for i in behind)],
        [*known, *("real" for _ in behind)],
        ids=[*names, *(f"{names[i]}/counterpart" for i in behind)],
        masks=None if masks is None else [*map(_mask, _aligned("masks", masks, n, 2)), *blanks],
        pairs=[*pairs, *blanks],
    )
    return arrays, tuple(names)


def several(things: Any, dimensions: int) -> list[Any]:
    """One thing or a batch as a list. One of them has this many dimensions; a file, a text and a number are one."""
    if isinstance(things, str | Path):
        return [things]
    shape = getattr(things, "shape", None)
    if shape is None and not isinstance(things, Iterable):  # a picture of Pillow, a number
        return [things]
    if shape is not None and len(shape) == dimensions:
        return [things]
    return list(things)


def target_rules(targets: Any, n: int, *, labelled: bool) -> list[TargetRule]:
    """One target a picture, of one for all or of one for each; indices as integers.

    Raises :class:`UsageError` for another number of targets, and for ``label`` where no labels are known.
    """
    entries = _aligned("targets", targets, n, 0) if _is_batch(targets) else [targets] * n
    rules = [e if isinstance(e, str) else _index(e) for e in entries]
    if "label" in rules and not labelled:
        raise UsageError("a picture from outside a dataset has no label", "give predicted, fake, real or a class name")
    return rules


def given_maps(maps: Any, ids: Sequence[str], height: int, width: int) -> list[Explanation]:
    """The stored form of maps that were handed over, one a picture.

    Raises :class:`UsageError` for another number of maps, and for what is no map of a picture.
    """
    if isinstance(maps, Explanations):
        return list(_aligned("maps", maps, len(ids), 2))
    single = several(maps, 2)
    if len(single) == 1 and len(ids) > 1:
        raise UsageError(f"maps holds one map for {len(ids)} pictures", "give one a picture")
    return [
        _given_map(m, name, height, width) for m, name in zip(_aligned("maps", single, len(ids), 2), ids, strict=True)
    ]


def _given_map(values: Any, name: str, height: int, width: int) -> Explanation:
    import numpy as np
    import torch

    if isinstance(values, Explanation):
        return stored_form(values)
    try:
        given = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values
        array = np.array(given, dtype=np.float32)
        if array.ndim == 3 and array.shape[0] == 1:
            array = array[0]
        return stored_form(check(Explanation(map=torch.from_numpy(array)), height, width))
    except BadMap as error:
        what, mend = f"the map of {name}: {error}", f"give ({height}, {width}) finite values"
        if array.ndim == 3:
            mend += "; of a map with a value a colour, their sum: maps.sum(1)"
        raise UsageError(what, mend) from None
    except (TypeError, ValueError) as error:
        what = f"the map of {name} is a {type(values).__name__}, no map: {error}"
        raise UsageError(what, f"give ({height}, {width}) finite values") from None


def _aligned(name: str, things: Any, n: int, dimensions: int) -> list[Any]:
    """One entry a picture. Raises :class:`UsageError` for another number of them."""
    entries = several(things, dimensions) if dimensions or isinstance(things, str) else list(_iterable(things))
    if len(entries) != n:
        count = f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}"
        raise UsageError(f"{name} holds {count} for {n} picture{'' if n == 1 else 's'}", "give one a picture")
    return entries


def _iterable(things: Any) -> Iterable[Any]:
    return things if isinstance(things, Iterable) and _dimensions(things) else [things]


def _is_batch(targets: Any) -> bool:
    return not isinstance(targets, str) and isinstance(targets, Iterable) and _dimensions(targets) > 0


def _dimensions(things: Any) -> int:
    """Those of an array or a tensor, 0 for a number; 1 for other collections."""
    return int(getattr(things, "ndim", 1))


def _index(target: Any) -> int:
    """A class index as a Python integer."""
    import operator

    try:
        return operator.index(target.item() if hasattr(target, "item") else target)
    except TypeError:
        what = f"the target {target!r} is neither a rule nor a class"
        raise UsageError(what, "give predicted, fake, real, a class name or its index") from None


def _names(pictures: Sequence[Any]) -> list[str]:
    """The stem of a file; the place of an array, as :class:`PictureArrays` counts."""
    return [Path(p).stem if isinstance(p, str | Path) else f"{i:04d}" for i, p in enumerate(pictures)]


def _pixels(image: Any) -> Any:
    return read_picture(image) if isinstance(image, str | Path) else image


def _mask(mask: Any) -> Any:
    """A mask ``(H, W)``; that of a batch may have a dimension for its colour."""
    shape: tuple[int, ...] = getattr(mask, "shape", ())
    return mask[0] if len(shape) == 3 and shape[0] == 1 else mask
