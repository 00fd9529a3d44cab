"""Model files that would run, read or write something are refused before any of it happens, and plain ones pass."""

from __future__ import annotations

import importlib.util
import io
import json
import pickle
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from xaibench.api import ModelError
from xaibench_models.onnx_file import read_file
from xaibench_models.torch_expressions import is_arithmetic, is_guard
from xaibench_models.torch_loading import load_file
from xaibench_models.torch_operators import allowed_operators, is_allowed_target

Edit = Callable[[dict[str, Any]], None]


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "good.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            Small().eval(), (torch.rand(2, 3, 12, 12),), dynamic_shapes=({0: torch.export.Dim("n")},)
        )
        torch.export.save(program, path)
    return path


def changed(source: Path, target: Path, edits: dict[str, bytes | Edit], extra: dict[str, bytes] | None = None) -> Path:
    """The archive with some members edited, by the end of their name, and others added."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        top = old.namelist()[0].partition("/")[0]
        for name in old.namelist():
            edit, content = next((e for end, e in edits.items() if name.endswith(end)), None), old.read(name)
            if callable(edit):
                tree = json.loads(content)
                edit(tree)
                content = json.dumps(tree).encode()
            new.writestr(name, content if edit is None or callable(edit) else edit)
        for name, content in (extra or {}).items():
            new.writestr(f"{top}/{name}", content)
    return target


def graph_of(tree: dict[str, Any]) -> dict[str, Any]:
    graph: dict[str, Any] = tree["graph_module"]["graph"]
    return graph


# ---- torch.export -----------------------------------------------------------------------------------------------


def test_what_torch_writes_loads(exported: Path) -> None:
    module = load_file(exported).module
    assert module(torch.rand(5, 3, 12, 12)).shape == (5, 2)


CODE = "__import__('os').abort()"


def _size(tree: dict[str, Any]) -> None:
    graph_of(tree)["tensor_values"]["x"]["sizes"][2] = {"as_expr": {"expr_str": CODE, "hint": {"as_int": 12}}}


def _guard(tree: dict[str, Any]) -> None:
    tree["guards_code"] = [f"L['x'].size()[0] >= {CODE}"]


def _node_name(tree: dict[str, Any]) -> None:
    graph_of(tree)["nodes"][0]["name"] = f"conv; {CODE}"


def _input_name(tree: dict[str, Any]) -> None:
    graph_of(tree)["inputs"][-1]["as_tensor"]["name"] = f"x={CODE}"


def _weight_name(tree: dict[str, Any]) -> None:
    tree["graph_module"]["signature"]["input_specs"][0]["parameter"]["parameter_name"] = f'conv") or {CODE} or ("'


def _enumeration(tree: dict[str, Any]) -> None:
    context = json.dumps({"__enum__": True, "fqn": "antigravity:X", "name": "Y"})
    leaf = {"type": "builtins.dict", "context": context, "children_spec": []}
    tree["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = json.dumps([1, leaf])


def _default_factory(tree: dict[str, Any]) -> None:
    context = json.dumps({"default_factory_module": "os", "default_factory_name": "abort", "dict_context": []})
    leaf = {"type": "collections.defaultdict", "context": context, "children_spec": []}
    tree["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps([1, leaf])


def _range(tree: dict[str, Any]) -> None:
    tree["range_constraints"][CODE] = {"min_val": 1, "max_val": 2}


def _custom_object(tree: dict[str, Any]) -> None:
    graph_of(tree)["custom_obj_values"]["x"] = {"name": "x", "class_fqn": "__torch__.torch.classes.a.B"}


def _huge(tree: dict[str, Any]) -> None:
    graph_of(tree)["tensor_values"]["x"]["sizes"][2] = {"as_int": 1 << 70}


def _module_path(tree: dict[str, Any]) -> None:
    graph_of(tree)["nodes"][0]["metadata"]["nn_module_stack"] = f'L__self__,"{CODE}",torch.nn.Module'


@pytest.mark.parametrize(("edit", "match"), [
    (_size, "expression"), (_guard, "guard"), (_node_name, "name"), (_input_name, "name"), (_weight_name, "parameter_name"),
    (_enumeration, "tree"), (_default_factory, "tree"), (_range, "name"), (_custom_object, "custom object"),
    (_huge, "size"), (_module_path, "name"),
])  # fmt: skip
def test_text_that_torch_would_evaluate_is_refused(exported: Path, tmp_path: Path, edit: Edit, match: str) -> None:
    bad = changed(exported, tmp_path / "bad.pt2", {"model.json": edit})
    with pytest.raises(ModelError, match=match) as error:
        load_file(bad)
    assert error.value.mend


@pytest.mark.parametrize("target", [
    "torch.ops.load_library", "torch.ops.aten.from_file.default", "torch.ops.aten.__class__.__init__", "_operator.call",
    "_operator.attrgetter", "_operator.methodcaller", "torch.load", "torch.sym_int.__globals__", "math.__loader__",
    "torch.hub.load", "#executorch:x", "torch.ops.c10d.send.default", "torch.ops.aten.relu.__call__", "os.system",
])  # fmt: skip
def test_a_graph_calls_no_other_function(exported: Path, tmp_path: Path, target: str) -> None:
    def call(tree: dict[str, Any]) -> None:
        graph_of(tree)["nodes"][1]["target"] = target

    def hand_over(tree: dict[str, Any]) -> None:
        graph_of(tree)["nodes"][1]["inputs"][0]["arg"] = {"as_operator": target}

    assert not is_allowed_target(target)
    for edit in (call, hand_over):
        with pytest.raises(ModelError, match="calls"):
            load_file(changed(exported, tmp_path / "bad.pt2", {"model.json": edit}))


class Bomb:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.proof,)


def _pickled(key: str, value: object) -> Edit:
    def edit(tree: dict[str, Any]) -> None:
        next(iter(tree["config"].values()))[key] = value

    return edit


def test_members_that_torch_would_unpickle_or_open_are_refused(exported: Path, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    bomb = pickle.dumps(Bomb(proof))
    weights = "model_weights_config.json"
    files = [
        changed(exported, tmp_path / "a.pt2", {weights: _pickled("use_pickle", True), "weights/weight_0": bomb}),
        changed(
            exported, tmp_path / "b.pt2", {weights: _pickled("path_name", "OPAQUE_OBJ_0")}, {"data/weights/x": bomb}
        ),
        changed(exported, tmp_path / "c.pt2", {}, {"data/constants/Custom_Obj_0": bomb}),
        changed(exported, tmp_path / "d.pt2", {}, {"data/aotinductor/model/model.so": b"\x7fELF"}),
        changed(exported, tmp_path / "e.pt2", {}, {"models/Model.json": b"{}"}),
        changed(exported, tmp_path / "f.pt2", {"sample_inputs/model.pt": bomb}),
    ]
    for file in files:
        with pytest.raises(ModelError):
            load_file(file)
    assert not proof.exists()


def test_bombs_are_refused(exported: Path, tmp_path: Path) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    with zipfile.ZipFile(tmp_path / "zip.pt2", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/models/model.json", b" " * (200 << 20))
    files = [
        tmp_path / "zip.pt2",
        changed(exported, tmp_path / "deep.pt2", {"model.json": deep}),
        changed(exported, tmp_path / "digits.pt2", {"model.json": b'{"a": ' + b"9" * 100_000 + b"}"}),
        changed(exported, tmp_path / "list.pt2", {"model.json": b"[]"}),
        changed(exported, tmp_path / "empty.pt2", {"weights/weight_0": b""}),
    ]
    for file in files:
        with pytest.raises(ModelError):
            load_file(file)


@pytest.mark.parametrize("text", [
    "s0", "s0 + 2*s1 // 3", "Symbol('s77', positive=True, integer=True)", "Max(Integer(1), FloorDiv(Symbol('s0'), 2))",
    "Mul(Float('0.5', precision=53), Symbol('s0'))", "s0**2", "Pow(Symbol('s0'), Integer(-1))",
])  # fmt: skip
def test_sizes_are_arithmetic(text: str) -> None:
    assert is_arithmetic(text)


@pytest.mark.parametrize("text", [
    CODE, "open('x')", "s0.__class__", "(lambda: 1)()", "[s0][0]", "Symbol('a', __import__('os'))", "9**9**9**9",
    "Pow(Pow(Pow(Pow(2, 16), 16), 16), 16)", "-" * 30_000 + "1", "(" * 5_000 + "1" + ")" * 5_000, "Symbol('a b')",
    "f'{s0}'", "s0 if s1 else s2", "x := 1", str(1 << 80), "Symbol(s0)", "1 + eval('2')", "", "S.x", "Lambda(x, x)",
])  # fmt: skip
def test_everything_else_is_none(text: str) -> None:
    assert not is_arithmetic(text) and not is_guard(text)


def test_guards_compare_sizes() -> None:
    assert is_guard("min(L['x'].size()[2] // 4, 3) != torch.sym_float(L['x'].size()[3])")
    assert not is_guard("L['x'].numpy()[0] > 1") and not is_guard("L['x'].size(__import__('os'))[0] > 1")


# ---- TorchScript ------------------------------------------------------------------------------------------------

SOURCE = """
import torch
from torch import nn
from typing import List
FILE = {file!r}

