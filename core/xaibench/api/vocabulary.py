"""Words that the contracts share."""

from __future__ import annotations

from typing import Literal

Label = Literal["real", "fake"]
Status = Literal["ok", "undefined", "not_applicable", "failed"]
STATUSES: tuple[Status, ...] = ("ok", "undefined", "not_applicable", "failed")
Better = Literal["higher", "lower", "none"]
Output = Literal["probability", "logit"]
