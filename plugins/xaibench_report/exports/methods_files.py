"""The methods of a run and their BibTeX, in files or on stdout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from xaibench.api import UsageError, literal, make_console
from xaibench_report.exports.marked_text import Block, Citations, Form, render
from xaibench_report.exports.methods_text import methods_of
from xaibench_report.exports.output_file import write_file
from xaibench_report.exports.run_record import RunRecord

if TYPE_CHECKING:
    from xaibench import Run


def write_methods(folder: str, out: Path | None, bibtex: Path | None, *, with_text: bool) -> None:
    """Write the methods to ``out``, to stdout where it is None, and their BibTeX to ``bibtex`` where it is given."""
    from xaibench import __version__, open_run

    form = _form(out)
    if bibtex is not None and bibtex.suffix != ".bib":
        raise UsageError(f"{bibtex} does not end in .bib", "give --bibtex a name such as methods.bib")
    run = open_run(folder)
    blocks = methods_of(RunRecord.read(run), __version__)
    if with_text and out is None:
        _print(render(blocks, "txt"))
    elif out is not None:
        _write(run, out, render(blocks, form))
        print(f"wrote the methods to {out}", file=sys.stderr)
    if bibtex is not None:
        _write_bibtex(run, bibtex, blocks)
    elif out is not None and form == "tex":
        print("it cites keys of BibTeX: --bibtex FILE.bib writes their entries", file=sys.stderr)


def _form(out: Path | None) -> Form:
    forms = {f".{form}": form for form in get_args(Form)}
    if out is not None and out.suffix not in forms:
        raise UsageError(f"{out} ends in none of {', '.join(forms)}", "choose one of them")
    return "txt" if out is None else forms[out.suffix]


def _write_bibtex(run: Run, out: Path, blocks: tuple[Block, ...]) -> None:
    citations = Citations.of(blocks)
    _write(run, out, citations.bibtex())
    print(f"wrote {len(citations.keys):,} references to {out}", file=sys.stderr)


def _write(run: Run, out: Path, text: str) -> None:
    write_file(run, out, lambda aside: aside.write_text(text, encoding="utf-8", newline="\n"))


def _print(text: str) -> None:
    """Print on stdout: wrapped between words in a terminal, a paragraph a line elsewhere."""
    console = make_console()
    for line in text.splitlines():
        console.print(literal(console, line), soft_wrap=not console.is_terminal)
