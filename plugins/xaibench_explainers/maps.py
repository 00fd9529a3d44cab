"""Maps made anywhere, one file a sample: other programs' explanations, human annotations."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated

import numpy as np
import torch
from PIL import Image
from pydantic import BeforeValidator, Field
from torch import Tensor
from torch.nn import functional as F

from xaibench.api import (
    ExplainRequest,
    Explanation,
    FileNames,
    Location,
    Parameters,
    Passes,
    PassQuery,
    UsageError,
    files_below,
    is_url,
    location,
    relative_name,
)

ARRAYS = (".npy", ".npz")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
_LARGEST = 1 << 30  # bytes of one array
_UNREADABLE = (
    OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, Image.DecompressionBombError, SyntaxError, MemoryError,
)  # fmt: skip


def _place(path: object) -> object:
    """A path in one form, an address as it is."""
    return str(Path(path)) if isinstance(path, str | Path) and not is_url(str(path)) else path


class MapsParameters(Parameters):
    """Parameters of ``maps``."""

    path: Annotated[str, BeforeValidator(_place)] = Field(description="the folder of the maps, or its address")
    independent: bool = Field(False, description="no detector entered these maps: mark them, and rank them never")


class MapProblem(Exception):
    """Why a sample has no usable map."""


def find_map(names: FileNames, sample_id: str) -> Location:
    """The one file of a sample: ``ID.SUFFIX`` in the folder, the id's ``/`` being folders.

    An id that ends like a picture file (``fake/a.png``) also matches without that ending (``fake/a.npy``) and as it
    is. Raises :class:`MapProblem` for no file, for several, and for an id that leads out of the folder.
    """
    bare, dot, ending = sample_id.rpartition(".")
    stems = [sample_id, bare] if dot and f".{ending.lower()}" in PICTURES else [sample_id]
    if Path(sample_id).is_absolute() or ".." in Path(sample_id).parts:
        raise MapProblem(f"the sample's id '{sample_id}' leads out of the folder")
    found = [f for stem in stems for suffix in ARRAYS + PICTURES if names.is_file(f := f"{stem}{suffix}")]
    if not found:
        raise MapProblem(f"no file {sample_id}{{{','.join(ARRAYS + PICTURES)}}} in the folder of maps")
    if len(found) > 1:
        raise MapProblem(f"several files for one sample: {', '.join(Path(f).name for f in found)}")
    return names.root / found[0]


def read_map(file: Location) -> Tensor:
    """``(h, w)`` finite float32: an array as it is, a picture as grey in [0, 1]. Raises :class:`MapProblem`."""
    try:
        with file.open("rb") as stream:
            values = _array(stream) if file.suffix in ARRAYS else _grey(stream)
    except _UNREADABLE as error:
        raise MapProblem(f"{file.name} cannot be read: {error}") from error
    if values.ndim != 2 or values.size == 0:
        raise MapProblem(f"{file.name} has the shape {values.shape}, not (height, width)")
    if values.dtype.kind not in "fiub":
        raise MapProblem(f"{file.name} holds {values.dtype}, not numbers")
    with np.errstate(over="ignore"):
        saliency = torch.from_numpy(np.array(values, dtype=np.float32))
    if not saliency.isfinite().all():
        raise MapProblem(f"{file.name} has values that are not finite")
    return saliency


def _array(stream: IO[bytes]) -> np.ndarray:
    loaded = np.load(stream, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        if "map" not in loaded:
            raise KeyError(f"no array 'map', only {', '.join(loaded.files) or 'nothing'}")
        if any(info.file_size > _LARGEST for info in loaded.zip.infolist()):
            raise ValueError(f"its array unpacks to more than {_LARGEST >> 20:,} MB")
        return np.asarray(loaded["map"])


def _grey(stream: IO[bytes]) -> np.ndarray:
    # Named, since others of Pillow's formats start programs (EPS starts Ghostscript).
    with Image.open(stream, formats=_FORMATS) as picture:
        if picture.mode.startswith(("I", "F")):
            return np.asarray(picture)
        return np.asarray(picture.convert("L"), dtype=np.float32) / 255


def resize_map(saliency: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear to ``size``, with antialiasing where it shrinks; unchanged where it fits."""
    if tuple(saliency.shape) == size:
        return saliency
    return F.interpolate(saliency[None, None], size=size, mode="bilinear", antialias=True)[0, 0]


class Maps:
    """``maps:DIR``: reads each sample's map from a file ``.npy``, ``.npz`` (array ``map``) or a grey picture.

    The map speaks for whatever its maker meant; it is taken for every target. A map of another size is squashed to
    the picture, and kept as it was as the ``native_map``. A sample without file, a file that cannot be read, and a map
    that is not finite or not two-dimensional are ``undefined``, with the reason; so is every changed view of a picture,
    since the file belongs to the untouched one. The folder may be an address (``s3://bucket/maps``). Raises
    :class:`UsageError` when it is missing or has no map.
    """

    Parameters = MapsParameters

    def __init__(self, parameters: MapsParameters) -> None:
        self.parameters = parameters
        self.folder = _checked(location(parameters.path))
        self._names = FileNames(self.folder)
        self.model_independent = parameters.independent

    def explain(self, request: ExplainRequest) -> Explanation:
        if request.picture.view:
            return Explanation.none(f"maps from files are of the untouched picture, not of '{request.picture.view}'")
        try:
            saliency = read_map(find_map(self._names, request.picture.sample.id))
        except MapProblem as problem:
            return Explanation.none(str(problem))
        height, width = request.picture.image.shape[1:]
        shown = resize_map(saliency, (height, width))
        return Explanation(map=shown, native_map=None if shown is saliency else saliency)

    def passes(self, query: PassQuery) -> Passes:
        return Passes()

    def refuses(self, query: PassQuery) -> str:
        """The reason why a sample will have no map, as far as the names of the files tell, or ``""``."""
        try:
            find_map(self._names, query.sample.id)
        except MapProblem as problem:
            return str(problem)
        return ""

    def content_digest(self) -> str:
        """Of every map in the folder, names and contents: it changes when the numbers can."""
        digest = hashlib.sha256()
        for file in sorted(_map_files(self.folder)):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{relative_name(file, self.folder)}\0{content}\n".encode())
        return digest.hexdigest()


def _checked(path: Location) -> Location:
    if not path.is_dir():
        raise UsageError(f"maps: '{path}' is no folder", "give a folder with one map a sample, named by sample id")
    if next(_map_files(path), None) is None:
        known = " ".join(ARRAYS + PICTURES)
        raise UsageError(f"maps: no map in '{path}'", f"name each file by sample id, with one of {known}")
    return path


def _map_files(folder: Location) -> Iterator[Location]:
    return (file for file in files_below(folder) if file.suffix in ARRAYS + PICTURES)
