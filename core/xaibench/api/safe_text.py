"""Text that is safe to show: no control character, and no value of a secret parameter."""

from __future__ import annotations

import json
import os
import re
from functools import lru_cache

SECRET_PREFIX = "XAIBENCH_SECRET_"
MASK = "**********"

# C0 but newline and tab, DEL, C1, overrides and isolates of the writing direction, and lone surrogates.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SHORTEST = 3  # masking each "1" or "no" would make a text unreadable and hide nothing
_SHORT = 6  # a value below this length is masked where it stands as a word of its own
_secrets: set[str] = set()


def printable(text: str) -> str:
    r"""``text`` with control characters written out: ``\x1b``, ``\u202e``. Newlines and tabs stay.

    Terminals obey control characters, and those of the writing direction make a reader see another text.
    """
    return _UNPRINTABLE.sub(lambda match: _escape(ord(match.group())), text)


def one_line(text: str) -> str:
    """:func:`printable` text without line breaks and secrets: no text from outside looks like a line of ours."""
    return printable(re.sub(r"\s*[\r\n]\s*", " ", redact(text)).strip())


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def secret_variable(distribution: str, field: str) -> str:
    """The environment variable that a secret parameter comes from.

    >>> secret_variable("xaibench-acme", "api_key"), secret_variable("local", "api_key")
    ('XAIBENCH_SECRET_XAIBENCH_ACME_API_KEY', 'XAIBENCH_SECRET_LOCAL_FILE_API_KEY')
    """
    owner = "local-file" if distribution == "local" else distribution
    return SECRET_PREFIX + re.sub(r"[^A-Z0-9]+", "_", f"{owner}_{field}".upper())


def redact(text: str) -> str:
    """``text`` with the values of all secrets in use masked: those that the environment holds or held before.

    A value below six characters is masked where no letter or digit adjoins it, one below three not at all.
    """
    if not text:
        return text
    # A plugin may delete its variable once it has read it. The value stays a secret.
    names = [name for name in os.environ if name.startswith(SECRET_PREFIX)]  # items() would decode every value, too
    _secrets.update(value for value in map(os.environ.get, names) if value and len(value) >= _SHORTEST)
    return _pattern(frozenset(_secrets)).sub(MASK, text) if _secrets else text


@lru_cache(maxsize=8)
def _pattern(values: frozenset[str]) -> re.Pattern[str]:
    """What matches each value as it is, as reprs and JSON escape it, and as addresses quote it."""
    from urllib.parse import quote, quote_plus

    forms = {
        form
        for value in values
        for form in (
            value, printable(value), repr(value)[1:-1], json.dumps(value)[1:-1],
            quote(value, safe="", errors="replace"), quote_plus(value, errors="replace"),
        )
    }  # fmt: skip
    return re.compile("|".join(_bounded(form) for form in sorted(forms, key=len, reverse=True)))


def _bounded(form: str) -> str:
    return re.escape(form) if len(form) >= _SHORT else rf"(?<![A-Za-z0-9]){re.escape(form)}(?![A-Za-z0-9])"
