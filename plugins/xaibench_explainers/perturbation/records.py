"""Registration of the explainers that change the picture and watch the score. Loads none of their code."""

from __future__ import annotations

from xaibench.api import ExplainerRecord
from xaibench_explainers.references import (
    DESAI_2020,
    FEL_2021,
    LUNDBERG_2017,
    NOVELLO_2022,
    RIBEIRO_2016,
    WANG_2020,
    ZEILER_2014,
)
from xaibench_perturbation import PETSIUK_2018, TSIGOS_2024, TSIGOS_2025

_STANDARD = frozenset({"standard"})

_TWIN_T24 = {"fill": "twin", "twin_mode": "t24-code", "twin_steps": 80}
_LIME_T24 = {
    "segments": "slic", "count": 50, "compactness": 10.0, "samples": 2000, "width": 0.25, "alpha": 1.0,
    "output": "double-softmax", "exhaustive": False,
}  # fmt: skip
_RISE_T24 = {
    "on": "grid", "design": "random", "masks": 4000, "cells": 7, "keep": 0.539827837277029, "normaliser": "expected",
    "output": "double-softmax",
}  # fmt: skip
_SOBOL_T24 = {
    "on": "grid", "cells": 8, "designs": 32, "order": "total", "sequence": "plain", "upsampling": "bicubic",
    "output": "probability",
}  # fmt: skip
_SHAP_T24 = {"evals": 2000, "batch": 50, "output": "probability"}