def free(x: torch.Tensor):
    torch.save(x, {file!r})
    return x

class Inner(nn.Module):
    def forward(self, x: torch.Tensor):
        if x.sum() > 1e9:
            torch.save(x, {file!r})
        return x

class Writes(nn.Module):
    def forward(self, x: torch.Tensor):
        torch.save(x, {file!r})
        return x.mean((2, 3))[:, :2]

class Calls(nn.Module):
    def forward(self, x: torch.Tensor):
        return free(x).mean((2, 3))[:, :2]

class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList([nn.Identity(), Inner()])
    def forward(self, x: torch.Tensor):
        for part in self.parts:
            x = part(x)
        return x.mean((2, 3))[:, :2]

class Forks(nn.Module):
    def forward(self, x: torch.Tensor):
        return torch.jit.wait(torch.jit.fork(free, x)).mean((2, 3))[:, :2]

class Reads(nn.Module):
    def forward(self, x: torch.Tensor):
        return x.mean((2, 3))[:, :2] + torch.from_file({file!r}, False, 1)

class Prints(nn.Module):
    def forward(self, x: torch.Tensor):
        print(x.shape)
        return x.mean((2, 3))[:, :2]

class Seeds(nn.Module):
    def forward(self, x: torch.Tensor):
        torch.manual_seed(0)
        return x.mean((2, 3))[:, :2]

