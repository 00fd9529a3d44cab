"""Installed plugins without pip: a folder on ``sys.path`` with ``NAME-VERSION.dist-info`` is a distribution."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def fake_distribution(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    entry_points: Mapping[str, str] | None = None,
    source: str = "",
    module: str | None = None,
) -> Path:
    """Write a plugin distribution into ``folder``, which belongs on ``sys.path`` while it is used.

    Parameters
    ----------
    name: of the distribution, such as ``xaibench-acme``.
    entry_points: name to value in the group ``xaibench``; by default the distribution's name to its module.
    source: text of the module.
    module: its name; by default the distribution's with underscores.

    Returns the ``.dist-info`` folder, for example in a pytest test::

        fake_distribution(tmp_path, "xaibench-acme", source="raise RuntimeError('broken')")
        monkeypatch.syspath_prepend(tmp_path)
        assert load_registry().failures[0].stage == "import"
    """
    stem = module or name.replace("-", "_")
    points = {name: stem} if entry_points is None else entry_points
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    lines = ["[xaibench]", *(f"{key} = {value}" for key, value in points.items()), ""]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    (folder / f"{stem}.py").write_text(source, encoding="utf-8")
    return info
