"""Publications behind the training recipes."""

from __future__ import annotations

from typing import Final

from xaibench.api import Reference

HUA_2021: Final = Reference(
    key="hua2021interpretable",
    kind="misc",
    authors=("Hua, Yingying", "Zhang, Daichi", "Wang, Pengju", "Ge, Shiming"),
    title="Interpretable face manipulation detection via feature whitening",
    year=2021,
    arxiv="2106.10834",
)
BOYD_2023: Final = Reference(
    key="boyd2023cyborg",
    kind="inproceedings",
    authors=("Boyd, Aidan", "Tinsley, Patrick", "Bowyer, Kevin W.", "Czajka, Adam"),
    title="CYBORG: Blending human saliency into the loss improves deep learning-based synthetic face detection",
    year=2023,
    venue="IEEE/CVF Winter Conference on Applications of Computer Vision (WACV)",
    arxiv="2112.00686",
)
HUA_2023: Final = Reference(
    key="hua2023learning",
    kind="article",
    authors=("Hua, Yingying", "Shi, Ruixin", "Wang, Pengju", "Ge, Shiming"),
    title="Learning patch-channel correspondence for interpretable face forgery detection",
    year=2023,
    venue="IEEE Transactions on Image Processing",
    volume="32",
    pages="1668-1680",
    doi="10.1109/TIP.2023.3246793",
)
