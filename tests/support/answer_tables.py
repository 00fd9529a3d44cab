"""Runs made by hand, for tests of the answer: what is printed of them, and a run of the size of ``quick``."""

import io
import math
from functools import cache

from leaderboard_tables import WHERE, column, sample, tables
from rich.console import Console

from xaibench.api import ScoreSpec
from xaibench_report.answer.run_answer import build_answer
from xaibench_report.boards.leaderboard import build_leaderboards
from xaibench_report.terminal.run_terminal import print_run
from xaibench_report.values.run_values import ScoreInfo

EXPLAINERS = ("xaibench/gradcam", "xaibench/integrated-gradients:steps=16", "xaibench/rise:masks=400")
CONTROLS = ("xaibench/center-prior", "xaibench/edges", "xaibench/face-hull", "xaibench/random")
INVERSES = tuple(f"xaibench/inverse:of={e.removeprefix('xaibench/')}" for e in EXPLAINERS)
MEASURES = {
    "xaibench/deletion:steps=10": ("faithfulness", "lower"),
    "xaibench/insertion:steps=10": ("faithfulness", "higher"),
    "xaibench/pointing-game": ("localisation", "higher"),
    "xaibench/relevance-mass": ("localisation", "higher"),
    "xaibench/relevance-rank": ("localisation", "higher"),
    "xaibench/mask-auc": ("localisation", "higher"),
    "xaibench/entropy-histogram": ("salience", "lower"),
    "xaibench/entropy-spatial": ("salience", "lower"),
}


def base(metric):
    return metric.partition("/")[2].partition(":")[0]


INFO = ScoreInfo(
    controls=frozenset((*CONTROLS, *INVERSES)),
    families={metric: family for metric, (family, _) in MEASURES.items()},
    specs={
        (metric, base(metric)): ScoreSpec(
            name=base(metric),
            better=better,
            ranks_evidence=family != "salience",
            why_not="it sees how focused a map is, not on what" if family == "salience" else "",
        )
        for metric, (family, better) in MEASURES.items()
    },
)


def predictions(n=12, fake=0.9, real=0.1, **changes):
    """A fake and a real picture of each of ``n`` groups, every one of a label with one P(fake)."""
    return [
        {
            **WHERE, **sample(i, label), "probabilities": [1 - p, p], "classes": ["real", "fake"], "p_fake": p,
            "log_odds": math.log(p / (1 - p)), "prediction": "fake", "verdict": "fake" if p >= 0.5 else "real",
            "correct": (p >= 0.5) == (label == "fake"), "status": "ok", "reason": None,
        } | changes
        for i in range(n) for label, p in (("fake", fake), ("real", real))
    ]  # fmt: skip


def quick_scores(n=12, **changes):
    """Every measure of ``quick``: the first explainer beats all, the second ties with a control, the third is worse."""
    rows = []
    for metric, (_, better) in MEASURES.items():
        sign = 1 if better == "higher" else -1
        means = {EXPLAINERS[0]: 0.5 + 0.3 * sign, EXPLAINERS[1]: 0.5, EXPLAINERS[2]: 0.5 - 0.3 * sign}
        means |= dict.fromkeys(CONTROLS, 0.5) | dict.fromkeys(INVERSES, 0.5 - 0.1 * sign)
        rows += column(means, n, metric=metric, score=base(metric), better=better, **changes)
    return rows


@cache
def quick_run():
    return tables(quick_scores(), predictions())


@cache
def family_run(models=("acme/plain", "acme/guided"), members=2):
    """Two families of training runs, each with all measures of ``quick``."""
    places = [{"model": m, "member": f"run-{i}"} for m in models for i in range(members)]
    return tables([r for at in places for r in quick_scores(**at)], [r for at in places for r in predictions(**at)])


def answer_of(run, info=INFO):
    return build_answer(build_leaderboards(run, info), info)


@cache
def made_boards(run):
    """The boards of one of the runs that this module makes."""
    return build_leaderboards(run(), INFO)


def printed(run, *, width=80, detail=False):
    """``run``: a function that makes a run, or the tables of one."""
    boards, info, out = (made_boards(run) if callable(run) else build_leaderboards(run, INFO)), INFO, io.StringIO()
    print_run(build_answer(boards, info), boards, info, Console(file=out, width=width), detail=detail, run="RUN")
    return out.getvalue()


def words(text):
    return " ".join(text.split())
