"""Secret parameters: where they come from, and that nothing that is stored or shown holds them."""

from __future__ import annotations

import os
import pickle
import sys
from types import SimpleNamespace

import pytest
from pydantic import Secret, SecretBytes, SecretStr

from xaibench.api import ExplainerRecord, Parameters, PluginError, UsageError, describe_parameters
from xaibench.api.parameters import secret_fields
from xaibench.discovery import secrets
from xaibench.discovery.code_identity import use_identity
from xaibench.discovery.components import make, resolve
from xaibench.discovery.registry import Origin, Registered, Registry
from xaibench.discovery.secrets import Literal, collected_literals, masked, without_literals

VARIABLE = "XAIBENCH_SECRET_XAIBENCH_ACME_API_KEY"
LITERALS = {VARIABLE: Literal("model", "acme", "api_key", "k3y")}


class Keyed(Parameters):
    size: int = 3
    api_key: SecretStr
    token: SecretStr | None = None


class Service:
    Parameters = Keyed

    def __init__(self, parameters: Keyed) -> None:
        self.parameters = parameters


@pytest.fixture
def component(monkeypatch):
    monkeypatch.setattr("xaibench.api.safe_text._secrets", set())
    monkeypatch.setattr(secrets, "_warned", set())
    monkeypatch.setitem(sys.modules, "acme_service", SimpleNamespace(Service=Service, __spec__=None))
    for name in ("API_KEY", "TOKEN"):
        monkeypatch.setenv(VARIABLE.replace("API_KEY", name), "")
    record = ExplainerRecord(name="acme", target="acme_service:Service", summary="s")
    registered = Registered(record, Origin("xaibench-acme", "1", "x"))
    registry = Registry([registered])
    return SimpleNamespace(registered=registered, registry=registry)


def test_the_value_comes_from_the_variable_and_is_resolved_from_it_in_another_process(component, monkeypatch):
    monkeypatch.setenv(VARIABLE, "k3y0fmine")
    use = make(component.registered, {"size": 5})
    assert use.parameters.api_key.get_secret_value() == "k3y0fmine"
    assert use.name == "xaibench-acme/acme:size=5"
    assert b"k3y0fmine" not in pickle.dumps(use.ref)
    again = resolve(component.registry, pickle.loads(pickle.dumps(use.ref)))
    assert again.parameters == use.parameters


def test_no_key_depends_on_the_secret(component, monkeypatch):
    monkeypatch.setattr("xaibench.discovery.code_identity.code_digest", lambda *_: "c")
    identities = []
    for value in ("first-key", "second-key"):
        monkeypatch.setenv(VARIABLE, value)
        identities.append(use_identity(make(component.registered, {})))
    assert identities[0] == identities[1]
    assert "api_key" not in str(identities[0])


def test_a_missing_secret_names_its_variable(component):
    with pytest.raises(UsageError, match=VARIABLE):
        make(component.registered, {})


def test_a_literal_is_moved_to_the_variable_with_one_warning(component, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["xaibench", "-e", "acme:size=5,api_key=k3y", "acme:k3y"])
    for _ in range(2):
        use = make(component.registered, {"api_key": "k3y"})
    assert use.parameters.api_key.get_secret_value() == os.environ[VARIABLE] == "k3y"
    warning = capsys.readouterr().err
    assert warning.count(VARIABLE) == 1
    assert "k3y" not in warning
    assert sys.argv[2] == "acme:size=5,api_key=**********"


def test_a_wrong_secret_is_refused_without_being_shown(component):
    with pytest.raises(UsageError, match="read as float") as refusal:
        make(component.registered, {"api_key": 1.5})
    assert "1.5" not in str(refusal.value)


def test_two_literals_of_one_variable_are_refused_in_one_run_alone(component):
    with collected_literals():
        make(component.registered, {"api_key": "first"})
        with pytest.raises(UsageError, match=f"{VARIABLE} has one value in a run"):
            make(component.registered, {"api_key": "second"})
    with collected_literals():
        assert make(component.registered, {"api_key": "second"}).parameters.api_key.get_secret_value() == "second"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("acme:api_key=k3y", "acme"),
        ("acme:k3y", "acme"),
        ("acme:api_key='k3y',size=7", "acme:size=7"),
        ("acme:size=7,api_key=k3y,fill=black", "acme:size=7,fill=black"),
        ("./models/a.acme:api_key=k3y,size=7", "./models/a.acme:size=7"),
        ("s3://bucket/faces:api_key=k3y,pairs=false", "s3://bucket/faces:pairs=false"),
        ("inverse:of=(acme:api_key=k3y,size=7)", "inverse:of=(acme:size=7)"),
        ("inverse:(acme:api_key=k3y)", "inverse:(acme)"),
        ("acme:other_key=k3y", "acme:other_key=k3y"),
        ("rise:masks=400,,cells=7", "rise:masks=400,,cells=7"),
    ],
)
def test_a_spec_is_stored_without_literal_secrets(text, left):
    assert without_literals(text, LITERALS) == left


@pytest.mark.parametrize(
    "argument",
    ["acme:api_key=k3y,size=7", "model.acme.api_key=k3y", "acme:api_key='k3y'", "x:of=(acme:api_key=k3y)", "k3y"],
)
def test_an_argument_is_masked(argument):
    assert "k3y" not in masked(argument, LITERALS[VARIABLE])


def test_each_kind_of_secret_field_is_known_and_a_hidden_one_refused():
    class Many(Parameters):
        a: SecretStr
        b: SecretBytes | None = None
        c: Secret[int] | None = None
        d: str = ""

    class Deep(Parameters):
        keys: list[SecretStr]

    assert secret_fields(Many) == ("a", "b", "c")
    with pytest.raises(PluginError, match=r"Deep\.keys"):
        secret_fields(Deep)


def test_info_shows_no_default_of_a_secret():
    class Ready(Parameters):
        api_key: SecretStr = SecretStr("default-key")

    (row,) = describe_parameters(Ready)
    assert row["type"] == "secret"
    assert "default-key" not in str(row)
