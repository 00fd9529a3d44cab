"""What is checked, one session each: ``nox -s tests slow lint types docs bench build``.

``reference`` and ``pictures`` write what the documentation shows of the code.

A session makes an environment of its own. With ``nox --no-venv`` it installs what it needs into the environment that
nox itself runs in, which ``.ci/run`` uses to unpack torch once and not six times.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.4"
nox.options.default_venv_backend = "virtualenv|venv"
nox.options.sessions = ["lint", "types", "docs", "tests"]
nox.options.reuse_venv = "yes"

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")


def install(session: nox.Session, *arguments: str, groups: tuple[str, ...] = ()) -> None:
    """pip install under our constraints. The groups are read here, so that a pip without ``--group`` does too."""
    requirements = nox.project.dependency_groups(PROJECT, *groups) if groups else ()
    command = ("install", "-c", str(ROOT / "constraints.txt"), *arguments, *requirements)
    session.run("python", "-m", "pip", *command, silent=True)


@nox.session
def tests(session: nox.Session) -> None:
    """The tests; arguments after ``--`` go to pytest."""
    install(session, "-e", ".", groups=("test",))
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Tests that are too long for CI.

    Every explainer finds the planted evidence at every place, on all pictures. A run is the same to the byte after
    hundreds of random histories, with workers, under every executor, and killed twenty times. Three hundred hostile
    files and flags end in documented ways. Components that meddle, hang, crash and exit cost nobody else a number.
    MesoNet-4, Xception and CLIP in their published sizes have the layer of their module in every exported and optimised
    form. The key that is wrong on a card is named, and twenty kinds of detectors in order pass. Intervals of accuracy
    hold what they say.
    """
    install(session, "-e", ".[ray]", "distributed>=2024.1", "loky>=3.4", "submitit>=1.5", groups=("test",))
    places = "tests/plugins/xaibench_explainers/test_place.py"
    runs = [f"tests/core/run/test_relation{name}.py" for name in ("", "_killed", "_property")]
    runs += [
        "tests/core/store/test_object_store.py",
        "tests/core/run/test_failures.py",
        "tests/core/run/test_isolation.py",
        "tests/plugins/xaibench_papers/test_run_files.py",
        "tests/core/run/test_meddling.py",
        "tests/core/cli/test_plugin_output.py",
        "tests/core/cli/test_fuzzed_inputs.py",
        "tests/core/cli/test_closed_streams.py",
        "tests/core/cli/test_interrupts.py",
        "tests/plugins/xaibench_executors/test_equal_tables.py",
        "tests/plugins/xaibench_executors/test_killed.py",
        "tests/plugins/xaibench_models/test_exported_layers.py",
        "tests/plugins/xaibench_models/test_wrong_cards.py",
        "tests/plugins/xaibench_models/test_sound_detectors.py",
        "tests/core/run/test_detector_looks.py",
        "tests/plugins/xaibench_statistics/test_accuracy.py",
    ]
    chosen = ("--timeout", "3600", places, *runs)
    session.run("python", "-m", "pytest", *chosen, *session.posargs, env={"XAIBENCH_TEST_EVERYWHERE": "1"})


@nox.session
def mutants(session: nox.Session) -> None:
    """Faults drawn at random and put into statistics, metrics and gates: which of them no test notices."""
    install(session, "-e", ".", "cosmic-ray>=8.4", groups=("test",))
    session.run("python", "tools/mutants.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, the walls between core and plugins, and declared against imported dependencies."""
    install(session, "-e", ".", groups=("lint",))
    session.run("ruff", "check", ".")
    session.run("lint-imports")
    session.run("deptry", "core", "plugins")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict on the core."""
    install(session, "-e", ".", groups=("lint",))
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, built strictly: a dead link or an unlisted page fails."""
    install(session, "-e", ".", groups=("docs",))
    session.run("mkdocs", "build", "--strict", *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def reference(session: nox.Session) -> None:
    """Renew the pages of the reference that are written from the code."""
    install(session, "-e", ".")
    session.run("python", "tools/reference.py", *session.posargs)


@nox.session
def pictures(session: nox.Session) -> None:
    """Draw the pictures of the documentation anew, from a run of the demo; that of the page needs chromium."""
    install(session, "-e", ".")
    session.run("python", "tools/pictures.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Start-up time against `import torch` (fails above the bar), and overhead over bare detector passes."""
    install(session, "-e", ".")
    session.run("python", "benchmarks/start_up.py")
    session.run("python", "benchmarks/overhead.py")
    session.run("python", "benchmarks/components.py", "--network", "demo")


@nox.session
def measurements(session: nox.Session) -> None:
    """Write the tables of docs/explanation/measurements.md, from an hour on a machine that does nothing else."""
    install(session, "-e", ".", "opencv-python-headless>=4.9", groups=("test",))
    session.run("python", "benchmarks/page.py", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """sdist and wheel; then the wheel in an environment of its own, run outside the checkout."""
    install(session, "build>=1.2")
    out = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(out, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(out))  # the wheel is built from the sdist
    (wheel,) = out.glob("*.whl")
    fresh = out / "installed"
    session.run("python", "-m", "venv", str(fresh))
    python = str(fresh / "bin" / "python")
    constraints = str(ROOT / "constraints.txt")
    session.run(python, "-m", "pip", "install", "-q", "-c", constraints, str(wheel), external=True)
    with session.chdir(out):
        listed = session.run(python, "-m", "xaibench", "list", "--json", silent=True, external=True)
        found = json.loads(str(listed))
        session.log(f"the wheel brings {len(found['components'])} components, {len(found['failures'])} broken plugins")
        if found["failures"] or len(found["components"]) < 20:
            session.error(f"the installed wheel does not list its components: {listed}")
        session.run(
            str(fresh / "bin" / "xaibench"), "eval", "--limit", "2", "--explainer", "gradcam", "--metric", "deletion",
            "--no-controls", "--out", str(out / "run"), external=True,
        )  # fmt: skip
    shutil.rmtree(fresh)
