"""Publications behind fills, masks, twins and their attacks, which explainers and metrics cite too."""

from __future__ import annotations

from typing import Final

from xaibench.api import Reference

PETSIUK_2018: Final = Reference(
    key="petsiuk2018rise",
    kind="inproceedings",
    authors=("Petsiuk, Vitali", "Das, Abir", "Saenko, Kate"),
    title="RISE: Randomized input sampling for explanation of black-box models",
    year=2018,
    venue="British Machine Vision Conference (BMVC)",
    arxiv="1806.07421",
)
RONG_2022: Final = Reference(
    key="rong2022consistent",
    kind="inproceedings",
    authors=("Rong, Yao", "Leemann, Tobias", "Borisov, Vadim", "Kasneci, Gjergji", "Kasneci, Enkelejda"),
    title="A consistent and efficient evaluation strategy for attribution methods",
    year=2022,
    venue="International Conference on Machine Learning (ICML)",
    arxiv="2202.00449",
)
TSIGOS_2024: Final = Reference(
    key="tsigos2024towards",
    kind="inproceedings",
    authors=(
        "Tsigos, Konstantinos",
        "Apostolidis, Evlampios",
        "Baxevanakis, Spyridon",
        "Papadopoulos, Symeon",
        "Mezaris, Vasileios",
    ),
    title="Towards quantitative evaluation of explainable AI methods for deepfake detection",
    year=2024,
    venue="ACM International Workshop on Multimedia AI against Disinformation (MAD)",
    doi="10.1145/3643491.3660292",
    arxiv="2404.18649",
)
TSIGOS_2025: Final = Reference(
    key="tsigos2025improving",
    kind="inproceedings",
    authors=("Tsigos, Konstantinos", "Apostolidis, Evlampios", "Mezaris, Vasileios"),
    title="Improving the perturbation-based explanation of deepfake detectors through the use of "
    "adversarially-generated samples",
    year=2025,
    venue="Winter Conference on Applications of Computer Vision (WACV) Workshops",
    pages="706-715",
    arxiv="2502.03957",
)
