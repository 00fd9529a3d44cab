"""Registration of the explainers that change the picture and watch the score. Loads none of their code."""

from __future__ import annotations

from xaibench.api import ExplainerRecord

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
        source="Petsiuk, Das, Saenko: RISE, BMVC 2018, arXiv:1806.07421",
    ),
    ExplainerRecord(
        name="lime",
        target="xaibench_explainers.perturbation.lime:Lime",
        summary="Ridge regression of the score on which segments are visible.",
        signed=True,
        stochastic=True,
        presets=_STANDARD,
        source="Ribeiro, Singh, Guestrin: Why should I trust you?, KDD 2016, arXiv:1602.04938",
    ),
    ExplainerRecord(
        name="lime-adv",
        target="xaibench_explainers.perturbation.lime:Lime",
        summary="lime with switched-off segments taken from the adversarial twin.",
        signed=True,
        stochastic=True,
        presets=_STANDARD,
        source="Tsigos et al.: Improving the perturbation-based explanation of deepfake detectors, arXiv:2502.03957",
        parameters={"fill": "twin"},
    ),
    ExplainerRecord(
        name="lime-t24",
        target="xaibench_explainers.perturbation.lime:Lime",
        summary="lime as published: 50 SLIC segments, 2000 samples, softmax of probabilities.",
        signed=True,
        stochastic=True,
        source="Tsigos et al. 2024, arXiv:2404.18649",
        parameters={**_LIME_T24, "fill": "segment-mean"},
    ),
    ExplainerRecord(
        name="lime-adv-t24",
        target="xaibench_explainers.perturbation.lime:Lime",
        summary="lime-adv as published: lime-t24 with the published attack's twin.",
        signed=True,
        stochastic=True,
        source="Tsigos et al. 2025, arXiv:2502.03957",
        parameters={**_LIME_T24, **_TWIN_T24},
    ),
    ExplainerRecord(
        name="kernel-shap",
        target="xaibench_explainers.perturbation.kernel_shap:KernelShap",
        summary="Shapley values of segments, exact where they are few.",
        signed=True,
        stochastic=True,
        source="Lundberg, Lee: A unified approach to interpreting model predictions, NeurIPS 2017, arXiv:1705.07874",
    ),
    ExplainerRecord(
        name="partition-shap",
        target="xaibench_explainers.perturbation.partition_shap:PartitionShap",
        summary="Owen values of a picture halved wherever the score changes most.",
        signed=True,
        presets=_STANDARD,
        source="Lundberg, Lee: A unified approach to interpreting model predictions, NeurIPS 2017, arXiv:1705.07874",
    ),
    ExplainerRecord(
        name="shap-adv",
        target="xaibench_explainers.perturbation.partition_shap:PartitionShap",
        summary="partition-shap with switched-off parts taken from the adversarial twin.",
        signed=True,
        source="Tsigos et al.: Improving the perturbation-based explanation of deepfake detectors, arXiv:2502.03957",
        parameters={"fill": "twin"},
    ),
    ExplainerRecord(
        name="shap-t24",
        target="xaibench_explainers.perturbation.partition_shap:PartitionShap",
        summary="partition-shap as published: 2000 pictures, probability, box blur of 128 pixels.",
        signed=True,
        source="Tsigos et al. 2024, arXiv:2404.18649",
        parameters={**_SHAP_T24, "fill": "blur", "box": 128},
    ),
    ExplainerRecord(
        name="shap-adv-t24",
        target="xaibench_explainers.perturbation.partition_shap:PartitionShap",
        summary="shap-adv as published: shap-t24 with the published attack's twin.",
        signed=True,
        source="Tsigos et al. 2025, arXiv:2502.03957",
        parameters={**_SHAP_T24, **_TWIN_T24},
    ),
    ExplainerRecord(
        name="rise-adv",
        target="xaibench_explainers.perturbation.rise:Rise",
        summary="rise with switched-off cells taken from the adversarial twin.",
        stochastic=True,
        source="Tsigos et al.: Improving the perturbation-based explanation of deepfake detectors, arXiv:2502.03957",
        parameters={"fill": "twin"},
    ),
    ExplainerRecord(
        name="rise-t24",
        target="xaibench_explainers.perturbation.rise:Rise",
        summary="rise as published: cells kept with probability .54, softmax of probabilities.",
        stochastic=True,
        source="Tsigos et al. 2024, arXiv:2404.18649",
        parameters={**_RISE_T24, "fill": "colour"},
    ),
    ExplainerRecord(
        name="rise-adv-t24",
        target="xaibench_explainers.perturbation.rise:Rise",
        summary="rise-adv as published: rise-t24 with the published attack's twin.",
        stochastic=True,
        source="Tsigos et al. 2025, arXiv:2502.03957",
        parameters={**_RISE_T24, **_TWIN_T24},
    ),
    ExplainerRecord(
        name="sobol",
        target="xaibench_explainers.perturbation.sobol:Sobol",
        summary="Share of the score's variance in which each cell has a part.",
        stochastic=True,
        presets=_STANDARD,
        source="Fel et al.: Look at the variance!, NeurIPS 2021, arXiv:2111.04138",
    ),
    ExplainerRecord(
        name="sobol-adv",
        target="xaibench_explainers.perturbation.sobol:Sobol",
        summary="sobol with dimmed cells blended into the adversarial twin.",
        stochastic=True,
        source="Tsigos et al.: Improving the perturbation-based explanation of deepfake detectors, arXiv:2502.03957",
        parameters={"fill": "twin"},
    ),
    ExplainerRecord(
        name="sobol-t24",
        target="xaibench_explainers.perturbation.sobol:Sobol",
        summary="sobol as published: plain sequence, probability, bicubic map.",
        source="Tsigos et al. 2024, arXiv:2404.18649",
        parameters={**_SOBOL_T24, "fill": "colour"},
    ),
    ExplainerRecord(
        name="sobol-adv-t24",
        target="xaibench_explainers.perturbation.sobol:Sobol",
        summary="sobol-adv as published: sobol-t24 with the published attack's twin.",
        source="Tsigos et al. 2025, arXiv:2502.03957",
        parameters={**_SOBOL_T24, **_TWIN_T24},
    ),
    ExplainerRecord(
        name="hsic",
        target="xaibench_explainers.perturbation.hsic:Hsic",
        summary="Dependence of the score on whether a cell is there.",
        stochastic=True,
        source="Novello, Fel, Vigouroux: Making sense of dependence, NeurIPS 2022, arXiv:2206.06219",
    ),
    ExplainerRecord(
        name="occlusion",
        target="xaibench_explainers.perturbation.occlusion:Occlusion",
        summary="Fall of the score where a sliding window covers the picture.",
        signed=True,
        source="Zeiler, Fergus: Visualizing and understanding convolutional networks, ECCV 2014, arXiv:1311.2901",
    ),
    ExplainerRecord(
        name="scorecam",
        target="xaibench_explainers.perturbation.scorecam:ScoreCam",
        summary="Activation maps weighted by the score of the picture seen through them.",
        needs=frozenset({"activations"}),
        source="Wang et al.: Score-CAM, CVPR Workshops 2020, arXiv:1910.01279",
    ),
    ExplainerRecord(
        name="ablationcam",
        target="xaibench_explainers.perturbation.ablationcam:AblationCam",
        summary="Activation maps weighted by how far the score falls without them.",
        needs=frozenset({"activations"}),
        source="Desai, Ramaswamy: Ablation-CAM, WACV 2020",
    ),
)
