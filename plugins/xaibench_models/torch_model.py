"""The ``torch`` component: detectors in PyTorch, from an exported file or from a factory and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import Facts, ModelError, Parameters, Runtime
from xaibench_models.card import CardKeys, given, read_toml, validate
from xaibench_models.card_variants import CardInUse, layout_hint
from xaibench_models.card_writing import write_keys
from xaibench_models.grids import Places
from xaibench_models.interface import (
    DEFAULT_THRESHOLD,
    FileInput,
    Notes,
    check_pictures,
    digest_of,
    provenance,
    settle_input,
    settle_outputs,
)
from xaibench_models.layer_choice import choose, places_of, run_of
from xaibench_models.layers import named_layer, watch, with_parameters
from xaibench_models.outputs import Outputs
from xaibench_models.runs import attention_limit
from xaibench_models.torch_detector import ROUNDED_DIGITS, Network, TorchDetector
from xaibench_models.torch_ending import torch_ending
from xaibench_models.torch_loading import Loaded, load_factory, load_file


class _TorchSource(Parameters):
    path: str = Field("", description="a .pt2 or TorchScript file, or a .toml with any of these keys")


class TorchKeys(CardKeys):
    """The keys of a ``.toml`` that describes a PyTorch model: the card's, and how to build and call it."""

    factory: str | None = Field(None, description="'package.module:callable' that returns the model")
    kwargs: dict[str, Any] | None = Field(None, description="arguments of the factory")
    pythonpath: tuple[str, ...] | None = Field(
        None, description="folders to import the factory from, relative to the .toml"
    )
    weights: str | None = Field(
        None, description="safetensors file or checkpoint of tensors for the factory's model, relative to the .toml"
    )
    input_key: str | None = Field(None, description="give the model a dict with the pictures under this key")
    output_key: str | int | None = Field(None, description="take the scores from the dict or tuple that it returns")
    fake_index: int | None = Field(
        None, ge=0, le=1, description="which of two outputs means fake (in place of classes; of one output, see high)"
    )
    target_layer: str | None = Field(None, description="layer for activation maps (default: chosen and said aloud)")


class TorchParameters(TorchKeys, _TorchSource):
    """The file, and every key of its description."""


class TorchModel:
    """One detector in PyTorch."""

    Parameters = TorchParameters

    def __init__(self, parameters: TorchParameters) -> None:
        self.parameters = parameters

    def members(self) -> tuple[str, ...]:
        return (self._name(),)

    def _name(self) -> str:
        return Path(self.parameters.path).stem if self.parameters.path else (self.parameters.factory or "")

    def write_card(self, member: str, keys: Mapping[str, Any]) -> str:
        """Change keys in the TOML file that describes the model, or in that beside it; see :func:`write_keys`."""
        if not self.parameters.path:
            raise ModelError(
                f"factory {self.parameters.factory} has no file that a card could stand beside",
                f"write {', '.join(keys)} and the factory to a .toml file and give --model FILE.toml",
            )
        return write_keys(Path(self.parameters.path).with_suffix(".toml"), keys, TorchKeys, self.parameters)

    def open(self, member: str, runtime: Runtime) -> TorchDetector:
        """Load the model and try it on a batch.

        Raises :class:`ModelError` for a missing or corrupt file, weights that need pickled code or do not fit, a
        wrong key, and an output whose meaning is unknown or which is not what the card says.
        """
        where = self.parameters.path or f"factory {self.parameters.factory}"
        keys, file = _keys(self.parameters)
        try:
            loaded = _load(keys, file, Path(self.parameters.path).parent)
            return build(loaded, keys, runtime, self._name(), where)
        except ModelError as error:
            what = error.what if where in error.what else f"{where}: {error.what}"
            raise ModelError(what, error.mend) from error.__cause__


def _keys(parameters: TorchParameters) -> tuple[TorchKeys, Path | None]:
    """The keys, parameters over the TOML file, and the model file that they or the path name."""
    path = Path(parameters.path) if parameters.path else None
    if path is None and parameters.factory is None:
        raise ModelError("torch: no model is named", "give --model FILE.pt2, FILE.toml or torch:factory=PKG.MOD:NAME")
    own = {k: v for k, v in given(parameters).items() if k in TorchKeys.model_fields}
    described = path is not None and path.suffix == ".toml"
    card = path if described else path.with_suffix(".toml") if path else None
    said = read_toml(card) if card is not None and (described or card.is_file()) else {}
    file = path.parent / str(said.pop("path")) if described and path and "path" in said else None
    if not described:
        file = path
    keys = validate({**said, **own}, TorchKeys, str(card if said else parameters.path or "torch"))
    if file is None and keys.factory is None:
        raise _no_model(path)
    if file is not None and keys.factory is not None:
        raise ModelError(f"{path}: names both a factory and a model file", "take one of factory and path off")
    return keys, file


