"""No table of a run tells of the machine: paths are short, ``run.toml`` keeps them whole, a run goes on with them."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import TOY
from xaibench.store.folder import RunFolder
from xaibench.store.open_run import open_run
from xaibench.store.schema import TABLES
from xaibench.store.table_paths import restore_values, shorten, shorten_json, shorten_values


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home, work = tmp_path / "people" / "ada", tmp_path / "work"
    (home / "data").mkdir(parents=True)
    work.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    return tmp_path


def test_paths_are_short_wherever_they_stand(places: Path) -> None:
    work, home = places / "work", places / "people" / "ada"
    cases = {
        f"{work}/faces/a.png: is empty": "faces/a.png: is empty",
        f"maps:path={home}/data/maps": "maps:path=~/data/maps",
        f"No such file: '{work}/x y/a.toml'": "No such file: 'x y/a.toml'",
        'File "/opt/lib/python3.11/site-packages/torch/nn/linear.py", line 3': 'File "torch/nn/linear.py", line 3',
        "/srv/secret project/faces": "secret project/faces",
        "/mnt/ada/faces and s3://bucket/faces, fake/a.png, 3/4, and/or": "faces and s3://bucket/faces, fake/a.png, 3/4, and/or",
        "memory://runs/a": "memory://runs/a",
        "https://example.org/a/b": "https://example.org/a/b",
        "1 / 2": "1 / 2",
    }
    assert {text: shorten(text) for text in cases} == cases
    assert all(shorten(short) == short for short in cases.values())


def test_whole_values_come_back(places: Path) -> None:
    value: dict[str, Any] = {
        "path": "/srv/my faces",
        "out": str(places / "work" / "out"),
        "n": [1, str(Path.home() / "a")],
    }
    paths: dict[str, str] = {}
    short = shorten_values(value, paths)
    assert short == {"path": "my faces", "out": "out", "n": [1, "~/a"]}
    assert restore_values(short, paths) == value
    assert restore_values(short, {})["n"] == value["n"]  # the home directory is known without a record
    assert shorten_json('{"path": "/srv/my faces"}') == '{"path":"my faces"}'


def _pictures(folder: Path) -> Path:
    draws = np.random.default_rng(0)
    for label in ("real", "fake"):
        (folder / label).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(draws.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / label / f"{i}.png")
    (folder / "fake" / "broken.png").write_bytes(b"no picture")
    return folder


def test_no_table_holds_a_path_of_the_machine_and_the_run_goes_on(
    cli: Callable[..., tuple[int, str, str]], places: Path
) -> None:
    pictures = _pictures(places / "people" / "ada" / "faces")
    out = places / "elsewhere" / "run"
    command = ("eval", "--plugin", TOY, "--model", "toy", "--dataset", pictures, "-e", "rows", "-x", "range",
               "--no-controls", "-q", "--threads", 1, "-o", out)  # fmt: skip
    code, _, err = cli(*command)
    assert code == 0, err
    for name in TABLES:
        for row in RunFolder(out).table(name).to_pylist():
            text = str({k: v for k, v in row.items() if k not in ("map", "native_map")})
            assert str(places) not in text and "/ada/" not in text, (name, text[:2000])
    written = tomllib.loads((out / "run.toml").read_text())
    assert written["dataset"] == [str(pictures)] and written["record"]["paths"]["~/faces"] == str(pictures)
    commits = len(list((out / "commits").iterdir()))
    code, _, err = cli(*command)
    assert code == 0 and len(list((out / "commits").iterdir())) == commits, err
    sample = open_run(out).to_arrow("samples")["sample"][0].as_py()
    assert open_run(out).picture_reader()(sample).ndim == 3
    (out / "run.toml").unlink()  # the tables alone: the home directory is found again
    assert open_run(out).settings["dataset"] == [str(pictures)]
