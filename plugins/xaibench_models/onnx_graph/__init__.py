"""A differentiable executor of ONNX graphs on torch operations.

:func:`load_graph` reads a model (onnx is the parser) and gives a :class:`GraphModule`, an ordinary torch module whose
inner tensors can be asked for by name; a graph outside the :data:`CLAIMS` raises :class:`UnsupportedGraph`.
"""

from xaibench_models.onnx_graph.claims import CLAIMS, claims_table
from xaibench_models.onnx_graph.graph import GraphModule
from xaibench_models.onnx_graph.loading import load_graph
from xaibench_models.onnx_graph.node import Node
from xaibench_models.onnx_graph.problems import Problem, UnsupportedGraph
from xaibench_models.onnx_graph.registration import Claim

__all__ = ["CLAIMS", "Claim", "GraphModule", "Node", "Problem", "UnsupportedGraph", "claims_table", "load_graph"]
