"""Executors beyond this machine: Ray, and whatever keeps the interface of ``concurrent.futures``."""
