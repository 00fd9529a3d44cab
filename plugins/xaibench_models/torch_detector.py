"""A PyTorch model behind the detector contract: logits in autograd, inner activations, randomised copies."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from xaibench.api import CardVariant, Facts, Features, ModelError
from xaibench_models.batches import in_batches
from xaibench_models.card_variants import CardInUse, find_variants, try_network
from xaibench_models.grids import Places
from xaibench_models.interface import ModelInput, check_pictures
from xaibench_models.layer_choice import run_of
from xaibench_models.layers import caught, named_layer
from xaibench_models.outputs import Outputs, as_columns
from xaibench_models.torch_ending import TorchEnding
from xaibench_models.torch_loading import frozen

_HALVES = {"fp16": torch.float16, "bf16": torch.bfloat16}
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
        return as_columns(_pick(self.returned(images), self.output_key), len(images))

    def returned(self, images: Tensor) -> Any:
        """What the module returns for ``(N, 3, H, W)`` pictures."""
        x = self.source.preprocessing(images)
        x = x.clone() if x is images else x  # a model may normalise its input in place
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        with self._computing():
            return self.module({self.input_key: x} if self.input_key is not None else x)

    def other_output_keys(self, images: Tensor) -> list[str | int]:
        """The keys of further tensors of numbers in the dict or tuple that the module returns."""
        with torch.no_grad():
            returned = self.returned(images)
        items = returned.items() if isinstance(returned, Mapping) else enumerate(returned)
        if isinstance(returned, Tensor):
            return []
        return [k for k, v in items if k != self.output_key and isinstance(v, Tensor) and v.is_floating_point()]

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


def _pick(returned: Any, key: str | int | None) -> Tensor:
    """The tensor of class scores in what a model returned."""
    if key is not None and not isinstance(returned, Tensor):
        try:
            returned = returned[key]
        except (KeyError, IndexError, TypeError):
            raise ModelError(f"the model returns nothing under output_key = {key!r}", _offered(returned)) from None
    if not isinstance(returned, Tensor):
        raise ModelError(f"the model returns a {type(returned).__name__}, not a tensor", _offered(returned))
    return returned


def _offered(returned: Any) -> str:
    if isinstance(returned, Mapping):
        return f"set output_key to one of {', '.join(map(repr, returned))}"
    if isinstance(returned, (tuple, list)):
        return f"set output_key to a number from 0 to {len(returned) - 1}"
    return "give a model that returns class scores, or a dict or tuple that holds them"


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchDetector:
    """A PyTorch detector; see :class:`xaibench.api.DifferentiableDetector`.

    ``places`` says where its layers lie on the picture, ``ending`` where logits lie in a model that returns
    probabilities (None: nowhere in sight). ``copy`` makes an independent module with the same weights. ``card`` is the
    card in use, None where it is not to be read otherwise.
    """

    facts: Facts
    network: Network
    outputs: Outputs
    places: Places | None = None
    ending: TorchEnding | None = None
    copy: Callable[[nn.Module], nn.Module]
    card: CardInUse | None = None
    _made: dict[str, TorchDetector] = field(default_factory=dict, init=False, repr=False, compare=False)
    _runs: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def device(self) -> torch.device:
        return self.network.device

    def probabilities(self, images: Tensor) -> Tensor:
        return self._without_gradient(images, lambda x: self.outputs.probabilities(self.network(x)))

    def scores(self, images: Tensor) -> Tensor:
        return self._without_gradient(images, self.differentiable_logits)

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
            details={**self.facts.details, "randomised": ", ".join(layers)},
        )
        return replace(self, facts=facts, network=self.network.placed(frozen(module)))

    def differentiable_logits(self, images: Tensor) -> Tensor:
        """``(N, C)`` logits of one batch of the size that the model accepts."""
        if self.ending is not None:
            return self.outputs.logits(self.ending.logits(self.network, images))
        values = self.network(images)
        return self.outputs.logits(values) if self.outputs.activation == "logit" else self.outputs.log_odds(values)

    def full_precision(self) -> TorchDetector:
        """The same detector without autocast; itself where it computes in float32 already."""
        if self.network.precision == "fp32":
            return self
        if "fp32" not in self._made:
            facts = replace(self.facts, quantum=self.network.source.quantum())
            self._made["fp32"] = replace(self, facts=facts, network=replace(self.network, precision="fp32"))
        return self._made["fp32"]

    def variants(self) -> tuple[CardVariant, ...]:
        """See :class:`xaibench.api.Detector`."""
        if self.card is None:
            return ()
        source = self.network.source
        values = try_network(self.network, source, self.device)
        others = self.network.other_output_keys(check_pictures(source, self.device))
        card = replace(self.card, other_outputs=tuple({"output_key": key} for key in others))
        return find_variants(card, source, self.outputs, values, self.read_as)

    def read_as(self, variant: CardVariant) -> TorchDetector:
        """The same network under another reading of its card. Raises :class:`ModelError` where it does not take it."""
        if self.card is None:
            raise ModelError(f"{self.facts.name} has no card that could be read otherwise", "open it with a card")
        keys, source = self.card.read_as(variant)
        last = self.network.channels_last and source.preprocessing.layout == "NCHW"
        output_key = variant.keys.get("output_key", self.network.output_key)
        network = replace(self.network, source=source, channels_last=last, output_key=output_key)
        values = try_network(network, source, self.device)
        outputs = self.card.outputs(variant, keys, self.outputs, values)
        return replace(
            self,
            facts=self.card.facts(self.facts, variant, keys, source, outputs),
            network=network,
            outputs=outputs,
            ending=None,
            card=None,
        )

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
        torch.manual_seed(seed)
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
