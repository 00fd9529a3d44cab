"""Registration of the explainers that differentiate the detector. Loads none of their code."""

from __future__ import annotations

from xaibench.plugin import ExplainerRecord

_STANDARD = frozenset({"standard"})

GRADIENT: tuple[ExplainerRecord, ...] = (
    ExplainerRecord(
        name="gradcam",
        target="xaibench_explainers.gradient.gradcam:GradCam",
        summary="Activation maps of a layer weighted by their mean gradient, rectified.",
        needs=frozenset({"gradients", "activations"}),
        presets=_STANDARD,
        source="Selvaraju et al.: Grad-CAM, ICCV 2017, arXiv:1610.02391",
    ),
    ExplainerRecord(
        name="integrated-gradients",
        target="xaibench_explainers.gradient.integrated_gradients:IntegratedGradients",
        summary="Gradient averaged on the way from a baseline to the picture, times the difference.",
        needs=frozenset({"gradients"}),
        signed=True,
        presets=_STANDARD,
        source="Sundararajan, Taly, Yan: Axiomatic attribution, ICML 2017, arXiv:1703.01365",
    ),
)
