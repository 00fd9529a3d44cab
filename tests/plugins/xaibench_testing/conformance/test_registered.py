"""Every component that the built-in plugins register is held to the contracts, by being registered.

A component is checked with its own defaults, except where the table below gives it smaller budgets or the files that
it reads. A component that needs a file and has no row here fails: add one.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from xaibench.api import PROJECT, Kind
from xaibench.discovery import components
from xaibench.discovery.registry import Registered, load_registry
from xaibench_testing import NotApplicable, cases, check_names, planted_samples

Values = Mapping[str, object]

BUDGETS: dict[tuple[str, str], Values] = {
    ("explainer", "rise"): {"masks": 48},
    ("explainer", "rise-adv"): {"masks": 48, "twin_steps": 2},
    ("explainer", "rise-t24"): {"masks": 48},
    ("explainer", "rise-adv-t24"): {"masks": 48, "twin_steps": 2},
    ("explainer", "sobol"): {"designs": 4, "cells": 4},
    ("explainer", "sobol-adv"): {"designs": 4, "cells": 4, "twin_steps": 2},
    ("explainer", "sobol-t24"): {"designs": 4, "cells": 4},
    ("explainer", "sobol-adv-t24"): {"designs": 4, "cells": 4, "twin_steps": 2},
    ("explainer", "hsic"): {"designs": 48, "cells": 4},
    ("explainer", "integrated-gradients"): {"steps": 8},
    ("explainer", "expected-gradients"): {"samples": 8},
    ("explainer", "smoothgrad"): {"samples": 8},
    ("explainer", "vargrad"): {"samples": 8},
    ("explainer", "xrai"): {"steps": 4},
    ("explainer", "lime"): {"samples": 48},
    ("explainer", "lime-t24"): {"samples": 48},
    ("explainer", "lime-adv"): {"samples": 48, "twin_steps": 2},
    ("explainer", "lime-adv-t24"): {"samples": 48, "twin_steps": 2},
    ("explainer", "kernel-shap"): {"samples": 64, "count": 12},
    ("explainer", "partition-shap"): {"evals": 40},
    ("explainer", "shap-t24"): {"evals": 40},
    ("explainer", "shap-adv"): {"evals": 40, "twin_steps": 2},
    ("explainer", "shap-adv-t24"): {"evals": 40, "twin_steps": 2},
    ("explainer", "inverse"): {"of": "gradcam"},
    ("explainer", "counterfactual-oracle"): {"count": 5},
    ("explainer", "captum"): {"method": "KernelShap", "cells": 24, "options": {"n_samples": 40}},
    ("metric", "sensitivity-n"): {"shares": [0.05, 0.25], "subsets": 40},
    ("metric", "faithfulness-correlation"): {"subsets": 40},
    ("metric", "mufidelity"): {"subsets": 48},
    ("metric", "monotonicity-correlation"): {"blocks": 16, "draws": 4},
    ("metric", "infidelity"): {"samples": 40},
    ("metric", "segment-attack"): {"attack": "pgd", "steps": 16, "draws": 1, "segmentations": ["slic-50"], "top": [3]},
    ("metric", "counterpart-attack"): {"attack": "pgd", "steps": 16, "draws": 4, "top": 12},
    ("metric", "pixel-flipping"): {"pixels": 64},
    ("metric", "irof"): {"count": 24},
    ("metric", "accuracy-under-segment-removal"): {"count": 24},
    ("metric", "road"): {"percentages": [10, 50, 90]},
    ("metric", "top-minus-random"): {"draws": 3, "steps": 10},
    ("dataset", "demo"): {"identities": 4, "split": "all"},
    ("dataset", "self-blend"): {"of": "demo:identities=4", "draws": 2},
}
"""Required values, and fewer masks, steps or pictures: the contract does not depend on how many there are."""

KINDS: tuple[Kind, ...] = ("explainer", "metric", "model", "dataset", "fill", "recipe")


# ---- files ----------------------------------------------------------------------------------------------------------


def write_maps(folder: Path) -> Values:
    """Maps for the planted and the awkward pictures: one file a sample."""
    for name in ("real/000", "real/001", "fake/000", "fake/001", "fake/grey"):
        file = folder / f"{name}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.random.default_rng(len(name)).random((32, 48), dtype=np.float32))
    return {"path": str(folder)}


def write_folder(root: Path) -> Values:
    for kind, name, native in _planted():
        _save(root / ("real" if kind == "real" else "fake/planted") / f"{name}.png", native.pixels)
        if native.mask is not None:
            _save(root / "masks" / "planted" / f"{name}.png", native.mask)
        _save_landmarks(root / "landmarks" / f"{name}.csv", native.landmarks)
    return {"path": str(root)}


def write_manifest(root: Path) -> Values:
    rows = []
    for kind, name, native in _planted():
        fake = kind == "fake"
        _save(root / f"{kind}-{name}.png", native.pixels)
        if fake:
            _save(root / f"mask-{name}.png", native.mask)
        rows.append({
            "id": f"{kind}/{name}", "image": f"{kind}-{name}.png", "label": kind, "method": "planted" if fake else "",
            "pair": f"real/{name}" if fake else "", "mask": f"mask-{name}.png" if fake else "", "split": "test",
            "identity": name,
        })  # fmt: skip
    with (root / "manifest.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return {"path": str(root)}


def write_faceforensics(root: Path) -> Values:
    videos = ("000", "001", "002", "003")
    for kind, name, native in _planted():
        own, other = videos[int(name)], videos[int(name) ^ 1]
        level = root / ("original_sequences/youtube" if kind == "real" else "manipulated_sequences/Deepfakes") / "c23"
        video = own if kind == "real" else f"{own}_{other}"
        for frame in ("0000.png", "0010.png"):
            _save(level / "faces" / video / frame, native.pixels)
            if native.mask is not None:
                _save(level / "masks" / video / frame, native.mask)
    splits = root / "splits"
    splits.mkdir()
    for split, pairs in {"train": [], "val": [], "test": [["000", "001"], ["002", "003"]]}.items():
        (splits / f"{split}.json").write_text(str(pairs).replace("'", '"'), encoding="utf-8")
    return {"path": str(root)}


def _planted() -> Iterator[tuple[str, str, object]]:
    data = planted_samples(4)
    for sample in data.samples():
        kind, _, name = sample.id.partition("/")
        yield kind, name, data.read(sample)


def _save(file: Path, pixels: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def _save_landmarks(file: Path, points: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(file, points, delimiter=",")


class TinyNet(nn.Module):
    """Two convolutions and a mean, for pictures of 24x32 pixels."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            first, second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, stride=2)
            self.features = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
            self.classify = nn.Linear(6, 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.classify(self.features(image).mean(dim=(2, 3)))


CARD = 'size = [24, 32]\nclasses = ["real", "fake"]\nreal = "real"\nactivation = "logit"\n'


def write_onnx(folder: Path) -> Values:
    """TinyNet's graph, written by hand: no exporter is needed."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    net = TinyNet()
    weights = {n: numpy_helper.from_array(t.detach().numpy(), n) for n, t in net.state_dict().items()}
    nodes = [
        helper.make_node("Conv", ["image", "features.0.weight", "features.0.bias"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "features.2.weight", "features.2.bias"], ["c"], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "classify.weight", "classify.bias"], ["logits"], transB=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 24, 32])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph(nodes, "tiny", [image], [logits], list(weights.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "tiny.onnx")
    (folder / "tiny.toml").write_text(CARD, encoding="utf-8")
    return {"path": str(folder / "tiny.onnx")}


def write_torch(folder: Path) -> Values:
    """TinyNet as an exported program."""
    batch = torch.export.Dim("n", min=1, max=64)
    program = torch.export.export(TinyNet().eval(), (torch.zeros(2, 3, 24, 32),), dynamic_shapes=({0: batch},))
    torch.export.save(program, folder / "tiny.pt2")
    (folder / "tiny.toml").write_text(CARD, encoding="utf-8")
    return {"path": str(folder / "tiny.pt2")}


FILES: dict[tuple[str, str], Callable[[Path], Values]] = {
    ("explainer", "maps"): write_maps,
    ("dataset", "folder"): write_folder,
    ("dataset", "manifest"): write_manifest,
    ("dataset", "faceforensics"): write_faceforensics,
    ("model", "onnx"): write_onnx,
    ("model", "torch"): write_torch,
}


# ---- tests ----------------------------------------------------------------------------------------------------------

REGISTRY = load_registry()
BUILT_IN = [c for kind in KINDS for c in REGISTRY.of_kind(kind) if c.origin.built_in]


@pytest.fixture(scope="session")
def uses(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Registered], components.Use]:
    """Components by registration, made once, with the files that they read."""
    made: dict[str, components.Use] = {}

    def use(component: Registered) -> components.Use:
        key = (component.record.kind, component.record.name)
        if "-".join(key) not in made:
            write = FILES.get(key)
            files = write(tmp_path_factory.mktemp("-".join(key))) if write else {}
            made["-".join(key)] = components.make(component, {**BUDGETS.get(key, {}), **files})
        return made["-".join(key)]

    return use


CASES = [
    pytest.param(component, check, id=f"{component.record.kind}-{component.record.name}-{check}")
    for component in BUILT_IN
    for check in check_names(component.record.kind)
]


@pytest.mark.parametrize(("component", "check"), CASES)
def test_contract(component: Registered, check: str, uses: Callable[[Registered], components.Use]) -> None:
    applied, reasons = 0, []
    for case in cases(uses(component), REGISTRY):
        if case.name.partition("[")[0] == check:
            try:
                case.run()
                applied += 1
            except NotApplicable as reason:
                reasons.append(str(reason))
    if not applied:
        pytest.skip("; ".join(reasons))


@pytest.mark.parametrize("kind", KINDS)
def test_components_of_every_kind_are_registered(kind: Kind) -> None:
    assert [c for c in BUILT_IN if c.record.kind == kind]


def test_no_built_in_plugin_is_broken() -> None:
    assert [str(f) for f in REGISTRY.failures if f.origin.distribution == PROJECT] == []


def test_the_tables_name_registered_components() -> None:
    known = {(c.record.kind, c.record.name) for c in BUILT_IN}
    assert {*BUDGETS, *FILES} <= known
