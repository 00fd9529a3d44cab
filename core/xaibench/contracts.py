"""The contracts between the core and the components, as types.

Nothing here computes. Pictures are float32 tensors of RGB values in [0, 1], shape ``(N, 3, H, W)`` or ``(3, H, W)``,
already resized to the detector's input size. A *programme* is a generator that yields probe requests
(:mod:`xaibench.probes`) and returns its result; whatever returns a programme may return the plain result instead
when it needs no detector call.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from xaibench.artefacts import Artefact, Product
    from xaibench.parameters import Parameters
    from xaibench.probes import Reply, Request
    from xaibench.streams import Streams

T = TypeVar("T")
Programme: TypeAlias = "Generator[Request, Reply, T]"

Label = Literal["real", "fake"]
Status = Literal["ok", "undefined", "not_applicable", "failed", "skipped"]
STATUSES: tuple[Status, ...] = ("ok", "undefined", "not_applicable", "failed", "skipped")
Better = Literal["higher", "lower", "none"]
Output = Literal["probability", "logit"]


# ---- datasets ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One picture of a dataset, described without decoding it.

    ``group`` is the statistical cluster: all that shares source material with this picture. ``cross_group`` is the
    second of two crossed factors (the donor) where one component of the graph would hold more than a fifth of the
    samples; intervals then use the two-way bootstrap. ``pair`` is the id of the real counterpart, a sample of the
    same dataset. ``method`` is the manipulation, None when real.
    """

    id: str
    label: Label
    group: str
    method: str | None = None
    cross_group: str | None = None
    pair: str | None = None
    split: str | None = None
    has_mask: bool = False
    has_landmarks: bool = False


@dataclass(frozen=True, slots=True)
class Native:
    """One decoded picture before resizing.

    ``pixels``: ``(H, W, 3)`` uint8 RGB. ``mask``: ``(H, W)`` uint8 or float blending weights of the manipulation, or
    None; it is binarised at half of its own maximum when it is shown. ``landmarks``: ``(L, 2)`` float32 x, y in
    pixels, or None.
    """

    pixels: np.ndarray
    mask: np.ndarray | None = None
    landmarks: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that a dataset had to leave out, and why."""

    file: str
    reason: str


class Dataset(Protocol):
    """A source of samples. Built from its parameters; heavy work belongs in the methods.

    ``samples`` lists the samples in a stable order without decoding pictures. ``read`` decodes one and raises
    :class:`xaibench.errors.UnreadablePicture` for a broken file. ``problems`` are files found unusable while listing.
    """

    def samples(self) -> Sequence[Sample]: ...
    def read(self, sample: Sample) -> Native: ...
    def problems(self) -> Sequence[Problem]: ...


# ---- pictures ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """How a native picture becomes a detector's input: squashed to it, or scaled and cropped in the middle."""

    interpolation: Literal["nearest", "bilinear", "bicubic", "area"] = "bilinear"
    antialias: bool = True
    mode: Literal["squash", "crop"] = "squash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A sample as it is shown to one detector, under one view.

    ``image``: ``(3, H, W)`` float32 in [0, 1]. ``mask``: ``(H, W)`` bool, True where manipulated, or None.
    ``landmarks``: ``(L, 2)`` float32 in the coordinates of ``image``. ``digest`` identifies the pixels, mask and
    landmarks as shown. ``view`` names the transformation (``""`` is the picture itself).
    ``native()`` decodes the file again; ``counterpart()`` gives the real counterpart under the same view, or None.
    Never change these tensors in place.
    """

    sample: Sample
    image: Tensor
    mask: Tensor | None
    landmarks: Tensor | None
    digest: str
    view: str = ""
    native: Callable[[], Native]
    counterpart: Callable[[], Picture | None]


@dataclass(frozen=True, slots=True)
class View:
    """A named change of a picture: transforms image, mask and landmarks together.

    ``apply(image, mask, landmarks) -> (image, mask, landmarks)`` keeps shapes and ranges. Two views of one name must
    be the same change: maps and artefacts are keyed by it.
    """

    name: str
    apply: Callable[[Tensor, Tensor | None, Tensor | None], tuple[Tensor, Tensor | None, Tensor | None]]


# ---- detectors --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Batch:
    """``fixed``: the one batch size the model accepts; ``maximum``: the largest; both None when any size works."""

    fixed: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a detector without calling it.

    ``classes`` in the order of the outputs; ``real_class`` indexes them; every other class is fake. ``threshold``
    is the value of P(fake) = 1 - P(real) from which the verdict is *fake*. ``gives`` holds ``gradients`` and
    ``activations`` where :meth:`DifferentiableDetector.logits` and ``features`` work, ``operations`` where the torch
    operations of ``logits`` can be seen and changed while they run (:mod:`xaibench.operations`), and ``attention``
    where one of them is the attention of picture tokens to one another. ``digest`` covers weights
    (external data too), preprocessing and output mapping. ``notes`` are lines to print before a run (defaults
    taken, layer chosen); ``limits`` maps a capability that is missing to the reason. ``logit_source`` says what
    ``logit`` output means: ``logits`` (the network's own) or ``log-odds`` (of clipped probabilities). ``scale`` is one
    unit of the network's input in picture units, for red, green and blue (the standard deviation that normalises it).
    ``quantum`` is the step to which the input is rounded, in picture units (1/255 for uint8; 0: float32 and finer).
    ``layers`` names those with parameters of their own, as :meth:`DifferentiableDetector.randomised` takes them, from
    the picture to the verdict.
    ``details`` are provenance (file, licence, training data, actual execution providers).
    """

    name: str
    classes: tuple[str, ...]
    real_class: int
    input_size: tuple[int, int]
    digest: str
    batch: Batch = Batch()
    threshold: float = 0.5
    resize: Resize = Resize()
    gives: frozenset[str] = frozenset()
    limits: Mapping[str, str] = field(default_factory=dict)
    target_layer: str | None = None
    logit_source: Literal["logits", "log-odds"] = "logits"
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    quantum: float = 0.0
    layers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)


