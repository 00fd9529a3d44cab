"""The charts of a run, as altair objects: the page, ``xaibench export --figures`` and ``run.plot`` show the same."""
