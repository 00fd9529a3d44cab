"""The PyTorch adapter: every way to load a model, what is never run, inner layers, randomised copies."""

from __future__ import annotations

import math
import pickle
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from xaibench.api import Batch, ModelError, Runtime, build_parameters, describe_parameters
from xaibench_models.grids import Grid, Places, grid_of
from xaibench_models.interface import provenance
from xaibench_models.layer_choice import candidates, choose
from xaibench_models.layers import caught, watch
from xaibench_models.torch_card import TorchKeys
from xaibench_models.torch_detector import TorchDetector
from xaibench_models.torch_model import TorchModel, TorchParameters

CPU = Runtime()
SIZE = 32
PICTURES = torch.rand((4, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(5))


# ---- networks ---------------------------------------------------------------------------------------------------


class Conv(nn.Module):
    """Two convolutional blocks, an in-place ReLU after the second's normalisation, pooling, a linear layer."""

    def __init__(self, width: int = 8, outputs: int = 2, inplace: bool = True) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(inplace))
        self.block = nn.Sequential(nn.Conv2d(width, width, 3, 2, 1), nn.BatchNorm2d(width))
        self.act = nn.ReLU(inplace)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.act(self.block(self.stem(x)))).flatten(1))


class Dict(nn.Module):
    """A model in the manner of DeepfakeBench, returning logits and P(fake)."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Conv()

    def forward(self, data: dict[str, Tensor], inference: bool = False) -> dict[str, Tensor]:
        logits = self.backbone(data["image"])
        return {"cls": logits, "prob": logits.softmax(1)[:, 1]}


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = Conv()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, self.net(x)


class InPlaceInput(nn.Module):
    """Normalises its input in place, as some published models do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Conv()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.sub_(0.5))


class NoGradient(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = Conv()

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.net(x)


class Means(nn.Module):
    """z = (mean red, 2 mean green), or one value."""

    def __init__(self, kind: str = "two") -> None:
        super().__init__()
        self.kind = kind
        self.scale = nn.Parameter(torch.tensor([1.0, 2.0]))

    def forward(self, x: Tensor) -> Tensor:
        z = x.mean((2, 3))[:, :2] * self.scale
        return {"two": z, "one": z[:, :1], "prob": z[:, 0]}[self.kind]


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.drop = nn.Dropout(0.0)
        self.heads = 2

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = self.drop((q @ k.transpose(-1, -2) / 2).softmax(-1))  # (n, heads, length, length)
        return (weights @ v).transpose(1, 2).reshape(n, length, width)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), Attention(width)
        self.norm2, self.mlp = nn.LayerNorm(width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Patches, class and register tokens, blocks; the verdict from the class token or from the mean of the patches."""

    def __init__(self, registers: int = 0, pool: str = "class", width: int = 8) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 8, 8)
        self.extra = nn.Parameter(torch.randn(1, 1 + registers, width))
        self.blocks = nn.Sequential(Block(width), Block(width))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 2)
        self.by_class = pool == "class"

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = self.norm(self.blocks(torch.cat((self.extra.expand(len(x), -1, -1), tokens), 1)))
        return self.head(tokens[:, 0] if self.by_class else tokens[:, self.extra.shape[1] :].mean(1))


class Swin(nn.Module):
    """Channels last inside, as in Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 6, 4, 4)
        self.mix = nn.LayerNorm(6)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mix(self.patch(x).permute(0, 2, 3, 1)).mean((1, 2)))


class SequenceFirst(nn.Module):
    """Tokens as (length, pictures, width), as in CLIP."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 6, 8, 8)
        self.mix = nn.LayerNorm(6)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mix(self.patch(x).flatten(2).permute(2, 0, 1)).mean(0))


class Vgg(nn.Module):
    """The feature stack ends in a pooling layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(True), nn.MaxPool2d(2))
        self.head = nn.Linear(6 * 64, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.head(x.view(len(x), -1))  # refuses channels last


class Flipped(nn.Module):
    """Test-time augmentation: the mean verdict on the picture and its mirror image."""

    def __init__(self, inner: str) -> None:
        super().__init__()
        self.net = seeded(inner)

    def forward(self, x: Tensor) -> Tensor:
        return (self.net(x) + self.net(x.flip(3))) / 2


class Twice(Flipped):
    """Both verdicts, neither of which depends on the other."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        return {"first": self.net(x), "second": self.net(x.flip(3))}


class Shared(nn.Module):
    """One activation function after both convolutions, whose widths differ."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.act = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 2, 1), nn.ReLU()
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.two(self.act(self.one(x)))).mean((2, 3)))


BUILDERS: dict[str, type[nn.Module]] = {
    c.__name__: c
    for c in (Conv, Dict, Pair, InPlaceInput, NoGradient, Means, ViT, Swin, SequenceFirst, Vgg, Flipped, Twice, Shared)
}


