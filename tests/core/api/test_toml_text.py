"""TOML that anybody may have written."""

from __future__ import annotations

import tomllib

import pytest
from pydantic import Field

from xaibench.api import Parameters, UsageError, build_parameters, parse_assignments, parse_toml, parse_value
from xaibench.api.parameters import shorten
from xaibench.api.toml_text import DEEPEST


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return f"v = {opening * depth}1{closing * depth}"


def test_values_are_those_of_tomllib():
    text = 'a = 1\n[b]\nc = [1.5, "x", {d = true}]\ne = 1979-05-27\n'
    assert parse_toml(text) == tomllib.loads(text)


def test_nesting_is_allowed_to_a_depth_and_refused_beyond():
    assert parse_toml(nested(DEEPEST - 2))
    for depth in (DEEPEST + 1, 300, 20_000):
        with pytest.raises(ValueError, match="nested more than 40 deep"):
            parse_toml(nested(depth))
    with pytest.raises(ValueError, match="nested more than 40 deep"):
        parse_toml(".".join("a" * 200) + " = 1")


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**400])
def test_integers_of_more_than_64_bits_are_refused(number):
    with pytest.raises(ValueError, match="bits"):
        parse_toml(f"a = [{{b = {number}}}]")
    with pytest.raises(ValueError, match="bits"):
        parse_toml(f"a = {number:#x}" if number > 0 else f"a = {number}")
    assert parse_toml(f"a = {2**63 - 1}")["a"] == 2**63 - 1


def test_a_wide_integer_on_the_command_line_is_text_and_fits_no_number():
    assert parse_value("1" + "0" * 5000) == "1" + "0" * 5000
    assert parse_assignments([f"a.b.c={10**30}"]) == {"a.b.c": str(10**30)}


@pytest.mark.parametrize("text", ["[" * 3000, "[" * 3000 + "]" * 3000, "{a=" * 3000 + "1" + "}" * 3000])
def test_deep_values_on_the_command_line_are_refused_in_a_short_line(text):
    with pytest.raises(UsageError, match="nested more than 40 deep") as refusal:
        parse_value(text)
    assert len(refusal.value.what) < 200


def test_values_in_messages_are_short():
    assert shorten("a" * 80) == "a" * 80
    assert shorten("a" * 5000) == f"{'a' * 60}... (5,000 characters)"
    assert shorten(10**5000) == "an integer of thousands of digits"


class Counted(Parameters):
    samples: int = Field(8, ge=1, description="how many")
    sizes: tuple[int, ...] = Field((), description="some")
    seed: int = Field(0, description="seed")


@pytest.mark.parametrize("values", [{"samples": 10**12}, {"sizes": (1, -(10**30))}, {"seed": 2**63}])
def test_no_parameter_is_an_integer_that_nothing_counts_to(values):
    with pytest.raises(UsageError, match="which nothing can count to"):
        build_parameters(Counted, values, "toy")


def test_large_counts_and_seeds_of_63_bits_are_parameters():
    assert build_parameters(Counted, {"samples": 10**9, "seed": 2**63 - 1}, "toy").samples == 10**9
