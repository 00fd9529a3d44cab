"""Publications behind the metrics of the other families than attack and faithfulness."""

from __future__ import annotations

from typing import Final

from xaibench.api import Reference

_NEURIPS = "Advances in Neural Information Processing Systems (NeurIPS)"
_ICML = "International Conference on Machine Learning (ICML)"
_CVPR = "IEEE Conference on Computer Vision and Pattern Recognition (CVPR)"
_WACV_IEEE_CVF = "IEEE/CVF Winter Conference on Applications of Computer Vision (WACV)"
_IJCNN = "International Joint Conference on Neural Networks (IJCNN)"
_NATURE_MI = "Nature Machine Intelligence"

# ---- interpretability -----------------------------------------------------------------------------------------------

ZHOU_2016: Final = Reference(
    key="zhou2016learning",
    kind="inproceedings",
    authors=("Zhou, Bolei", "Khosla, Aditya", "Lapedriza, Agata", "Oliva, Aude", "Torralba, Antonio"),
    title="Learning deep features for discriminative localization",
    year=2016,
    venue=_CVPR,
    doi="10.1109/CVPR.2016.319",
    arxiv="1512.04150",
)
CHEN_2020: Final = Reference(
    key="chen2020concept",
    kind="article",
    authors=("Chen, Zhi", "Bei, Yijie", "Rudin, Cynthia"),
    title="Concept whitening for interpretable image recognition",
    year=2020,
    venue=_NATURE_MI,
    volume="2",
    doi="10.1038/s42256-020-00265-z",
    arxiv="2002.01650",
)

# ---- localisation ---------------------------------------------------------------------------------------------------

FAWCETT_2006: Final = Reference(
    key="fawcett2006introduction",
    kind="article",
    authors=("Fawcett, Tom",),
    title="An introduction to ROC analysis",
    year=2006,
    venue="Pattern Recognition Letters",
    volume="27",
    number="8",
    pages="861-874",
    doi="10.1016/j.patrec.2005.10.010",
)
ZHANG_2016: Final = Reference(
    key="zhang2016topdown",
    kind="inproceedings",
    authors=("Zhang, Jianming", "Lin, Zhe", "Brandt, Jonathan", "Shen, Xiaohui", "Sclaroff, Stan"),
    title="Top-down neural attention by excitation backprop",
    year=2016,
    venue="European Conference on Computer Vision (ECCV)",
    pages="543-559",
    doi="10.1007/978-3-319-46493-0_33",
    arxiv="1608.00507",
)
KOHLBRENNER_2020: Final = Reference(
    key="kohlbrenner2020towards",
    kind="inproceedings",
    authors=(
        "Kohlbrenner, Maximilian",
        "Bauer, Alexander",
        "Nakajima, Shinichi",
        "Binder, Alexander",
        "Samek, Wojciech",
        "Lapuschkin, Sebastian",
    ),
    title="Towards best practice in explaining neural network decisions with LRP",
    year=2020,
    venue=_IJCNN,
    arxiv="1910.09840",
)
ARRAS_2022: Final = Reference(
    key="arras2022clevrxai",
    kind="article",
    authors=("Arras, Leila", "Osman, Ahmed", "Samek, Wojciech"),
    title="CLEVR-XAI: A benchmark dataset for the ground truth evaluation of neural network explanations",
    year=2022,
    venue="Information Fusion",
    volume="81",
    pages="14-40",
    doi="10.1016/j.inffus.2021.11.008",
    arxiv="2003.07258",
)
THEINER_2022: Final = Reference(
    key="theiner2022interpretable",
    kind="inproceedings",
    authors=("Theiner, Jonas", "Müller-Budack, Eric", "Ewerth, Ralph"),
    title="Interpretable semantic photo geolocation",
    year=2022,
    venue=_WACV_IEEE_CVF,
    arxiv="2104.14995",
)
TANTARU_2024: Final = Reference(
    key="tantaru2024weakly",
    kind="inproceedings",
    authors=("Tantaru, Dragos", "Oneata, Elisabeta", "Oneata, Dan"),
    title="Weakly-supervised deepfake localization in diffusion-generated images",
    year=2024,
    venue=_WACV_IEEE_CVF,
    arxiv="2311.04584",
)

