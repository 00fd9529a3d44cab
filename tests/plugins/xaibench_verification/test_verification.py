"""``xaibench verify``: rows computed anew are equal to the bit, and what was changed is found and named."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_networks import PairNet
from toy_runs import toy_run

import xaibench
from conftest import TOY
from xaibench.api import PlanError, StoreError, UsageError
from xaibench.discovery.registry import load_registry
from xaibench.plan.due import Due
from xaibench.plan.settings import make_settings
from xaibench.run.driver import execute, prepare
from xaibench.store.commits import _METADATA
from xaibench.store.folder import RunFolder
from xaibench.store.joining import join_runs
from xaibench.store.provenance import provenance
from xaibench_verification.drawn_rows import draw_rows

EVERYTHING = 10_000
ASKED = {"explainer": ["rows", "random", "shared"], "metric": ["range", "spread", "channels"], "limit": 4}


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    assert toy_run(out, **ASKED).exit_code == 0
    return out


@pytest.fixture
def out(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def verified(run, *arguments, **options):
    return xaibench.open_run(run).verify(*arguments, **options)


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def forge(folder, table, change):
    """Change the rows of a table and write the digests that belong to them, as a forger would."""
    log = RunFolder(folder).snapshot().log
    commit = next(c for c in log.commits.values() if c.of(table))
    file = commit.of(table)[0]
    path = folder / table / file.name
    pq.write_table(change(pq.read_table(path)), path, compression="zstd")
    data = path.read_bytes()
    forged = replace(file, size=len(data), digest=hashlib.sha256(data).hexdigest())
    rows = pq.read_table(folder / "commits" / commit.name)
    header = json.loads(rows.schema.metadata[_METADATA])
    header["files"] = [
        {name: getattr(forged, name) for name in ("table", "name", "size", "rows", "digest")} if f == file else
        {name: getattr(f, name) for name in ("table", "name", "size", "rows", "digest")} for f in commit.files
    ]  # fmt: skip
    sink = pa.BufferOutputStream()
    pq.write_table(rows.replace_schema_metadata({**rows.schema.metadata, _METADATA: json.dumps(header)}), sink)
    data = sink.getvalue().to_pybytes()
    (folder / "commits" / commit.name).unlink()
    (folder / "commits" / f"{commit.number:08d}-{hashlib.sha256(data).hexdigest()[:16]}.parquet").write_bytes(data)


def with_cell(column, row, value):
    """A change of one column of a row."""

    def change(rows):
        values = rows[column].to_pylist()
        values[rows.to_pylist().index(row)] = value
        field = rows.schema.field(column)
        return rows.set_column(rows.schema.get_field_index(column), field, pa.array(values, field.type))

    return change


# ---- what is equal --------------------------------------------------------------------------------------------------


def test_every_row_of_a_calm_run_is_equal_and_nothing_is_written(whole):
    before = contents(whole)
    verification = verified(whole, EVERYTHING)
    # predictions, artefacts, maps and ranges of three explainers on four samples, spreads, channels, accuracy and card
    assert len(verification.drawn) == 4 + 4 + 2 * 3 * 4 + 3 + 1 + 1 + 1
    assert verification.exit_code == 0 and len(verification.in_state("equal")) == len(verification.rows)
    assert verification.changes == () and verification.values > len(verification.rows)
    assert contents(whole) == before


@pytest.mark.parametrize("count", [1, 5, 9, 10, 13])
def test_each_metric_is_drawn_before_one_is_drawn_twice_and_sets_come_last(whole, count):
    with xaibench.recompute(whole) as again:
        drawn = draw_rows(again, count, seed=3)
        first = draw_rows(again, EVERYTHING, seed=3)[:count]
    kinds = [(a.kind, a.metric or a.explainer or a.artefact) for a, _ in drawn]
    assert len(set(drawn)) == count and drawn == first
    # predictions, artefact, three maps, range and card are of samples; spread, channels and accuracy of whole sets
    assert len(set(kinds[:10])) == min(count, 10)
    assert [kind in ("set", "model", "accuracy") for kind, _ in kinds] == [7 <= i < 10 for i in range(count)]


def test_a_run_of_two_jobs_and_a_run_joined_of_parts_are_equal(tmp_path):
    parts = [tmp_path / "first", tmp_path / "second"]
    for i, part in enumerate(parts, 1):
        toy_run(part, explainer=["random"], limit=4, part=f"{i}/2", jobs=i)
    join_runs(parts, tmp_path / "joined")
    for run, count in ((parts[1], 2 + 2 + 2 + 3), (tmp_path / "joined", 4 + 4 + 4 + 1)):  # sets are left to do
        verification = verified(run, EVERYTHING)
        assert (verification.exit_code, len(verification.drawn)) == (0, count), verification


def test_a_family_is_equal_also_where_it_was_moved(tmp_path):
    (tmp_path / "old").mkdir()
    family = {"model": [str(tmp_path / "old" / "toys")], "metric": ["range", "agreement"], "limit": 3}
    write_family(tmp_path / "old" / "toys", [1, 2])
    toy_run(tmp_path / "run", **family)
    (tmp_path / "new").mkdir()
    (tmp_path / "old" / "toys").rename(tmp_path / "new" / "toys")
    with pytest.raises(PlanError, match=r"cannot be computed again: .*toys") as raised:
        verified(tmp_path / "run")
    assert "--model and --dataset say where it lies now" in raised.value.mend
    verification = verified(tmp_path / "run", EVERYTHING, model=tmp_path / "new" / "toys")
    assert verification.exit_code == 0 and any(row.metric == "local/agreement" for row in verification.drawn)
    (tmp_path / "new" / "toys").rename(tmp_path / "new" / "dolls")
    renamed = verified(tmp_path / "run", 1, model=tmp_path / "new" / "dolls")
    assert renamed.exit_code == 3
    assert renamed.rows[0].reason == "no model is called toys (there is dolls): its file or folder has another name"


def write_family(folder, seeds):
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        (folder / f"member-{seed}.seed").write_text(str(seed))


def test_an_interrupted_run_is_verified_as_far_as_it_came(tmp_path, monkeypatch):
    def interrupt(self, predictions):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Due, "set_tasks", interrupt)
        with pytest.raises(KeyboardInterrupt):
            toy_run(tmp_path / "run", limit=3)
    verification = verified(tmp_path / "run", EVERYTHING)
    assert verification.exit_code == 0 and {row.kind for row in verification.rows} == {
        "predict", "explain", "score", "accuracy", "card",
    }  # fmt: skip


def test_maps_that_were_dropped_are_not_compared(tmp_path):
    toy_run(tmp_path / "run", limit=3, maps="drop")
    verification = verified(tmp_path / "run", EVERYTHING)
    assert verification.exit_code == 0 and "explain" not in {row.kind for row in verification.rows}


def test_live_objects_are_verified_in_their_process_alone():
    images = np.random.default_rng(0).integers(0, 256, (4, 24, 24, 3), dtype=np.uint8)
    run = xaibench.evaluate(
        PairNet(), {"images": images, "labels": ["real", "fake"] * 2}, card={"size": 24, "target_layer": "body"},
        explainers=["gradcam"], metrics=["deletion:steps=4"], controls=False,
    )  # fmt: skip
    assert run.verify(EVERYTHING).exit_code == 0
    with pytest.raises(PlanError, match="held/pair-net was in the memory of the process that made the run"):
        verified(run.path)


# ---- what is found --------------------------------------------------------------------------------------------------


def different(verification):
    """Kind, sample and changed values of each different row."""
    return [
        (row.kind, row.sample, [(c.table, c.item, c.column, c.stored, c.recomputed) for c in row.changes])
        for row in verification.in_state("different")
    ]


def test_a_forged_score_is_found(out):
    row = next(r for r in pq.read_table(out / "scores").to_pylist() if r["metric"] == "local/range")
    forge(out, "scores", with_cell("value", row, np.nextafter(row["value"], 2)))
    verification = verified(out, EVERYTHING)
    assert verification.exit_code == 1
    name = f"{row['score']} repeat 0"
    change = ("scores", name, "value", float(np.nextafter(row["value"], 2)), row["value"])
    assert different(verification) == [("score", row["sample"], [change])]


def test_a_forged_value_of_any_table_is_found(out):
    forged = [
        ("predictions", "p_fake", 0.25),
        ("predictions", "label", "none"),
        ("maps", "map", b"\0" * 2),
        ("artefacts", "artefact", "0"),
        ("detectors", "mark", "forged"),
        ("scores", "status", "undefined"),
        ("scores", "reason", "forged"),
    ]
    for table, column, value in forged:
        row = next(r for r in pq.read_table(out / table).to_pylist() if r.get("check") != "structure")
        forge(out, table, with_cell(column, row, value))
    changes = [c for _, _, changes in different(verified(out, EVERYTHING)) for c in changes]
    assert sorted((table, column, stored) for table, _, column, stored, _ in changes) == sorted(forged)


def test_a_row_that_was_taken_out_is_found(out):
    row = pq.read_table(out / "scores").to_pylist()[0]
    forge(out, "scores", lambda rows: rows.slice(1))
    ((_, _, [change]),) = different(verified(out, EVERYTHING))
    assert change == ("scores", f"{row['score']} repeat 0", "", "no such row", repr(row["value"]))


def test_a_file_that_is_not_the_committed_one_is_named(out):
    file = next((out / "scores").glob("*.parquet"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(StoreError, match=f"scores/{file.name} is not the file that the run committed: damaged"):
        verified(out)


def test_another_picture_and_a_lost_one_are_named(people, tmp_path):
    toy_run(tmp_path / "run", dataset=[str(people)], limit=None)
    shown = xaibench.open_run(tmp_path / "run").predictions["sample"].to_pylist()
    changed, lost = sorted(s for s in shown if s.startswith("real"))[:2]
    Image.new("RGB", (64, 64), (200, 0, 0)).save(people / f"{changed}.png")
    verification = verified(tmp_path / "run", EVERYTHING)
    reasons = {row.sample: row.reason for row in verification.in_state("unavailable")}
    what = f"sample {changed} of people is not as it was: picture, mask, label or counterpart"
    assert verification.exit_code == 3 and reasons[changed] == reasons[""] == what
    others = {s for s in shown if s not in reasons}
    assert others and {row.sample for row in verification.in_state("equal")} == {"", *others}  # "": no card is tried
    (people / f"{lost}.png").unlink()
    reasons = {row.sample: row.reason for row in verified(tmp_path / "run", EVERYTHING).rows}
    assert reasons[lost] == f"sample {lost} is not in people any more"


@pytest.fixture
def people(tmp_path):
    """Pictures of three people, real and swapped."""
    random = np.random.default_rng(0)
    for name in (f"{kind}/{i}" for kind in ("real", "fake/swap") for i in range(3)):
        (tmp_path / "people" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "people" / f"{name}.png")
    return tmp_path / "people"


def test_other_weights_are_named(tmp_path):
    write_family(tmp_path, [1])
    toy_run(tmp_path / "run", model=[str(tmp_path / "member-1.seed")], limit=3)
    (tmp_path / "member-1.seed").write_text("2")
    verification = verified(tmp_path / "run", 5)
    assert verification.exit_code == 3 and len(verification.in_state("unavailable")) == 5
    assert verification.rows[0].reason.startswith("the detector member-1 is another one: its digest was ")


def test_other_code_and_another_machine_are_told_and_small_differences_are_close(tmp_path, monkeypatch):
    plugin = tmp_path / "toy.py"
    plugin.write_text(TOY.read_text())
    out = tmp_path / "run"
    settings = {
        "model": ["toy"], "dataset": ["demo:identities=8"], "explainer": ["rows"], "metric": ["range"], "threads": 1,
        "controls": False, "isolation": False, "limit": 3, "plugin": [str(plugin)], "out": str(out),
    }  # fmt: skip
    components = load_registry((str(plugin),), ())
    execute(prepare(make_settings(None, settings), components), components)
    plugin.write_text(plugin.read_text() + "\n# another line\n")
    value, *_ = (r for r in pq.read_table(out / "scores").to_pylist())
    forge(out, "scores", with_cell("value", value, value["value"] + 1e-5))
    verification = verified(out, EVERYTHING)
    code = ["code that opens local/toy toy is not as it was",
            "the code or the defaults of local/rows, local/range are not as they were"]  # fmt: skip
    assert list(verification.changes) == code and verification.exit_code == 0
    (row,) = verification.in_state("close")
    assert row.reason == "; ".join(code) and row.changes[0].distance == pytest.approx(1e-5)
    forge(out, "scores", with_cell("value", value | {"value": value["value"] + 1e-5}, value["value"] + 0.01))
    assert verified(out, EVERYTHING).exit_code == 1


def test_another_processor_and_version_are_told(out, monkeypatch):
    here = provenance()
    elsewhere = here | {"processor": "Abacus", "versions": here["versions"] | {"scipy": "0.1"}}
    monkeypatch.setattr("xaibench.store.provenance.provenance", lambda: elsewhere)
    verification = verified(out, 2)
    assert list(verification.changes) == [
        f"processor was {here['processor'] or 'unknown'}, now Abacus",
        f"scipy was {here['versions']['scipy']}, now 0.1",
    ]
    assert verification.exit_code == 0 and len(verification.drawn) == 2


def test_more_rows_than_none_are_drawn(out):
    with pytest.raises(UsageError, match="0 rows are none"):
        verified(out, 0)
    with pytest.raises(UsageError, match="the run has 1 model, and --model gives 2"):
        verified(out, model=["a", "b"])
    with pytest.raises(StoreError, match="holds no commits"):
        verified(out / "scores")
