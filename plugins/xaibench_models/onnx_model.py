"""The ``onnx`` component: detectors in ONNX files, run by ONNX Runtime, differentiated by torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import onnx
import torch
from onnx import TensorProto
from pydantic import Field
from torch import Tensor

from xaibench.api import Batch, CardVariant, Facts, Features, LayerShape, ModelError, Output, Parameters, Runtime
from xaibench_models.batches import in_batches
from xaibench_models.card import BatchKeys, OnnxKeys, given, read_metadata, read_toml, validate
from xaibench_models.card_file import refuse_overridden, write_card
from xaibench_models.card_variants import Freedom, card_variants, without_gradients
from xaibench_models.interface import (
    DEFAULT_THRESHOLD,
    HALF_DIGITS,
    MOST_SCORES,
    ModelInput,
    Notes,
    OutputEvidence,
    check_pictures,
    digest_of,
    hard_pictures,
    layout_hint,
    provenance,
    settle_input,
    settle_outputs,
)
from xaibench_models.onnx_batch import with_free_batch
from xaibench_models.onnx_ending import ADDED, Ending, Endings, endings
from xaibench_models.onnx_evidence import Wiring, find_suspects, score_outputs
from xaibench_models.onnx_file import (
    OnnxFile,
    TensorFacts,
    choose_input,
    choose_output,
    input_facts,
    name_output,
    read_file,
)
from xaibench_models.onnx_gradients import GraphSource, Refused, Start, Twin, twin
from xaibench_models.onnx_half import is_half, rounds_input, widened
from xaibench_models.onnx_pool import OrtPool, pool
from xaibench_models.onnx_session import OrtRunner, Provider, one_line, start
from xaibench_models.outputs import Outputs, as_columns, may_be_probabilities
from xaibench_models.torch_detector import TorchDetector

_REMOTE_PICTURES = 4
_POOLED = 64  # pictures that are preprocessed at once for several callers
_KEEP = "leave --engine out, or use --engine auto"
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

    def write_card(self, member: str, keys: Mapping[str, Any]) -> str:
        """Change these keys in the TOML beside the file, or in the one that ``card`` names, and nothing else there.

        Raises :class:`ModelError` where the new card is wrong, cannot be written, or a parameter wins over it.
        """
        file = read_file(Path(self.parameters.path))
        card = Path(self.parameters.card) if self.parameters.card else file.path.with_suffix(".toml")
        refuse_overridden(keys, given(self.parameters), str(card))
        metadata = read_metadata(file.metadata, OnnxKeys)[0]
        return write_card(card, keys, lambda values: validate({**metadata, **values}, OnnxKeys, str(card)))


def _keys(parameters: OnnxParameters, file: OnnxFile, notes: Notes) -> OnnxKeys:
    """Parameters over the TOML card over the metadata of the file."""
    metadata, foreign = read_metadata(file.metadata, OnnxKeys)
    if foreign:
        notes.add(f"metadata not read: {', '.join(foreign)}")
    layers = [given(validate(metadata, OnnxKeys, f"metadata of {file.path}"))]
    card = Path(parameters.card) if parameters.card else file.path.with_suffix(".toml")
    if parameters.card or card.is_file():
        layers.append(given(validate(read_toml(card), OnnxKeys, str(card))))
    layers.append({k: v for k, v in given(parameters).items() if k in OnnxKeys.model_fields})
    merged: dict[str, Any] = {}
    for layer in layers:
        merged |= layer
    return validate(merged, OnnxKeys, str(file.path))


def _open(file: OnnxFile, keys: OnnxKeys, runtime: Runtime, provider: Provider, notes: Notes) -> OnnxDetector:
    tensor = choose_input(file, keys.input)
    settle_input(keys, input_facts(tensor, keys.layout), Notes())  # a wrong card is told before a session starts
    running = _start(file, choose_output(file, keys.output), tensor, runtime, provider)
    plain = _settled(file, keys, running, notes)
    if runtime.precision != "fp32" and provider != "tensorrt":
        notes.add(f"precision {runtime.precision} is not applied: an ONNX file brings its own")
    half = is_half(file.model) or (provider == "tensorrt" and runtime.precision == "fp16")
    full = replace(runtime, precision="fp32")
    again = cache(partial(_in_float32, file, keys, full, provider, plain.facts.digest)) if half else None
    facts = replace(plain.facts, precision=_precision(file, half))
    others = _Others(file, keys, running, runtime, provider)
    plain = replace(plain, facts=facts, again=again, readings=_Readings(file, keys, running), others=others)
    graph = plain.graph(running.model, file.path.parent, half, lambda m: start(file, m, tensor.name, full, provider))
    return _with_gradients(plain, graph, keys.target_layer, notes)


@dataclass(frozen=True, slots=True)
class _Running:
    """A session for one output of a file, and a copy of the graph that gives the logits behind it too.

    ``start`` starts another for another output.
    """

    output: str
    tensor: TensorFacts
    model: onnx.ModelProto
    followed: Endings | None
    runner: OrtRunner
    start: Callable[[str], _Running]


def _start(file: OnnxFile, output: str, tensor: TensorFacts, runtime: Runtime, provider: Provider) -> _Running:
    followed = endings(file.model, output)
    model = followed.model if followed else file.model
    return _Running(
        output=output,
        tensor=tensor,
        model=model,
        followed=followed,
        runner=start(file, model, tensor.name, runtime, provider),
        start=lambda other: _start(file, other, tensor, runtime, provider),
    )


def _settled(file: OnnxFile, keys: OnnxKeys, running: _Running, notes: Notes) -> OnnxDetector:
    """A detector whose outputs are understood; its gradients are not yet looked for."""
    tensor, runner, output, followed = running.tensor, running.runner, running.output, running.followed
    source = settle_input(keys, input_facts(tensor, keys.layout), notes)
    evidence = _evidence(file, keys, running, source)
    values = _try(runner, source, output, evidence.elsewhere)
    end = followed.settled(values, lambda inner: _try(runner, source, inner)) if followed else None
    if end and (end.activation, end.kind) == ("softmax", "sigmoid") and keys.activation in (None, "logit"):
        raise ModelError(
            f"output '{output}' is one column of a softmax (through {', '.join(end.behind)}), and no logit",
            'add activation = "probability" to the card',
        )
    outputs = settle_outputs(keys, values, end.kind if end else None, notes, evidence)
    logits = _logit_tensor(outputs, output, end, notes)
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
        zero_colour=source.zero_colour,
        quantum=source.quantum(HALF_DIGITS if rounds_input(file.model.graph, tensor.name) else None),
        engine="onnxruntime",
        stochastic=bool(keys.stochastic),
        remote=bool(keys.remote),
        suspects=find_suspects(file.model, company=1 not in (source.batch.fixed, source.batch.maximum)),
        details=provenance(keys, file=file.path.name, format="ONNX", providers=", ".join(runner.providers)),
    )
    return OnnxDetector(facts, runner, source, outputs, output, logits)


def _precision(file: OnnxFile, half: bool) -> Literal["fp32", "fp16", "bf16"]:
    if not half:
        return "fp32"
    return "bf16" if is_half(file.model, (TensorProto.BFLOAT16,)) else "fp16"


def _evidence(file: OnnxFile, keys: OnnxKeys, running: _Running, source: ModelInput) -> OutputEvidence:
    few = _REMOTE_PICTURES if keys.remote else None

    def harder() -> Tensor:
        pictures = hard_pictures(source, running.runner.device, few)
        return in_batches(pictures, source.batch, lambda part: _run(running.runner, source, running.output, part))

    def elsewhere() -> str:
        return name_output([o for o in score_outputs(file.model, MOST_SCORES) if o != running.output])

    linear = Wiring(file.model).linear(running.output)
    return OutputEvidence(leaves=lambda: "linear" if linear else None, harder=harder, elsewhere=elsewhere)


@dataclass(frozen=True, slots=True)
class _Readings:
    """Other readings of the card of a file."""

    file: OnnxFile
    keys: OnnxKeys
    running: _Running

    def variants(self, detector: OnnxDetector) -> tuple[CardVariant, ...]:
        channels = [self.running.tensor.shape[axis] for axis in (1, 3)]
        outputs = [o for o in score_outputs(self.file.model, MOST_SCORES) if o != detector.output]
        ends = detector.logit_tensor not in (None, detector.output)
        values = _try(self.running.runner, detector.source, detector.output)
        freedom = Freedom(
            layout=all(c in (3, None) for c in channels),
            size=input_facts(self.running.tensor, self.keys.layout).size is None,
            outputs=tuple({"output": o} for o in outputs),
            activation=not ends and may_be_probabilities(values),
        )
        return card_variants(self.keys, detector.source, detector.outputs, freedom, lambda v: self.read(detector, v))

    def read(self, detector: OnnxDetector, variant: CardVariant) -> OnnxDetector:
        keys = validate({**given(self.keys), **variant.keys}, OnnxKeys, str(self.file.path))
        output = choose_output(self.file, keys.output)
        running = self.running if output == self.running.output else self.running.start(output)
        found = _settled(self.file, keys, running, Notes())
        facts = replace(found.facts, precision=detector.facts.precision)
        return replace(found, facts=without_gradients(facts))


@dataclass(frozen=True, slots=True)
class _Others:
    """Other ways to compute a file that takes one picture a call, on a CPU."""

    file: OnnxFile
    keys: OnnxKeys
    running: _Running
    runtime: Runtime
    provider: Provider

    def names(self, detector: OnnxDetector, threads: int) -> tuple[str, ...]:
        if detector.device.type != "cpu" or detector.facts.batch.fixed != 1 or detector.facts.remote:
            return ()
        # A card that fixes the batch says that the pictures of a larger one would hang on one another.
        on_card = isinstance(self.keys.batch, BatchKeys) and self.keys.batch.fixed is not None
        return (*(() if on_card else ("batched",)), *(("parallel",) if threads > 1 else ()))

    def with_free_batch(self) -> OnnxDetector:
        file = with_free_batch(self.file, self.running.tensor.name)
        try:
            other = _open(file, self.keys, self.runtime, self.provider, Notes())  # of the same digest
        except Exception as error:  # of ONNX Runtime too, whose exceptions share no base class
            what = error.what if isinstance(error, ModelError) else one_line(error)
            raise ModelError(f"its batch axis cannot be freed: {what}", _KEEP) from error
        return replace(other, others=None)

    def with_callers(self, detector: OnnxDetector, threads: int) -> OnnxDetector:
        runtime = replace(self.runtime, threads=1)
        running = self.running
        callers = pool(start(self.file, running.model, running.tensor.name, runtime, self.provider), threads)
        readings = _Readings(self.file, self.keys, replace(running, runner=callers))
        facts = replace(detector.facts, parallel_calls=threads)
        return replace(detector, facts=facts, runner=callers, readings=readings, others=None)


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


def _try(runner: OrtRunner, source: ModelInput, output: str, elsewhere: Callable[[], str] = str) -> Tensor:
    """The ``(N, columns)`` output values of the check pictures.

    ``elsewhere`` names another output, where this one holds no scores; empty where there is none.
    """
    pictures = check_pictures(source, runner.device)
    try:
        return _run(runner, source, output, pictures)
    except ModelError as error:
        raise ModelError(error.what, elsewhere() or error.mend) from None
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise ModelError(
            f"it fails on a batch of {len(pictures)} pictures: {one_line(error)}",
            layout_hint(lambda other: _run(runner, other, output, pictures), source)
            or "check size and layout; if it takes one picture at a time, add batch = {fixed = 1} to the card",
        ) from None


def _run(runner: OrtRunner, source: ModelInput, output: str, pictures: Tensor) -> Tensor:
    return as_columns(runner(source.preprocessing(pictures), output), len(pictures))


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
    twin: Twin | None = None
    again: Callable[[], OnnxDetector] | None = None
    readings: _Readings | None = None
    others: _Others | None = None

    @property
    def device(self) -> torch.device:
        return self.runner.device

    def probabilities(self, images: Tensor) -> Tensor:
        return self.outputs.probabilities(self._values(images, self.output))

    def scores(self, images: Tensor) -> Tensor:
        values = self._values(images, self._tensor())
        return self.outputs.log_odds(values) if self.logit_tensor is None else self.outputs.logits(values)

    def in_batches(self, images: Tensor, batch: int, output: Output) -> Tensor:
        """See :class:`xaibench.api.Detector`. Preprocessing and ONNX Runtime write to memory of their own."""
        tensor = self.output if output == "probability" else self._tensor()
        size = _POOLED if isinstance(self.runner, OrtPool) else batch
        with torch.no_grad():
            values = torch.cat([self._call(part, tensor) for part in torch.split(images, size)])
        if output == "probability":
            return self.outputs.probabilities(values)
        return self.outputs.log_odds(values) if self.logit_tensor is None else self.outputs.logits(values)

    def logits(self, images: Tensor) -> Tensor:
        return self._differentiable("gradients").logits(images)

    def features(
        self, images: Tensor, layer: str | None = None, edit: Callable[[Tensor, int], Tensor] | None = None
    ) -> Features:
        return self._differentiable("activations").features(images, layer, edit)

    def layer_shapes(self) -> tuple[LayerShape, ...]:
        """All tensors of the graph but those added to it; see :class:`xaibench.api.Detector`."""
        layers = self._differentiable("activations").layer_shapes()
        return tuple(layer for layer in layers if not layer.name.startswith(ADDED))

    def randomised(self, layers: Sequence[str], generator: torch.Generator) -> TorchDetector:
        """See :meth:`TorchDetector.randomised`. The copy runs on torch altogether."""
        return self._differentiable("gradients").randomised(layers, generator)

    def full_precision(self) -> OnnxDetector:
        """The same detector in float32, its digest unchanged; itself where it computes in float32 already."""
        return self if self.again is None else self.again()

    def variants(self) -> tuple[CardVariant, ...]:
        """Other plausible readings of its card, the likeliest first."""
        return self.readings.variants(self) if self.readings is not None else ()

    def read_as(self, variant: CardVariant) -> OnnxDetector:
        """The same session under another reading of its card; it gives probabilities and scores alone.

        Raises :class:`ModelError` where the graph does not take it so.
        """
        if self.readings is None:
            raise ModelError(f"{self.facts.name} has no card that could be read otherwise", "open it from a file")
        return self.readings.read(self, variant)

    def other_engines(self, threads: int) -> tuple[str, ...]:
        """``batched`` where the graph has a fixed batch of 1, ``parallel`` where it takes one picture a call."""
        return () if self.others is None else self.others.names(self, threads)

    def with_engine(self, engine: str, threads: int) -> OnnxDetector:
        """See :class:`xaibench.api.Detector`.

        ``batched``: the batch axis of the graph is freed. ``parallel``: a session of one thread is called from
        ``threads`` threads at once; its numbers are those of one thread.
        """
        if self.others is None or engine not in self.other_engines(threads):
            raise ModelError(f"{engine} is not for this graph", _KEEP)
        return self.others.with_free_batch() if engine == "batched" else self.others.with_callers(self, threads)

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
        facts = replace(self.facts, gives=frozenset(), limits=limits, target_layer=None, target_grid=None, notes=kept)
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
        batch = Batch(maximum=_POOLED) if isinstance(self.runner, OrtPool) else self.source.batch
        with torch.no_grad():
            return in_batches(images.to(self.device), batch, lambda part: self._call(part, tensor))

    def _call(self, images: Tensor, tensor: str) -> Tensor:
        batch = self.source.preprocessing(images, self.runner.memory(images))
        return as_columns(self.runner(batch, tensor), images.shape[0])
