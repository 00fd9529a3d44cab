"""Artefacts: what several components need of one picture, made once: segments, backgrounds, twins, attacked regions.

A component asks for one with ``yield from request.artefacts.get(artefact, picture)``. Costly ones say ``stored``: a
component lists those in its optional attribute ``artefacts``, and a run makes them before the maps, keeps them in the
``artefacts`` table with their status, and hands them to every explainer and metric that asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from xaibench.api.datasets import Picture
from xaibench.api.detectors import Detector
from xaibench.api.passes import Passes, PassQuery
from xaibench.api.probes import Programme
from xaibench.api.vocabulary import Status

if TYPE_CHECKING:
    from torch import Tensor

    from xaibench.api.streams import Streams


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What came of an artefact: tensors and numbers by name.

    A ``status`` other than ``ok`` has a ``reason`` ("the picture is called real already"); it may still have tensors
    and numbers. Never change the tensors in place: others hold them too.
    """

    status: Status = "ok"
    reason: str = ""
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtefactQuery:
    """One picture to make an artefact of.

    ``streams`` are keyed by seed, artefact (kind and parameters) and the picture's digest, never by who asks, so
    that every component meets the same draw. ``artefacts`` gives other artefacts.
    """

    detector: Detector
    picture: Picture
    streams: Streams
    artefacts: Artefacts


class Artefact(Protocol):
    """A recipe for a product of (detector, picture). Two with equal ``kind`` and ``parameters()`` are the same.

    ``uses_detector``: another detector makes another product. ``stored``: made before the maps and kept in the store.
    ``parameters()`` holds everything that can change the product, as JSON values; ``make`` may be a programme;
    ``passes`` states its cost for one sample.
    """

    @property
    def kind(self) -> str: ...
    @property
    def uses_detector(self) -> bool: ...
    @property
    def stored(self) -> bool: ...
    def parameters(self) -> Mapping[str, object]: ...
    def make(self, query: ArtefactQuery) -> Product | Programme[Product]: ...
    def passes(self, query: PassQuery) -> Passes: ...


class Artefacts(Protocol):
    """Things that several components need of a picture, made once.

    ``get`` is a programme: it makes the artefact unless it is known. The key is (kind, parameters, detector digest if
    used, digest of the picture as shown, seed).
    """

    def get(self, artefact: Artefact, picture: Picture) -> Programme[Product]: ...