def seeded(kind: str, **kwargs: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BUILDERS[kind](**kwargs).eval()


@pytest.fixture
def factory(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name under which :func:`seeded` can be imported as a factory."""
    import sys
    import types

    module = types.ModuleType("xaibench_test_networks")
    module.build = seeded  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return f"{module.__name__}:build"


def opened(path: str | Path = "", runtime: Runtime = CPU, **values: Any) -> TorchDetector:
    model = TorchModel(build_parameters(TorchParameters, {"path": str(path), **values}, "torch"))
    return model.open(model.members()[0], runtime)


def eager(factory: str, kind: str, *, card: dict[str, Any] | None = None, **kwargs: Any) -> TorchDetector:
    return opened(
        factory=factory, kwargs={"kind": kind, **kwargs}, size=SIZE, **({"weights": "factory"} | (card or {}))
    )


def exported(path: Path, network: nn.Module, fixed: bool = False) -> Path:
    import warnings

    shapes = None if fixed else ({0: torch.export.Dim("n")},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(network, (PICTURES[:2],), dynamic_shapes=shapes), path)
    return path


def scripted(path: Path, network: nn.Module) -> Path:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network, PICTURES).save(str(path))
    return path


# ---- ways to load -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["eager", "pt2", "torchscript"])
def test_every_form_gives_the_same_numbers_and_gradients(tmp_path: Path, factory: str, form: str) -> None:
    network = seeded("Conv")
    if form == "eager":
        detector = eager(factory, "Conv")
    elif form == "pt2":
        detector = opened(exported(tmp_path / "m.pt2", network))
    else:
        detector = opened(scripted(tmp_path / "m.pt", network), size=SIZE)
    with torch.no_grad():
        expected = network(PICTURES)
    torch.testing.assert_close(detector.scores(PICTURES), expected)
    torch.testing.assert_close(detector.probabilities(PICTURES), expected.softmax(1))
    leaf = PICTURES.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(detector.logits(leaf)[:, 1].sum(), leaf)
    (reference,) = torch.autograd.grad(network(leaf)[:, 1].sum(), leaf)
    torch.testing.assert_close(gradient, reference)
    assert "gradients" in detector.facts.gives
    assert ("activations" in detector.facts.gives) == (form != "torchscript")
    assert detector.facts.input_size == (SIZE, SIZE)
    if form == "torchscript":
        assert "without hooks" in detector.facts.limits["activations"]
        with pytest.raises(ModelError, match="TorchScript"):
            detector.features(PICTURES)


@pytest.mark.parametrize(("card", "key"), [
    ({"classes": ("fake", "real")}, "classes"),
    ({"classes": ("a", "b"), "real": "b"}, "real"),
    ({"classes": ("fake", "real"), "real": "real"}, "classes"),
    ({"fake_index": 1}, "fake_index"),
    ({"high": "fake"}, "high"),
    ({}, "classes"),  # real by itself is refused: it does not say where it stands
])  # fmt: skip
def test_the_key_to_mend_where_labels_are_swapped(card: dict[str, Any], key: str) -> None:
    assert provenance(TorchKeys(**card))["label_key"] == key


def test_a_fixed_batch_in_an_exported_file(tmp_path: Path) -> None:
    network = seeded("Conv")
    detector = opened(exported(tmp_path / "m.pt2", network, fixed=True))
    assert detector.facts.batch == Batch(fixed=2)
    with torch.no_grad():
        torch.testing.assert_close(detector.scores(PICTURES[:3]), network(PICTURES[:3]))


def test_a_toml_with_factory_weights_and_folders(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "their_helpers_a.py").write_text("WIDTH = 5\n")
    (repository / "their_model_a.py").write_text(
        "from torch import nn\nimport their_helpers_a\n"
        "def build(outputs):\n"
        "    return nn.Sequential(nn.Conv2d(3, their_helpers_a.WIDTH, 4, 4), nn.Flatten(), nn.Linear(320, outputs))\n"
    )
    network = nn.Sequential(nn.Conv2d(3, 5, 4, 4), nn.Flatten(), nn.Linear(320, 2))
    save_file({f"module.{k}": v for k, v in network.state_dict().items()}, tmp_path / "w.safetensors")
    card = tmp_path / "net.toml"
    card.write_text(
        'factory = "their_model_a:build"\nkwargs = {outputs = 2}\npythonpath = ["repository"]\n'
        f'weights = "w.safetensors"\nsize = [{SIZE}, {SIZE}]\nclasses = ["fake", "real"]\nlicence = "MIT"\n'
    )
    import sys

    before = list(sys.path)
    detector = opened(card)
    assert sys.path == before
    assert detector.facts.name == "net"
    assert detector.facts.real_class == 1
    assert detector.facts.details["licence"] == "MIT"
    with torch.no_grad():
        torch.testing.assert_close(detector.scores(PICTURES), network(PICTURES))
    digest = detector.facts.digest
    (repository / "their_model_a.py").write_text((repository / "their_model_a.py").read_text() + "# changed\n")
    assert opened(card).facts.digest != digest  # code that no package versions


def test_two_repositories_with_modules_of_one_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "their_model_b.py").write_text(
            "from torch import nn\ndef build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 2))\n"
        )
        (tmp_path / f"{name}.toml").write_text(
            f'factory = "their_model_b:build"\npythonpath = ["{name}"]\nsize = {SIZE}\nweights = "factory"\n'
        )
    opened(tmp_path / "one.toml")
    with pytest.raises(ModelError, match="'their_model_b' from another folder is loaded already"):
        opened(tmp_path / "two.toml")


def test_a_toml_that_names_a_file(tmp_path: Path) -> None:
    exported(tmp_path / "m.pt2", seeded("Conv"))
    (tmp_path / "other.toml").write_text('path = "m.pt2"\nclasses = ["fake", "real"]\n')
    assert opened(tmp_path / "other.toml").facts.real_class == 1
    (tmp_path / "m.toml").write_text("threshold = 0.25\n")  # a card beside the file
    assert opened(tmp_path / "m.pt2").facts.threshold == 0.25
    with pytest.raises(ModelError, match="names no model") as error:
        opened(tmp_path / "m.toml")
    assert "m.pt2, whose card this is" in error.value.mend


def test_dict_in_dict_out(factory: str) -> None:
    network = seeded("Dict")
    with torch.no_grad():
        logits = network({"image": PICTURES})["cls"]
    detector = eager(factory, "Dict", card={"input_key": "image", "output_key": "cls", "fake_index": 1})
    torch.testing.assert_close(detector.scores(PICTURES), logits)
    swapped = eager(factory, "Dict", card={"input_key": "image", "output_key": "cls", "fake_index": 0})
    assert (detector.facts.real_class, swapped.facts.real_class) == (0, 1)
    assert detector.facts.target_layer == "backbone.act"
    card = {"input_key": "image", "output_key": "prob", "activation": "probability", "high": "fake"}
    probability = eager(factory, "Dict", card=card)
    torch.testing.assert_close(probability.probabilities(PICTURES), logits.softmax(1))
    torch.testing.assert_close(probability.scores(PICTURES).softmax(1), logits.softmax(1), rtol=1e-4, atol=1e-6)
    assert probability.facts.logit_source == "logits"  # those of the softmax, not clipped log-odds
    assert probability.facts.digest != detector.facts.digest


@pytest.mark.parametrize(
    ("card", "what", "mend"),
    [
        ({}, "fake_index = 1 says which of two outputs means fake, but the model has 1", 'add high = "fake"'),
        ({"high": "fake"}, "the model has 1", 'take fake_index off; high = "fake" says it all'),
        ({"output_key": "cls", "high": "fake"}, "fake_index stands beside high", "take high off"),
        ({"output_key": "cls", "classes": ["a", "b"]}, "fake_index stands beside classes", "take classes off"),
    ],
)
def test_fake_index_is_for_two_outputs(factory: str, card: dict[str, Any], what: str, mend: str) -> None:
    with pytest.raises(ModelError, match=what) as error:
        eager(factory, "Dict", card={"input_key": "image", "output_key": "prob", "fake_index": 1, **card})
    assert mend in error.value.mend


def test_fake_index_of_three_outputs_asks_for_their_names(factory: str) -> None:
    with pytest.raises(ModelError, match="of two outputs means fake, but the model has 3") as error:
        eager(factory, "Conv", outputs=3, card={"fake_index": 1})
    assert "classes = [3 names]" in error.value.mend


def test_the_guides_cards_for_deepfakebench_open_and_agree(factory: str) -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/pytorch.md").read_text(encoding="utf-8")
    blocks = [tomllib.loads(part.partition("```")[0]) for part in page.split("```toml\n")[1:]]
    cls, prob = (eager(factory, "Dict", card=card) for card in blocks if "input_key" in card)
    torch.testing.assert_close(prob.probabilities(PICTURES), cls.probabilities(PICTURES))


def test_wrong_keys_name_what_the_model_returns(factory: str) -> None:
    for card, match, mend in (
        ({"input_key": "image"}, "returns a dict", "output_key = 'cls' (scores of 2 columns) or"),
        (
            {"input_key": "image", "output_key": "logit"},
            "nothing under output_key = 'logit'",
            "output_key = 'cls' (scores of 2 columns) or",
        ),
        ({"input_key": "picture", "output_key": "cls"}, "fails on a batch of 3 pictures: KeyError", "input_key"),
        ({"output_key": "cls"}, "fails on a batch", "input_key"),
    ):
        with pytest.raises(ModelError, match=match) as error:
            eager(factory, "Dict", card=card)
        assert mend in error.value.mend
    with pytest.raises(ModelError, match="returns a tuple") as error:
        eager(factory, "Pair")
    assert "output_key = 1 (scores of 2 columns)" in error.value.mend
    assert eager(factory, "Pair", card={"output_key": 1}).scores(PICTURES).shape == (4, 2)


# ---- what is refused --------------------------------------------------------------------------------------------


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_checkpoint_that_needs_pickle_is_refused_and_not_run(tmp_path: Path, factory: str) -> None:
    proof = tmp_path / "ran"
    state = {**seeded("Conv").state_dict(), "bomb": Bomb(proof)}
    torch.save(state, tmp_path / "w.pth")
    with (tmp_path / "old.pth").open("wb") as file:
        pickle.dump(state, file)
    for name in ("w.pth", "old.pth"):
        with pytest.raises(ModelError, match=f"{name}: needs pickled code, which is never run") as error:
            eager(factory, "Conv", card={"weights": str(tmp_path / name)})
        assert "save_file(model.state_dict()" in error.value.mend
    torch.save(seeded("Conv"), tmp_path / "model.pt")
    torch.save(state, tmp_path / "state.pt")
    for name in ("model.pt", "state.pt"):
        with pytest.raises(ModelError, match="pickled code is never run") as error:
            opened(tmp_path / name)
        assert "factory" in error.value.mend
    assert not proof.exists()


def rewritten(source: Path, target: Path, name: str, content: bytes) -> Path:
    """An archive with one record put in place of another, or added."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        root = old.namelist()[0].split("/")[0]
        for record in old.namelist():
            if record != f"{root}/{name}":
                new.writestr(record, old.read(record))
        new.writestr(f"{root}/{name}", content)
    return target


def test_an_exported_file_that_needs_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    import io

    proof = tmp_path / "ran"
    good = exported(tmp_path / "m.pt2", seeded("Conv"))
    buffer = io.BytesIO()
    torch.save((Bomb(proof),), buffer)
    inputs = rewritten(good, tmp_path / "inputs.pt2", "data/sample_inputs/model.pt", buffer.getvalue())
    objects = rewritten(good, tmp_path / "objects.pt2", "data/constants/opaque_obj_0", pickle.dumps(Bomb(proof)))
    with zipfile.ZipFile(good) as archive:
        graph = archive.read(f"{good.stem}/models/model.json").replace(
            b"torch.ops.aten.linear.default", b"torch.os.system"
        )
    calls = rewritten(good, tmp_path / "calls.pt2", "models/model.json", graph)
    for path, match in (
        (inputs, "pickled objects"),
        (objects, "pickled objects"),
        (calls, "'torch.os.system', which is no"),
    ):
        with pytest.raises(ModelError, match=match):
            opened(path)
    assert not proof.exists()
    assert opened(good).facts.name == "m"


def test_files_that_are_no_models(tmp_path: Path, factory: str) -> None:
    broken = tmp_path / "m.pt2"
    broken.write_bytes(exported(tmp_path / "good.pt2", seeded("Conv")).read_bytes()[:2000])
    with pytest.raises(ModelError, match="no PyTorch file, or is cut off"):
        opened(broken)
    with pytest.raises(ModelError, match="no such file"):
        opened(tmp_path / "none.pt")
    with pytest.raises(ModelError, match="no such file"):
        opened(tmp_path / "none.toml")
    with pytest.raises(ModelError, match="no model is named"):
        opened()
    for name in ("w.safetensors", "w.pth"):
        (tmp_path / name).write_bytes(b"nonsense" * 30)
        with pytest.raises(ModelError, match=r"cut off|never run"):
            eager(factory, "Conv", card={"weights": str(tmp_path / name)})


def test_weights_must_fit(tmp_path: Path, factory: str) -> None:
    state = seeded("Conv").state_dict()
    for name, changed, match in (
        (
            "less",
            {k: v for k, v in state.items() if k != "head.bias"},
            r"1 weights missing \(head.bias\), 0 left over",
        ),
        ("more", {**state, "aux.weight": torch.zeros(1)}, r"0 weights missing, 1 left over \(aux.weight\)"),
        ("shape", {**state, "head.bias": torch.zeros(3)}, r"'head.bias' has shape \(3,\), the network's \(2,\)"),
    ):
        save_file(changed, tmp_path / f"{name}.safetensors")
        with pytest.raises(ModelError, match=match):
            eager(factory, "Conv", card={"weights": str(tmp_path / f"{name}.safetensors")})


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}, "epoch": 3}]
)
def test_checkpoints_of_tensors(tmp_path: Path, factory: str, wrap: Any) -> None:
    network = seeded("Conv")
    with torch.no_grad():
        network.head.bias.add_(1)
        expected = network(PICTURES)
    torch.save(wrap(network.state_dict()), tmp_path / "w.pth")
    detector = eager(factory, "Conv", card={"weights": str(tmp_path / "w.pth")})
    torch.testing.assert_close(detector.scores(PICTURES), expected)
    assert detector.facts.digest != eager(factory, "Conv").facts.digest