class Sets(nn.Module):
    def __init__(self):
        super().__init__()
        self.k = 1
    def forward(self, x: torch.Tensor):
        return x.mean((2, 3))[:, :2] * self.k
    @torch.jit.export
    def __getstate__(self):
        return (self.k, self.training)
    @torch.jit.export
    def __setstate__(self, state: tuple[int, bool]):
        torch.save(torch.zeros(1), {file!r})
        self.k = state[0]
        self.training = state[1]
"""


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Any]:
    """A module with scriptable classes, each of which reaches out, to the file ``written``."""
    path = tmp_path / "hostile_programs.py"
    path.write_text(SOURCE.format(file=str(tmp_path / "written")))
    spec = importlib.util.spec_from_file_location("hostile_programs", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["hostile_programs"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["hostile_programs"]


def saved(path: Path, module: nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(module.eval()), path)
    return path


@pytest.mark.parametrize(("name", "operator"), [
    ("Writes", "aten::save"), ("Calls", "aten::save"), ("Nested", "aten::save"), ("Forks", "aten::save"),
    ("Sets", "aten::save"), ("Reads", "aten::from_file"), ("Prints", "prim::Print"), ("Seeds", "aten::manual_seed"),
])  # fmt: skip
def test_operators_that_reach_out_are_named_and_not_run(
    programs: Any, tmp_path: Path, name: str, operator: str
) -> None:
    with pytest.raises(ModelError, match=operator):
        load_file(saved(tmp_path / "m.pt", getattr(programs, name)()))
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize(("line", "found"), [
    ("_9 = (x).save('w')", "aten::save"), ("_9 = getattr(x, 'save')", "aten::save"), ("_8 = torch", "'torch'"),
    ("_9 = getattr(x, 's\\141ve')", "aten::save"), ("_9 = ops.aten.save(x, 'w')", "aten::save"), ("_9 = ops", "'ops'"),
    ("_9 = ops.my_library.run(x)", "my_library::run"), ("_9 = __torch__.torch.classes.dist_rpc.WorkerInfo(x)", "dist_rpc"),
    ("_9 = __torch__.torch", "__torch__"), ("_9 = x  # type: ignore", "written"), ("_9 = r'x'", "written"),
    ("_9 = x; y = x", "written"), ("_9 = '''x'''", "written"), ("_9 = \\\n x", "written"), ("_9 =\tx", "written"),
    ("_9 = print", "prim::Print"), ("_9 = " + "(" * 900 + "x" + ")" * 900, "written"),
])  # fmt: skip
def test_source_is_read_before_it_is_compiled(tmp_path: Path, line: str, found: str) -> None:
    good = saved(tmp_path / "good.pt", Small())
    with zipfile.ZipFile(good) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".py") and b"class Small" in archive.read(n))
        text = archive.read(name).decode().replace("    head = self.head\n", f"    {line}\n    head = self.head\n", 1)
    assert line in text
    with pytest.raises(ModelError, match=found):
        load_file(changed(good, tmp_path / "bad.pt", {name: text.encode()}))


def test_classes_of_other_libraries_are_refused(tmp_path: Path) -> None:
    good = saved(tmp_path / "good.pt", Small())
    data = b"\x80\x02c__torch__.torch.classes.xnnpack\nConv2dOpContext\n)\x81."
    with pytest.raises(ModelError, match="xnnpack"):
        load_file(changed(good, tmp_path / "bad.pt", {"/data.pkl": data}))


def test_plain_and_quantised_programs_pass(tmp_path: Path) -> None:
    x = torch.rand(2, 3, 12, 12)
    small = Small().eval()
    assert torch.equal(load_file(saved(tmp_path / "a.pt", small)).module(x), small(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.ao.quantization.quantize_dynamic(
            nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 2)), {nn.Linear}, dtype=torch.qint8
        )
    assert torch.equal(load_file(saved(tmp_path / "b.pt", quantised)).module(x), quantised(x))


def test_no_operator_of_the_list_takes_a_path_or_reaches_out() -> None:
    never = [
        "save",
        "from_file",
        "_print",
        "manual_seed",
        "seed",
        "set_data",
        "record_stream",
        "to_here",
        "Generator",
        "backward",
    ]
    assert not {f"aten::{name}" for name in never} & allowed_operators()
    assert not {"prim::PythonOp", "prim::Print", "prim::rpc_async", "prim::BailOut"} & allowed_operators()
    named = [s for s in torch._C._jit_get_all_schemas() if s.name in allowed_operators()]
    assert len(named) > 1000
    texts = {(s.name, a.name) for s in named for a in s.arguments if a.type.annotation_str == "str"}
    assert len(texts) > 20 and not {pair for pair in texts if "file" in pair[1] or "path" in pair[1]}


# ---- ONNX -------------------------------------------------------------------------------------------------------


def onnx_file(path: Path, nodes: list[onnx.NodeProto], **more: Any) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    path.write_bytes(helper.make_model(helper.make_graph(nodes, "g", [x], [y]), **more).SerializeToString())
    return path


def external(name: str) -> onnx.TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=name)
    return tensor


def test_onnx_weights_stay_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"0000")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    for name in ("../secret", str(tmp_path / "secret"), "link", "a/../../secret", "..\\secret"):
        constant = helper.make_node("Constant", [], ["c"], value=external(name))
        function = helper.make_function("own", "F", ["a"], ["b"], [constant, helper.make_node("Add", ["a", "c"], ["b"])],
                                        [helper.make_opsetid("", 17)])  # fmt: skip
        for nodes, functions in (([constant, helper.make_node("Add", ["x", "c"], ["y"])], []),
                                 ([helper.make_node("F", ["x"], ["y"], domain="own")], [function])):  # fmt: skip
            with pytest.raises(ModelError, match="outside its folder"):
                read_file(onnx_file(folder / "m.onnx", nodes, functions=functions))


def test_onnx_calls_no_outside_code_and_no_endless_function(tmp_path: Path) -> None:
    for op, domain in (("EPContext", "com.microsoft"), ("PyOp", "ai.onnx.contrib"), ("ATen", "org.pytorch.aten")):
        with pytest.raises(ModelError, match=f"{domain}::{op}"):
            read_file(onnx_file(tmp_path / "m.onnx", [helper.make_node(op, ["x"], ["y"], domain=domain)]))
    opset = [helper.make_opsetid("own", 1)]
    steps = [
        helper.make_function("own", f"F{i}", ["a"], ["c"], [
            helper.make_node(f"F{i + 1}", ["a"], ["b"], domain="own"),
            helper.make_node(f"F{i + 1}", ["b"], ["c"], domain="own"),
        ], opset)
        for i in range(40)
    ]  # fmt: skip
    first = [helper.make_node("F0", ["x"], ["y"], domain="own")]
    with pytest.raises(ModelError, match="write out to"):
        read_file(onnx_file(tmp_path / "m.onnx", first, functions=steps))
    loop = helper.make_function("own", "F0", ["a"], ["b"], [helper.make_node("F0", ["a"], ["b"], domain="own")], opset)
    with pytest.raises(ModelError, match="calls itself"):
        read_file(onnx_file(tmp_path / "m.onnx", first, functions=[loop]))


def test_weights_of_a_checkpoint_stay_tensors(tmp_path: Path) -> None:
    from xaibench_operations import read_tensors

    buffer = io.BytesIO()
    torch.save({"a": torch.ones(2)}, buffer)
    content = bytearray(buffer.getvalue())
    proof = tmp_path / "ran"
    (tmp_path / "bomb.pt").write_bytes(pickle.dumps(Bomb(proof)))
    (tmp_path / "cut.pt").write_bytes(content[: len(content) // 2])
    for name in ("bomb.pt", "cut.pt"):
        with pytest.raises(ModelError):
            read_tensors(tmp_path / name)
    assert not proof.exists()
