"""What maps and verdicts do when the picture changes: shared by the measures that show a detector changed pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import (
    Explanation,
    Facts,
    Forward,
    MapCase,
    Passes,
    PassQuery,
    Programme,
    Score,
    ScoreSpec,
    Together,
    View,
    to_device,
    verdict,
)
from xaibench_metrics.salience.compare import CONSTANT, ComparisonParameters, Measured, as_score, corrected
from xaibench_perturbation import CHUNK, is_constant

ClassRule = Literal["clean", "argmax"]


class ResponseParameters(ComparisonParameters):
    """Parameters of the measures that explain changed pictures."""

    class_rule: ClassRule = Field(
        "clean",
        description="the class explained: the one of the run, fixed on the clean picture; or each picture's own "
        "likeliest class, as Explain To Me does, so that a map may speak for another class than the clean one's",
    )


@dataclass(frozen=True, slots=True)
class Response:
    """The class probabilities ``(C,)`` of a changed picture and its map."""

    probabilities: Tensor
    explanation: Explanation


@dataclass(frozen=True, slots=True)
class Following:
    """Values of one change of the picture: likeness of the maps with its null, and what the verdict did."""

    item: str
    similarity: Measured
    null: Measured
    change: float
    flip: float


def following_specs(name: str, what: str, null: str, why_not: str) -> tuple[ScoreSpec, ...]:
    """The scores of :class:`Following`: similarity, null, corrected similarity, change of P, flip of the verdict."""
    beside = "it stands beside the similarity and says nothing of where the evidence is"
    return (
        ScoreSpec(name=name, better="higher", low=-1, high=1, why_not=why_not, description=f"similarity of {what}"),
        ScoreSpec(
            name="corrected", better="higher", high=1, version=2, why_not=why_not,
            description="the similarity over its null: (s - s0) / (1 - s0), where the null is at most .95",
        ),
        ScoreSpec(
            name="null", better="none", low=-1, high=1, primary=False, why_not=beside,
            description=f"similarity by chance: of {null}",
        ),
        ScoreSpec(
            name="change", output="probability", better="none", low=0, high=1, primary=False, why_not=beside,
            description="how far the explained class's probability moves under the change: the detector's own response",
        ),
        ScoreSpec(
            name="flip", better="none", low=0, high=1, primary=False, why_not=beside,
            description="1 where the change flips the verdict; its mean is the flip rate",
        ),
    )  # fmt: skip


def following_scores(name: str, found: Sequence[Following]) -> tuple[Score, ...]:
    """One row a score and item."""
    rows = []
    for f in found:
        rows += [
            as_score(name, f.similarity, f.item),
            as_score("corrected", corrected(f.similarity, f.null), f.item),
            as_score("null", f.null, f.item),
            as_score("change", f.change, f.item),
            as_score("flip", f.flip, f.item),
        ]
    return tuple(rows)


# ---- the detector ---------------------------------------------------------------------------------------------------


def clean_class(case: MapCase, rule: ClassRule) -> int:
    """The class that the clean picture's map speaks for."""
    return case.target if rule == "clean" else int(case.clean.argmax())


def clean_map(case: MapCase, rule: ClassRule) -> Programme[Explanation | str]:
    """The clean picture's map for :func:`clean_class`, drawn anew only where the run explains another class; or why
    there is none that others can be compared with."""
    target, made = clean_class(case, rule), case.explanation
    if target != case.target:
        made = yield from case.explain(target=target)
    if made.status != "ok" or made.map is None:
        return f"the clean picture has no map: {made.reason}"
    return CONSTANT if is_constant(made.map) else made


def shown_under(case: MapCase, views: Sequence[View]) -> Tensor:
    """``(n, 3, H, W)`` pictures on the detector's device."""
    picture = case.picture
    changed = [v.apply(picture.image, picture.mask, picture.landmarks)[0] for v in views]
    return to_device(torch.stack(changed), case.detector.device)


def forwarded(images: Tensor) -> Programme[Tensor]:
    """``(n, C)`` probabilities on the CPU."""
    rows = []
    for some in torch.split(images, CHUNK):
        reply: Tensor = yield Forward(some)
        rows.append(reply.cpu())
    return torch.cat(rows)


def responses(case: MapCase, views: Sequence[View], rule: ClassRule) -> Programme[list[Response]]:
    """Probabilities and map of the picture under each view: a pass and a map each."""
    rows = yield from forwarded(shown_under(case, views))
    targets = [case.target if rule == "clean" else int(row.argmax()) for row in rows]
    maps = [case.explain(view=view, target=target) for view, target in zip(views, targets, strict=True)]
    drawn: list[Explanation] = yield Together(maps)
    return [Response(row, explanation) for row, explanation in zip(rows, drawn, strict=True)]


def response_passes(query: PassQuery, pictures: int, maps: int, rule: ClassRule) -> Passes:
    """A pass for each changed picture and the maps; for ``argmax`` at most one more, of the clean picture."""
    more = Passes() if rule == "clean" else Passes(query.map.forward, query.map.backward, exact=False)
    return Passes(forward=pictures) + query.map.times(maps) + more


def flipped(clean: Tensor, changed: Tensor, facts: Facts) -> float:
    """1.0 where the verdicts differ, else 0.0."""
    return float(verdict(clean.tolist(), facts) != verdict(changed.tolist(), facts))


def moved(clean: Tensor, changed: Tensor, target: int) -> float:
    """``P(clean) - P(changed)`` of the target, in [-1, 1]."""
    return float(clean[target].double() - changed[target].double())
