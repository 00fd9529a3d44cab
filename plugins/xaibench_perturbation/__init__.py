"""What explainers and metrics share when they change pictures: fills, segments, mask designs, attacks, pixel orders.

Import from here; the modules behind it may move.
"""

from xaibench_perturbation.attacks import AttackMode, AttackSettings, GradientSettings, fake_margins, jpeg
from xaibench_perturbation.coalitions import (
    Coalitions,
    balanced_members,
    cell_labels,
    per_pixel,
    per_segment_mean,
    random_members,
)
from xaibench_perturbation.fills import FILL_KINDS, SIGMA, Background, FillKind, fill, gaussian_blur
from xaibench_perturbation.hulls import hull_mask
from xaibench_perturbation.inpainting import inpaint, inpaint_each
from xaibench_perturbation.masks import (
    CHUNK,
    MaskDesign,
    Windows,
    blend,
    every_mask,
    rise_masks,
    sliding_windows,
    window_count,
)
from xaibench_perturbation.ordering import ascending, is_constant, mean_ranks, pixel_ranks, step_counts
from xaibench_perturbation.regions import RegionAttack, region_digest
from xaibench_perturbation.scoring import ScoreKind, target_scores
from xaibench_perturbation.segments import (
    SegmentKind,
    SegmentParameters,
    Segments,
    grid_segments,
    segments_of,
    slic_segments,
)
from xaibench_perturbation.switching import (
    IMAGENET_MEAN,
    SWITCH_KINDS,
    Switch,
    SwitchKind,
    SwitchParameters,
    UnitValue,
    extra_needs,
    random_fill,
    refusal,
    stored_artefacts,
    switch_off,
    twin_of,
)
from xaibench_perturbation.twins import Twin

__all__ = [
    "CHUNK",
    "FILL_KINDS",
    "IMAGENET_MEAN",
    "SIGMA",
    "SWITCH_KINDS",
    "AttackMode",
    "AttackSettings",
    "Background",
    "Coalitions",
    "FillKind",
    "GradientSettings",
    "MaskDesign",
    "RegionAttack",
    "ScoreKind",
    "SegmentKind",
    "SegmentParameters",
    "Segments",
    "Switch",
    "SwitchKind",
    "SwitchParameters",
    "Twin",
    "UnitValue",
    "Windows",
    "ascending",
    "balanced_members",
    "blend",
    "cell_labels",
    "every_mask",
    "extra_needs",
    "fake_margins",
    "fill",
    "gaussian_blur",
    "grid_segments",
    "hull_mask",
    "inpaint",
    "inpaint_each",
    "is_constant",
    "jpeg",
    "mean_ranks",
    "per_pixel",
    "per_segment_mean",
    "pixel_ranks",
    "random_fill",
    "random_members",
    "refusal",
    "region_digest",
    "rise_masks",
    "segments_of",
    "slic_segments",
    "sliding_windows",
    "step_counts",
    "stored_artefacts",
    "switch_off",
    "target_scores",
    "twin_of",
    "window_count",
]
