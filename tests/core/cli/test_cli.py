"""The command line as people meet it: what is refused, in which words and with which exit code."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from looks import STRUCTURE
from onnx import TensorProto, helper
from PIL import Image

from conftest import TOY
from xaibench.cli.program import program


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def picture(path, seed=0, size=(32, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def faces(tmp_path):
    """Pictures whose brightness is their label: reals dark, fakes bright."""
    for i in range(12):
        for label, low in (("real", 0), ("fake/bright", 128)):
            path = tmp_path / "faces" / label / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng([i, low]).integers(low, low + 128, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
    return tmp_path / "faces"


@pytest.fixture
def onnx_file(tmp_path):
    """A model of one output: the picture's mean brightness as a logit, fake where bright."""

    def write(outputs: int = 1, sign: float = 1.0, name: str = "model.onnx"):
        weights = np.zeros((outputs, 3), np.float32)
        weights[-1] = sign * 20 / 3
        bias = np.zeros(outputs, np.float32)
        bias[-1] = -sign * 10
        nodes = [
            helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w", "b"], ["score"], transB=1),
        ]
        graph = helper.make_graph(
            nodes, "g", [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 16, 16])],
            [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", outputs])],
            [onnx.numpy_helper.from_array(weights, "w"), onnx.numpy_helper.from_array(bias, "b")],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        path = tmp_path / name
        onnx.save(model, path)
        return path

    return write


def refused(result, code, *texts):
    """One line of what, one of how, the right exit code, no traceback."""
    exit_code, _, err = result
    assert exit_code == code, err
    assert "Traceback" not in err
    for text in texts:
        assert text in err


# ---- wrong usage ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "texts"),
    [
        (["eval", "-e", "gradcamm"], 3, ["no explainer called 'gradcamm'", "gradcam"]),
        (["eval", "-x", "deletoin"], 3, ["no metric called 'deletoin'", "deletion"]),
        (["eval", "-m", "nobody"], 3, ["no model called 'nobody'"]),
        (["eval", "-D", "nowhere"], 3, ["no dataset called 'nowhere'"]),
        (["eval", "-e", "rise:mask=5"], 2, ["rise has no parameter 'mask'", "masks"]),
        (["eval", "-e", "rise:masks=-5"], 2, ["masks=-5"]),
        (["eval", "-e", "rise:masks=many"], 2, ["masks=many"]),
        (["eval", "-e", "rows:5"], 3, ["no explainer called 'rows'"]),
        (["eval", "-p", "explainer.rise=5"], 2, ["KIND.NAME.KEY"]),
        (["eval", "-p", "explainer.rise.masks"], 2, ["has no value"]),
        (["eval", "-p", "explainer.maps.path=x"], 2, ["not part of this run"]),
        (["eval", "-m", "./absent.onnx"], 3, ["absent.onnx does not exist"]),
        (["eval", "-D", "./absent"], 3, ["absent does not exist"]),
        (["eval", "absent.toml"], 3, ["absent.toml cannot be read"]),
        (["eval", "--target", "nonsense"], 2, ["nonsense", "predicted, fake, real, label"]),
        (["eval", "--split", "nope"], 2, ["no split 'nope'"]),
        (["eval", "--method", "nope"], 2, ["no manipulation method 'nope'"]),
        (["eval", "--device", "tpu"], 2, ["tpu"]),
        (["eval", "--preset", "huge"], 2, ["preset"]),
        (["eval", "--rerun", "some"], 2, ["--rerun=some", "missing | failed | all"]),
        (["eval", "--plugin", "absent.py"], 2, ["absent.py"]),
        (["eval", "--no-plugin", "nobody"], 2, ["nobody"]),
        (["eval", "--limit", "0"], 2, ["limit"]),
        (["eval", "--no-such-flag"], 2, []),
        (["eval", "-q", "-v"], 2, ["--quiet and --verbose contradict each other"]),
        (["train", "cyborg", "-D", "demo", "-o", "f", "-q", "-v"], 2, ["--quiet and --verbose contradict each other"]),
        (["nonsense"], 2, []),
        (["list", "--needs", "luck"], 2, ["luck"]),
        (["list", "things"], 2, ["things"]),
        (["info", "gradcamm"], 3, ["gradcam"]),
        (["status", "absent"], 3, ["absent does not exist"]),
        (["report", "absent"], 3, ["absent does not exist"]),
        (["compare", "absent", "absent"], 3, ["absent does not exist"]),
        (["export", "absent"], 3, ["absent does not exist"]),
        (["check", "nobody"], 3, ["nobody"]),
        (["new-plugin", "Not A Name"], 2, ["distribution name"]),
    ],
)
def test_wrong_usage_is_one_line_with_the_right_exit_code(cli, arguments, code, texts):
    refused(cli(*arguments), code, *texts)


