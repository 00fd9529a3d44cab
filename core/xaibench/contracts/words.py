"""Words that the contracts share."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    from xaibench.probes import Reply, Request


T = TypeVar("T")
Programme: TypeAlias = "Generator[Request, Reply, T]"

Label = Literal["real", "fake"]
Status = Literal["ok", "undefined", "not_applicable", "failed", "skipped"]
STATUSES: tuple[Status, ...] = ("ok", "undefined", "not_applicable", "failed", "skipped")
Better = Literal["higher", "lower", "none"]
Output = Literal["probability", "logit"]
