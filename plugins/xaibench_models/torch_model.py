"""The ``torch`` component: detectors in PyTorch, from an exported file or from a factory and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from xaibench.api import CardVariant, Facts, ModelError, Parameters, Runtime
from xaibench_models.batches import in_batches
from xaibench_models.card import given, read_toml, validate
from xaibench_models.card_file import refuse_overridden, write_card
from xaibench_models.card_variants import Freedom, card_variants, without_gradients
from xaibench_models.interface import (
    DEFAULT_THRESHOLD,
    FileInput,
    Notes,
    OutputEvidence,
    check_pictures,
    digest_of,
    hard_pictures,
    layout_hint,
    provenance,
    settle_input,
    settle_outputs,
    with_number,
)
from xaibench_models.outputs import may_be_probabilities
from xaibench_models.preprocess import Number
from xaibench_models.torch_capabilities import with_capabilities
from xaibench_models.torch_card import OWN_WEIGHTS, TorchKeys
from xaibench_models.torch_detector import (
    HALF_NUMBERS,
    ROUNDED_DIGITS,
    Network,
    TorchDetector,
    offered_scores,
    scores_within,
)
from xaibench_models.torch_ending import torch_ending
from xaibench_models.torch_evidence import Dependence, Suspect, ValueKind
from xaibench_models.torch_loading import Loaded, load_factory, load_file

_REMOTE_PICTURES = 4


class _TorchSource(Parameters):
    path: str = Field("", description="a .pt2 or TorchScript file, or a .toml with any of these keys")


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

    def open(self, member: str, runtime: Runtime) -> TorchDetector:
        """Load the model and try it on a batch.

        Raises :class:`ModelError` for a missing or corrupt file, weights that need pickled code or do not fit, a
        wrong key, and an output whose meaning is unknown or which is not what the card says.
        """
        where = self.parameters.path or f"factory {self.parameters.factory}"
        keys, file = _keys(self.parameters)
        try:
            loaded = _load(keys, file, Path(self.parameters.path).parent, _device(runtime.device))
            return build(loaded, keys, runtime, self._name(), where)
        except ModelError as error:
            what = error.what if where in error.what else f"{where}: {error.what}"
            raise ModelError(what, error.mend) from error.__cause__

    def write_card(self, member: str, keys: Mapping[str, Any]) -> str:
        """Change these keys in the ``.toml`` that describes the model, or in the one beside its file.

        Raises :class:`ModelError` where the new card is wrong, cannot be written, or a parameter wins over it.
        """
        if not self.parameters.path:
            raise ModelError("torch: no file is named, so there is no card", "write a .toml with factory and weights")
        card = Path(self.parameters.path).with_suffix(".toml")
        refuse_overridden(keys, given(self.parameters), str(card))

        def check(values: dict[str, Any]) -> None:
            validate({k: v for k, v in values.items() if k != "path"}, TorchKeys, str(card))

        return write_card(card, keys, check)


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


def _load(keys: TorchKeys, file: Path | None, folder: Path, device: torch.device) -> Loaded:
    if keys.factory is None:
        assert file is not None  # _keys refuses what names neither
        return load_file(file, device)
    pythonpath = [(folder / p).resolve() for p in keys.pythonpath or ()]
    weights = None if keys.weights in (None, OWN_WEIGHTS) else folder / keys.weights
    return load_factory(keys.factory, keys.kwargs or {}, pythonpath, weights)


def _untrained(keys: TorchKeys, module: nn.Module) -> str:
    """What to say of a factory whose card names no weights; empty where they are named, or where there is no factory.

    Its network may be as before training, or its code may have loaded weights: nobody can tell by looking at it.
    """
    if keys.factory is None or keys.weights is not None:
        return ""
    said = f"its card names no weights: the network is as its factory '{keys.factory}' made it, perhaps untrained"
    if own := _other_numbers(module):
        said += f" (it computes in {', '.join(own)}, and .float() makes it float32)"
    return said


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
    if untrained := _untrained(keys, loaded.module):
        notes.add(
            f'{untrained}; add weights = "FILE.safetensors", or weights = "{OWN_WEIGHTS}" where the '
            "factory loads them itself"
        )
    source = settle_input(keys, FileInput(layout=loaded.layout, size=loaded.size, batch=loaded.batch), notes)
    network = Network(
        module=loaded.module,
        source=source,
        device=_device(runtime.device),
        precision=runtime.precision,
        input_key=keys.input_key,
        output_key=keys.output_key,
    )
    started = _started(network)
    plain = _settled(loaded, keys, started, name, file, notes)
    plain = replace(plain, readings=_Readings(loaded, keys, name, file))
    return with_capabilities(plain, keys.target_layer, loaded.hooks, started.pictures, notes)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a pass told: what could make outputs hang on chance or company, and what its values are."""

    suspects: Mapping[Suspect, str]
    kind: ValueKind


