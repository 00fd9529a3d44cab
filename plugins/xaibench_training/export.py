"""ONNX export of a trained member, with its card in the file's metadata, kept only where it equals the torch module."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from xaibench.api import ModelError
from xaibench_training.networks.pooled import drawn_from, evaluating
from xaibench_training.writing import write_bytes

TOLERANCE = 1e-5
"""Largest difference of a logit between the exported file and the module, in units of the largest logit or 1."""

INPUT, OUTPUT = "image", "logits"
OPSET = 17
_PREFIX = "xaibench."
_PROBES = 3


def export_onnx(module: nn.Module, path: Path, words: Mapping[str, Any], pictures: Tensor) -> float:
    """Write ``module`` to the ONNX file ``path`` and return the largest difference of a logit that was found.

    Parameters
    ----------
    module: maps ``(N, 3, H, W)`` in [0, 1] to ``(N, 2)`` logits; on the CPU, its mode restored afterwards.
    words: keys of the card (:func:`xaibench_training.cards.interface`); they enter the metadata as ``xaibench.KEY``.
    pictures: some real ones, ``(n, 3, H, W)`` in [0, 1]; n may be 0. Noise of the same size is tried beside them.

    The batch is free, the size is not. The file is written by the exporter that needs torch alone (TorchScript's),
    compared in memory on the CPU, and put in place at once. It is not kept, and :class:`ModelError` raised, where
    ``max |file - module| > TOLERANCE max(1, max |module|)`` or either gives NaN: logits above 1 are allowed in
    proportion, since float32 carries seven digits and the two libraries add in another order.
    """
    with evaluating(module), torch.no_grad():
        probes = torch.cat([_noise(pictures), pictures.cpu()])
        content = _with_metadata(_exported(module, probes[:2]), words)
        expected = module(probes)
        worst = _difference(content, probes, expected)
    if not worst <= TOLERANCE * max(1.0, float(expected.abs().max())):
        raise ModelError(
            f"{path}: the exported file differs from the torch module by {worst:.2g} in a logit; it was not kept",
            "use the .toml with its weights (xaibench train --no-export), or another version of torch",
        )
    write_bytes(path, content)
    return worst


def _noise(pictures: Tensor) -> Tensor:
    with drawn_from(0):
        return torch.rand(_PROBES, *pictures.shape[1:])


def _exported(module: nn.Module, example: Tensor) -> bytes:
    """The file as the exporter writes it. Raises :class:`ModelError` for an operation that it does not know."""
    with TemporaryDirectory() as folder, _quiet():
        file = Path(folder) / "member.onnx"
        try:
            torch.onnx.export(
                module, (example,), file, input_names=[INPUT], output_names=[OUTPUT],
                dynamic_axes={INPUT: {0: "N"}, OUTPUT: {0: "N"}}, opset_version=OPSET, dynamo=False,
            )  # fmt: skip
        except Exception as error:  # its parts raise whatever they like
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelError(
                f"torch cannot export the network to ONNX: {first}",
                "use the .toml with its weights (xaibench train --no-export)",
            ) from error
        return file.read_bytes()


@contextmanager
def _quiet() -> Iterator[None]:
    """No line and no warning of the exporter's: what it got wrong shows in the comparison."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _with_metadata(content: bytes, words: Mapping[str, Any]) -> bytes:
    import onnx

    model = onnx.load_from_string(content)
    onnx.helper.set_model_props(model, {f"{_PREFIX}{key}": as_toml(value) for key, value in words.items()})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def as_toml(value: object) -> str:
    """A card's value as TOML on one line, as metadata holds it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {as_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return json.dumps(value)  # strings, numbers and truth values are written alike in both


def _difference(content: bytes, probes: Tensor, expected: Tensor) -> float:
    """Largest absolute difference of a logit; NaN where either gives one. A single picture is tried as well."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = [session.run([OUTPUT], {INPUT: batch.numpy()})[0] for batch in (probes, probes[:1])]
    differences = [(torch.from_numpy(values) - expected[: len(values)]).abs() for values in found]
    return float(torch.cat(differences).max())
