"""Publications behind the explainers. Those of the library of perturbation are in ``xaibench_perturbation``."""

from __future__ import annotations

from typing import Final

from xaibench.api import Reference

_NEURIPS = "Advances in Neural Information Processing Systems (NeurIPS)"
_ICML = "International Conference on Machine Learning (ICML)"
_ICCV = "IEEE International Conference on Computer Vision (ICCV)"
_WACV = "IEEE Winter Conference on Applications of Computer Vision (WACV)"
_BMVC = "British Machine Vision Conference (BMVC)"

# ---- gradients ------------------------------------------------------------------------------------------------------

SIMONYAN_2013: Final = Reference(
    key="simonyan2013deep",
    kind="misc",
    authors=("Simonyan, Karen", "Vedaldi, Andrea", "Zisserman, Andrew"),
    title="Deep inside convolutional networks: Visualising image classification models and saliency maps",
    year=2013,
    arxiv="1312.6034",
)
SPRINGENBERG_2014: Final = Reference(
    key="springenberg2014striving",
    kind="misc",
    authors=("Springenberg, Jost Tobias", "Dosovitskiy, Alexey", "Brox, Thomas", "Riedmiller, Martin"),
    title="Striving for simplicity: The all convolutional net",
    year=2014,
    arxiv="1412.6806",
)
SHRIKUMAR_2016: Final = Reference(
    key="shrikumar2016not",
    kind="misc",
    authors=("Shrikumar, Avanti", "Greenside, Peyton", "Shcherbina, Anna", "Kundaje, Anshul"),
    title="Not just a black box: Learning important features through propagating activation differences",
    year=2016,
    arxiv="1605.01713",
)
SHRIKUMAR_2017: Final = Reference(
    key="shrikumar2017learning",
    kind="inproceedings",
    authors=("Shrikumar, Avanti", "Greenside, Peyton", "Kundaje, Anshul"),
    title="Learning important features through propagating activation differences",
    year=2017,
    venue=_ICML,
    arxiv="1704.02685",
)
SMILKOV_2017: Final = Reference(
    key="smilkov2017smoothgrad",
    kind="misc",
    authors=("Smilkov, Daniel", "Thorat, Nikhil", "Kim, Been", "Viégas, Fernanda", "Wattenberg, Martin"),
    title="SmoothGrad: Removing noise by adding noise",
    year=2017,
    arxiv="1706.03825",
)
SUNDARARAJAN_2017: Final = Reference(
    key="sundararajan2017axiomatic",
    kind="inproceedings",
    authors=("Sundararajan, Mukund", "Taly, Ankur", "Yan, Qiqi"),
    title="Axiomatic attribution for deep networks",
    year=2017,
    venue=_ICML,
    arxiv="1703.01365",
)
ADEBAYO_2018_LOCAL: Final = Reference(
    key="adebayo2018local",
    kind="misc",
    authors=("Adebayo, Julius", "Gilmer, Justin", "Goodfellow, Ian", "Kim, Been"),
    title="Local explanation methods for deep neural networks lack sensitivity to parameter values",
    year=2018,
    arxiv="1810.03307",
)
KAPISHNIKOV_2019: Final = Reference(
    key="kapishnikov2019xrai",
    kind="inproceedings",
    authors=("Kapishnikov, Andrei", "Bolukbasi, Tolga", "Viégas, Fernanda", "Terry, Michael"),
    title="XRAI: Better attributions through regions",
    year=2019,
    venue="IEEE/CVF International Conference on Computer Vision (ICCV)",
    arxiv="1906.02825",
)
ERION_2021: Final = Reference(
    key="erion2021improving",
    kind="article",
    authors=("Erion, Gabriel", "Janizek, Joseph D.", "Sturmfels, Pascal", "Lundberg, Scott M.", "Lee, Su-In"),
    title="Improving performance of deep learning models with axiomatic attribution priors and expected gradients",
    year=2021,
    venue="Nature Machine Intelligence",
    volume="3",
    doi="10.1038/s42256-021-00343-w",
    arxiv="1906.10670",
)
KOKHLIKYAN_2020: Final = Reference(
    key="kokhlikyan2020captum",
    kind="misc",
    authors=(
        "Kokhlikyan, Narine",
        "Miglani, Vivek",
        "Martin, Miguel",
        "Wang, Edward",
        "Alsallakh, Bilal",
        "Reynolds, Jonathan",
        "Melnikov, Alexander",
        "Kliushkina, Natalia",
        "Araya, Carlos",
        "Yan, Siqi",
        "Reblitz-Richardson, Orion",
    ),
    title="Captum: A unified and generic model interpretability library for PyTorch",
    year=2020,
    arxiv="2009.07896",
)