# ---- robustness -----------------------------------------------------------------------------------------------------

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
ALVAREZ_MELIS_2018_ROBUSTNESS: Final = Reference(
    key="alvarezmelis2018robustness",
    kind="misc",
    authors=("Alvarez-Melis, David", "Jaakkola, Tommi S."),
    title="On the robustness of interpretability methods",
    year=2018,
    arxiv="1806.08049",
)
MONTAVON_2018: Final = Reference(
    key="montavon2018methods",
    kind="article",
    authors=("Montavon, Grégoire", "Samek, Wojciech", "Müller, Klaus-Robert"),
    title="Methods for interpreting and understanding deep neural networks",
    year=2018,
    venue="Digital Signal Processing",
    volume="73",
    pages="1-15",
    doi="10.1016/j.dsp.2017.10.011",
    arxiv="1706.07979",
)
SIXT_2020: Final = Reference(
    key="sixt2020when",
    kind="inproceedings",
    authors=("Sixt, Leon", "Granz, Maximilian", "Landgraf, Tim"),
    title="When explanations lie: Why many modified BP attributions fail",
    year=2020,
    venue=_ICML,
    arxiv="1912.09818",
)
AGARWAL_2022: Final = Reference(
    key="agarwal2022rethinking",
    kind="misc",
    authors=(
        "Agarwal, Chirag",
        "Johnson, Nari",
        "Pawelczyk, Martin",
        "Krishna, Satyapriya",
        "Saxena, Eshika",
        "Zitnik, Marinka",
        "Lakkaraju, Himabindu",
    ),
    title="Rethinking stability for attribution-based explanations",
    year=2022,
    arxiv="2203.06877",
)
HEDSTROM_2024: Final = Reference(
    key="hedstrom2024sanity",
    kind="misc",
    authors=("Hedström, Anna", "Weber, Leander", "Lapuschkin, Sebastian", "Höhne, Marina M.-C."),
    title="Sanity checks revisited: An exploration to repair the model parameter randomisation test",
    year=2024,
    arxiv="2401.06465",
)

# ---- salience -------------------------------------------------------------------------------------------------------

CHALASANI_2020: Final = Reference(
    key="chalasani2020concise",
    kind="inproceedings",
    authors=("Chalasani, Prasad", "Chen, Jiefeng", "Chowdhury, Amrita Roy", "Wu, Xi", "Jha, Somesh"),
    title="Concise explanations of neural networks using adversarial training",
    year=2020,
    venue=_ICML,
    arxiv="1810.06583",
)
CRUM_2023: Final = Reference(
    key="crum2023explain",
    kind="article",
    authors=(
        "Crum, Colton R.",
        "Tinsley, Patrick",
        "Boyd, Aidan",
        "Piland, Jacob",
        "Sweet, Christopher",
        "Kelley, Timothy",
        "Bowyer, Kevin",
        "Czajka, Adam",
    ),
    title="Explain to me: Salience-based explainability for synthetic face detection models",
    year=2023,
    venue="IEEE Transactions on Artificial Intelligence",
    doi="10.1109/TAI.2023.3333310",
    arxiv="2303.11969",
)
HEDSTROM_2023: Final = Reference(
    key="hedstrom2023quantus",
    kind="article",
    authors=(
        "Hedström, Anna",
        "Weber, Leander",
        "Krakowczyk, Daniel",
        "Bareeva, Dilyara",
        "Motzkus, Franz",
        "Samek, Wojciech",
        "Lapuschkin, Sebastian",
        "Höhne, Marina M.-C.",
    ),
    title="Quantus: An explainable AI toolkit for responsible evaluation of neural network explanations and beyond",
    year=2023,
    venue="Journal of Machine Learning Research",
    volume="24",
    number="34",
    pages="1-11",
    arxiv="2202.06861",
)
