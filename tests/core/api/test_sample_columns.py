"""Further columns of samples: what makes up a table and what does not."""

from __future__ import annotations

import math

import pytest

from xaibench.api import SAMPLE_COLUMNS, DatasetError, Sample, check_columns


def samples(*columns):
    return [Sample(id=f"s{i}", label="real", group="g", columns=tuple(c)) for i, c in enumerate(columns)]


def test_text_and_numbers_may_be_missing():
    check_columns(samples([("a", 1), ("b", "x")], [], [("a", 0.5)], [("b", "")]), "x")


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ([[("b", 1), ("a", 1)]], "sample s0: columns are not sorted"),
        ([[("a", 1), ("a", 2)]], "sample s0: columns are not sorted"),
        ([[("a", 1)], [("a", "1")]], "column 'a' holds both text and numbers"),
        ([[], [("a", None)]], "sample s1: column 'a' holds None"),
        ([[("a", True)]], "column 'a' holds True"),
        ([[("a", math.nan)]], "column 'a' holds nan"),
        ([[("a", math.inf)]], "column 'a' holds inf"),
        ([[(" ", 1)]], "a further column has no name"),
        ([[("A", 1)], [("a", 1)]], "columns 'A' and 'a' differ in case alone"),
        ([[("Status", 1)]], "column 'Status' has the name"),
    ],
)
def test_columns_that_make_up_no_table(columns, what):
    with pytest.raises(DatasetError) as caught:
        check_columns(samples(*columns), "faces")
    assert what in caught.value.what
    assert caught.value.what.startswith("faces")
    assert caught.value.mend


@pytest.mark.parametrize("name", sorted(SAMPLE_COLUMNS))
def test_our_own_columns_are_taken(name):
    with pytest.raises(DatasetError, match="has the name of a column"):
        check_columns(samples([(name, 1)]), "faces")
