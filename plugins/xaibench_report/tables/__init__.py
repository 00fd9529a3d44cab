"""Tables of any shape: rows and columns by any key of a run, for a terminal, a paper or a notebook."""
