"""Runs, detectors and families against each other."""
