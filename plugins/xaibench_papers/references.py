"""Publications that run files do again. Those of the library of perturbation are in ``xaibench_perturbation``."""

from __future__ import annotations

from typing import Final

from xaibench.api import Reference

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
HUA_2021: Final = Reference(
    key="hua2021interpretable",
    kind="misc",
    authors=("Hua, Yingying", "Zhang, Daichi", "Wang, Pengju", "Ge, Shiming"),
    title="Interpretable face manipulation detection via feature whitening",
    year=2021,
    arxiv="2106.10834",
)
