"""Write the pages of the reference that are made from the code: ``docs/reference/*.md``, readable in a checkout.

    python tools/reference.py [--check]

``--check`` writes nothing and exits with 1 where a page is not what the code says.
"""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def main(arguments: list[str]) -> int:
    """Write the pages that differ, or name them; the exit code."""
    sys.path.insert(0, str(DOCS))
    from reference_pages import pages

    stale = [(DOCS / path, text) for path, text in pages().items() if _current(DOCS / path) != text]
    for path, text in stale:
        print(path.relative_to(DOCS.parent))
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
    return int("--check" in arguments and bool(stale))


def _current(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