def test_factories_that_fail(tmp_path: Path, factory: str) -> None:
    for name, match in (
        ("no.such.module:build", "cannot be imported: ModuleNotFoundError"),
        ("torch.nn:NoSuchThing", "no callable 'NoSuchThing'"),
        ("torch.nn", "not of the form"),
        ("builtins:dict", "returned dict, not a torch module"),
    ):
        with pytest.raises(ModelError, match=match):
            opened(factory=name, size=SIZE, weights="factory")
    with pytest.raises(ModelError, match="failed: TypeError"):
        eager(factory, "Conv", sides=3)
    with pytest.raises(ModelError, match="how large its input is"):
        opened(factory=factory, kwargs={"kind": "Conv"}, weights="factory")
    (tmp_path / "m.toml").write_text("factroy = 'a:b'\n")
    with pytest.raises(ModelError, match="unknown card key 'factroy'") as error:
        opened(tmp_path / "m.toml")
    assert "did you mean 'factory'?" in error.value.mend


def test_a_file_exported_in_training_mode_names_what_draws(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 2)).train()
    suspects = opened(exported(tmp_path / "m.pt2", network)).facts.suspects
    assert suspects == {"chance": "layer '0' draws at random (bernoulli_), as dropout in training mode does"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="sees no GPU"):
        opened(exported(tmp_path / "m.pt2", seeded("Conv")), Runtime(device="cuda"))


