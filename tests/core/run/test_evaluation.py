"""The upper door: evaluation, maps and scores from Python, of live objects and of files."""

import copy
import gc
import pickle
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file
from small_networks import PairNet

import xaibench
from xaibench.api import DatasetError, ModelError, Passes, StoreError, UsageError

SIZE = 24
CARD = {"size": SIZE, "target_layer": "body"}
CHOICE = {
    "explainers": ["gradcam", "rise:masks=40"],
    "metrics": ["deletion:steps=4"],
    "target": "fake",
    "controls": False,
}


def arrays(n=6, masks=False):
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (2 * n, SIZE, SIZE, 3), dtype=np.uint8)
    pictures = {
        "images": images,
        "labels": ["real", "fake"] * n,
        "pairs": [None if i % 2 == 0 else i - 1 for i in range(2 * n)],
    }
    if masks:
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[4:12, 6:14] = 255
        pictures["masks"] = [None, mask] * n
        pictures["images"][1::2] = np.where(mask[:, :, None] > 0, images[1::2], images[::2])
    return pictures


def values(run):
    rows = [r for r in run.scores.to_pylist() if r["status"] == "ok"]
    return {(r["explainer"], r["score"], r["sample"]): r["value"] for r in rows}


@pytest.fixture
def as_file(tmp_path):
    """The network of :class:`PairNet` as a description of a factory and a file of weights."""
    save_file(PairNet().state_dict(), tmp_path / "pair.safetensors")
    support = Path(__file__).parents[2] / "support"
    (tmp_path / "pair.toml").write_text(
        f'factory = "small_networks:PairNet"\nweights = "pair.safetensors"\npythonpath = ["{support}"]\n'
        f'size = {SIZE}\ntarget_layer = "body"\n'
    )
    return tmp_path / "pair.toml"


# ---- evaluate -------------------------------------------------------------------------------------------------------


def test_a_module_on_arrays_in_five_lines(tmp_path, as_file):
    net = PairNet()
    pictures = arrays()
    run = xaibench.evaluate(net, pictures, card=CARD, **CHOICE)
    table = run.to_pandas()
    assert set(table.explainer) == {"xaibench/gradcam", "xaibench/rise:masks=40"}

    filed = xaibench.evaluate(as_file, pictures, out=tmp_path / "run", **CHOICE)
    assert values(run) == values(filed)
    assert len([score for _, score, _ in values(run) if score == "deletion"]) == 24
    assert run.predictions["p_fake"].to_pylist() == filed.predictions["p_fake"].to_pylist()


def test_a_callable_on_arrays(as_file, tmp_path):
    net = PairNet()

    def detector(pictures):
        with torch.no_grad():
            return net(pictures).numpy()

    run = xaibench.evaluate(detector, arrays(), card={"size": SIZE}, **CHOICE)
    filed = xaibench.evaluate(as_file, arrays(), out=tmp_path / "run", **CHOICE)
    mine = {k: v for k, v in values(run).items() if "rise" in k[0]}
    theirs = {k: v for k, v in values(filed).items() if "rise" in k[0]}
    # a file's weights lie in memory as is fastest, which a callable's cannot: the last bits may differ
    assert mine == pytest.approx(theirs, abs=1e-5)
    assert len([score for _, score, _ in mine if score == "deletion"]) == 12
    reasons = {r["reason"] for r in run.scores.to_pylist() if r["explainer"] == "xaibench/gradcam"}
    assert all("needs activations" in r for r in reasons)


def test_objects_that_keep_the_contracts_are_taken_as_they_are():
    from xaibench.api import Explanation, Score, Scores, ScoreSpec

    class FirstRow:
        def explain(self, request):
            height, width = request.picture.image.shape[1:]
            return Explanation(map=torch.eye(height, width))

        def passes(self, query):
            return Passes()

    class Total:
        scores = (ScoreSpec(name="total", better="none", why_not="a sum"),)

        def score(self, case):
            return Scores((Score(name="total", value=float(case.explanation.map.sum())),))

        def passes(self, query):
            return Passes()

    run = xaibench.evaluate(PairNet(), arrays(2), explainers=FirstRow(), metrics=[Total()], card=CARD, controls=False)
    assert {(r["explainer"], r["metric"]): r["value"] for r in run.scores.to_pylist()} == {
        ("held/first-row", "held/total"): float(SIZE)
    }