@dataclass(frozen=True, slots=True)
class _Started:
    """A network that runs, with its ``values`` of the check pictures, and what that pass told of it."""

    network: Network
    pictures: Tensor
    values: Tensor
    seen: _Seen


def _settled(loaded: Loaded, keys: TorchKeys, started: _Started, name: str, file: str, notes: Notes) -> TorchDetector:
    """A detector whose outputs are understood; what it is able to do is not yet known."""
    network, source, values = started.network, started.network.source, started.values
    keys = _with_fake_index(keys, values.shape[1])
    outputs = settle_outputs(keys, values, None, notes, _evidence(started, keys))
    ending = torch_ending(network, started.pictures) if outputs.activation != "logit" else None
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
        zero_colour=source.zero_colour,
        quantum=source.quantum(ROUNDED_DIGITS.get(network.precision)),
        precision=_precision(network),
        logit_source="logits" if outputs.activation == "logit" or ending else "log-odds",
        stochastic=bool(keys.stochastic),
        remote=bool(keys.remote),
        suspects=started.seen.suspects,
        details=provenance(
            keys,
            file=Path(file).name,
            format=f"PyTorch, {loaded.form}",
            factory=keys.factory,
            untrained=_untrained(keys, loaded.module),
        ),
    )
    if own := _own_half(network):
        notes.add(f"its weights are {own}, and it computes in that; the network would be float32 after .float()")
    if ending is not None:
        notes.add(f"logits: those that go into the model's last {ending.kind}, whose probabilities it returns")
    elif outputs.activation != "logit":
        notes.add("logits: clipped log-odds of the probabilities that the model returns")
    return TorchDetector(facts=facts, network=network, outputs=outputs, copy=loaded.copy, ending=ending)


def _precision(network: Network) -> Literal["fp32", "fp16", "bf16"]:
    """The number type that it computes in: that of the weights where they are in half precision."""
    halves: Mapping[str, Literal["fp16", "bf16"]] = {"float16": "fp16", "bfloat16": "bf16"}
    return halves.get(_own_half(network)) or cast('Literal["fp32", "fp16", "bf16"]', network.precision)


def _own_half(network: Network) -> str:
    """The number type of a module's weights where they are in half precision; empty where none is."""
    return next((n for n in _other_numbers(network.module) if n in HALF_NUMBERS), "")


def _evidence(started: _Started, keys: TorchKeys) -> OutputEvidence:
    network, pictures = started.network, started.pictures

    def harder() -> Tensor:
        few = _REMOTE_PICTURES if keys.remote else None
        with torch.no_grad():
            return in_batches(hard_pictures(network.source, network.device, few), network.source.batch, network)

    def elsewhere() -> str:
        with torch.no_grad():
            return offered_scores(network.returned(pictures), len(pictures), besides=network.output_key)

    def leaves() -> Literal["sigmoid", "softmax", "linear"] | None:
        ending = torch_ending(network, pictures)
        return ending.kind if ending else "linear" if started.seen.kind == "linear" else None

    return OutputEvidence(leaves=leaves, harder=harder, elsewhere=elsewhere)


