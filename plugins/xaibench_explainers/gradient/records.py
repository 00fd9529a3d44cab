"""Registration of the explainers that differentiate the detector. Loads none of their code."""

from __future__ import annotations

from xaibench.plugin import ExplainerRecord

_STANDARD = frozenset({"standard"})
_PROPAGATION = frozenset({"gradients", "operations"})

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
    ExplainerRecord(
        name="expected-gradients",
        target="xaibench_explainers.gradient.expected_gradients:ExpectedGradients",
        summary="Integrated gradients averaged over random colours and blurs as baselines.",
        needs=frozenset({"gradients"}),
        signed=True,
        stochastic=True,
        source="Erion et al.: Improving performance of deep learning models with axiomatic attribution priors and "
        "expected gradients, Nature Machine Intelligence 2021, arXiv:1906.10670",
    ),
    ExplainerRecord(
        name="saliency",
        target="xaibench_explainers.gradient.saliency:Saliency",
        summary="Largest absolute gradient of a pixel's channels.",
        needs=frozenset({"gradients"}),
        source="Simonyan, Vedaldi, Zisserman: Deep inside convolutional networks, 2013, arXiv:1312.6034",
    ),
    ExplainerRecord(
        name="input-x-gradient",
        target="xaibench_explainers.gradient.input_x_gradient:InputXGradient",
        summary="Gradient times picture, summed over channels.",
        needs=frozenset({"gradients"}),
        signed=True,
        source="Shrikumar et al.: Not just a black box, 2016, arXiv:1605.01713",
    ),
    ExplainerRecord(
        name="smoothgrad",
        target="xaibench_explainers.gradient.smoothgrad:SmoothGrad",
        summary="Saliency of the gradient averaged over noisy copies of the picture.",
        needs=frozenset({"gradients"}),
        stochastic=True,
        source="Smilkov et al.: SmoothGrad, 2017, arXiv:1706.03825",
    ),
    ExplainerRecord(
        name="vargrad",
        target="xaibench_explainers.gradient.vargrad:VarGrad",
        summary="Variance of the gradient over noisy copies of the picture.",
        needs=frozenset({"gradients"}),
        stochastic=True,
        source="Adebayo et al.: Local explanation methods for deep neural networks lack sensitivity to parameter "
        "values, 2018, arXiv:1810.03307",
    ),
    ExplainerRecord(
        name="xrai",
        target="xaibench_explainers.gradient.xrai:Xrai",
        summary="Regions grown by the density of integrated gradients from black and white.",
        needs=frozenset({"gradients"}),
        signed=True,
        source="Kapishnikov et al.: XRAI, ICCV 2019, arXiv:1906.02825",
    ),
    ExplainerRecord(
        name="gradcam++",
        target="xaibench_explainers.gradient.cams:GradCamPlusPlus",
        summary="Activation maps weighted by their rectified gradients, position by position.",
        needs=frozenset({"gradients", "activations"}),
        source="Chattopadhyay et al.: Grad-CAM++, WACV 2018, arXiv:1710.11063",
    ),
    ExplainerRecord(
        name="hirescam",
        target="xaibench_explainers.gradient.cams:HiResCam",
        summary="Activation times gradient, summed over the channels of a layer.",
        needs=frozenset({"gradients", "activations"}),
        signed=True,
        source="Draelos, Carin: Use HiResCAM instead of Grad-CAM, 2020, arXiv:2011.08891",
    ),
    ExplainerRecord(
        name="xgradcam",
        target="xaibench_explainers.gradient.cams:XGradCam",
        summary="Activation maps weighted by their gradients, averaged where the channel is active.",
        needs=frozenset({"gradients", "activations"}),
        source="Fu et al.: Axiom-based Grad-CAM, BMVC 2020, arXiv:2008.02312",
    ),
    ExplainerRecord(
        name="layercam",
        target="xaibench_explainers.gradient.cams:LayerCam",
        summary="Activation times rectified gradient, summed over the channels of a layer.",
        needs=frozenset({"gradients", "activations"}),
        source="Jiang et al.: LayerCAM, IEEE Transactions on Image Processing 2021",
    ),
    ExplainerRecord(
        name="eigencam",
        target="xaibench_explainers.gradient.cams:EigenCam",
        summary="First principal component of a layer's activations; the same for every class.",
        needs=frozenset({"activations"}),
        class_specific=False,
        source="Muhammad, Yeasin: Eigen-CAM, IJCNN 2020, arXiv:2008.00299",
    ),
    ExplainerRecord(
        name="guided-backprop",
        target="xaibench_explainers.gradient.propagation.guided_backprop:GuidedBackprop",
        summary="Absolute gradient whose positive part alone passes each rectifier.",
        needs=_PROPAGATION,
        source="Springenberg et al.: Striving for simplicity, 2014, arXiv:1412.6806",
    ),
    ExplainerRecord(
        name="deeplift",
        target="xaibench_explainers.gradient.propagation.deeplift:DeepLift",
        summary="Difference from a baseline, passed back by multipliers in place of slopes (rescale rule).",
        needs=_PROPAGATION,
        signed=True,
        source="Shrikumar, Greenside, Kundaje: DeepLIFT, ICML 2017, arXiv:1704.02685",
    ),
    ExplainerRecord(
        name="lrp",
        target="xaibench_explainers.gradient.propagation.lrp:Lrp",
        summary="Relevance of the output shared out layer by layer down to the pixels.",
        needs=_PROPAGATION,
        signed=True,
        source="Bach et al.: Layer-wise relevance propagation, PLOS ONE 2015, doi:10.1371/journal.pone.0130140",
    ),
    ExplainerRecord(
        name="fullgrad",
        target="xaibench_explainers.gradient.propagation.fullgrad:FullGrad",
        summary="Input times gradient and bias times gradient of every layer, stretched and added.",
        needs=_PROPAGATION,
        source="Srinivas, Fleuret: Full-gradient representation, NeurIPS 2019, arXiv:1905.00780",
    ),
    ExplainerRecord(
        name="attention-rollout",
        target="xaibench_explainers.gradient.propagation.attention:AttentionRollout",
        summary="Attention of all layers multiplied, with the connections around them.",
        needs=_PROPAGATION | {"attention"},
        class_specific=False,
        source="Abnar, Zuidema: Quantifying attention flow, ACL 2020, arXiv:2005.00928",
    ),
    ExplainerRecord(
        name="transformer-attribution",
        target="xaibench_explainers.gradient.propagation.attention:TransformerAttribution",
        summary="Attention times its gradient, gathered through the layers.",
        needs=_PROPAGATION | {"attention"},
        source="Chefer, Gur, Wolf: Generic attention-model explainability, ICCV 2021, arXiv:2103.15679",
    ),
    ExplainerRecord(
        name="captum",
        target="xaibench_explainers.gradient.captum_methods:Captum",
        summary="An attribution class of captum.attr, by name: captum:Saliency.",
        signed=True,
        stochastic=True,
        source="Kokhlikyan et al.: Captum, 2020, arXiv:2009.07896",
    ),
)
