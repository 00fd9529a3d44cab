"""The networks to train: their shapes, names and counts, a user's checkpoint, and what is refused."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from xaibench.api import ModelError, PlanError, UsageError
from xaibench_training.networks import NetworkSpec, build, build_trained, names, settled_size
from xaibench_training.networks.efficientnetv2 import SameConv2d, SqueezeExcite
from xaibench_training.networks.pooled import PooledNetwork
from xaibench_training.networks.small import SmallBody

SIZE = 64
PICTURES = torch.rand((2, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(7))
PUBLISHED = {
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "densenet121": 7_978_856,
    "xception": 22_855_952,
    "efficientnetv2-b0": 7_139_704,
}
"""Parameters with 1,000 classes, as torchvision and timm state them."""
LARGE = tuple(PUBLISHED)


@pytest.fixture(scope="module")
def built() -> dict[str, PooledNetwork]:
    return {name: network(name) for name in names()}


def network(name: str, *, weights: Path | None = None, seed: int = 0) -> PooledNetwork:
    made = build(name, weights=weights, seed=seed)
    assert isinstance(made, PooledNetwork)
    return made


def same(a: nn.Module, b: nn.Module) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(torch.equal(v, second[k]) for k, v in first.items())


# ---- architectures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LARGE)
def test_a_network_has_the_published_number_of_parameters(name: str, built: dict[str, PooledNetwork]) -> None:
    thousand = 1000 * (built[name].head.in_features + 1)
    assert sum(p.numel() for p in built[name].body.parameters()) + thousand == PUBLISHED[name]


@pytest.mark.parametrize(
    ("name", "entries", "keys"),
    [
        ("resnet18", 122, ("conv1.weight", "bn1.running_var", "layer2.0.downsample.1.bias", "layer4.1.bn2.weight")),
        ("resnet50", 320, ("layer1.0.conv3.weight", "layer1.0.downsample.0.weight", "layer4.2.bn3.running_mean")),
        (
            "densenet121",
            727,
            ("features.conv0.weight", "features.denseblock4.denselayer16.conv2.weight", "features.transition3.norm.bias"),
        ),
        ("xception", None, ("block1.rep.0.conv1.weight", "block4.rep.7.pointwise.weight", "block12.skipbn.bias", "bn4.bias")),
        ("efficientnetv2-b0", None, ("conv_stem.weight", "blocks.0.0.conv.weight", "blocks.1.0.conv_exp.weight",
                                     "blocks.5.7.se.conv_expand.bias", "blocks.3.2.bn3.running_var", "conv_head.weight")),
    ],
)  # fmt: skip
def test_parameters_have_the_names_of_public_checkpoints(
    name: str, entries: int | None, keys: tuple[str, ...], built: dict[str, PooledNetwork]
) -> None:
    state = built[name].body.state_dict()
    assert set(keys) <= set(state)
    if entries is not None:  # torchvision's state holds the classifier's two besides
        assert len(state) + 2 == entries


@pytest.mark.parametrize(("name", "stride"), [("small", 16), *((name, 32) for name in LARGE)])
def test_features_lie_on_the_picture_and_pool_to_the_logits(
    name: str, stride: int, built: dict[str, PooledNetwork]
) -> None:
    net = built[name].eval()
    with torch.no_grad():
        features = net.features(PICTURES)
        logits = net(PICTURES)
    assert features.shape == (2, net.head.in_features, SIZE // stride, SIZE // stride)
    cam = torch.einsum("ck,nkhw->nchw", net.head.weight, features)
    torch.testing.assert_close(cam.mean((2, 3)) + net.head.bias, logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net.classify(features), logits, rtol=0, atol=0)


@pytest.mark.parametrize("name", names())
def test_layers_are_in_the_order_of_the_computation(name: str, built: dict[str, PooledNetwork]) -> None:
    net, run = built[name].eval(), list[str]()
    hooks = [
        net.get_submodule(path).register_forward_hook(lambda *_, path=path: run.append(path))
        for path in (*net.layers, net.last_convolution)
    ]
    with torch.no_grad():
        net.features(PICTURES[:1])
    for hook in hooks:
        hook.remove()
    shortcuts = {path for path in net.layers if "downsample" in path or "skipbn" in path}  # run beside the others
    main = [p for p in net.layers if p not in shortcuts]
    assert [p for p in run if p in main] == main + [p for p in (net.last_convolution,) if p in main]
    assert net.last_convolution in run[-2:]
    assert len(set(net.layers)) == sum(isinstance(m, nn.BatchNorm2d) for m in net.modules())


@pytest.mark.parametrize(
    ("name", "layer", "channels"),
    [
        ("resnet18", "body.layer4.1.bn2", 512),
        ("xception", "body.bn4", 2048),
        ("densenet121", "body.features.norm5", 1024),
    ],
)
def test_the_last_layer_is_the_one_that_the_publications_whiten(
    name: str, layer: str, channels: int, built: dict[str, PooledNetwork]
) -> None:
    assert built[name].layers[-1] == layer
    assert built[name].get_submodule(layer).num_features == channels


def test_resnet50_strides_in_the_middle_convolution(built: dict[str, PooledNetwork]) -> None:
    assert built["resnet50"].get_submodule("body.layer2.0.conv1").stride == (1, 1)
    assert built["resnet50"].get_submodule("body.layer2.0.conv2").stride == (2, 2)


def test_xception_at_299_has_ten_by_ten_cells(built: dict[str, PooledNetwork]) -> None:
    body = copy.deepcopy(built["xception"].body).to("meta")
    assert body(torch.empty(1, 3, 299, 299, device="meta")).shape == (1, 2048, 10, 10)


def test_the_small_network_sees_a_plain_picture_without_residual() -> None:
    seen: list[Tensor] = []
    body = SmallBody()
    body.blocks.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    picture = torch.full((1, 3, 32, 32), 0.25)
    body(picture)
    assert torch.equal(seen[0][:, :3], picture)
    assert torch.equal(seen[0][:, 3:], torch.zeros(1, 3, 32, 32))
    picture[0, 1, 9, 9] += 1.0  # one bright pixel of green: 1 - 4/16 stays, neighbours lose 2/16 and 1/16
    body(picture)
    kernel = torch.tensor([[-1.0, -2.0, -1.0], [-2.0, 12.0, -2.0], [-1.0, -2.0, -1.0]]) / 16 * 4
    assert torch.equal(seen[1][0, 4, 8:11, 8:11], kernel)
    assert float(seen[1][0, (3, 5)].abs().max()) == 0


def test_the_small_network_has_84386_weights_and_eight_by_eight_cells_at_128() -> None:
    net = network("small")
    assert sum(p.numel() for p in net.parameters()) == 84_386
    assert net.eval().features(torch.rand(1, 3, 128, 128)).shape == (1, 64, 8, 8)


def test_padding_as_in_tensorflow_samples_from_the_first_pixel() -> None:
    convolution = SameConv2d(1, 1, 3, stride=2, bias=False)
    with torch.no_grad():
        convolution.weight.copy_(functional.pad(torch.ones(1, 1, 1, 1), (0, 2, 0, 2)))
    picture = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert convolution(picture).tolist() == [[[[0, 2], [8, 10]]]]


def test_squeeze_and_excite_with_zero_gates_halves() -> None:
    excite = SqueezeExcite(4, 2)
    with torch.no_grad():
        excite.conv_expand.weight.zero_()
        excite.conv_expand.bias.zero_()
    x = torch.randn(2, 4, 3, 3)
    assert torch.equal(excite(x), x / 2)


def test_pictures_are_normalised_inside(built: dict[str, PooledNetwork]) -> None:
    net, seen = built["resnet18"].eval(), list[Tensor]()
    hook = net.body.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        net(torch.ones(1, 3, SIZE, SIZE))
    hook.remove()
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    torch.testing.assert_close(seen[0][0, :, 5, 5], torch.tensor(expected))


# ---- drawing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["small", "resnet18"])
def test_the_same_seed_draws_the_same_weights_and_leaves_the_global_state(name: str) -> None:
    before = torch.get_rng_state()
    first = network(name, seed=3)
    torch.rand(5)
    assert same(first, network(name, seed=3))
    assert not same(first, network(name, seed=4))
    torch.set_rng_state(before)
    build(name)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_fresh_network_learns() -> None:
    net, generator = network("small"), torch.Generator().manual_seed(0)
    labels = torch.arange(16) % 2
    images = torch.rand((16, 3, 32, 32), generator=generator) * (0.4 + 0.6 * labels[:, None, None, None])
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(15):
        loss = functional.cross_entropy(net(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.05


# ---- names and sizes --------------------------------------------------------------------------------------------


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="no network 'resnet81'") as error:
        build("resnet81")
    assert "did you mean 'resnet18'?" in error.value.mend


def test_sizes_settle() -> None:
    assert settled_size("small") == 128
    assert settled_size("xception") == 299
    assert settled_size("small", 96) == 96
    for name, size in (("small", 100), ("small", 0), ("efficientnetv2-b0", 300), ("resnet18", 32), ("resnet18", 9000)):
        with pytest.raises(UsageError, match=f"takes no pictures of {size} x {size}"):
            settled_size(name, size)


# ---- checkpoints ------------------------------------------------------------------------------------------------


def classifier(name: str, classes: int, channels: int) -> dict[str, Tensor]:
    return {f"{name}.weight": torch.ones(classes, channels), f"{name}.bias": torch.ones(classes)}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_checkpoint_of_a_thousand_classes_gives_its_body_and_says_so(suffix: str, tmp_path: Path) -> None:
    source, file = network("resnet18", seed=5), tmp_path / f"weights{suffix}"
    state = {**source.body.state_dict(), **classifier("fc", 1000, 512)}
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, file) if suffix == ".pt" else save_file(
        state, file
    )
    loaded = network("resnet18", weights=file, seed=1)
    assert same(loaded.body, source.body)
    assert same(loaded.head, network("resnet18", seed=1).head)
    assert loaded.notes == (f"the classifier of weights{suffix} has 1000 classes: replaced by one of 2, drawn anew",)


def test_a_classifier_of_two_classes_is_taken_over_and_none_is_said(tmp_path: Path) -> None:
    source, file = network("resnet18", seed=5), tmp_path / "weights.safetensors"
    save_file({**source.body.state_dict(), **classifier("fc", 2, 512)}, file)
    loaded = network("resnet18", weights=file)
    assert loaded.notes == ()
    assert torch.equal(loaded.head.weight, torch.ones(2, 512))
    save_file(source.body.state_dict(), file)
    assert network("resnet18", weights=file).notes == (
        "weights.safetensors holds no classifier: one of 2 classes was drawn",
    )


def test_a_trained_member_can_be_trained_on(tmp_path: Path) -> None:
    source = network("small", seed=5)
    save_file(source.state_dict(), tmp_path / "run-1.safetensors")
    loaded = network("small", weights=tmp_path / "run-1.safetensors")
    assert same(loaded, source)
    assert loaded.notes == ()


def test_names_and_shapes_of_older_files_are_brought_up(tmp_path: Path, built: dict[str, PooledNetwork]) -> None:
    dense = {k: v for k, v in built["densenet121"].body.state_dict().items() if not k.endswith("num_batches_tracked")}
    old = {k.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): v for k, v in dense.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    save_file({**old, **classifier("classifier", 1000, 1024)}, tmp_path / "dense.safetensors")
    assert same(
        network("densenet121", weights=tmp_path / "dense.safetensors", seed=8).body, fresh(built["densenet121"])
    )

    xception = built["xception"].body.state_dict()
    flat = {k: v[:, :, 0, 0].contiguous() if "pointwise" in k else v for k, v in xception.items()}
    torch.save({**flat, **classifier("last_linear", 1000, 2048)}, tmp_path / "xception.pth")
    assert same(network("xception", weights=tmp_path / "xception.pth", seed=8).body, built["xception"].body)


def fresh(net: PooledNetwork) -> nn.Module:
    """The body; its counters of batches are those of a network that was never trained."""
    assert all(int(v) == 0 for k, v in net.body.state_dict().items() if k.endswith("num_batches_tracked"))
    return net.body


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    state, file = network("small").body.state_dict(), tmp_path / "w.safetensors"
    save_file({("extra" if k == "blocks.0.0.weight" else k): v for k, v in state.items()}, file)
    expected = r"1 weights missing \(blocks.0.0.weight\), 1 left over \(extra\)"
    with pytest.raises(ModelError, match=expected):
        build("small", weights=file)
    save_file({**state, "blocks.0.0.weight": torch.zeros(16, 3, 3, 3)}, file)
    with pytest.raises(
        ModelError, match=r"'blocks.0.0.weight' has shape \(16, 3, 3, 3\), the network's \(16, 6, 3, 3\)"
    ):
        build("small", weights=file)
    save_file({**state, "bias": torch.zeros(1)}, file)
    with pytest.raises(ModelError, match=r"1 left over \(bias\)"):
        build("small", weights=file)


class Opens:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.path), "w"))


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_pickled_code_is_not_run_and_broken_files_are_refused(tmp_path: Path) -> None:
    torch.save({"a": Opens(tmp_path / "ran")}, tmp_path / "evil.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Opens(tmp_path / "ran")))
    for name in ("evil.pt", "old.pt"):
        with pytest.raises(ModelError, match=r"needs pickled code|is no checkpoint"):
            build("small", weights=tmp_path / name)
    assert not (tmp_path / "ran").exists()
    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    with pytest.raises(ModelError, match="is no safetensors file"):
        build("small", weights=tmp_path / "cut.safetensors")
    (tmp_path / "cut.pt").write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelError, match="is no checkpoint"):
        build("small", weights=tmp_path / "cut.pt")
    torch.save({"epoch": 3}, tmp_path / "numbers.pt")
    with pytest.raises(ModelError, match="holds no table of tensors"):
        build("small", weights=tmp_path / "numbers.pt")
    with pytest.raises(ModelError, match="no such file"):
        build("small", weights=tmp_path / "none.pt")


# ---- timm -------------------------------------------------------------------------------------------------------


class Timmish(nn.Module):
    """What timm's convolutional networks offer."""

    default_cfg = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.5, 0.5)}  # noqa: RUF012
    num_features = 6

    def __init__(self, shape: str = "NCHW") -> None:
        super().__init__()
        self.stem, self.bn1, self.shape = nn.Conv2d(3, 6, 3, 4), nn.BatchNorm2d(6), shape

    def forward_features(self, x: Tensor) -> Tensor:
        y = self.bn1(self.stem(x))
        return y if self.shape == "NCHW" else y.flatten(2).transpose(1, 2)


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> None:
    def create_model(name: str, *, pretrained: bool, num_classes: int) -> nn.Module:
        assert (pretrained, num_classes) == (False, 0)
        if name not in ("convnet", "transformer"):
            raise RuntimeError(f"Unknown model ({name})")
        return Timmish("NCHW" if name == "convnet" else "NLC")

    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create_model))


