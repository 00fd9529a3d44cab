"""Watching and changing the torch operations of a network while it runs, and reading its weights from files.

A detector that gives ``operations`` computes its logits by torch functions, whatever it was made from: modules,
functional code, an exported program (which calls ``torch.ops.aten``), the ONNX executor. :class:`Operations` sees each
call under one name and lets a rule answer in its place::

    class Doubled(Operations):
        def __init__(self) -> None:
            super().__init__({"relu": lambda call: 2 * call.run()})

    with Doubled():
        logits = detector.logits(images)

Names are those of ``torch.nn.functional`` where there are several: ``F.relu``, ``nn.ReLU``, ``torch.relu``,
``Tensor.relu_`` and ``aten.relu_.default`` are all ``relu``. Attention is taken apart into ``matmul`` and ``softmax``
before rules are asked. Code that TorchScript runs is out of sight.
"""

from __future__ import annotations

from xaibench_operations.attention import (
    MOST_EXTRA,
    NO_ATTENTION,
    Attention,
    TokenGrid,
    attention_limit,
    has_attention,
    token_grid,
)
from xaibench_operations.calls import ELEMENTWISE, MAX_POOLS, Call, Operations, Rule, depends
from xaibench_operations.checkpoints import check_fit, read_tensors, without_prefix
from xaibench_operations.linear import LINEAR, Linear, as_linear, batch_norm_affine

__all__ = [
    "ELEMENTWISE",
    "LINEAR",
    "MAX_POOLS",
    "MOST_EXTRA",
    "NO_ATTENTION",
    "Attention",
    "Call",
    "Linear",
    "Operations",
    "Rule",
    "TokenGrid",
    "as_linear",
    "attention_limit",
    "batch_norm_affine",
    "check_fit",
    "depends",
    "has_attention",
    "read_tensors",
    "token_grid",
    "without_prefix",
]
