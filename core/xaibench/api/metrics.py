"""Metrics, what they see and what they score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from xaibench.api.artefacts import Artefacts
from xaibench.api.datasets import Picture
from xaibench.api.detectors import Detector
from xaibench.api.explainers import Explanation
from xaibench.api.passes import Passes, PassQuery
from xaibench.api.probes import Programme
from xaibench.api.vocabulary import Better, Status

if TYPE_CHECKING:
    from torch import Tensor

    from xaibench.api.streams import Streams


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
    stand in the leaderboard; one that is not ``ranked`` is shown there, and explainers are neither ranked nor tested by
    it. ``per_item``: its items are columns of their own there, and are never averaged. ``room``:
    see :class:`Room`. ``event``: for right-censored values, the name of the score of the same metric and item that is 1
    where the event came and 0 where the value is the largest tried; median and restricted mean are then shown.
    """

    name: str
    better: Better
    low: float = float("-inf")
    high: float = float("inf")
    version: int = 1
    ranks_evidence: bool = False
    why_not: str = ""
    primary: bool = True
    ranked: bool = True
    per_item: bool = False
    room: Room | None = None
    event: str = ""
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
    ``detector`` has one member. ``missing`` counts, per member, the samples without a map. ``reference`` has the
    members' cases on the run's first dataset, for metrics that need ``reference``.
    """

    members: Mapping[str, Sequence[MapCase]]
    missing: Mapping[str, int]
    explainer: str
    streams: Streams
    reference: Mapping[str, Sequence[MapCase]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCase:
    """One detector and all samples as it sees them, without any map, for metrics of scope ``model``.

    ``clean``: ``(N, C)`` probabilities of the untouched ``pictures``, in their order; samples whose prediction failed
    are left out and counted in ``missing``.
    """

    detector: Detector
    pictures: Sequence[Picture]
    clean: Tensor
    missing: int
    streams: Streams
    artefacts: Artefacts


class Metric(Protocol):
    """Turns maps, and more detector calls, into named scores.

    ``score`` takes a :class:`MapCase` (scope ``sample``), a :class:`SetCase` (``detector``, ``family``) or a
    :class:`ModelCase` (``model``). ``passes`` states what one map costs, or one sample in scope ``model``.
    Optional attribute: ``needs: frozenset[str]`` (in addition to the record's, when they follow from the parameters).
    """

    @property
    def scores(self) -> tuple[ScoreSpec, ...]: ...
    def score(self, case: Any) -> Scores | Programme[Scores]: ...
    def passes(self, query: PassQuery) -> Passes: ...
