"""A plugin package of its own, from `new-plugin` to a run, in an environment made for it."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import venv

import pytest
from looks import STRUCTURE

pytest.importorskip("build")
pytest.importorskip("hatchling")


def run(*command, **more):
    found = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **more)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.mark.slow
def test_a_wheel_in_a_fresh_environment_brings_an_explainer_and_a_metric(cli, tmp_path):
    code, _, _ = cli("new-plugin", "xaibench-acme", "--out", tmp_path)
    assert code == 0
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", tmp_path / "xaibench-acme")
    (wheel,) = (tmp_path / "xaibench-acme" / "dist").glob("*.whl")
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    packages = run(python, "-c", "import site; print(site.getsitepackages()[0])").strip()
    # everything but the plugin comes from the environment of the tests, which pip leaves alone
    with open(f"{packages}/parent.pth", "w") as file:
        file.writelines(f"import site; site.addsitedir({p!r})\n" for p in site.getsitepackages())
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", wheel)
    components = json.loads(run(python, "-m", "xaibench", "list", "--json", cwd=tmp_path))["components"]
    ours = {(c["kind"], c["name"]) for c in components if c["origin"] == "xaibench-acme"}
    assert ours == {("explainer", "xaibench-acme/acme-map"), ("metric", "xaibench-acme/acme-contrast")}
    said = json.loads(run(
        python, "-m", "xaibench", "eval", "-e", "acme-map", "-x", "acme-contrast", "--limit", "4", "--no-controls",
        "--json", "-q", "-o", tmp_path / "run", cwd=tmp_path,
    ))  # fmt: skip
    assert said["failed"] == 0
    assert said["forward"] == STRUCTURE + 4 + 4 * 9
    checked = json.loads(run(python, "-m", "xaibench", "check", "xaibench-acme", "--json", cwd=tmp_path))
    assert checked["failed"] == 0
    assert len(checked["checks"]) > 10