def test_every_key_is_documented_and_the_path_comes_first() -> None:
    rows = describe_parameters(TorchParameters)
    assert rows[0]["name"] == "path"
    assert all(row["description"] for row in rows)


# ---- the detector -----------------------------------------------------------------------------------------------


def test_one_output_is_split_in_two(tmp_path: Path) -> None:
    picture = torch.full((1, 3, SIZE, SIZE), 0.5)
    means = lambda kind: Means(kind).eval()  # noqa: E731
    logit = exported(tmp_path / "one.pt2", means("one"))
    torch.testing.assert_close(
        opened(logit, high="fake", activation="logit").scores(picture), torch.tensor([[-0.25, 0.25]])
    )
    torch.testing.assert_close(
        opened(logit, high="real", activation="logit").scores(picture), torch.tensor([[0.25, -0.25]])
    )
    with pytest.raises(ModelError, match="one output, and high may mean"):
        opened(logit)
    probability = opened(exported(tmp_path / "prob.pt2", means("prob")), high="fake", activation="probability")
    torch.testing.assert_close(probability.probabilities(picture), torch.tensor([[0.5, 0.5]]))
    bright = torch.full((1, 3, SIZE, SIZE), 0.8)
    torch.testing.assert_close(probability.scores(bright), torch.tensor([[-0.5, 0.5]]) * math.log(4))