PERTURBATION: tuple[ExplainerRecord, ...] = (
    ExplainerRecord(
        name="rise",
        target="xaibench_explainers.perturbation.rise:Rise",
        summary="Mean of random masks weighted by the score of the masked picture.",
        stochastic=True,
        presets=_STANDARD,
        references=(PETSIUK_2018,),
    ),
    ExplainerRecord(
        name="lime",
        target="xaibench_explainers.perturbation.lime:Lime",
        summary="Ridge regression of the score on which segments are visible.",
        signed=True,
        stochastic=True,
        presets=_STANDARD,
        references=(RIBEIRO_2016,),
    ),
    ExplainerRecord(
        name="lime-adv",
        target="xaibench_explainers.perturbation.lime:Lime",
        summary="lime with switched-off segments taken from the adversarial twin.",
        signed=True,
        stochastic=True,
        presets=_STANDARD,
        references=(TSIGOS_2025,),
        parameters={"fill": "twin"},
    ),
    ExplainerRecord(
        name="lime-t24",
        target="xaibench_explainers.perturbation.lime:Lime",
        summary="lime as published: 50 SLIC segments, 2000 samples, softmax of probabilities.",
        signed=True,
        stochastic=True,
        references=(TSIGOS_2024,),
        parameters={**_LIME_T24, "fill": "segment-mean"},
    ),
    ExplainerRecord(
        name="lime-adv-t24",
        target="xaibench_explainers.perturbation.lime:Lime",
        summary="lime-adv as published: lime-t24 with the published attack's twin.",
        signed=True,
        stochastic=True,
        references=(TSIGOS_2025,),
        parameters={**_LIME_T24, **_TWIN_T24},
    ),
    ExplainerRecord(
        name="kernel-shap",
        target="xaibench_explainers.perturbation.kernel_shap:KernelShap",
        summary="Shapley values of segments, exact where they are few.",
        signed=True,
        stochastic=True,
        references=(LUNDBERG_2017,),
    ),
    ExplainerRecord(
        name="partition-shap",
        target="xaibench_explainers.perturbation.partition_shap:PartitionShap",
        summary="Owen values of a picture halved wherever the score changes most.",
        signed=True,
        presets=_STANDARD,
        references=(LUNDBERG_2017,),
    ),
    ExplainerRecord(
        name="shap-adv",
        target="xaibench_explainers.perturbation.partition_shap:PartitionShap",
        summary="partition-shap with switched-off parts taken from the adversarial twin.",
        signed=True,
        references=(TSIGOS_2025,),
        parameters={"fill": "twin"},
    ),
    ExplainerRecord(
        name="shap-t24",
        target="xaibench_explainers.perturbation.partition_shap:PartitionShap",
        summary="partition-shap as published: 2000 pictures, probability, box blur of 128 pixels.",
        signed=True,
        references=(TSIGOS_2024,),
        parameters={**_SHAP_T24, "fill": "blur", "box": 128},
    ),
    ExplainerRecord(
        name="shap-adv-t24",
        target="xaibench_explainers.perturbation.partition_shap:PartitionShap",
        summary="shap-adv as published: shap-t24 with the published attack's twin.",
        signed=True,
        references=(TSIGOS_2025,),
        parameters={**_SHAP_T24, **_TWIN_T24},
    ),
    ExplainerRecord(
        name="rise-adv",
        target="xaibench_explainers.perturbation.rise:Rise",
        summary="rise with switched-off cells taken from the adversarial twin.",
        stochastic=True,
        references=(TSIGOS_2025,),
        parameters={"fill": "twin"},
    ),
    ExplainerRecord(
        name="rise-t24",
        version=2,  # the fill is the mean of the detector's card
        target="xaibench_explainers.perturbation.rise:Rise",
        summary="rise as published: cells kept with probability .54, softmax of probabilities.",
        stochastic=True,
        references=(TSIGOS_2024,),
        parameters={**_RISE_T24, "fill": "colour"},
    ),
    ExplainerRecord(
        name="rise-adv-t24",
        target="xaibench_explainers.perturbation.rise:Rise",
        summary="rise-adv as published: rise-t24 with the published attack's twin.",
        stochastic=True,
        references=(TSIGOS_2025,),
        parameters={**_RISE_T24, **_TWIN_T24},
    ),
    ExplainerRecord(
        name="sobol",
        target="xaibench_explainers.perturbation.sobol:Sobol",
        summary="Share of the score's variance in which each cell has a part.",
        stochastic=True,
        presets=_STANDARD,
        references=(FEL_2021,),
    ),
    ExplainerRecord(
        name="sobol-adv",
        target="xaibench_explainers.perturbation.sobol:Sobol",
        summary="sobol with dimmed cells blended into the adversarial twin.",
        stochastic=True,
        references=(TSIGOS_2025,),
        parameters={"fill": "twin"},
    ),
    ExplainerRecord(
        name="sobol-t24",
        version=2,  # the fill is the mean of the detector's card
        target="xaibench_explainers.perturbation.sobol:Sobol",
        summary="sobol as published: plain sequence, probability, bicubic map.",
        references=(TSIGOS_2024,),
        parameters={**_SOBOL_T24, "fill": "colour"},
    ),
    ExplainerRecord(
        name="sobol-adv-t24",
        target="xaibench_explainers.perturbation.sobol:Sobol",
        summary="sobol-adv as published: sobol-t24 with the published attack's twin.",
        references=(TSIGOS_2025,),
        parameters={**_SOBOL_T24, **_TWIN_T24},
    ),
    ExplainerRecord(
        name="hsic",
        target="xaibench_explainers.perturbation.hsic:Hsic",
        summary="Dependence of the score on whether a cell is there.",
        stochastic=True,
        references=(NOVELLO_2022,),
    ),
    ExplainerRecord(
        name="occlusion",
        target="xaibench_explainers.perturbation.occlusion:Occlusion",
        summary="Fall of the score where a sliding window covers the picture.",
        signed=True,
        references=(ZEILER_2014,),
    ),
    ExplainerRecord(
        name="scorecam",
        target="xaibench_explainers.perturbation.scorecam:ScoreCam",
        summary="Activation maps weighted by the score of the picture seen through them.",
        needs=frozenset({"activations"}),
        references=(WANG_2020,),
    ),
    ExplainerRecord(
        name="ablationcam",
        target="xaibench_explainers.perturbation.ablationcam:AblationCam",
        summary="Activation maps weighted by how far the score falls without them.",
        needs=frozenset({"activations"}),
        references=(DESAI_2020,),
    ),
)
