"""The adversarial twin of a picture: a small change after which the detector calls it real."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xaibench.api import ArtefactQuery, Passes, PassQuery, Product, Programme, to_device
from xaibench_perturbation.attacks import (
    ALREADY_REAL,
    NO_SIGNAL,
    Attacked,
    AttackMode,
    AttackSettings,
    in_full_precision,
    nes_attack,
)


@dataclass(frozen=True, slots=True)
class Twin:
    """NES on the whole picture towards *real* (Tsigos et al. 2025), T = 80: an artefact made once and kept.

    Product: the tensor ``twin`` ``(3, H, W)`` float32 and the numbers of
    :meth:`xaibench_perturbation.attacks.Attacked.numbers`: ``flipped``, ``queries``, ``steps``, ``p_real_before``, ...

    ============================  ==============  ==========
    the attack                    status          ``twin``
    ============================  ==============  ==========
    turned the verdict            ``ok``          the twin
    did not in T steps            ``undefined``   as far as it came, ``flipped`` 0
    met a picture called real     ``undefined``   none
    had no signal                 ``undefined``   none
    ============================  ==============  ==========

    A ``strict`` twin lies in [0, 1] and within 16/255 of the picture. A ``t24-code`` twin may leave both: up to 80
    steps of 1/255 normalised units, 18 grey levels with the usual standard deviations, unclipped. The published code
    draws another twin for every method and goes on without a word from one that failed or equals the picture.
    """

    mode: AttackMode = "strict"
    steps: int = 80

    kind = "twin"
    uses_detector = True
    stored = True

    def parameters(self) -> Mapping[str, object]:
        return {"mode": self.mode, "steps": self.steps}

    def settings(self) -> AttackSettings:
        """Of the attack that makes it."""
        return AttackSettings(mode=self.mode, steps=self.steps)

    def make(self, query: ArtefactQuery) -> Programme[Product]:
        detector = in_full_precision(query.detector)
        image = to_device(query.picture.image, detector.device)
        noise = query.streams.torch("noise")
        attacked = yield from nes_attack(image, None, detector.facts, self.settings(), noise, detector)
        return self._product(attacked)

    def _product(self, attacked: Attacked) -> Product:
        numbers = attacked.numbers()
        if attacked.reason == ALREADY_REAL or attacked.reason.startswith(NO_SIGNAL):
            return Product(status="undefined", reason=attacked.reason, numbers=numbers)
        tensors = {"twin": attacked.image.cpu()}
        if attacked.flipped:
            return Product(tensors=tensors, numbers=numbers)
        why = f"{self.steps} steps did not turn the verdict (P(real) {attacked.after.p_real:.2f})"
        return Product(status="undefined", reason=why, tensors=tensors, numbers=numbers)

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=self.settings().most_passes(), exact=False)
