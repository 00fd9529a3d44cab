"""The distribution: what is packaged, what is registered, and what starting up loads."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "onnxruntime", "scipy", "pyarrow"}
PLUGINS = sorted(p for p in (ROOT / "plugins").iterdir() if p.is_dir() and any(p.rglob("*.py")))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


# ---- folders, packages, entry points --------------------------------------------------------------------------------


def test_nothing_that_tools_write_is_in_the_repository():
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--ignored", "--exclude-standard"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""
    ours = {"core", "plugins", "tests", "docs", "benchmarks", "tools", ".ci", ".gitignore", ".github"}
    folders = {p.split("/")[0] for p in tracked() if "/" in p or p.startswith(".")}
    assert folders <= ours  # no run, no cache, no scratch folder


def tracked():
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def test_packages_are_the_folders():
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(wheel) == ["core/xaibench", *(f"plugins/{p.name}" for p in PLUGINS)]
    names = {"xaibench", *(p.name for p in PLUGINS)}
    assert set(PROJECT["tool"]["mypy"]["packages"]) == names
    assert set(PROJECT["tool"]["importlinter"]["root_packages"]) == names
    assert set(PROJECT["tool"]["deptry"]["known_first_party"]) == names


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda p: p.name)
def test_a_plugin_folder_is_a_typed_package_of_our_name(folder):
    assert folder.name.startswith("xaibench_")  # each is importable at top level
    assert (folder / "py.typed").is_file()
    assert (folder / "__init__.py").is_file()


def test_the_roots_are_no_packages():
    assert not (ROOT / "core" / "__init__.py").exists()
    assert not (ROOT / "plugins" / "__init__.py").exists()
    assert (ROOT / "core" / "xaibench" / "py.typed").is_file()


def test_every_registration_module_is_an_entry_point():
    registered = set(PROJECT["project"]["entry-points"]["xaibench"].values())
    modules = {f"{p.name}.plugin" for p in PLUGINS if (p / "plugin.py").is_file()}
    assert registered == modules | {"xaibench.cli.plugin"}


def test_the_installed_entry_points_are_those_of_the_project():
    from xaibench.discovery.registry import installed

    ours = {p.name: p.value for p, origin in installed() if origin.built_in}
    assert ours == PROJECT["project"]["entry-points"]["xaibench"], "install again: pip install -e ."


def test_versions_agree():
    import xaibench

    assert PROJECT["project"]["version"] == xaibench.__version__
    assert f"## [{xaibench.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


# ---- start-up -------------------------------------------------------------------------------------------------------


def loaded_by(*arguments):
    """Top-level modules in ``sys.modules`` when ``python -m xaibench ARGUMENTS`` ends, and its stdout."""
    code = (
        "import atexit, runpy, sys\n"
        "atexit.register(lambda: print(' '.join({m.partition('.')[0] for m in sys.modules}), file=sys.stderr))\n"
        f"sys.argv = {['xaibench', *arguments]!r}\n"
        "runpy.run_module('xaibench', run_name='__main__', alter_sys=True)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(found.stderr.split()), found.stdout


@pytest.mark.parametrize(
    "arguments",
    [("list",), ("list", "--json"), ("list", "explainers"), ("--help",), ("--version",), ("eval", "--help")],
)
def test_listing_and_help_load_nothing_heavy(arguments):
    modules, out = loaded_by(*arguments)
    assert out
    assert "xaibench" in modules  # the measurement sees modules at all
    assert not modules & HEAVY


def test_the_measurement_would_see_a_heavy_import():
    modules, _ = loaded_by("info", "rise", "--json")
    assert "torch" in modules


def test_list_json_is_one_object_with_every_plugin():
    _, out = loaded_by("list", "--json")
    listed = json.loads(out)
    assert not [f for f in listed["failures"] if f["origin"] == "xaibench"]
    assert {"demo", "rise", "deletion"} <= {c["name"].partition("/")[2] for c in listed["components"]}


# ---- wheel and sdist ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(wheel, sdist); the wheel is built from the sdist."""
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


def _files(folder):
    """Files below a source folder that belong to the package."""
    return {f for f in folder.rglob("*") if f.is_file() and "__pycache__" not in f.parts and not f.name.startswith(".")}


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_every_package_and_nothing_else(built):
    with zipfile.ZipFile(built[0]) as wheel:
        inside = {n for n in wheel.namelist() if ".dist-info/" not in n}
    expected = set()
    for package in (ROOT / "core" / "xaibench", *PLUGINS):
        expected |= {f.relative_to(package.parent).as_posix() for f in _files(package)}
    assert inside == expected
    for needed in ("xaibench/plan/presets.toml", "xaibench/py.typed", "xaibench_models/demo/weights/demo-0.safetensors",
                   "xaibench_models/demo/weights/demo-0.onnx", "xaibench_testing/templates/plugin.py.in",
                   "xaibench_report/page/templates/report_frame.html"):  # fmt: skip
        assert needed in inside


@pytest.mark.slow
def test_the_wheel_carries_entry_points_script_and_licence(built):
    with zipfile.ZipFile(built[0]) as wheel:
        names = wheel.namelist()
        points = wheel.read(next(n for n in names if n.endswith("/entry_points.txt"))).decode()
    for name, module in PROJECT["project"]["entry-points"]["xaibench"].items():
        assert f"{name} = {module}" in points
    assert "xaibench = xaibench.cli.main:main" in points
    assert any(n.endswith("/licenses/LICENSE") for n in names)


@pytest.mark.slow
def test_the_sdist_holds_what_the_readmes_commands_need(built):
    with tarfile.open(built[1]) as sdist:
        inside = {n.partition("/")[2] for n in sdist.getnames()}
    for needed in ("README.md", "CHANGELOG.md", "LICENSE", "CITATION.cff", "constraints.txt", "noxfile.py",
                   "mkdocs.yml", "pyproject.toml", "tests/conftest.py", "docs/index.md"):  # fmt: skip
        assert needed in inside