@dataclass(frozen=True, slots=True)
class _Readings:
    """Other readings of the card of a loaded model; see :class:`xaibench_models.torch_detector.Readings`."""

    loaded: Loaded
    keys: TorchKeys
    name: str
    file: str

    def variants(self, detector: TorchDetector) -> tuple[CardVariant, ...]:
        network, pictures = detector.network, check_pictures(detector.network.source, detector.device)
        with torch.no_grad():
            returned = network.returned(pictures)
            values = network.read(returned, len(pictures))
        freedom = Freedom(
            layout=self.loaded.layout is None,
            size=self.loaded.size is None,
            outputs=tuple(
                {"output_key": key}
                for key, columns in scores_within(returned, len(pictures)).items()
                if key != network.output_key and columns == detector.outputs.columns
            ),
            activation=may_be_probabilities(values),
        )
        return card_variants(self.keys, network.source, detector.outputs, freedom, lambda v: self.read(detector, v))

    def read(self, detector: TorchDetector, variant: CardVariant) -> TorchDetector:
        keys = validate({**given(self.keys), **variant.keys}, TorchKeys, self.name)
        file = FileInput(layout=self.loaded.layout, size=self.loaded.size, batch=self.loaded.batch)
        source = settle_input(keys, file, Notes())
        source = with_number(source, detector.network.source.preprocessing.number)
        last = detector.network.channels_last and source.preprocessing.layout == "NCHW"
        network = replace(detector.network, source=source, output_key=keys.output_key, channels_last=last)
        pictures = check_pictures(source, detector.device)
        values, seen = _try(network, pictures)
        started = _Started(network, pictures, values, seen)
        found = _settled(self.loaded, keys, started, self.name, self.file, Notes())
        return replace(found, facts=without_gradients(found.facts))


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


def _started(network: Network) -> _Started:
    """``network`` in the number type that it takes, tried on the check pictures.

    Pictures are float32. A module with weights of another type that refuses these is fed its own type.
    """
    pictures = check_pictures(network.source, network.device)
    own = _other_numbers(network.module)
    first: ModelError | None = None
    for number in ("float32", *own):
        fed = in_memory(replace(network, source=with_number(network.source, cast("Number", number))), pictures)
        try:
            values, seen = _try(fed, pictures)
        except ModelError as error:
            first = first or error
            continue
        if seen.kind == "step":
            with torch.no_grad():
                mend = offered_scores(fed.returned(pictures), len(pictures), besides=fed.output_key)
            raise ModelError(
                "the output holds classes or verdicts, as of an argmax or a comparison, and no scores",
                mend or "give a model that returns logits or probabilities",
            )
        return _Started(fed, pictures, values, seen)
    assert first is not None
    if own and first.__cause__ is not None:  # the module's own code failed
        mend = f"its weights are {', '.join(own)}, and pictures float32: return it in float32, by .float()"
        raise ModelError(first.what, mend) from first.__cause__
    raise first


def _other_numbers(module: nn.Module) -> tuple[str, ...]:
    """Number types of a module's weights besides float32."""
    floats = dict.fromkeys(p.dtype for p in module.parameters() if p.is_floating_point())
    return tuple(str(number).removeprefix("torch.") for number in floats if number != torch.float32)


def _try(network: Network, pictures: Tensor) -> tuple[Tensor, _Seen]:
    dependence = Dependence(network.module, len(pictures))
    try:
        with torch.no_grad(), dependence.watching(pictures):
            values = network(pictures)
    except ModelError:
        raise
    except Exception as error:  # the model is the user's code
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"it fails on a batch of {len(pictures)} pictures: {type(error).__name__}: {first[:300]}",
            layout_hint(
                lambda other: _forward(replace(network, source=other, channels_last=False), pictures), network.source
            )
            or "check size, layout, input_key and batch",
        ) from error
    return values, _Seen(dependence.suspects, dependence.kinds.get(values, "other"))


def _forward(network: Network, pictures: Tensor) -> Tensor:
    with torch.no_grad():
        return network(pictures)


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
