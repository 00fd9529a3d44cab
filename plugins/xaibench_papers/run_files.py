"""The run files, which are data of this package: a function a publication gives their paths.

A name that ends in ``-full`` is the published budget, the other the budget of a laptop. The docstrings are what
``xaibench info NAME`` prints; ``docs/how-to/papers.md`` has the results.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "run_files"


def gowrisankar_thing(name: str) -> Path:
    """Five explainers on a deepfake detector, by generic removal and insertion and by an attack on the fake at the
    place that the explanation of its real counterpart names.

    Claimed: removal and insertion mislead, since what they fill in looks manipulated to such a detector; the attack
    tells which tool points at regions that matter. The data set needs real counterparts (``pair``).
    """
    return _path(name)


def gowrisankar_thing_full(name: str) -> Path:
    """What ``gowrisankar-thing`` does, on all pictures and at the published budget: RISE with 4,000 masks, LIME with
    1,000 samples, SOBOL with 32 designs; NES with 50 steps of 40 pairs and 5 random regions, PGD with 50 steps and 20.
    """
    return _path(name)


def tsigos_2024(name: str) -> Path:
    """Five explainers by how far a small attack on the one, two and three segments that they rank first turns the
    detector or lowers its score, and by how stable their maps are. No counterpart is needed.

    Claimed: LIME is best of the five.
    """
    return _path(name)


def tsigos_2024_full(name: str) -> Path:
    """What ``tsigos-2024`` does, on all pictures and at the published budget: RISE with 4,000 masks, SHAP and LIME with
    2,000 scored pictures, SOBOL with 32 designs; NES with 50 steps of 40 pairs.
    """
    return _path(name)


def tsigos_2025(name: str) -> Path:
    """LIME, SHAP, SOBOL and RISE with their own fills and with the same pixels of an adversarial twin of the picture,
    which looks the same and is called real, under the attack on segments.

    Claimed: the twin mostly helps, and LIME with it is best.
    """
    return _path(name)


def tsigos_2025_full(name: str) -> Path:
    """What ``tsigos-2025`` does, on all pictures and at the published budget: LIME and SHAP with 2,000 scored pictures,
    SOBOL with 32 designs, RISE with 4,000 masks; twins by 80 steps; NES with 50 steps of 40 pairs.
    """
    return _path(name)


def twins_without_attack(name: str) -> Path:
    """LIME, SHAP, SOBOL and RISE with their own fill, with the adversarial twin, and with the twin's changes under
    random signs, by measures that hold no attack.

    No publication did this. An attack makes the twin and an attack judges it in Tsigos et al. 2025; this asks what is
    left without the second.
    """
    return _path(name)


def explain_to_me(name: str) -> Path:
    """Plain, human-guided and wrongly guided families of five training runs under five measures of Grad-CAM: entropy,
    stability between runs, noise, movement, and accuracy on blurred pictures. The families are trained first, as
    ``docs/how-to/papers-training.md`` says.

    Claimed: guided models have lower entropy and are more alike from run to run.
    """
    return _path(name)


def whitening(name: str) -> Path:
    """Families with batch normalisation, with feature whitening, and with axes turned to patches of the face: accuracy
    beside measures of interpretability. The families are trained first, as ``docs/how-to/papers-training.md`` says.
    """
    return _path(name)


def _path(name: str) -> Path:
    return FOLDER / f"{name}.toml"
