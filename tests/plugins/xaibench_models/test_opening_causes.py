"""What is refused or suspected when a model is opened, by its cause, and that honest models of every kind open."""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization
from torch import Tensor, nn

from xaibench.api import ModelError, Runtime, build_parameters
from xaibench_models.live_model import LiveModel
from xaibench_models.onnx_model import OnnxDetector, OnnxModel, OnnxParameters
from xaibench_models.torch_detector import TorchDetector
from xaibench_models.torch_model import TorchModel, TorchParameters
from xaibench_testing.checks.models import check_gradients

SIZE = 16
PICTURES = torch.rand((4, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(3))


class Net(nn.Module):
    """A small convolutional network; ``last`` makes its output of two (or ``outputs``) logits."""

    def __init__(self, last: Callable[[Tensor], Any] = lambda z: z, outputs: int = 2, gain: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.4)
        self.head = nn.Linear(8, outputs)
        self.last, self.gain = last, gain

    def forward(self, x: Tensor) -> Any:
        x = self.drop(self.norm(self.conv(x)).relu().mean((2, 3)))
        return self.last(self.gain * self.head(x))


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., TorchDetector]:
    """Opens a module as a factory's, whose weights the factory loads."""

    def opened(module: nn.Module, **keys: Any) -> TorchDetector:
        made = types.ModuleType("xaibench_test_causes")
        made.build = lambda: module  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, made.__name__, made)
        values = {"factory": f"{made.__name__}:build", "weights": "factory", "size": SIZE, **keys}
        return TorchModel(build_parameters(TorchParameters, values, "torch")).open("", Runtime())

    return opened


def from_file(path: Path, **keys: Any) -> TorchDetector:
    return TorchModel(build_parameters(TorchParameters, {"path": str(path), **keys}, "torch")).open("", Runtime())


