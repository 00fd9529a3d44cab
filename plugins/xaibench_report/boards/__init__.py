"""Leaderboards, one a family of metrics, and boards by a column."""
