"""How numbers are written, wherever people read them."""

from __future__ import annotations

from typing import Final

from xaibench_statistics import Difference, Estimate, RunsDifference

DASH: Final = "\u2013"  # en dash, between the ends of a range


def number(value: float | None, digits: int = 3) -> str:
    """``digits`` decimals, or three digits where those would say little; a dash for nothing."""
    if value is None:
        return DASH
    if value == 0 or 10**-digits <= abs(value) < 1000:
        return f"{value:.{digits}f}"
    return f"{value:.2e}" if abs(value) < 1 else f"{value:.4g}"


def interval(estimate: Estimate | Difference | RunsDifference | None, digits: int = 3) -> str:
    """``[low, high]``, or nothing where there is no interval."""
    if estimate is None or estimate.low is None:
        return ""
    return f"[{number(estimate.low, digits)}, {number(estimate.high, digits)}]"


def p_value(p: float | None) -> str:
    """Three decimals, ``<0.001`` below."""
    if p is None:
        return DASH
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def plural(n: int, noun: str) -> str:
    """``1 group``, ``2 groups``."""
    return f"{n} {noun}{'' if n == 1 else 's'}"