def _no_model(path: Path | None) -> ModelError:
    beside = next((f for f in sorted(path.parent.glob(f"{path.stem}.*")) if f != path), None) if path else None
    mend = (
        f"give --model {beside}, whose card this is"
        if beside
        else 'add factory = "package.module:callable" or path = "FILE.pt2"'
    )
    return ModelError(f"{path}: names no model", mend)


def _load(keys: TorchKeys, file: Path | None, folder: Path) -> Loaded:
    if keys.factory is None:
        assert file is not None  # _keys refuses what names neither
        return load_file(file)
    pythonpath = [(folder / p).resolve() for p in keys.pythonpath or ()]
    weights = folder / keys.weights if keys.weights else None
    return load_factory(keys.factory, keys.kwargs or {}, pythonpath, weights)


# ---- building ---------------------------------------------------------------------------------------------------


def build(loaded: Loaded, keys: TorchKeys, runtime: Runtime, name: str, file: str = "") -> TorchDetector:
    """A detector from a loaded model and its keys, tried on a batch.

    Parameters
    ----------
    name: the detector's name in tables.
    file: where it comes from, for provenance.
    """
    notes = Notes()
    if keys.factory is not None:
        notes.add(f"Python code is run: the card's factory '{keys.factory}', with all that importing it does")
    file_input = FileInput(size=loaded.size, batch=loaded.batch)
    source = settle_input(keys, file_input, notes)
    device = _device(runtime.device)
    network = Network(
        module=loaded.module,
        source=source,
        device=device,
        precision=runtime.precision,
        input_key=keys.input_key,
        output_key=keys.output_key,
    )
    pictures = check_pictures(source, device)
    network = in_memory(network, pictures)
    values = _try(network, pictures)
    outputs = settle_outputs(_with_fake_index(keys, values.shape[1]), values, None, notes)
    ending = torch_ending(network, pictures) if outputs.activation != "logit" else None
    threshold = notes.default("threshold", keys.threshold, DEFAULT_THRESHOLD, f"{DEFAULT_THRESHOLD}")
    call = {"input_key": keys.input_key, "output_key": keys.output_key}
    facts = Facts(
        name=name,
        classes=outputs.classes,
        real_class=outputs.real,
        input_size=source.size,
        digest=digest_of(loaded.digest, source, outputs, threshold, **call),
        batch=source.batch,
        threshold=threshold,
        resize=source.resize,
        scale=source.scale,
        quantum=source.quantum(ROUNDED_DIGITS.get(runtime.precision)),
        logit_source="logits" if outputs.activation == "logit" or ending else "log-odds",
        details=provenance(keys, file=Path(file).name, format=f"PyTorch, {loaded.form}", factory=keys.factory),
    )
    if ending is not None:
        notes.add(f"logits: those that go into the model's last {ending.kind}, whose probabilities it returns")
    elif outputs.activation != "logit":
        notes.add("logits: clipped log-odds of the probabilities that the model returns")

    def settle(other: CardKeys, seen: Tensor) -> Outputs:
        assert isinstance(other, TorchKeys)
        return settle_outputs(_with_fake_index(other, seen.shape[1]), seen, None, Notes())

    card = CardInUse(
        keys=keys,
        file=lambda layout: file_input,
        settle=settle,
        proven=ending is not None,
        layouts=loaded.size is None,
    )
    plain = TorchDetector(facts=facts, network=network, outputs=outputs, copy=loaded.copy, ending=ending, card=card)
    return with_capabilities(plain, keys.target_layer, loaded.hooks, pictures, notes)


def _device(name: str) -> torch.device:
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            f"device '{name}' was asked for, but torch sees no GPU", "install torch for CUDA, or give --device cpu"
        )
    return device


def in_memory(network: Network, pictures: Tensor) -> Network:
    """``network`` with channels last where it takes that, as it is faster; contiguous where it does not.

    Models that flatten with ``view`` refuse channels last. TorchScript and NHWC inputs stay as they are.
    """
    plain = network.placed(network.module)
    if isinstance(network.module, torch.jit.ScriptModule) or network.source.preprocessing.layout == "NHWC":
        return plain
    last = replace(network, channels_last=True).placed(network.module)
    try:
        with torch.enable_grad():
            leaf = pictures.clone().requires_grad_(True)
            values = last(leaf)
            if values.requires_grad:
                torch.autograd.grad(values.sum(), leaf, allow_unused=True)
    except Exception:  # whatever the model's code raises; the plain form is tried next, and its errors are shown
        return network.placed(network.module)
    return last


def _try(network: Network, pictures: Tensor) -> Tensor:
    try:
        with torch.no_grad():
            return network(pictures)
    except ModelError:
        raise
    except Exception as error:  # the model is the user's code
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"it fails on a batch of {len(pictures)} pictures: {type(error).__name__}: {first[:300]}",
            layout_hint(
                lambda other: replace(network, source=other, channels_last=False), network.source, network.device
            )
            or "check size, layout, input_key and batch",
        ) from error


