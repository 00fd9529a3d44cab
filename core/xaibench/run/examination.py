"""A detector looked at as a run looks at it, outside a run: for commands and for one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xaibench.api import Dataset, Detector, ModelError, Sample
from xaibench.data.pictures import show_picture
from xaibench.detector.batch_size import compute_batch
from xaibench.detector.structure import PICTURES, Structure, look_at_structure
from xaibench.plan.detector_cells import CARD_PICTURES, of_both_labels, why_not_otherwise
from xaibench.run.card_readings import CardReadings, predicted, try_readings
from xaibench.run.detector_looks import accuracy_of

if TYPE_CHECKING:
    from torch import Tensor

    from xaibench_statistics import Accuracy

FEW_PICTURES = 4
"""Pictures on which the structure is looked at before one picture is explained: 16 passes at most."""
_SOUND: set[tuple[str, str, str]] = set()


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What was found of a detector.

    ``accuracy`` is None without labelled pictures or where the detector fails on them. ``card`` is None where no other
    reading of its card was tried, and ``card_note`` says why.
    """

    structure: Structure
    accuracy: Accuracy | None = None
    card: CardReadings | None = None
    card_note: str = ""


def examine(detector: Detector, dataset: Dataset | None = None, samples: Sequence[Sample] = ()) -> Examination:
    """Look at a detector as a run does: its structure and, on labelled samples, its accuracy and its card.

    Parameters
    ----------
    dataset, samples: labelled pictures; without any, generated pictures are shown and the structure alone is looked at.
        Other readings of the card are tried on up to 64 of them.

    Raises what reading a picture raises, and what the detector raises after its structure was found sound.
    """
    batch = compute_batch(detector)
    shown = of_both_labels(samples, PICTURES)
    images = [show_picture(dataset, s, detector.facts).image for s in shown] if dataset is not None else []
    labels = {s.label for s in shown}
    structure = look_at_structure(detector, images, batch_size=batch, both_labels=len(labels) > 1)
    broken = any(f.fault for f in structure.findings if f.name in ("call", "finite"))
    if dataset is None or not samples or broken:
        return Examination(structure=structure)
    seen = predicted(detector, samples, lambda s: show_picture(dataset, s, detector.facts).image)
    accuracy = accuracy_of(detector.facts, samples, seen)
    chosen = of_both_labels(samples, CARD_PICTURES)
    note = why_not_otherwise(detector, chosen)
    if note:
        return Examination(structure=structure, accuracy=accuracy, card_note=note)
    card = try_readings(detector, dataset, chosen, seen)
    return Examination(structure=structure, accuracy=accuracy, card=card, card_note=card.note)


def refuse_faulty(detector: Detector, pictures: Sequence[Tensor]) -> None:
    """Look at the structure of a detector before it is asked about one picture, once a process.

    Raises :class:`ModelError` where it is at fault.
    """
    facts = detector.facts
    key = (facts.digest, facts.precision, str(detector.device))
    if key in _SOUND:
        return
    found = look_at_structure(
        detector, pictures, batch_size=compute_batch(detector), both_labels=False, most=FEW_PICTURES
    )
    # Without weights a picture is explained all the same: what the detector notes says so.
    fault = next((f for f in found.findings if f.fault and f.name != "weights"), None)
    if fault is not None:
        raise ModelError(
            f"detector {facts.name}: {fault.fault}",
            f"{fault.mend}; --accept-detector (accept_detector=True) goes on all the same",
        )
    _SOUND.add(key)
