"""Metrics, the cases that they score and their scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from xaibench.api.artefacts import Artefacts
from xaibench.api.datasets import Picture, Sample
from xaibench.api.detectors import Detector
from xaibench.api.explainers import Explanation
from xaibench.api.passes import Passes, PassQuery
from xaibench.api.probes import Programme
from xaibench.api.safe_text import one_line
from xaibench.api.vocabulary import Better, Output, Status

if TYPE_CHECKING:
    from torch import Tensor

    from xaibench.api.streams import Streams


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """Names of the scores that show whether a measure can tell maps apart.

    ``ceiling`` is the measure's own ceiling, ``random`` its random control; ``ceiling_flip`` and ``random_flip`` are
    the shares of verdicts that each turns. Where the control reaches the ceiling, or the ceiling turns no verdict, the
    leaderboard says so and ranks nothing by the measure.
    """

    ceiling: str
    random: str
    ceiling_flip: str
    random_flip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSpec:
    """One named score of a metric.

    Parameters
    ----------
    name: unique within the metric.
    better: direction in which the score improves.
    low, high: range of its values, both ends included. A value outside is an error of the metric.
    version: version of the definition, stored with every value; raise it when the definition changes.
    ranks_evidence: the map of the planted evidence must score better than a random map (checked by ``xaibench check``).
    why_not: why it need not, in words.
    primary: the score has a column in the leaderboard.
    ranked: explainers are ranked and tested by the score; otherwise the leaderboard only shows it.
    per_item: each item has a column of its own; items are not averaged.
    item_form: how an item is written, with the names of its parts in braces: ``{segmentation} top-{k}``. A table can
        have each part as a row or a column.
    item_is_sample: of scope ``model``: an item is the id of a sample. Statistics read the value as that sample's, with
        its groups and its label.
    headroom: the scores that show whether the measure can tell maps apart.
    event: for right-censored values, the score of the same metric and item that is 1 where the event occurred and 0
        where the value is the largest one tried. The leaderboard then shows median and restricted mean.
    tie_spread: the score of the same metric that holds how far the order of equal values in the map alone moves this
        one; no verdict rests on a smaller difference. A value that is not ok counts as 0.
    output: the output of the detector that the value is computed from, None where it is from none or from the verdict
        alone. A leaderboard whose scores differ in it says which are which.
    untouched: of measures that remove pixels or bring them back, the end of the metric's curves that is the untouched
        picture's score. A leaderboard then says how often a curve rises above it.
    is_accuracy: the value is 1 where the detector still calls the changed picture by its label, else 0, or the mean of
        several changes. A table can show beside it how often the detector does so on the untouched pictures.
    description: what the value is, in one line, with its unit.
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
    item_form: str = ""
    item_is_sample: bool = False
    headroom: Headroom | None = None
    event: str = ""
    tie_spread: str = ""
    output: Output | None = None
    untouched: Literal["start", "end"] | None = None
    is_accuracy: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One value of a score.

    ``item`` tells apart several values of one score (k, run pair, axis, level). ``value`` is finite where ``status`` is
    ``ok`` and None otherwise; every other status has a ``reason``.
    """

    name: str
    value: float | None = None
    item: str = ""
    status: Status = "ok"
    reason: str = ""

    def __post_init__(self) -> None:
        if self.reason and isinstance(self.reason, str):  # a component's text; most scores have none
            object.__setattr__(self, "reason", one_line(self.reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One curve: ``x`` and ``y`` of equal length. ``item`` tells apart several curves of one name."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    item: str = ""


@dataclass(frozen=True, slots=True)
class Scores:
    """The result of one case: at least one value for every declared score, and any number of curves."""

    values: tuple[Score, ...]
    curves: tuple[Curve, ...] = ()

    @staticmethod
    def undefined(specs: Iterable[ScoreSpec], reason: str) -> Scores:
        """Every score with the status ``undefined`` and the same reason."""
        return Scores(tuple(Score(name=s.name, status="undefined", reason=reason) for s in specs))


@dataclass(frozen=True, slots=True, kw_only=True)
class MapCase:
    """One map of one sample, for metrics of scope ``sample``.

    Parameters
    ----------
    detector: the detector that is explained.
    picture: the picture as the detector sees it.
    explainer: name of the explainer, with its parameters.
    explanation: the map in its stored form; its status is always ``ok``.
    target: index of the explained class.
    clean: ``(C,)`` class probabilities of the untouched picture.
    streams: random generators, keyed by seed, repeat, metric, sample and view. They are the same for every explainer.
    artefacts: artefacts of this detector.
    explain: ``explain(view, target, detector)`` is a programme that returns the same explainer's map of a view of the
        picture. Each argument may be None: the picture itself, the target above, the detector above.
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

    Parameters
    ----------
    members: the cases of each member, in the order of the samples, without those that have no map. Scope ``detector``
        has one member. They are made while they are iterated over, which can be done more than once; hold what is
        needed of a case, not the case.
    asked: the number of maps that each member was asked for, those that are missing included.
    explainer: name of the explainer, with its parameters.
    streams: random generators, keyed by seed, repeat, metric and explainer.
    reference: the cases of each member on the first dataset of the run, for metrics that need ``reference``.
    """

    members: Mapping[str, Iterable[MapCase]]
    asked: Mapping[str, int]
    explainer: str
    streams: Streams
    reference: Mapping[str, Iterable[MapCase]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCase:
    """One detector and all samples as it sees them, without maps, for metrics of scope ``model``.

    ``clean`` holds the ``(N, C)`` class probabilities of the untouched ``pictures``, in their order, and ``samples``
    describes them without decoding. A picture is decoded whenever it is asked for and not held. Samples whose
    prediction failed are left out; ``missing`` is their number. ``streams`` are keyed by seed and metric.
    """

    detector: Detector
    samples: Sequence[Sample]
    pictures: Sequence[Picture]
    clean: Tensor
    missing: int
    streams: Streams
    artefacts: Artefacts


class Metric(Protocol):
    """Computes named scores from maps and from further detector calls.

    ``scores`` declares the scores. ``score`` takes a :class:`MapCase` (scope ``sample``), a :class:`SetCase`
    (``detector``, ``family``) or a :class:`ModelCase` (``model``) and returns the scores or a programme. ``passes``
    states the detector passes of one map where no other metric runs, or of one sample in scope ``model``.

    Optional members:

    * ``needs: frozenset[str]``: needs that follow from the parameters, in addition to those of the record.
    * ``shared(query) -> Mapping[str, Passes]``, in scope ``sample``: the parts of ``passes`` that other metrics of the
      same map may share, by name. Equal names stand for the same work, of equal passes, which an artefact of the map
      does once (:class:`~xaibench.api.Artefacts`). A plan counts every name once for a map: at the first metric that
      declares it. The names must tell apart whatever can change the work, such as a fill and its parameters.
    * ``passes_of_set(queries) -> Passes``, in scope ``model``: the passes for all samples together, where they are not
      the sum of those of each, such as for a measure that looks at some of the pictures.
    * ``refuses(query: PassQuery) -> str``, in scopes ``sample`` and ``family``: why no score is defined on the maps of
      a sample, as far as it is known before the run (``query.native_size``); empty where one may be. Where it refuses
      every sample the metric is not applicable and costs nothing.
    * ``accompanied_by() -> tuple[str, ...]``: metrics that say whether this one means anything on a detector, as
      ``name:key=value,...``. A plan adds each of them once, unless controls are off or it was named anyway.
    * ``content_digest() -> str``: digest of the files that it reads; part of every key.
    """

    @property
    def scores(self) -> tuple[ScoreSpec, ...]: ...
    def score(self, case: Any) -> Scores | Programme[Scores]: ...
    def passes(self, query: PassQuery) -> Passes: ...
