"""What commands share: common flags, JSON output, literal text, and errors as lines with an exit code."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xaibench.api.errors import XaibenchError
from xaibench.api.flags import SHARED_FLAGS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
PluginFiles = Annotated[list[Path] | None, SHARED_FLAGS["plugin"].option()]
RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="Folder or URL of a run.")]

_ASCII = str.maketrans({"↑": "^", "↓": "v", "–": "-"})


def print_json(value: Mapping[str, Any]) -> None:
    """Print the object of a ``--json`` command on stdout, on one line. Other types than JSON's become strings."""
    print(jsonlib.dumps(value, default=str))


def literal(console: Console, text: str, style: str = "") -> Text:
    """Text in which nothing is markup. Arrows and dashes become ASCII where the terminal is not Unicode."""
    from rich.text import Text

    return Text(text if console.encoding.startswith("utf") else text.translate(_ASCII), style=style)


def say(console: Console, text: str, style: str = "") -> None:
    """Print one line of :func:`literal` text."""
    console.print(literal(console, text, style))


def guarded(call: Callable[[], Any], debug: bool) -> int:
    """Run a command and return its exit code; what ``call`` returns is the code, None is 0.

    A :class:`XaibenchError` is printed on stderr as a line of what went wrong and a line of how to mend it, and gives
    its own exit code. An ``OSError`` gives 3, any other exception 70: it is a bug. ``debug`` re-raises exceptions.
    """
    try:
        return int(call() or 0)
    except XaibenchError as error:
        if debug:
            raise
        print(f"xaibench: {error.what}", file=sys.stderr)
        if error.mend:
            print(f"  {error.mend}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"xaibench: {where}{error.strerror or error}", file=sys.stderr)
        print("  check that the path exists, can be written and has space left", file=sys.stderr)
        return 3
    except Exception as error:
        if debug:
            raise
        print(f"xaibench: internal error: {type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        print("  this is a bug: please report it with the output of the same command with --debug", file=sys.stderr)
        return 70
