"""The planted evidence by name: which detector, and which pictures go with it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xaibench.api import Picture, PlanError, UsageError
from xaibench_audit.detectors import EvidenceDetector, Part, calibrated
from xaibench_audit.pictures import AuditPictures, Change, Manipulation
from xaibench_audit.responses import Contrast, Frequency, MissingTexture, Response, Seam
from xaibench_testing import Patch, pictures_of

CENTRE = Patch(18, 24, 12, 16)
CORNER = Patch(3, 45, 12, 16)
STRIPES = Patch(28, 5, 14, 20)
PARTS = (Patch(4, 6, 10, 10), Patch(33, 14, 10, 10), Patch(16, 48, 10, 10))

PLAIN = ("patch", "frequency", "parts", "off-centre")
SENSITIVE = ("missing-texture", "seam")
WEIGHTS = (0.75, 0.5, 0.25)
"""Weights l of the patch in the mixtures ``l patch + (1 - l) fill-sensitive``; the ends are ``patch`` and the other."""

MIXTURES = tuple(f"{name}@{weight:g}" for name in SENSITIVE for weight in WEIGHTS)
NAMES = (*PLAIN, *SENSITIVE, *MIXTURES)

_Planted = tuple[tuple[float, Response, Manipulation], ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One kind of planted evidence. ``sensitive`` names its fill-sensitive part, if any; ``weight`` is l."""

    name: str
    planted: _Planted
    sensitive: str
    weight: float


@dataclass(frozen=True, slots=True)
class Planted:
    """A detector, its fakes with their counterparts, and the true evidence of each fake, ``(H, W)`` float64."""

    evidence: Evidence
    detector: EvidenceDetector
    fakes: tuple[Picture, ...]
    reals: tuple[Picture, ...]
    truth: dict[str, Tensor]


def evidence(name: str) -> Evidence:
    """The evidence of that name; an unknown one is refused with those that there are."""
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=2)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(f"no planted evidence called '{name}'", f"{hint}there are {', '.join(NAMES)}")
    kind, _, weight = name.partition("@")
    if kind not in SENSITIVE:
        return Evidence(name, _plain(kind), "", 1.0)
    share = float(weight or 0)
    sensitive: Response = MissingTexture() if kind == "missing-texture" else Seam()
    change: Change = "smooth" if kind == "missing-texture" else "seam"
    rest = ((1 - share, sensitive, Manipulation(change, clear=CENTRE)),)
    patch = ((share, Contrast(CENTRE), Manipulation("contrast", CENTRE)),) if share else ()
    return Evidence(name, (*patch, *rest), kind, share)


def _plain(kind: str) -> _Planted:
    if kind == "parts":
        return tuple((1 / len(PARTS), Contrast(p), Manipulation("contrast", p)) for p in PARTS)
    only: dict[str, tuple[Response, Manipulation]] = {
        "patch": (Contrast(CENTRE), Manipulation("contrast", CENTRE)),
        "off-centre": (Contrast(CORNER), Manipulation("contrast", CORNER)),
        "frequency": (Frequency(STRIPES), Manipulation("frequency", STRIPES)),
    }
    return ((1.0, *only[kind]),)


def plant(kind: Evidence, pairs: int, seed: int) -> Planted:
    """Calibrate the detector and make its pictures.

    Raises :class:`PlanError` where a fake is not called fake or a real one not real: nothing could be audited then.
    """
    pictures = AuditPictures(pairs, tuple(m for _, _, m in kind.planted), seed=seed)
    parts = [Part(response, weight) for weight, response, _ in kind.planted]
    detector = calibrated(f"audit-{kind.name}", parts, pictures)
    shown = pictures_of(pictures, detector)
    check_verdicts(detector, shown)
    fakes = tuple(p for p in shown if p.sample.label == "fake")
    reals = tuple(p for p in shown if p.sample.label == "real")
    by_id = {p.sample.id: p for p in reals}
    truth = {f.sample.id: detector.evidence(f.image, by_id[f.sample.pair or ""].image) for f in fakes}
    return Planted(kind, detector, fakes, reals, truth)


def check_verdicts(detector: EvidenceDetector, pictures: Sequence[Picture]) -> None:
    """Every picture is called what it is."""
    found = detector.probabilities(torch.stack([p.image for p in pictures]))[:, 1]
    for picture, fake in zip(pictures, found.tolist(), strict=True):
        if (fake >= detector.facts.threshold) != (picture.sample.label == "fake"):
            raise PlanError(
                f"{detector.facts.name} calls {picture.sample.id} wrongly", "take another --seed, or report this"
            )
