"""What a run asks of a detector before it explains anything: its structure, its accuracy and its card."""

LOOKS = 3
"""Results of a detector on a dataset beside its predictions: structure, card, accuracy."""
STRUCTURE = 48
"""Passes of the structure of a sound detector that takes several pictures at once: 16 pictures twice, and 8 of them
beside as many others."""
MOST = 64
"""Passes of it in a plan."""
