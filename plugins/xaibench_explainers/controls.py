"""Controls: maps that know nothing of the detector, or the opposite of one that does."""

from __future__ import annotations

import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn import functional as F

from xaibench.api import ExplainRequest, Explanation, Parameters, Passes, PassQuery, Programme, Sample
from xaibench_perturbation import hull_mask


class RandomParameters(Parameters):
    """Parameters of ``random``."""

    cells: int = Field(7, ge=0, description="random values along a side, smoothed between; 0: one for each pixel")

    @field_validator("cells")
    @classmethod
    def _not_one(cls, cells: int) -> int:
        if cells == 1:
            raise ValueError("one cell is no map: take 0, or 2 and more")
        return cells


class CenterPriorParameters(Parameters):
    """Parameters of ``center-prior``."""

    sigma: float = Field(0.25, gt=0, description="standard deviation as a share of each side")


class InverseParameters(Parameters):
    """Parameters of ``inverse``."""

    of: str = Field(min_length=1, description="the explainer to turn upside down")


def random_map(size: tuple[int, int], cells: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
    """Uniform values in [0, 1]: the ``(H, W)`` map and its ``(cells, cells)`` grid, None for ``cells`` 0."""
    if cells == 0:
        return torch.rand(size, generator=generator), None
    grid = torch.rand((cells, cells), generator=generator)
    return F.interpolate(grid[None, None], size=size, mode="bilinear", align_corners=False)[0, 0], grid


def center_prior(size: tuple[int, int], sigma: float) -> Tensor:
    """``exp(-(u^2 + v^2) / (2 sigma^2))``, u and v the distances from the middle as shares of the sides; in (0, 1]."""
    v, u = ((2 * torch.arange(n) + 1 - n) / (2 * n) for n in size)
    return torch.exp(-(v[:, None] ** 2 + u[None] ** 2) / (2 * sigma**2))


def edges(image: Tensor) -> Tensor:
    """Magnitude of the Sobel gradient of the grey picture (Rec. 601 luma), borders replicated: ``(H, W)``."""
    grey = torch.tensordot(torch.tensor([0.299, 0.587, 0.114]).to(image), image, dims=1)
    across = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]).to(image) / 4
    kernels = torch.stack([across, across.T])[:, None]
    padded = F.pad(grey[None, None], (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, kernels)[0].square().sum(dim=0).sqrt()


class RandomMap:
    """Random map. ``draws`` of them are made for each sample, and their scores averaged.

    Smooth by default, with as many cells as RISE's masks and the last layer of common networks: the maps it stands
    beside are smooth, and deletion reads smoothness itself as merit, since scattered pixels are removed into a pattern
    that no camera makes. ``cells=0`` gives independent pixels.
    """

    Parameters = RandomParameters
    draws = 20
    always_explains = True

    def __init__(self, parameters: RandomParameters) -> None:
        self.parameters = parameters

    @property
    def few_ties(self) -> bool:
        """Each corner of an interpolated grid is flat over half a cell: a hundredth of the picture with 5 cells."""
        return self.parameters.cells == 0 or self.parameters.cells > 5

    def explain(self, request: ExplainRequest) -> Explanation:
        height, width = request.picture.image.shape[1:]
        saliency, grid = random_map((height, width), self.parameters.cells, request.streams.torch("map"))
        return Explanation(map=saliency, native_map=grid)

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


class CenterPrior:
    """A Gaussian in the middle: how far one comes by knowing only where faces stand in pictures."""

    Parameters = CenterPriorParameters
    always_explains = True

    def __init__(self, parameters: CenterPriorParameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Explanation:
        height, width = request.picture.image.shape[1:]
        return Explanation(map=center_prior((height, width), self.parameters.sigma))

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


class Edges:
    """The picture's own edges: how far one comes by drawing the face. A flat picture is ``undefined``."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Explanation:
        saliency = edges(request.picture.image.cpu())
        if not saliency.any():
            return Explanation.none("the picture is of one colour: it has no edges")
        return Explanation(map=saliency)

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


UNMARKED = "the picture has no landmarks"


class FaceHull:
    """The face as the map: 1 in the convex hull of the landmarks, 0 outside.

    How far one comes by knowing where the face is. Masks of whole-face manipulations are little else, which the centre
    prior knows only as far as faces lie in the middle. ``undefined`` without landmarks, where they span no area, and
    where the hull holds no pixel or all of them.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Explanation:
        landmarks, (height, width) = request.picture.landmarks, request.picture.image.shape[1:]
        if landmarks is None:
            return Explanation.none(UNMARKED)
        hull = hull_mask(landmarks, (height, width))
        if hull is None:
            return Explanation.none("the landmarks span no area: they have no hull")
        if not hull.any():
            return Explanation.none("no pixel lies in the hull of the landmarks")
        if hull.all():
            return Explanation.none("the hull of the landmarks covers the whole picture")
        return Explanation(map=hull.float())

    def passes(self, query: PassQuery) -> Passes:
        return Passes()

    def refuses(self, query: PassQuery) -> str:
        """The reason why a sample will have no map, or ``""``."""
        return "" if query.sample.has_landmarks else UNMARKED


class Inverse:
    """``max(map) - map`` of another explainer's map: must do worse than the map itself, or the metric cannot tell.

    Signed maps are turned over whole, so what spoke most against the target comes first. Where the other explainer has
    no map, neither has this, for the same reason. It costs nothing beyond the other's map.
    """

    Parameters = InverseParameters

    def __init__(self, parameters: InverseParameters) -> None:
        self.parameters = parameters
        self.depends = (parameters.of,)

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        other = yield from request.explanation_of(self.parameters.of)
        if other.status != "ok" or other.map is None:
            return Explanation.none(f"{self.parameters.of} has no map to invert: {other.reason}")
        native = other.native_map
        return Explanation(
            map=other.map.max() - other.map, native_map=None if native is None else native.max() - native
        )

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


REAL, UNMASKED = "real pictures have no mask", "the picture has no mask"


def why_unmasked(sample: Sample) -> str:
    """Why a fake has no mask to show."""
    return f"in doubt: {sample.mask_doubt}" if sample.mask_doubt else UNMASKED


class MaskOracle:
    """The manipulation mask as the map: what a perfect localiser would draw, 1 inside and 0 outside.

    It need not win at deletion or insertion, since a detector may look elsewhere than where the picture was changed.
    ``undefined`` where there is no mask and where *real* is the class explained.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Explanation:
        mask = request.picture.mask
        if request.picture.sample.label == "real":
            return Explanation.none(REAL)
        if mask is None:
            return Explanation.none(why_unmasked(request.picture.sample))
        if request.target == request.detector.facts.real_class:
            return Explanation.none("the mask speaks for fake, and the class explained is real")
        if not mask.any():
            return Explanation.none("the mask is empty")
        return Explanation(map=mask.to("cpu", torch.float32))

    def passes(self, query: PassQuery) -> Passes:
        return Passes()

    def refuses(self, query: PassQuery) -> str:
        """The reason why a sample will have no map, or ``""``."""
        if query.sample.label == "real":
            return REAL
        return "" if query.sample.has_mask else why_unmasked(query.sample)


ALONE = "no other masked fake of other people is in the dataset"


class OtherMask:
    """Another person's mask: 1 where somebody else's picture was manipulated, by the same method if there is one.

    How far one comes by knowing where a manipulation usually is. What does not beat it has found nothing in the
    picture at hand. ``undefined`` where ``mask-oracle`` is, and where the dataset has no mask of other people.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Explanation:
        picture = request.picture
        if picture.sample.label == "real":
            return Explanation.none(REAL)
        if request.target == request.detector.facts.real_class:
            return Explanation.none("a mask speaks for fake, and the class explained is real")
        if picture.mask is None or not picture.mask.any():
            return Explanation.none(why_unmasked(picture.sample) if picture.mask is None else "the mask is empty")
        other = picture.stranger()
        if other is None:
            return Explanation.none(ALONE)
        if other.mask is None or not other.mask.any():
            return Explanation.none(f"the mask of {other.sample.id}, its stranger, is empty")
        return Explanation(map=other.mask.to("cpu", torch.float32))

    def passes(self, query: PassQuery) -> Passes:
        return Passes()

    def refuses(self, query: PassQuery) -> str:
        """The reason why a sample will have no map, or ``""``."""
        if query.sample.label == "real":
            return REAL
        return "" if query.sample.has_mask else why_unmasked(query.sample)
