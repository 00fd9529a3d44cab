"""Explainers, what they are asked and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from xaibench.api.artefacts import Artefacts
from xaibench.api.datasets import Picture
from xaibench.api.detectors import Detector
from xaibench.api.passes import Passes, PassQuery
from xaibench.api.probes import Programme
from xaibench.api.vocabulary import Status

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from xaibench.api.streams import Streams


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

    @property
    def array(self) -> np.ndarray[Any, Any]:
        """The map as a numpy array, ``(H, W)`` float32. Raises ``ValueError`` with the reason where there is none."""
        if self.map is None:
            raise ValueError(f"no map: {self.status}: {self.reason}")
        values: np.ndarray[Any, Any] = self.map.detach().cpu().numpy()
        return values

    @staticmethod
    def none(reason: str) -> Explanation:
        """An explanation that could not be made, and why."""
        return Explanation(map=None, status="undefined", reason=reason)


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
