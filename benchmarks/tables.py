"""Tables that benchmarks print: aligned columns, or Markdown as the documentation has it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

LIBRARIES = ("torch", "onnxruntime", "onnxruntime-gpu", "captum", "lime", "shap", "quantus", "numpy", "scipy")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool, words: int = 1) -> str:
    """``rows`` below ``header``; the first ``words`` columns are words, the others numbers and stand to the right."""
    if markdown:
        rule = ["---"] * words + ["---:"] * (len(header) - words)
        return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = (
        "  ".join(c.ljust(w) if i < words else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in (header, *rows)
    )
    return "\n".join(line.rstrip() for line in lines)


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits without an exponent; a dash where there is none."""
    if value is None:
        return "-"
    places = max(0, digits - 1 - int(f"{value:e}".partition("e")[2])) if value else 0
    return f"{value:,.{min(places, 6)}f}"


def machine() -> str:
    """When, where and with what a table was measured."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    versions = []
    for name in LIBRARIES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{time.strftime('%Y-%m-%d %H:%M')}; {os.cpu_count()} cores of {cpu}; load {load}; "
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )
