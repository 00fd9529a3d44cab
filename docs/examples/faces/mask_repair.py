"""Is a detector's evidence where the masks say? Pastes the real counterpart's pixels into the detected fakes.

    python docs/examples/faces/mask_repair.py faces-family/run-0.toml ../shared/data/faces

Prints, per manipulation method and for all, on what share of the detected fakes the verdict turns real when the pixels
inside the mask, those outside it, or all of them come from the real picture.
"""

from __future__ import annotations

import sys
from collections import defaultdict

import torch

from xaibench import load_registry, open_dataset, open_models
from xaibench.api import Runtime
from xaibench_testing import pictures_of

CHANGES = ("inside the mask", "outside it", "everywhere")


def main(model: str, folder: str) -> None:
    registry = load_registry()
    use = open_models(model, registry=registry)[0][1]
    detector = use.instance.open(use.instance.members()[0], Runtime())
    data = open_dataset(folder, registry=registry).instance
    fakes = [s for s in data.samples() if s.split == "test" and s.label == "fake" and s.has_mask and s.pair]
    undone = defaultdict(list)
    for picture in pictures_of(data, detector, fakes):
        real, mask = picture.counterpart(), picture.mask.float()
        inside = picture.image * (1 - mask) + real.image * mask
        outside = picture.image * mask + real.image * (1 - mask)
        p_real = detector.probabilities(torch.stack([picture.image, inside, outside, real.image]))
        called_fake = 1 - p_real[:, detector.facts.real_class] >= detector.facts.threshold
        if called_fake[0]:
            for method in (picture.sample.method, "all"):
                undone[method].append(~called_fake[1:])
    for method, rows in sorted(undone.items()):
        shares = torch.stack(rows).float().mean(dim=0).tolist()
        said = ", ".join(f"{what} {share:.2f}" for what, share in zip(CHANGES, shares, strict=True))
        print(f"{method} ({len(rows)}): {said}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
