"""Fills as components: one record and one function in a plugin, in every place that takes a fill."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from looks import LOOKS
from pydantic import Field

from conftest import comparable, same_bytes
from xaibench.api import (
    ArtefactQuery,
    Fill,
    FillRequest,
    Parameters,
    PluginError,
    UsageError,
    build_parameters,
    describe_parameters,
    digest,
)
from xaibench.discovery.code_identity import use_identity
from xaibench.discovery.components import open_component, resolve
from xaibench.discovery.registry import Registry, load_registry
from xaibench_perturbation import PICTURE_FILLS, AnyFill, Background, PictureFill, as_fill, fill
from xaibench_testing import PatchDetector, check_component, check_names, pictures_of, planted_samples

IMAGE = torch.rand((3, 6, 8), generator=torch.Generator().manual_seed(0))

CHECKER = """
from xaibench.api import FillRecord, hookimpl

@hookimpl
def xaibench_fills():
    return [FillRecord(name="checker", target="xaibench_local_fills:checker", summary="Grey, the hard way.")]

def checker(request):
    return request.image * 0 + 0.5
"""

WRONG = """
import torch
from xaibench.api import FillRecord, Forward, hookimpl

NAMES = {
    "picky": (), "small": (), "double": (), "bright": (), "nan": (), "text": (), "reason": (), "moody": (), "fixed":
    ("random",), "asks": (), "stains": (), "wishful": ("luck",), "by-mask": ("masks",), "itself": (), "stretches": ("masks",),
}

@hookimpl
def xaibench_fills():
    return [
        FillRecord(name=name, target=f"xaibench_local_wrong:{name.replace('-', '_')}", summary="Wrong.", needs=frozenset(needs))
        for name, needs in NAMES.items()
    ]

def picky(request):
    if request.picture.sample.label == "fake":
        raise RuntimeError("not this one")
    return torch.zeros_like(request.image)

def small(request): return request.image[:, 1:]
def double(request): return request.image.double()
def bright(request): return request.image + 1
def itself(request): return request.image
def nan(request): return request.image * float("nan")
def text(request): return "black"
def fixed(request): return torch.zeros_like(request.image)
def wishful(request): return torch.zeros_like(request.image)

def reason(request):
    from xaibench.api import Product
    return Product(status="undefined", reason="none today")

DRAWN = torch.Generator().manual_seed(0)

def moody(request): return torch.rand(request.image.shape, generator=DRAWN)

def asks(request):
    yield Forward(request.image[None])
    return torch.zeros_like(request.image)

def stains(request):
    request.image[0, 0, 0] = 1
    return torch.zeros_like(request.image)

