"""What a forward pass of a PyTorch model tells of its outputs: what they left, and what else they may hang on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

ValueKind = Literal["linear", "step", "other"]
Suspect = Literal["chance", "company"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_RANDOM = _words(
    """
    bernoulli bernoulli_ native_dropout _fused_dropout rand rand_like randn randn_like randint randint_like randperm
    normal normal_ uniform uniform_ exponential_ multinomial cauchy_ log_normal_ geometric_ random_ poisson
    rrelu_with_noise rrelu_with_noise_
    """
)
_BATCH_NORMS = _words(
    """
    native_batch_norm cudnn_batch_norm miopen_batch_norm _native_batch_norm_legit _batch_norm_with_update
    _batch_norm_with_update_functional _native_batch_norm_legit_functional
    """
)
_OF_WHOLE_BATCH = frozenset(["choose_qparams", "choose_qparams_symmetric", "_choose_qparams_per_tensor"])
# Values of a linear layer have no bounds; a step gives few values, as a verdict or the number of a class has.
_LINEAR = _words(
    """
    addmm mm bmm linear convolution _convolution mkldnn_convolution conv2d addmv mv linear_dynamic mkldnn_linear baddbmm
    """
)
_STEPS = _words(
    """
    argmax argmin gt ge lt le eq ne greater less greater_equal less_equal logical_and logical_or logical_not sign
    signbit round floor ceil trunc heaviside one_hot bitwise_not bitwise_and bitwise_or
    """
)
# What keeps the kind of its inputs, in place or not; inputs that do not come from the pictures are constants.
_CARRY = _words(
    """
    view _unsafe_view reshape _reshape_alias squeeze unsqueeze select slice clone _to_copy to t transpose permute alias
    detach index gather index_select cat stack add sub rsub neg mul div mean sum as_strided split split_with_sizes
    unbind chunk expand dequantize contiguous scatter where flatten unflatten max min topk sort flip roll repeat
    index_put masked_fill copy
    """
)
_PRODUCTS = _words("mul div")
_SHAPE_ALONE = _words("zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty")
_PLACES = frozenset(["max", "min", "topk", "sort"])  # operators whose second result are places


@dataclass(eq=False)
class Dependence(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches which operators of a pass draw at random, and which mix the pictures of its batch.

    ``chance`` and ``company`` hold one text for each layer that does; ``kinds`` what the tensors hold that come from
    the pictures: values of linear layers, steps, or others. The operators are seen below autograd and inside
    TorchScript; layers have names where hooks fire.
    """

    module: nn.Module
    pictures: int
    chance: dict[str, str] = field(default_factory=dict)
    company: dict[str, str] = field(default_factory=dict)
    kinds: MutableMapping[Tensor, ValueKind] = field(default_factory=WeakTensorKeyDictionary)
    layers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Torch would wrap __torch_dispatch__ in a call that imports its compiler, 1.3 s of every process.
        # The wrapper keeps the compiler from compiling what a mode does, and no mode is on during a compiled pass.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        namespace, _, name = func.name().partition("::")
        name = name.partition(".")[0]
        if name in _RANDOM and (not name.startswith("rrelu") or _trains(args)):
            self._add(self.chance, f"draws at random ({name}), as dropout in training mode does")
        elif name in _BATCH_NORMS and self._mixes(args):
            self._add(self.company, "normalises with the statistics of the batch, as BatchNorm in training mode does")
        elif self.pictures > 1 and (_is_dynamic(namespace, name) or name in _OF_WHOLE_BATCH):
            self._add(self.company, "is quantised dynamically, with one scale for all pictures of a batch")
        result = func(*args, **(kwargs or {}))
        self._follow(name.rstrip("_"), args, result)
        return result

    def _follow(self, name: str, args: Sequence[Any], result: Any) -> None:
        """Note the kind of what an operator gives, if it comes from the pictures."""
        inputs = [t for a in args for t in (a if isinstance(a, list | tuple) else [a]) if isinstance(t, Tensor)]
        known = [self.kinds[t] for t in inputs if t in self.kinds]
        if not known or name in _SHAPE_ALONE:
            return
        outputs = result if isinstance(result, tuple | list) else [result]
        for place, output in enumerate(outputs):
            if isinstance(output, Tensor):
                self.kinds[output] = _kind_of(name, place, known)

    def _mixes(self, args: Sequence[Any]) -> bool:
        """Whether a normalisation trains on rows of several pictures. An InstanceNorm folds them into the channels."""
        rows = args[0].shape[0]
        return _trains(args) and self.pictures > 1 and rows >= self.pictures

    def _add(self, found: dict[str, str], what: str) -> None:
        layer = self.layers[-1] if self.layers else ""
        found.setdefault(f"{layer} {what}", f"layer '{layer}' {what}" if layer else f"the network {what}")

    @contextmanager
    def watching(self, images: Tensor) -> Iterator[None]:
        """Watch while this lasts, and follow what becomes of ``images``."""
        self.kinds[images] = "other"
        with ExitStack() as stack:
            if not isinstance(self.module, torch.jit.ScriptModule):
                for name, inner in self.module.named_modules():
                    if name and not isinstance(inner, torch.jit.ScriptModule):
                        stack.callback(inner.register_forward_pre_hook(self._enter(name)).remove)
                        stack.callback(inner.register_forward_hook(self._leave, always_call=True).remove)
            stack.enter_context(self)
            yield

    def _enter(self, name: str) -> Callable[..., None]:
        return lambda *_: self.layers.append(name)

    def _leave(self, *_: Any) -> None:
        self.layers.pop()

    @property
    def suspects(self) -> dict[Suspect, str]:
        """What could make outputs hang on chance or on company, the first layer named and the others counted."""
        kinds: tuple[tuple[Suspect, dict[str, str]], ...] = (("chance", self.chance), ("company", self.company))
        return {kind: _first_of(list(found.values())) for kind, found in kinds if found}


def _kind_of(name: str, place: int, known: Sequence[ValueKind]) -> ValueKind:
    """The kind of one result of an operator, ``known`` being those of its inputs that come from the pictures."""
    if name in _STEPS or (name in _PLACES and place == 1):
        return "step"
    if name in _LINEAR:  # the product of two activations may be a weighted mean of probabilities
        return "linear" if len(known) == 1 else "other"
    if name not in _CARRY or len(set(known)) != 1 or (name in _PRODUCTS and len(known) > 1):
        return "other"
    if known[0] == "step" and name in ("mean", "sum"):  # the share of patches that voted fake is a score
        return "other"
    return known[0]


def _trains(args: Sequence[Any]) -> bool:
    return any(a is True for a in args)


def _first_of(texts: Sequence[str]) -> str:
    more = len(texts) - 1
    return f"{texts[0]}, and {more} more do{'es' * (more == 1)}" if more else texts[0]


def _is_dynamic(namespace: str, name: str) -> bool:
    return namespace == "quantized" and name.endswith(("_dynamic", "_dynamic_fp16")) and "fp16" not in name
