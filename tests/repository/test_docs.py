"""The documentation against the code: everything is described, and what is shown works."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from conftest import TOY
from xaibench.api import hookspecs
from xaibench.cli.main import main
from xaibench.cli.program import program
from xaibench.discovery.registry import load_registry
from xaibench.plan.choice import read_preset
from xaibench.plan.settings import Settings
from xaibench.store.schema import TABLES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
WRITTEN = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
COMMANDS = typer.main.get_command(program()).commands

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="no documentation here")


@pytest.fixture(scope="module")
def pages():
    """The generated pages, by path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        found = importlib.import_module("reference_pages").pages()
        for name in ("reference_pages", "docstrings"):
            sys.modules.pop(name, None)
    return found


def blocks(text, language):
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


# ---- everything is described ----------------------------------------------------------------------------------------


def test_every_page_is_in_the_navigation(pages):
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"\S+\.(?:md|ipynb)$", text, re.MULTILINE))
    assert listed == written_pages() | set(pages)


def written_pages():
    return {p.relative_to(DOCS).as_posix() for ending in ("md", "ipynb") for p in DOCS.rglob(f"*.{ending}")}


def test_the_start_page_names_every_page(pages):
    linked = set(re.findall(r"\]\((\S+?\.(?:md|ipynb))\)", (DOCS / "index.md").read_text(encoding="utf-8")))
    assert linked | {"index.md"} == written_pages() | set(pages)


def test_the_readme_names_every_command():
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Commands\n")[2].partition("\n## ")[0]
    for name, command in COMMANDS.items():
        for words in [f"{name} {inner}" for inner in getattr(command, "commands", {})] or [name]:
            assert re.search(rf"`{words}[ `]", table), words


def test_every_hook_is_described(pages):
    text = pages["reference/hooks.md"]
    for name, function in vars(hookspecs).items():
        if name.startswith("xaibench_"):
            assert f"### {name}\n" in text
            assert function.__doc__ and " ".join(function.__doc__.split())[:40] in " ".join(text.split())


def test_the_reference_is_what_the_code_says(pages):
    stale = [path for path, text in pages.items() if (DOCS / path).read_text(encoding="utf-8") != text]
    assert not stale, f"{', '.join(stale)}: renew with: python tools/reference.py"


def test_every_command_flag_and_variable_is_described(pages):
    text = pages["reference/command-line.md"]
    for name, command in COMMANDS.items():
        assert f"\n## {name}\n" in text
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.name != "help":
                assert f"`{parameter.opts[0]}`" in section
                assert parameter.help, f"{name} {parameter.opts[0]} has no help text"


def test_every_exit_code_of_an_error_is_described(pages):
    from xaibench import api as errors

    text = pages["reference/command-line.md"]
    codes = {e.exit_code for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.XaibenchError)}
    for code in codes:
        assert f"\n| {code} | " in text


def test_every_environment_variable_is_described(pages):
    text = pages["reference/command-line.md"]
    for file in (ROOT / "core").rglob("*.py"):
        for name in re.findall(r"environ[^\n]*\"(XAIBENCH_\w+)\"", file.read_text(encoding="utf-8")):
            assert f"`{name}`" in text


def test_every_setting_is_described(pages):
    text = pages["reference/run-file.md"]
    for name, field in Settings.model_fields.items():
        assert f"| `{name.replace('_', '-')}` |" in text
        assert field.description


def test_every_table_and_column_is_described(pages):
    text = pages["reference/tables.md"]
    for name, schema in TABLES.items():
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for field in schema:
            assert re.search(rf"\| `{field.name}` \| [^|]+ \| [^|]* \| [^|]{{3,}} \|", section), f"{name}.{field.name}"


def test_what_full_leaves_out_is_said():
    text = (DOCS / "how-to" / "runs.md").read_text(encoding="utf-8")
    left_out = read_preset("full")["left-out"]
    assert not [name for names in left_out.values() for name in names if f"`{name}`" not in text]


