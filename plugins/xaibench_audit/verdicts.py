"""From what was measured to one verdict a measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from xaibench_audit.evidence import SENSITIVE, evidence
from xaibench_audit.ranking import Tau

Standing = Literal["ranks", "misleads", "chance", "undefined"]

CHANCE = "no better than chance"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What can be said of a measure. ``begins``: by fill-sensitive evidence, the largest weight l at which it misleads,
    None where it nowhere does. ``holds``: the smallest l down to which it ranks at every l asked, None where not even
    at the largest."""

    text: str
    standings: Mapping[str, Standing]
    begins: Mapping[str, float | None]
    holds: Mapping[str, float | None]


def standing(found: Tau) -> Standing:
    """``misleads``: the interval of tau lies below 0; ``ranks``: above; ``chance``: it holds 0."""
    if found.value is None or found.low is None or found.high is None:
        return "undefined"
    if found.high < 0:
        return "misleads"
    return "ranks" if found.low > 0 else "chance"


def verdict(taus: Mapping[str, Tau]) -> Verdict:
    """The verdict on one measure from its taus by evidence."""
    standings = {name: standing(t) for name, t in taus.items()}
    sweeps = {kind: sweep(kind, standings) for kind in SENSITIVE}
    begins = {kind: begun(found) for kind, found in sweeps.items()}
    holds = {kind: held(found) for kind, found in sweeps.items()}
    return Verdict(_text(taus, standings, begins), standings, begins, holds)


def sweep(kind: str, standings: Mapping[str, Standing]) -> list[tuple[float, Standing]]:
    """The weights l of the patch beside a fill-sensitive evidence, largest first, as far as they were asked.

    l = 1 is the evidence ``patch``, l = 0 the fill-sensitive one alone. Empty where no fill was sensitive.
    """
    known = [(evidence(n), s) for n, s in standings.items()]
    found = [(e.weight, s) for e, s in known if e.sensitive == kind or e.name == "patch"]
    return sorted(found, reverse=True) if any(e.sensitive == kind for e, _ in known) else []


def begun(found: Sequence[tuple[float, Standing]]) -> float | None:
    """The largest weight at which it misleads; None where it does so at none below 1, that is, beside no such part."""
    misled = [weight for weight, s in found if s == "misleads"]
    return max(misled) if misled and min(misled) < 1 else None


def held(found: Sequence[tuple[float, Standing]]) -> float | None:
    """The smallest weight down to which every standing is ``ranks``."""
    last = None
    for weight, s in found:
        if s != "ranks":
            break
        last = weight
    return last


def _text(taus: Mapping[str, Tau], standings: Mapping[str, Standing], begins: Mapping[str, float | None]) -> str:
    by = {s: [n for n, found in standings.items() if found == s] for s in ("ranks", "misleads", "chance", "undefined")}
    known = len(standings) - len(by["undefined"])
    if not known:
        return f"undefined: {next(iter(taus.values())).reason}" if taus else "undefined: nothing was asked"
    lacking = f"; undefined on {_few(by['undefined'])}" if by["undefined"] else ""
    if by["misleads"]:
        plain = [n for n in by["misleads"] if not evidence(n).sensitive]
        parts = [f"on {', '.join(plain)}"] if plain else []
        parts += [f"from l = {weight:g} ({kind})" for kind, weight in begins.items() if weight is not None]
        return f"misleads {', '.join(parts)}{lacking}"
    if len(by["ranks"]) == known:
        return f"ranks the evidence{lacking}"
    if not by["ranks"]:
        return f"{CHANCE}{lacking}"
    return f"ranks {len(by['ranks'])} of {known}; {CHANCE} on {_few(by['chance'])}{lacking}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:3])} and {len(names) - 3} more"
