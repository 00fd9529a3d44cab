"""Tables of scores and predictions made by hand, for tests of leaderboards."""

import numpy as np
import pyarrow as pa

from xaibench.store.schema import COMMITS, PREDICTIONS, SCORES
from xaibench_report.boards.leaderboard import build_leaderboards
from xaibench_report.values.run_values import RunTables, ScoreInfo

DELETION, HIT = "xaibench/deletion", "xaibench/pointing-game"

CONTROLS = ("xaibench/random", "xaibench/center-prior", "xaibench/edges", "xaibench/inverse:of=gradcam")

INFO = ScoreInfo(
    controls=frozenset((*CONTROLS, "xaibench/mask-oracle")),
    references=frozenset(("xaibench/mask-oracle",)),
    families={DELETION: "faithfulness", HIT: "localisation", "xaibench/stability": "robustness"},
)

WHERE = {"run": "r", "unit": "u", "cell": "c", "model": "xaibench/demo", "member": "0", "dataset": "xaibench/faces"}


def sample(i, label="fake", group=None):
    return {"sample": f"{label}-{i:02d}", "group": group or f"g{i}", "cross_group": None, "label": label,
            "method": "swap" if label == "fake" else None}  # fmt: skip


def score(explainer, value, i=0, *, status="ok", reason=None, **changes):
    row = {
        **WHERE, **sample(i), "prediction": "fake", "explainer": explainer, "target": "fake", "metric": DELETION,
        "score": "auc", "item": "", "scope": "sample", "definition": 1, "better": "lower", "status": status,
        "value": value if status == "ok" else None, "reason": reason, "seed": 0, "repeat": 0,
    }  # fmt: skip
    return row | changes


def tables(scores=(), predictions=(), commits=()):
    return RunTables(
        scores=pa.Table.from_pylist(list(scores), SCORES),
        predictions=pa.Table.from_pylist(list(predictions), PREDICTIONS),
        commits=pa.Table.from_pylist(list(commits), COMMITS),
    )


def column(means, n=12, **changes):
    """``n`` samples of every explainer: its mean plus a wiggle that sums to 0, a little wider for each further one, so
    that differences have a spread."""
    wiggle = np.linspace(-0.01, 0.01, n)
    return [
        score(e, mean + (1 + at / 10) * wiggle[i], i, **changes)
        for at, (e, mean) in enumerate(means.items())
        for i in range(n)
    ]


def build(scores, info=INFO):
    return build_leaderboards(tables(scores), info)
