"""Attacks on a detector's verdict, in the space of pictures."""

from __future__ import annotations

from typing import Literal

AttackMode = Literal["strict", "t24-code"]
