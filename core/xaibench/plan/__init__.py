"""The plan: every (detector, dataset, explainer, metric) cell, what cannot run and why, and what the rest costs.

choice (names -> components) -> verifying (what detectors give on the data) -> cells (what runs, what not, passes)
-> making (the plan, its checks and notes). Importing the package loads nothing: the flags of ``eval`` are its settings.
"""
