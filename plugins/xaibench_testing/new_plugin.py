"""``xaibench new-plugin``: a package with one explainer and one metric, ready to install and to check."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from xaibench.api import UsageError, help_page

_FILES = {
    "pyproject.toml": "pyproject.toml.in",
    "README.md": "README.md.in",
    "src/{package}/__init__.py": "__init__.py.in",
    "src/{package}/plugin.py": "plugin.py.in",
    "src/{package}/explainer.py": "explainer.py.in",
    "src/{package}/metric.py": "metric.py.in",
    "tests/test_contract.py": "test_contract.py.in",
}


@help_page("Check and extend", "xaibench new-plugin xaibench-acme", "xaibench new-plugin xaibench-acme --out plugins")
def write_plugin(
    name: Annotated[str, typer.Argument(help="Name of the distribution, such as xaibench-acme.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to put it in.")] = Path(),
) -> None:
    """Write a plugin package with one explainer and one metric that passes `check`."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UsageError(f"'{name}' is no distribution name", "use lower-case words with dashes, such as xaibench-acme")
    folder = out / name
    if folder.exists():
        raise UsageError(f"{folder} exists already", "choose another name or --out")
    words = {"NAME": name, "PACKAGE": name.replace("-", "_"), "SHORT": name.removeprefix("xaibench-")}
    for target, template in _FILES.items():
        text = files("xaibench_testing").joinpath("templates", template).read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(f"@{word}@", value)
        path = folder / target.format(package=words["PACKAGE"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    print(f"wrote {folder}")
    print(f"next: pip install -e {folder} && xaibench check {name}")
