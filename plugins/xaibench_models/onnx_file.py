"""What an ONNX file says of itself, read without running it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto

from xaibench.api import ModelError
from xaibench_models.card import Layout
from xaibench_models.interface import MOST_SCORES, FileInput
from xaibench_models.onnx_contents import check_contents
from xaibench_models.onnx_evidence import FLOATS, Wiring, score_outputs
from xaibench_models.preprocess import Number

Shape = tuple[int | None, ...]

_NUMBERS: Mapping[int, Number] = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.DOUBLE: "float64",
    TensorProto.UINT8: "uint8",
}
_KINDS = {"sequence_type": "a sequence", "map_type": "a map of names to numbers", "optional_type": "an optional value"}


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """A graph input or output. ``shape`` holds None for a free axis; ``number`` is the ONNX element type."""

    name: str
    shape: Shape
    number: int


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A parsed file, its weights in external files left there. ``digest`` covers the file and the external files.

    ``changed``: the model is no longer what lies at ``path``.
    """

    path: Path
    model: onnx.ModelProto
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    metadata: Mapping[str, str]
    digest: str
    changed: bool = False


def read_file(path: Path) -> OnnxFile:
    """Parse an ONNX file. Raises :class:`ModelError` where it is missing, corrupt, lacks an external file, or
    holds what no detector needs (:mod:`xaibench_models.onnx_contents`)."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file", "give the path of an .onnx file") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}", "give a readable .onnx file") from None
    try:
        model = onnx.ModelProto.FromString(content)
    except Exception:  # protobuf's DecodeError, of a package that only onnx knows
        raise _corrupt(path) from None
    if not model.graph.node or not model.graph.output:
        raise _corrupt(path)
    constants = {t.name for t in model.graph.initializer} | {t.values.name for t in model.graph.sparse_initializer}
    return OnnxFile(
        path=path,
        model=model,
        inputs=tuple(_facts(v) for v in model.graph.input if v.name not in constants),
        outputs=tuple(_facts(v) for v in model.graph.output),
        metadata={entry.key: entry.value for entry in model.metadata_props},
        digest=_digest(content, check_contents(path, model)),
    )


def _corrupt(path: Path) -> ModelError:
    return ModelError(f"{path}: is no ONNX model, or is cut off", "export or copy it again; onnx.checker says more")


def _facts(value: onnx.ValueInfoProto) -> TensorFacts:
    tensor = value.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in tensor.shape.dim)
    return TensorFacts(value.name, shape, tensor.elem_type)


def _digest(content: bytes, external: list[Path]) -> str:
    digest = hashlib.sha256(content)
    for path in external:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


# ---- input ------------------------------------------------------------------------------------------------------


def choose_input(file: OnnxFile, name: str | None) -> TensorFacts:
    """The picture input. Raises :class:`ModelError` for an unknown name, a second input, or what is no picture."""
    names = ", ".join(i.name for i in file.inputs)
    if name is not None and name not in {i.name for i in file.inputs}:
        raise ModelError(f"the file has no input '{name}'", f"its inputs are {names}")
    if len(file.inputs) != 1:
        raise ModelError(
            f"the file has {len(file.inputs)} inputs ({names}), and only pictures can be fed",
            "export the model with the picture as its one input, the others as constants",
        )
    found = file.inputs[0]
    if found.number not in _NUMBERS:
        kind = TensorProto.DataType.Name(found.number)
        raise ModelError(
            f"input '{found.name}' takes {kind}",
            f"accepted: {', '.join(_NUMBERS.values())}; export it in float32 (model.float())",
        )
    if len(found.shape) != 4:
        raise ModelError(f"input '{found.name}' has {len(found.shape)} axes, not 4", "give a model of single pictures")
    return found


def input_facts(tensor: TensorFacts, layout: Layout | None) -> FileInput:
    """What the input's shape says. ``layout`` is the card's word; it decides where the shape allows both.

    Raises :class:`ModelError` where no axis can hold three channels.
    """
    batch, first, height, last = tensor.shape
    fits = {"NCHW": first in (3, None), "NHWC": last in (3, None)}
    sure = {"NCHW": first == 3, "NHWC": last == 3}
    if not any(fits.values()):
        raise ModelError(
            f"input '{tensor.name}' of shape {_show(tensor.shape)} has no axis of 3 channels", "pictures are RGB"
        )
    if layout is not None and not fits[layout]:
        raise ModelError(
            f"the card says layout = {layout}, but input '{tensor.name}' has shape {_show(tensor.shape)}",
            "mend or take off the card key 'layout'",
        )
    said: Layout | None = layout
    if said is None and sure["NCHW"] != sure["NHWC"]:
        said = "NCHW" if sure["NCHW"] else "NHWC"
    elif said is None and fits["NCHW"] != fits["NHWC"]:
        said = "NCHW" if fits["NCHW"] else "NHWC"
    size = (first, height) if said == "NHWC" else (height, last)
    known = (size[0], size[1]) if size[0] and size[1] else None
    return FileInput(layout=said, size=known, batch=batch, number=_NUMBERS[tensor.number])


def _show(shape: Shape) -> str:
    return "(" + ", ".join("?" if d is None else str(d) for d in shape) + ")"


# ---- output -----------------------------------------------------------------------------------------------------


def choose_output(file: OnnxFile, name: str | None) -> str:
    """The name of the output to read. Raises :class:`ModelError` for an unknown name, an open choice, and an output
    that holds no scores."""
    names = [o.name for o in file.outputs]
    scores = list(score_outputs(file.model, MOST_SCORES))
    mend = name_output(scores) or _no_scores(file)
    if name is not None and name not in names:
        raise ModelError(f"the file has no output '{name}'", f"its outputs are {', '.join(names)}; {mend}")
    if name is None and len(names) > 1:
        raise ModelError(f"the file has {len(names)} outputs ({', '.join(names)})", mend)
    chosen = name or names[0]
    if reason := _no_score(file, chosen):
        raise ModelError(f"output '{chosen}' {reason}", mend)
    return chosen


def name_output(scores: Sequence[str]) -> str:
    """How to name one of these outputs on a card; empty where there is none."""
    if not scores:
        return ""
    others = f" (or {', '.join(scores[1:])})" if len(scores) > 1 else ""
    return f'add output = "{scores[0]}"{others} to the card'


def _no_score(file: OnnxFile, name: str) -> str:
    """Why an output holds no class scores; empty where it may."""
    value = next(v for v in file.model.graph.output if v.name == name)
    kind = value.type.WhichOneof("value") or "tensor_type"
    number = value.type.tensor_type.elem_type
    if kind != "tensor_type":
        return f"holds {_KINDS.get(kind, kind)} and no tensor of scores"
    if number and number not in FLOATS:
        return f"holds {TensorProto.DataType.Name(number).lower()} values: classes or labels, and no scores"
    shape = next(o.shape for o in file.outputs if o.name == name)
    if len(shape) > 2 and any(d not in (None, 1) for d in shape[2:]):
        return f"has shape {_show(shape)}, as a map of features or tokens has, and no row of scores a picture"
    label = Wiring(file.model).label(name)
    return f"leaves the node {label}: it holds classes or verdicts, and no scores" if label else ""


def _no_scores(file: OnnxFile) -> str:
    """What to do with a file none of whose outputs holds scores."""
    wiring = Wiring(file.model)
    inner = next((t for o in file.outputs if (t := wiring.inner_scores(o.name))), "")
    if inner:
        return f"its scores are in the inner tensor '{inner}': export it again without ZipMap, with that as its output"
    return "export it again with the logits or probabilities as an output, one row a picture"
