"""An attacked region of a picture, made once whoever asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from xaibench.api import ArtefactQuery, Passes, PassQuery, Product, Programme, digest, to_device
from xaibench_perturbation.attacks import (
    Attacked,
    AttackSettings,
    GradientSettings,
    in_full_precision,
    nes_attack,
    pgd_attack,
)


@dataclass(frozen=True, slots=True, eq=False)
class RegionAttack:
    """NES (:class:`AttackSettings`) or PGD (:class:`GradientSettings`) on one region: an artefact, not stored.

    ``region``: ``(H, W)`` bool. Its digest is part of the parameters, so two that ask for the same region share one
    attack, and the draws depend on region, settings, picture and seed, never on who asks.

    Product: the tensors ``pixels``, ``near`` and, where the verdict turned, ``turned``, ``(3, |M|)`` float32: the
    region after the attack and on its way (:class:`xaibench_perturbation.attacks.Attacked`; :meth:`picture` puts it
    back), and ``trace``, the margin before each step and after the last, float64; the numbers of
    :meth:`xaibench_perturbation.attacks.Attacked.numbers`. ``status`` and ``reason`` are the attack's: ``undefined``
    for a picture called real already and where there was no signal; ``ok`` for an attack that failed. An empty region
    raises ValueError.
    """

    region: Tensor
    settings: AttackSettings | GradientSettings = field(default_factory=AttackSettings)

    kind = "region-attack"
    uses_detector = True
    stored = False

    def parameters(self) -> Mapping[str, object]:
        attack = "nes" if isinstance(self.settings, AttackSettings) else "pgd"
        return {"attack": attack, "region": region_digest(self.region), **asdict(self.settings)}

    def make(self, query: ArtefactQuery) -> Programme[Product]:
        detector = in_full_precision(query.detector)
        image, region = to_device(query.picture.image, detector.device), self.region.cpu()
        if isinstance(self.settings, AttackSettings):
            noise = query.streams.torch("noise")
            attacked = yield from nes_attack(image, region, detector.facts, self.settings, noise, detector)
        else:
            attacked = yield from pgd_attack(image, region, detector.facts, self.settings, detector)
        return self._product(attacked, region)

    def _product(self, attacked: Attacked, region: Tensor) -> Product:
        tensors = {
            "pixels": attacked.image.cpu()[:, region],
            "near": attacked.near.cpu()[:, region],
            "trace": torch.tensor(attacked.trace, dtype=torch.float64),
        }
        if attacked.turned is not None:
            tensors["turned"] = attacked.turned.cpu()[:, region]
        return Product(status=attacked.status, reason=attacked.reason, tensors=tensors, numbers=attacked.numbers())

    def picture(self, image: Tensor, product: Product, which: str = "pixels") -> Tensor:
        """The attacked picture: ``image`` ``(3, H, W)`` with the product's ``pixels``, ``near`` or ``turned`` ones in
        the region."""
        attacked = image.clone()
        attacked[:, to_device(self.region, image.device)] = product.tensors[which].to(image)
        return attacked

    def passes(self, query: PassQuery) -> Passes:
        if isinstance(self.settings, AttackSettings):
            return Passes(forward=self.settings.most_passes(), exact=False)
        forward, backward = self.settings.most_passes()
        return Passes(forward=forward, backward=backward, exact=False)


def region_digest(region: Tensor) -> str:
    """Of an ``(H, W)`` bool region."""
    return digest([list(region.shape), region.cpu().bool().numpy().tobytes().hex()])