@pytest.mark.parametrize("sign", [1, -1])
def test_two_objects_of_one_class_are_two_detectors(sign):
    net = PairNet()
    pictures = arrays(2)

    def scaled(factor):
        return lambda shown: factor * net(shown)

    run = xaibench.evaluate([scaled(1), scaled(sign)], pictures, card={"size": SIZE}, **CHOICE)
    p_fake = {(r["model"], r["sample"]): r["p_fake"] for r in run.predictions.to_pylist()}
    first, second = (p_fake[name, "0001"] for name in ("held/lambda", "held/lambda-2"))
    assert second == pytest.approx(first if sign == 1 else 1 - first)


def outputs(kind):
    net = PairNet()
    return {
        "dict of arrays": (lambda x: {"scores": net(x).detach().numpy(), "note": "x"}, {"output_key": "scores"}),
        "tuple": (lambda x: (None, net(x)), {"output_key": 1}),
        "list of tensors": (lambda x: list(net(x)), {}),
        "script": (torch.jit.script(net), {}),
        "sequence of layers": (torch.nn.Sequential(PairNet(), torch.nn.Identity()), {}),
    }[kind]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("kind", ["dict of arrays", "tuple", "list of tensors", "script", "sequence of layers"])
def test_a_detector_may_answer_in_any_usual_form(kind):
    model, keys = outputs(kind)
    image = arrays(1)["images"][1]
    expected = xaibench.explain(PairNet(), image, "rise:masks=8", "fake", card=CARD).array
    maps = xaibench.explain(model, image, "rise:masks=8", "fake", card={"size": SIZE} | keys)
    assert maps.array == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("several", [tuple, set, iter, np.array])
def test_explainers_come_in_any_collection(several):
    specs = several(["gradcam", "rise:masks=8"])
    run = xaibench.evaluate(PairNet(), arrays(1), card=CARD, **CHOICE | {"explainers": specs})
    assert set(run.scores["explainer"].to_pylist()) == {"xaibench/gradcam", "xaibench/rise:masks=8"}


def test_numbers_of_numpy_are_settings():
    run = xaibench.evaluate(
        PairNet(), arrays(2), card=CARD, limit=np.int64(2), **CHOICE | {"controls": np.bool_(False)}
    )
    assert len(run.predictions) == 2


def test_nothing_is_left_of_a_run_that_is_interrupted(tmp_path, monkeypatch):
    gc.collect()

    class Stop:
        def explain(self, request):
            raise KeyboardInterrupt

        def passes(self, query):
            return Passes()

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        xaibench.evaluate(PairNet(), arrays(1), card=CARD, **CHOICE | {"explainers": Stop()})
    assert list(tmp_path.glob("xaibench*")) == [] and runs_in_memory() == []


def runs_in_memory():
    return [name for name in fsspec.filesystem("memory").store if name.startswith("/xaibench-")]


