"""What a perturbation explainer reads off a detector: the target's score of each changed picture."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from xaibench.api import Forward, Programme

ScoreKind = Literal["probability", "logit", "double-softmax"]
"""``double-softmax`` is the softmax of probabilities, which the published code of LIME and RISE on deepfake detectors
takes by mistake; it squeezes two classes into [0.27, 0.73]."""


def target_scores(images: Tensor, target: int, kind: ScoreKind) -> Programme[Tensor]:
    """``(n,)`` scores of the target class for ``(n, 3, H, W)`` pictures."""
    reply: Tensor = yield Forward(images, output="logit" if kind == "logit" else "probability")
    if kind == "double-softmax":
        reply = reply.softmax(dim=1)
    return reply[:, target]
