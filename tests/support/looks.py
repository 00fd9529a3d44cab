"""The looks at its detector that every run has, for tests that count results, passes or commits."""

from __future__ import annotations

KINDS = ("structure", "accuracy", "card")
"""The cells of one detector on one dataset that look at the detector itself."""
LOOKS = len(KINDS)
LOOK_PASSES = 3 * 16
"""Passes of the look at a sound detector that takes several pictures at a time: 16 pictures twice, then 8 of them beside
8 extremes. Its accuracy takes none, and the card of a toy has no other reading."""
MOST_LOOK_PASSES = 64
"""What is planned for it."""
