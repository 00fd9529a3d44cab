"""Localisation by manipulation method: every method weighs alike, and none where looking at the middle is enough.

**Macro mean.** With ``K`` methods, ``n_m`` samples of method m with mean ``mean_m``, and ``N`` samples in all, sample i
weighs ``w_i = N / (K n_m)``, and the mean over methods is ``M = sum(w x) / N``. :func:`even` replaces ``x_i`` by
``M + w_i c_m (x_i - mean_m)``, whose plain mean is M and whose clustered variance is that of M: the methods are given,
and only what varies within them is chance. ``c_m = sqrt(G_m / (G_m - 1))``, G_m being the groups of method m, makes up
for the estimated ``mean_m``. Paired differences, verdicts and ranks then need no statistics of their own. Where a
method has fewer than :data:`LEAST_GROUPS` groups, too little is known of what varies within it;
``M + w_i (x_i - M)`` then counts what varies between methods too, which is too wide rather than too narrow.

**Gate.** Where the centre prior's mask AUC exceeds :data:`GATE` on a method, a map that knows nothing of the picture
finds the mask; such a method has no part in ranks and verdicts. Its means are still shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from xaibench_report.detectors.detection import Detection
from xaibench_report.values.run_values import CellKey, CellValues, Where, short
from xaibench_statistics import Estimate, Floats, Strings, Values, exact_mean, macro_interval, mean_interval

FAMILY: Final = "localisation"
GATE: Final = 0.95
LEAST_GROUPS: Final = 5
_MEASURE: Final = "mask-auc"
_PRIOR: Final = "center-prior"


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodCell:
    """One explainer under one score on the ``n`` samples of one manipulation method."""

    method: str
    estimate: Estimate
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardMethod:
    """One manipulation method of a board.

    ``n`` samples have a prediction, ``correct`` of them are called fake; both None without predictions. ``central`` is
    the centre prior's mask AUC, None where it was not measured; ``ranked``: whether it lets ranks and verdicts stand.
    """

    method: str
    n: int | None
    correct: int | None
    central: float | None
    ranked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CentreGate:
    """The centre prior's mask AUC by method, or why it is not known."""

    central: Mapping[str, float] = field(default_factory=dict)
    unchecked: str = ""

    @property
    def shut(self) -> tuple[str, ...]:
        """The methods that have no part in ranks and verdicts."""
        return tuple(m for m, auc in sorted(self.central.items()) if auc > GATE)

    def keeps(self, cell: CellValues) -> CellValues:
        """The cell without the samples of those methods."""
        return cell.where(~np.isin(cell.methods, self.shut)) if self.shut else cell

    def closed(self, cells: Iterable[CellValues]) -> str:
        """Why there are no ranks and verdicts at all; empty where there can be some."""
        here = {str(m) for c in cells for m in np.unique(c.methods)}
        if not here or not here <= set(self.shut):
            return ""
        return f"the centre prior's mask AUC exceeds {GATE:g} on {_names(sorted(here))}"


def centre_gate(where: Where, every: Mapping[CellKey, CellValues]) -> CentreGate:
    """The gate of one detector and dataset. Of several centre priors the one that finds most counts."""
    here = [k for k in every if k.where == where]
    ran = {
        _MEASURE: [k for k in here if _is(k.metric, _MEASURE)],
        _PRIOR: [k for k in here if _is(k.explainer, _PRIOR)],
    }
    missing = [name for name, keys in ran.items() if not keys]
    if missing:
        return CentreGate(unchecked=f"{' and '.join(missing)} did not run")
    both = [k for k in ran[_MEASURE] if k in ran[_PRIOR] and k.score == _MEASURE]
    central: dict[str, float] = {}
    for method, values in (pair for k in both for pair in split(every[k]).items()):
        central[method] = max(exact_mean(values.values), central.get(method, -np.inf))
    return CentreGate(central=central, unchecked="" if central else f"{_PRIOR} has no {_MEASURE}")


def _is(name: str, built_in: str) -> bool:
    return short(name).partition(":")[0] == built_in


def split(cell: CellValues) -> dict[str, Values]:
    """The values of every method, by its name."""
    return {str(m): cell.values.where(cell.methods == m) for m in np.unique(cell.methods)}