def test_preprocessing_is_inside_autograd(factory: str) -> None:
    detector = eager(factory, "Means", card={"range": [0, 255], "std": 2.0, "colour": "BGR"})
    leaf = PICTURES.clone().requires_grad_(True)
    logits = detector.logits(leaf)
    torch.testing.assert_close(logits[:, 0], PICTURES[:, 2].mean((1, 2)) * 255 / 2)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), leaf)
    expected = torch.zeros_like(PICTURES)
    expected[:, 2] = 255 / 2 / SIZE**2
    torch.testing.assert_close(gradient, expected)


def test_pictures_are_never_changed(factory: str) -> None:
    detector = eager(factory, "InPlaceInput")
    before = PICTURES.clone()
    detector.probabilities(PICTURES)
    detector.logits(PICTURES.clone().requires_grad_(True))
    assert torch.equal(before, PICTURES)


def test_channels_last_where_the_model_takes_it(factory: str) -> None:
    conv, vgg = eager(factory, "Conv"), eager(factory, "Vgg")
    assert conv.network.channels_last
    assert not vgg.network.channels_last
    with torch.no_grad():
        torch.testing.assert_close(vgg.scores(PICTURES), seeded("Vgg")(PICTURES))
        torch.testing.assert_close(conv.scores(PICTURES), seeded("Conv")(PICTURES))
    assert conv.randomised(["head"], torch.Generator()).network.channels_last


def test_results_are_ordinary_float32_tensors(factory: str) -> None:
    for precision in ("fp32", "bf16"):
        detector = opened(
            factory=factory, kwargs={"kind": "Conv"}, size=SIZE, weights="factory", runtime=Runtime(precision=precision)
        )
        for result in (detector.probabilities(PICTURES), detector.scores(PICTURES)):
            assert result.dtype == torch.float32
            assert not result.is_inference()
            assert not result.requires_grad
        assert detector.logits(PICTURES).dtype == torch.float32
        assert detector.probabilities(PICTURES[:0]).shape == (0, 2)


