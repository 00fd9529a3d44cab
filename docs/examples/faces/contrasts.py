"""The table and the paired contrasts of fills.toml: does the adversarial twin make LIME, SHAP, SOBOL and RISE better?

    python docs/examples/faces/contrasts.py RUN

First every explainer's mean on the detected fakes, with intervals (at the end per manipulation method). Then, for every
measure, the twin less the method's own fill, and less the noise twin, on the fakes that both have, with intervals
clustered by people. The four contrasts of the primary outcome (margin-drop, top-3, twin less plain) are adjusted by
Holm; all others are there to be looked at, not tested.
"""

from __future__ import annotations

import sys
from collections import defaultdict

from xaibench import open_run
from xaibench_statistics import Difference, Values, common_samples, holm, mean_interval, paired_difference

METHODS = {
    "LIME": ("lime", "lime-adv", "samples=256"),
    "SHAP": ("partition-shap", "shap-adv", "evals=256"),
    "SOBOL": ("sobol", "sobol-adv", "designs=4"),
    "RISE": ("rise", "rise-adv", "masks=256"),
}
"""Names with any fill and with the twin, and the budget."""

MEASURES = [
    *((score, f"slic-50 top-{k}") for score in ("margin-drop", "accuracy", "sufficiency") for k in (1, 2, 3)),
    ("margin-drop", "grid-7 top-3"),
    ("repair-auc", ""),
    ("mask-auc", ""),
    ("relevance-mass", ""),
]
PRIMARY = ("margin-drop", "slic-50 top-3")
Key = tuple[str, str, str]


def named(method: str, fill: str) -> str:
    """The explainer of a method with a fill: ``plain``, ``twin``, ``noise-twin`` or ``counterpart``."""
    name, with_twin, budget = METHODS[method]
    if fill == "twin":
        return f"{with_twin}:{budget}"
    return f"{name}:{budget}" if fill == "plain" else f"{name}:fill={fill},{budget}"


def read(rows: list[dict], method: str = "") -> dict[Key, Values]:
    """Values of the fakes (of one method) by explainer, score and item; a random explainer's draws are averaged."""
    found: dict[Key, dict[str, list[dict]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["status"] == "ok" and row["label"] == "fake" and method in ("", row["method"]):
            key = (row["explainer"].removeprefix("xaibench/"), row["score"], row["item"])
            found[key][row["sample"]].append(row)
    return {key: _values(samples) for key, samples in found.items()}


def _values(samples: dict[str, list[dict]]) -> Values:
    firsts = [rows[0] for rows in samples.values()]
    means = [sum(r["value"] for r in rows) / len(rows) for rows in samples.values()]
    return Values.of(list(samples), means, [r["group"] for r in firsts], [r["cross_group"] for r in firsts])


def table(values: dict[Key, Values]) -> None:
    """One line an explainer, one column a measure: the mean on the fakes that all have but plain SHAP.

    Its maps are often negative wherever they differ from 0, and such a map has no mass.
    """
    print("\t".join(["explainer", *(f"{s} {i}".strip() for s, i in MEASURES)]))
    names = [named(m, f) for m in METHODS for f in ("plain", "twin", "noise-twin", "counterpart")]
    names += sorted({k[0] for k in values} - set(names))
    shared = {m: common_samples([v for k, v in values.items() if k[1:] == m and k[0] != names[4]]) for m in MEASURES}
    for name in names:
        cells = [v.on(shared[m]) if (v := values.get((name, *m))) else None for m in MEASURES]
        print("\t".join([name, *(mean(v) for v in cells)]))


def mean(values: Values | None) -> str:
    if not values:
        return "-"
    found = mean_interval(values)
    interval = "" if found.low is None else f" [{found.low:.3f}, {found.high:.3f}]"
    return f"{found.value:.3f}{interval} ({len(values)})"


def contrasts(values: dict[Key, Values]) -> None:
    """Twin less plain and twin less noise twin, by measure; Holm over the primary four."""
    for score, item in MEASURES:
        for other in ("plain", "noise-twin"):
            pairs = [[values.get((named(m, f), score, item)) for f in ("twin", other)] for m in METHODS]
            found = [paired_difference(a, b) if a and b else None for a, b in pairs]
            primary = (score, item) == PRIMARY and other == "plain"
            adjusted = holm([d.p if d else None for d in found]) if primary else [None] * len(found)
            for method, d, p in zip(METHODS, found, adjusted, strict=True):
                print(f"{score} {item} twin - {other} {method}: {told(d)}{f' Holm p {p:.4f}' if p is not None else ''}")


def told(d: Difference | None) -> str:
    if d is None or d.value is None:
        return "no common samples"
    interval = d.note if d.low is None else f"[{d.low:.3f}, {d.high:.3f}]"
    return f"{d.value:+.3f} {interval} n {d.n}{f' p {d.p:.4f}' if d.p is not None else ''}"


if __name__ == "__main__":
    scored = open_run(sys.argv[1]).scores.to_pylist()
    known = read(scored)
    table(known)
    contrasts(known)
    for one in sorted({r["method"] for r in scored if r["method"]}):
        print(f"\n{one}")
        table(read(scored, one))
