"""What commands share: common flags, JSON output, consoles, literal text, and errors as lines with an exit code."""

from __future__ import annotations

import json as jsonlib
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xaibench.api.errors import XaibenchError, describe_error
from xaibench.api.flags import SHARED_FLAGS
from xaibench.api.output_streams import answer_stream, reserve_answer
from xaibench.api.safe_text import printable, redact
from xaibench.api.value_completion import completion

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def _reserve(value: bool) -> bool:
    """With ``--json``, stdout is kept for the object from the moment the flag is read."""
    if value:
        reserve_answer()
    return value


JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.", callback=_reserve)]
PluginFiles = Annotated[list[Path] | None, SHARED_FLAGS["plugin"].option()]
RunFolder = Annotated[
    str, typer.Argument(metavar="RUN", help="Folder or URL of a run.", autocompletion=completion("run"))
]

_ASCII = str.maketrans({"↑": "^", "↓": "v", "–": "-"})


def print_json(value: Mapping[str, Any]) -> None:
    """Print the object of a ``--json`` command on stdout, on one line. Other types than JSON's become strings.

    Nothing else reaches stdout under ``--json``. The line is ASCII, and secrets in it are masked.
    """
    plain = jsonlib.loads(jsonlib.dumps(value, default=str))
    print(jsonlib.dumps(_masked(plain)), file=answer_stream(), flush=True)


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(key): _masked(inner) for key, inner in value.items()}
    return [_masked(inner) for inner in value] if isinstance(value, list) else value


def make_console(*, stderr: bool = False, **options: Any) -> Console:
    """A rich console on stdout or stderr, for tables and progress bars.

    It writes out the control characters of its text and masks secrets. ``options`` are those of
    ``rich.console.Console``.
    """
    from xaibench.api.rich_console import CleanConsole

    return CleanConsole(stderr=stderr, **options)


def literal(console: Console, text: str, style: str = "") -> Text:
    """Text in which nothing is markup and control characters are written out. Arrows and dashes become ASCII where the
    terminal is not Unicode."""
    from rich.text import Text

    text = printable(text)
    return Text(text if console.encoding.startswith("utf") else text.translate(_ASCII), style=style)


def say(console: Console, text: str, style: str = "") -> None:
    """Print one line of :func:`literal` text."""
    console.print(literal(console, text, style))


_LONGEST = 1000  # characters of a message; a name or a value in it may be of any length


def _print_error(what: str, mend: str) -> None:
    """A line of what went wrong and one of how to mend it on stderr, where that can still be written."""
    with suppress(OSError):
        for line in (f"xaibench: {what}", f"  {mend}" if mend else ""):
            if line:
                print(_wrapped(line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."), file=sys.stderr)


def _wrapped(line: str) -> str:
    """A line at the width of the terminal; a program that reads stderr gets it whole. It breaks at spaces alone: a path
    in it stays one to copy."""
    if sys.stderr is None or not sys.stderr.isatty():
        return line
    width = shutil.get_terminal_size().columns
    return textwrap.fill(line, max(width, 20), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


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
        _print_error(error.what, error.mend)
        return error.exit_code
    except BrokenPipeError:
        return 1
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        _print_error(
            printable(f"{where}{error.strerror or error}"),
            "check that the path exists, can be written and has space left",
        )
        return 3
    except MemoryError as error:
        if debug:
            raise
        _print_error(f"the memory does not suffice: {error}".rstrip(": "), "give smaller inputs, or less --jobs")
        return 3
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        if debug:
            raise
        print(f"xaibench: internal error: {describe_error(error)}", file=sys.stderr)
        print("  this is a bug: please report it with the output of the same command with --debug", file=sys.stderr)
        return 70
