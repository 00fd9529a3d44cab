"""The ``onnx`` component: detectors in ONNX files, run by ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from xaibench.contracts import Facts, Runtime
from xaibench.errors import ModelError
from xaibench.parameters import Parameters
from xaibench_models.batches import in_batches
from xaibench_models.card import OnnxKeys, given, read_metadata, read_toml, validate
from xaibench_models.interface import (
    DEFAULT_THRESHOLD,
    ModelInput,
    Notes,
    check_pictures,
    digest_of,
    provenance,
    settle_input,
    settle_outputs,
)
from xaibench_models.onnx_file import (
    Ending,
    OnnxFile,
    choose_input,
    choose_output,
    ending,
    input_facts,
    read_file,
    with_output,
)
from xaibench_models.onnx_session import OrtRunner, Provider, one_line, start
from xaibench_models.outputs import Outputs, as_columns

_LIMITS = dict.fromkeys(
    ("gradients", "activations", "operations", "attention"), "ONNX Runtime runs the graph forward only"
)


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
        """Read file and card, start a session, and try it on a batch.

        Raises :class:`ModelError` for a missing or corrupt file, a wrong card, an output whose meaning is unknown or
        which is not what the card says, and a GPU that was asked for and is not used.
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
    source = settle_input(keys, input_facts(tensor, keys.layout), notes)
    output = choose_output(file, keys.output)
    end = ending(file.model, output)
    model = with_output(file.model, end.tensor) if end else file.model
    runner = start(file, model, tensor.name, runtime, provider)
    values = _try(runner, source, output)
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
        limits=_LIMITS,
        logit_source="logits" if logits else "log-odds",
        notes=tuple(notes.lines),
        details=provenance(keys, file=file.path.name, format="ONNX", providers=", ".join(runner.providers)),
    )
    return OnnxDetector(facts, runner, source, outputs, output, logits)


def _try(runner: OrtRunner, source: ModelInput, output: str) -> Tensor:
    """The ``(N, columns)`` output values of the check pictures."""
    pictures = check_pictures(source, runner.device)
    try:
        raw = runner(source.preprocessing(pictures), output)
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise ModelError(
            f"it fails on a batch of {len(pictures)} pictures: {one_line(error)}",
            "check size and layout; if it takes one picture at a time, add batch = {fixed = 1} to the card",
        ) from None
    return as_columns(raw, len(pictures))


def _logit_tensor(outputs: Outputs, output: str, end: Ending | None, notes: Notes) -> str | None:
    """The tensor that holds logits, or None where log-odds of the probabilities have to do."""
    if outputs.activation == "logit":
        return output
    if end is None:
        notes.add("logits: clipped log-odds of the probabilities, as the graph does not end in a sigmoid or softmax")
        return None
    return end.tensor


@dataclass(frozen=True, slots=True)
class OnnxDetector:
    """A detector in an ONNX file; see :class:`xaibench.contracts.Detector`.

    ``output`` is the tensor that the card speaks of, ``logit_tensor`` the one that holds logits, None for log-odds.
    """

    facts: Facts
    runner: OrtRunner
    source: ModelInput
    outputs: Outputs
    output: str
    logit_tensor: str | None

    @property
    def device(self) -> torch.device:
        return self.runner.device

    def probabilities(self, images: Tensor) -> Tensor:
        return self.outputs.probabilities(self._values(images, self.output))

    def scores(self, images: Tensor) -> Tensor:
        if self.logit_tensor is None:
            return self.outputs.log_odds(self._values(images, self.output))
        return self.outputs.logits(self._values(images, self.logit_tensor))

    def _values(self, images: Tensor, tensor: str) -> Tensor:
        """``(N, columns)`` values of a tensor of the graph."""
        if not len(images):
            return torch.zeros((0, self.outputs.columns), device=self.device)
        with torch.no_grad():
            return in_batches(images.to(self.device), self.source.batch, lambda part: self._call(part, tensor))

    def _call(self, images: Tensor, tensor: str) -> Tensor:
        return as_columns(self.runner(self.source.preprocessing(images), tensor), len(images))
