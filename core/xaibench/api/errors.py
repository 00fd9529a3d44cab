"""The exceptions that xaibench raises.

    XaibenchError            a problem that a user can mend; the command line prints it without a traceback
    ├── UsageError           a wrong flag, key or value                            exit 2
    ├── PlanError            the plan cannot run                                   exit 3
    │   ├── UnknownComponent no component of that name
    │   ├── PluginError      a plugin that the plan needs is broken
    │   ├── ModelError       a model cannot be opened or is not what its card says
    │   ├── DatasetError     a dataset cannot be opened
    │   └── StoreError       the output folder cannot be used
    ├── NothingToEvaluate    no picture or no cell is left                         exit 4
    └── UnreadablePicture    one picture cannot be decoded; the run goes on without it

Any other exception that reaches the command line is a bug and is reported as one.
"""

from __future__ import annotations

import signal
import traceback
from typing import ClassVar

from xaibench.api.safe_text import one_line, printable, redact


class XaibenchError(Exception):
    """A problem that a user can mend.

    Parameters
    ----------
    what: one line that says what is wrong and names the file, key or component.
    mend: one line that says what to do about it; empty where nothing can be done.

    Both are kept as :func:`~xaibench.api.safe_text` lines, in which the values of secrets are masked.
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, what: str, mend: str = "") -> None:
        self.what, self.mend = one_line(str(what)), one_line(str(mend))
        super().__init__(self.what)

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
    """A file is broken, truncated, too large or no picture. It is counted and left out; the run goes on."""


class Interference(BaseException):
    """A component changed what it was handed, or the state of the process. Whoever runs it undoes that and fails it.

    It is no ``Exception``: it ends everything that runs on the changed state. ``component`` and ``sample`` are empty
    where they are not known.
    """

    def __init__(self, what: str, component: str = "", sample: str = "") -> None:
        super().__init__(what)
        self.component, self.sample = component, sample


_INTERRUPTS_ARE_IGNORED: list[bool] = []  # not empty in a worker


def ignore_interrupts() -> None:
    """Ignore Ctrl-C in this process, a worker: the driver handles it and ends the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _INTERRUPTS_ARE_IGNORED.append(True)


def as_exception(raised: BaseException) -> Exception:
    """The exception that a component raised.

    ``sys.exit`` and other exceptions that are no ``Exception`` become a :class:`PluginError`, so that they end the
    component and not the run. :class:`Interference` is raised again, and so is the ``KeyboardInterrupt`` of a user. In
    a worker, which ignores Ctrl-C, only a component can raise that.
    """
    if isinstance(raised, Exception):
        return raised
    if isinstance(raised, Interference):
        raise raised
    if isinstance(raised, KeyboardInterrupt) and not _INTERRUPTS_ARE_IGNORED:
        raise raised
    if isinstance(raised, SystemExit):
        what = f"a component called sys.exit({'' if raised.code is None else repr(raised.code)})"
    else:
        what = f"a component raised {describe_error(raised)}, which is no Exception"
    error = PluginError(what, "it should raise an exception: tell its author")
    error.__cause__ = raised
    return error


def describe_error(error: BaseException) -> str:
    """One printable line with the exception's type and text, 500 characters at most. Secrets are masked."""
    try:
        text = str(error)
    except Exception as broken:  # __str__ is the component's code, too
        text = f"its text cannot be read: {type(broken).__name__}"
    return one_line(f"{type(error).__name__}: {' '.join(text.split())}")[:500]


def trace_of(error: BaseException) -> str:
    """The traceback of an exception as printable text, in which secrets are masked."""
    return printable(redact("".join(traceback.format_exception(error))))
