"""The ``onnx`` component: detectors in ONNX files, run by ONNX Runtime, differentiated by torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto
from pydantic import Field
from torch import Tensor

from xaibench.api import CardVariant, Facts, Features, ModelError, Parameters, Runtime
from xaibench_models.batches import in_batches
from xaibench_models.card import OnnxKeys, given, read_metadata, read_toml, validate
from xaibench_models.card_variants import CardInUse, find_variants, layout_hint, try_network
from xaibench_models.card_writing import write_keys
from xaibench_models.interface import (
    DEFAULT_THRESHOLD,
    HALF_DIGITS,
    ModelInput,
    Notes,
    check_pictures,
    digest_of,
    provenance,
    settle_input,
    settle_outputs,
)
from xaibench_models.onnx_ending import Activated, Ending, endings
from xaibench_models.onnx_file import (
    OnnxFile,
    TensorFacts,
    choose_input,
    choose_output,
    input_facts,
    read_file,
)
from xaibench_models.onnx_gradients import GraphSource, Refused, Start, Twin, twin
from xaibench_models.onnx_half import is_half, rounds_input, widened
from xaibench_models.onnx_session import OrtRunner, Provider, one_line, start
from xaibench_models.outputs import Outputs, as_columns
from xaibench_models.torch_detector import TorchDetector

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_CAPABILITIES = ("gradients", "activations", "operations", "attention")


class _OnnxSource(Parameters):
    path: str = Field("", description="the .onnx file")
    card: str = Field("", description="the card, a TOML file (default: FILE.toml beside FILE.onnx, if there is one)")
    provider: Provider = Field("cuda", description="the GPU provider to use where the device is a GPU")


class OnnxParameters(OnnxKeys, _OnnxSource):
    """The file, its card, and every key of the card."""


class OnnxModel:
    """One detector in an ONNX file."""

    Parameters = OnnxParameters

    def __init__(self, parameters: OnnxParameters) -> None:
        self.parameters = parameters

    def members(self) -> tuple[str, ...]:
        return (Path(self.parameters.path).stem,)

    def write_card(self, member: str, keys: Mapping[str, Any]) -> str:
        """Change keys in the TOML file beside the model, which stands over the metadata; see :func:`write_keys`."""
        return write_keys(_card_path(self.parameters), keys, OnnxKeys, self.parameters)

    def open(self, member: str, runtime: Runtime) -> OnnxDetector:
        """Read file and card, start a session, try it on a batch, and compare it with its differentiable form.

        Raises :class:`ModelError` for a missing or corrupt file, a wrong card, an output whose meaning is unknown or
        which is not what the card says, a target layer that is none, and a GPU that was asked for and is not used.
        """
        if not self.parameters.path:
            raise ModelError("onnx: no file is named", "give --model FILE.onnx or --model onnx:path=FILE.onnx")
        file = read_file(Path(self.parameters.path))
        notes = Notes()
        keys = _keys(self.parameters, file, notes)
        try:
            return _open(file, keys, runtime, self.parameters.provider, notes)
        except ModelError as error:
            what = error.what if str(file.path) in error.what else f"{file.path}: {error.what}"
            raise ModelError(what, error.mend) from None


def _card_path(parameters: OnnxParameters) -> Path:
    return Path(parameters.card) if parameters.card else Path(parameters.path).with_suffix(".toml")


def _keys(parameters: OnnxParameters, file: OnnxFile, notes: Notes) -> OnnxKeys:
    """Parameters over the TOML card over the metadata of the file."""
    metadata, foreign = read_metadata(file.metadata, OnnxKeys)
    if foreign:
        notes.add(f"metadata not read: {', '.join(foreign)}")
    layers = [given(validate(metadata, OnnxKeys, f"metadata of {file.path}"))]
    card = _card_path(parameters)
    if parameters.card or card.is_file():
        layers.append(given(validate(read_toml(card), OnnxKeys, str(card))))
    layers.append({k: v for k, v in given(parameters).items() if k in OnnxKeys.model_fields})
    merged: dict[str, Any] = {}
    for layer in layers:
        merged |= layer
    return validate(merged, OnnxKeys, str(file.path))


def _open(file: OnnxFile, keys: OnnxKeys, runtime: Runtime, provider: Provider, notes: Notes) -> OnnxDetector:
    tensor = choose_input(file, keys.input)
    source = settle_input(keys, input_facts(tensor, keys.layout), notes)
    output = choose_output(file, keys.output)
    followed = endings(file.model, output)
    model = followed.model if followed else file.model
    runner = start(file, model, tensor.name, runtime, provider)
    values = _try(runner, source, output)
    end = followed.settled(values, lambda inner: _try(runner, source, inner)) if followed else None
    if end and (end.activation, end.kind) == ("softmax", "sigmoid") and keys.activation is None:
        raise ModelError(
            f"output '{output}' is one column of a softmax (through {', '.join(end.behind)}), and no logit",
            'add activation = "probability" to the card',
        )
    outputs = settle_outputs(keys, values, end.kind if end else None, notes)
    logits = _logit_tensor(outputs, output, end, notes)
    if runtime.precision != "fp32" and provider != "tensorrt":
        notes.add(f"precision {runtime.precision} is not applied: an ONNX file brings its own")
    threshold = notes.default("threshold", keys.threshold, DEFAULT_THRESHOLD, f"{DEFAULT_THRESHOLD}")
    facts = Facts(
        name=file.path.stem,
        classes=outputs.classes,
        real_class=outputs.real,
        input_size=source.size,
        digest=digest_of(file.digest, source, outputs, threshold, input=tensor.name, output=output),
        batch=source.batch,
        threshold=threshold,
        resize=source.resize,
        logit_source="logits" if logits else "log-odds",
        scale=source.scale,
        quantum=source.quantum(HALF_DIGITS if rounds_input(file.model.graph, tensor.name) else None),
        engine="onnxruntime",
        details=provenance(keys, file=file.path.name, format="ONNX", providers=", ".join(runner.providers)),
    )
    card = _card(file, keys, tensor, output, end)
    plain = OnnxDetector(facts, runner, source, outputs, output, logits, card=card)
    half = is_half(file.model) or (provider == "tensorrt" and runtime.precision == "fp16")
    full = replace(runtime, precision="fp32")
    again = cache(partial(_in_float32, file, keys, full, provider, facts.digest)) if half else None
    graph = plain.graph(model, file.path.parent, half, lambda m: start(file, m, tensor.name, full, provider))
    return _with_gradients(replace(plain, again=again), graph, keys.target_layer, notes)


def _card(file: OnnxFile, keys: OnnxKeys, tensor: TensorFacts, output: str, end: Ending | None) -> CardInUse:
    """The card, and what the file leaves open of it."""

    def kind(other: str) -> Activated | None:
        if other == output:
            return end.kind if end else None
        followed = endings(file.model, other)
        return next((e.kind for e in followed.options if not e.behind), None) if followed else None

    return CardInUse(
        keys=keys,
        file=lambda layout: input_facts(tensor, layout),
        settle=lambda other, values: settle_outputs(
            other, values, kind(getattr(other, "output", None) or output), Notes()
        ),
        proven=end is not None,
        layouts=input_facts(tensor, None).layout is None,
        other_outputs=tuple({"output": o.name} for o in file.outputs if o.name != output and o.number in _FLOATS),
    )


def _with_gradients(plain: OnnxDetector, graph: GraphSource, target_layer: str | None, notes: Notes) -> OnnxDetector:
    """``plain`` with gradients, or with the reason why there are none."""
    try:
        found = twin(graph, plain.facts, target_layer, plain.device, notes)
    except Refused as refused:
        if target_layer is not None:
            notes.add("target_layer is not used, as there are no gradients")
        return plain.without_gradients(str(refused), notes.lines)
    able = found.detector.facts
    if "gradients" in able.gives:
        notes.add(found.note())
    facts = replace(able, notes=tuple(notes.lines))
    by_torch = replace(found.detector, facts=replace(facts, engine="torch"))
    return replace(plain, facts=facts, twin=replace(found, detector=by_torch))


def _in_float32(file: OnnxFile, keys: OnnxKeys, runtime: Runtime, provider: Provider, digest: str) -> OnnxDetector:
    """A half-precision file as a detector that computes in float32."""
    model = widened(file.model, file.path.parent)
    numbers = {TensorProto.FLOAT16: TensorProto.FLOAT}
    inputs = tuple(replace(t, number=numbers.get(t.number, t.number)) for t in file.inputs)
    found = _open(replace(file, model=model, inputs=inputs, changed=True), keys, runtime, provider, Notes())
    return replace(found, facts=replace(found.facts, digest=digest))


def _try(runner: OrtRunner, source: ModelInput, output: str) -> Tensor:
    """The ``(N, columns)`` output values of the check pictures."""
    pictures = check_pictures(source, runner.device)
    try:
        raw = runner(source.preprocessing(pictures), output)
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise ModelError(
            f"it fails on a batch of {len(pictures)} pictures: {one_line(error)}",
            layout_hint(
                lambda other: lambda x: as_columns(runner(other.preprocessing(x), output), len(x)),
                source,
                runner.device,
            )
            or "check size and layout; if it takes one picture at a time, add batch = {fixed = 1} to the card",
        ) from None
    return as_columns(raw, len(pictures))


def _logit_tensor(outputs: Outputs, output: str, end: Ending | None, notes: Notes) -> str | None:
    """The tensor that holds logits, or None where log-odds of the probabilities have to do."""
    if outputs.activation == "logit":
        return output
    if end is None:
        notes.add("logits: clipped log-odds of the probabilities, as the graph does not end in a sigmoid or softmax")
        return None
    if end.behind:
        notes.add(
            f"logits: those that go into the {end.activation}, followed through {', '.join(end.behind)} behind it"
        )
    return end.tensor


@dataclass(frozen=True, slots=True)
class OnnxDetector:
    """A detector in an ONNX file; see :class:`xaibench.api.DifferentiableDetector`.

    Probabilities and scores are ONNX Runtime's. ``output`` is the tensor that the card speaks of, ``logit_tensor`` the
    one that holds logits, None for log-odds. ``twin`` is the differentiable form; None: there is none, and
    ``facts.limits`` say why. ``again`` opens the same detector in float32, where it computes in half precision.
    """

    facts: Facts
    runner: OrtRunner
    source: ModelInput
    outputs: Outputs
    output: str
    logit_tensor: str | None
    card: CardInUse | None = None
    twin: Twin | None = None
    again: Callable[[], OnnxDetector] | None = None

    @property
    def device(self) -> torch.device:
        return self.runner.device

    def probabilities(self, images: Tensor) -> Tensor:
        return self.outputs.probabilities(self._values(images, self.output))

    def scores(self, images: Tensor) -> Tensor:
        if self.logit_tensor is None:
            return self.outputs.log_odds(self._values(images, self.output))
        return self.outputs.logits(self._values(images, self.logit_tensor))

    def logits(self, images: Tensor) -> Tensor:
        return self._differentiable("gradients").logits(images)

    def features(
        self, images: Tensor, layer: str | None = None, edit: Callable[[Tensor, int], Tensor] | None = None
    ) -> Features:
        return self._differentiable("activations").features(images, layer, edit)

    def randomised(self, layers: Sequence[str], generator: torch.Generator) -> TorchDetector:
        """See :meth:`TorchDetector.randomised`. The copy runs on torch altogether."""
        return self._differentiable("gradients").randomised(layers, generator)

    def variants(self) -> tuple[CardVariant, ...]:
        """See :class:`xaibench.api.Detector`."""
        if self.card is None:
            return ()
        values = try_network(lambda x: self._call(x, self.output), self.source, self.device)
        return find_variants(self.card, self.source, self.outputs, values, self.read_as)

    def read_as(self, variant: CardVariant) -> OnnxDetector:
        """The same session under another reading of the card. Raises :class:`ModelError` where it does not take it."""
        if self.card is None:
            raise ModelError(f"{self.facts.name} has no card that could be read otherwise", "open it with a card")
        keys, source = self.card.read_as(variant)
        output = variant.keys.get("output", self.output)
        other = replace(self, source=source, output=output, card=None, twin=None, again=None)
        values = try_network(lambda x: other._call(x, output), source, self.device)
        outputs = self.card.outputs(variant, keys, self.outputs, values)
        facts = self.card.facts(self.facts, variant, keys, source, outputs)
        return replace(
            other, facts=facts, outputs=outputs, logit_tensor=output if outputs.activation == "logit" else None
        )

    def full_precision(self) -> OnnxDetector:
        """The same detector in float32, its digest unchanged; itself where it computes in float32 already."""
        return self if self.again is None else self.again()

    def verified(self, images: Tensor) -> OnnxDetector:
        """This detector if its logits inside autograd equal ONNX Runtime's on ``images`` ``(N, 3, H, W)``; else the
        same as a black box, ``facts.limits`` saying where they differ."""
        if self.twin is None or not len(images):
            return self
        reason = self.twin.differs(images, self._values(images, self._tensor()))
        return self.without_gradients(reason, self.facts.notes) if reason else self

    def without_gradients(self, reason: str, notes: Sequence[str]) -> OnnxDetector:
        """The same as a black box, and why it is one."""
        limits = dict.fromkeys(_CAPABILITIES, reason)
        kept = tuple(n for n in notes if not n.startswith(("gradients:", "target layer:")))
        facts = replace(self.facts, gives=frozenset(), limits=limits, target_layer=None, notes=kept)
        return replace(self, facts=facts, twin=None)

    def graph(self, model: onnx.ModelProto, folder: Path, half: bool, restart: Start) -> GraphSource:
        """What its gradients are made from: ``model``, with the logits among its outputs, and ONNX Runtime's values."""
        outputs = self.outputs if self.logit_tensor is None else replace(self.outputs, activation="logit")
        tensor = self._tensor()
        return GraphSource(
            model=model,
            folder=folder,
            tensor=tensor,
            source=self.source,
            outputs=outputs,
            half=half,
            reference=lambda images: self._values(images, tensor),
            start=restart,
        )

    def _tensor(self) -> str:
        return self.logit_tensor or self.output

    def _differentiable(self, capability: str) -> TorchDetector:
        if self.twin is None:
            reason = self.facts.limits.get(capability, "not given")
            raise ModelError(f"{self.facts.name} gives no {capability}: {reason}", "use an explainer that needs none")
        return self.twin.detector

    def _values(self, images: Tensor, tensor: str) -> Tensor:
        """``(N, columns)`` values of a tensor of the graph."""
        if not images.shape[0]:
            return torch.zeros((0, self.outputs.columns), device=self.device)
        with torch.no_grad():
            return in_batches(images.to(self.device), self.source.batch, lambda part: self._call(part, tensor))

    def _call(self, images: Tensor, tensor: str) -> Tensor:
        batch = self.source.preprocessing(images, self.runner.memory(images))
        return as_columns(self.runner(batch, tensor), images.shape[0])
