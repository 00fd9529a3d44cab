"""Explainers that differentiate the detector."""
