"""Boards and comparisons in a terminal, and as JSON."""
