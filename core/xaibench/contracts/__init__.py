"""The contracts between the core and the components, as types.

Nothing here computes. Pictures are float32 tensors of RGB values in [0, 1], shape ``(N, 3, H, W)`` or ``(3, H, W)``,
already resized to the detector's input size. A *programme* is a generator that yields probe requests
(:mod:`xaibench.probes`) and returns its result; whatever returns a programme may return the plain result instead
when it needs no detector call.
"""

from xaibench.contracts.data import Dataset, Native, Picture, Problem, Resize, Sample, View
from xaibench.contracts.detectors import Batch, Detector, DifferentiableDetector, Facts, Features, Model, Runtime
from xaibench.contracts.execution import Component, Executor, Lost
from xaibench.contracts.explainers import Artefacts, Explainer, ExplainRequest, Explanation, Passes, PassQuery
from xaibench.contracts.metrics import Curve, MapCase, Metric, ModelCase, Room, Score, Scores, ScoreSpec, SetCase
from xaibench.contracts.words import STATUSES, Better, Label, Output, Programme, Status

__all__ = [
    "STATUSES",
    "Artefacts",
    "Batch",
    "Better",
    "Component",
    "Curve",
    "Dataset",
    "Detector",
    "DifferentiableDetector",
    "Executor",
    "ExplainRequest",
    "Explainer",
    "Explanation",
    "Facts",
    "Features",
    "Label",
    "Lost",
    "MapCase",
    "Metric",
    "Model",
    "ModelCase",
    "Native",
    "Output",
    "PassQuery",
    "Passes",
    "Picture",
    "Problem",
    "Programme",
    "Resize",
    "Room",
    "Runtime",
    "Sample",
    "Score",
    "ScoreSpec",
    "Scores",
    "SetCase",
    "Status",
    "View",
]
