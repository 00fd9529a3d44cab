"""Measures of a detector's inner layer: no map is scored."""
