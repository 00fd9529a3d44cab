"""What ``xaibench new-plugin`` writes. ``tests/core/discovery/test_plugin_package.py`` builds, installs and runs it."""

from __future__ import annotations

import ast
import tomllib

FILES = {
    "pyproject.toml", "README.md", "src/xaibench_acme/__init__.py", "src/xaibench_acme/plugin.py",
    "src/xaibench_acme/explainer.py", "src/xaibench_acme/metric.py", "tests/test_contract.py",
}  # fmt: skip


def test_it_writes_a_package_without_a_word_left_open(cli, tmp_path):
    code, out, _ = cli("new-plugin", "xaibench-acme", "--out", tmp_path)
    folder = tmp_path / "xaibench-acme"
    assert code == 0
    assert out.splitlines() == [f"wrote {folder}", f"next: pip install -e {folder} && xaibench check xaibench-acme"]
    texts = {f.relative_to(folder).as_posix(): f.read_text("utf-8") for f in folder.rglob("*") if f.is_file()}
    assert set(texts) == FILES
    assert not [name for name, text in texts.items() if "@NAME@" in text or "@PACKAGE@" in text or "@SHORT@" in text]
    assert all(ast.parse(text) for name, text in texts.items() if name.endswith(".py"))
    project = tomllib.loads(texts["pyproject.toml"])["project"]
    assert project["name"] == "xaibench-acme"
    assert project["entry-points"]["xaibench"] == {"acme": "xaibench_acme.plugin"}


def test_it_overwrites_nothing(cli, tmp_path):
    (tmp_path / "xaibench-acme").mkdir()
    code, _, err = cli("new-plugin", "xaibench-acme", "--out", tmp_path)
    assert code == 2 and "exists already" in err
