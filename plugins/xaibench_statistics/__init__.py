"""The statistics of a run, as pure functions on one value a sample.

Samples that share source material are no independent evidence, so every interval resamples *groups* of
samples (:mod:`~xaibench_statistics.bootstrap`). Explainers are compared and ranked on the samples that all of
them have (:mod:`~xaibench_statistics.paired`, :mod:`~xaibench_statistics.ranking`). Nothing here depends on
the order of rows.
"""

from __future__ import annotations

from xaibench_statistics.auc import auc_interval, mean_auc_interval, roc_auc
from xaibench_statistics.bootstrap import MINIMUM_GROUPS, RESAMPLES, SEED, Estimate, mean_interval
from xaibench_statistics.censored import CensoredMedian, censored_median
from xaibench_statistics.paired import Difference, holm, paired_difference
from xaibench_statistics.ranking import Rank, Ranking, rank_explainers
from xaibench_statistics.runs import LEAST_RUNS, Runs, RunsDifference, runs_difference, runs_interval
from xaibench_statistics.values import Values, common_samples

__all__ = [
    "LEAST_RUNS",
    "MINIMUM_GROUPS",
    "RESAMPLES",
    "SEED",
    "CensoredMedian",
    "Difference",
    "Estimate",
    "Rank",
    "Ranking",
    "Runs",
    "RunsDifference",
    "Values",
    "auc_interval",
    "censored_median",
    "common_samples",
    "holm",
    "mean_auc_interval",
    "mean_interval",
    "paired_difference",
    "rank_explainers",
    "roc_auc",
    "runs_difference",
    "runs_interval",
]
