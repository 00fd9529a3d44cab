"""xaibench: which explanation of a deepfake detector can be trusted?

The upper door: the functions that a notebook calls and that commands of plugins use. A plugin imports
:mod:`xaibench.api` at import time, and this package inside functions. Importing this package loads nothing else; a name
is loaded on first access.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # the command line listens to Ctrl-C once this file is imported; typing is a slow import
if TYPE_CHECKING:
    from typing import Any

    from xaibench.data.arrays import PictureArrays
    from xaibench.data.doubts import doubt_lines
    from xaibench.data.order import order_samples, select_samples
    from xaibench.data.pictures import show_picture
    from xaibench.data.survey import survey
    from xaibench.detector.batch_size import compute_batch
    from xaibench.detector.engine import run_programmes
    from xaibench.detector.torch_settings import prepare_torch
    from xaibench.discovery.code_identity import use_identity
    from xaibench.discovery.components import Use, hold_component, open_component
    from xaibench.discovery.paths import open_dataset, open_models
    from xaibench.discovery.registry import Registered, Registry, load_registry
    from xaibench.plan.estimate import Cost
    from xaibench.plan.runtime import make_runtime
    from xaibench.run.batch_results import Explanations, MapScores
    from xaibench.run.evaluation import evaluate
    from xaibench.run.examination import Examination, examine, refuse_faulty
    from xaibench.run.on_arrays import explain, score
    from xaibench.run.recomputation import Recomputation, recompute
    from xaibench.run.workbench import Bench
    from xaibench.store.open_run import Run, open_run
    from xaibench.store.provenance import provenance, runtime_identity
    from xaibench.store.relation import Address, Relation, RelationCell

__version__ = "0.1.0"

_MODULE_OF = {
    "Address": "store.relation",
    "Bench": "run.workbench",
    "Cost": "plan.estimate",
    "Examination": "run.examination",
    "Explanations": "run.batch_results",
    "MapScores": "run.batch_results",
    "PictureArrays": "data.arrays",
    "Recomputation": "run.recomputation",
    "Registered": "discovery.registry",
    "Registry": "discovery.registry",
    "Relation": "store.relation",
    "RelationCell": "store.relation",
    "Run": "store.open_run",
    "Use": "discovery.components",
    "compute_batch": "detector.batch_size",
    "doubt_lines": "data.doubts",
    "evaluate": "run.evaluation",
    "examine": "run.examination",
    "explain": "run.on_arrays",
    "hold_component": "discovery.components",
    "load_registry": "discovery.registry",
    "make_runtime": "plan.runtime",
    "open_component": "discovery.components",
    "open_dataset": "discovery.paths",
    "open_models": "discovery.paths",
    "open_run": "store.open_run",
    "order_samples": "data.order",
    "prepare_torch": "detector.torch_settings",
    "provenance": "store.provenance",
    "recompute": "run.recomputation",
    "refuse_faulty": "run.examination",
    "run_programmes": "detector.engine",
    "runtime_identity": "store.provenance",
    "score": "run.on_arrays",
    "select_samples": "data.order",
    "show_picture": "data.pictures",
    "survey": "data.survey",
    "use_identity": "discovery.code_identity",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)


__all__ = [
    "Address",
    "Bench",
    "Cost",
    "Examination",
    "Explanations",
    "MapScores",
    "PictureArrays",
    "Recomputation",
    "Registered",
    "Registry",
    "Relation",
    "RelationCell",
    "Run",
    "Use",
    "compute_batch",
    "doubt_lines",
    "evaluate",
    "examine",
    "explain",
    "hold_component",
    "load_registry",
    "make_runtime",
    "open_component",
    "open_dataset",
    "open_models",
    "open_run",
    "order_samples",
    "prepare_torch",
    "provenance",
    "recompute",
    "refuse_faulty",
    "run_programmes",
    "runtime_identity",
    "score",
    "select_samples",
    "show_picture",
    "survey",
    "use_identity",
]
