"""A PyTorch model behind the detector contract: logits in autograd, inner activations, randomised copies."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from xaibench.api import CardVariant, Facts, Features, LayerShape, ModelError
from xaibench_models.batches import in_batches
from xaibench_models.forward_engine import ENGINES, ForwardPass, forward_by
from xaibench_models.grids import Places
from xaibench_models.interface import MOST_SCORES, ModelInput, check_pictures
from xaibench_models.layer_choice import places_of, run_of
from xaibench_models.layer_list import layer_shapes
from xaibench_models.layers import caught, named_layer, watch
from xaibench_models.outputs import Outputs, as_columns
from xaibench_models.torch_ending import TorchEnding
from xaibench_models.torch_loading import frozen

_HALVES = {"fp16": torch.float16, "bf16": torch.bfloat16}
HALF_NUMBERS = ("float16", "bfloat16")
ROUNDED_DIGITS = {"fp16": 10, "bf16": 7}
"""Binary digits behind the leading one that a precision keeps of the input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A module and how to call it: ``forward({input_key: x})[output_key]`` where keys are set.

    ``source`` says how pictures become ``x``; ``precision`` other than ``fp32`` computes in autocast;
    ``channels_last`` is how ``x`` lies in memory.
    """

    module: nn.Module
    source: ModelInput
    device: torch.device
    precision: str = "fp32"
    channels_last: bool = False
    input_key: str | None = None
    output_key: str | int | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """``(N, 3, H, W)`` pictures to ``(N, columns)`` values. Raises :class:`ModelError` for what is no tensor."""
        return self.read(self.returned(images), len(images))

    def returned(self, images: Tensor) -> Any:
        """What the module returns for ``(N, 3, H, W)`` pictures."""
        x = self.source.preprocessing(images)
        x = x.clone() if x is images else x  # a model may normalise its input in place
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        return self.called(x)

    def called(self, x: Tensor) -> Any:
        """What the module returns for its own input."""
        with self._computing():
            return self.module({self.input_key: x} if self.input_key is not None else x)

    def picked(self, returned: Any, pictures: int) -> Tensor:
        """The tensor of scores in what the module returned."""
        return _pick(returned, self.output_key, pictures)

    def read(self, returned: Any, pictures: int) -> Tensor:
        """The ``(N, columns)`` values in what the module returned. Raises :class:`ModelError` where it holds none."""
        picked = self.picked(returned, pictures)
        try:
            return as_columns(picked, pictures)
        except ModelError as error:
            raise ModelError(error.what, offered_scores(returned, pictures) or error.mend) from None

    def placed(self, module: nn.Module) -> Network:
        """The same with ``module`` brought to this one's device and memory format."""
        module = module.to(self.device)
        if not isinstance(module, torch.jit.ScriptModule):
            layout = torch.channels_last if self.channels_last else torch.contiguous_format
            module = module.to(memory_format=layout)  # type: ignore[call-overload]
        return replace(self, module=module)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        with ExitStack() as stack:
            if isinstance(self.module, torch.jit.ScriptModule):
                # Optimised execution rewrites the graph after its first runs, and numbers with it.
                stack.enter_context(torch.jit.optimized_execution(False))  # type: ignore[attr-defined]
            if self.precision != "fp32":
                stack.enter_context(torch.autocast(self.device.type, dtype=_HALVES[self.precision]))
            yield


def _pick(returned: Any, key: str | int | None, pictures: int) -> Tensor:
    """The tensor of class scores in what a model returned."""
    picked = returned
    if key is not None and not isinstance(returned, Tensor):
        try:
            picked = returned[key]
        except (KeyError, IndexError, TypeError):
            mend = offered_scores(returned, pictures) or _offered(returned, pictures)
            raise ModelError(f"the model returns nothing under output_key = {key!r}", mend) from None
    if not isinstance(picked, Tensor):
        under = "" if picked is returned else f" under output_key = {key!r}"
        mend = offered_scores(returned, pictures) or _offered(returned, pictures)
        raise ModelError(f"the model returns {_described(picked)}{under}, not a tensor", mend)
    return picked