@pytest.mark.usefixtures("timm")
def test_a_network_of_timm_is_taken_by_name(tmp_path: Path) -> None:
    net = network("timm:convnet", seed=2)
    assert net.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert (net.layers, net.last_convolution) == (("body.model.bn1",), "body")
    assert net.training
    assert net.body.training
    assert int(net.get_submodule("body.model.bn1").num_batches_tracked) == 0
    assert net(PICTURES).shape == (2, 2)
    assert same(net.head, network("timm:convnet", seed=2).head)

    save_file({**Timmish().state_dict(), **classifier("head.fc", 1000, 6)}, tmp_path / "t.safetensors")
    loaded = network("timm:convnet", weights=tmp_path / "t.safetensors")
    assert loaded.notes == ("the classifier of t.safetensors has 1000 classes: replaced by one of 2, drawn anew",)
    save_file(loaded.state_dict(), tmp_path / "run-1.safetensors")
    assert same(network("timm:convnet", weights=tmp_path / "run-1.safetensors"), loaded)


@pytest.mark.usefixtures("timm")
def test_networks_of_timm_that_do_not_fit_are_refused() -> None:
    with pytest.raises(PlanError, match=r"gives features of shape \(1, 3136, 6\)"):
        build("timm:transformer")
    with pytest.raises(PlanError, match="timm cannot make 'x': Unknown model"):
        build("timm:x")