def test_every_built_in_component_is_described(pages):
    text = pages["reference/components.md"]
    for component in load_registry().components:
        if component.origin.built_in:
            assert f"### {component.record.name}\n" in text


def test_pictures_are_small_load_nothing_and_are_described():
    found = [match for page in WRITTEN for match in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text("utf-8"))]
    shown = [(text, path) for text, path in found if "pictures/" in path]
    assert {Path(path).name for _, path in shown} == {p.name for p in (DOCS / "pictures").iterdir()}
    assert all(len(text.split()) > 10 for text, _ in shown)
    assert all(p.stat().st_size < 200_000 for p in (DOCS / "pictures").iterdir())
    svg = (DOCS / "pictures" / "terminal.svg").read_text(encoding="utf-8")
    assert "<text" in svg and "url(http" not in svg and "href" not in svg


# ---- what is shown works --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", WRITTEN, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_commands_and_flags_that_are_shown_exist(page):
    for block in blocks(page.read_text(encoding="utf-8"), "sh"):
        lines = re.sub(r'^\w+="[^"]*"$', "", block, flags=re.MULTILINE).splitlines()  # a variable of several lines
        parts = (part for line in lines for part in line.removesuffix("\\").split("&&"))
        for words in (shlex.split(part, comments=True) for part in parts):
            if words and words[0].rpartition("/")[2] == "xaibench":
                command = COMMANDS[words[1]]
                command = getattr(command, "commands", {}).get("".join(words[2:3]), command)
                known = {o for p in command.params for o in p.opts}
                assert {w for w in words[2:] if w.startswith("-")} <= known, " ".join(words)


