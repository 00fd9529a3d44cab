"""Run files that do again what publications did: ``xaibench eval papers/NAME``."""