# ---- class activation maps ------------------------------------------------------------------------------------------

SELVARAJU_2017: Final = Reference(
    key="selvaraju2017gradcam",
    kind="inproceedings",
    authors=(
        "Selvaraju, Ramprasaath R.",
        "Cogswell, Michael",
        "Das, Abhishek",
        "Vedantam, Ramakrishna",
        "Parikh, Devi",
        "Batra, Dhruv",
    ),
    title="Grad-CAM: Visual explanations from deep networks via gradient-based localization",
    year=2017,
    venue=_ICCV,
    pages="618-626",
    doi="10.1109/ICCV.2017.74",
    arxiv="1610.02391",
)
CHATTOPADHAY_2018: Final = Reference(
    key="chattopadhay2018gradcam",
    kind="inproceedings",
    authors=("Chattopadhay, Aditya", "Sarkar, Anirban", "Howlader, Prantik", "Balasubramanian, Vineeth N."),
    title="Grad-CAM++: Generalized gradient-based visual explanations for deep convolutional networks",
    year=2018,
    venue=_WACV,
    pages="839-847",
    doi="10.1109/WACV.2018.00097",
    arxiv="1710.11063",
)
DESAI_2020: Final = Reference(
    key="desai2020ablationcam",
    kind="inproceedings",
    authors=("Desai, Saurabh", "Ramaswamy, Harish G."),
    title="Ablation-CAM: Visual explanations for deep convolutional network via gradient-free localization",
    year=2020,
    venue=_WACV,
    doi="10.1109/WACV45572.2020.9093360",
)
DRAELOS_2020: Final = Reference(
    key="draelos2020hirescam",
    kind="misc",
    authors=("Draelos, Rachel Lea", "Carin, Lawrence"),
    title="Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks",
    year=2020,
    arxiv="2011.08891",
)
FU_2020: Final = Reference(
    key="fu2020axiom",
    kind="inproceedings",
    authors=("Fu, Ruigang", "Hu, Qingyong", "Dong, Xiaohu", "Guo, Yulan", "Gao, Yinghui", "Li, Biao"),
    title="Axiom-based Grad-CAM: Towards accurate visualization and explanation of CNNs",
    year=2020,
    venue=_BMVC,
    arxiv="2008.02312",
)
MUHAMMAD_2020: Final = Reference(
    key="muhammad2020eigencam",
    kind="inproceedings",
    authors=("Muhammad, Mohammed Bany", "Yeasin, Mohammed"),
    title="Eigen-CAM: Class activation map using principal components",
    year=2020,
    venue="International Joint Conference on Neural Networks (IJCNN)",
    arxiv="2008.00299",
)
WANG_2020: Final = Reference(
    key="wang2020scorecam",
    kind="inproceedings",
    authors=(
        "Wang, Haofan",
        "Wang, Zifan",
        "Du, Mengnan",
        "Yang, Fan",
        "Zhang, Zijian",
        "Ding, Sirui",
        "Mardziel, Piotr",
        "Hu, Xia",
    ),
    title="Score-CAM: Score-weighted visual explanations for convolutional neural networks",
    year=2020,
    venue="IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR) Workshops",
    arxiv="1910.01279",
)
JIANG_2021: Final = Reference(
    key="jiang2021layercam",
    kind="article",
    authors=("Jiang, Peng-Tao", "Zhang, Chang-Bin", "Hou, Qibin", "Cheng, Ming-Ming", "Wei, Yunchao"),
    title="LayerCAM: Exploring hierarchical class activation maps for localization",
    year=2021,
    venue="IEEE Transactions on Image Processing",
    volume="30",
    pages="5875-5888",
    doi="10.1109/TIP.2021.3089943",
)

# ---- propagation ----------------------------------------------------------------------------------------------------

