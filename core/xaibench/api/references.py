"""References to the literature: what a record says of where a method comes from.

Light: loads nothing but the standard library.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from xaibench.api.safe_text import printable

ReferenceKind = Literal["article", "inproceedings", "incollection", "book", "misc"]

_OTHERS = "others"
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9:.+-]*")
_ARXIV = re.compile(r"\d{4}\.\d{4,5}|[a-z-]+(\.[A-Z]{2})?/\d{7}")
_DOI = re.compile(r"10\.\d{4,9}/\S+")
_URL = re.compile(r"https?://\S+")
_WITH_VENUE = ("article", "inproceedings", "incollection")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One publication.

    Parameters
    ----------
    key: what ``\\cite`` takes, such as ``selvaraju2017``: letters, digits and ``:.+-``, a letter first.
    kind: ``article``, ``inproceedings``, ``incollection``, ``book`` or ``misc``.
    authors: as ``"Family, Given"``. A name without a comma is an organisation, and ``"others"`` as the last author
        stands for those that are not listed.
    title: in sentence case. BibTeX styles keep its capitals.
    year: of publication.
    venue: journal, proceedings or book. Required of ``article``, ``inproceedings`` and ``incollection``.
    volume, number, pages, publisher: where known.
    doi, arxiv, url: identifiers without a prefix (``10.1109/ICCV.2017.74``, ``1610.02391``), and an address.

    Raises ``ValueError`` for a value of another form and ``TypeError`` for a value of another type.
    """

    key: str
    kind: ReferenceKind
    authors: tuple[str, ...]
    title: str
    year: int
    venue: str = ""
    volume: str = ""
    number: str = ""
    pages: str = ""
    publisher: str = ""
    doi: str = ""
    arxiv: str = ""
    url: str = ""

    def __post_init__(self) -> None:
        authors: object = self.authors
        if not isinstance(authors, tuple | list):
            raise TypeError(f"authors of {self.key!r} are no tuple of names")
        object.__setattr__(self, "authors", tuple(authors))
        for field in fields(self):
            self._check_type(field.name)
        problem = self._problem()
        if problem:
            raise ValueError(f"reference {self.key!r}: {problem}")

    def _check_type(self, name: str) -> None:
        value = getattr(self, name)
        expected = int if name == "year" else str
        for inner in value if name == "authors" else (value,):
            if not isinstance(inner, expected) or isinstance(inner, bool):
                raise TypeError(f"{name} of {self.key!r} holds {type(inner).__name__}, not {expected.__name__}")
            if isinstance(inner, str) and (inner != inner.strip() or "\n" in inner or inner != printable(inner)):
                raise ValueError(f"{name} of {self.key!r} has line breaks, control characters or blanks at its ends")

    def _problem(self) -> str:
        """What is wrong with the values; empty where nothing is."""
        identifiers = (("arxiv", _ARXIV), ("doi", _DOI), ("url", _URL))
        wrong = [n for n, form in identifiers if getattr(self, n) and not form.fullmatch(getattr(self, n))]
        checks = (
            (_KEY.fullmatch(self.key), "its key is not made of letters, digits and :.+-, a letter first"),
            (self.kind in get_args(ReferenceKind), f"its kind is none of {', '.join(get_args(ReferenceKind))}"),
            (self.authors and all(self.authors), "it has no authors, or one without a name"),
            (
                _OTHERS not in self.authors[:-1] and self.authors != (_OTHERS,),
                "'others' is not the last of its authors",
            ),
            (self.title, "it has no title"),
            (1500 <= self.year <= 2999, f"its year is {self.year}"),
            (self.venue or self.kind not in _WITH_VENUE, f"{self.kind} asks for a venue"),
            (not wrong, f"{', '.join(wrong)} is of another form"),
        )
        return next((words for holds, words in checks if not holds), "")

    @property
    def label(self) -> str:
        """Authors and year: ``Selvaraju et al. 2017``, ``Draelos and Carin 2020``, ``Fawcett 2006``."""
        families = [name.partition(",")[0] for name in self.authors]
        if len(families) > 2 or families[-1] == _OTHERS:
            return f"{families[0]} et al. {self.year}"
        return f"{' and '.join(families)} {self.year}"

    @property
    def short(self) -> str:
        """One line that finds it: ``Selvaraju et al. 2017, arXiv:1610.02391``. Without an arXiv number the DOI stands
        in its place, else the venue, else the title."""
        identifier = f"arXiv:{self.arxiv}" if self.arxiv else f"doi:{self.doi}" if self.doi else ""
        place = " ".join(p for p in (self.venue, self._issue()) if p)
        return f"{self.label}, {identifier or place or self.title}"

    @property
    def text(self) -> str:
        """The reference in full, as in a list of references."""
        names = [self._in_reading_order(name) for name in self.authors]
        last = "et al." if names[-1] == _OTHERS else names[-1]
        authors = f"{', '.join(names[:-1])}{' ' if last == 'et al.' else ' and '}{last}" if names[1:] else last
        title = self.title if self.title[-1] in ".?!”" else f"{self.title}."
        parts = (f"{authors}{'' if authors.endswith('.') else '.'} {title}", self._place(), str(self.year))
        where = ", ".join(p for p in parts[1:] if p)
        links = (f"doi:{self.doi}" if self.doi else "", f"arXiv:{self.arxiv}" if self.arxiv else "", self.url)
        return " ".join((parts[0], f"{where}.", *(f"{link}." for link in links if link)))

    def _in_reading_order(self, name: str) -> str:
        family, _, given = name.partition(", ")
        return f"{given} {family}".strip()

    def _place(self) -> str:
        """Venue, issue, pages and publisher: ``Pattern Recognition Letters 27(8):861-874``."""
        issue = self._issue()
        pages = f"pages {self.pages}" if self.pages and not issue else ""
        return ", ".join(p for p in (f"{self.venue} {issue}".strip(), pages, self.publisher) if p)

    def _issue(self) -> str:
        """Volume, number and pages; empty where neither of the first two is known."""
        number = f"({self.number})" if self.number else ""
        return f"{self.volume}{number}:{self.pages}".strip(":") if self.volume or number else ""

    def to_dict(self) -> dict[str, Any]:
        """The fields that have a value, as JSON has them. ``Reference(**values)`` makes the reference again."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items() if v}
