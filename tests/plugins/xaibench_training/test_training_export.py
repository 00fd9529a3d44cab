"""A trained member on disk: its card, opening it as a family, and its ONNX file against the torch module."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from propagating import explain, image_of, make
from torch import Tensor, nn

from xaibench.api import ModelError, Runtime, UsageError
from xaibench.discovery.paths import open_models
from xaibench.discovery.registry import load_registry
from xaibench_explainers.gradient.propagation.deeplift import DeepLift
from xaibench_testing import check_detector
from xaibench_training import export
from xaibench_training.cards import card, interface, write_member
from xaibench_training.export import as_toml, export_onnx
from xaibench_training.networks import NetworkSpec, build, build_trained
from xaibench_training.networks.pooled import PooledNetwork

SIZE = 64
GENERATOR = torch.Generator().manual_seed(11)
PICTURES = torch.rand((4, 3, SIZE, SIZE), generator=GENERATOR)
SMALL = NetworkSpec(name="small", size=SIZE)


def trained(name: str = "small", seed: int = 0, changes: tuple[Mapping[str, Any], ...] = ()) -> PooledNetwork:
    """A network whose running statistics are those of some pictures, in evaluation mode."""
    net = build_trained(name=name, size=SIZE, changes=changes)
    assert isinstance(net, PooledNetwork)
    net.load_state_dict(build(name, seed=seed).module().state_dict(), strict=not changes)
    net.train()
    with torch.no_grad():
        for _ in range(4):
            net(torch.rand((8, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(seed)))
    return net.eval()


def opened(path: Path) -> Any:
    uses = open_models(str(path), registry=load_registry())
    assert len(uses) == 1
    instance = uses[0][1].instance
    return instance.open(instance.members()[0], Runtime())


# ---- cards ------------------------------------------------------------------------------------------------------


def test_a_member_is_opened_as_it_was_trained(tmp_path: Path) -> None:
    net = trained()
    file = write_member(
        tmp_path, "run-1", SMALL, net.state_dict(), threshold=0.4, licence="CC0-1.0", training_data="faces, train"
    )
    assert file == tmp_path / "run-1.toml"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run-1.safetensors", "run-1.toml"]
    detector = opened(file)
    with torch.no_grad():
        expected = net(PICTURES)
    torch.testing.assert_close(detector.scores(PICTURES), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(detector.probabilities(PICTURES), expected.softmax(1), rtol=1e-5, atol=1e-6)
    facts = detector.facts
    assert (facts.classes, facts.real_class, facts.input_size, facts.threshold) == (
        ("real", "fake"),
        0,
        (SIZE, SIZE),
        0.4,
    )
    assert (facts.details["licence"], facts.details["training_data"]) == ("CC0-1.0", "faces, train")
    # The card leaves nothing to a default, and that it names code is said.
    assert [note.partition(":")[0] for note in facts.notes] == ["Python code is run"]
    assert facts.gives >= {"gradients", "activations", "operations"}


def test_the_target_layer_makes_grad_cam_the_exact_cam(tmp_path: Path) -> None:
    net = trained()
    detector = opened(write_member(tmp_path, "run-1", SMALL, net.state_dict()))
    found = detector.features(PICTURES)
    gradient = torch.autograd.grad(found.logits[:, 1].sum(), found.activation)[0]
    weights = gradient.mean((2, 3))
    cells = found.activation.shape[2] * found.activation.shape[3]
    torch.testing.assert_close(weights, (net.head.weight[1].detach() / cells).expand_as(weights))
    torch.testing.assert_close(found.activation.detach(), net.features(PICTURES).detach(), rtol=1e-5, atol=1e-6)


def test_the_same_state_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_member(tmp_path / folder, "run-1", SMALL, trained().state_dict(), training_data="x")
    for name in ("run-1.safetensors", "run-1.toml"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_folder_of_members_is_one_family(tmp_path: Path) -> None:
    for run in (1, 2):
        write_member(tmp_path, f"run-{run}", SMALL, trained(seed=run).state_dict())
        write_member(tmp_path / "best", f"run-{run}", SMALL, trained(seed=run).state_dict())
        export_onnx(trained(seed=run), tmp_path / "onnx" / f"run-{run}.onnx", interface(SIZE), PICTURES)
    (tmp_path / "train.parquet").write_bytes(b"")
    (tmp_path / "train.toml").write_text('recipe = "cross-entropy"\n')
    registry = load_registry()
    assert [name for name, _ in open_models(str(tmp_path), registry=registry)] == ["run-1", "run-2"]
    assert [name for name, _ in open_models(str(tmp_path / "onnx"), registry=registry)] == ["run-1", "run-2"]


def test_changes_of_the_network_are_in_the_card(tmp_path: Path) -> None:
    changes = ({"kind": "whitening", "layer": "body.blocks.4.1", "group_size": 16, "iterations": 8},)
    net = trained(changes=changes)
    file = write_member(tmp_path, "run-1", NetworkSpec(name="small", size=SIZE, changes=changes), net.state_dict())
    assert tomllib.loads(file.read_text())["kwargs"]["changes"] == [dict(changes[0])]
    with torch.no_grad():
        torch.testing.assert_close(opened(file).scores(PICTURES), net(PICTURES), rtol=1e-5, atol=1e-6)


def test_a_member_needs_a_plain_name(tmp_path: Path) -> None:
    for name in ("../run", "", ".hidden", "a/b"):
        with pytest.raises(UsageError, match="is no name for a member"):
            write_member(tmp_path, name, SMALL, trained().state_dict())
    assert list(tmp_path.iterdir()) == []


def test_a_card_whose_size_does_not_fit_is_refused(tmp_path: Path) -> None:
    file = write_member(tmp_path, "run-1", NetworkSpec(name="small", size=65), trained().state_dict())
    with pytest.raises(ModelError, match="takes no pictures of 65 x 65"):
        opened(file)


def test_the_card_without_changes_names_none() -> None:
    assert card(SMALL, "w.safetensors")["kwargs"] == {"name": "small", "size": SIZE}
    assert "licence" not in card(SMALL, "w.safetensors")


@pytest.mark.parametrize("name", ["small", "resnet18"])
def test_members_pass_the_checks_of_detectors(name: str, tmp_path: Path) -> None:
    spec = NetworkSpec(name=name, size=SIZE)
    detector = opened(write_member(tmp_path, "run-1", spec, trained(name).state_dict()))
    found = {result.name: result.status for result in check_detector(detector)}
    assert set(found.values()) == {"pass"}
    assert set(found) >= {"gradients", "features", "randomised", "determinism", "rows"}
    assert detector.facts.gives >= {"gradients", "activations", "operations"}


@pytest.mark.parametrize("name", ["small", "whitened", "resnet18", "densenet121", "efficientnetv2-b0"])
def test_operations_are_seen_so_that_deeplift_is_complete(name: str, tmp_path: Path) -> None:
    changes = ({"kind": "whitening", "group_size": 16},) if name == "whitened" else ()
    spec = NetworkSpec(name="small" if name == "whitened" else name, size=SIZE, changes=changes)
    file = write_member(tmp_path, "run-1", spec, trained(spec.name, changes=changes).state_dict())
    found = explain(make(DeepLift), opened(file), image_of(SIZE, SIZE))
    assert found.details["gap"] < 1e-4


# ---- ONNX -------------------------------------------------------------------------------------------------------


def test_the_onnx_file_equals_the_module_and_needs_no_card_beside_it(tmp_path: Path) -> None:
    net, file = trained(), tmp_path / "onnx" / "run-1.onnx"
    words = interface(SIZE, threshold=0.4, licence='a "quoted" one', training_data="faces = train")
    worst = export_onnx(net, file, words, PICTURES)
    assert [p.name for p in file.parent.iterdir()] == ["run-1.onnx"]
    assert worst <= export.TOLERANCE
    detector = opened(file)
    with torch.no_grad():
        for n in (1, 3, 4):  # the batch is free
            found = detector.scores(PICTURES[:n])
            torch.testing.assert_close(found, net(PICTURES[:n]), rtol=0, atol=export.TOLERANCE)
    facts = detector.facts
    assert (facts.classes, facts.real_class, facts.input_size, facts.threshold) == (
        ("real", "fake"),
        0,
        (SIZE, SIZE),
        0.4,
    )
    assert (facts.details["licence"], facts.details["training_data"]) == ('a "quoted" one', "faces = train")


def test_the_whitened_network_is_exported_alike(tmp_path: Path) -> None:
    net = trained(changes=({"kind": "whitening", "group_size": 16},))
    assert export_onnx(net, tmp_path / "w.onnx", interface(SIZE), PICTURES) <= export.TOLERANCE


def test_no_picture_leaves_noise_to_compare(tmp_path: Path) -> None:
    assert export_onnx(trained(), tmp_path / "n.onnx", interface(SIZE), PICTURES[:0]) <= export.TOLERANCE


def test_exporting_twice_gives_the_same_bytes_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)  # the exporter needs torch and onnx alone
    net = trained().train()
    net.body.eval()
    before, random = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    for name in ("a.onnx", "b.onnx"):
        export_onnx(net, tmp_path / name, interface(SIZE), PICTURES)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert net.training
    assert not any(part.training for part in net.body.modules())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


class Traced(nn.Module):
    """Answers otherwise while it is exported: by ``shift`` more."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        logits = torch.stack([x.mean((1, 2, 3)), x.amax((1, 2, 3))], dim=1)
        return logits + (self.shift if torch.jit.is_tracing() else 0.0)


