"""Statistical groups: connected_components, and the two crossed factors where connected_components grow too large."""

from __future__ import annotations

import csv
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_faces import FACES

from xaibench.api import connected_components, statistical_groups


def test_components_are_named_by_their_smallest_member() -> None:
    edges = [("d", "c"), ("b", "c"), ("x", "x"), ("z", "y")]
    assert connected_components(edges) == {"d": "b", "c": "b", "b": "b", "x": "x", "z": "y", "y": "y"}
    assert connected_components([]) == {}


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh"))), st.randoms())
def test_components_do_not_depend_on_the_order(edges: list[tuple[str, str]], rng: random.Random) -> None:
    shuffled = [tuple(rng.sample(edge, 2)) for edge in rng.sample(edges, len(edges))]
    found = connected_components(edges)
    assert connected_components(shuffled) == found  # type: ignore[arg-type]
    assert all(found[a] == found[b] and found[a] <= a for a, b in edges)


def couples(n: int) -> tuple[list[str], list[str | None]]:
    """One real and one fake a person; persons 2k and 2k + 1 are each other's donors."""
    people = [f"{i:02d}" for i in range(n)]
    return people + people, [None] * n + [people[i ^ 1] for i in range(n)]


def test_small_components_are_the_groups() -> None:
    identities, donors = couples(20)
    groups = statistical_groups(identities, donors)
    assert groups.group == tuple(f"{i - i % 2:02d}" for i in range(20)) * 2
    assert set(groups.cross_group) == {None}
    assert not groups.crossed
    assert groups.largest == pytest.approx(0.1)


def test_exactly_a_fifth_is_still_a_component() -> None:
    assert not statistical_groups(*couples(10)).crossed
    assert statistical_groups(*couples(8)).crossed


def test_random_donors_are_a_crossed_factor() -> None:
    identities = ["a", "a", "b", "b", "c", "c"]
    groups = statistical_groups(identities, [None, "b", None, "c", "", "a"])
    assert groups.crossed
    assert groups.largest == 1
    assert groups.group == tuple(identities)
    assert groups.cross_group == (None, "b", None, "c", None, "a")


def test_few_people_without_donors_are_not_crossed() -> None:
    groups = statistical_groups(["a", "a", "b"], [None, "a", None])
    assert groups.group == ("a", "a", "b")
    assert not groups.crossed
    assert groups.largest == 0


def test_the_share_is_taken_within_each_split() -> None:
    identities, donors = couples(20)
    splits = ["test" if identity < "04" else "train" for identity in identities]
    assert not statistical_groups(identities, donors).crossed
    assert statistical_groups(identities, donors, splits).largest == 0.5


def test_no_samples() -> None:
    assert statistical_groups([], []).group == ()


@pytest.mark.skipif(not (FACES / "manifest.csv").is_file(), reason="no face photographs: set XAIBENCH_FACES")
def test_the_face_photographs_are_crossed() -> None:
    with (FACES / "manifest.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "test"]
    groups = statistical_groups([row["identity"] for row in rows], [row["donor"] for row in rows])
    assert groups.crossed
    assert groups.group == tuple(row["identity"] for row in rows)
    assert all(bool(cross) == bool(row["donor"]) for cross, row in zip(groups.cross_group, rows, strict=True))
