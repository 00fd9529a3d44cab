"""Gates, verdicts and ranks: what may be said of a score."""