def _with_fake_index(keys: TorchKeys, columns: int) -> TorchKeys:
    if keys.fake_index is None:
        return keys
    if columns != 2:
        raise ModelError(
            f"fake_index = {keys.fake_index} says which of two outputs means fake, but the model has {columns}",
            _in_its_place(keys, columns),
        )
    if keys.classes is not None or keys.high is not None:
        beside = "classes" if keys.classes is not None else "high"
        raise ModelError(f"fake_index stands beside {beside}", f"take {beside} off, or fake_index")
    classes = ("real", "fake") if keys.fake_index == 1 else ("fake", "real")
    return keys.model_copy(update={"classes": classes})


def _in_its_place(keys: TorchKeys, columns: int) -> str:
    if columns > 2:
        return f'take fake_index off and add classes = [{columns} names] and real = "NAME"'
    if keys.high is not None:
        return f'take fake_index off; high = "{keys.high}" says it all'
    return 'take fake_index off and add high = "fake" (or high = "real"): what a high value means'


# ---- capabilities -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Layer:
    """What is known of inner layers: the target, where the others lie, or why there is none."""

    name: str | None
    places: Places | None = None
    limit: str = ""


def with_capabilities(
    plain: TorchDetector, target_layer: str | None, hooks: bool, pictures: Tensor, notes: Notes
) -> TorchDetector:
    """``plain`` with what it was found able to do: gradients, activations, its target layer.

    Parameters
    ----------
    target_layer: the layer wanted; None: choose one. Raises :class:`ModelError` where it does not exist or does not
        lie on the picture.
    hooks: whether hooks on the layers fire.
    """
    gives, limits = set(), dict[str, str]()
    if (reason := _no_gradient(plain, pictures)) is None:
        gives.add("gradients")
    else:
        limits["gradients"] = reason
    if reason is not None or not hooks:
        limits["operations"] = (
            reason or "TorchScript runs its operations out of sight; give the model as .pt2 or as a factory"
        )
    else:
        gives.add("operations")
    if unseen := limits.get("operations") or attention_limit(plain.differentiable_logits, pictures):
        limits["attention"] = unseen
    else:
        gives.add("attention")
    layer = _layer(plain, wanted=target_layer, hooks=hooks, no_gradient=reason, pictures=pictures, notes=notes)
    if layer.name is None:
        limits["activations"] = layer.limit
    else:
        gives.add("activations")
    facts = replace(
        plain.facts,
        gives=frozenset(gives),
        limits=limits,
        target_layer=layer.name,
        layers=with_parameters(plain.network.module),
        notes=tuple(notes.lines),
    )
    return replace(plain, facts=facts, places=layer.places)


def _no_gradient(detector: TorchDetector, pictures: Tensor) -> str | None:
    """Why the logits cannot be differentiated with respect to the pictures, None where they can."""
    leaf = pictures.clone().requires_grad_(True)
    try:
        with torch.enable_grad():
            torch.autograd.grad(detector.differentiable_logits(leaf)[:, -1].sum(), leaf)
    except RuntimeError as error:
        return f"the model does not pass gradients: {str(error).splitlines()[0]}"
    return None


def _layer(
    detector: TorchDetector, *, wanted: str | None, hooks: bool, no_gradient: str | None, pictures: Tensor, notes: Notes
) -> _Layer:
    module, size = detector.network.module, detector.facts.input_size
    if wanted is not None:
        named_layer(module, wanted)
    if not hooks:
        return _Layer(None, limit="TorchScript runs its layers without hooks; give the model as .pt2 or as a factory")
    if no_gradient is not None:
        return _Layer(None, limit=no_gradient)
    forward = detector.differentiable_logits
    if wanted is None:
        chosen = choose(module, forward, pictures, size)
        if chosen.layer is not None:
            how = f"{chosen.grid}; chosen automatically; set target_layer=NAME"
            notes.add(f"target layer: {chosen.layer} ({how})")
            for line in chosen.notes:
                notes.add(line)
        return _Layer(chosen.layer, chosen.places, chosen.limit)
    return _named(wanted, detector, pictures)


def _named(wanted: str, detector: TorchDetector, pictures: Tensor) -> _Layer:
    module, forward = detector.network.module, detector.differentiable_logits
    seen = watch(module, forward, pictures)
    places = places_of(seen, len(pictures), detector.facts.input_size)
    shapes = {s.run: s.shape for s in seen if s.layer == wanted}
    shape = shapes.get(run_of(module, forward, pictures, wanted, places)) if shapes else None
    if shape is not None and places(wanted, shape, len(pictures)) is None:
        raise ModelError(
            f"target layer '{wanted}' gives shape {shape}, which does not lie on the picture",
            "set target_layer to a layer of feature maps or picture tokens",
        )
    return _Layer(wanted, places)