BACH_2015: Final = Reference(
    key="bach2015pixelwise",
    kind="article",
    authors=(
        "Bach, Sebastian",
        "Binder, Alexander",
        "Montavon, Grégoire",
        "Klauschen, Frederick",
        "Müller, Klaus-Robert",
        "Samek, Wojciech",
    ),
    title="On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation",
    year=2015,
    venue="PLoS ONE",
    volume="10",
    number="7",
    pages="e0130140",
    doi="10.1371/journal.pone.0130140",
)
SRINIVAS_2019: Final = Reference(
    key="srinivas2019full",
    kind="inproceedings",
    authors=("Srinivas, Suraj", "Fleuret, François"),
    title="Full-gradient representation for neural network visualization",
    year=2019,
    venue=_NEURIPS,
    arxiv="1905.00780",
)
ABNAR_2020: Final = Reference(
    key="abnar2020quantifying",
    kind="inproceedings",
    authors=("Abnar, Samira", "Zuidema, Willem"),
    title="Quantifying attention flow in transformers",
    year=2020,
    venue="Annual Meeting of the Association for Computational Linguistics (ACL)",
    pages="4190-4197",
    doi="10.18653/v1/2020.acl-main.385",
    arxiv="2005.00928",
)
CHEFER_2021: Final = Reference(
    key="chefer2021generic",
    kind="inproceedings",
    authors=("Chefer, Hila", "Gur, Shir", "Wolf, Lior"),
    title="Generic attention-model explainability for interpreting bi-modal and encoder-decoder transformers",
    year=2021,
    venue="IEEE/CVF International Conference on Computer Vision (ICCV)",
    arxiv="2103.15679",
)

# ---- perturbation and games -----------------------------------------------------------------------------------------

SHAPLEY_1953: Final = Reference(
    key="shapley1953value",
    kind="incollection",
    authors=("Shapley, Lloyd S.",),
    title="A value for n-person games",
    year=1953,
    venue="Contributions to the Theory of Games, Volume II",
    pages="307-317",
    publisher="Princeton University Press",
)
ZEILER_2014: Final = Reference(
    key="zeiler2014visualizing",
    kind="inproceedings",
    authors=("Zeiler, Matthew D.", "Fergus, Rob"),
    title="Visualizing and understanding convolutional networks",
    year=2014,
    venue="European Conference on Computer Vision (ECCV)",
    pages="818-833",
    doi="10.1007/978-3-319-10590-1_53",
    arxiv="1311.2901",
)
RIBEIRO_2016: Final = Reference(
    key="ribeiro2016why",
    kind="inproceedings",
    authors=("Ribeiro, Marco Tulio", "Singh, Sameer", "Guestrin, Carlos"),
    title="“Why should I trust you?”: Explaining the predictions of any classifier",
    year=2016,
    venue="ACM SIGKDD International Conference on Knowledge Discovery and Data Mining (KDD)",
    pages="1135-1144",
    doi="10.1145/2939672.2939778",
    arxiv="1602.04938",
)
LUNDBERG_2017: Final = Reference(
    key="lundberg2017unified",
    kind="inproceedings",
    authors=("Lundberg, Scott M.", "Lee, Su-In"),
    title="A unified approach to interpreting model predictions",
    year=2017,
    venue=_NEURIPS,
    arxiv="1705.07874",
)
SUNDARARAJAN_2020: Final = Reference(
    key="sundararajan2020many",
    kind="inproceedings",
    authors=("Sundararajan, Mukund", "Najmi, Amir"),
    title="The many Shapley values for model explanation",
    year=2020,
    venue=_ICML,
    arxiv="1908.08474",
)
FEL_2021: Final = Reference(
    key="fel2021look",
    kind="inproceedings",
    authors=(
        "Fel, Thomas",
        "Cadène, Rémi",
        "Chalvidal, Mathieu",
        "Cord, Matthieu",
        "Vigouroux, David",
        "Serre, Thomas",
    ),
    title="Look at the variance! Efficient black-box explanations with Sobol-based sensitivity analysis",
    year=2021,
    venue=_NEURIPS,
    arxiv="2111.04138",
)
NOVELLO_2022: Final = Reference(
    key="novello2022making",
    kind="inproceedings",
    authors=("Novello, Paul", "Fel, Thomas", "Vigouroux, David"),
    title="Making sense of dependence: Efficient black-box explanations using dependence measure",
    year=2022,
    venue=_NEURIPS,
    arxiv="2206.06219",
)

# ---- controls -------------------------------------------------------------------------------------------------------

ADEBAYO_2018_SANITY: Final = Reference(
    key="adebayo2018sanity",
    kind="inproceedings",
    authors=(
        "Adebayo, Julius",
        "Gilmer, Justin",
        "Muelly, Michael",
        "Goodfellow, Ian",
        "Hardt, Moritz",
        "Kim, Been",
    ),
    title="Sanity checks for saliency maps",
    year=2018,
    venue=_NEURIPS,
    arxiv="1810.03292",
)
