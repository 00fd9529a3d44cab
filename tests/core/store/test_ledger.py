"""The ledger: which row is current at an address and sample, and which of a plan's are done."""

from __future__ import annotations

import pytest
from store_rows import address, digest_of, ids, relation

from xaibench.store.ledger import Ledger
from xaibench.store.relation import WHOLE, RelationCell

SCORE, MAPS = address(), address("explain")
SET = address("set", metric="spread")


def add(ledger, commit, where, samples, *, key="k1", status="ok", version=0, kept=True, attempts=1):
    digests = [digest_of(s, version) if s else 0 for s in samples]
    ledger.add(commit, where, key, samples, digests, [status] * len(samples), kept, attempts)


@pytest.fixture
def ledger():
    return Ledger()


def test_a_later_commit_supersedes_at_its_samples_alone(ledger):
    add(ledger, 1, SCORE, ids(4))
    add(ledger, 2, SCORE, ["s1", "s3"], status="failed")
    assert ledger.commits(SCORE, ids(4)).tolist() == [1, 2, 1, 2]
    assert ledger.statuses(SCORE, ids(4)) == ["ok", "failed", "ok", "failed"]
    assert ledger.failed(SCORE, ids(4)).tolist() == [False, True, False, True]
    assert ledger.counts() == {1: 2, 2: 2}


def test_other_addresses_are_left_alone(ledger):
    add(ledger, 1, SCORE, ids(2))
    for other in (address(metric="other"), address(explainer="other"), address(repeat=1), MAPS):
        add(ledger, 2, other, ids(2))
    assert ledger.commits(SCORE, ids(2)).tolist() == [1, 1]


def test_a_row_of_the_whole_cell_and_those_of_its_samples_supersede_each_other(ledger):
    add(ledger, 1, SCORE, ids(3))
    add(ledger, 2, SCORE, [WHOLE], status="not_applicable")
    assert ledger.counts() == {2: 1} and ledger.statuses(SCORE, ids(3)) == ["", "", ""]
    add(ledger, 3, SCORE, ["s1"])
    assert ledger.counts() == {3: 1} and ledger.statuses(SCORE, [WHOLE, *ids(3)]) == ["", "", "ok", ""]


def test_validity_is_key_and_digest_of_each_sample(ledger):
    add(ledger, 1, SCORE, ["s0", "s1"])
    add(ledger, 2, SCORE, ["s2"], key="k2")
    add(ledger, 3, SCORE, ["s3"], version=1)
    cell = RelationCell(address=SCORE, key="k1")
    assert ledger.valid(cell, relation([cell], ids(5))).tolist() == [True, True, False, False, False]
    assert ledger.valid(cell, relation([cell], ids(5), version=1)).tolist() == [False, False, False, True, False]
    assert ledger.valid(cell, relation([cell], ids(5)), since=1).tolist() == [False] * 5
    other = RelationCell(address=SCORE, key="k2")
    assert ledger.valid(other, relation([other], ids(5))).tolist() == [False, False, True, False, False]


def test_the_digest_with_the_stranger_counts_where_the_cell_asks_for_one(ledger):
    add(ledger, 1, SCORE, ["s0"])
    add(ledger, 1, SCORE, ["s1"], version=100)
    cell = RelationCell(address=SCORE, key="k1", strangers=True)
    assert ledger.valid(cell, relation([cell], ids(2))).tolist() == [False, True]


def test_the_order_of_the_planned_samples_does_not_matter(ledger):
    add(ledger, 1, SCORE, ["s0", "s1", "s2"])
    cell = RelationCell(address=SCORE, key="k1")
    assert ledger.valid(cell, relation([cell], ["s2", "s9", "s0"])).tolist() == [True, False, True]


