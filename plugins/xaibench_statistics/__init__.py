"""The statistics of a run, as pure functions on one value a sample.

Samples that share source material are no independent evidence, so every interval treats *groups* of samples as the
unit (:mod:`~xaibench_statistics.intervals`, :mod:`~xaibench_statistics.bootstrap`). Explainers are compared and ranked
on the samples that all of them have (:mod:`~xaibench_statistics.paired`, :mod:`~xaibench_statistics.ranking`), and held
against controls (:mod:`~xaibench_statistics.control_tests`), with correction for how much is tested
(:mod:`~xaibench_statistics.step_down`); :mod:`~xaibench_statistics.sample_size` says how many groups that takes, and
:mod:`~xaibench_statistics.sequential` stops where an order is settled.
Nothing here depends on the order of rows.
"""

from __future__ import annotations

from xaibench_statistics.accuracy import (
    CALIBRATION_BINS,
    CHANCE,
    CONSTANT,
    NEEDS_BOTH,
    NOT_MEASURED,
    ONE_CLASS,
    VERDICTS,
    WRONG_WAY,
    Accuracy,
    LabelReadings,
    Mark,
    balanced_accuracy,
    detector_accuracy,
    expected_calibration_error,
)
from xaibench_statistics.auc import auc_interval, mean_auc_interval, roc_auc
from xaibench_statistics.bootstrap import (
    MINIMUM_GROUPS,
    RESAMPLES,
    SEED,
    Design,
    Estimate,
    clustered_variance,
    exact_mean,
    mean_replicates,
    percentile_bounds,
)
from xaibench_statistics.censored import CensoredMedian, censored_median
from xaibench_statistics.control_tests import ControlJudgement, Word, judge_against_controls
from xaibench_statistics.gain import AccuracyGain, Gain, accuracy_gains
from xaibench_statistics.gap import Gap, gap_between
from xaibench_statistics.interpretability_balance import AxisFigures, Balance, balance, interpretability, kept_accuracy
from xaibench_statistics.intervals import macro_interval, mean_interval, proportion_interval
from xaibench_statistics.paired import Difference, holm, paired_difference
from xaibench_statistics.ranking import COVERAGE, Rank, Ranking, covered, rank_explainers
from xaibench_statistics.risk_control import RiskControl, control_risk, least_groups
from xaibench_statistics.runs import (
    LEAST_RUNS,
    Runs,
    RunsDifference,
    jackknife_variance,
    least_p,
    people_variance,
    runs_difference,
    runs_interval,
    t_interval,
)
from xaibench_statistics.runs_sample_size import runs_needed
from xaibench_statistics.sample_size import detectable_difference, groups_needed
from xaibench_statistics.sequential import OrderSoFar, checkpoint_level, checkpoints, next_checkpoint
from xaibench_statistics.values import Floats, Ints, Strings, Values, common_samples

__all__ = [
    "CALIBRATION_BINS",
    "CHANCE",
    "CONSTANT",
    "COVERAGE",
    "LEAST_RUNS",
    "MINIMUM_GROUPS",
    "NEEDS_BOTH",
    "NOT_MEASURED",
    "ONE_CLASS",
    "RESAMPLES",
    "SEED",
    "VERDICTS",
    "WRONG_WAY",
    "Accuracy",
    "AccuracyGain",
    "AxisFigures",
    "Balance",
    "CensoredMedian",
    "ControlJudgement",
    "Design",
    "Difference",
    "Estimate",
    "Floats",
    "Gain",
    "Gap",
    "Ints",
    "LabelReadings",
    "Mark",
    "OrderSoFar",
    "Rank",
    "Ranking",
    "RiskControl",
    "Runs",
    "RunsDifference",
    "Strings",
    "Values",
    "Word",
    "accuracy_gains",
    "auc_interval",
    "balance",
    "balanced_accuracy",
    "censored_median",
    "checkpoint_level",
    "checkpoints",
    "clustered_variance",
    "common_samples",
    "control_risk",
    "covered",
    "detectable_difference",
    "detector_accuracy",
    "exact_mean",
    "expected_calibration_error",
    "gap_between",
    "groups_needed",
    "holm",
    "interpretability",
    "jackknife_variance",
    "judge_against_controls",
    "kept_accuracy",
    "least_groups",
    "least_p",
    "macro_interval",
    "mean_auc_interval",
    "mean_interval",
    "mean_replicates",
    "next_checkpoint",
    "paired_difference",
    "people_variance",
    "percentile_bounds",
    "proportion_interval",
    "rank_explainers",
    "roc_auc",
    "runs_difference",
    "runs_interval",
    "runs_needed",
    "t_interval",
]
