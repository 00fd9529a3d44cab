"""What a map shows, in words: for those who do not see it, and for everybody who reads a caption."""

from __future__ import annotations

from typing import Final

import numpy as np

from xaibench_report.displays.map_colours import Mask, Values

_ROWS: Final = ("upper", "", "lower")
_COLUMNS: Final = ("left", "middle", "right")


def strongest_part(saliency: Values) -> str:
    """``upper left``, ``middle``, ``lower right``: the ninth of the picture with the largest mean of positive values;
    empty for a map without a positive value, and for one that is the same everywhere."""
    positive = np.clip(saliency.astype(np.float64), 0, None)
    if not positive.any() or float(positive.min()) == float(positive.max()):
        return ""
    ninths = [[part.mean() for part in np.array_split(row, 3, axis=1)] for row in np.array_split(positive, 3, axis=0)]
    row, column = divmod(int(np.argmax(ninths)), 3)
    if row == 1:
        return ("left", "middle", "right")[column]
    return f"{_ROWS[row]} {_COLUMNS[column]}"


def share_inside(saliency: Values, mask: Mask) -> float | None:
    """The share of the positive values that lies in the mask; None where no value is positive."""
    positive = np.clip(saliency.astype(np.float64), 0, None)
    total = float(positive.sum())
    return float(positive[mask].sum()) / total if total > 0 else None


def map_words(saliency: Values, mask: Mask | None) -> str:
    """``62 % of the relevance inside the mask; strongest in the lower left``."""
    share = share_inside(saliency, mask) if mask is not None and mask.shape == saliency.shape else None
    parts = [] if share is None else [f"{percent(share)} of the relevance inside the mask"]
    place = strongest_part(saliency)
    if place:
        parts.append(f"strongest in the {place}")
    elif float(saliency.min()) == float(saliency.max()):
        parts.append("the same value everywhere")
    else:
        parts.append("nothing speaks for the explained class")
    return "; ".join(parts)


def percent(share: float) -> str:
    """``62 %``; ``under 1 %`` for less than a half of it."""
    return "under 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"
