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