@pytest.mark.parametrize("shift", [2e-5, float("nan")])
def test_a_file_that_differs_is_not_kept_and_an_older_one_stays(shift: float, tmp_path: Path) -> None:
    file = tmp_path / "run-1.onnx"
    file.write_bytes(b"older")
    with pytest.raises(ModelError, match="differs from the torch module by"):
        export_onnx(Traced(shift), file, interface(SIZE), PICTURES)
    assert [p.name for p in tmp_path.iterdir()] == ["run-1.onnx"]
    assert file.read_bytes() == b"older"


def test_logits_above_one_may_differ_in_proportion(tmp_path: Path) -> None:
    class Large(Traced):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 99.0

    assert export_onnx(Large(2e-4), tmp_path / "l.onnx", interface(SIZE), PICTURES) > 1e-4
    with pytest.raises(ModelError, match="differs"):
        export_onnx(Large(2e-3), tmp_path / "m.onnx", interface(SIZE), PICTURES)


def test_an_operation_that_onnx_lacks_is_named(tmp_path: Path) -> None:
    class Unknown(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.eigvalsh(x[:, 0, :2, :2])

    with pytest.raises(ModelError, match="torch cannot export the network to ONNX"):
        export_onnx(Unknown(), tmp_path / "u.onnx", interface(SIZE), PICTURES)
    assert list(tmp_path.iterdir()) == []


def test_the_batch_is_the_only_free_axis(tmp_path: Path) -> None:
    export_onnx(trained(), tmp_path / "b.onnx", interface(SIZE), PICTURES)
    given = onnx.load(tmp_path / "b.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in given] == ["N", 3, SIZE, SIZE]


def test_torch_export_equals_the_module() -> None:
    net = trained()
    program = torch.export.export(net, (PICTURES[:2],), dynamic_shapes=({0: torch.export.Dim("n")},))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(PICTURES), net(PICTURES), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "value", [0.25, [0.0, 1.0], ["real", 'fä"ke\\'], 'a = "b"\n', True, {"mode": "squash", "antialias": True}]
)
def test_metadata_is_toml(value: object) -> None:
    assert tomllib.loads(f"v = {as_toml(value)}")["v"] == value
