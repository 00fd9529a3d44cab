"""The values of a run: its tables, read once, as cells of explainers and scores."""
