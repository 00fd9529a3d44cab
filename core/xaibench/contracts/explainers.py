"""Explainers, what they are asked and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from xaibench.contracts.data import Picture, Sample
from xaibench.contracts.detectors import Detector, Facts
from xaibench.contracts.words import Programme, Status

if TYPE_CHECKING:
    from torch import Tensor

    from xaibench.artefacts import Artefact, Product
    from xaibench.streams import Streams


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
