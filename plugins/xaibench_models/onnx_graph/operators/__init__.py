"""The operators, one module per family; importing the package registers all of them in :data:`OPERATORS`."""

from xaibench_models.onnx_graph.operators import (
    arithmetic,
    attention,
    contributed,
    contributed_attention,
    convolution,
    indexing,
    matrix,
    normalisation,
    pooling,
    reduction,
    resizing,
    shape,
    unary,
)
from xaibench_models.onnx_graph.registration import OPERATORS

__all__ = [
    "OPERATORS",
    "arithmetic",
    "attention",
    "contributed",
    "contributed_attention",
    "convolution",
    "indexing",
    "matrix",
    "normalisation",
    "pooling",
    "reduction",
    "resizing",
    "shape",
    "unary",
]