def test_a_model_without_gradient_says_so(factory: str) -> None:
    facts = eager(factory, "NoGradient").facts
    assert facts.gives == frozenset()
    assert "does not pass gradients" in facts.limits["gradients"]
    assert set(facts.limits) == {"gradients", "activations", "operations", "attention"}


@pytest.mark.parametrize("form", ["eager", "pt2", "torchscript"])
def test_a_row_does_not_depend_on_its_place_or_its_mates(tmp_path: Path, factory: str, form: str) -> None:
    network = seeded("Conv", width=24)
    generator = torch.Generator().manual_seed(1)
    for norm in (network.stem[1], network.block[1]):  # type: ignore[index]
        norm.running_mean.normal_(generator=generator)
        norm.running_var.uniform_(0.5, 2, generator=generator)
    if form == "eager":
        save_file(network.state_dict(), tmp_path / "w.safetensors")
        detector = eager(factory, "Conv", width=24, card={"weights": str(tmp_path / "w.safetensors")})
    elif form == "pt2":
        detector = opened(exported(tmp_path / "m.pt2", network))
    else:
        detector = opened(scripted(tmp_path / "m.pt", network), size=SIZE)
    pictures = torch.rand((24, 3, SIZE, SIZE), generator=generator)

    def gradients(x: Tensor) -> Tensor:
        leaf = x.clone().requires_grad_(True)
        return torch.autograd.grad(detector.logits(leaf)[:, 1].sum(), leaf)[0]

    for call in (detector.probabilities, detector.scores, gradients):
        known: dict[int, Tensor] = {}
        for _ in range(4):
            chosen = torch.randperm(24, generator=generator)[:8]
            for index, row in zip(chosen.tolist(), call(pictures[chosen]), strict=True):
                assert torch.equal(known.setdefault(index, row), row)


# ---- inner layers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "kwargs", "layer", "grid"),
    [
        ("Conv", {}, "act", Grid("NCHW", 8, 8)),
        ("Vgg", {}, "features.1", Grid("NCHW", 16, 16)),
        ("ViT", {}, "blocks.1.norm1", Grid("NLC", 4, 4, 1)),
        ("ViT", {"registers": 4}, "blocks.1.norm1", Grid("NLC", 4, 4, 5)),
        ("ViT", {"pool": "mean"}, "norm", Grid("NLC", 4, 4, 1)),
        ("Swin", {}, "mix", Grid("NHWC", 8, 8)),
        ("SequenceFirst", {}, "mix", Grid("LNC", 4, 4)),
    ],
)
def test_the_target_layer_is_chosen_and_said_aloud(
    factory: str, kind: str, kwargs: dict[str, Any], layer: str, grid: Grid
) -> None:
    detector = eager(factory, kind, **kwargs)
    assert detector.facts.target_layer == layer
    note = f"target layer: {layer} ({grid}; chosen automatically; set target_layer=NAME)"
    assert note in detector.facts.notes
    features = detector.features(PICTURES)
    assert features.to_grid == grid
    torch.testing.assert_close(features.logits.detach(), detector.scores(PICTURES))
    (gradient,) = torch.autograd.grad(features.logits[:, 1].sum(), features.activation)
    on_grid = features.to_grid(gradient)
    assert on_grid.shape[0] == 4
    assert on_grid.shape[2:] == (grid.height, grid.width)
    assert on_grid.abs().sum() > 0


def test_the_target_layer_can_be_set(factory: str) -> None:
    detector = eager(factory, "Conv", card={"target_layer": "stem.0"})
    assert detector.facts.target_layer == "stem.0"
    assert not any("chosen automatically" in note for note in detector.facts.notes)
    assert detector.features(PICTURES).activation.shape == (4, 8, 16, 16)
    assert detector.features(PICTURES, "block").activation.shape == (4, 8, 8, 8)
    for layer, match in (("blok", "no layer 'blok'"), ("head", "does not lie on the picture")):
        with pytest.raises(ModelError, match=match) as error:
            eager(factory, "Conv", card={"target_layer": layer})
        assert error.value.mend
    with pytest.raises(ModelError, match="no layer 'blok'") as error:
        detector.features(PICTURES, "blok")
    assert "near matches: block" in error.value.mend


def test_a_relu_in_place_does_not_change_the_activation(factory: str) -> None:
    """The layer before it has negative values, and its gradient is that of a ReLU out of place."""
    found = {}
    for inplace in (True, False):
        features = eager(factory, "Conv", inplace=inplace).features(PICTURES, "block")
        (gradient,) = torch.autograd.grad(features.logits[:, 1].sum(), features.activation)
        found[inplace] = (features.activation.detach(), gradient, features.logits.detach())
    assert (found[True][0] < 0).any()
    for a, b in zip(found[True], found[False], strict=True):
        torch.testing.assert_close(a, b)
    assert (found[True][1][found[True][0] < 0] == 0).all()


