"""Where guides come from: manipulation masks, a folder of files, or the maps of another model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from xaibench.api import (
    PICTURE_SUFFIXES,
    Detector,
    Forward,
    Native,
    Picture,
    PlanError,
    Problem,
    Programme,
    Runtime,
    Sample,
    UsageError,
    check_target_rule,
    read_picture,
    resolve_target,
)
from xaibench_testing import explain, make_bench, value
from xaibench_training.recipes.cams import FLAT, min_max

if TYPE_CHECKING:
    from xaibench import Use

_CHUNK = 32
"""Pictures whose maps are drawn at once."""


def mask_guides(pictures: Sequence[Picture]) -> Iterator[Tensor | None]:
    """The manipulation mask as 0 and 1; None for real pictures, and where it covers everything and so tells nothing."""
    for picture in pictures:
        mask = picture.mask
        yield None if mask is None or bool(mask.all()) else mask.float()


def file_guides(pictures: Sequence[Picture], folder: str) -> Iterator[Tensor | None]:
    """The file ``FOLDER/SAMPLE-ID`` with ``.npy`` or a picture's ending; None where there is none."""
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise PlanError(f"guide folder {root} does not exist", "give path=FOLDER with one file a sample id")
    for picture in pictures:
        file = _file_of(root, picture.sample)
        yield None if file is None else fitted(_read(file), picture)


def map_guides(pictures: Sequence[Picture], model: str, explainer: str, rule: str) -> Iterator[Tensor | None]:
    """Another model's maps of the pictures, as that model is shown them; None where it has none.

    ``rule`` says which class is explained (:data:`xaibench.api.TARGET_RULES`). Components are those that are installed.
    """
    from xaibench import load_registry, open_component, open_models, refuse_faulty

    registry = load_registry()
    use = open_component("explainer", explainer, registry=registry)
    _, source = open_models(model, registry=registry)[0]
    detector = source.open(source.instance.members()[0], Runtime())
    refuse_faulty(detector, [])
    check_target_rule(rule, detector.facts)
    for start in range(0, len(pictures), _CHUNK):
        chunk = [pictures[i] for i in range(start, min(start + _CHUNK, len(pictures)))]
        for picture, found in zip(chunk, _maps(chunk, detector, use, rule), strict=True):
            yield None if found is None else fitted(found, picture)


def fitted(found: Tensor, picture: Picture) -> Tensor | None:
    """A map of any size, averaged over areas to the picture's and stretched to [0, 1]; None where it is constant."""
    height, width = picture.image.shape[1:]
    guide = functional.interpolate(found[None, None], (height, width), mode="area")[0]
    return None if float(guide.max() - guide.min()) <= FLAT else min_max(guide)[0]


def _maps(pictures: Sequence[Picture], detector: Detector, use: Use, rule: str) -> list[Tensor | None]:
    from xaibench import load_registry, show_picture

    bench = make_bench(detector, batch_size=_CHUNK, registry=load_registry())
    shown = [show_picture(_One(p), p.sample, detector.facts, counterpart=p.counterpart) for p in pictures]
    asked = [(i, lambda p=p: _probabilities(p)) for i, p in enumerate(shown)]
    found = {i: value(done).tolist() for i, done in bench.engine().run(asked)}
    classes = [resolve_target(rule, p.sample, found[i], detector.facts) for i, p in enumerate(shown)]
    return [value(done).map for done in explain(use, detector, shown, classes, bench=bench)]


def _probabilities(picture: Picture) -> Programme[Tensor]:
    reply: Tensor = yield Forward(picture.image[None])
    return reply[0].cpu()


class _One:
    """The dataset of one picture, for showing it to another detector."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture

    def samples(self) -> Sequence[Sample]:
        return (self._picture.sample,)

    def read(self, sample: Sample) -> Native:
        return self._picture.native()

    def problems(self) -> Sequence[Problem]:
        return ()


def _file_of(root: Path, sample: Sample) -> Path | None:
    names = (f"{sample.id}{suffix}" for suffix in (".npy", *sorted(PICTURE_SUFFIXES)))
    return next((root / name for name in names if (root / name).is_file()), None)


def _read(file: Path) -> Tensor:
    """``(h, w)`` float32: the array, or the mean of the picture's channels."""
    if file.suffix != ".npy":
        return torch.from_numpy(read_picture(file).mean(axis=2, dtype=np.float32))
    try:
        array = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError, MemoryError, OverflowError, SyntaxError, RecursionError, TypeError) as error:
        raise PlanError(f"guide {file} cannot be read: {' '.join(str(error).split())}", "write it anew") from None
    if array.ndim != 2 or array.dtype.kind not in "fiub" or not np.isfinite(array).all():
        raise PlanError(f"guide {file} is no finite array (h, w): {array.dtype} {array.shape}", "write it anew")
    return torch.from_numpy(array.astype(np.float32))


def require(given: str, key: str, guide: str) -> str:
    """A parameter that this kind of guide cannot do without."""
    if not given:
        raise UsageError(f"guide={guide} needs {key}", f"add -p {key}=VALUE")
    return given
