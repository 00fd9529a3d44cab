"""``xaibench view``: the page of a run on the loopback address, its pictures read on demand."""
