"""References as BibTeX, and text as LaTeX shows it."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from xaibench.api import Reference, printable

_OTHERS: Final = "others"
_VENUE_FIELDS: Final = {"article": "journal", "inproceedings": "booktitle", "incollection": "booktitle"}
"""What BibTeX calls the venue; ``howpublished`` for the other kinds."""


def bibtex(reference: Reference, key: str = "") -> str:
    """An entry for BibTeX and biber, in ASCII where LaTeX has an accent for a letter, else in UTF-8.

    ``key`` stands in place of its own where it is given.
    """
    venue = _VENUE_FIELDS.get(reference.kind, "howpublished")
    # plain styles show no eprint
    preprint = f"arXiv:{reference.arxiv}" if reference.arxiv and reference.kind == "misc" else ""
    entry = {
        "author": " and ".join(_name(name) for name in reference.authors),
        "title": _title(reference.title),
        venue: latex_text(reference.venue or preprint),
        "volume": latex_text(reference.volume),
        "number": latex_text(reference.number),
        "pages": latex_text(re.sub(r"(?<=\d)[-–](?=\d)", "--", reference.pages)),
        "publisher": latex_text(reference.publisher),
        "year": str(reference.year),
        "doi": latex_text(reference.doi),
        "eprint": reference.arxiv,
        "archiveprefix": "arXiv" if reference.arxiv else "",
        "url": _address(reference.url),
    }
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in entry.items() if value)
    return f"@{reference.kind}{{{key or reference.key},\n{lines}}}\n"


def _name(name: str) -> str:
    if name == _OTHERS:
        return _OTHERS
    return latex_text(name) if "," in name else f"{{{latex_text(name)}}}"


_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''",
    "“": "``", "”": "''", "‘": "`", "’": "'", "–": "--", "—": "---", "…": r"\ldots{}", "×": r"$\times$", "\u00a0": "~",
    "ß": r"{\ss}", "ø": r"{\o}", "Ø": r"{\O}", "æ": r"{\ae}", "Æ": r"{\AE}", "œ": r"{\oe}", "Œ": r"{\OE}",
    "ł": r"{\l}", "Ł": r"{\L}", "ı": r"{\i}",
}  # fmt: skip
_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u ", "\u0307": ".",
    "\u0308": '"', "\u030a": "r ", "\u030b": "H ", "\u030c": "v ", "\u0323": "d ", "\u0326": "c ", "\u0327": "c ",
    "\u0328": "k ",
}  # fmt: skip
"""Accents of LaTeX by combining character. The comma below stands as the cedilla, which every font encoding has."""


def latex_text(text: str) -> str:
    r"""``text`` as LaTeX shows it: special characters escaped, accented letters as ``{\"o}``. Other letters stay UTF-8.

    >>> latex_text("Hedström & Weber: 50 %")
    'Hedstr{\\"o}m \\& Weber: 50 \\%'
    """
    return "".join(_letter(letter) for letter in unicodedata.normalize("NFC", printable(text)))


def _letter(letter: str) -> str:
    if letter in _SPECIAL:
        return _SPECIAL[letter]
    parts = list(unicodedata.normalize("NFD", letter))
    if len(parts) != 2 or parts[1] not in _ACCENTS or not parts[0].isascii():
        return letter
    base, mark = parts
    base = rf"\{base}" if base in "ij" else base
    return f"{{\\{_ACCENTS[mark]}{base}}}"


_WORD = re.compile(r"(\W*)(.*?)(\W*)", re.DOTALL)


def _title(title: str) -> str:
    """A title with its capitals in braces, since styles lower all but the first character and that after a colon."""
    words = title.split(" ")
    starts = [True, *(word.endswith(":") for word in words)]
    return " ".join(_kept(word, start) for word, start in zip(words, starts, strict=False))


def _kept(word: str, start: bool) -> str:
    """One word of a title. Marks around it stay outside the braces: a style looks for a colon there."""
    match = _WORD.fullmatch(word)
    assert match is not None
    before, core, after = match.groups()
    changeable = core[1:] if start and not before else core
    kept = f"{{{latex_text(core)}}}" if any(letter.isupper() for letter in changeable) else latex_text(core)
    return f"{latex_text(before)}{kept}{latex_text(after)}"


def _address(url: str) -> str:
    """An address as ``\\url`` takes it; braces, which would end the field, as percent codes."""
    return url.replace("{", "%7B").replace("}", "%7D").replace("\\", "%5C")
