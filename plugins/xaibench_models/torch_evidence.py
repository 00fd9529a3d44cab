"""What a forward pass of a PyTorch model tells of its outputs: what they left, and what else they may hang on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from xaibench_models.outputs import are_whole
from xaibench_models.torch_ending import torch_ending

Call = Callable[[Tensor], Tensor]
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
# What lies between a layer and an output without changing which values are possible.
_CARRY = _words(
    """
    View UnsafeView ReshapeAlias Squeeze Unsqueeze Select Slice Clone ToCopy T Transpose Permute Alias Index Cat Add
    Sub Neg Mean Sum AsStrided Split Unbind Expand
    """
)
_LINEAR = frozenset(["Addmm", "Mm", "Linear", "Convolution", "MkldnnConvolution", "SlowConv2D", "Addmv", "Mv"])
_STEPS = frozenset(["Round", "Sign", "Floor", "Ceil", "Trunc"])
_MOST_NODES = 200


@dataclass(eq=False)
class Dependence(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches which operators of a pass draw at random, and which mix the pictures of its batch.

    ``chance`` and ``company`` hold one text for each layer that does. The operators are seen below autograd and inside
    TorchScript; layers have names where hooks fire.
    """

    module: nn.Module
    pictures: int
    chance: dict[str, str] = field(default_factory=dict)
    company: dict[str, str] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

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
        return func(*args, **(kwargs or {}))

    def _mixes(self, args: Sequence[Any]) -> bool:
        """Whether a normalisation trains on rows of several pictures. An InstanceNorm folds them into the channels."""
        rows = args[0].shape[0]
        return _trains(args) and self.pictures > 1 and rows >= self.pictures

    def _add(self, found: dict[str, str], what: str) -> None:
        layer = self.layers[-1] if self.layers else ""
        found.setdefault(f"{layer} {what}", f"layer '{layer}' {what}" if layer else f"the network {what}")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while this lasts."""
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


def _trains(args: Sequence[Any]) -> bool:
    return any(a is True for a in args)


def _first_of(texts: Sequence[str]) -> str:
    more = len(texts) - 1
    return f"{texts[0]}, and {more} more do{'es' * (more == 1)}" if more else texts[0]


def _is_dynamic(namespace: str, name: str) -> bool:
    return namespace == "quantized" and name.endswith(("_dynamic", "_dynamic_fp16")) and "fp16" not in name


def left_layer(network: Call, pictures: Tensor) -> Literal["sigmoid", "softmax", "linear"] | None:
    """What the output of a model left: a sigmoid or softmax, or a linear layer at most added up; None: not seen."""
    ending = torch_ending(network, pictures)
    if ending is not None:
        return ending.kind
    values = _with_gradient(network, pictures)
    linear = values is not None and values.grad_fn is not None and _all_linear(values.grad_fn)
    return "linear" if linear else None


def gives_labels(network: Call, pictures: Tensor, harder: Callable[[], Tensor]) -> bool:
    """Whether the output holds numbers of classes: whole ones on every picture, and without a gradient."""
    values = _with_gradient(network, pictures)
    if values is None or not are_whole(values.detach()) or not are_whole(harder()):
        return False
    return not values.requires_grad or any(_kind(node) in _STEPS for node in _carried(values.grad_fn))


def _with_gradient(network: Call, pictures: Tensor) -> Tensor | None:
    try:
        with torch.enable_grad():
            return network(pictures.clone().requires_grad_(True))
    except Exception:  # a model that runs without gradients alone
        return None


def _all_linear(node: Any) -> bool:
    ends = list(_carried(node))
    return bool(ends) and all(_kind(end) in _LINEAR for end in ends)


def _carried(node: Any) -> Iterator[Any]:
    """The nodes of autograd at which the values arise, behind those that only carry or add them."""
    queue, seen = [node], set[Any]()
    while queue and len(seen) < _MOST_NODES:
        node = queue.pop()
        if node in seen:
            continue
        seen.add(node)
        inputs = [n for n, _ in node.next_functions if n is not None]
        scaled = _kind(node) in ("Mul", "Div") and len(inputs) == 1
        if (_kind(node) in _CARRY or scaled) and inputs:
            queue += inputs
        else:
            yield node


def _kind(node: Any) -> str:
    name: str = node.name().rpartition("::")[2]
    return name.partition("Backward")[0]
