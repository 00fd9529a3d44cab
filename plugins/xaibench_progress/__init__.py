"""The progress of a run: bars on a terminal, one line in a notebook, lines elsewhere."""