class Detector(Protocol):
    """Maps pictures to class probabilities. Calls take ``(N, 3, H, W)`` float32 RGB in [0, 1] on ``device``.

    Optional methods: ``full_precision() -> Detector`` (the same detector computing in float32, where it runs in less,
    and the same object every time: batches are mixed by object; attacks ask it), ``verified(images) -> Detector`` (the
    same with what it ``gives`` cut down to what holds on these pictures; a plan calls it with the data's first ones).
    """

    @property
    def facts(self) -> Facts: ...
    @property
    def device(self) -> torch.device: ...

    def probabilities(self, images: Tensor) -> Tensor:
        """``(N, C)`` float32 class probabilities, rows summing to 1, without gradient."""

    def scores(self, images: Tensor) -> Tensor:
        """``(N, C)`` float32 logits without gradient; softmax of a row gives the probabilities."""


class DifferentiableDetector(Detector, Protocol):
    """A detector whose logits can be differentiated with respect to pictures and inner layers."""

    def logits(self, images: Tensor) -> Tensor:
        """``(N, C)`` float32 logits inside autograd."""

    def features(
        self, images: Tensor, layer: str | None = None, edit: Callable[[Tensor, int], Tensor] | None = None
    ) -> Features:
        """Logits and the activation of ``layer`` (None: the target layer), both inside autograd.

        ``edit(activation, axis)`` returns what goes on through the network in its place; ``axis`` is that of the
        channels. The activation in the result is the one before the edit.
        """

    def randomised(self, layers: Sequence[str], generator: torch.Generator) -> DifferentiableDetector:
        """A copy with the parameters of ``layers`` drawn anew; its digest is the parent's plus the operation."""


