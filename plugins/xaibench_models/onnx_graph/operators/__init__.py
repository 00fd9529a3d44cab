"""The operators, one module per family; importing the package registers all of them."""

from xaibench_models.onnx_graph.operators import (
    arithmetic,
    attention,
    contributed,
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

__all__ = [
    "arithmetic",
    "attention",
    "contributed",
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
