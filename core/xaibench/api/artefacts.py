"""Artefacts: intermediate results of one picture that several components share, such as segments and twins.

A component gets one by ``product = yield from request.artefacts.get(artefact, picture)``. An artefact is computed once
for all components that get it. A costly one is ``stored``: the component lists it in its optional attribute
``artefacts``, and a run computes it before the maps and keeps it in the ``artefacts`` table with its status.
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
    """The result of an artefact: tensors and numbers by name.

    A ``status`` other than ``ok`` has a ``reason`` ("the picture is called real already"). Such a product may still
    have tensors and numbers. The tensors are shared with other components and must not be changed in place.
    """

    status: Status = "ok"
    reason: str = ""
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtefactQuery:
    """What :meth:`Artefact.make` receives: one picture and one detector.

    ``streams`` are keyed by seed, artefact (kind and parameters) and the picture's digest. They do not depend on the
    component that gets the artefact, so every component gets the same draw. ``artefacts`` gives other artefacts.
    """

    detector: Detector
    picture: Picture
    streams: Streams
    artefacts: Artefacts


class Artefact(Protocol):
    """Computes a product of (detector, picture). Two artefacts with equal ``kind`` and ``parameters()`` are the same.

    ``uses_detector`` is True where the product depends on the detector. ``stored`` is True where a run computes the
    artefact before the maps and keeps it. ``parameters()`` holds everything that can change the product, as JSON
    values. ``make`` returns the product or a programme. ``passes`` states the cost of one sample.
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
    """The artefacts of one detector, each computed once.

    ``get`` is a programme that returns the product of an artefact. It computes the product where it is not known yet.
    A product is identified by kind, parameters, digest of the detector (where it is used), digest of the picture as
    shown, and seed.
    """

    def get(self, artefact: Artefact, picture: Picture) -> Programme[Product]: ...
