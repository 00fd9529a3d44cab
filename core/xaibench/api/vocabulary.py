"""Literal types that the contracts share."""

from __future__ import annotations

from typing import Literal

Label = Literal["real", "fake"]
Status = Literal["ok", "undefined", "not_applicable", "failed"]
"""``ok``: there is a value. ``undefined``: the value does not exist for this case. ``not_applicable``: the cell cannot
run. ``failed``: an error occurred. Every status but ``ok`` has a reason."""
STATUSES: tuple[Status, ...] = ("ok", "undefined", "not_applicable", "failed")
Better = Literal["higher", "lower", "none"]
"""Direction in which a score improves."""
Output = Literal["probability", "logit"]
"""Output of a detector: softmax probabilities, or the logits before the softmax."""
