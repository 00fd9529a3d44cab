"""Joining runs: which rows are taken, what is refused, and that a merge can be killed and given again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import fsspec
import pytest
from looks import LOOKS
from PIL import Image

from conftest import comparable, same_bytes
from xaibench import open_run
from xaibench.api import StoreError
from xaibench.store import joining
from xaibench.store.files import RemoteFiles
from xaibench.store.folder import RunFolder
from xaibench.store.joined_plan import join_plans
from xaibench.store.joining import join_runs
from xaibench.store.relation import Address, Relation, RelationCell
from xaibench.store.sample_columns import sample_table
from xaibench.store.snapshot import relation_samples

TABLES = ("scores", "predictions", "curves", "maps")
ALL = (*TABLES, "detectors")
SPREAD = ("-x", "spread")


def same(first, second, tables=TABLES):
    for table in tables:
        assert same_bytes(comparable(first, table), comparable(second, table)), table


def taken(joined):
    return [count for _, count in joined.taken]


# ---- rows -----------------------------------------------------------------------------------------------------------


def test_runs_of_other_explainers_and_metrics_join_without_work(toy_eval, cli, tmp_path):
    """Their sets are those of the joined plan, so that nothing is left."""
    toy_eval(*SPREAD, "-o", tmp_path / "rows", limit=4)
    toy_eval(*SPREAD, "-o", tmp_path / "random", explainer="random", limit=4)
    toy_eval("-e", "random", *SPREAD, "-o", tmp_path / "whole", limit=4)
    joined = join_runs([tmp_path / "rows", tmp_path / "random"], tmp_path / "joined")
    assert (joined.left, joined.notes) == (0, ())
    assert taken(joined) == [LOOKS + 4 + 4 + 4 + 1, 4 + 4 + 1]  # the predictions are those of the first
    same(tmp_path / "joined", tmp_path / "whole", ALL)
    assert json.loads(cli("eval", tmp_path / "joined" / "run.toml", "--json", "-q")[1])["done"] == 0
    same(tmp_path / "joined", tmp_path / "whole")


def test_a_run_that_is_there_is_joined_too(toy_eval, tmp_path):
    toy_eval("-o", tmp_path / "run", "--part", "1/2", limit=4)
    toy_eval("-o", tmp_path / "other", "--part", "2/2", limit=4)
    toy_eval("-o", tmp_path / "whole", limit=4)
    joined = join_runs([tmp_path / "run", tmp_path / "other"], tmp_path / "run")
    assert (joined.left, joined.planned, taken(joined)) == (
        1,
        12 + LOOKS,
        [7],
    )  # accuracy is left; the card of the larger
    same(tmp_path / "run", tmp_path / "whole")
    settings = open_run(tmp_path / "run").settings
    assert settings["out"] == str(tmp_path / "run") and "part" not in settings


def test_a_run_merged_into_itself_stays_as_it_is(toy_eval, tmp_path):
    toy_eval("-o", tmp_path / "run", limit=4)
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*.*") if p.is_file()}
    joined = join_runs([tmp_path / "run"], tmp_path / "run")
    assert (joined.taken, joined.left) == ((), 0)
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*.*") if p.is_file()} == before


def test_the_run_file_plans_all_that_was_joined(toy_eval, cli, tmp_path):
    """Runs of other lengths: the set of the longer one is that of the joined plan for the explainer of both."""
    toy_eval(*SPREAD, "-o", tmp_path / "short", "-e", "random", limit=4)
    toy_eval(*SPREAD, "-o", tmp_path / "long", limit=6)
    toy_eval(*SPREAD, "-o", tmp_path / "whole", "-e", "random", limit=6)
    joined = join_runs([tmp_path / "short", tmp_path / "long"], tmp_path / "joined")
    assert joined.left == 2 + 2 + 1  # maps, scores and the set of the explainer that the longer run lacks
    code, out, _ = cli("eval", tmp_path / "joined" / "run.toml", "--json", "-q")
    assert code == 0 and json.loads(out)["done"] == joined.left
    same(tmp_path / "joined", tmp_path / "whole", ALL)


@pytest.mark.parametrize("order", [("failed", "well"), ("well", "failed")])
def test_a_failed_row_gives_way(toy_eval, tmp_path, monkeypatch, order):
    monkeypatch.setenv("TOY_PREDICTIONS_FAIL", "1")
    assert toy_eval("-o", tmp_path / "failed", "--accept-detector", limit=4)[0] == 1
    monkeypatch.delenv("TOY_PREDICTIONS_FAIL")
    toy_eval("-o", tmp_path / "well", limit=4)
    joined = join_runs([tmp_path / name for name in order], tmp_path / "joined")
    # of the failed run also its card; structure and accuracy come from the other one
    assert taken(joined) == ([12 + 2, 12 + 2] if order[0] == "failed" else [12 + LOOKS, 0])
    same(tmp_path / "joined", tmp_path / "well", ALL)


def test_a_kept_map_is_taken_before_one_that_was_dropped(toy_eval, tmp_path):
    toy_eval("-o", tmp_path / "dropped", "--maps", "drop", limit=4)
    toy_eval("-o", tmp_path / "kept", "--maps", "keep", limit=4)
    assert taken(join_runs([tmp_path / "dropped", tmp_path / "kept"], tmp_path / "joined")) == [12 + LOOKS, 4]
    assert len(open_run(tmp_path / "joined").to_arrow("maps")) == 4
    assert taken(join_runs([tmp_path / "kept", tmp_path / "dropped"], tmp_path / "again")) == [12 + LOOKS, 0]


def test_results_of_earlier_plans_stay_where_they_are(toy_eval, tmp_path):
    toy_eval("-o", tmp_path / "run", limit=6)
    toy_eval("-o", tmp_path / "run", limit=4)
    assert taken(join_runs([tmp_path / "run"], tmp_path / "joined")) == [12 + LOOKS]
    assert RunFolder(tmp_path / "joined").snapshot().outside == 0


def test_the_joined_plan_is_the_last_whatever_the_clocks_say(toy_eval, cli, tmp_path, monkeypatch):
    toy_eval("-o", tmp_path / "one", "--part", "1/2", limit=4)
    toy_eval("-o", tmp_path / "two", "--part", "2/2", limit=4)
    monkeypatch.setattr(joining, "run_id", lambda: "20000101T000000.000000Z")
    join_runs([tmp_path / "one", tmp_path / "two"], tmp_path / "joined")
    assert len(open_run(tmp_path / "joined").predictions) == 4


def test_a_merge_that_is_killed_at_any_write_is_given_again(toy_eval, monkeypatch):
    toy_eval(*SPREAD, "-o", "memory://one", "--part", "1/2", limit=4)
    toy_eval(*SPREAD, "-o", "memory://two", "--part", "2/2", limit=4)
    runs = ["memory://one", "memory://two"]
    join_runs(runs, "memory://whole")
    whole, settings = comparable("memory://whole", "scores"), open_run("memory://whole").settings
    write, left = RemoteFiles.write, [0]

    def write_until_killed(self, name, data):
        if name != ".lock":
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
        write(self, name, data)

    kills = 0
    while True:
        out = f"memory://killed{kills}"
        left[0] = kills
        with monkeypatch.context() as patch:
            patch.setattr(RemoteFiles, "write", write_until_killed)
            try:
                join_runs(runs, out)
                break
            except KeyboardInterrupt:
                kills += 1
        assert join_runs(runs, out).left == 2
        assert same_bytes(comparable(out, "scores"), whole) and open_run(out).settings == settings | {"out": out}
    fsspec.filesystem("memory").store.clear()
    assert kills > 10


# ---- what is refused ------------------------------------------------------------------------------------------------


def test_what_contradicts_is_refused_before_anything_is_written(toy_eval, cli, tmp_path):
    toy_eval("-o", tmp_path / "one", limit=4)
    toy_eval("-o", tmp_path / "two", "--seed", 1, limit=4)
    code, out, err = cli("merge", tmp_path / "one", tmp_path / "two", "-o", tmp_path / "joined")
    assert code == 3 and not out
    assert "two contradicts" in err and "seed was 0, now 1" in err and "--out" in err
    assert not (tmp_path / "joined").exists()
    code, _, err = cli("merge", tmp_path / "two", "-o", tmp_path / "one")
    assert code == 3 and "seed was 0, now 1" in err


def test_a_picture_that_changed_is_refused(cli, tmp_path):
    for label in ("real", "fake/swap"):
        (tmp_path / "faces" / label).mkdir(parents=True)
        Image.new("RGB", (32, 32), (90, 60, 30)).save(tmp_path / "faces" / label / "a.png")

    def run(out):
        assert cli("eval", "-m", "demo", "-D", tmp_path / "faces", "-e", "edges", "-x", "sparseness", "--no-controls",
                   "-q", "-o", out)[0] == 0  # fmt: skip

    run(tmp_path / "one")
    Image.new("RGB", (32, 32), (9, 60, 30)).save(tmp_path / "faces" / "fake" / "swap" / "a.png")
    run(tmp_path / "two")
    code, _, err = cli("merge", tmp_path / "one", tmp_path / "two", "-o", tmp_path / "joined")
    assert code == 3 and "sample fake/swap/a" in err and "not the same" in err


def test_what_is_no_run_or_damaged_is_refused(toy_eval, cli, tmp_path):
    code, _, err = cli("merge", tmp_path / "absent", "-o", tmp_path / "joined")
    assert code == 3 and "absent does not exist" in err and not (tmp_path / "joined").exists()
    toy_eval("-o", tmp_path / "run", limit=4)
    (file,) = (tmp_path / "run" / "scores").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    code, _, err = cli("merge", tmp_path / "run", "-o", tmp_path / "joined")
    assert code == 3 and f"scores/{file.name}" in err and not (tmp_path / "joined").exists()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "letter.txt").write_text("mine")
    toy_eval("-o", tmp_path / "well", limit=4)
    code, _, err = cli("merge", tmp_path / "well", "-o", tmp_path / "notes")
    assert code == 3 and "letter.txt" in err
    code, _, err = cli("merge", tmp_path / "well")
    assert code == 2 and "--out" in err


def test_a_bit_that_flipped_is_named(toy_eval, cli, tmp_path):
    toy_eval("-o", tmp_path / "run", limit=4)
    (file,) = (tmp_path / "run" / "scores").iterdir()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    code, _, err = cli("merge", tmp_path / "run", "-o", tmp_path / "joined")
    assert code == 3 and f"scores/{file.name} is damaged" in err


def test_damage_of_the_run_that_is_joined_into_is_named_and_mended_from_another(toy_eval, tmp_path):
    toy_eval("-o", tmp_path / "run", limit=4)
    toy_eval("-o", tmp_path / "copy", limit=4)
    (file,) = (tmp_path / "run" / "maps").iterdir()
    file.unlink()
    joined = join_runs([tmp_path / "copy"], tmp_path / "run")
    assert (joined.left, taken(joined)) == (0, [4])
    assert joined.notes == (f"{tmp_path}/run/maps/{file.name}: missing; its results are lost",)
    same(tmp_path / "run", tmp_path / "copy")


# ---- plans ----------------------------------------------------------------------------------------------------------


@dataclass
class Snapshot:
    """What a plan is joined from."""

    plan: dict[str, Any]
    rows: list[dict[str, Any]]

    @property
    def relation(self):
        cells = tuple(RelationCell.from_json(c) for c in self.plan["relation"])
        return Relation(cells, relation_samples(sample_table(self.rows)))


class Plan(joining.RunPlan):
    _written: dict[str, Any] = {}  # noqa: RUF012 - a run without run.toml

    def rows(self, table):
        assert table == "samples"
        return [dict(row) for row in self.snapshot.rows]


def plan(name, cells=(), samples=(), identity=None, **run_file):
    run_file = {"model": ["m.onnx"], "dataset": ["faces"], "repeats": 1, "controls": True, "members": "first",
                "preset": "quick", **run_file}  # fmt: skip
    content = {"identity": {"seed": 0, **(identity or {})}, "relation": [c.to_json() for c in cells], "problems": {},
               "run_file": {k.replace("_", "-"): v for k, v in run_file.items()}}  # fmt: skip
    return Plan(name, Snapshot(content, list(samples)))


def cell(metric="local/range", key="k", **fields):
    kind = "set" if "inputs" in fields else "score"
    return RelationCell(address=Address(kind, "m", "", "faces", "rows", metric), key=key, **fields)


def sample(name, order, digest="d", **columns):
    return {"dataset": "faces", "sample": name, "order": order, "label": "fake", "group": "g", "digest": digest,
            "stranger_digest": digest, "stranger": None, "picture": "p", **columns}  # fmt: skip


def test_a_cell_that_can_run_is_planned_before_one_that_cannot():
    why, runs = cell(key="a", reason="no sample has a mask"), cell(key="b")
    for plans in ((why, runs), (runs, why)):
        assert join_plans([plan(str(i), [c]) for i, c in enumerate(plans)]).cells == (runs,)


def test_of_two_sets_the_larger_is_planned():
    maps = [Address("explain", "m", member, "faces", "rows") for member in "ab"]
    one, both = cell(key="a", inputs=(maps[0],)), cell(key="b", inputs=tuple(maps))
    for plans in ((one, both), (both, one)):
        assert join_plans([plan(str(i), [c]) for i, c in enumerate(plans)]).cells == (both,)


def test_another_key_at_one_address_is_refused_by_the_names_of_the_cell():
    with pytest.raises(StoreError, match=r"^b contradicts a: rows / local/range is not the same as it was"):
        join_plans([plan("a", [cell(key="x")]), plan("b", [cell(key="y")])])


def test_a_change_is_told_of_the_run_that_it_contradicts():
    plans = [plan("a"), plan("b", identity={"threads": 1}), plan("c", identity={"threads": 2})]
    with pytest.raises(StoreError, match=r"^c contradicts b: threads was 1, now 2"):
        join_plans(plans)


def test_samples_that_one_run_only_shows_are_those_of_the_other():
    shown = sample("x", None, digest="", stranger="s", stranger_digest="")
    for plans in ([sample("x", 3)], [shown]), ([shown], [sample("x", 3)]):
        (row,) = join_plans([plan(str(i), samples=s) for i, s in enumerate(plans)]).samples.to_pylist()
        assert (row["order"], row["digest"], row["stranger"]) == (3, "d", None)


def test_a_stranger_is_that_of_the_run_that_asked_for_one():
    strange = sample("x", 0, stranger="s", stranger_digest="e")
    for plans in ([sample("x", 0)], [strange]), ([strange], [sample("x", 0)]):
        (row,) = join_plans([plan(str(i), samples=s) for i, s in enumerate(plans)]).samples.to_pylist()
        assert (row["stranger"], row["stranger_digest"]) == ("s", "e")
    with pytest.raises(StoreError, match="sample x of faces"):
        join_plans([plan("a", samples=[strange]), plan("b", samples=[{**strange, "stranger_digest": "f"}])])


@pytest.mark.parametrize("change", [{"digest": "e"}, {"picture": "q"}])
def test_a_sample_that_is_another_is_refused(change):
    with pytest.raises(StoreError, match="sample x of faces is not the same"):
        join_plans([plan("a", samples=[sample("x", 0)]), plan("b", samples=[sample("x", 0) | change])])


def test_places_of_parts_are_kept_and_colliding_ones_given_anew():
    parts = join_plans([plan("a", samples=[sample("x", 0), sample("z", 2)]), plan("b", samples=[sample("y", 1)])])
    assert parts.relation.samples["faces"].ids == ("x", "y", "z") and not parts.notes
    one, two = [sample("x", 0), sample("z", 1)], [sample("y", 0), sample("z", 5)]
    joined = join_plans([plan("a", samples=one), plan("b", samples=two)])
    assert joined.relation.samples["faces"].ids == ("x", "y", "z")
    assert joined.samples["order"].to_pylist() == [0, 1, 2]
    (note,) = joined.notes
    assert "faces" in note and "same place" in note
    again = join_plans([plan("b", samples=two)], plan("joined", samples=joined.samples.to_pylist()))
    assert again.samples.equals(joined.samples) and not again.notes


def test_a_joined_run_file_names_what_any_names():
    cells = [RelationCell(address=Address("predict", name, "", "faces"), key="k") for name in "mn"]
    first = plan("a", cells[:1], [sample("x", 0)], part="1/2", out="a", limit=1, explainer=["rows"], no_plugin=["p", "q"],
                 method=["swap"], controls=False, parameter={"k": 1}, device="cpu")  # fmt: skip
    second = plan("b", cells, [sample("x", 0), sample("y", 1)], limit=2, model=["copy/m.onnx", "n.onnx"], repeats=3,
                  explainer=["edges", "rows"], no_plugin=["q"], members="all", parameter={"k": 2, "l": 3})  # fmt: skip
    assert join_plans([first, second]).run_file == {
        "model": ["m.onnx", "n.onnx"], "dataset": ["faces"], "explainer": ["rows", "edges"], "limit": 2,
        "preset": "quick", "no-plugin": ["q"], "method": [], "controls": True, "members": "all", "repeats": 3,
        "parameter": {"k": 1, "l": 3}, "device": "cpu",
    }  # fmt: skip