def saved(path: Path, module: nn.Module) -> Path:
    """A module as ``.pt2`` or TorchScript, by the suffix."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.suffix == ".pt2":
            shapes = ({0: torch.export.Dim("n")},)
            torch.export.save(torch.export.export(module, (PICTURES[:2],), dynamic_shapes=shapes), path)
        else:
            torch.jit.trace(module, PICTURES[:2], check_trace=False).save(str(path))  # type: ignore[no-untyped-call]
    return path


Node = tuple[str, Sequence[str], Sequence[str], dict[str, Any]]


def graph(
    path: Path,
    *tail: Node,
    outputs: Sequence[Any] = (("z", TensorProto.FLOAT, ("n", 2)),),
    constants: dict[str, Any] | None = None,
    card: str = "",
    gain: float = 1.0,
) -> Path:
    """An ONNX file: a convolution, the mean of its maps, two logits ``z``, and what ``tail`` makes of them."""
    g = np.random.default_rng(0)
    arrays = {
        "w": g.standard_normal((8, 3, 3, 3)).astype("f"), "h": gain * g.standard_normal((2, 8)).astype("f"),
        "b": np.zeros(2, "f"), **(constants or {}),
    }  # fmt: skip
    nodes: list[Node] = [
        ("Conv", ["x", "w"], ["c"], {"pads": [1, 1, 1, 1]}), ("Relu", ["c"], ["r"], {}),
        ("GlobalAveragePool", ["r"], ["g"], {}), ("Flatten", ["g"], ["f"], {}),
        ("Gemm", ["f", "h", "b"], ["z"], {"transB": 1}), *tail,
    ]  # fmt: skip
    made = helper.make_graph(
        [
            helper.make_node(op, i, o, name=o[0], domain="ai.onnx.ml" if op == "ZipMap" else "", **attributes)
            for op, i, o, attributes in nodes
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [o if isinstance(o, onnx.ValueInfoProto) else helper.make_tensor_value_info(*o) for o in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(made, opset_imports=opsets, ir_version=8), path)
    path.with_suffix(".toml").write_text(card)
    return path


def opened(path: Path, **keys: Any) -> OnnxDetector:
    model = OnnxModel(build_parameters(OnnxParameters, {"path": str(path), **keys}, "onnx"))
    return model.open(model.members()[0], Runtime())


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(ModelError) as error:
        call()
    return f"{error.value.what} | {error.value.mend}"


# ---- weights ----------------------------------------------------------------------------------------------------


def test_a_factory_without_weights_says_so(card: Callable[..., TorchDetector]) -> None:
    """Whoever opens it decides what to do with it: a picture is explained, a run is refused."""
    facts = card(Net(), weights=None).facts
    assert "names no weights" in facts.details["untrained"]
    assert any('weights = "factory"' in note for note in facts.notes)
    loaded = card(Net()).facts
    assert "untrained" not in loaded.details
    assert not any("names no weights" in note for note in loaded.notes)
    assert loaded.digest == facts.digest
    live = LiveModel(Net(), "live", {"size": SIZE}, "").open("live", Runtime())
    assert "untrained" not in live.facts.details


# ---- probabilities taken for logits -----------------------------------------------------------------------------


def test_sigmoids_and_probabilities_without_activation(tmp_path: Path, card: Callable[..., TorchDetector]) -> None:
    pair = Net(lambda z: z.sigmoid(), gain=8)
    for said in (
        refusal(lambda: card(pair)),
        refusal(lambda: from_file(saved(tmp_path / "pair.pt2", pair.eval()))),
        refusal(lambda: from_file(saved(tmp_path / "pair.pt", pair.eval()), size=SIZE)),
        refusal(lambda: LiveModel(pair, "live", {"size": SIZE}, "").open("live", Runtime())),
    ):
        assert "2 sigmoids" in said
        assert 'activation = "logit"' in said
    assert "leaves a sigmoid" in refusal(lambda: card(pair, activation="logit"))
    for last, left in (
        (lambda z: z.softmax(1)[:, 1], "softmax"),
        (lambda z: z[:, 0].sigmoid(), "sigmoid"),
        (lambda z: (z[:, 1].tanh() + 1) / 2, None),
    ):
        one = Net(last)
        said = refusal(lambda one=one: card(one, high="fake"))  # type: ignore[misc]
        assert 'activation = "probability"' in said
        assert card(one, high="fake", activation="probability").probabilities(PICTURES).shape == (4, 2)
        if left is None:  # nothing shows that it is none
            assert card(one, high="fake", activation="logit").facts.logit_source == "logits"
        else:
            told = refusal(lambda one=one: card(one, high="fake", activation="logit"))  # type: ignore[misc]
            assert f"leaves a {left}" in told


def test_a_bounded_output_of_a_graph(tmp_path: Path) -> None:
    tail: list[Node] = [("Tanh", ["z"], ["t"], {}), ("Abs", ["t"], ["p"], {})]
    path = graph(tmp_path / "m.onnx", *tail, outputs=[("p", TensorProto.FLOAT, ("n", 2))])
    assert "do not sum to 1" in refusal(lambda: opened(path))
    column: list[Node] = [*tail, ("Gather", ["p", "one"], ["q"], {"axis": 1})]
    path = graph(tmp_path / "n.onnx", *column, outputs=[("q", 1, ("n",))], constants={"one": np.array(1)})
    assert 'activation = "probability"' in refusal(lambda: opened(path, high="fake"))
    assert opened(path, high="fake", activation="probability").facts.logit_source == "log-odds"


@pytest.mark.parametrize("outputs", [1, 2])
def test_small_logits_of_a_linear_layer_are_believed(
    tmp_path: Path, card: Callable[..., TorchDetector], outputs: int
) -> None:
    """All of them lie in [0, 1], as those of an undertrained network may; what gives them has no bounds."""
    net = Net(outputs=outputs, gain=1e-3)
    nn.init.constant_(net.head.bias, 400.0)
    high = {"high": "fake"} if outputs == 1 else {}
    values = net.eval()(PICTURES)
    assert 0 < values.min() < values.max() < 1
    assert card(net, **high).facts.logit_source == "logits"
    assert from_file(saved(tmp_path / "m.pt2", net), **high).facts.logit_source == "logits"
    path = graph(tmp_path / "m.onnx", gain=1e-3, constants={"b": np.full(2, 0.4, "f")})
    assert opened(path).facts.logit_source == "logits"


def test_scaled_shifted_and_averaged_logits_are_believed(tmp_path: Path, card: Callable[..., TorchDetector]) -> None:
    for last in (
        lambda z: z / torch.tensor(50.0) + torch.ones_like(z) / 2,
        lambda z: (z + z.flip(1)) * 5e-3 + 0.5,
        lambda z: torch.stack([z, z[:, [1, 0]]]).mean(0).mul_(1e-3).add_(0.4),
    ):
        assert card(Net(last)).facts.logit_source == "logits"
    tail: list[Node] = [("Div", ["z", "many"], ["d"], {}), ("BatchNormalization", ["d", *"smv", "v"], ["y"], {})]
    arrays = {"many": np.float32(50), "s": np.full(2, 1e-3, "f"), "m": np.full(2, 0.4, "f"), "v": np.ones(2, "f")}
    path = graph(tmp_path / "m.onnx", *tail, outputs=[("y", 1, ("n", 2))], constants=arrays)
    assert opened(path).facts.logit_source == "logits"


def test_a_weighted_mean_of_probabilities_is_no_logit(tmp_path: Path, card: Callable[..., TorchDetector]) -> None:
    """A product gives it, as of a linear layer, but both its factors come from the picture."""
    mean = Net(lambda z: (z.softmax(1).unsqueeze(1) @ (9 * z).sigmoid().unsqueeze(2))[:, 0])
    assert 'activation = "probability"' in refusal(lambda: card(mean, high="fake"))
    tail: list[Node] = [
        ("Softmax", ["z"], ["p"], {"axis": 1}), ("Unsqueeze", ["p", "one"], ["a"], {}),
        ("Unsqueeze", ["p", "two"], ["d"], {}), ("MatMul", ["a", "d"], ["e"], {}), ("Flatten", ["e"], ["y"], {}),
    ]  # fmt: skip
    arrays = {"one": np.array([1]), "two": np.array([2])}
    path = graph(tmp_path / "m.onnx", *tail, outputs=[("y", 1, ("n", 1))], constants=arrays)
    assert 'activation = "probability"' in refusal(lambda: opened(path, high="fake"))


def test_a_column_of_a_softmax_is_no_logit_whatever_the_card_says(tmp_path: Path) -> None:
    tail: list[Node] = [("Softmax", ["z"], ["p"], {"axis": 1}), ("Gather", ["p", "one"], ["y"], {"axis": 1})]
    path = graph(tmp_path / "m.onnx", *tail, outputs=[("y", 1, ("n",))], constants={"one": np.array(1)})
    for keys in ({}, {"activation": "logit"}):
        said = refusal(lambda keys=keys: opened(path, high="fake", **keys))  # type: ignore[misc]
        assert "one column of a softmax" in said
        assert 'activation = "probability"' in said
    assert opened(path, high="fake", activation="probability").facts.logit_source == "logits"


# ---- outputs that are no scores ---------------------------------------------------------------------------------

LABELS: dict[str, list[Node]] = {
    "int64": [("ArgMax", ["z"], ["label"], {"axis": 1, "keepdims": 0})],
    "float": [("ArgMax", ["z"], ["a"], {"axis": 1}), ("Cast", ["a"], ["label"], {"to": TensorProto.FLOAT})],
    "bool": [("Greater", ["z", "b"], ["label"], {})],
    "verdict": [("Greater", ["z", "b"], ["a"], {}), ("Cast", ["a"], ["label"], {"to": TensorProto.FLOAT})],
    "round": [("Sigmoid", ["z"], ["a"], {}), ("Round", ["a"], ["label"], {})],
    "table": [
        ("ArgMax", ["z"], ["a"], {"axis": 1}), ("Gather", ["b", "a"], ["d"], {}), ("Sub", ["d", "b"], ["label"], {}),
    ],
}  # fmt: skip
NUMBERS = {"int64": TensorProto.INT64, "bool": TensorProto.BOOL}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_a_graph_are_no_scores(tmp_path: Path, kind: str) -> None:
    outputs = [("label", NUMBERS.get(kind, TensorProto.FLOAT), None), ("p", TensorProto.FLOAT, ("n", 2))]
    tail = [*LABELS[kind], ("Softmax", ["z"], ["p"], {"axis": 1})]
    path = graph(tmp_path / "m.onnx", *tail, outputs=outputs)
    for said in (refusal(lambda: opened(path)), refusal(lambda: opened(path, output="label", high="fake"))):
        assert 'output = "p"' in said
        assert '"label"' not in said
    assert opened(path, output="p").facts.classes == ("real", "fake")


def test_maps_of_labels_are_no_scores(tmp_path: Path) -> None:
    row = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    maps = helper.make_value_info("maps", helper.make_sequence_type_proto(row))
    tail: list[Node] = [
        ("Softmax", ["z"], ["p"], {"axis": 1}),
        ("ZipMap", ["p"], ["maps"], {"classlabels_strings": ["real", "fake"]}),
    ]
    said = refusal(lambda: opened(graph(tmp_path / "m.onnx", *tail, outputs=[maps]), output="maps"))
    assert "sequence" in said
    assert "'p'" in said
    both = graph(tmp_path / "n.onnx", *tail, outputs=[maps, ("p", TensorProto.FLOAT, ("n", 2))])
    assert 'output = "p"' in refusal(lambda: opened(both, output="maps"))


def test_labels_and_features_of_a_module_are_no_scores(card: Callable[..., TorchDetector]) -> None:
    parts = {
        "label": lambda z: z.argmax(1),
        "verdict": lambda z: (z[:, 1] > 0).float(),
        "rounded": lambda z: z.sigmoid().round(),
        "chosen": lambda z: torch.where(z[:, 1] > 0, torch.tensor(1.0), torch.tensor(-1.0)),
        "one hot": lambda z: nn.functional.one_hot(z.argmax(1), 2).float(),
        "maps": lambda z: z[:, :, None, None].expand(-1, -1, 4, 4),
        "features": lambda z: z.repeat(1, 256),
    }
    net = Net(lambda z: {**{k: part(z) for k, part in parts.items()}, "cls": z})
    for key in (*parts, "nothing", None):
        high = {"high": "fake"} if key in ("label", "verdict", "chosen") else {}
        said = refusal(lambda key=key, high=high: card(net, output_key=key, **high))  # type: ignore[misc]
        assert "output_key = 'cls' (scores of 2 columns)" in said
        assert f"{key!r} (scores" not in said
    for classes in ({}, {"classes": ["real", "fake"]}):
        assert "512 values" in refusal(lambda c=classes: card(net, output_key="features", **c))  # type: ignore[misc]
    assert "map of features" in refusal(lambda: card(net, output_key="maps"))
    assert card(net, output_key="cls").facts.classes == ("real", "fake")
    assert "512 values" in refusal(lambda: card(Net(lambda z: z.repeat(1, 256))))


def test_scores_that_lie_deeper_are_named(card: Callable[..., TorchDetector]) -> None:
    net = Net(lambda z: {"out": {"logits": z, "map": z[..., None].repeat(1, 1, 4)}, "loss": z.sum()})
    for key in (None, "out"):
        said = refusal(lambda key=key: card(net, output_key=key))  # type: ignore[misc]
        assert "['out']['logits']" in said
        assert "'map'" not in said


@pytest.mark.parametrize(
    ("returned", "what"),
    [(np.ones, "int64 values"), (lambda n, _: [1] * n, "int64 values"), (lambda n, _: ["fake"] * n, "a list of texts")],
)
def test_labels_of_a_callable_are_no_scores(returned: Callable[..., Any], what: str) -> None:
    model = LiveModel(lambda x: returned(len(x), int), "api", {"size": SIZE, "high": "fake"}, "")
    assert what in refusal(lambda: model.open("api", Runtime()))


def test_an_embedding_of_a_graph_is_no_score(tmp_path: Path) -> None:
    tail: list[Node] = [("Tile", ["z", "many"], ["e"], {})]
    outputs = [("e", TensorProto.FLOAT, None), ("z", TensorProto.FLOAT, ("n", 2))]
    path = graph(tmp_path / "m.onnx", *tail, outputs=outputs, constants={"many": np.array([1, 256])})
    said = refusal(lambda: opened(path, output="e"))
    assert "512 values" in said
    assert 'output = "z"' in said
    outputs = [("r", TensorProto.FLOAT, ("n", 8, SIZE, SIZE)), ("z", TensorProto.FLOAT, ("n", 2))]
    for shape in (outputs[0][2], None):
        outputs[0] = ("r", TensorProto.FLOAT, shape)
        said = refusal(lambda: opened(graph(tmp_path / "m.onnx", outputs=outputs), output="r"))
        assert "map of features" in said
        assert 'output = "z"' in said


# ---- half precision ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_types(tmp_path: Path, card: Callable[..., TorchDetector], number: torch.dtype) -> None:
    exact = card(Net()).probabilities(PICTURES)
    half = number != torch.float64
    name = {torch.float16: "fp16", torch.bfloat16: "bf16"}.get(number, "fp32")
    detectors = [card(Net().to(number)), LiveModel(Net().to(number), "live", {"size": SIZE}, "").open("", Runtime())]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(Net().to(number).eval(), PICTURES[:2].to(number)).save(str(tmp_path / "m.pt"))  # type: ignore[no-untyped-call]
    detectors.append(from_file(tmp_path / "m.pt", size=SIZE))
    for detector in detectors:
        seen = detector.probabilities(PICTURES)
        assert seen.dtype == torch.float32
        torch.testing.assert_close(seen, exact, atol=1e-2 if half else 1e-6, rtol=0)
        assert detector.facts.precision == name
        assert any(".float()" in note for note in detector.facts.notes) == half
        assert (detector.facts.quantum > 0) == half
        assert (detector.full_precision() is detector) != half  # type: ignore[attr-defined]
    wide = detectors[0].full_precision()  # type: ignore[attr-defined]
    assert (wide.facts.precision, wide.facts.quantum) == ("fp32", 0.0)
    assert detectors[0].facts.digest != card(Net()).facts.digest


def test_a_type_that_does_not_run_names_the_mend(card: Callable[..., TorchDetector]) -> None:
    class Mixed(Net):
        def forward(self, x: Tensor) -> Any:
            return self.head(self.conv(x).mean((2, 3)))

    net = Mixed()
    net.head.half()
    said = refusal(lambda: card(net))
    assert "float16" in said
    assert ".float()" in said


def test_a_graph_in_bfloat16_that_does_not_run_names_float32(tmp_path: Path) -> None:
    """ONNX Runtime has no convolution in bfloat16 for a CPU."""
    path = graph(tmp_path / "m.onnx")
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        tensor.CopyFrom(helper.make_tensor(tensor.name, TensorProto.BFLOAT16, values.shape, values.ravel()))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.BFLOAT16
    onnx.save(model, path)
    assert "float32" in refusal(lambda: opened(path))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    model.graph.node[0].input[0] = "x16"
    model.graph.node.insert(0, helper.make_node("Cast", ["x"], ["x16"], to=TensorProto.BFLOAT16))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.BFLOAT16
    onnx.save(model, path)
    said = refusal(lambda: opened(path))
    assert "no bfloat16 form" in said
    assert "float32" in said


# ---- chance and company -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".pt2", ".pt"])
def test_files_of_training_mode(tmp_path: Path, suffix: str) -> None:
    keys = {} if suffix == ".pt2" else {"size": SIZE}
    suspects = from_file(saved(tmp_path / f"m{suffix}", Net().train()), **keys).facts.suspects
    assert "draws at random" in suspects["chance"]
    assert "statistics of the batch" in suspects["company"]
    if suffix == ".pt2":
        assert "'drop'" in suspects["chance"]
        assert "'norm'" in suspects["company"]
    alone = from_file(tmp_path / f"m{suffix}", batch=1, **keys).facts.suspects
    assert set(alone) == {"chance"}
    quiet = from_file(saved(tmp_path / f"n{suffix}", Net().eval()), **keys)
    assert quiet.facts.suspects == {}


def test_modules_that_draw_or_mix_in_evaluation_mode(card: Callable[..., TorchDetector]) -> None:
    class Odd(Net):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.InstanceNorm2d(8)
            self.mixing = nn.BatchNorm2d(8, track_running_stats=False)

        def forward(self, x: Tensor) -> Any:
            x = self.mixing(self.inner(self.conv(x))).mean((2, 3))
            return self.head(nn.functional.dropout(x, 0.3, training=True))

    detector = card(Odd().train(), stochastic=True)
    assert detector.facts.stochastic
    assert "draws at random (bernoulli_)" in detector.facts.suspects["chance"]
    assert "'mixing'" in detector.facts.suspects["company"]
    assert "more do" not in detector.facts.suspects["company"]  # an InstanceNorm does not mix
    assert card(Net().train()).facts.suspects == {}  # put into evaluation mode


def test_dynamic_quantisation_of_a_module(tmp_path: Path, card: Callable[..., TorchDetector]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.ao.quantization.quantize_dynamic(Net().eval(), {nn.Linear}, dtype=torch.qint8)
    assert "'head' is quantised dynamically" in card(quantised).facts.suspects["company"]
    assert card(quantised, batch={"fixed": 1}).facts.suspects == {}


def test_suspects_of_a_graph(tmp_path: Path) -> None:
    tail: list[Node] = [
        ("Dropout", ["z", "ratio", "train"], ["d"], {}),
        ("RandomNormalLike", ["d"], ["noise"], {"scale": 0.1}),
        ("Add", ["d", "noise"], ["e"], {}),
        ("DynamicQuantizeLinear", ["e"], ["q", "s", "zero"], {}),
        ("DequantizeLinear", ["q", "s", "zero"], ["y"], {}),
    ]
    outputs = [("y", TensorProto.FLOAT, ("n", 2))]
    constants = {"ratio": np.float32(0.5), "train": np.array(True)}
    facts = opened(graph(tmp_path / "m.onnx", *tail, outputs=outputs, constants=constants)).facts
    assert facts.suspects == {
        "chance": "node 'd' (Dropout) is in training mode (1 more do)",
        "company": "node 'q' (DynamicQuantizeLinear) quantises dynamically, with one scale for all pictures of a batch",
    }
    fixed = opened(tmp_path / "m.onnx", batch={"fixed": 1}, stochastic=True, remote=True).facts
    assert set(fixed.suspects) == {"chance"}
    assert (fixed.stochastic, fixed.remote) == (True, True)
    path = graph(
        tmp_path / "n.onnx", *tail[:1], outputs=[("d", 1, ("n", 2))], constants=constants | {"train": np.array(False)}
    )
    assert opened(path).facts.suspects == {}


def test_the_new_keys_leave_digests_as_they_are(tmp_path: Path, card: Callable[..., TorchDetector]) -> None:
    path = graph(tmp_path / "m.onnx")
    assert opened(path, stochastic=False, remote=False).facts.digest == opened(path).facts.digest
    assert card(Net(), stochastic=True).facts.digest == card(Net()).facts.digest


# ---- honest models ----------------------------------------------------------------------------------------------


def static_int8() -> nn.Module:
    net = nn.Sequential(
        torch.ao.quantization.QuantStub(), nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 2), torch.ao.quantization.DeQuantStub(),
    ).eval()  # fmt: skip
    net.qconfig = torch.ao.quantization.default_qconfig  # type: ignore[assignment]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.ao.quantization.prepare(net, inplace=True)
        net(PICTURES)
        torch.ao.quantization.convert(net, inplace=True)
    return net


class Tokens(nn.Module):
    """A transformer over patches, read off a class token."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        return self.head(self.block(torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1))[:, 0])


