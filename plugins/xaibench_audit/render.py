"""An audit on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from xaibench_audit.audit import Audit
from xaibench_audit.evidence import SENSITIVE, evidence
from xaibench_audit.ranking import Tau
from xaibench_audit.scoring import Measure
from xaibench_audit.verdicts import Verdict, standing
from xaibench_statistics import Estimate

_STYLES = {"misleads": "red", "ranks": "green", "chance": "yellow", "undefined": "dim"}


def show(audit: Audit, console: Console) -> None:
    """The verdicts, taus by evidence, what hiding a place does, the salience questions, and what was left out."""
    if audit.ranked:
        _verdicts(audit, console)
        _taus(audit, console)
        for reference in dict.fromkeys(name for r in audit.ranked for name in r.against):
            _against(audit, reference, console)
        _mechanism(audit, console)
    if audit.salience:
        _salience(audit, console)
    for metric, reason in audit.settings.left:
        console.print(f"left out: {escape(metric)}: {escape(reason)}", style="dim")


def _verdicts(audit: Audit, console: Console) -> None:
    table = _table("measures", "measure", "verdict", "above random", "ms a map", "passes a map")
    for measure, verdict in _primary(audit):
        random = [r.above.get("random", "") for r in audit.ranked if r.measure == measure]
        said = _said(verdict) + ("" if measure.claims else " [dim](and does not claim to rank it)[/]")
        table.add_row(_title(audit, measure), said, _share(random), *_cost(audit, measure))
    console.print(table)


def _taus(audit: Audit, console: Console) -> None:
    names = [o.name for o in audit.on]
    plain = [n for n in names if not evidence(n).sensitive]
    sweeps = [k for k in SENSITIVE if any(evidence(n).sensitive == k for n in names)]
    table = _table("Kendall's tau with the truth, times 100", "measure", *plain, *map(_heading(names), sweeps))
    for measure, _ in _primary(audit):
        taus = {r.evidence: r.tau for r in audit.ranked if r.measure == measure}
        swept = [" ".join(_tau(taus.get(n)) for n in _swept(names, kind)) for kind in sweeps]
        table.add_row(_title(audit, measure), *(_tau(taus.get(n)) for n in plain), *swept)
    console.print(table)
    console.print(
        "Green ranks the evidence (interval above 0), red misleads (below 0), yellow is no better than chance. "
        "l is the weight of the patch beside evidence that a fill adds to.",
        style="dim",
    )


def _against(audit: Audit, reference: str, console: Console) -> None:
    """Tau less the reference's, where a fill is evidence."""
    names = [o.name for o in audit.on]
    sweeps = [k for k in SENSITIVE if any(evidence(n).sensitive == k for n in names)]
    table = _table(f"tau less that of {reference}, times 100", "measure", *map(_heading(names), sweeps))
    for measure, _ in _primary(audit):
        mine = {r.evidence: r.against.get(reference) for r in audit.ranked if r.measure == measure}
        table.add_row(_title(audit, measure), *(" ".join(_tau(mine.get(n)) for n in _swept(names, k)) for k in sweeps))
    console.print(table)
    console.print("Red: the interval of the paired difference lies below 0, green: above.", style="dim")


def _primary(audit: Audit) -> list[tuple[Measure, Verdict]]:
    return [(m, v) for m, v in audit.verdicts.items() if m.primary]


def _title(audit: Audit, measure: Measure) -> str:
    """The measure's name; with the parameters where another measure has the same."""
    alike = [m for m in audit.verdicts if m.name == measure.name]
    return escape(measure.name if len(alike) == 1 else f"{measure.name} ({measure.metric})")


def _heading(names: Sequence[str]) -> Callable[[str], str]:
    return lambda kind: f"{kind} l={' '.join(f'{evidence(n).weight:g}' for n in _swept(names, kind))}"


def _swept(names: Sequence[str], kind: str) -> list[str]:
    """The evidence of one sweep, the largest l first."""
    return sorted((n for n in names if evidence(n).sensitive == kind), key=lambda n: -evidence(n).weight)


def _said(verdict: Verdict) -> str:
    style = "red" if "misleads" in verdict.text else "green" if verdict.text.startswith("ranks the") else "yellow"
    return f"[{'dim' if verdict.text.startswith('undefined') else style}]{escape(verdict.text)}[/]"


def _tau(found: Tau | None) -> str:
    if found is None or found.value is None:
        return "[dim]-[/]"
    return f"[{_STYLES[standing(found)]}]{100 * found.value:.0f}[/]"


def _share(found: Sequence[Estimate | str]) -> str:
    known = [f.value for f in found if isinstance(f, Estimate)]
    return f"{sum(known) / len(known):.0%}" if known else "-"


def _cost(audit: Audit, measure: Measure) -> tuple[str, str]:
    mine = [c for o in audit.on for c in o.costs if c.metric == measure.metric]
    maps = sum(c.maps for c in mine) or 1
    passes = sum(c.passes.forward + c.passes.backward for c in mine)
    return f"{1000 * sum(c.seconds for c in mine) / maps:.1f}", f"{passes / maps:,.0f}"


def _mechanism(audit: Audit, console: Console) -> None:
    fills = [m.fill for m in audit.on[0].mechanism]
    table = _table("a random place filled: fakes that rise / real pictures turned fake", "evidence", *fills)
    for on in audit.on:
        table.add_row(on.name, *(f"{m.rises.value:.0%} / {m.turned.value:.0%}" for m in on.mechanism))
    console.print(table)


def _salience(audit: Audit, console: Console) -> None:
    table = _table("salience measures", "question", "measure", "explainer", "should be better", "than", "verdict")
    for f in audit.salience:
        means = ["-" if v is None else f"{v:.3f}" for v in (f.first, f.second)]
        table.add_row(f.question, escape(f.measure.name), f.explainer, *means, escape(f.text))
    console.print(table)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, overflow="fold", justify="left" if i < 2 else "right")
    return table