def test_the_gradient_at_a_layer_by_hand(factory: str) -> None:
    """Behind the last activation stand the mean over 64 cells and a linear layer."""
    detector = eager(factory, "Conv")
    features = detector.features(PICTURES)
    (gradient,) = torch.autograd.grad(features.logits[:, 1].sum(), features.activation)
    head = detector.network.module.head.weight[1]  # type: ignore[union-attr, index]
    torch.testing.assert_close(gradient, (head / 64).view(1, -1, 1, 1).expand_as(gradient))


def test_no_hook_stays_behind(factory: str) -> None:
    detector = eager(factory, "Conv")
    detector.features(PICTURES)
    assert all(not m._forward_hooks for m in detector.network.module.modules())
    with pytest.raises(RuntimeError, match="stop"), caught(detector.network.module, "block"):
        raise RuntimeError("stop")
    assert all(not m._forward_hooks for m in detector.network.module.modules())


def test_no_layer_lies_on_the_picture(factory: str) -> None:
    facts = eager(factory, "Means").facts
    assert facts.target_layer is None
    assert facts.gives == {"gradients", "operations"}
    assert "set target_layer" in facts.limits["activations"]


@pytest.mark.parametrize(
    ("shape", "size", "known", "expected"),
    [
        ((2, 8, 7, 7), (224, 224), (), Grid("NCHW", 7, 7)),
        ((2, 7, 7, 768), (224, 224), (), Grid("NHWC", 7, 7)),
        ((2, 7, 7, 7), (224, 224), (), Grid("NCHW", 7, 7)),
        ((2, 197, 768), (224, 224), (), Grid("NLC", 14, 14, 1)),
        ((2, 201, 768), (224, 224), (), Grid("NLC", 14, 14, 5)),
        ((2, 49, 768), (224, 224), (), Grid("NLC", 7, 7, 0)),
        ((50, 2, 768), (224, 224), (), Grid("LNC", 7, 7, 1)),
        ((2, 99, 8), (112, 224), (), Grid("NLC", 7, 14, 1)),
        ((2, 73, 8), (224, 224), ((9, 8),), Grid("NLC", 9, 8, 1)),
        ((2, 77, 8), (224, 224), (), None),
        ((2, 1, 8), (224, 224), (), None),
        ((2, 8), (224, 224), (), None),
        ((3, 8, 8), (224, 224), (), None),
    ],
)
def test_grids(shape: tuple[int, ...], size: tuple[int, int], known: Any, expected: Grid | None) -> None:
    assert grid_of(shape, 2, size, known) == expected


def test_tokens_go_to_their_cells() -> None:
    tokens = torch.arange(2 * 7 * 3.0).view(2, 7, 3)
    grid = Grid("NLC", 2, 3, 1)(tokens)
    assert grid.shape == (2, 3, 2, 3)
    for row in range(2):
        for column in range(3):
            assert torch.equal(grid[:, :, row, column], tokens[:, 1 + 3 * row + column])
    assert torch.equal(Grid("LNC", 2, 3, 1)(tokens.transpose(0, 1)), grid)
    last = torch.arange(2 * 2 * 3 * 5.0).view(2, 2, 3, 5)
    assert torch.equal(Grid("NHWC", 2, 3)(last), last.permute(0, 3, 1, 2))
    assert Grid("NCHW", 2, 3)(last) is last


def test_attention_weights_are_no_candidates() -> None:
    network = seeded("ViT")
    names = [*candidates(watch(network, network, PICTURES), 4, Places((SIZE, SIZE)))]
    assert "blocks.1.attn.drop" not in names
    assert {"patch", "blocks.0", "blocks.1.norm1", "norm"} <= set(names)
    chosen = choose(network, network, PICTURES, (SIZE, SIZE))
    assert (chosen.layer, chosen.grid) == ("blocks.1.norm1", Grid("NLC", 4, 4, 1))
    assert (4, 4) in chosen.places.known


# ---- layers that run several times ------------------------------------------------------------------------------


@pytest.mark.parametrize(("inner", "layer"), [("Conv", "net.block"), ("ViT", "net.blocks.1.norm1")])
def test_a_network_that_sees_the_mirror_image_too_has_no_one_activation(factory: str, inner: str, layer: str) -> None:
    detector = eager(factory, "Flipped", inner=inner)
    torch.testing.assert_close(detector.scores(PICTURES), detector.scores(PICTURES.flip(3)))
    assert detector.facts.gives == {"gradients", "operations"}
    assert "side by side" in detector.facts.limits["activations"]
    reason = "do not feed one another" if inner == "ViT" else "no attention"
    assert reason in detector.facts.limits["attention"]
    with pytest.raises(ModelError, match="inner layers cannot be seen: the layers run several times"):
        detector.features(PICTURES)
    with pytest.raises(ModelError, match=f"layer '{layer}' runs 2 times") as error:
        eager(factory, "Flipped", inner=inner, card={"target_layer": layer})
    assert "without the augmentation" in error.value.mend


