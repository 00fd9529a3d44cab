"""Changing a card on disk: what stays, what changes, and what is refused."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from xaibench.api import ModelError
from xaibench_models.card import CardKeys, validate
from xaibench_models.card_file import changed_text, write_card


def no_check(values: dict[str, Any]) -> None:
    pass


def checked(values: dict[str, Any]) -> None:
    validate(values, CardKeys, "card")


CARD = """\
# the detector of 2024
size = 224   # as trained
mean = [
    0.485,  # red
    0.456,
    0.406,
]
std = 0.5 # one for all
licence = "a # b"

# how pictures are resized
[resize]
mode = "crop"      # the middle

[batch]
max = 8
"""


def test_keys_change_where_they_stand_and_all_else_stays() -> None:
    new = changed_text(CARD, {"size": [256, 256], "mean": 0.5, "licence": 'c"d', "colour": "BGR"})
    expected = CARD.replace("size = 224", "size = [256, 256]").replace('"a # b"', '"c\\"d"\ncolour = "BGR"')
    start, end = expected.index("mean = ["), expected.index("std = ")
    assert new == expected[:start] + "mean = 0.5\n" + expected[end:]


def test_a_table_gives_way_to_a_value() -> None:
    new = changed_text(CARD, {"resize": {"mode": "squash", "antialias": False}, "batch": 4})
    assert new is not None
    assert "# how pictures are resized" in new
    values = tomllib.loads(CARD) | {"resize": {"mode": "squash", "antialias": False}, "batch": 4}
    assert tomllib.loads(new) == values
    assert tomllib.loads(changed_text('batch.fixed = 1\nsize = 4\n', {"batch": {"max": 2}}) or "") == {
        "batch": {"max": 2}, "size": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "keys", "expected"),
    [
        ("", {"size": 4}, "size = 4\n"),
        ("size = 4", {"std": 0.5}, "size = 4\nstd = 0.5\n"),
        ("# only a comment\n", {"size": 4}, "# only a comment\nsize = 4\n"),
        ("# first\n[resize]\nmode = 'crop'\n", {"size": 4}, "# first\nsize = 4\n[resize]\nmode = 'crop'\n"),
        ("size = 3\r\nstd = 1.0\r\n", {"size": 4}, "size = 4\r\nstd = 1.0\r\n"),
        ('"size" = 3\n', {"size": 4}, "size = 4\n"),
        ("[[size]]\na = 1\n", {"size": 4}, "size = 4\n"),
        ("size = '''\n# 3\n''' # three\n", {"size": 4}, "size = 4 # three\n"),
    ],
)  # fmt: skip
def test_odd_cards(text: str, keys: dict[str, Any], expected: str) -> None:
    assert changed_text(text, keys) == expected


def test_a_new_card_and_one_that_would_be_wrong(tmp_path: Path) -> None:
    path = tmp_path / "net.toml"
    assert write_card(path, {"range": (0.0, 255.0)}, checked) == str(path.resolve())
    assert tomllib.loads(path.read_text()) == {"range": [0.0, 255.0]}
    before = path.read_bytes()
    with pytest.raises(ModelError, match="low < high"):
        write_card(path, {"range": [1.0, 0.0]}, checked)
    path.write_text("size = \n")
    with pytest.raises(ModelError, match="is no TOML"):
        write_card(path, {"size": 4}, no_check)
    path.write_bytes(before)
    assert [f.name for f in tmp_path.iterdir()] == ["net.toml"]
    assert path.read_bytes() == before


def test_a_link_to_a_card_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    real = tmp_path / "far" / "card.toml"
    real.write_text("size = 3\n")
    (tmp_path / "net.toml").symlink_to(real)
    write_card(tmp_path / "net.toml", {"size": 4}, no_check)
    assert (tmp_path / "net.toml").is_symlink()
    assert real.read_text() == "size = 4\n"
