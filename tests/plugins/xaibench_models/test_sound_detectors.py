"""Detectors that are in order pass ``check`` and ``eval``, and no mark and no doubt that is false stands beside them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import sound_detectors
from PIL import Image
from toy_runs import LONG

BLACK_BOXES = {"dynamic int8", "static int8", "remote", "stochastic ONNX"}
"""They have no gradient: what only asks for scores or for nothing runs."""
CHANCE = "stochastic"
FEW = "not measured"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folders of models, made when first asked for, and of pictures."""
    return tmp_path_factory.mktemp("sound")


def model(place, name):
    folder = place / name.replace(" ", "-").replace(".", "-")
    if not folder.exists():
        folder.mkdir()
        path = sound_detectors.BUILD[name](folder)
        (folder / "path.txt").write_text(str(path))
    return (folder / "path.txt").read_text()


def people(place, count=30, labels=("real", "fake")):
    folder = place / f"people-{count}-{'-'.join(labels)}"
    return str(folder) if folder.exists() else sound_detectors.write_people(folder, count, labels)


def failures(cli, path, data):
    """What ``check`` fails, with its exit code."""
    code, out, err = cli("check", path, "--dataset", data, "--json")
    assert code in (0, 5), err
    return code, [(r["check"], r["message"]) for r in json.loads(out)["checks"] if r["status"] == "fail"]


def marks(cli, path, data, run, *explainers):
    """The marks of ``eval``, with its exit code and the statuses of its scores."""
    flags = [flag for name in explainers for flag in ("-e", name)]
    code, _, err = cli(
        "eval", "-m", path, "-D", data, *flags, "-x", "entropy-spatial", "--limit", 1000, "--threads", 1, "-q", "-o", run,
        "--no-controls",
    )  # fmt: skip
    assert code == 0, err
    assert "in doubt" not in err
    detectors = pq.read_table(run / "detectors").to_pylist()
    scores = pq.read_table(run / "scores").to_pylist()
    assert {r["status"] for r in scores if r["explainer"].rpartition("/")[2] in explainers} == {"ok"}
    return [(r["check"], r["name"]) for r in detectors if r["mark"]], err


@LONG
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sound_detectors.BUILD)
def test_a_sound_detector_passes(cli, place, tmp_path, name):
    path, data = model(place, name), people(place)
    assert failures(cli, path, data) == (0, [])
    explainers = ("center-prior", "edges") if name in BLACK_BOXES else ("saliency", "edges")
    found, err = marks(cli, path, data, tmp_path / "run", *explainers)
    assert found == ([("structure", CHANCE)] if name.startswith(CHANCE) else [])
    assert ("warning" in err) == name.startswith(CHANCE)


@LONG
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("count", "labels"), [(2, ("real", "fake")), (20, ("real",)), (20, ("fake",))], ids=["four", "real", "fake"]
)
@pytest.mark.parametrize("name", ["dynamic int8", "one logit", "ViT"])
def test_few_pictures_and_one_label(cli, place, tmp_path, name, count, labels):
    path, data = model(place, name), people(place, count, labels)
    assert failures(cli, path, data) == (0, [])
    found, err = marks(cli, path, data, tmp_path / "run", "center-prior", "edges")
    assert found == ([("accuracy", FEW)] if count == 2 else [])
    assert "warning" not in err


@LONG
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sound_detectors.BUILD)
def test_one_picture_is_explained(cli, place, tmp_path, name):
    pictures = sound_detectors.person(np.random.default_rng(7))
    Image.fromarray(pictures["warm"]).save(tmp_path / "one.png")
    explainer = "edges" if name in BLACK_BOXES else "saliency"
    code, out, err = cli(
        "explain", tmp_path / "one.png", "-m", model(place, name), "-e", explainer, "-o", tmp_path / "x"
    )
    assert code == 0, err
    assert "P(fake)" in out and (tmp_path / "x" / f"{explainer}.png").is_file()


@LONG
@pytest.mark.filterwarnings("ignore")
def test_all_members_of_a_family_are_looked_at(cli, place, tmp_path):
    code, _, err = cli(
        "eval", "-m", model(place, "family"), "-D", people(place), "-e", "saliency", "-x", "entropy-spatial", "-q",
        "--members", "all", "--threads", 1, "--limit", 1000, "-o", tmp_path / "run",
    )  # fmt: skip
    assert code == 0 and "warning" not in err, err
    rows = pq.read_table(tmp_path / "run" / "detectors").to_pylist()
    assert {r["member"] for r in rows if r["check"] == "structure"} == {f"seed-{i}" for i in range(3)}
    assert [r["mark"] for r in rows if r["mark"]] == []


@LONG
@pytest.mark.filterwarnings("ignore")
def test_a_remote_detector_is_asked_no_more_than_it_has_to_be(cli, place, tmp_path):
    code, out, err = cli(
        "eval", "-m", model(place, "remote"), "-D", people(place), "-e", "edges", "-x", "entropy-spatial", "--json",
        "--threads", 1, "--limit", 1000, "-o", tmp_path / "run",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["forward"] <= 60 + 16


KERAS = """
import sys
from pathlib import Path
import keras_detector
from sound_detectors import write_people

folder = Path(sys.argv[1])
print(keras_detector.write(folder), write_people(folder / "people", 30))
"""


@LONG
@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="Keras is not installed")
def test_keras_on_torch(tmp_path):
    """In processes of its own, as Keras reads its backend when it is imported."""
    support = str(Path(sound_detectors.__file__).parent)
    environment = {**os.environ, "KERAS_BACKEND": "torch", "PYTHONPATH": support}
    program = "from xaibench.cli.main import main; main()"

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-c", *map(str, arguments)], check=False, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        return done

    path, data = run(KERAS, tmp_path).stdout.split()[-2:]
    run(program, "check", path, "--dataset", data)
    done = run(
        program, "eval", "-m", path, "-D", data, "-e", "saliency", "-e", "gradcam", "-x", "entropy-spatial", "-q",
        "--limit", 1000, "-o", tmp_path / "run",
    )  # fmt: skip
    assert "warning" not in done.stderr
    assert [r["mark"] for r in pq.read_table(tmp_path / "run" / "detectors").to_pylist() if r["mark"]] == []