def test_a_cell_that_cannot_run_is_done_by_one_row(ledger):
    cell = RelationCell(address=SCORE, key="k1", reason="no mask")
    asked = relation([cell], ids(3))
    add(ledger, 1, SCORE, ids(3))
    assert ledger.valid(cell, asked).tolist() == [False]
    add(ledger, 2, SCORE, [WHOLE])
    assert ledger.valid(cell, asked).tolist() == [True]
    assert ledger.valid(RelationCell(address=SCORE, key="k2", reason="no mask"), asked).tolist() == [False]


def set_of(samples, *, key="k1", version=0, strangers=False):
    """A relation of maps and a measure of them, and the cell of the measure."""
    maps = RelationCell(address=MAPS, key=key)
    measure = RelationCell(address=SET, key="set", inputs=(MAPS,), strangers=strangers)
    return relation([maps, measure], samples, version), measure


def test_the_key_of_a_set_follows_its_inputs(ledger):
    asked, measure = set_of(ids(3))
    assert ledger.key_of(measure, asked) is None
    add(ledger, 1, MAPS, ids(2))
    assert ledger.key_of(measure, asked) is None  # one input is missing
    add(ledger, 2, MAPS, ["s2"], status="failed")
    failed = ledger.key_of(measure, asked)
    add(ledger, 3, SET, [WHOLE], key=failed)
    assert ledger.valid(measure, asked).tolist() == [True]

    add(ledger, 4, MAPS, ["s2"])  # mended: the set is due again
    mended = ledger.key_of(measure, asked)
    assert mended not in (None, failed) and ledger.valid(measure, asked).tolist() == [False]
    add(ledger, 5, MAPS, ["s2"], attempts=2)  # made again with the same status: it is not
    assert ledger.key_of(measure, asked) == mended

    keys = {mended, failed}
    for samples, more in [(ids(2), {}), (("s1", "s0", "s2"), {}), (ids(3), {"strangers": True})]:
        other, again = set_of(samples, **more)
        keys.add(ledger.key_of(again, other))
    add(ledger, 6, MAPS, ids(3), version=1)
    other, again = set_of(ids(3), version=1)
    keys.add(ledger.key_of(again, other))
    add(ledger, 7, MAPS, ids(3), key="k2")
    other, again = set_of(ids(3), key="k2")
    keys.add(ledger.key_of(again, other))
    assert None not in keys and len(keys) == 7  # samples, their order, strangers, digests and keys of the inputs


def test_retain_supersedes_what_has_another_key(ledger):
    add(ledger, 1, SCORE, ["s0"])
    add(ledger, 2, SCORE, ["s1"], key="k2")
    add(ledger, 3, MAPS, ["s0"], key="k3")
    ledger.retain({"k2"}, lambda address: True)
    assert ledger.commits(SCORE, ids(2)).tolist() == [0, 2]
    assert list(ledger.addresses()) == [SCORE] and ledger.keys(SCORE) == {"k2"}
    Ledger().retain({"k2"}, lambda address: True)  # an empty one has nothing to lose


def test_maps_kept_and_attempts(ledger):
    add(ledger, 1, MAPS, ids(2), kept=False)
    add(ledger, 2, MAPS, ["s1"], attempts=3)
    assert ledger.kept(MAPS, ids(3)).tolist() == [False, True, False]
    assert ledger.attempts(MAPS) == 3 and ledger.attempts(SCORE) == 0


def test_move_says_where_the_rows_lie_now(ledger):
    add(ledger, 1, SCORE, ids(3))
    ledger.move(SCORE, ["s0", "s2"], 9)
    assert ledger.commits(SCORE, ids(3)).tolist() == [9, 1, 9]
    assert ledger.rows(SCORE) == {9: [("s0", "k1"), ("s2", "k1")], 1: [("s1", "k1")]}


def test_samples_that_come_later_lengthen_what_is_there(ledger):
    add(ledger, 1, MAPS, ids(1))
    add(ledger, 2, SCORE, ids(50))
    assert ledger.commits(MAPS, ids(50)).tolist() == [1] + [0] * 49
    assert ledger.statuses(MAPS, ["never"]) == [""]