def by_mask(request): return lambda masks: masks[:, None] * request.image
def stretches(request): return lambda masks: masks[:, None] * request.image + 0.5
"""


@pytest.fixture
def checker(tmp_path: Path) -> Path:
    file = tmp_path / "fills.py"
    file.write_text(CHECKER, encoding="utf-8")
    return file


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    file = tmp_path / "wrong.py"
    file.write_text(WRONG, encoding="utf-8")
    return file


def refusal(registry: Registry | None, kind: Any, spec: str) -> UsageError:
    with pytest.raises(UsageError) as refused:
        open_component(kind, spec, registry=registry)
    return refused.value


# ---- a run ----------------------------------------------------------------------------------------------------------


def test_a_plugins_fill_runs_in_explainers_and_metrics(
    toy_eval: Callable[..., Any], checker: Path, tmp_path: Path
) -> None:
    def run(name: str, jobs: int) -> Path:
        code, out, err = toy_eval(
            "-o", tmp_path / name, "--plugin", checker, "--jobs", jobs, "--task-samples", 3, "--maps", "keep",
            "-p", f"metric.deletion.fill={name}",
            explainer=f"occlusion:fill={name}", metric="deletion:steps=4", limit=6,
        )  # fmt: skip
        assert code == 0, err
        reused.append(json.loads(out)["reused"])
        return tmp_path / name

    reused: list[int] = []
    in_workers, built_in = run("checker", 2), run("grey", 1)
    scores, expected = comparable(in_workers, "scores"), comparable(built_in, "scores")
    assert set(scores["explainer"].to_pylist()) == {"xaibench/occlusion:fill=local/checker"}
    assert set(scores["metric"].to_pylist()) == {"xaibench/deletion:steps=4,fill=local/checker"}
    rows = [row for row in scores.to_pylist() if row["score"] == "deletion"]
    assert [row["status"] for row in rows] == ["ok"] * 6
    named = ["explainer", "metric", "cell"]
    assert same_bytes(scores.drop_columns(named), expected.drop_columns(named))
    run("checker", 1)  # in the driver: the same keys
    (tmp_path / "checker").rename(tmp_path / "workers")
    in_driver = run("checker", 1)
    assert reused == [0, 0, 18 + LOOKS, 0]
    assert same_bytes(comparable(in_driver, "scores"), comparable(tmp_path / "workers", "scores"))


def test_a_fill_that_raises_costs_its_component_at_that_sample(
    toy_eval: Callable[..., Any], wrong: Path, tmp_path: Path
) -> None:
    code, _, _ = toy_eval(
        "-o", tmp_path / "run", "--plugin", wrong, "-e", "occlusion", "-x", "deletion:steps=2",
        explainer="occlusion:fill=picky", metric="deletion:steps=2,fill=picky",
    )  # fmt: skip
    assert code == 1
    rows = [r for r in comparable(tmp_path / "run", "scores").to_pylist() if r["score"] != "tie-spread"]
    uses_it = [r for r in rows if "picky" in r["metric"] or "picky" in r["explainer"]]
    assert {r["status"] for r in rows if r not in uses_it} == {"ok"}
    assert {r["status"] for r in uses_it if r["label"] == "real"} == {"ok"}
    fakes = [r for r in uses_it if r["label"] == "fake"]
    assert {(r["status"], r["reason"]) for r in fakes} == {("failed", "RuntimeError: not this one")}


def test_a_fill_of_the_wrong_shape_is_named(toy_eval: Callable[..., Any], wrong: Path, tmp_path: Path) -> None:
    code, _, _ = toy_eval("-o", tmp_path / "run", "--plugin", wrong, "--limit", 2, explainer="occlusion:fill=small")
    assert code == 1
    (reason,) = set(comparable(tmp_path / "run", "scores")["reason"].to_pylist())
    assert reason.startswith("PluginError: fill 'local/small' returned (3, 31, 32) float32 on cpu for a picture of (3,")


# ---- names ----------------------------------------------------------------------------------------------------------


def test_a_wrong_name_is_refused_with_near_ones_and_the_list(cli: Callable[..., Any], checker: Path) -> None:
    code, _, err = cli("eval", "--plugin", checker, "-e", "rise:fill=cheker")
    assert code == 2
    what, mend = err.strip().splitlines()
    assert "rise: fill=cheker is wrong: no fill called 'cheker'; did you mean checker or local/checker?" in what
    assert mend.strip().startswith("fill: black | grey | white | mean | colour | segment-mean | blur | noise | inpaint")
    assert " | checker, what replaces" in mend
    code, _, err = cli("eval", "-x", "deletion:fill=cheker")
    assert code == 2
    assert "fill: black | grey | white | mean | blur | minimum, what replaces removed pixels" in err


def test_fills_are_listed_and_described(cli: Callable[..., Any], checker: Path) -> None:
    _, out, _ = cli("list", "fills", "--json", "--plugin", checker)
    listed = [c["name"] for c in json.loads(out)["components"]]
    assert {"xaibench/black", "xaibench/inpaint", "xaibench/counterpart", "local/checker"} <= set(listed)
    _, out, _ = cli("info", "rise", "--json", "--plugin", checker)
    rows = {r["name"]: r for r in json.loads(out)["components"][0]["parameters"]}
    assert rows["fill"]["type"].split(" | ")[-1] == "checker"
    assert rows["fill"]["default"] == "black"
    _, out, _ = cli("info", "checker", "--json", "--plugin", checker)
    assert json.loads(out)["components"][0]["summary"] == "Grey, the hard way."


@pytest.mark.parametrize(
    ("kind", "spec", "lacks"),
    [
        ("metric", "deletion:fill=twin", "twin"),
        ("metric", "deletion:fill=noise", "random"),
        ("metric", "irof:fill=counterpart", "pair"),
        ("explainer", "deeplift:baseline=colour", "colour"),
        ("explainer", "integrated-gradients:baseline=noise-twin", "random"),
        ("explainer", "integrated-gradients:baseline=inpaint", "masks"),
        ("explainer", "partition-shap:fill=segment-mean", "segments"),
    ],
)
def test_a_fill_that_needs_more_than_there_is_is_refused(kind: Any, spec: str, lacks: str) -> None:
    refused = refusal(None, kind, spec)
    assert refused.what.endswith(f"is wrong: the fill needs {lacks}, which this component does not give")
    assert f" | {spec.partition('=')[2]} |" not in refused.mend


def test_a_name_that_two_plugins_bring_is_asked_for_in_full(checker: Path) -> None:
    from dataclasses import replace

    registry = load_registry([checker])
    (own,) = (c for c in registry.of_kind("fill") if not c.built_in)
    registry.add([replace(own, origin=replace(own.origin, distribution="acme"))])
    refused = refusal(registry, "explainer", "rise:fill=checker")
    assert "brought by several plugins; write local/checker or acme/checker" in refused.what
    assert "local/checker | acme/checker" in refused.mend
    assert open_component("explainer", "rise:fill=acme/checker", registry=registry).name.endswith("fill=acme/checker")


def test_the_value_is_text_everywhere_and_leads_back_to_the_fill(checker: Path) -> None:
    registry = load_registry([checker])
    use = open_component("explainer", "rise:fill=checker", registry=registry)
    value = use.parameters.fill  # type: ignore[attr-defined]
    assert value == "local/checker"
    assert json.loads(use.ref.parameters)["fill"] == "local/checker"
    again = resolve(registry, use.ref)
    assert (again.name, again.parameters) == (use.name, use.parameters)
    assert isinstance(again.parameters.fill, Fill)  # type: ignore[attr-defined]
    built_in = open_component("explainer", "rise:fill=xaibench/black", registry=registry)
    assert built_in.name == "xaibench/rise"
    baseline = open_component("explainer", "integrated-gradients:baseline=checker", registry=registry)
    assert baseline.name == "xaibench/integrated-gradients:baseline=local/checker"
    assert baseline.instance.artefacts == ()


class Twice(Parameters):
    fills: tuple[AnyFill, ...] = ("black",)
    more: dict[str, PictureFill] = Field({}, description="by name")


def test_parameters_made_in_python_know_the_built_in_fills() -> None:
    p = Twice.model_validate({"fills": ["blur", "twin"], "more": {"a": "white"}})
    assert p.model_dump(mode="json") == {"fills": ["blur", "twin"], "more": {"a": "white"}}
    assert all(isinstance(f, Fill) for f in (*p.fills, *p.more.values()))
    with pytest.raises(UsageError, match="no fill called 'pink'; there are black, grey"):
        build_parameters(Twice, {"more": {"a": "pink"}}, "twice")
    with pytest.raises(UsageError, match="valid string"):
        build_parameters(Twice, {"fills": [3]}, "twice")
    assert describe_parameters(Twice)[0]["type"] == "[str, ...]"


# ---- keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "spec"), [("explainer", "rise:fill={}"), ("metric", "deletion:fill={}")])
def test_the_code_of_the_fill_is_part_of_the_key(checker: Path, kind: Any, spec: str) -> None:
    def key(name: str) -> str:
        return digest(use_identity(open_component(kind, spec.format(name), registry=load_registry([checker]))))

    before = {name: key(name) for name in ("checker", "blur")}
    assert key("local/checker") == before["checker"]
    checker.write_text(CHECKER.replace("+ 0.5", "+ 0.25"), encoding="utf-8")
    assert key("checker") != before["checker"]
    assert key("blur") == before["blur"]


def test_the_key_names_every_fill_of_the_parameters(checker: Path) -> None:
    spec = "accuracy-under-removal:removed=checker,hidden=blur"
    identity = use_identity(open_component("metric", spec, registry=load_registry([checker])))
    assert {name: f["name"] for name, f in identity["fills"].items()} == {
        "local/checker": "local/checker",
        "blur": "xaibench/blur",
    }


# ---- the contract ---------------------------------------------------------------------------------------------------


def test_a_fill_sees_what_its_record_names_and_no_more() -> None:
    full: dict[str, Any] = {"sigma": 0.1, "colour": (0, 0, 0), "streams": 1, "labels": 2, "twin": 3}
    seen = {}

    class Spy:
        built_in = True

        def __init__(self, name: str) -> None:
            self.record = as_fill(name).component.record
            self.name = name

        def load(self) -> Any:
            return lambda request: seen.update({self.name: request}) or torch.zeros_like(request.image)

    for name in ("black", "blur", "colour", "noise", "segment-mean", "noise-twin"):
        with pytest.raises(StopIteration):
            next(Fill(Spy(name)).of(FillRequest(image=IMAGE, **full)))
    given = {name: {k for k in full if getattr(request, k) is not None} for name, request in seen.items()}
    assert given == {
        "black": set(), "blur": {"sigma"}, "colour": {"colour"}, "noise": {"streams"}, "segment-mean": {"labels"},
        "noise-twin": {"streams", "twin"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("small", "returned (3, 5, 8) float32 on cpu for a picture of (3, 6, 8) float32 on cpu"),
        ("double", "returned (3, 6, 8) float64 on cpu"),
        ("bright", "returned values that are not in [0, 1]"),
        ("nan", "returned values that are not in [0, 1]"),
        ("text", "returned str, which its record does not allow"),
        ("reason", "returned Product, which its record does not allow"),
    ],
)
def test_what_breaks_the_contract_is_an_error_that_names_the_fill(wrong: Path, name: str, what: str) -> None:
    own = Fill(load_registry([wrong]).find("fill", name))
    with pytest.raises(PluginError) as broken:
        next(own.of(FillRequest(image=IMAGE)))
    assert broken.value.what.startswith(f"fill 'local/{name}' {what}")
    assert broken.value.mend


def test_a_fill_goes_as_far_as_the_picture_of_a_view_without_bounds(wrong: Path) -> None:
    itself = Fill(load_registry([wrong]).find("fill", "itself"))
    with pytest.raises(StopIteration) as end:
        next(itself.of(FillRequest(image=IMAGE * 4)))
    assert torch.equal(end.value.value, IMAGE * 4)


def test_a_target_that_is_not_there_is_refused_before_anything_runs(checker: Path) -> None:
    checker.write_text(CHECKER.replace("def checker", "def chequer"), encoding="utf-8")
    with pytest.raises(PluginError, match=r"fill 'local/checker' .* cannot be imported"):
        open_component("metric", "deletion:fill=checker", registry=load_registry([checker]))


def test_backgrounds_are_known_by_fill_and_by_sigma_where_it_matters() -> None:
    assert Background("black").parameters() == {"fill": "black", "sigma": None}
    assert Background("blur", 0.1).parameters() == {"fill": "blur", "sigma": 0.1}
    picture = pictures_of(planted_samples(1), PatchDetector())[0]
    query: Any = ArtefactQuery(detector=PatchDetector(), picture=picture, streams=None, artefacts=None)  # type: ignore[arg-type]
    for name in PICTURE_FILLS:
        with pytest.raises(StopIteration) as end:
            next(Background(name, 0.1).make(query))
        assert torch.equal(end.value.value.tensors["background"], fill(picture.image, name, sigma=0.1))


# ---- the kit --------------------------------------------------------------------------------------------------------


def test_the_kit_passes_a_good_fill(cli: Callable[..., Any], checker: Path) -> None:
    code, out, _ = cli("check", checker, "--json")
    rows = json.loads(out)["checks"]
    assert code == 0
    assert [(r["check"], r["status"]) for r in rows] == [(name, "pass") for name in check_names("fill")]


@pytest.mark.parametrize(
    ("name", "failed"),
    [
        ("small", {"pixels", "determinism", "seed", "mutation", "passes"}),
        ("moody", {"determinism", "seed"}),
        ("fixed", {"seed"}),
        ("asks", {"passes"}),
        ("stains", {"mutation"}),
        ("wishful", {"record"}),
        ("by-mask", set()),
        ("stretches", {"pixels"}),
    ],
)
def test_the_kit_fails_a_bad_fill(wrong: Path, name: str, failed: set[str]) -> None:
    registry = load_registry([wrong])
    results = check_component(open_component("fill", name, registry=registry), registry)
    assert {r.name for r in results if r.status == "fail"} == failed
