"""Whether the maps of a finished run are those that a detector and an explainer draw here and now."""

from __future__ import annotations

from xaibench.api import Facts, UsageError
from xaibench.discovery.components import Use
from xaibench.run.record import recorded_identity, recorded_member
from xaibench.store.open_run import Run


def detector_in_run(run: Run, facts: Facts, target: str) -> tuple[str, str]:
    """The model and the member of a run that are this detector, whose maps explain classes by this rule of targets.

    Detectors are compared by their digests, which cover weights and card. Raises :class:`UsageError` where the run has
    no such detector or another rule.
    """
    rows = run.to_arrow("components", where={"kind": ["model"]}).to_pylist()
    digests = {row["name"]: row["digest"] for row in rows}  # the last word counts
    names = {name for name, digest in digests.items() if digest == facts.digest}
    if not names:
        what = f"the run evaluated another detector: {', '.join(digests)}"
        raise UsageError(what, "give the same file with the same card to --model, or a run on this one")
    rule = str(run.settings.get("target", "predicted"))
    if rule != target:
        raise UsageError(f"the run explained the class '{rule}', not '{target}'", f"give --target {rule}")
    predictions = run.to_arrow("predictions", ["model", "member"])
    pairs = set(zip(*(predictions[c].to_pylist() for c in ("model", "member")), strict=True))
    pair = next((pair for pair in sorted(pairs) if recorded_member(*pair) in names), None)
    if pair is None:
        raise UsageError("the run has no predictions of this detector", f"finish it: xaibench eval --out {run.path}")
    return pair


def refuse_other_explainer(run: Run, use: Use) -> None:
    """Raise :class:`UsageError` where the maps of a run are not those of this explainer with these parameters.

    Explainers are compared by name, parameters, version of definition and distribution, and digest of code or content:
    what enters the keys of their cells.
    """
    rows = run.to_arrow("components", where={"kind": ["explainer"]}).to_pylist()
    by_name = {row["name"]: row for row in rows}  # the last word counts
    if use.name not in by_name:
        known = ", ".join(by_name)
        raise UsageError(f"the run has no maps of {use.name} with these parameters", f"its explainers: {known}")
    for name, value in recorded_identity(use).items():
        recorded = by_name[use.name][name]
        if recorded != value:
            what = f"{use.name} of the run has another {name.replace('_', ' ')}: {recorded}, here {value}"
            raise UsageError(what, "evaluate again with what is installed here")
