"""The scripts that draw charts on the page: Vega, Vega-Lite and vega-embed of the installed vl-convert, as one text.

Putting them together takes seconds, so the text is kept in the cache folder of the user, under the versions of what
makes it. Where it cannot be kept it is made anew.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

from xaibench.api import StoreError, commit_file, stage_text

_SNIPPET: Final = "window.vegaEmbed = vegaEmbed;"


@cache
def vega_script() -> str:
    """JavaScript that defines ``vegaEmbed``; it loads nothing."""
    import vl_convert

    name = f"vega-{version('vl-convert-python')}-{vl_convert.get_vega_embed_version()}.js"
    with suppress(OSError, UnicodeDecodeError, RuntimeError):
        return (cache_folder() / name).read_text(encoding="utf-8")
    text: str = vl_convert.javascript_bundle(_SNIPPET)
    with suppress(OSError, StoreError, RuntimeError):
        kept = cache_folder() / name
        kept.parent.mkdir(parents=True, exist_ok=True)
        commit_file(stage_text(text, kept.parent, kept.name), kept)
    return text


def cache_folder() -> Path:
    """``xaibench`` in ``XDG_CACHE_HOME``, by default in ``~/.cache``; on Windows in ``LOCALAPPDATA``. Raises
    RuntimeError where nobody's home is known."""
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "xaibench"
