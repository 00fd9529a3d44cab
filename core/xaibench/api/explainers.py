"""Explainers, their requests and their results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from xaibench.api.artefacts import Artefacts
from xaibench.api.datasets import Picture
from xaibench.api.detectors import Detector
from xaibench.api.passes import Passes, PassQuery
from xaibench.api.probes import Programme
from xaibench.api.safe_text import one_line
from xaibench.api.vocabulary import Status

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from xaibench.api.streams import Streams


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A saliency map. A higher value means stronger evidence for the target class.

    Parameters
    ----------
    map: ``(H, W)`` finite float32 at the picture's size; None unless ``status`` is ``ok``.
    native_map: ``(h, w)``, the map before upsampling, where there is one.
    segment_weights: ``(S,)``, the weights of segments, where the method weighs segments.
    status: ``ok``, or why there is no map; a map is never NaN instead.
    reason: one line, for every status but ``ok``.
    details: diagnostics by name (the gap of a completeness axiom, whether the twin flipped), stored with the map.
    """

    map: Tensor | None
    native_map: Tensor | None = None
    segment_weights: Tensor | None = None
    status: Status = "ok"
    reason: str = ""
    details: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.reason and isinstance(self.reason, str):  # a component's text, shown on terminals
            object.__setattr__(self, "reason", one_line(self.reason))

    @property
    def array(self) -> np.ndarray[Any, Any]:
        """The map as a numpy array, ``(H, W)`` float32. Raises ``ValueError`` with the reason where there is none."""
        if self.map is None:
            raise ValueError(f"no map: {self.status}: {self.reason}")
        values: np.ndarray[Any, Any] = self.map.detach().cpu().numpy()
        return values

    @staticmethod
    def none(reason: str) -> Explanation:
        """An explanation of status ``undefined``: the method has no map for this picture."""
        return Explanation(map=None, status="undefined", reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainRequest:
    """What :meth:`Explainer.explain` receives: one picture and one detector.

    Parameters
    ----------
    detector: the detector to explain.
    picture: the picture as the detector sees it.
    target: index of the class whose evidence the map shows.
    streams: random generators, keyed by seed, repeat, component, sample and view.
    artefacts: artefacts of this detector.
    explanation_of: ``explanation_of(spec)`` is a programme that returns another explainer's map of the same picture
        (``inverse:of=gradcam`` uses it). The spec must be listed in ``depends``.
    """

    detector: Detector
    picture: Picture
    target: int
    streams: Streams
    artefacts: Artefacts
    explanation_of: Callable[[str], Programme[Explanation]]


class Explainer(Protocol):
    """Draws a saliency map for (detector, picture, target).

    ``explain`` returns the map or a programme. ``passes`` states the detector passes of one map.

    Optional attributes:
    ``draws: int``: number of independent maps of a sample in one repeat; default 1.
    ``depends: tuple[str, ...]``: specs of the explainers whose maps it uses.
    ``needs: frozenset[str]``: needs that follow from the parameters, in addition to those of the record.
    ``stochastic: bool``, ``signed: bool``: in place of the record's, where they follow from the parameters.
    ``always_explains: bool``: every sample that it does not refuse gets a map that is not constant, so that the pass
    counts of metrics on its maps are exact.
    ``few_ties: bool``: hardly a map of it has a value that more than a hundredth of the pixels hold, so that a plan
    does not count what metrics compute again where ties may decide a score.
    ``artefacts: tuple[Artefact, ...]``: the stored artefacts that it uses, whose cost is not part of ``passes``. A
    component of any kind may have it.

    Optional methods:
    ``refuses(query: PassQuery) -> str``: why a sample gets no map, as far as it is known before the run; empty where
    it gets one.
    ``native_size(facts: Facts) -> tuple[int, int] | None``: the (h, w) of its maps before upsampling, as far as it is
    known before the run; None where it is not, or where maps are not upsampled.
    ``content_digest() -> str``: digest of the files that it reads; part of the key of every cell of its maps.
    """

    def explain(self, request: ExplainRequest) -> Explanation | Programme[Explanation]: ...
    def passes(self, query: PassQuery) -> Passes: ...
