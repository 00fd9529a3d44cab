"""What the page holds inline: styles, scripts, data, and the policy that lets nothing else run or load.

Every ``assets/*.css`` and ``assets/*.js`` stands in the page once, ``page.*`` first. Scripts read their data by
``xaibench.data(id)`` from what :func:`json_script` writes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

from xaibench.api import printable

_FIRST: Final = "page"
_POLICY: Final = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "script-src "
)


@cache
def styles() -> str:
    """All style sheets of the page."""
    return "\n".join(_texts(".css"))


@cache
def scripts() -> tuple[str, ...]:
    """All scripts of the page, in the order in which they run."""
    return tuple(_texts(".js"))


def policy(texts: Sequence[str]) -> str:
    """The content security policy of a page: these scripts run by their digests, no other does, and nothing is loaded.

    ``texts``: the scripts as they stand between their tags.
    """
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return _POLICY + (" ".join(f"'sha256-{base64.b64encode(d).decode('ascii')}'" for d in digests) or "'none'")


def json_script(identity: str, value: Any) -> str:
    r"""``value`` as a data block with an id, as HTML.

    No text in it ends the block: ``<``, ``>`` and ``&`` are written ``\u003c``, ``\u003e`` and ``\u0026``. Control
    characters of texts are written out, as everywhere on the page. Raises ValueError for NaN and infinity.
    """
    text = json.dumps(_printable(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return f'<script type="application/json" id="{_identity(identity)}">{text}</script>'


def _identity(text: str) -> str:
    if not text.replace("-", "").isalnum() or not text.isascii():
        raise ValueError(f"{text!r} is no id of a data block: letters, digits and hyphens")
    return text


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(str(key)): _printable(item) for key, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list | tuple) else value


def _texts(suffix: str) -> Iterable[str]:
    folder = files("xaibench_report.page") / "templates" / "assets"
    assets = [asset for asset in folder.iterdir() if asset.name.endswith(suffix)]
    for asset in sorted(assets, key=lambda a: (a.name != _FIRST + suffix, a.name)):
        yield asset.read_text(encoding="utf-8").strip()
