"""What explainers and metrics share when they change pictures: fills, segments, mask designs, attacks, pixel orders.

Import from here; the modules behind it may move. Importing this package loads no torch: a name is loaded when it is
first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xaibench_perturbation.attacks import AttackMode, AttackSettings, GradientSettings, fake_margins, jpeg
    from xaibench_perturbation.coalitions import (
        Coalitions,
        balanced_members,
        cell_labels,
        per_pixel,
        per_segment_mean,
        random_members,
    )
    from xaibench_perturbation.drawing import drawn_ahead
    from xaibench_perturbation.fill_parameters import PICTURE_FILLS, AnyFill, PictureFill, as_fill, fill_parameter
    from xaibench_perturbation.fills import SIGMA, Background, background_of, fill, gaussian_blur
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
    from xaibench_perturbation.ordering import ascending, is_constant, mean_ranks, pixel_ranks, step_counts, tied_share
    from xaibench_perturbation.references import PETSIUK_2018, RONG_2022, TSIGOS_2024, TSIGOS_2025
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
        Switch,
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

_MODULE_OF = {
    "CHUNK": "masks",
    "IMAGENET_MEAN": "switching",
    "PETSIUK_2018": "references",
    "PICTURE_FILLS": "fill_parameters",
    "RONG_2022": "references",
    "SIGMA": "fills",
    "TSIGOS_2024": "references",
    "TSIGOS_2025": "references",
    "AnyFill": "fill_parameters",
    "AttackMode": "attacks",
    "AttackSettings": "attacks",
    "Background": "fills",
    "Coalitions": "coalitions",
    "GradientSettings": "attacks",
    "MaskDesign": "masks",
    "PictureFill": "fill_parameters",
    "RegionAttack": "regions",
    "ScoreKind": "scoring",
    "SegmentKind": "segments",
    "SegmentParameters": "segments",
    "Segments": "segments",
    "Switch": "switching",
    "SwitchParameters": "switching",
    "Twin": "twins",
    "UnitValue": "switching",
    "Windows": "masks",
    "as_fill": "fill_parameters",
    "ascending": "ordering",
    "background_of": "fills",
    "balanced_members": "coalitions",
    "blend": "masks",
    "cell_labels": "coalitions",
    "every_mask": "masks",
    "extra_needs": "switching",
    "fake_margins": "attacks",
    "fill": "fills",
    "fill_parameter": "fill_parameters",
    "gaussian_blur": "fills",
    "grid_segments": "segments",
    "hull_mask": "hulls",
    "inpaint": "inpainting",
    "inpaint_each": "inpainting",
    "is_constant": "ordering",
    "jpeg": "attacks",
    "mean_ranks": "ordering",
    "per_pixel": "coalitions",
    "drawn_ahead": "drawing",
    "per_segment_mean": "coalitions",
    "pixel_ranks": "ordering",
    "random_fill": "switching",
    "random_members": "coalitions",
    "refusal": "switching",
    "region_digest": "regions",
    "rise_masks": "masks",
    "segments_of": "segments",
    "slic_segments": "segments",
    "sliding_windows": "masks",
    "step_counts": "ordering",
    "stored_artefacts": "switching",
    "switch_off": "switching",
    "target_scores": "scoring",
    "tied_share": "ordering",
    "twin_of": "switching",
    "window_count": "masks",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)


__all__ = [
    "CHUNK",
    "IMAGENET_MEAN",
    "PETSIUK_2018",
    "PICTURE_FILLS",
    "RONG_2022",
    "SIGMA",
    "TSIGOS_2024",
    "TSIGOS_2025",
    "AnyFill",
    "AttackMode",
    "AttackSettings",
    "Background",
    "Coalitions",
    "GradientSettings",
    "MaskDesign",
    "PictureFill",
    "RegionAttack",
    "ScoreKind",
    "SegmentKind",
    "SegmentParameters",
    "Segments",
    "Switch",
    "SwitchParameters",
    "Twin",
    "UnitValue",
    "Windows",
    "as_fill",
    "ascending",
    "background_of",
    "balanced_members",
    "blend",
    "cell_labels",
    "drawn_ahead",
    "every_mask",
    "extra_needs",
    "fake_margins",
    "fill",
    "fill_parameter",
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
    "tied_share",
    "twin_of",
    "window_count",
]
