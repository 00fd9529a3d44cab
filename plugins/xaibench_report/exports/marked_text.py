"""Text with names and citations in it, as LaTeX, Markdown or plain text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from xaibench.api import Reference, printable
from xaibench_report.exports.bibtex import bibtex, latex_text

Form = Literal["tex", "md", "txt"]
_STRETCH: Final = "\\begingroup\n\\emergencystretch=3em % long names break at \\allowbreak alone\n"


@dataclass(frozen=True, slots=True)
class Code:
    """A name that is typed: of a component, a value, a digest."""

    text: str


@dataclass(frozen=True, slots=True)
class Cite:
    """Publications, cited after what stands before. None leave no trace."""

    references: tuple[Reference, ...]


Part: TypeAlias = str | Code | Cite
Parts: TypeAlias = tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A heading, a paragraph, and the items of a list below it."""

    title: str
    parts: Parts = ()
    items: tuple[Parts, ...] = ()

    def all_parts(self) -> Iterator[Part]:
        """The parts in the order in which they are read."""
        yield from self.parts
        for item in self.items:
            yield from item


@dataclass(frozen=True, slots=True)
class Citations:
    """The references of a text, in the order of their first citation, with keys and labels that are theirs alone."""

    keys: Mapping[Reference, str] = field(default_factory=dict)
    labels: Mapping[Reference, str] = field(default_factory=dict)

    @classmethod
    def of(cls, blocks: Iterable[Block]) -> Citations:
        """The references that blocks cite.

        Where two have one key, or one label (``Adebayo et al. 2018``), a letter tells them apart.
        """
        parts = (part for block in blocks for part in block.all_parts())
        cited = list(dict.fromkeys(r for part in parts if isinstance(part, Cite) for r in part.references))
        return cls(_told_apart(cited, [r.key for r in cited], first=""), _told_apart(cited, [r.label for r in cited]))

    def bibtex(self) -> str:
        """The entries of all of them, in the order of their keys."""
        entries = sorted((key, reference) for reference, key in self.keys.items())
        return "\n".join(bibtex(reference, key) for key, reference in entries)


def _told_apart(references: Sequence[Reference], names: Sequence[str], first: str = "a") -> dict[Reference, str]:
    """Names by reference, with letters after those that several have; ``first`` is that of the first of them."""
    counts = dict[str, int]()
    found = dict[Reference, str]()
    for reference, name in zip(references, names, strict=True):
        at = counts[name] = counts.get(name, -1) + 1
        letter = (first, *"bcdefghijklmnopqrstuvwxyz")[min(at, 25)] if names.count(name) > 1 else ""
        found[reference] = f"{name}{letter}"
    return found


def render(blocks: Iterable[Block], form: Form) -> str:
    """Blocks as a text that ends in a line break. Markdown and plain text end with a list of the references."""
    blocks = tuple(blocks)
    citations = Citations.of(blocks)
    writer = _WRITERS[form](citations)
    if form != "tex" and citations.labels:
        texts = sorted((label, reference.text) for reference, label in citations.labels.items())
        blocks = (*blocks, Block(title="References", items=tuple((f"{label}: {text}",) for label, text in texts)))
    text = "\n".join(writer.block(block) for block in blocks)
    return f"{_STRETCH}{text}\\par\n\\endgroup\n" if form == "tex" else text


class _PlainWriter:
    """Plain text, a paragraph a line."""

    def __init__(self, citations: Citations) -> None:
        self.citations = citations

    def block(self, block: Block) -> str:
        first = f"{self.title(block.title)} {self.inline(block.parts)}".rstrip()
        return "".join(f"{line}\n" for line in (first, *map(self.item, block.items)))

    def title(self, title: str) -> str:
        return f"{title}."

    def item(self, parts: Parts) -> str:
        return f"- {self.inline(parts)}"

    def inline(self, parts: Iterable[Part]) -> str:
        return "".join(self.part(part) for part in parts)

    def part(self, part: Part) -> str:
        if isinstance(part, Code):
            return self.code(printable(part.text))
        if isinstance(part, Cite):
            return self.cite(part.references) if part.references else ""
        return self.text(printable(part))

    def text(self, text: str) -> str:
        return text

    def code(self, text: str) -> str:
        return text

    def cite(self, references: Sequence[Reference]) -> str:
        return f" [{'; '.join(self.citations.labels[r] for r in references)}]"


class _MarkdownWriter(_PlainWriter):
    """Markdown, a paragraph a line."""

    def title(self, title: str) -> str:
        return f"**{title}.**"

    def block(self, block: Block) -> str:
        first = f"{self.title(block.title)} {self.inline(block.parts)}".rstrip()
        items = "".join(f"{self.item(item)}\n" for item in block.items)
        return f"{first}\n" + (f"\n{items}" if items else "")

    def text(self, text: str) -> str:
        return re.sub(r"([\\`*_<>\[\]])", r"\\\1", text)

    def code(self, text: str) -> str:
        fence = "``" if "`" in text else "`"
        return f"{fence}{text}{fence}"


class _LatexWriter(_PlainWriter):
    """LaTeX that needs no package, with lines of about 100 characters."""

    def block(self, block: Block) -> str:
        items = "".join(f"{self.item(item)}\n" for item in block.items)
        listed = f"\\begin{{itemize}}\n{items}\\end{{itemize}}\n" if items else ""
        return f"{_filled(f'{self.title(block.title)} {self.inline(block.parts)}'.rstrip())}\n{listed}"

    def title(self, title: str) -> str:
        return f"\\paragraph{{{latex_text(title)}.}}"

    def item(self, parts: Parts) -> str:
        return _filled(f"  \\item {self.inline(parts)}", "    ")

    def text(self, text: str) -> str:
        return latex_text(text)

    def code(self, text: str) -> str:
        escaped = latex_text(text).replace("--", "-{}-")
        breakable = re.sub(r"([:=,/+]|\\_|(?<=\w)-(?=\w)|[0-9a-f]{8})(?=.)", r"\1\\allowbreak{}", escaped)
        return f"\\texttt{{{breakable}}}"

    def cite(self, references: Sequence[Reference]) -> str:
        return f"~\\cite{{{','.join(self.citations.keys[r] for r in references)}}}"


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(text, 100, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


_WRITERS: Mapping[Form, type[_PlainWriter]] = {"tex": _LatexWriter, "md": _MarkdownWriter, "txt": _PlainWriter}
