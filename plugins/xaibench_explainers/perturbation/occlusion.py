"""Occlusion: how far the score falls when a window of the picture is covered."""

from __future__ import annotations

import torch
from pydantic import Field, model_validator
from torch import Tensor

from xaibench.api import ExplainRequest, Explanation, Passes, PassQuery, Programme
from xaibench_explainers.perturbation.regions import masked_scores, no_signal
from xaibench_perturbation import (
    ScoreKind,
    SwitchParameters,
    Windows,
    extra_needs,
    random_fill,
    refusal,
    sliding_windows,
    stored_artefacts,
    switch_off,
    target_scores,
    window_count,
)


class OcclusionParameters(SwitchParameters):
    """Parameters of ``occlusion``. Lengths below 1 are shares, from 1 on whole pixels."""

    patch: float = Field(1 / 7, gt=0, description="side of the window: a share of each side of the picture, or pixels")
    stride: float = Field(0.5, gt=0, description="from window to window: a share of the window's side, or pixels")
    output: ScoreKind = Field("probability", description="score of the target that falls")

    @model_validator(mode="after")
    def _covers_everything(self) -> OcclusionParameters:
        for name in ("patch", "stride"):
            length = getattr(self, name)
            if length > 1 and length != int(length):
                raise ValueError(f"{name}={length} is no whole number of pixels")
        if self.stride >= 1 and not self.patch >= self.stride:
            raise ValueError("a stride in pixels needs a patch in pixels that is no smaller, or pixels stay uncovered")
        return self

    def lengths(self, side: int) -> tuple[int, int]:
        """Window and stride in pixels along a side of this many; a window is at most the side."""
        wide = self.patch if self.patch >= 1 else self.patch * side
        window = max(1, min(side, round(wide)))
        return window, round(self.stride) if self.stride >= 1 else max(1, round(self.stride * window))


def mean_drop(windows: Windows, drops: Tensor) -> Tensor:
    """``(H, W)`` float32: the mean of ``(N,)`` drops over the windows that cover each pixel."""
    rows, columns = windows.rows.double(), windows.columns.double()
    total = (drops.double()[:, None] * rows).T @ columns
    return (total / (rows.T @ columns)).float()


class Occlusion:
    """Occlusion (Zeiler and Fergus 2014, section 4.2): ``f(x) - f(x covered)``, averaged over covering windows.

    Signed: positive = the score falls when the pixel is covered, so the pixel speaks for the target. Windows are a
    seventh of each side with half overlap, so that they scale with the picture; the last of a line is cropped at the
    border. ``native_map`` holds the drop of each window. The paper covers with grey and draws the score itself; equal
    to captum's ``Occlusion`` at the same window, stride and fill. On a score that is additive over windows that do not
    overlap the map is the weight of each. ``fill=segment-mean`` is the mean of each cell of a grid of such windows.
    """

    Parameters = OcclusionParameters

    def __init__(self, parameters: OcclusionParameters) -> None:
        self.parameters = parameters
        self.artefacts = stored_artefacts(parameters)
        self.needs = extra_needs(parameters)
        self.stochastic = random_fill(parameters)

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        p, image = self.parameters, request.picture.image
        down, across = (p.lengths(side) for side in image.shape[1:])
        switch = yield from switch_off(request, p, _tiles((image.shape[1], image.shape[2]), (down[0], across[0])))
        if isinstance(switch, Explanation):
            return switch
        windows = sliding_windows((image.shape[1], image.shape[2]), (down[0], across[0]), (down[1], across[1]))
        windows = windows.to(request.detector.device)
        clean = yield from target_scores(switch.image[None], request.target, p.output)
        scores = yield from masked_scores(switch, windows, request.target, p.output)
        reason = no_signal(torch.cat([clean, scores]))
        if reason:
            return Explanation.none(reason)
        drops = clean - scores
        native = drops.view(windows.shape).cpu()
        return Explanation(map=mean_drop(windows, drops).cpu(), native_map=native, details=switch.details)

    def passes(self, query: PassQuery) -> Passes:
        down, across = (window_count(n, *self.parameters.lengths(n)) for n in query.facts.input_size)
        return Passes(forward=down * across + 1)

    def refuses(self, query: PassQuery) -> str:
        return refusal(self.parameters, query)


def _tiles(size: tuple[int, int], window: tuple[int, int]) -> Tensor:
    """``(H, W)`` int64 labels of a grid of windows side by side."""
    down, across = (torch.arange(n) // wide for n, wide in zip(size, window, strict=True))
    labels: Tensor = down[:, None] * (int(across.max()) + 1) + across[None]
    return labels
