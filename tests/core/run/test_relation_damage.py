"""A file of a run that is lost, cut short or changed: every command names it, and eval does its work again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from toy_runs import EQUAL, differences, glob_differences, toy_run

from xaibench.store.commits import DATA_TABLES, PLAN_TABLES
from xaibench.store.folder import RUN_FILE, RunFolder

ASKED = {"explainer": ["rows", "shared"], "metric": ["range", "spread"], "limit": 6, "task_samples": 2}
TABLES = (*EQUAL, "maps", "artefacts")
DATA = [*DATA_TABLES, *PLAN_TABLES]


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that ended, of two plans: commits that were merged, and some that were not."""
    out = tmp_path_factory.mktemp("whole") / "run"
    toy_run(out, **ASKED | {"limit": 4})
    assert toy_run(out, **ASKED).exit_code == 0
    return out


@pytest.fixture
def out(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def damage(file, how):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    if how == "missing":
        file.unlink()
    else:
        file.write_bytes(data if how == "flip" else data[: len(data) // 2])


def refused(result, name):
    code, said, err = result
    assert code not in (0, 1) and name in said + err and "Traceback" not in err, (code, said, err)


def mended(whole, out, name, capfd):
    """``eval`` names what is lost, does its work again, and leaves nothing for a second one."""
    capfd.readouterr()
    again = toy_run(out, **ASKED)
    assert name in capfd.readouterr().err and again.exit_code == 0
    assert not differences(whole, out, TABLES) and not glob_differences(out, TABLES)
    assert toy_run(out, **ASKED).done == 0 and not capfd.readouterr().err
    assert not RunFolder(out).snapshot(verify=True).log.damage
    return again


@pytest.mark.parametrize(("table", "how"), [
    *((table, "missing") for table in DATA), *((table, "cut") for table in ("scores", "maps", "runs")),
    *((table, "flip") for table in ("curves", "artefacts", "samples", "components")),
])  # fmt: skip
def test_a_damaged_table(whole, out, cli, tmp_path, capfd, table, how):
    file = sorted((out / table).glob("*.parquet"))[-1]
    name = f"{table}/{file.name}"
    damage(file, how)
    refused(cli("status", out, *(["--verify"] if how == "flip" else [])), name)
    # A changed bit is found by whoever reads the file; what is missing, by everybody.
    read = table if how == "flip" else "scores"
    refused(cli("export", out, "--table", read, "--out", tmp_path / "x.parquet"), name)
    assert not (tmp_path / "x.parquet").exists()
    again = mended(whole, out, name, capfd)
    assert (again.done > 0) is (table in DATA_TABLES)


@pytest.mark.parametrize(
    ("table", "how"), [("scores", "missing"), ("predictions", "cut"), ("scores", "flip"), ("runs", "missing")]
)
def test_a_damaged_table_is_not_reported_over(whole, out, cli, tmp_path, table, how):
    (file, *_) = sorted((out / table).glob("*.parquet"))
    damage(file, how)
    name = f"{table}/{file.name}"
    refused(cli("report", out, "--out", tmp_path / "x.html", "--json"), name)
    refused(cli("compare", out, whole), name)
    refused(cli("compare", whole, out, "--json"), name)
    assert not (tmp_path / "x.html").exists()


@pytest.mark.parametrize("how", ["missing", "cut", "flip"])
@pytest.mark.parametrize("which", ["first", "last"])
def test_a_damaged_commit(whole, out, cli, tmp_path, capfd, which, how):
    file = sorted((out / "commits").glob("*.parquet"))[0 if which == "first" else -1]
    name = f"commits/{file.name[:8]}"
    damage(file, how)
    refused(cli("status", out), name)
    refused(cli("export", out, "--out", tmp_path / "x.parquet"), name)
    refused(cli("report", out, "--out", tmp_path / "x.html"), name)
    mended(whole, out, name, capfd)


def test_every_commit_is_lost(whole, out, capfd):
    files = sorted((out / "commits").glob("*"))
    for file in files:
        file.unlink()
    again = mended(whole, out, f"commits/{files[-1].name[:8]}-*.parquet: missing", capfd)
    assert again.reused == 0


@pytest.mark.parametrize("how", ["missing", "cut", "flip", "text"])
def test_the_run_file(whole, out, cli, how):
    """Nothing is lost with it: it is written anew, and readers know the settings from the table ``runs``."""
    if how == "text":
        (out / RUN_FILE).write_text("model = [")
    else:
        damage(out / RUN_FILE, how)
    settings = RunFolder(whole).run_file()
    code, _, err = cli("status", out)
    assert code == 0 and not err
    if how != "flip":  # one letter of a name may be another one
        read = RunFolder(out).run_file()
        read["plugin"] = [str(Path(p).resolve()) for p in read["plugin"]]  # tables hold it as seen from here
        assert {k: v for k, v in read.items() if k != "record"} == {
            k: v for k, v in settings.items() if k not in ("record", "out")
        } | {"out": read["out"]}
    assert toy_run(out, **ASKED).done == 0
    assert not differences(whole, out, TABLES)
    assert RunFolder(out).run_file()["explainer"] == settings["explainer"]


def test_all_at_once(whole, out, cli, capfd):
    """Half of all files: what is left is kept, and the rest done again."""
    files = sorted(f for f in out.glob("*/*.parquet") if f.parent.name != "commits")
    for file, how in zip(files[::2], ["missing", "cut", "flip"] * len(files), strict=False):
        damage(file, how)
    code, said, _ = cli("status", out, "--verify", "--json")
    if code == 0:
        assert json.loads(said)["damage"]
    mended(whole, out, files[0].name, capfd)
