"""The version of this door, and whether a plugin was written for it.

A minor version only adds. What a later one will remove is announced for one minor version by a warning that names its
replacement.
"""

from __future__ import annotations

import re

API_VERSION = "1.0"

_PLAIN = re.compile(r"\d+(\.\d+)?")


def accepts_api(wanted: str | int, version: str = API_VERSION) -> bool:
    """Whether a plugin that states ``XAIBENCH_API = wanted`` works with an API version.

    ``"1"`` and ``"1.2"`` mean that version and every later minor one; anything else is a range as of PEP 440,
    ``">=1.1,<3"``. Raises ``ValueError`` for what is neither.

    >>> accepts_api("1", "1.4"), accepts_api("1.2", "1.1"), accepts_api(">=1.1,<3", "2.0")
    (True, False, True)
    """
    text = str(wanted).strip()
    if _PLAIN.fullmatch(text):
        major, _, minor = text.partition(".")
        has_major, _, has_minor = version.partition(".")
        return major == has_major and int(has_minor) >= int(minor or 0)
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        if not text:
            raise InvalidSpecifier
        return SpecifierSet(text).contains(version)
    except InvalidSpecifier:
        raise ValueError(
            f"XAIBENCH_API = {wanted!r} is no version and no range: write '1', '1.2' or '>=1.1,<3'"
        ) from None
