"""What a wrong parameter is told: the key, the value, the reason in our own words, and what is accepted."""

from __future__ import annotations

from typing import Any, Self

import pytest
from pydantic import Field, field_validator, model_validator

from xaibench.api import Parameters, UsageError, build_parameters


class Range(Parameters):
    low: int = Field(0, ge=0, description="lower end")
    high: int = Field(9, description="upper end")

    @field_validator("high")
    @classmethod
    def _even(cls, high: int) -> int:
        if high == 13:
            raise AssertionError("13 is no upper end")
        if high % 2 == 0:
            raise ValueError("odd numbers only")
        return high

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self


class Named(Parameters):
    name: str = Field(description="no default")


@pytest.mark.parametrize(
    ("model", "values", "what", "mend"),
    [
        (Range, {"low": 9}, "x: low must be below high", ""),
        (Range, {"high": 4}, "x: high=4 is wrong: odd numbers only", "high: int, upper end"),
        (Range, {"high": 13}, "x: high=13 is wrong: 13 is no upper end", "high: int, upper end"),
        (Range, {"": -1}, "x: low=-1 is wrong: Input should be greater than or equal to 0", "low: int >= 0, lower end"),
        (Named, {}, "x: name is missing", "name: str, no default"),
    ],
)
def test_a_wrong_value_is_told_without_the_validators_own_words(
    model: type[Parameters], values: dict[str, Any], what: str, mend: str
) -> None:
    with pytest.raises(UsageError) as refusal:
        build_parameters(model, values, "x")
    assert (refusal.value.what, refusal.value.mend) == (what, mend)