def _described(returned: Any) -> str:
    """A value that is no tensor, in words that tell labels from a container of tensors."""
    if isinstance(returned, str):
        return "text"
    parts = [part for _, part in _parts(returned)]
    kinds = {str: "texts", dict: "dicts", bool: "verdicts", int: "whole numbers"}
    inner = next((name for kind, name in kinds.items() if parts and all(type(p) is kind for p in parts)), "")
    return f"a {type(returned).__name__}{f' of {inner}' if inner else ''}"


def offered_scores(returned: Any, pictures: int, besides: str | int | None = None) -> str:
    """Which parts of what a model returned hold class scores, as words that say how to name one; empty where none.

    ``besides`` is the key of a part that holds none though it looks so.
    """
    parts = {key: n for key, n in scores_within(returned, pictures).items() if key != besides}
    if not parts:
        return ""
    named = (f"output_key = {key!r} (scores of {n} column{'s' * (n > 1)})" for key, n in parts.items())
    return f"add {' or '.join(named)} to the card"


def scores_within(returned: Any, pictures: int) -> dict[str | int, int]:
    """The parts of what a model returned that could be class scores, and how many columns they have."""
    return {
        key: tensor.reshape(pictures, -1).shape[1]
        for key, tensor in _parts(returned)
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.ndim and len(tensor) == pictures
        if 0 < tensor[0].numel() <= MOST_SCORES and all(d == 1 for d in tensor.shape[2:])
    }


def _parts(returned: Any) -> list[tuple[str | int, Any]]:
    if isinstance(returned, Mapping):
        return list(returned.items())
    return list(enumerate(returned)) if isinstance(returned, tuple | list) else []


def _offered(returned: Any, pictures: int) -> str:
    """What to do with a return value none of whose parts is known to hold scores."""
    tensors = [key for key, part in _parts(returned) if isinstance(part, Tensor)]
    nested = {key: inner for key, part in _parts(returned) if (inner := scores_within(part, pictures))}
    if nested:
        where = " or ".join(f"[{key!r}][{inner!r}]" for key, parts in nested.items() for inner in parts)
        return f"its scores lie deeper, in {where}: give a model that returns these, or has them at the top"
    if tensors:
        return f"set output_key to one of {', '.join(map(repr, tensors))}"
    return "give a model that returns a tensor with one row of class scores a picture, or a dict or tuple that holds it"


