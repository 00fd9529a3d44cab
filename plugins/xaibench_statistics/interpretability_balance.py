"""The balance of accuracy and interpretability of a detector against a baseline detector.

``A = clip((AUC - 1/2) / (AUC_base - 1/2), 0, 1)``: what is left of the baseline's accuracy.

``I = mean of (x - c) / (1 - c), clipped to [0, 1]``, over x = 1 - ODC, 2 axisAUC - 1 and the diagonal share, with c the
same figure where the axes are those of a random rotation: what the axes say beyond chance.

``H = 2 A I / (A + I)``, 0 where both are 0.

Whose rotation is chance? Rotating a white layer leaves it white: against its own rotation decorrelation can never gain,
and c = 1 is no chance to be beaten. So c is the baseline detector's, of the same layer and patches; axis AUC and
diagonal share have the same expectation there, and all detectors of one comparison are divided by the same number.

The harmonic index is xaibench's own proposal, as no paper on whitened detectors publishes one.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisFigures:
    """What is known of a layer's axes: ``odc`` in [0, 1], ``axis_auc`` in [0, 1], ``diagonal_share`` in [0, 1]."""

    odc: float
    axis_auc: float
    diagonal_share: float

    def merits(self) -> dict[str, float]:
        """Each as a number of which 1 is the best, by name."""
        return {
            "1 - ODC": 1 - self.odc,
            "2 axis AUC - 1": 2 * self.axis_auc - 1,
            "diagonal share": self.diagonal_share,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """``accuracy`` A, ``interpretability`` I and ``harmonic`` H, each in [0, 1]; one that cannot be computed is None,
    H with it, and ``reason`` says why (empty where all three are there)."""

    accuracy: float | None
    interpretability: float | None
    harmonic: float | None
    reason: str = ""


def kept_accuracy(auc: float, base_auc: float) -> float | None:
    """``clip((auc - 1/2) / (base_auc - 1/2), 0, 1)``; None where the baseline is no better than chance."""
    return _clipped((auc - 0.5) / (base_auc - 0.5)) if base_auc > 0.5 else None


def gain_over_chance(merit: float, chance: float) -> float | None:
    """``clip((merit - chance) / (1 - chance), 0, 1)``; None where chance leaves no room (``chance >= 1``).

    A merit below chance is clipped to 0: one bad axis measure takes nothing from the two others.
    """
    return _clipped((merit - chance) / (1 - chance)) if chance < 1 else None


def interpretability(measured: AxisFigures, chance: AxisFigures) -> float | None:
    """Mean of the three :func:`gain_over_chance`, in [0, 1]; None where one of them has no room."""
    gains = list(_gains(measured, chance).values())
    found = [g for g in gains if g is not None]
    return fmean(found) if len(found) == len(gains) else None


def harmonic(accuracy: float, interpretable: float) -> float:
    """``2 A I / (A + I)`` of two numbers in [0, 1], 0 where both are 0."""
    total = accuracy + interpretable
    return 2 * accuracy * interpretable / total if total > 0 else 0.0


def balance(auc: float, base_auc: float, measured: AxisFigures, chance: AxisFigures) -> Balance:
    """A, I and H of one detector.

    Parameters
    ----------
    auc, base_auc: ROC AUC of the detector and of the baseline detector on the same pictures.
    measured: the detector's axes.
    chance: the axes of a random rotation (mean of several draws) of the baseline detector's layer.

    Raises ValueError where a figure is not in [0, 1].
    """
    _require_shares(auc, base_auc, *_figures(measured), *_figures(chance))
    a, i = kept_accuracy(auc, base_auc), interpretability(measured, chance)
    if a is None:
        why = f"the baseline's AUC, {base_auc:.3g}, is no better than chance: there is no accuracy to keep"
        return Balance(accuracy=None, interpretability=i, harmonic=None, reason=why)
    if i is None:
        full = next(name for name, gain in _gains(measured, chance).items() if gain is None)
        why = f"{full} of a random rotation is 1 already: nothing can gain on it"
        return Balance(accuracy=a, interpretability=None, harmonic=None, reason=why)
    return Balance(accuracy=a, interpretability=i, harmonic=harmonic(a, i))


def _gains(measured: AxisFigures, chance: AxisFigures) -> dict[str, float | None]:
    level = chance.merits()
    return {name: gain_over_chance(merit, level[name]) for name, merit in measured.merits().items()}


def _figures(of: AxisFigures) -> tuple[float, float, float]:
    return of.odc, of.axis_auc, of.diagonal_share


def _require_shares(*figures: float) -> None:
    wrong = [f for f in figures if not 0 <= f <= 1]  # NaN is none either
    if wrong:
        raise ValueError(f"{wrong[0]} is no AUC, correlation or share: these lie in [0, 1]")


def _clipped(value: float) -> float:
    return min(1.0, max(0.0, value))
