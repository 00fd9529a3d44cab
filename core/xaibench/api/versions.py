"""The version of the plugin API, and the versions that a plugin accepts.

A minor version only adds names. A name that a later version removes is announced for one minor version by a warning
that names its replacement.
"""

from __future__ import annotations

import re

API_VERSION = "1.0"

_PLAIN = re.compile(r"\d+(\.\d+)?")


def accepts_api(statement: str | int, version: str = API_VERSION) -> bool:
    """Whether a plugin that states ``XAIBENCH_API = statement`` works with an API version.

    ``"1"`` and ``"1.2"`` accept that version and every later one of the same major version. A statement may also be a
    range of PEP 440, such as ``">=1.1,<3"``. Raises ``ValueError`` for anything else.

    >>> accepts_api("1", "1.4"), accepts_api("1.2", "1.1"), accepts_api(">=1.1,<3", "2.0")
    (True, False, True)
    """
    text = str(statement).strip()
    if _PLAIN.fullmatch(text):
        major, _, minor = text.partition(".")
        api_major, _, api_minor = version.partition(".")
        return major == api_major and int(api_minor) >= int(minor or 0)
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        if not text:
            raise InvalidSpecifier
        return SpecifierSet(text).contains(version)
    except InvalidSpecifier:
        raise ValueError(
            f"XAIBENCH_API = {statement!r} is no version and no range: write '1', '1.2' or '>=1.1,<3'"
        ) from None