@dataclass(frozen=True, slots=True)
class Features:
    """An inner activation in the model's own layout, and ``to_grid``, which brings it (or a gradient of its shape) to
    ``(N, K, h, w)``: the identity for convolutions, dropping class tokens and unfolding the grid for transformers."""

    activation: Tensor
    logits: Tensor
    to_grid: Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Where and how a detector runs. ``device``: ``cpu``, ``cuda``, ``cuda:1``; ``precision``: ``fp32``, ``fp16`` or
    ``bf16``."""

    device: str = "cpu"
    precision: str = "fp32"
    threads: int = 1


class Model(Protocol):
    """A source of detectors: one, or a family of independent training runs.

    ``members`` names them in a stable order (one name for a single detector); ``open`` loads one.
    """

    def members(self) -> Sequence[str]: ...
    def open(self, member: str, runtime: Runtime) -> Detector: ...


# ---- explainers -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Passes:
    """Real pictures forwarded and differentiated. ``exact`` is False for an upper bound."""

    forward: int = 0
    backward: int = 0
    exact: bool = True

    def __add__(self, other: Passes) -> Passes:
        return Passes(self.forward + other.forward, self.backward + other.backward, self.exact and other.exact)

    def times(self, n: int) -> Passes:
        return Passes(self.forward * n, self.backward * n, self.exact)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A saliency map: higher = speaks more for the target.

    ``map``: ``(H, W)`` finite float32 at the picture's size, None unless ``status`` is ``ok``. ``native_map``: the
    map before upsampling, ``(h, w)``. ``segment_weights``: ``(S,)`` where the method weighs segments. ``details`` are
    diagnostics by name (the gap of a completeness axiom, whether the twin flipped), kept with the map. "No
    explanation" is a status with a reason, never a NaN map.
    """

    map: Tensor | None
    native_map: Tensor | None = None
    segment_weights: Tensor | None = None
    status: Status = "ok"
    reason: str = ""
    details: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def none(reason: str) -> Explanation:
        """An explanation that could not be made, and why."""
        return Explanation(map=None, status="undefined", reason=reason)


