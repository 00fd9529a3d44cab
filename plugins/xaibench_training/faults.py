"""What goes wrong in somebody else's recipe, said as theirs and not as a bug of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from xaibench.api import PluginError, XaibenchError

_OURS = frozenset({"xaibench", "xaibench_training"})


@contextmanager
def asked(recipe: object, method: str) -> Iterator[None]:
    """Around a call of ``method`` of ``recipe``: whatever it raises becomes a :class:`PluginError` that names both.

    An error for people (:class:`XaibenchError`) stays what it is, and so do a full device and our own recipes' bugs.
    """
    kind = type(recipe)
    try:
        yield
    except (XaibenchError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:  # a recipe raises whatever it likes
        if kind.__module__.partition(".")[0] in _OURS:
            raise
        said = " ".join(str(error).split())
        raise PluginError(
            f"recipe {kind.__name__}: {method}() raised {type(error).__name__}: {said}",
            "mend the recipe: xaibench check tries it, and --debug shows where it failed",
        ) from error
