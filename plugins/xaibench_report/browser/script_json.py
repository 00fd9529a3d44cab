"""JSON that stands inside a script of a page."""

from __future__ import annotations

import json
from typing import Final

_ESCAPES: Final = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


def script_json(value: object) -> str:
    """``value`` as ASCII JSON without ``<``, ``>`` and ``&``: no text in it can end the script or begin a comment."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False).translate(_ESCAPES)
