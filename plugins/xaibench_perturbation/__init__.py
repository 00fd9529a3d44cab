"""What explainers and metrics share when they change pictures: fills, mask designs, pixel orders.

Import from here; the modules behind it may move.
"""

from xaibench_perturbation.fills import FILL_KINDS, SIGMA, FillKind, fill, gaussian_blur
from xaibench_perturbation.masks import CHUNK, MaskDesign, blend, every_mask, rise_masks
from xaibench_perturbation.ordering import is_constant, pixel_ranks, step_counts

__all__ = [
    "CHUNK",
    "FILL_KINDS",
    "SIGMA",
    "FillKind",
    "MaskDesign",
    "blend",
    "every_mask",
    "fill",
    "gaussian_blur",
    "is_constant",
    "pixel_ranks",
    "rise_masks",
    "step_counts",
]