class Artefacts(Protocol):
    """Things that several components need of a picture, made once: see :mod:`xaibench.artefacts`.

    ``get`` is a programme: it makes the artefact unless it is known. The key is (kind, parameters, detector digest if
    used, digest of the picture as shown, seed).
    """

    def get(self, artefact: Artefact, picture: Picture) -> Programme[Product]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainRequest:
    """One picture to explain.

    ``target`` is the index of the class to speak for. ``streams`` gives random generators keyed by seed, repeat,
    component, sample and view. ``explanation_of(spec)`` is a programme that returns another explainer's map of the
    same picture (``inverse:of=gradcam`` uses it; declare it in ``depends``).
    """

    detector: Detector
    picture: Picture
    target: int
    streams: Streams
    artefacts: Artefacts
    explanation_of: Callable[[str], Programme[Explanation]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PassQuery:
    """What a component may know when it states its passes for one sample.

    ``map``: what one more map of the explainer costs whose maps a metric scores (of a view, a draw, another detector).
    """

    sample: Sample
    facts: Facts
    map: Passes = Passes()


class Explainer(Protocol):
    """Draws a saliency map for (detector, picture, target).

    Optional attributes: ``draws: int`` (independent maps a sample in one repeat; default 1), ``depends:
    tuple[str, ...]`` (specs of explainers whose maps it asks for), ``needs: frozenset[str]`` (in addition to the
    record's, when they follow from the parameters), ``stochastic: bool`` and ``signed: bool`` (likewise, in place of
    the record's), ``always_explains: bool`` (every sample that it does not refuse beforehand gets a map that is not
    constant, so that pass counts of metrics on its maps are exact). Optional methods:
    ``refuses(query: PassQuery) -> str`` (why a sample will get no map, as far as that is known beforehand; empty when
    it will), ``content_digest() -> str`` (of files it reads; part of every unit key). A component of any kind may have
    ``artefacts: tuple[Artefact, ...]``, the stored artefacts that it asks for; their cost is no part of ``passes``.
    """

    def explain(self, request: ExplainRequest) -> Explanation | Programme[Explanation]: ...
    def passes(self, query: PassQuery) -> Passes: ...


# ---- metrics ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Names of the scores that tell whether a measure has room to rank: its own ceiling, its random control, and the
    share of verdicts that each turned. Where the room is gone, the leaderboard says so and ranks nothing."""

    ceiling: str
    random: str
    ceiling_flip: str
    random_flip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSpec:
    """One named score of a metric.

    ``version`` is stored with every number; raise it when the definition changes. ``ranks_evidence``: the map of the
    planted evidence must beat a random one; where it need not, ``why_not`` says why in words. ``primary`` scores
    stand in the leaderboard. ``per_item``: its items are columns of their own there, and are never averaged. ``room``:
    see :class:`Room`.
    """

    name: str
    better: Better
    low: float = float("-inf")
    high: float = float("inf")
    version: int = 1
    ranks_evidence: bool = False
    why_not: str = ""
    primary: bool = True
    per_item: bool = False
    room: Room | None = None
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One value. ``item`` tells apart several values of one score (k, run pair, axis, level)."""

    name: str
    value: float | None = None
    item: str = ""
    status: Status = "ok"
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One curve, ``x`` and ``y`` of equal length."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    item: str = ""


@dataclass(frozen=True, slots=True)
class Scores:
    """What one case scored."""

    values: tuple[Score, ...]
    curves: tuple[Curve, ...] = ()

    @staticmethod
    def undefined(specs: Iterable[ScoreSpec], reason: str) -> Scores:
        """Every score undefined, with the same reason."""
        return Scores(tuple(Score(name=s.name, status="undefined", reason=reason) for s in specs))


@dataclass(frozen=True, slots=True, kw_only=True)
class MapCase:
    """One map of one sample, for metrics of scope ``sample``.

    ``explanation`` holds the stored form of the map; its status is always ``ok``. ``clean`` are the ``(C,)``
    probabilities of the untouched picture. ``explain(view, target, detector)`` is a programme that draws the same
    explainer's map of a view (``target`` None: the class fixed on the clean picture).
    """

    detector: Detector
    picture: Picture
    explainer: str
    explanation: Explanation
    target: int
    clean: Tensor
    streams: Streams
    artefacts: Artefacts
    explain: Callable[..., Programme[Explanation]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCase:
    """All maps of one explainer over all samples, for metrics of scope ``detector`` or ``family``.

    ``members[name]`` lists the member's cases in the order of the samples, those without a map left out; scope
    ``detector`` has one member. ``missing`` counts, per member, the samples without a map.
    """

    members: Mapping[str, Sequence[MapCase]]
    missing: Mapping[str, int]
    explainer: str
    streams: Streams


class Metric(Protocol):
    """Turns maps, and more detector calls, into named scores.

    ``score`` takes a :class:`MapCase` (scope ``sample``) or a :class:`SetCase`. ``passes`` states what one map costs.
    Optional attribute: ``needs: frozenset[str]`` (in addition to the record's, when they follow from the parameters).
    """

    @property
    def scores(self) -> tuple[ScoreSpec, ...]: ...
    def score(self, case: Any) -> Scores | Programme[Scores]: ...
    def passes(self, query: PassQuery) -> Passes: ...


# ---- executors --------------------------------------------------------------------------------------------------

TaskT = TypeVar("TaskT")
OutcomeT = TypeVar("OutcomeT")


class Executor(Protocol):
    """Runs tasks somewhere and hands outcomes back as they finish, in any order.

    A task holds names, parameters, digests and sample ids, never live objects, so it can be pickled. ``call`` is a
    module-level function. A task whose worker died comes back as a :class:`Lost`. Where the optional attribute
    ``in_process`` is True, tasks run in the driver's process and may use what it has opened already.
    """

    def run(
        self, tasks: Iterable[TaskT], call: Callable[[TaskT], OutcomeT]
    ) -> Iterator[tuple[TaskT, OutcomeT | Lost]]: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Lost:
    """A task whose worker died before it answered."""

    reason: str


class Component(Protocol):
    """Every component is built from its validated parameters alone."""

    def __init__(self, parameters: Parameters) -> None: ...