def test_a_run_in_memory_writes_no_file_and_goes_with_its_object(tmp_path, monkeypatch):
    """Neither live objects nor names leave a folder; what a run holds lives as long as the object."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    run = xaibench.evaluate(PairNet(), arrays(2), card=CARD, maps="keep", **CHOICE)
    named = xaibench.evaluate(
        "demo", "demo:identities=2", explainers="edges", metrics="entropy-spatial", controls=False
    )
    assert run.path.startswith("memory://") and named.path != run.path
    assert (
        list(tmp_path.glob("xaibench*")) == [] and len(run.scores) and run.map("0001", "gradcam").shape == (SIZE, SIZE)
    )
    path = run.path.removeprefix("memory:/")
    assert any(name.startswith(f"{path}/") for name in runs_in_memory())
    del run
    gc.collect()
    assert not any(name.startswith(f"{path}/") for name in runs_in_memory()) and len(named.scores)
    del named
    gc.collect()
    assert runs_in_memory() == []


def test_tables_in_memory_are_those_of_a_folder(tmp_path):
    kept = xaibench.evaluate(PairNet(), arrays(2), card=CARD, out=tmp_path / "run", **CHOICE)
    run = xaibench.evaluate(PairNet(), arrays(2), card=CARD, **CHOICE)
    for table in ("scores", "predictions", "curves"):
        drop = ["run", "unit", "cell"]  # the random version of the module is in every key
        mine, theirs = (r.to_arrow(table).drop_columns(drop).sort_by("sample").to_pylist() for r in (run, kept))
        assert mine == theirs and mine


def test_workers_commit_to_a_folder_that_goes_with_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    choice = {"explainers": "edges", "metrics": "entropy-spatial", "controls": False, "limit": 4}
    run = xaibench.evaluate("demo", "demo:identities=4", jobs=2, **choice)
    alone = xaibench.evaluate("demo", "demo:identities=4", **choice)
    assert run.path.is_relative_to(tmp_path) and values(run) == values(alone) and values(run)
    path = run.path
    del run
    gc.collect()
    assert not path.exists()


def test_a_run_in_memory_can_be_kept(tmp_path):
    run = xaibench.evaluate(PairNet(), arrays(2), card=CARD, maps="keep", **CHOICE)
    kept = run.save(tmp_path / "kept")
    expected, saliency = values(run), run.map("0001", "gradcam")
    del run
    gc.collect()
    assert values(kept) == values(xaibench.open_run(tmp_path / "kept")) == expected
    assert np.array_equal(kept.map("0001", "gradcam"), saliency)
    assert kept.picture("0001")[0].shape == (SIZE, SIZE, 3)
    with pytest.raises(StoreError, match="holds a run already"):
        kept.save(tmp_path / "kept")


def test_two_threads_read_a_run_in_memory():
    run = xaibench.evaluate(PairNet(), arrays(2), card=CARD, maps="keep", **CHOICE)
    expected = run.map("0001", "gradcam")
    with ThreadPoolExecutor(4) as pool:
        maps = list(pool.map(lambda _: xaibench.open_run(run.path).map("0001", "gradcam"), range(16)))
    assert all(np.array_equal(m, expected) for m in maps)


def test_without_a_version_nobody_resumes_and_the_run_says_so(tmp_path, capsys):
    out = tmp_path / "run"
    run = xaibench.evaluate(PairNet(), arrays(2), card=CARD, out=out, progress=True, **CHOICE)
    assert "no other process resumes this run" in capsys.readouterr().err
    assert "no other process resumes this run" in run.to_arrow("runs")["plan"][0].as_py()
    with pytest.raises(StoreError, match="holds another run"):
        xaibench.evaluate(PairNet(), arrays(2), card=CARD, out=out, **CHOICE)


def test_with_a_version_the_same_call_resumes(tmp_path):
    out = tmp_path / "run"
    first = xaibench.evaluate(PairNet(), arrays(2), card=CARD, out=out, version="3", **CHOICE)
    again = xaibench.evaluate(PairNet(), arrays(2), card=CARD, out=out, version="3", **CHOICE)
    assert len(again.to_arrow("runs")) == 1 and values(first) == values(again)  # nothing was planned anew
    assert set(again.to_arrow("commits")["attempts"].to_pylist()) == {1}


def test_other_weights_under_one_version_are_another_detector(tmp_path):
    out, changed = tmp_path / "run", PairNet()
    xaibench.evaluate(PairNet(), arrays(2), card=CARD, out=out, version="3", **CHOICE)
    with torch.no_grad():
        changed.head.bias += 1
    with pytest.raises(StoreError, match="holds another run"):
        xaibench.evaluate(changed, arrays(2), card=CARD, out=out, version="3", **CHOICE)


def test_the_module_is_left_as_it_was():
    net = PairNet().train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    xaibench.evaluate(net, arrays(2), card=CARD, **CHOICE)
    assert net.training and all(p.requires_grad for p in net.parameters())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def on_arrays(**arguments):
    return xaibench.evaluate(PairNet(), arrays(2), card=CARD, **arguments)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: xaibench.evaluate(PairNet(), arrays(2), jobs=2, card=CARD), UsageError, "workers cannot have it"),
        (
            lambda: xaibench.evaluate(PairNet(), arrays(2), card=CARD, parameter={"executor.local.jobs": 2}),
            UsageError,
            "workers cannot have it",
        ),
        (lambda: xaibench.evaluate(PairNet(), arrays(2)), ModelError, "how large its input is"),
        (lambda: xaibench.evaluate(3, arrays(2)), UsageError, "int is no model"),
        (lambda: xaibench.evaluate(PairNet(), 3), UsageError, "int is no data set"),
        (lambda: xaibench.evaluate(PairNet(), arrays(2), card=CARD, sead=1), UsageError, "did you mean 'seed'"),
        (lambda: xaibench.evaluate(PairNet(), arrays(2), card={"weights": "x"}), ModelError, "is for files"),
        (lambda: xaibench.evaluate(PairNet(), arrays(2), card="pair.toml"), UsageError, "card is a str"),
        (lambda: xaibench.evaluate("demo", arrays(2), card=CARD), UsageError, "card describes a model in memory"),
        (lambda: xaibench.evaluate(PairNet, arrays(2), card=CARD), UsageError, "give an object: PairNet(...)"),
        (lambda: xaibench.evaluate([], arrays(2)), UsageError, "model is empty"),
        (lambda: xaibench.evaluate(PairNet().to("meta"), arrays(2), card=CARD), ModelError, "weights cannot be read"),
        (lambda: xaibench.evaluate(lambda x: None, arrays(2), card=CARD), ModelError, "the model returns a NoneType"),
        (lambda: xaibench.evaluate(PairNet(), {"image": 1}, card=CARD), UsageError, "have no 'image'"),
        (lambda: xaibench.evaluate(PairNet(), {"images": []}, card=CARD), UsageError, "need labels"),
        (lambda: on_arrays(explainers=lambda request: None), UsageError, "it has no explain"),
        (lambda: on_arrays(explainers=[None]), UsageError, "NoneType is no explainer"),
        (lambda: on_arrays(explainers=[]), UsageError, "explainers is empty"),
        (lambda: on_arrays(explainer="gradcam"), UsageError, "give explainers="),
        (lambda: on_arrays(metrics=dict), UsageError, "dict is a class"),
        (lambda: on_arrays(rerun="some"), UsageError, "rerun = 'some' is not known"),
        (lambda: on_arrays(plugin="nope.py"), UsageError, "plugin file 'nope.py' does not exist"),
        (lambda: on_arrays(plugin=Path("nope.py")), UsageError, "plugin file 'nope.py' does not exist"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_in_a_line(call, error, words):
    with pytest.raises(error) as refusal:
        call()
    assert words in f"{refusal.value.what} {refusal.value.mend}"


# ---- an opened run --------------------------------------------------------------------------------------------------


def test_a_run_gives_tables_maps_pictures_and_views():
    pictures = arrays(2)
    run = xaibench.evaluate(PairNet(), pictures, card=CARD, maps="keep", **CHOICE)
    assert isinstance(run.scores, pa.Table) and run.map("0001", "gradcam").shape == (SIZE, SIZE)
    assert np.array_equal(run.picture_reader()("0001"), pictures["images"][1])
    assert run.leaderboards().boards[0].family == "faithfulness"
    assert "leaderboards" in dir(run)
    with pytest.raises(AttributeError, match="no view called 'leaderbords'"):
        run.leaderbords()
    with pytest.raises(UsageError, match="no table 'score'"):
        run.to_arrow("score")
    with pytest.raises(StoreError, match="no map of 0099"):
        run.map("0099", "gradcam")
    with pytest.raises(StoreError) as absent:
        run.map("0001", "gradcan", model="pair-net")
    assert "xaibench/gradcam" in absent.value.mend
    with pytest.raises(UsageError, match="no column 'valeu'"):
        run.to_arrow("scores", ["valeu"])
    assert run.to_arrow("scores", where={"sample": ["0001"]})["sample"].unique().to_pylist() == ["0001"]
    with pytest.raises(UsageError, match=r"the column 'repeat' holds none"):
        run.to_arrow("scores", where={"repeat": [0]})
    with pytest.raises(UsageError, match="'samples' has no column 'smaple'"):
        run.to_arrow("samples", where={"smaple": ["0001"]})
    with pytest.raises(UsageError, match="no sample '0099'"):
        run.picture_reader()("0099")


def test_copies_and_pickles_of_a_run_read_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = xaibench.evaluate(PairNet(), arrays(1), card=CARD, out="run", **CHOICE)
    monkeypatch.chdir("/")
    other = pickle.loads(pickle.dumps(run))
    for same in (copy.copy(run), copy.deepcopy(run), other):
        assert values(same) == values(run) and same.path == tmp_path / "run"
    with pytest.raises(UsageError, match="in the memory of the process that made the run"):
        other.picture_reader()
    with pytest.raises(AttributeError):
        _ = xaibench.Run.__new__(xaibench.Run).leaderboards


def test_a_run_whose_folder_is_gone_says_so(tmp_path):
    run = xaibench.evaluate(PairNet(), arrays(1), card=CARD, out=tmp_path / "run", **CHOICE)
    shutil.rmtree(run.path)
    for read in (lambda: run.scores, run.leaderboards):
        with pytest.raises(StoreError, match="is gone"):
            read()


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_library_of_data_frames_that_is_missing_is_named(library, monkeypatch):
    run = xaibench.evaluate(PairNet(), arrays(1), card=CARD, **CHOICE)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match=f"{library} is not installed"):
        getattr(run, f"to_{library}")()


def test_a_run_whose_plugin_is_gone_still_gives_tables(tmp_path):
    plugin = tmp_path / "views.py"
    plugin.write_text(
        "from xaibench.api import ViewRecord, hookimpl\n\ndef two_words(run):\n    return len(run.scores)\n\n"
        "@hookimpl\ndef xaibench_run_views():\n"
        "    return [ViewRecord(name='two-words', target='xaibench_local_views:two_words', summary='Rows.')]\n"
    )
    out = tmp_path / "run"
    run = xaibench.evaluate(PairNet(), arrays(1), card=CARD, out=out, plugin=plugin, **CHOICE)
    assert run.two_words() == len(run.scores) and "two_words" in dir(run)
    plugin.unlink()
    opened = xaibench.open_run(out)
    assert len(opened.scores) == len(run.scores) and "two_words" not in dir(opened)
    with pytest.raises(UsageError, match="does not exist"):
        opened.two_words()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    for contents in (None, b'model = ["demo"]', b"\xff"):
        if contents is not None:
            (tmp_path / "run.toml").write_bytes(contents)
        with pytest.raises(StoreError, match=r"is no run|is broken"):
            xaibench.open_run(tmp_path)


# ---- arrays ---------------------------------------------------------------------------------------------------------


def test_arrays_of_any_usual_form_are_the_same_pictures():
    images = arrays(2)["images"]
    floats = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    plain, tensors = (xaibench.PictureArrays(x, [0, 1, 0, 1]) for x in (images, floats))
    for sample in plain.samples():
        assert np.array_equal(plain.read(sample).pixels, tensors.read(sample).pixels)
    assert [s.label for s in plain.samples()] == ["real", "fake", "real", "fake"]


def test_a_fake_and_its_counterpart_are_one_group():
    pictures = xaibench.PictureArrays(arrays(2)["images"], ["real", "fake"] * 2, pairs=[None, 0, None, 2])
    assert [s.group for s in pictures.samples()] == ["0000", "0000", "0002", "0002"]


def test_columns_of_a_data_frame_are_taken_in_their_order():
    table = pd.DataFrame(
        {"label": [0.0, 1.0, 0.0, 1.0], "pair": [np.nan, 0, np.nan, 2], "method": [None, "df", None, np.nan]},
        index=[7, 3, 2, 0],
    )
    pictures = xaibench.PictureArrays(
        iter(arrays(2)["images"]),
        table.label,
        pairs=table.pair,
        methods=table.method,
        groups=torch.tensor([4, 4, 5, 5]),
    )
    rows = [(s.label, s.pair, s.method, s.group) for s in pictures.samples()]
    assert rows == [("real", None, None, "4"), ("fake", "0000", "df", "4"), ("real", None, None, "5"),
                    ("fake", "0002", None, "5")]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": None}, "labels is a NoneType, not a list"),
        ({"labels": np.eye(2)[[0, 1, 0, 1]]}, "is neither real nor fake"),
        ({"pairs": [None, "0", None, 2]}, "pairs[1] = 0 is no real picture"),
        ({"groups": ["a", None, "b", "b"]}, "groups[1] is not given"),
        ({"masks": [None, np.zeros((3, 3)), None, None]}, "sample 0001: the mask is 3 x 3 pixels"),
        ({"masks": [None, "mask.png", None, None]}, "the mask of 0001 is a str"),
        ({"landmarks": np.full((4, 5, 2), np.nan)}, "sample 0000: the landmarks are not finite"),
        ({"images": torch.zeros(4, SIZE, SIZE, 3, dtype=torch.bfloat16)}, "picture 0000 is no array"),
        ({"labels": ["real"]}, "labels holds 1 entries for 4 images"),
        ({"labels": ["real", "maybe", "real", "fake"]}, "'maybe' is neither real nor fake"),
        ({"pairs": [None, 3, None, 2]}, "pairs[1] = 3 is no real picture"),
        ({"ids": ["a", "a", "b", "c"]}, "two pictures have the same id"),
        ({"images": np.zeros((4, SIZE, SIZE), np.uint8)}, "picture 0000 has shape (24, 24)"),
        ({"images": np.full((4, SIZE, SIZE, 3), 2.0)}, "float64 values outside [0, 1]"),
        ({"images": np.full((4, SIZE, SIZE, 3), np.nan)}, "float64 values outside [0, 1]"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(changes, words):
    pictures = {"images": arrays(2)["images"], "labels": ["real", "fake"] * 2} | changes
    with pytest.raises(DatasetError) as refusal:
        xaibench.PictureArrays(**pictures)
    assert words in refusal.value.what
