"""Verification of a run: random rows computed anew from what it records, and compared to the bit."""
