"""Attacks on a detector's verdict, in the space of pictures: towards *real*, on the whole picture or in one region.

=================== ===================================================== ============================
attack              what it asks                                          for
=================== ===================================================== ============================
:func:`nes_attack`  2n noisy pictures a step (natural evolution strategy) every detector
:func:`pgd_attack`  one gradient a step; one step of the bound is FGSM    detectors that give gradients
=================== ===================================================== ============================
"""

from xaibench_perturbation.attacks.course import fake_margins
from xaibench_perturbation.attacks.gradient import GradientSettings, fgsm, pgd_attack
from xaibench_perturbation.attacks.nes import AttackSettings, estimate, nes_attack
from xaibench_perturbation.attacks.pursuit import in_full_precision, jpeg
from xaibench_perturbation.attacks.result import ALREADY_REAL, NO_SIGNAL, Attacked, AttackMode

__all__ = [
    "ALREADY_REAL",
    "NO_SIGNAL",
    "AttackMode",
    "AttackSettings",
    "Attacked",
    "GradientSettings",
    "estimate",
    "fake_margins",
    "fgsm",
    "in_full_precision",
    "jpeg",
    "nes_attack",
    "pgd_attack",
]