class Windows(nn.Module):
    """Attention within shifted windows of 2x2 tokens that lie channels last, as in a Swin transformer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.norm = nn.LayerNorm(8)
        self.qkv = nn.Linear(8, 24)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).permute(0, 2, 3, 1)
        n, height, width, c = tokens.shape
        cut = torch.roll(self.norm(tokens), (-1, -1), (1, 2)).view(n, height // 2, 2, width // 2, 2, c)
        q, k, v = self.qkv(cut.permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, c)).view(-1, 4, 3, c).unbind(2)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        joined = mixed.view(n, height // 2, width // 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(n, height, width, c)
        return self.head((tokens + torch.roll(joined, (1, 1), (1, 2))).mean((1, 2)))


HONEST: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "two logits": (Net, {}),
    "one logit": (lambda: Net(outputs=1), {"high": "fake"}),
    "one logit a row": (lambda: Net(lambda z: z[:, 0], outputs=1), {"high": "real"}),
    "five classes": (lambda: Net(outputs=5), {"classes": ["real", "a", "b", "c", "d"]}),
    "saturated logits": (lambda: Net(gain=1e4), {}),
    "saturated sigmoid": (
        lambda: Net(lambda z: (z * 1e4).sigmoid(), outputs=1),
        {"high": "fake", "activation": "probability"},
    ),
    "softmax": (lambda: Net(lambda z: z.softmax(1)), {"activation": "softmax"}),
    "dict": (lambda: Net(lambda z: {"cls": z, "features": z.repeat(1, 64)}), {"output_key": "cls"}),
    "tuple": (lambda: Net(lambda z: (z.argmax(1), z)), {"output_key": 1}),
    "fixed batch": (Net, {"batch": {"fixed": 1}}),
    "static int8": (static_int8, {}),
    "transformer": (Tokens, {}),
    "transformer in bfloat16": (lambda: Tokens().bfloat16(), {}),
    "windows": (Windows, {}),
    "windows in float16": (lambda: Windows().half(), {}),
    "stochastic": (lambda: Net(lambda z: z + torch.randn_like(z)), {"stochastic": True}),
    "remote": (Net, {"remote": True}),
}


@pytest.mark.parametrize("kind", HONEST)
def test_honest_models_open(card: Callable[..., TorchDetector], kind: str) -> None:
    build, keys = HONEST[kind]
    detector = card(build(), **keys)
    probabilities = detector.probabilities(PICTURES)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(4))
    if detector.facts.gives >= {"gradients"} and kind != "stochastic":
        check_gradients(detector)
    assert detector.facts.precision == ("bf16" if "bfloat16" in kind else "fp16" if "float16" in kind else "fp32")
    assert detector.facts.suspects.keys() == ({"chance"} if kind == "stochastic" else set())


@pytest.mark.parametrize("form", ["pt", "pt2"])
@pytest.mark.parametrize("network", [Net, Tokens, Windows])
def test_honest_files_open(tmp_path: Path, form: str, network: Callable[[], nn.Module]) -> None:
    detector = from_file(saved(tmp_path / f"m.{form}", network().eval()), **({"size": SIZE} if form == "pt" else {}))
    assert torch.isfinite(detector.scores(PICTURES)).all()
    assert detector.facts.suspects == {}


class OwnPreprocessing(Net):
    """Pictures ``(N, H, W, 3)``; its constants are made as the code of a detector does it, in each call."""

    def forward(self, x: Tensor) -> Tensor:
        x = (x - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
        return super().forward(x.permute(0, 3, 1, 2))


def test_an_exported_file_with_channels_last_and_constants(tmp_path: Path) -> None:
    network, shapes = OwnPreprocessing().eval(), ({0: torch.export.Dim("n")},)
    program = torch.export.export(network, (torch.rand(2, SIZE, 12, 3),), dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "m.pt2")
    detector = from_file(tmp_path / "m.pt2")
    assert detector.facts.input_size == (SIZE, 12)
    pictures = PICTURES[..., :12]
    torch.testing.assert_close(detector.scores(pictures), network(pictures.permute(0, 2, 3, 1)).detach())
    assert from_file(tmp_path / "m.pt2", layout="NHWC").facts.input_size == (SIZE, 12)
    with pytest.raises(ModelError, match="the card says layout = NCHW, the file NHWC"):
        from_file(tmp_path / "m.pt2", layout="NCHW")
    assert all("layout" not in variant.keys for variant in detector.variants())


class Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
    """The pictures, once."""

    def __init__(self) -> None:
        self.left = [{"x": PICTURES.numpy()}]

    def get_next(self) -> dict[str, Any] | None:
        return self.left.pop() if self.left else None


@pytest.mark.parametrize("kind", ["dynamic int8", "static int8", "static int8 operators", "float16"])
def test_honest_graphs_of_few_bits_open(tmp_path: Path, kind: str) -> None:
    source, path = graph(tmp_path / "source.onnx"), tmp_path / "m.onnx"
    exact, keys = opened(source).probabilities(PICTURES), dict[str, Any]()
    if kind == "dynamic int8":
        quantization.quantize_dynamic(source, path, weight_type=quantization.QuantType.QUInt8)
        assert "quantises dynamically" in opened(path).facts.suspects["company"]
        keys = {"batch": {"fixed": 1}}
    elif kind == "float16":
        model = onnx.load(source)
        for tensor in model.graph.initializer:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
        onnx.save(model, path)
    else:
        form = quantization.QuantFormat.QOperator if "operators" in kind else quantization.QuantFormat.QDQ
        quantization.quantize_static(source, path, Calibration(), quant_format=form)
    detector = opened(path, **keys)
    assert detector.facts.suspects == {}
    assert detector.facts.precision == ("fp16" if kind == "float16" else "fp32")
    if kind == "float16":
        check_gradients(detector)
    torch.testing.assert_close(detector.probabilities(PICTURES), exact, atol=0.1, rtol=0)


def test_a_callable_that_saturates_opens() -> None:
    model = LiveModel(
        lambda x: np.ones(len(x), "f"), "api", {"size": SIZE, "high": "fake", "activation": "probability"}, ""
    )
    assert float(model.open("api", Runtime()).probabilities(PICTURES)[0, 1]) == 1.0