class Readings(Protocol):
    """Other readings of the card that a detector was opened with."""

    def variants(self, detector: TorchDetector) -> tuple[CardVariant, ...]: ...

    def read(self, detector: TorchDetector, variant: CardVariant) -> TorchDetector:
        """``detector`` under another reading. Raises :class:`ModelError` where its network does not take it so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchDetector:
    """A PyTorch detector; see :class:`xaibench.api.DifferentiableDetector`.

    ``places`` says where its layers lie on the picture, ``ending`` where logits lie in a model that returns
    probabilities (None: nowhere in sight). ``copy`` makes an independent module with the same weights. ``forward``
    gives the network's values by another engine where no gradient is asked for; None: torch gives them.
    """

    facts: Facts
    network: Network
    outputs: Outputs
    places: Places | None = None
    ending: TorchEnding | None = None
    copy: Callable[[nn.Module], nn.Module]
    readings: Readings | None = None
    forward: ForwardPass | None = None
    _made: dict[str, TorchDetector] = field(default_factory=dict, init=False, repr=False, compare=False)
    _runs: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def device(self) -> torch.device:
        return self.network.device

    def probabilities(self, images: Tensor) -> Tensor:
        values = self.network if self.forward is None else self.forward
        return self._without_gradient(images, lambda x: self.outputs.probabilities(values(x)))

    def scores(self, images: Tensor) -> Tensor:
        forward = self.forward
        if forward is None or self.outputs.activation != "logit":
            return self._without_gradient(images, self.differentiable_logits)
        return self._without_gradient(images, lambda x: self.outputs.logits(forward(x)))

    def other_engines(self, threads: int) -> tuple[str, ...]:
        """See :class:`xaibench.api.Detector`."""
        return ENGINES if self.device.type == "cpu" and self.forward is None else ()

    def with_engine(self, engine: str, threads: int) -> TorchDetector:
        """See :class:`xaibench.api.Detector`."""
        forward = forward_by(engine, self.network, threads)
        name = "onnxruntime" if engine == "onnxruntime" else self.facts.engine
        return replace(self, facts=replace(self.facts, engine=name), forward=forward)

    def logits(self, images: Tensor) -> Tensor:
        if not len(images):
            return images.new_zeros((0, len(self.outputs.classes)))
        return in_batches(images.to(self.device), self.facts.batch, self.differentiable_logits)

    def features(
        self, images: Tensor, layer: str | None = None, edit: Callable[[Tensor, int], Tensor] | None = None
    ) -> Features:
        name = layer or self.facts.target_layer
        if "activations" not in self.facts.gives or name is None:
            reason = self.facts.limits.get("activations", "no layer lies on the picture")
            raise ModelError(f"{self.facts.name}: inner layers cannot be seen: {reason}", "set target_layer to one")
        run = self._run_of(name)
        places = self._places()
        with caught(self.network.module, name, self._on_channels(name, edit), run) as found:
            logits = self.differentiable_logits(images.to(self.device))
        if len(found) <= run:
            raise ModelError(f"layer '{name}' takes no part in a forward pass", "set target_layer to another")
        activation = found[run]
        grid = places(name, activation.shape, len(images))
        if grid is None:
            raise ModelError(
                f"layer '{name}' gives shape {tuple(activation.shape)}, which does not lie on the picture",
                "set target_layer to a layer of feature maps or picture tokens",
            )
        return Features(activation=activation, logits=logits, to_grid=grid)

    def layer_shapes(self) -> tuple[LayerShape, ...]:
        """All inner layers; see :class:`xaibench.api.Detector`."""
        if isinstance(self.network.module, torch.jit.ScriptModule):
            reason = self.facts.limits.get("activations", "TorchScript runs its layers without hooks")
            raise ModelError(f"{self.facts.name}: inner layers cannot be seen: {reason}", "give the model as .pt2")
        pictures = check_pictures(self.network.source, self.device)
        module, forward = self.network.module, self.differentiable_logits
        places = self.places or places_of(watch(module, forward, pictures), len(pictures), self.facts.input_size)
        return layer_shapes(module, forward, pictures, places, self.facts.target_layer)

    def _places(self) -> Places:
        return self.places or Places(self.facts.input_size)

    def _run_of(self, layer: str) -> int:
        if layer not in self._runs:
            pictures = check_pictures(self.network.source, self.device)
            forward = self.differentiable_logits
            self._runs[layer] = run_of(self.network.module, forward, pictures, layer, self._places())
        return self._runs[layer]

    def _on_channels(
        self, layer: str, edit: Callable[[Tensor, int], Tensor] | None
    ) -> Callable[[Tensor], Tensor] | None:
        """``edit`` with the axis of the channels filled in."""
        if edit is None:
            return None
        places = self._places()

        def edited(activation: Tensor) -> Tensor:
            grid = places(layer, activation.shape, len(activation))
            return edit(activation, 1 if grid is None or grid.layout == "NCHW" else activation.ndim - 1)

        return edited

    def randomised(self, layers: Sequence[str], generator: torch.Generator) -> TorchDetector:
        """A copy in which ``layers`` and all within them are as before training.

        Modules with ``reset_parameters`` run it (running statistics of normalisations are reset with it); parameters
        of other modules are drawn from a normal distribution of their own mean and spread, and made positive where
        none was negative.
        """
        seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
        for layer in layers:
            named_layer(self.network.module, layer)
        module = self.copy(self.network.module).cpu()
        reset(module, layers, seed)
        operation = f"{self.facts.digest} randomised {' '.join(layers)} seed {seed}"
        facts = replace(
            self.facts,
            digest=hashlib.sha256(operation.encode()).hexdigest(),
            engine="torch",
            details={**self.facts.details, "randomised": ", ".join(layers)},
        )
        return replace(self, facts=facts, network=self.network.placed(frozen(module)), forward=None)

    def differentiable_logits(self, images: Tensor) -> Tensor:
        """``(N, C)`` logits of one batch of the size that the model accepts."""
        if self.ending is not None:
            return self.outputs.logits(self.ending.logits(self.network, images))
        values = self.network(images)
        return self.outputs.logits(values) if self.outputs.activation == "logit" else self.outputs.log_odds(values)

    def full_precision(self) -> TorchDetector:
        """The same detector in float32, without autocast; itself where it computes in float32 already, or where its
        program is written for half precision alone."""
        half = self.network.source.preprocessing.number in HALF_NUMBERS
        if self.network.precision == "fp32" and not half:
            return self
        if "fp32" not in self._made:
            network = replace(self.network, precision="fp32")
            network = (self._widened(network) or network) if half else network
            if network == self.network:
                return self
            precision = self.facts.precision if network.source.preprocessing.number in HALF_NUMBERS else "fp32"
            facts = replace(self.facts, quantum=network.source.quantum(), precision=precision)
            self._made["fp32"] = replace(self, facts=facts, network=network)
        return self._made["fp32"]

    def _widened(self, network: Network) -> Network | None:
        """``network`` with a float32 copy of its module; None where the module does not run so."""
        preprocessing = replace(network.source.preprocessing, number="float32")
        wide = replace(network, source=replace(network.source, preprocessing=preprocessing))
        try:
            wide = wide.placed(frozen(self.copy(network.module).float()))
            with torch.no_grad():
                wide(check_pictures(wide.source, self.device))
        except Exception:  # an exported program casts to its own number type on the way
            return None
        return wide

    def variants(self) -> tuple[CardVariant, ...]:
        """Other plausible readings of its card, the likeliest first."""
        return self.readings.variants(self) if self.readings is not None else ()

    def read_as(self, variant: CardVariant) -> TorchDetector:
        """The same module under another reading of its card; it gives probabilities and scores alone.

        Raises :class:`ModelError` where the module does not take it so.
        """
        if self.readings is None:
            raise ModelError(f"{self.facts.name} has no card that could be read otherwise", "open it from a file")
        return self.readings.read(self, variant)

    def _without_gradient(self, images: Tensor, call: Callable[[Tensor], Tensor]) -> Tensor:
        if not len(images):
            return torch.zeros((0, len(self.outputs.classes)), device=self.device)
        with torch.inference_mode():
            result = in_batches(images.to(self.device), self.facts.batch, call)
        return result.clone()  # an ordinary tensor, where the one made inside may not enter autograd


# ---- randomising ------------------------------------------------------------------------------------------------


def reset(module: nn.Module, layers: Sequence[str], seed: int) -> None:
    """Draw the parameters of ``layers`` and all within them anew, in place; the global random state is left alone."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the generators of GPUs as well
        done: set[int] = set()
        for layer in layers:
            for inner in named_layer(module, layer).modules():
                if id(inner) not in done:
                    done.add(id(inner))
                    _reset_own(inner)


def _reset_own(module: nn.Module) -> None:
    """Reset the parameters that belong to this module itself, not to modules within."""
    again = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
    if callable(again):
        again()
        return
    for parameter in module.parameters(recurse=False):
        spread = parameter.float().std() if parameter.numel() > 1 else parameter.abs().float().mean()
        drawn = torch.randn(parameter.shape) * spread + parameter.float().mean()
        parameter.copy_(drawn.abs() if bool((parameter >= 0).all()) else drawn)  # a variance has to stay one
