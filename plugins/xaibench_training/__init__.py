"""Training of the detectors that the measures compare: plain, human-guided, whitened."""
