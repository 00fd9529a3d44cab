"""Explainers that change how a network propagates: they see its operations through :mod:`xaibench_operations`."""
