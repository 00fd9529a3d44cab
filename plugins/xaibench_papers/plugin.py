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

_EXPLAIN_TO_ME: Final = "Five measures of salience on plain and human-guided families, which are trained first."
_WHITENING: Final = "Families with and without feature whitening, which are trained first."


@hookimpl
def xaibench_papers() -> list[PaperRecord]:
    return [
        _record("gowrisankar-thing", _GOWRISANKAR_THING, GOWRISANKAR_2024, minutes=1.1),
        _full("gowrisankar-thing", GOWRISANKAR_2024),
        _record("tsigos-2024", _TSIGOS_2024, TSIGOS_2024, minutes=1.1),
        _full("tsigos-2024", TSIGOS_2024),
        _record("tsigos-2025", _TSIGOS_2025, TSIGOS_2025, minutes=1.2),
        _full("tsigos-2025", TSIGOS_2025),
        _record("twins-without-attack", _TWINS, TSIGOS_2025, minutes=1.3, note="own, after"),
        _record("explain-to-me", _EXPLAIN_TO_ME, CRUM_2023, minutes=6.6),
        _record("whitening", _WHITENING, HUA_2021, minutes=1.5),
    ]


def _record(
    name: str, summary: str, reference: Reference, *, function: str = "", minutes: float | None = None, note: str = ""
) -> PaperRecord:
    target = f"xaibench_papers.run_files:{(function or name).replace('-', '_')}"
    return PaperRecord(name=name, target=target, summary=summary, references=(reference,), minutes=minutes, note=note)


def _full(name: str, reference: Reference) -> PaperRecord:
    """The published budget of a paper's run file."""
    return _record(f"{name}-full", f"The same at the published budget: see {name}.", reference, function=name)
