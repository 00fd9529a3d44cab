"""xaibench: which explanation of a deepfake detector can be trusted?

Plugin authors import from :mod:`xaibench.plugin`, :mod:`xaibench.contracts`, :mod:`xaibench.parameters`,
:mod:`xaibench.probes` and, in tests, :mod:`xaibench.testing`. Importing this package loads none of them.
"""

__version__ = "0.1.0"
