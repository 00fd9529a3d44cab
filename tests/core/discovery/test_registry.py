"""Discovery: a broken plugin costs only itself, and whoever needs it is told why."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from xaibench.api import PluginError, UnknownComponent, UsageError
from xaibench.discovery.registry import load_registry
from xaibench_testing import fake_distribution

GOOD = """
from xaibench.api import ExplainerRecord, hookimpl

@hookimpl
def xaibench_explainers():
    return [ExplainerRecord(name={name!r}, target="{module}:Map", summary="A map.")]

class Map:
    def __init__(self, parameters): ...
"""

BROKEN = {
    "importing": ("import no_such_module_at_all", "import", "no_such_module_at_all"),
    "exiting": ("import sys; sys.exit(3)", "import", "sys.exit(3)"),
    "misspelt": (GOOD.replace("xaibench_explainers", "xaibench_explainer"), "register", "did you mean 'xaibench_explainers'"),
    "newer": ("XAIBENCH_API = 99", "api", "API 99"),
    "raising": (
        "from xaibench.api import hookimpl\n@hookimpl\ndef xaibench_metrics():\n    raise OSError('no licence')",
        "hooks", "no licence",
    ),
    "arguments": (
        "from xaibench.api import hookimpl\n@hookimpl\ndef xaibench_metrics(everything):\n    return []",
        "register", "everything",
    ),
    "wrong": (
        "from xaibench.api import hookimpl\n@hookimpl\ndef xaibench_metrics():\n    return ['a metric']",
        "hooks", "not a metric record",
    ),
    "twice": (
        GOOD.replace("{name!r}", "'same'").replace("    return [", "    return 2 * ["),
        "hooks", "already registered",
    ),
}  # fmt: skip


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Put a distribution with one plugin module on the path."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(name: str, source: str, version: str = "1.2") -> None:
        module = f"{name.replace('-', '_')}_plugin"
        fake_distribution(tmp_path, name, version, source=source.replace("{module}", module), module=module)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return add


def test_a_good_plugin_is_listed_with_its_distribution(distribution):
    distribution("xaibench-acme", GOOD.replace("{name!r}", "'acme-map'"))
    found = load_registry().find("explainer", "acme-map")
    assert (found.name, found.origin.version, found.origin.built_in) == ("xaibench-acme/acme-map", "1.2", False)


@pytest.mark.parametrize("fault", sorted(set(BROKEN) - {"misspelt"}))
def test_a_broken_plugin_costs_only_itself(distribution, fault):
    source, stage, text = BROKEN[fault]
    distribution(fault, source)
    distribution("xaibench-good", GOOD.replace("{name!r}", "'good-map'"))
    registry = load_registry()
    (failure,) = registry.failures
    assert (failure.origin.distribution, failure.origin.version, failure.stage) == (fault, "1.2", stage)
    assert text in failure.error
    assert "Traceback" in failure.trace
    assert not [c for c in registry.components if c.origin.distribution == fault]
    registry.find("explainer", "good-map")
    registry.find("explainer", "gradcam")


def test_a_misspelt_hook_is_a_failure_with_a_hint(distribution):
    source, stage, text = BROKEN["misspelt"]
    distribution("misspelt", source.replace("{name!r}", "'x'"))
    (failure,) = load_registry().failures
    assert failure.stage == stage
    assert text in failure.error


def test_a_bare_name_means_the_built_in_and_the_vendors_is_reached_by_its_full_name(distribution):
    distribution("xaibench-acme", GOOD.replace("{name!r}", "'gradcam'"))
    registry = load_registry()
    assert registry.find("explainer", "gradcam").name == "xaibench/gradcam"
    assert registry.find("explainer", "xaibench-acme/gradcam").origin.distribution == "xaibench-acme"


def test_two_vendors_with_one_name_must_be_told_apart(distribution):
    for name in ("xaibench-a", "xaibench-b"):
        distribution(name, GOOD.replace("{name!r}", "'shared-map'"))
    with pytest.raises(UnknownComponent) as error:
        load_registry().find("explainer", "shared-map")
    assert "xaibench-a/shared-map or xaibench-b/shared-map" in error.value.mend


def test_an_unknown_name_names_what_is_near_and_what_is_broken(distribution):
    distribution("importing", BROKEN["importing"][0])
    with pytest.raises(UnknownComponent) as error:
        load_registry().find("explainer", "gradcamm")
    assert "gradcam" in error.value.mend
    assert "importing 1.2" in error.value.mend
    assert "no_such_module_at_all" in error.value.mend


def test_a_target_that_cannot_be_imported_names_its_plugin(distribution):
    distribution("xaibench-acme", GOOD.replace("{name!r}", "'acme-map'").replace("{module}:Map", "nowhere.at_all:Map"))
    with pytest.raises(PluginError, match=r"xaibench-acme 1\.2"):
        load_registry().find("explainer", "acme-map").load()


def test_plugins_can_be_left_out_by_name(distribution, monkeypatch):
    distribution("xaibench-acme", GOOD.replace("{name!r}", "'acme-map'"))
    assert not [c for c in load_registry(without=["xaibench-acme"]).components if c.record.name == "acme-map"]
    monkeypatch.setenv("XAIBENCH_DISABLE_PLUGINS", "xaibench-acme")
    assert not [c for c in load_registry().components if c.record.name == "acme-map"]
    with pytest.raises(UsageError, match="no plugin 'xaibench-nobody'"):
        load_registry(without=["xaibench-nobody"])


def test_strict_mode_refuses_any_broken_plugin(distribution, monkeypatch):
    distribution("importing", BROKEN["importing"][0])
    monkeypatch.setenv("XAIBENCH_STRICT_PLUGINS", "1")
    with pytest.raises(PluginError, match="importing"):
        load_registry()


def test_a_plugin_file_needs_no_packaging(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(GOOD.replace("{name!r}", "'my-map'").replace("{module}", "xaibench_local_mine"))
    found = load_registry([file]).find("explainer", "my-map")
    assert found.name == "local/my-map"
    assert found.load().__name__ == "Map"
    with pytest.raises(UsageError, match="does not exist"):
        load_registry([tmp_path / "other.py"])


def test_the_order_is_the_same_whatever_the_file_system_says(distribution):
    for name in ("xaibench-z", "xaibench-a", "xaibench-m"):
        distribution(name, GOOD.replace("{name!r}", f"'{name}-map'"))
    names = [c.origin.distribution for c in load_registry().components]
    assert names[-3:] == ["xaibench-a", "xaibench-m", "xaibench-z"]
    assert set(names[:-3]) == {"xaibench"}


def test_list_shows_broken_plugins_and_goes_on(distribution, tmp_path):
    for fault in ("importing", "exiting"):
        distribution(fault, BROKEN[fault][0])
    found = subprocess.run(
        [sys.executable, "-m", "xaibench", "list", "--json"], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
    )  # fmt: skip
    said = json.loads(found.stdout)
    assert {f["origin"] for f in said["failures"]} == {"importing", "exiting"}
    assert any(c["name"] == "xaibench/gradcam" for c in said["components"])


def test_a_name_that_nothing_is_near_may_be_that_of_a_plugin_file(cli):
    file = "--plugin FILE loads a component of your own file"
    near = "did you mean gradcam or xgradcam or gradcam++?; 'xaibench list' shows what there is"
    with pytest.raises(UnknownComponent) as error:
        load_registry().find("explainer", "squares")
    assert error.value.mend == f"'xaibench list' shows what there is; {file}"
    code, _, err = cli("info", "squares")
    assert code == 3 and err.startswith("xaibench: no component called 'squares'\n") and file in err
    assert cli("info", "gradcm")[2] == f"xaibench: no component called 'gradcm'\n  {near}\n"
    assert "did you mean deletion or deeplift?" in cli("info", "delet")[2]
