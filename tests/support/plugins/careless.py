"""A one-off plugin for the tests: components that call sys.exit or return what they may not."""

from __future__ import annotations

import sys

import torch

from xaibench.api import (
    ExplainerRecord,
    Explanation,
    Facts,
    MetricRecord,
    ModelRecord,
    Parameters,
    Passes,
    Score,
    Scores,
    ScoreSpec,
    hookimpl,
)

MODULE = "xaibench_local_careless"


@hookimpl
def xaibench_models():
    return [
        ModelRecord(name="never-opens", target=f"{MODULE}:NeverOpens", summary="Exits when it is opened."),
        ModelRecord(name="never-answers", target=f"{MODULE}:NeverAnswers", summary="Exits when it is asked."),
    ]


@hookimpl
def xaibench_explainers():
    return [ExplainerRecord(name="quits", target=f"{MODULE}:Quits", summary="Calls sys.exit.")]


@hookimpl
def xaibench_metrics():
    return [
        MetricRecord(name="quits", target=f"{MODULE}:QuittingMetric", summary="Calls sys.exit.", family="salience"),
        MetricRecord(name="too-big", target=f"{MODULE}:TooBig", summary="2 of at most 1.", family="salience"),
    ]


class Component:
    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def passes(self, query):
        return Passes()


class NeverOpens(Component):
    def members(self):
        return ("only",)

    def open(self, member, runtime):
        sys.exit(0)


class NeverAnswers(NeverOpens):
    def open(self, member, runtime):
        return Silent()


class Silent:
    device = torch.device("cpu")
    facts = Facts(name="silent", classes=("real", "fake"), real_class=0, input_size=(32, 32), digest="silent")

    def probabilities(self, images):
        sys.exit(0)

    scores = probabilities


class Quits(Component):
    def explain(self, request) -> Explanation:
        sys.exit(0)


class TooBig(Component):
    scores = (ScoreSpec(name="too-big", better="higher", low=0, high=1, why_not="a toy"),)

    def score(self, case):
        return Scores((Score(name="too-big", value=2.0),))


class QuittingMetric(TooBig):
    def score(self, case):
        sys.exit(0)
