"""Publications behind the metrics of the families attack and faithfulness, some of which others cite too."""

from __future__ import annotations

from typing import Final

from xaibench.api import Reference

_NEURIPS = "Advances in Neural Information Processing Systems (NeurIPS)"
_WACV = "IEEE Winter Conference on Applications of Computer Vision (WACV)"

# ---- attack ---------------------------------------------------------------------------------------------------------

GOWRISANKAR_2024: Final = Reference(
    key="gowrisankar2024adversarial",
    kind="article",
    authors=("Gowrisankar, Balachandar", "Thing, Vrizlynn L. L."),
    title="An adversarial attack approach for eXplainable AI evaluation on deepfake detection models",
    year=2024,
    venue="Computers & Security",
    volume="139",
    pages="103684",
    doi="10.1016/j.cose.2023.103684",
    arxiv="2312.06627",
)

# ---- faithfulness ---------------------------------------------------------------------------------------------------

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
SAMEK_2017: Final = Reference(
    key="samek2017evaluating",
    kind="article",
    authors=(
        "Samek, Wojciech",
        "Binder, Alexander",
        "Montavon, Grégoire",
        "Lapuschkin, Sebastian",
        "Müller, Klaus-Robert",
    ),
    title="Evaluating the visualization of what a deep neural network has learned",
    year=2017,
    venue="IEEE Transactions on Neural Networks and Learning Systems",
    volume="28",
    number="11",
    pages="2660-2673",
    doi="10.1109/TNNLS.2016.2599820",
    arxiv="1509.06321",
)
ALVAREZ_MELIS_2018_SELF: Final = Reference(
    key="alvarezmelis2018selfexplaining",
    kind="inproceedings",
    authors=("Alvarez-Melis, David", "Jaakkola, Tommi S."),
    title="Towards robust interpretability with self-explaining neural networks",
    year=2018,
    venue=_NEURIPS,
    arxiv="1806.07538",
)
ANCONA_2018: Final = Reference(
    key="ancona2018towards",
    kind="inproceedings",
    authors=("Ancona, Marco", "Ceolini, Enea", "Öztireli, Cengiz", "Gross, Markus"),
    title="Towards better understanding of gradient-based attribution methods for deep neural networks",
    year=2018,
    venue="International Conference on Learning Representations (ICLR)",
    arxiv="1711.06104",
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
ARYA_2019: Final = Reference(
    key="arya2019one",
    kind="misc",
    authors=(
        "Arya, Vijay",
        "Bellamy, Rachel K. E.",
        "Chen, Pin-Yu",
        "Dhurandhar, Amit",
        "Hind, Michael",
        "Hoffman, Samuel C.",
        "Houde, Stephanie",
        "Liao, Q. Vera",
        "Luss, Ronny",
        "Mojsilović, Aleksandra",
        "Mourad, Sami",
        "Pedemonte, Pablo",
        "Raghavendra, Ramya",
        "Richards, John",
        "Sattigeri, Prasanna",
        "Shanmugam, Karthikeyan",
        "Singh, Moninder",
        "Varshney, Kush R.",
        "Wei, Dennis",
        "Zhang, Yunfeng",
    ),
    title="One explanation does not fit all: A toolkit and taxonomy of AI explainability techniques",
    year=2019,
    arxiv="1909.03012",
)
YEH_2019: Final = Reference(
    key="yeh2019infidelity",
    kind="inproceedings",
    authors=(
        "Yeh, Chih-Kuan",
        "Hsieh, Cheng-Yu",
        "Suggala, Arun Sai",
        "Inouye, David I.",
        "Ravikumar, Pradeep",
    ),
    title="On the (in)fidelity and sensitivity of explanations",
    year=2019,
    venue=_NEURIPS,
    arxiv="1901.09392",
)
BHATT_2020: Final = Reference(
    key="bhatt2020evaluating",
    kind="inproceedings",
    authors=("Bhatt, Umang", "Weller, Adrian", "Moura, José M. F."),
    title="Evaluating and aggregating feature-based model explanations",
    year=2020,
    venue="International Joint Conference on Artificial Intelligence (IJCAI)",
    doi="10.24963/ijcai.2020/417",
    arxiv="2005.00631",
)
NGUYEN_2020: Final = Reference(
    key="nguyen2020quantitative",
    kind="misc",
    authors=("Nguyen, An-phi", "Rodríguez Martínez, María"),
    title="On quantitative aspects of model interpretability",
    year=2020,
    arxiv="2007.07584",
)
RIEGER_2020: Final = Reference(
    key="rieger2020irof",
    kind="misc",
    authors=("Rieger, Laura", "Hansen, Lars Kai"),
    title="IROF: A low resource evaluation metric for explanation methods",
    year=2020,
    arxiv="2003.08747",
)
SCHULZ_2020: Final = Reference(
    key="schulz2020restricting",
    kind="inproceedings",
    authors=("Schulz, Karl", "Sixt, Leon", "Tombari, Federico", "Landgraf, Tim"),
    title="Restricting the flow: Information bottlenecks for attribution",
    year=2020,
    venue="International Conference on Learning Representations (ICLR)",
    arxiv="2001.00396",
)
ZHANG_2024: Final = Reference(
    key="zhang2024opticam",
    kind="article",
    authors=("Zhang, Hanwei", "Torres, Felipe", "Sicre, Ronan", "Avrithis, Yannis", "Ayache, Stephane"),
    title="Opti-CAM: Optimizing saliency maps for interpretability",
    year=2024,
    venue="Computer Vision and Image Understanding",
    volume="248",
    pages="104101",
    doi="10.1016/j.cviu.2024.104101",
    arxiv="2301.07002",
)
ALQURASHI_2026: Final = Reference(  # the title and the further authors are not at hand
    key="alqurashi2026sterexnet",
    kind="article",
    authors=("Alqurashi", "others"),
    title="STeREx-Net",
    year=2026,
    venue="Technologies",
    volume="14",
    number="9",
    pages="545",
)
