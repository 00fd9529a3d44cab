"""Publications behind the datasets."""

from __future__ import annotations

from typing import Final

from xaibench.api import Reference

ROSSLER_2019: Final = Reference(
    key="rossler2019faceforensics",
    kind="inproceedings",
    authors=(
        "Rössler, Andreas",
        "Cozzolino, Davide",
        "Verdoliva, Luisa",
        "Riess, Christian",
        "Thies, Justus",
        "Nießner, Matthias",
    ),
    title="FaceForensics++: Learning to detect manipulated facial images",
    year=2019,
    venue="IEEE/CVF International Conference on Computer Vision (ICCV)",
    arxiv="1901.08971",
)
SHIOHARA_2022: Final = Reference(
    key="shiohara2022detecting",
    kind="inproceedings",
    authors=("Shiohara, Kaede", "Yamasaki, Toshihiko"),
    title="Detecting deepfakes with self-blended images",
    year=2022,
    venue="IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
    arxiv="2204.08376",
)
