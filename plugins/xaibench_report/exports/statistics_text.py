"""How the report computes its statistics, in words: as docs/explanation/statistics.md and the docstrings of
``xaibench_statistics`` say it."""

from __future__ import annotations

from collections.abc import Iterator

from xaibench_report.exports import statistics_references as literature
from xaibench_report.exports.marked_text import Cite, Part
from xaibench_report.exports.run_record import RunRecord
from xaibench_statistics import MINIMUM_GROUPS, RESAMPLES


def statistics(record: RunRecord, reporter: str) -> Iterator[Part]:
    """The paragraph. ``reporter`` is the version of xaibench whose report computes them."""
    yield f"The report of xaibench {reporter} computed the statistics. All intervals are 95 % intervals, and their "
    yield "unit is the group of pictures. Shares have Wilson's interval"
    yield Cite((literature.WILSON_1927,))
    yield " on an effective sample size"
    yield Cite((literature.FRANCO_2019,))
    yield "; differences of shares have the interval that follows from those of the two shares"
    yield Cite((literature.ZOU_2008,))
    yield ". Other numbers have at each end the outer one of two intervals: the t interval with the cluster-robust "
    yield "variance of Bell and McCaffrey"
    yield Cite((literature.BELL_2002,))
    yield " and Hall's interval for skewed means"
    yield Cite((literature.HALL_1992,))
    yield "."
    if any(data.cross_groups for data in record.data):
        yield " With two crossed factors the variance is the two-way clustered one"
        yield Cite((literature.CAMERON_2011,))
        yield ", and the bootstrap is the pigeonhole bootstrap"
        yield Cite((literature.OWEN_2007,))
        yield "."
    yield f" With fewer than {MINIMUM_GROUPS} groups there is no interval and no verdict."
    if "localisation" in {m.details["family"] for m in record.of_kind("metric")}:
        yield " Scores of localisation weigh every manipulation method alike."
    if _is_censored(record):
        yield " Right-censored scores are summarised by a restricted mean and by a median, whose interval rests on "
        yield f"{RESAMPLES:,} resamples of groups with an expanded tail"
        yield Cite((literature.HESTERBERG_2015,))
        yield "."
    if record.explainers("explainer") and record.explainers("control"):
        yield from _verdicts()
    if record.explainers("explainer"):
        yield " Ranks have simultaneous 95 % intervals from the step-down test over all pairs of explainers"
        yield Cite((literature.MOGSTAD_2024, literature.ROMANO_2005))
        yield "."
    if record.has_accuracy:
        yield " The AUC of a detector has an interval from its clustered variance"
        yield Cite((literature.DELONG_1988, literature.OBUCHOWSKI_1997, literature.NEWCOMBE_2006))
        yield "."


def _verdicts() -> Iterator[Part]:
    yield " An explainer is called better only if it is shown better than every control (an intersection-union test), "
    yield "and worse if it is shown worse than one; otherwise it is not told apart. All comparisons of a board, which "
    yield "are those of one family of measures on one detector and data set, are tested together in both directions. "
    yield "Within a score and a direction, the test is the step-down maximum of the studentised clustered bootstrap"
    yield Cite((literature.ROMANO_2005,))
    yield "; between them, it is Bonferroni's rule. With probability 0.95 a board makes no false claim."


def _is_censored(record: RunRecord) -> bool:
    return any(score.get("event") for m in record.of_kind("metric") for score in m.details["scores"])