def test_every_flag_has_an_environment_variable(cli, monkeypatch):
    monkeypatch.setenv("XAIBENCH_EVAL_PRESET", "huge")
    refused(cli("eval"), 2, "preset")


def test_debug_shows_the_traceback():
    from xaibench.api import UnknownComponent
    from xaibench.cli.main import main

    with pytest.raises(UnknownComponent):
        main(["eval", "-e", "gradcamm", "--debug"])


def test_a_bad_run_file_is_refused(cli, tmp_path):
    (tmp_path / "run.toml").write_text("modle = 'demo'\n")
    refused(cli("eval", "run.toml"), 3, "has no parameter 'modle'", "model")
    (tmp_path / "run.toml").write_text("model = \n")
    refused(cli("eval", "run.toml"), 3, "not valid TOML")


def test_a_run_file_has_the_keys_of_the_flags_and_a_flag_wins(cli, tmp_path):
    (tmp_path / "run.toml").write_text(
        f'plugin = "{TOY}"\nmodel = "toy"\ndataset = "demo:identities=8"\nexplainer = ["rows"]\nmetric = "range"\n'
        "controls = false\ntask-samples = 4\nlimit = 8\nout = 'from-file'\n[parameter.explainer.rows]\nbands = 2\n"
    )
    code, out, _ = cli("eval", "run.toml", "--limit", 5, "--json")
    said = json.loads(out)
    assert code == 0
    assert said["out"] == "from-file"
    assert said["forward"] == STRUCTURE + 5 + 5 * 3


def test_a_broken_plugin_that_the_plan_needs_stops_it(cli, tmp_path):
    (tmp_path / "bad.py").write_text("import no_such_module_at_all\n")
    refused(cli("eval", "--plugin", "bad.py", "-e", "their-map"), 3, "no_such_module_at_all", "their-map")


# ---- models and data --------------------------------------------------------------------------------------------


def test_one_output_without_a_card_is_refused_with_the_key_to_add(cli, onnx_file, faces):
    refused(cli("eval", "-m", onnx_file(), "-D", faces), 3, "one output", 'add high = "fake"', "card")


def test_an_unreadable_model_is_refused(cli, tmp_path, faces):
    (tmp_path / "broken.onnx").write_bytes(b"this is no model")
    refused(cli("eval", "-m", "./broken.onnx", "-D", faces), 3, "broken.onnx")
    (tmp_path / "broken.pt2").write_bytes(b"this is no model")
    refused(cli("eval", "-m", "./broken.pt2", "-D", faces), 3, "broken.pt2")


def test_an_output_that_is_not_what_the_card_says_is_refused(cli, onnx_file, faces, tmp_path):
    path = onnx_file(outputs=2)
    (tmp_path / "model.toml").write_text('classes = ["real", "a", "b"]\nreal = "real"\n')
    refused(cli("eval", "-m", path, "-D", faces), 3, "model")


def test_a_folder_whose_fakes_are_all_left_out_has_nothing_to_evaluate(cli, tmp_path):
    picture(tmp_path / "only" / "real" / "a.png")
    (tmp_path / "only" / "fake").mkdir()
    (tmp_path / "only" / "fake" / "a.txt").write_text("no picture")
    refused(cli("eval", "-D", "./only"), 4, "fake")


