"""Everything that xaibench refuses, as one small tree.

    XaibenchError            anything a person can mend; the command line prints it without a traceback
    ├── UsageError           a wrong flag, key or value                            exit 2
    ├── PlanError            the plan cannot run                                   exit 3
    │   ├── UnknownComponent no component of that name
    │   ├── PluginError      a plugin that the plan needs is broken
    │   ├── ModelError       a model cannot be opened or is not what its card says
    │   ├── DatasetError     a dataset cannot be opened
    │   └── StoreError       the output folder cannot be used
    ├── NothingToEvaluate    no picture or no cell is left                         exit 4
    └── UnreadablePicture    one picture cannot be decoded; the run goes on without it

Anything else that escapes is a bug and is reported as one.
"""

from __future__ import annotations

import traceback
from typing import ClassVar


class XaibenchError(Exception):
    """What went wrong in one line, and how to mend it in another.

    Parameters
    ----------
    what: one line saying what is wrong, naming the file, key or component.
    mend: one line saying what to do about it; may be empty where nothing can be done.
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.mend = mend

    def __reduce__(self) -> tuple[type[XaibenchError], tuple[str, str]]:
        return type(self), (self.what, self.mend)


class UsageError(XaibenchError):
    """A wrong flag, run-file key or parameter value."""

    exit_code = 2


class PlanError(XaibenchError):
    """The plan cannot run."""


class UnknownComponent(PlanError):
    """No component of that kind and name is registered."""


class PluginError(PlanError):
    """A plugin is broken, or disagrees with this version of xaibench."""


class ModelError(PlanError):
    """A model cannot be opened, or its file and its card disagree."""


class DatasetError(PlanError):
    """A dataset cannot be opened."""


class StoreError(PlanError):
    """The output folder cannot be used or written."""


class NothingToEvaluate(XaibenchError):
    """No sample, or no cell of the plan, is left to evaluate."""

    exit_code = 4


class UnreadablePicture(XaibenchError):
    """One file is broken, truncated, too large or no picture; it is counted and left out."""


def as_exception(raised: Exception | SystemExit) -> Exception:
    """What a component raised; ``sys.exit`` becomes a :class:`PluginError`, which costs what any other error costs."""
    if isinstance(raised, Exception):
        return raised
    code = "" if raised.code is None else repr(raised.code)
    error = PluginError(f"a component called sys.exit({code})", "it should raise an exception: tell its author")
    error.__cause__ = raised
    return error


def describe_error(error: BaseException) -> str:
    """One line: the exception's type and text."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]


def trace_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
