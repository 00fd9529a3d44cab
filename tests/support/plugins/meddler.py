"""A plugin whose explainer and metric do one thing that no component may do, by name: two of each kind."""

from __future__ import annotations

import os
import random
import signal
from typing import Literal

import numpy as np
import torch

from xaibench.api import (
    ExplainerRecord,
    Explanation,
    Forward,
    MetricRecord,
    Parameters,
    Passes,
    Score,
    Scores,
    ScoreSpec,
    hookimpl,
)


def picture_counted(picture, detector, explanation):
    picture.image.sub_(picture.image.mean())


def picture_by_numpy(picture, detector, explanation):
    picture.image.numpy()[:, :4] = 0


def mask_counted(picture, detector, explanation):
    mask = picture.mask if picture.mask is not None else picture.image
    mask.zero_()


def mask_by_numpy(picture, detector, explanation):
    mask = picture.mask if picture.mask is not None else picture.image
    mask.numpy()[...] = 1


def map_counted(picture, detector, explanation):
    (explanation.map if explanation else picture.image).neg_()


def map_by_numpy(picture, detector, explanation):
    values = (explanation.map if explanation else picture.image).numpy()
    values[...] = values[::-1].copy()


def weights_counted(picture, detector, explanation):
    with torch.no_grad():
        for weight in module(detector).parameters():
            weight.mul_(0.5)


def weights_past_the_counter(picture, detector, explanation):
    next(module(detector).parameters()).data.fill_(0.25)


def weights_replaced(picture, detector, explanation):
    for layer in module(detector).modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight = torch.nn.Parameter(torch.zeros_like(layer.weight))


def buffers_added(picture, detector, explanation):
    module(detector).register_buffer("left_behind", torch.zeros(3))


def buffers_changed(picture, detector, explanation):
    buffers = [*module(detector).buffers()]
    if not buffers:
        return buffers_added(picture, detector, explanation)
    for buffer in buffers:
        buffer.data.zero_()


def forward_hook(picture, detector, explanation):
    for layer in module(detector).modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(lambda layer, inputs, output: output * 0)
            return


def hook_of_all_modules(picture, detector, explanation):
    torch.nn.modules.module.register_module_forward_hook(lambda layer, inputs, output: None)


def forward_replaced(picture, detector, explanation):
    module(detector).forward = lambda images: torch.zeros(len(images), 2)


def training_mode(picture, detector, explanation):
    module(detector).train()


def training_of_one_layer(picture, detector, explanation):
    [*module(detector).modules()][-1].training = True


def grad_mode(picture, detector, explanation):
    torch.set_grad_enabled(not torch.is_grad_enabled())


def inference_mode(picture, detector, explanation):
    KEPT.append(torch._C._InferenceMode(True))


def default_dtype(picture, detector, explanation):
    torch.set_default_dtype(torch.float64)


def default_device(picture, detector, explanation):
    torch.set_default_device("meta")


def threads(picture, detector, explanation):
    torch.set_num_threads(torch.get_num_threads() + 3)


def deterministic(picture, detector, explanation):
    torch.use_deterministic_algorithms(True)


def torch_random(picture, detector, explanation):
    torch.manual_seed(5)


def other_random(picture, detector, explanation):
    np.random.seed(5)
    random.seed(5)


def environment_added(picture, detector, explanation):
    os.environ["OMP_NUM_THREADS_OF_A_PLUGIN"] = "7"


def environment_removed(picture, detector, explanation):
    os.environ.pop("PATH", None)


def signal_handler(picture, detector, explanation):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def user_signal(picture, detector, explanation):
    signal.signal(signal.SIGUSR1, lambda number, frame: None)


KEPT: list[object] = []
DEEDS = {
    name: function for name, function in list(globals().items())
    if callable(function) and getattr(function, "__module__", "") == __name__
}  # fmt: skip


def module(detector):
    return detector.network.module


class MeddlerParameters(Parameters):
    deed: Literal[tuple(DEEDS)]
    at: str = ""


class Meddler:
    """Draws the picture's mean as a map, and meddles where the sample's id holds ``at``."""

    Parameters = MeddlerParameters
    always_explains = True

    def __init__(self, parameters):
        self.parameters = parameters

    def passes(self, query):
        return Passes(forward=1)

    def explain(self, request):
        values = request.picture.image.mean(0).clone()
        yield Forward(request.picture.image[None])
        if self.parameters.at in request.picture.sample.id:
            DEEDS[self.parameters.deed](request.picture, request.detector, None)
        return Explanation(map=values)


class MeddlingMetric:
    """Scores the mean of a map, and meddles."""

    Parameters = MeddlerParameters
    scores = (ScoreSpec(name="mean-value", better="higher"),)

    def __init__(self, parameters):
        self.parameters = parameters

    def passes(self, query):
        return Passes()

    def score(self, case):
        value = float(case.explanation.map.mean())
        if self.parameters.at in case.picture.sample.id:
            DEEDS[self.parameters.deed](case.picture, case.detector, case.explanation)
        return Scores((Score(name="mean-value", value=value),))


@hookimpl
def xaibench_explainers():
    return [ExplainerRecord(name="meddler", target=f"{__name__}:Meddler", summary="Meddles.")]


@hookimpl
def xaibench_metrics():
    return [
        MetricRecord(name="meddling", target=f"{__name__}:MeddlingMetric", summary="Meddles.", family="faithfulness")
    ]