@pytest.mark.parametrize("page", WRITTEN, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_toml_that_is_shown_is_known(page):
    from xaibench_models.card import OnnxKeys
    from xaibench_models.torch_card import TorchKeys

    known = set(OnnxKeys.model_fields) | set(TorchKeys.model_fields) | set(Settings.model_fields) | {"project"}
    for block in blocks(page.read_text(encoding="utf-8"), "toml"):
        assert {k.replace("-", "_") for k in tomllib.loads(block)} <= known


@pytest.mark.parametrize("page", WRITTEN, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_python_that_is_shown_compiles(page):
    for block in blocks(page.read_text(encoding="utf-8"), "python"):
        compile(block, str(page), "exec")


@pytest.mark.parametrize("name", ["explainer", "metric", "fill"])
def test_the_guides_component_keeps_its_contract(name, cli, tmp_path):
    """The blocks of a guide, put together as one plugin file, pass `xaibench check`."""
    record, code = blocks((DOCS / f"how-to/{name}.md").read_text(encoding="utf-8"), "python")
    plugin = tmp_path / "guide.py"
    plugin.write_text(re.sub(r"xaibench_acme\.\w+:", "xaibench_local_guide:", record) + code, encoding="utf-8")
    status, out, err = cli("check", plugin)
    assert status == 0, out + err


def test_the_guides_section_stands_on_the_page(cli, toy_eval, tmp_path):
    record, code, _ = blocks((DOCS / "how-to/report-section.md").read_text(encoding="utf-8"), "python")
    plugin = tmp_path / "guide.py"
    plugin.write_text(re.sub(r"xaibench_acme\.\w+:", "xaibench_local_guide:", record) + code, encoding="utf-8")
    assert toy_eval("--plugin", plugin, "-o", tmp_path / "run")[0] == 0
    status, _, err = cli("report", tmp_path / "run")
    assert status == 0, err
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert ">Notes</h2>\n<table><tr><th>status</th><th>values</th></tr><tr><td>ok</td><td>12</td></tr></table>" in page


def test_the_readmes_plugin_runs_and_its_query_reads_the_tables(cli, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    plugin = next(b for b in blocks(text, "python") if b.startswith('"""squares.py'))
    (query,) = blocks(text, "sql")
    file = tmp_path / "squares.py"
    file.write_text(plugin, encoding="utf-8")
    assert cli("check", file)[0] == 0
    out = tmp_path / "xaibench-runs" / "one"
    code, _, err = cli("eval", "--plugin", file, "--explainer", "squares", "--metric", "deletion", "--no-controls",
                       "--limit", 4, "--out", out, "--quiet", "--threads", 1)  # fmt: skip
    assert code == 0, err
    rows = duckdb.sql(query.replace("xaibench-runs", str(tmp_path / "xaibench-runs"))).fetchall()
    assert rows
    assert {r[0] for r in rows} == {"local/squares"}
    assert all(0 <= value <= 1 for _, _, value, _ in rows)


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """The names that the pages on Python take for granted, small."""
    import torch
    from PIL import Image
    from small_networks import PairNet

    monkeypatch.chdir(tmp_path)
    images = torch.randint(0, 256, (6, 40, 40, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    Image.fromarray(images[1].numpy()).save("face.png")
    mask = torch.zeros(40, 40)
    mask[5:20, 5:20] = 1
    return {"net": PairNet(), "images": images, "labels": ["real", "fake"] * 3, "masks": [None, mask] * 3,
            "card": {"size": 32}, "saliency": torch.rand(32, 32)}  # fmt: skip


def test_the_readmes_python_runs(notebook):
    text = blocks((ROOT / "README.md").read_text(encoding="utf-8"), "python")
    for block in (b for b in text if "(net" in b or ", net" in b):
        exec(block, notebook)
    assert len(notebook["run"].scores) and len(notebook["scores"]) == 6


def test_the_guide_to_python_runs(notebook):
    for block in blocks((DOCS / "how-to/python.md").read_text(encoding="utf-8"), "python"):
        code = block.replace('xaibench.open_run("runs/acme")', "run").replace("masks=1000", "masks=50")
        code = code.replace("face-017", "0001").replace('"size": 224', '"size": 32')
        exec(code, notebook)
    assert notebook["maps"].array.shape[1:] == (32, 32) and set(notebook["scores"].status["mask-auc"]) >= {"ok"}


QUERIES = blocks((DOCS / "how-to/tables.md").read_text(encoding="utf-8"), "sql")


@pytest.fixture(scope="module")
def queried(tmp_path_factory):
    """A run on pictures with landmarks, of which a manifest tells the compression."""
    import numpy as np
    from PIL import Image

    from xaibench import open_dataset

    folder = tmp_path_factory.mktemp("queried")
    dataset = open_dataset("demo:identities=2").instance
    rows = ["id,image,label,method,identity,landmarks,compression"]
    for i, sample in enumerate(dataset.samples()[:4]):
        native = dataset.read(sample)
        Image.fromarray(np.asarray(native.pixels)).save(folder / f"{i}.png")
        np.savetxt(folder / f"{i}.csv", native.landmarks, delimiter=",")
        rows.append(f"{i},{i}.png,{sample.label},{sample.method or ''},{i},{i}.csv,c{23 + 17 * (i % 2)}")
    (folder / "manifest.csv").write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        main(["eval", "--plugin", str(TOY), "--model", "toy", "--dataset", str(folder), "-e", "rows", "-e",
              "lime-adv:samples=20,twin_steps=2", "-x", "deletion:steps=2", "-x", "segment-attack:steps=2,draws=1",
              "-x", "channels", "-x", "entropy-spatial", "--no-controls", "--threads", "1", "-q",
              "-o", str(folder / "RUN")])  # fmt: skip
    assert stop.value.code == 0
    return folder / "RUN"


@pytest.mark.parametrize("query", QUERIES)
def test_the_guides_queries_read_the_tables(query, queried):
    duckdb = pytest.importorskip("duckdb")
    assert duckdb.sql(query.replace("RUN", str(queried))).fetchall()


def test_the_guides_query_tells_levels_of_compression_apart(queried):
    duckdb = pytest.importorskip("duckdb")
    (query,) = (q for q in QUERIES if "compression" in q)
    rows = duckdb.sql(query.replace("RUN", str(queried))).fetchall()
    assert {r[0] for r in rows} == {"c23", "c40"}
    assert sum(n for *_, n in rows) == 2 * 2  # explainers, fakes