def test_timm_that_is_missing_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(PlanError, match="network 'timm:convnet' needs timm, which is not installed") as error:
        build("timm:convnet")
    assert error.value.mend == "pip install timm"


# ---- changes ----------------------------------------------------------------------------------------------------


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with a change of its own: it scales the classifier."""

    def scale(net: PooledNetwork, *, by: float) -> PooledNetwork:
        with torch.no_grad():
            net.head.weight.mul_(by)
        return net

    module = ModuleType("shop")
    module.scale = scale  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop", module)


@pytest.mark.usefixtures("shop")
def test_changes_are_applied_in_order() -> None:
    spec = NetworkSpec(name="small", size=SIZE, changes=({"kind": "shop:scale", "by": 2.0},) * 2)
    changed = build_trained(name=spec.name, size=spec.size, changes=spec.changes)
    assert not changed.training
    assert torch.equal(changed.head.weight, 4 * network("small").head.weight)


def test_a_whitening_layer_takes_its_place() -> None:
    change = {"kind": "whitening", "layer": "body.blocks.4.1", "group_size": 32}
    changed = build_trained(name="small", size=SIZE, changes=[change])
    assert not isinstance(changed.get_submodule("body.blocks.4.1"), nn.BatchNorm2d)
    assert changed(PICTURES).shape == (2, 2)


@pytest.mark.parametrize("change", [{"kind": "bleaching"}, {"layer": "x"}])
def test_a_change_of_no_known_kind_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="no change of a network is named"):
        build_trained(name="small", size=SIZE, changes=[change])


@pytest.mark.parametrize("kind", ["shop_that_is_not:f", "xaibench_training.networks:nothing"])
def test_a_change_whose_package_is_missing_is_refused(kind: str) -> None:
    with pytest.raises(UsageError, match="cannot be imported"):
        build_trained(name="small", size=SIZE, changes=[{"kind": kind}])