def test_broken_files_are_named_and_the_run_goes_on(cli, faces, onnx_file, tmp_path):
    path = onnx_file(outputs=2)
    (tmp_path / "model.toml").write_text("activation = 'logit'\n")
    (faces / "fake" / "bright" / "zz.png").write_bytes(b"no picture")
    good = (faces / "fake" / "bright" / "00.png").read_bytes()
    (faces / "fake" / "bright" / "yy.png").write_bytes(good[: len(good) // 2])
    code, _, err = cli(
        "eval", "-m", path, "-D", faces, "-e", "rise:masks=4", "-x", "deletion", "--no-controls", "-o", "run"
    )
    assert code == 0
    assert "2 files left out" in err
    assert "zz" in err
    assert "yy" in err


def test_eval_on_an_onnx_file_and_a_folder(cli, faces, onnx_file, tmp_path):
    path = onnx_file()
    (tmp_path / "model.toml").write_text("high = 'fake'\nactivation = 'logit'\n")
    code, out, err = cli(
        "eval", "-m", path, "-D", faces, "-e", "rise:masks=8", "-e", "gradcam", "-x", "deletion", "-o", "run"
    )
    assert code == 0, err
    assert "AUC 1.000" in " ".join(out.split())
    assert "gradcam" in out
    code, out, _ = cli("status", "run", "--json")
    assert json.loads(out)["left"] == 0


def test_swapped_labels_are_found_and_the_key_is_named(cli, faces, onnx_file, tmp_path):
    path = onnx_file()
    (tmp_path / "model.toml").write_text("high = 'real'\nactivation = 'logit'\n")
    code, out, _ = cli("check", path, "--dataset", faces)
    assert code == 5
    assert "ranks real above fake" in out
    assert "'high'" in out
    assert "AUC 0.000" in out
    (tmp_path / "model.toml").write_text("high = 'fake'\nactivation = 'logit'\n")
    code, out, _ = cli("check", path, "--dataset", faces)
    assert code == 0, out


def test_a_folder_of_models_is_a_family(cli, onnx_file, faces, tmp_path):
    (tmp_path / "runs").mkdir()
    for i in range(3):
        onnx_file(sign=1.0 + i, name=f"runs/run{i}.onnx")
        (tmp_path / "runs" / f"run{i}.toml").write_text("high = 'fake'\nactivation = 'logit'\n")
    code, out, _ = cli("eval", "-m", "./runs", "-D", faces, "-e", "rise:masks=4", "-x", "deletion", "--no-controls",
                       "--members", "all", "-o", "out", "--json")  # fmt: skip
    assert code == 0, out
    code, out, _ = cli("report", "out", "--json")
    assert code == 0
    assert {d["where"]["member"] for d in json.loads(out)["detections"]} == {"run0", "run1", "run2"}


@pytest.mark.parametrize(("record", "folder", "told"), [
    ('runs = 3\n', "runs", True),
    ('runs = 3\n', "runs/best", True),
    ('runs = 2\n', "runs", False),
    ('runs = "3"\n', "runs", False),
    (None, "runs", False),
])  # fmt: skip
def test_a_family_of_which_runs_are_missing_is_said(cli, onnx_file, faces, tmp_path, record, folder, told):
    (tmp_path / folder).mkdir(parents=True)
    for i in range(2):
        onnx_file(sign=1.0 + i, name=f"{folder}/run-{i}.onnx")
        (tmp_path / folder / f"run-{i}.toml").write_text("high = 'fake'\nactivation = 'logit'\n")
    if record:
        (tmp_path / "runs" / "family.toml").write_text(f"[family]\n{record}")
    code, out, err = cli("eval", "-m", f"./{folder}", "-D", faces, "-e", "rise:masks=4", "-x", "deletion", "--dry-run",
                         "--json")  # fmt: skip
    assert code == 0, err
    said = [n for n in json.loads(out)["notes"] if "2 of the 3 runs that its family.toml tells of" in n]
    assert len(said) == told


def test_folders_of_one_name_are_told_apart_by_where_they_lie(cli, onnx_file, faces, tmp_path):
    for where in ("plain", "guided"):
        (tmp_path / where / "best").mkdir(parents=True)
        onnx_file(sign=1.0 + len(where), name=f"{where}/best/run.onnx")
        (tmp_path / where / "best" / "run.toml").write_text("high = 'fake'\nactivation = 'logit'\n")

    def names(*models):
        code, out, err = cli("eval", *(x for m in models for x in ("-m", m)), "-D", faces, "-e", "center-prior", "-x",
                             "entropy-spatial", "--no-controls", "--dry-run", "--json", "-o", "out")  # fmt: skip
        assert code == 0, err
        return {c["model"] for c in json.loads(out)["cells"]}

    assert names("./plain/best", "./guided/best") == {"plain-best", "guided-best"}
    assert names("./plain/best") == {"best"}
    assert cli("eval", "-m", "./plain/best", "-m", "./plain/best", "-D", faces, "--dry-run")[0] == 2


# ---- reading a run --------------------------------------------------------------------------------------------------


def test_status_report_compare_and_export(toy_eval, cli, tmp_path):
    toy_eval("-o", "one", "-x", "deletion")
    toy_eval("-o", "two", "-x", "deletion", "--seed", 1)
    code, out, _ = cli("status", "one", "--json")
    said = json.loads(out)
    assert code == 0
    assert said["left"] == 0
    assert {u["status"] for u in said["results"]} == {"ok", "not_applicable"}  # the card of four people is not tried
    code, out, _ = cli("report", "one")
    page = (tmp_path / "one" / "report.html").read_text()
    assert code == 0
    assert "<html" in page
    assert "local/rows" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    code, out, _ = cli("compare", "one", "two", "--json")
    assert code == 0
    assert json.loads(out)["rows"]
    code, _, _ = cli("export", "one", "-o", "scores.csv")
    assert code == 0
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    assert len(lines) == 1 + 12 * (1 + 3)  # range; deletion, tied-share, tie-spread
    refused(cli("export", "one", "-o", "scores.xlsx"), 2, ".parquet")


def test_list_with_a_model_says_what_can_be_used(cli):
    code, out, _ = cli("list", "explainers", "--plugin", TOY, "--model", "blind", "--json")
    rows = {c["name"]: c for c in json.loads(out)["components"]}
    assert code == 0
    assert rows["xaibench/rise"]["usable"] is True
    assert "black box" in rows["xaibench/gradcam"]["usable"]


def test_info_card_lists_every_key_with_its_models(cli):
    from xaibench_models.card import OnnxKeys
    from xaibench_models.torch_card import TorchKeys

    code, out, _ = cli("info", "card", "--json")
    assert code == 0
    rows = json.loads(out)["card"]
    keys = {m: {r["name"] for r in rows if m in r["models"]} for m in ("onnx", "torch")}
    assert keys == {"onnx": set(OnnxKeys.model_fields), "torch": set(TorchKeys.model_fields)}
    shared = {r["name"]: r for r in rows if r["models"] == ["onnx", "torch"]}
    assert shared["range"]["default"] == "[0, 1]"
    assert (shared["stochastic"]["type"], shared["stochastic"]["default"]) == ("bool", "false")
    assert all(r["description"] for r in rows)
    code, out, _ = cli("info", "card")
    assert code == 0
    assert "output_key" in out


def test_info_prints_parameters_with_types_and_defaults(cli):
    code, out, _ = cli("info", "rise", "--json")
    (row,) = json.loads(out)["components"]
    masks = next(p for p in row["parameters"] if p["name"] == "masks")
    assert code == 0
    assert masks["default"] == 4000
    assert masks["description"]
    code, out, _ = cli("info", "deletion")
    assert code == 0
    assert "lower" in out


def test_explain_writes_a_map_and_an_overlay(cli, tmp_path):
    picture(tmp_path / "one.png", size=(40, 50))
    code, out, _ = cli("explain", "one.png", "--plugin", TOY, "--model", "toy", "-e", "rows", "-e", "gradcam", "--json")
    assert code == 0
    rows = json.loads(out)["maps"]
    assert np.load(rows[0]["map"]).shape == (32, 32)
    with Image.open(rows[0]["overlay"]) as overlay:
        assert overlay.size
    refused(cli("explain", "absent.png", "--plugin", TOY, "--model", "toy"), 3, "absent.png")


def test_doctor_says_what_is_installed(cli):
    code, out, _ = cli("doctor", "--json")
    said = json.loads(out)
    assert code == 0
    assert {p["distribution"] for p in said["plugins"]} >= {"xaibench"}
    assert "CPUExecutionProvider" in said["onnxruntime"]["providers"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import no_such_module_at_all\n", "no_such_module_at_all"),
        ("import sys; sys.exit(0)\n", "sys.exit(0)"),
        ("x = 1\n", "registers no component"),
    ],
)
def test_check_never_passes_a_plugin_file_that_brings_nothing(cli, tmp_path, source, text):
    (tmp_path / "theirs.py").write_text(source)
    refused(cli("check", "./theirs.py"), 3, text)


def test_check_fails_a_target_that_cannot_be_imported(cli, tmp_path):
    (tmp_path / "theirs.py").write_text(
        "from xaibench.api import ExplainerRecord, hookimpl\n@hookimpl\ndef xaibench_explainers():\n"
        "    return [ExplainerRecord(name='lost', target='nowhere.at_all:Map', summary='A map.')]\n"
    )
    code, out, _ = cli("check", "theirs.py")
    assert code == 5
    assert "nowhere.at_all" in out


def test_a_folder_that_is_no_run_is_not_written_into(cli, faces):
    before = sorted(p.name for p in faces.iterdir())
    refused(cli("eval", "--limit", 2, "-e", "edges", "-x", "deletion", "-q", "-o", faces), 3, "is no run", "--out")
    assert sorted(p.name for p in faces.iterdir()) == before


def test_a_limit_that_leaves_no_fake_has_nothing_to_evaluate(cli):
    refused(cli("eval", "--limit", 1, "-q", "-o", "run"), 4, "no fake", "--limit")


def test_every_table_is_exported_as_csv_and_what_csv_cannot_hold_is_said(toy_eval, cli, tmp_path):
    from xaibench.store.schema import TABLES

    toy_eval("-o", "out")
    for table in TABLES:
        code, out, err = cli("export", "out", "--table", table, "--out", f"{table}.csv")
        assert code == 0, err
        assert (tmp_path / f"{table}.csv").stat().st_size > 0
        lacking = {"predictions": "probabilities, classes", "maps": "segment_weights"}.get(table, "")
        assert lacking in out and ("without" in out) >= bool(lacking)
    assert not list(tmp_path.glob(".*.part"))


def test_export_among_the_runs_own_tables_is_refused(toy_eval, cli):
    toy_eval("-o", "one")
    refused(cli("export", "one", "-o", "one/scores/x.parquet"), 2, "own tables")


def test_explain_says_why_an_explainer_cannot_run(cli, tmp_path):
    picture(tmp_path / "one.png")
    code, out, _ = cli(
        "explain", "one.png", "--plugin", TOY, "--model", "blind", "-e", "gradcam", "-e", "rows", "--json"
    )
    rows = {r["explainer"]: r for r in json.loads(out)["maps"]}
    assert code == 0
    assert "black box" in rows["xaibench/gradcam"]["reason"]
    assert rows["local/rows"]["status"] == "ok"


@pytest.mark.parametrize("line", ["threshold = true", "std = inf", 'mean = "0.5"', "batch = 0", "size = 100000"])
def test_a_card_value_that_is_no_sensible_number_is_refused(cli, onnx_file, faces, tmp_path, line):
    path = onnx_file()
    (tmp_path / "model.toml").write_text(f"high = 'fake'\nactivation = 'logit'\n{line}\n")
    refused(cli("eval", "-m", path, "-D", faces, "--dry-run"), 3, line.partition(" ")[0])


def test_a_stray_toml_in_a_family_is_no_member(cli, onnx_file, faces, tmp_path):
    (tmp_path / "runs").mkdir()
    onnx_file(outputs=2, name="runs/a.onnx")
    (tmp_path / "runs" / "a.toml").write_text("activation = 'logit'\n")
    (tmp_path / "runs" / "notes.toml").write_text("a = 1\n")
    code, out, _ = cli(
        "eval", "-m", "./runs", "-D", faces, "-e", "rise:masks=4", "-x", "deletion", "--dry-run", "--json"
    )
    assert code == 0
    assert {c["member"] for c in json.loads(out)["cells"]} == {"a"}


def test_every_command_that_prints_a_table_has_json():
    from typer.main import get_command

    commands = get_command(program()).commands
    for name in ("list", "info", "eval", "status", "explain", "check", "report", "compare", "doctor"):
        assert any("--json" in p.opts for p in commands[name].params), name


def test_info_shows_the_defaults_of_a_ready_made_name(cli):
    rows = {name: json.loads(cli("info", name, "--json")[1])["components"][0] for name in ("lime", "lime-adv")}
    fills = {n: next(p["default"] for p in r["parameters"] if p["name"] == "fill") for n, r in rows.items()}
    assert fills == {"lime": "segment-mean", "lime-adv": "twin"}


def test_brackets_in_descriptions_are_printed(cli):
    _, out, _ = cli("info", "onnx")
    assert "[height, width]" in " ".join(out.split())


def test_explain_refuses_a_wrong_option_before_anything_runs(cli, tmp_path):
    picture(tmp_path / "one.png")
    arguments = ("explain", "one.png", "--plugin", TOY, "--model", "toy", "-e")
    refused(cli(*arguments, "captum:Nope"), 2, "no class 'Nope'", "Saliency")
    assert not (tmp_path / "xaibench-explain").exists()


@pytest.mark.parametrize("spec", ["captum:Saliency", "inverse:of=saliency"])
def test_explain_knows_what_an_explainer_needs_with_its_parameters(cli, tmp_path, spec):
    picture(tmp_path / "one.png")
    code, out, _ = cli("explain", "one.png", "--plugin", TOY, "--model", "blind", "-e", spec, "--json")
    (row,) = json.loads(out)["maps"]
    assert (code, row["status"]) == (0, "not_applicable")
    assert "black box" in row["reason"]


def test_explain_says_what_it_assumes_of_a_file_and_that_a_twin_failed(cli, tmp_path, onnx_file):
    onnx_file(outputs=2)
    Image.new("RGB", (16, 16), (160, 160, 160)).save(tmp_path / "one.png")
    arguments = ("explain", "one.png", "--model", "model.onnx", "-e", "rise-adv:masks=4,twin_steps=1")
    code, out, err = cli(*arguments)
    assert code == 0
    assert "RGB by default" in err
    assert "the twin did not turn the verdict" in out
    assert json.loads(cli(*arguments, "--json")[1])["maps"][0]["details"]["twin_flipped"] == 0


def test_explain_writes_plain_file_names(cli, tmp_path):
    picture(tmp_path / "one.png")
    spec = 'captum:IntegratedGradients,options={"n_steps": 2}'
    cli("explain", "one.png", "--plugin", TOY, "--model", "toy", "-e", spec)
    (overlay,) = (tmp_path / "xaibench-explain").glob("*.png")
    assert not set(overlay.name) & set('{}"[] :=,')


def test_a_dry_run_lists_what_runs(cli):
    code, out, _ = cli(
        "eval", "--plugin", TOY, "--model", "blind", "-D", "demo:identities=8", "-e", "gradcam", "-e", "rows",
        "-x", "range", "--no-controls", "--dry-run",
    )  # fmt: skip
    table, _, reasons = out.partition("not applicable")
    assert code == 0
    assert "rows" in table
    assert "range" not in table and "\nand 1 more cell of no passes; --verbose lists them\n" in table
    assert "gradcam" not in table
    assert "gradcam" in reasons


@pytest.mark.parametrize(("sign", "status"), [(1.0, "pass"), (-1.0, "fail")])
def test_check_sees_swapped_labels(cli, onnx_file, faces, sign, status):
    onnx_file(outputs=2, sign=sign)
    _, out, _ = cli("check", "model.onnx", "-D", faces, "--json")
    rows = {r["check"]: r for r in json.loads(out)["checks"]}
    assert rows["ranks fake above real"]["status"] == status


def test_check_does_not_call_the_labels_of_a_guessing_detector_swapped(cli, onnx_file, tmp_path):
    for i in range(12):
        brighter = 3 if i < 5 else -3
        for label, value in (("real", 20 * i + 10), ("fake/bright", 20 * i + 10 + brighter)):
            path = tmp_path / "guessed" / label / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (value,) * 3).save(path)
    onnx_file(outputs=2)
    _, out, _ = cli("check", "model.onnx", "-D", tmp_path / "guessed", "--json")
    (row,) = (r for r in json.loads(out)["checks"] if r["check"] == "ranks fake above real")
    assert "AUC 0.493" in str(row)
    assert "not told from chance" in str(row)
    assert row["status"] == "fail"
    assert "swapped" not in str(row)
