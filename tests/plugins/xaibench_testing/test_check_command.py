"""`xaibench check` of distributions that bring no component."""

from __future__ import annotations

import json

import pytest

from xaibench_testing import fake_distribution

HEAD = "from xaibench.api import hookimpl\n\n@hookimpl\ndef xaibench_add_commands(app):\n"
TWO = HEAD + (
    "    @app.command()\n    def louder(times: int = 2): print('x')\n"
    "    @app.command('softer')\n    def other(): print('y')\n"
)
WRONG = HEAD + "    @app.command()\n    def louder(times: int | str = 1): print('x')\n"
RAISES = HEAD + "    raise KeyError('no such thing')\n"


@pytest.fixture
def checked(cli, tmp_path, monkeypatch):
    def run(source: str):
        fake_distribution(tmp_path, "acme-loud", source=source)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(__import__("sys").modules, "acme_loud", raising=False)
        return cli("check", "acme-loud", "--json")

    return run


def test_commands_are_checks_of_their_own(checked):
    code, out, _ = checked(TWO)
    rows = {r["component"]: (r["check"], r["status"]) for r in json.loads(out)["checks"]}
    assert code == 0 and rows == {"louder": ("command added", "pass"), "softer": ("command added", "pass")}


@pytest.mark.parametrize(("source", "what"), [(WRONG, "Union"), (RAISES, "no such thing")])
def test_commands_that_cannot_be_added_fail(checked, source, what):
    code, out, _ = checked(source)
    (row,) = json.loads(out)["checks"]
    assert code == 5 and row["status"] == "fail" and what in row["message"]


def test_a_distribution_that_brings_nothing_is_refused(checked):
    code, _, err = checked("")
    assert code == 3 and "acme-loud registers no component and no command" in err


FLAT = """
from xaibench.api import ExplainerRecord, Explanation, Parameters, Passes, hookimpl
from pydantic import Field

@hookimpl
def xaibench_explainers():
    return [ExplainerRecord(name="flat", target="xaibench_local_flat:Flat", summary="x", class_specific=False)]

class Shade(Parameters):
    shade: float = Field(ge=0, description="value of every pixel")

class Flat:
    Parameters = Shade
    def __init__(self, parameters): self.shade = parameters.shade
    def passes(self, query): return Passes()
    def explain(self, request): return Explanation(map=request.picture.image.mean(dim=0) * self.shade)
"""


@pytest.fixture
def flat(cli, tmp_path):
    (tmp_path / "flat.py").write_text(FLAT)
    return lambda *flags: cli("check", tmp_path / "flat.py", *flags)


def test_a_parameter_is_given_to_the_component(flat):
    code, out, _ = flat("-p", "explainer.flat.shade=0.5", "--json")
    rows = {r["check"]: r["status"] for r in json.loads(out)["checks"]}
    assert code == 0 and rows["maps"] == "pass" and "not checked" not in rows


def test_a_check_that_skips_everything_is_no_success(flat):
    code, out, _ = flat()
    assert code == 5
    assert "skip flat: not checked: flat: shade is missing" in out and "-p explainer.flat.KEY=VALUE" in out
    assert out.endswith("flat.py: nothing was checked, every check was skipped\n")


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ("explainer.flat.shade=-1", "shade"),
        ("explainer.flat.sahde=1", "sahde"),
        ("explainer.rise.masks=9", "parameter 'explainer.rise.masks' is of no component of"),
        ("shade=1", "parameter 'shade' is not KIND.NAME.KEY"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_refused(flat, entry, what):
    code, _, err = flat("-p", entry)
    assert code == 2 and what in err


def test_a_file_may_bring_commands_alone(cli, tmp_path):
    (tmp_path / "loud.py").write_text(TWO)
    code, out, _ = cli("check", tmp_path / "loud.py", "--json")
    assert code == 0 and len(json.loads(out)["checks"]) == 2