def alike(cell: CellValues) -> CellValues:
    """The cell as if all of its samples were of one method: nothing is weighed."""
    return replace(cell, methods=np.full(len(cell.values), "", dtype=np.str_))


def even(cell: CellValues, samples: Strings) -> Values:
    """The cell's values, those of ``samples`` replaced so that their mean is the mean over methods.

    With one method they are left as they are. The others are kept, so that whoever pairs still counts them.
    """
    among = np.isin(cell.values.samples, samples)
    values = cell.values.values.copy()
    values[among] = _evened(values[among], cell.methods[among], cell.values.groups[among])
    return cell.values.with_values(values)


def _evened(values: Floats, methods: Strings, groups: Strings) -> Floats:
    names, which, sizes = np.unique(methods, return_inverse=True, return_counts=True)
    if len(names) < 2:
        return values
    weights = len(values) / (len(names) * sizes[which])
    centre = exact_mean(weights * values)
    of_method = [which == m for m in range(len(names))]
    held = np.asarray([len(np.unique(groups[rows])) for rows in of_method])
    if held.min() < LEAST_GROUPS:
        return np.asarray(centre + weights * (values - centre), dtype=np.float64)
    means = np.asarray([exact_mean(values[rows]) for rows in of_method])
    spread = weights * np.sqrt(held / (held - 1))[which]
    return np.asarray(centre + spread * (values - means[which]), dtype=np.float64)


def even_pair(a: CellValues, b: CellValues) -> tuple[Values, Values]:
    """Both cells weighed on the samples that both have."""
    return even(a, b.values.samples), even(b, a.values.samples)


def even_mean(cell: CellValues) -> Estimate:
    """The mean over methods with its interval, within the range of the score."""
    return cell.within(macro_interval(cell.values, cell.methods))


def method_cells(cell: CellValues) -> tuple[MethodCell, ...]:
    """The mean of every method with its interval."""
    return tuple(MethodCell(method=m, estimate=cell.within(mean_interval(v)), n=len(v)) for m, v in split(cell).items())


def board_methods(
    cells: Iterable[CellValues], found: CentreGate, detection: Detection | None
) -> tuple[BoardMethod, ...]:  # fmt: skip
    """The methods that the cells of a board have samples of, by name."""
    seen = {m.method: m for m in detection.methods} if detection else {}
    names = sorted({str(m) for c in cells for m in np.unique(c.methods)})
    return tuple(
        BoardMethod(
            method=m,
            n=seen[m].n if m in seen else None,
            correct=seen[m].correct if m in seen else None,
            central=found.central.get(m),
            ranked=m not in found.shut,
        )
        for m in names
    )


def centre_notes(found: CentreGate, methods: tuple[BoardMethod, ...]) -> list[str]:
    """How methods are weighed, which of them have no part in ranks, and where that was not checked."""
    notes = []
    if len(methods) > 1:
        notes.append(f"means are over {len(methods)} methods that weigh alike")
    notes += [
        f"{method_name(m.method)}: no part in ranks and verdicts: the centre prior's mask AUC is {m.central:.3f}, "
        f"above {GATE:g}"
        for m in methods
        if not m.ranked
    ]
    unknown = _names([m.method for m in methods if m.central is None])
    if found.unchecked and methods:
        notes.append(f"centre prior's gate not checked: {found.unchecked}")
    elif unknown:
        notes.append(f"centre prior's gate not checked: {_PRIOR} has no {_MEASURE} on {unknown}")
    return notes


def missing_notes(name: str, cells: Mapping[str, CellValues]) -> list[str]:
    """Explainers whose mean of one score is over fewer methods than that of others."""
    have = {e: set(split(c)) for e, c in cells.items() if len(c.values)}
    every = sorted(set().union(*have.values()))
    lack = {m: [short(e) for e in sorted(have) if m not in have[e]] for m in every}
    return [
        f"{name}: no value of {', '.join(names)} on {method_name(m)}: the mean is over the other methods"
        for m, names in lack.items()
        if names
    ]


def method_name(method: str) -> str:
    """The method, or ``fake`` where the dataset names none."""
    return method or "fake"


def _names(methods: list[str]) -> str:
    return ", ".join(map(method_name, methods))
