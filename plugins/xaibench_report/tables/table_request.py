"""What a table is asked to be: keys of its rows and columns, scores, and what stands beside the means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from xaibench.api import UsageError, closest_first

FORMATS: Final = ("text", "markdown", "latex", "csv", "html")
COMPONENT_KEYS: Final = ("explainer", "score", "metric", "family", "item", "model", "member", "dataset", "repeat")
"""Keys of every run. Beside them stand the parts of items and the columns of the table ``samples``."""
MOST_DIGITS: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRequest:
    """One request. ``scores``: ``SCORE``, ``METRIC SCORE``, ``METRIC`` or a family of metrics, each with words of an
    item where wanted; empty: the primary scores. ``by``: keys that give a table for each of their values.

    ``digits``: decimals, None for those of the boards. ``bold``: whether the explainers that are not told apart from
    the best are bold. ``verdicts``: whether a cell says how its explainer stands to the controls. ``controls``: whether
    controls and references have rows. ``untouched``: whether the detector on the untouched pictures has one.
    ``over_runs``: whether a number is the mean over the training runs of a family.
    """

    rows: tuple[str, ...] = ("explainer",)
    columns: tuple[str, ...] = ("score",)
    scores: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    intervals: bool = False
    n: bool = False
    controls: bool = False
    untouched: bool = False
    bold: bool = False
    verdicts: bool = False
    digits: int | None = None
    over_runs: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys, those of tables first."""
        return (*self.by, *self.rows, *self.columns)


def make_request(
    rows: str | Sequence[str] = "explainer",
    columns: str | Sequence[str] = "score",
    score: str | Sequence[str] = (),
    by: str | Sequence[str] = (),
    *,
    intervals: bool = False,
    n: bool = False,
    controls: bool = False,
    untouched: bool = False,
    bold: str | None = None,
    verdicts: bool = False,
    digits: int | None = None,
    over_runs: bool = False,
) -> TableRequest:
    """The request; keys are names, or names joined by commas. Raises UsageError for values that are none."""
    if bold not in (None, "best"):
        raise UsageError(f"bold '{bold}' is not known", "give best, or leave it out")
    if digits is not None and not 0 <= digits <= MOST_DIGITS:
        raise UsageError(f"{digits} digits are none", f"give a number from 0 to {MOST_DIGITS}")
    request = TableRequest(
        rows=_names(rows), columns=_names(columns), by=_names(by), intervals=intervals, n=n, controls=controls,
        scores=(score,) if isinstance(score, str) else tuple(score), untouched=untouched, bold=bold == "best",
        verdicts=verdicts, digits=digits, over_runs=over_runs,
    )  # fmt: skip
    if not request.rows or not request.columns:
        raise UsageError("a table needs rows and columns", "name a key for each, such as explainer and score")
    _check_once(request)
    if over_runs:
        _check_over_runs(request)
    return request


def check_keys(request: TableRequest, offered: Iterable[str]) -> None:
    """Raise UsageError, with the keys that there are, the closest first, for one that is not offered."""
    names = tuple(dict.fromkeys(offered))
    for key in request.keys:
        if key not in names:
            raise UsageError(f"no key '{key}' of rows or columns", f"there are {closest_first(key, names)}")
    asked = (("--untouched", request.untouched), ("--bold best", request.bold), ("--verdicts", request.verdicts))
    for what, wanted in asked:
        if wanted and "explainer" not in (*request.rows, *request.columns):
            raise UsageError(f"{what} needs the explainers in one table", "add explainer to the rows or the columns")


def _names(keys: str | Sequence[str]) -> tuple[str, ...]:
    """``method,k`` and ``[method, k]`` alike."""
    parts = [keys] if isinstance(keys, str) else keys
    return tuple(name.strip() for part in parts for name in part.split(",") if name.strip())


def _check_over_runs(request: TableRequest) -> None:
    asked = (
        ("--untouched", request.untouched),
        ("--bold best", request.bold),
        ("--verdicts", request.verdicts),
        ("the key member", "member" in request.keys),
        ("the key repeat", "repeat" in request.keys),
    )
    for what, wanted in asked:
        if wanted:
            raise UsageError(f"{what} is of single runs", "leave it out, or leave out --over-runs")


def _check_once(request: TableRequest) -> None:
    twice = [k for k in dict.fromkeys(request.keys) if request.keys.count(k) > 1]
    if twice:
        raise UsageError(f"the key '{twice[0]}' is named twice", "name each key once, among the rows or the columns")
