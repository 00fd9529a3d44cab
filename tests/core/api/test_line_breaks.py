"""Lines that break between words only."""

import pytest

from xaibench.api import break_lines, longest_piece


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("integrated-gradients:steps=16", 22, ["integrated-gradients:", "steps=16"]),
        ("inverse:of=integrated-gradients:steps=16", 22, ["inverse:of=integrated-", "gradients:steps=16"]),
        ("not told apart from own inverse", 20, ["not told apart from", "own inverse"]),
        ("unbreakable_name", 5, ["unbreakable_name"]),
        ("two\nlines here", 6, ["two", "lines", "here"]),
        ("", 5, [""]),
    ],
)
def test_lines_break_between_words_and_after_hyphens_alone(text, width, lines):
    assert break_lines(text, width).split("\n") == lines


def test_the_longest_piece_is_what_a_column_needs():
    assert longest_piece("integrated-gradients:steps=16") == len("integrated-")
    assert longest_piece("") == 0
