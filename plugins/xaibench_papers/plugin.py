"""Registers the run files of publications; reads none of them."""

from __future__ import annotations

from typing import Final

from xaibench.api import PaperRecord, Reference, hookimpl
from xaibench_papers.references import CRUM_2023, GOWRISANKAR_2024, HUA_2021
from xaibench_perturbation import TSIGOS_2024, TSIGOS_2025

XAIBENCH_API = "1"

_GOWRISANKAR_THING: Final = (
    "Generic removal and insertion on a deepfake detector, and the attack on the place that the real counterpart's "
    "explanation names."
)
_TSIGOS_2024: Final = "Five explainers by an attack on the segments that they rank first."
_TSIGOS_2025: Final = "LIME, SHAP, SOBOL and RISE without and with adversarial twins."
_TWINS: Final = "Whether adversarial twins help where no attack judges."

_GOWRISANKAR_THING_FULL: Final = "RISE 4,000 masks, LIME 1,000 samples, SOBOL 32 designs, NES and PGD 50 steps"
_TSIGOS_2024_FULL: Final = "RISE 4,000 masks, SHAP and LIME 2,000, SOBOL 32 designs, NES 50 steps of 40 pairs"
_TSIGOS_2025_FULL: Final = (
    "LIME and SHAP 2,000, SOBOL 32 designs, RISE 4,000 masks, twins by 80 steps, NES 50 steps of 40 pairs"
)

_EXPLAIN_TO_ME: Final = "Five measures of salience on plain and human-guided families, which are trained first."
_WHITENING: Final = "Families with and without feature whitening, which are trained first."


@hookimpl
def xaibench_papers() -> list[PaperRecord]:
    return [
        _record("gowrisankar-thing", _GOWRISANKAR_THING, GOWRISANKAR_2024, minutes=2.2),
        _full("gowrisankar-thing", GOWRISANKAR_2024, _GOWRISANKAR_THING_FULL),
        _record("tsigos-2024", _TSIGOS_2024, TSIGOS_2024, minutes=2.0),
        _full("tsigos-2024", TSIGOS_2024, _TSIGOS_2024_FULL),
        _record("tsigos-2025", _TSIGOS_2025, TSIGOS_2025, minutes=2.0),
        _full("tsigos-2025", TSIGOS_2025, _TSIGOS_2025_FULL),
        _record("twins-without-attack", _TWINS, TSIGOS_2025, minutes=2.1, note="own, after"),
        _record("explain-to-me", _EXPLAIN_TO_ME, CRUM_2023, minutes=13.2),
        _record("whitening", _WHITENING, HUA_2021, minutes=3.0),
    ]


def _record(
    name: str, summary: str, reference: Reference, *, minutes: float | None = None, note: str = ""
) -> PaperRecord:
    target = f"xaibench_papers.run_files:{name.replace('-', '_')}"
    return PaperRecord(name=name, target=target, summary=summary, references=(reference,), minutes=minutes, note=note)


def _full(name: str, reference: Reference, budget: str) -> PaperRecord:
    """The published budget of a paper's run file."""
    summary = f"The same on all pictures at the published budget ({budget}): see {name}."
    return _record(f"{name}-full", summary, reference)