@pytest.mark.parametrize("key", ["first", "second"])
@pytest.mark.parametrize("inner", ["Conv", "ViT"])
def test_of_two_runs_the_one_that_the_verdict_comes_from_is_looked_at(factory: str, inner: str, key: str) -> None:
    once = eager(factory, inner)
    detector = eager(factory, "Twice", inner=inner, card={"output_key": key})
    assert detector.facts.target_layer == f"net.{once.facts.target_layer}"
    pictures = PICTURES if key == "first" else PICTURES.flip(3)
    found, expected = detector.features(PICTURES), once.features(pictures)
    torch.testing.assert_close(found.activation, expected.activation)
    for features in (found, expected):
        (gradient,) = torch.autograd.grad(features.logits[:, 1].sum(), features.activation)
        assert gradient.abs().sum() > 0
    edited = detector.features(PICTURES, edit=lambda activation, axis: 0 * activation)
    alike = once.features(pictures, edit=lambda activation, axis: 0 * activation)
    torch.testing.assert_close(edited.logits, alike.logits)
    assert ("attention" in once.facts.gives) == (inner == "ViT")
    assert "attention" not in detector.facts.gives


def test_of_runs_that_feed_one_another_the_last_is_looked_at_and_edited(factory: str) -> None:
    detector = eager(factory, "Shared", card={"target_layer": "act"})
    runs: list[Tensor] = []
    handle = detector.network.module.act.register_forward_hook(lambda *call: runs.append(call[2].clone()))  # type: ignore[union-attr]
    found = detector.features(PICTURES)
    handle.remove()
    torch.testing.assert_close(found.activation, runs[-1])
    edited = detector.features(PICTURES, edit=lambda activation, axis: activation * torch.arange(6.0).view(-1, 1, 1))
    torch.testing.assert_close(edited.activation, runs[-1])  # wider than the first run
    assert not torch.allclose(edited.logits, found.logits)


# ---- randomised copies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["eager", "pt2", "torchscript"])
def test_randomised_copies(tmp_path: Path, factory: str, form: str) -> None:
    network = seeded("Conv")
    if form == "eager":
        detector = eager(factory, "Conv")
    elif form == "pt2":
        detector = opened(exported(tmp_path / "m.pt2", network))
    else:
        detector = opened(scripted(tmp_path / "m.pt", network), size=SIZE)
    before, state = detector.scores(PICTURES), torch.random.get_rng_state()
    make = lambda seed, *layers: detector.randomised(layers, torch.Generator().manual_seed(seed))  # noqa: E731
    one, again, other, head = make(1, "block"), make(1, "block"), make(2, "block"), make(1, "head")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(detector.scores(PICTURES), before)
    assert torch.equal(one.scores(PICTURES), again.scores(PICTURES))
    assert len({d.facts.digest for d in (detector, one, other, head)}) == 4
    assert one.facts.digest == again.facts.digest
    for changed in (one, other, head):
        assert not torch.allclose(changed.scores(PICTURES), before)
        assert changed.facts.gives == detector.facts.gives
    old, new = detector.network.module.state_dict(), one.network.module.state_dict()
    assert torch.equal(old["stem.0.weight"], new["stem.0.weight"])
    assert not torch.equal(old["block.0.weight"], new["block.0.weight"])
    assert not any(p.requires_grad for p in one.network.module.parameters())
    with pytest.raises(ModelError, match="no layer 'nothing'"):
        make(1, "nothing")
    if form != "torchscript":
        features = one.features(PICTURES)
        torch.testing.assert_close(features.logits.detach(), one.scores(PICTURES))


def test_randomised_as_before_training(factory: str) -> None:
    """A convolution's new weights are those of ``reset_parameters``: uniform within 1 / sqrt(fan in)."""
    detector = eager(factory, "Conv")
    with torch.no_grad():
        detector.network.module.stem[0].weight.fill_(9)  # type: ignore[union-attr, index, operator]
    new = detector.randomised(["stem.0"], torch.Generator().manual_seed(0)).network.module.stem[0].weight  # type: ignore[union-attr, index]
    bound = 1 / math.sqrt(27)
    assert new.abs().max() <= bound
    assert new.abs().max() > 0.9 * bound


# ---- digests ----------------------------------------------------------------------------------------------------


def test_digests(factory: str) -> None:
    plain = eager(factory, "Conv").facts.digest
    assert plain == eager(factory, "Conv").facts.digest
    assert plain == eager(factory, "Conv", card={"target_layer": "stem"}).facts.digest  # the plan keys layers itself
    for card in ({"colour": "BGR"}, {"classes": ["fake", "real"]}, {"threshold": 0.4}):
        assert eager(factory, "Conv", card=card).facts.digest != plain
