"""How numbers and names are written, wherever people read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from xaibench_report.boards.board_cells import Cell, Column
from xaibench_report.boards.leaderboard import Board, Row
from xaibench_report.detectors.detection import DEFAULT_THRESHOLD, Detection, LeftOut
from xaibench_report.detectors.marks import DetectorMark
from xaibench_report.judgement.manipulation_methods import BoardMethod, MethodCell, method_name
from xaibench_report.judgement.pictures_needed import LevelPair
from xaibench_report.values.number_format import DASH, interval, number, plural
from xaibench_report.values.run_values import Where, score_name, short
from xaibench_statistics import CALIBRATION_BINS, Accuracy, CensoredMedian, Estimate, Rank

ARROWS: Final = {"higher": "\u2191", "lower": "\u2193", "none": ""}


def median(found: CensoredMedian | None) -> str:
    """``median 0.020 [0.010, >0.063]``; ``>`` where it is only known to lie above. Nothing for None."""
    if found is None:
        return ""
    value = f"median {'>' if found.above else ''}{number(found.value)}"
    if found.low is None:
        return value
    return f"{value} [{number(found.low)}, {'>' if found.high_above else ''}{number(found.high)}]"


def span(ends: tuple[float, float] | None) -> str:
    """The range over items of a score without samples."""
    return f"{number(ends[0])} to {number(ends[1])}" if ends else ""


def rank(found: Rank | None) -> str:
    """``#1-3``, the interval of the rank, or ``#2`` where its ends are one; nothing without an interval."""
    if found is None or found.low is None:
        return ""
    return f"#{found.low}" if found.low == found.high else f"#{found.low}{DASH}{found.high}"


def place(where: Where) -> str:
    """``detector (member) on dataset``."""
    return f"{detector_title(where)} on {short(where.dataset)}"


def detection_lines(detection: Detection) -> list[str]:
    """``240 pictures (160 fake, 80 real) in 40 groups``, ``AUC 0.970 [0.950, 0.990], balanced accuracy ...`` and
    ``sensitivity ..., false alarms ...``. A terminal of 80 columns shows each of them on one line. A threshold is named
    where it is not 0.5, the default."""
    a = detection.accuracy
    both = [rate("AUC", a.auc), rate("balanced accuracy", a.balanced_accuracy)] if a.auc else []
    shares = [rate(n, e) for n, e in (("sensitivity", a.sensitivity), ("false alarms", a.false_alarm_rate)) if e]
    at = "" if a.threshold == DEFAULT_THRESHOLD else f", threshold {a.threshold:g}"
    lines = [f"{pictures_line(a)}{at}", ", ".join(both), ", ".join(shares)]
    return [line for line in lines if line]


def pictures_line(accuracy: Accuracy) -> str:
    """``240 pictures (160 fake, 80 real) in 40 groups``."""
    groups = plural(accuracy.groups, "group")
    if accuracy.cross_groups:
        groups += f" crossed with {plural(accuracy.cross_groups, 'donor')} (two-way intervals)"
    return f"{plural(accuracy.n, 'picture')} ({accuracy.fake} fake, {accuracy.real} real) in {groups}"


def rate(name: str, estimate: Estimate | None) -> str:
    """``AUC 0.970 [0.950, 0.990]``."""
    return f"{name} {number(estimate.value if estimate else None)} {interval(estimate)}".rstrip()


def mark_line(mark: DetectorMark) -> str:
    """``plain on faces: calls all 24 pictures fake: 12 of 12 real ones too (threshold 0.5)``."""
    return f"{place(mark.where)}: {mark.text}"


def withheld_line(withheld: Sequence[DetectorMark]) -> str:
    """Why a board has neither ranks nor verdicts; empty where it may have them."""
    texts = list(dict.fromkeys(m.text for m in withheld))
    more = f" (and {plural(len(texts) - 1, 'further mark')})" if len(texts) > 1 else ""
    return f"no ranks and no verdicts: the detector is marked: {texts[0]}{more}" if withheld else ""


def accuracy_rows(accuracy: Accuracy) -> list[tuple[str, str]]:
    """Every figure of a detector's accuracy with its interval, by name, as the page shows them."""
    at = f"at threshold {accuracy.threshold:g}"
    figures = (
        ("AUC", accuracy.auc),
        (f"sensitivity {at}", accuracy.sensitivity),
        (f"false-alarm rate {at}", accuracy.false_alarm_rate),
        (f"balanced accuracy {at}", accuracy.balanced_accuracy),
        ("Brier score", accuracy.brier),
    )
    rows = [(name, f"{number(e.value)} {interval(e)}".rstrip()) for name, e in figures if e is not None]
    if accuracy.calibration_error is not None:
        rows.append((f"expected calibration error ({CALIBRATION_BINS} bins)", number(accuracy.calibration_error)))
    return rows


def left_out_lines(left_out: Sequence[LeftOut]) -> list[str]:
    """``pointing-game: 80 values undefined: a real picture has no mask``."""
    return [
        f"{short(x.what)}: {x.count} {x.status.replace('_', ' ')}" + (f": {x.reason}" if x.reason else "")
        for x in left_out
    ]


def level_line(pair: LevelPair) -> str:
    """``deletion: gradcam and rise differ by 0.039, which about 117 groups tell, and here are 24``."""
    differ = f"{score_name(pair.metric, pair.score)}: {short(pair.first)} and {short(pair.second)} differ by"
    needed = "" if pair.needed is None else f", which about {plural(pair.needed, 'group')} tell"
    if pair.ties:
        return (
            f"{differ} {number(pair.difference)}, and ties move that by {number(pair.ties)}: more pictures do not tell"
        )
    return f"{differ} {number(pair.difference)}{needed}, and here are {pair.groups}"


def column_title(column: Column) -> str:
    """``deletion``, then the score's name and an arrow in the direction in which it improves."""
    name = f"{score_name(column.metric, column.score, chr(10))} {ARROWS.get(column.better, '')}".rstrip()
    return f"{name}\nrestricted mean" if column.censored else name


def detector_title(where: Where) -> str:
    """``whitened (run-3)``."""
    member = f" ({where.member})" if where.member not in ("", where.model) else ""
    return f"{short(where.model)}{member}"


def column_size(board: Board, column: int) -> int | None:
    """The number of samples that every explainer of a column has, 0 for values of a whole set; None where they
    differ."""
    cells = [row.cells[column] for row in board.rows]
    sizes = {c.estimate.n for c in cells if c is not None and c.estimate is not None}
    return sizes.pop() if len(sizes) == 1 else None


def row_title(row: Row) -> str:
    """The explainer's short name; a reference says that it is one."""
    name = short(row.explainer) or "(detector)"
    return f"{name} (reference)" if row.role == "reference" else name


def method_title(method: BoardMethod) -> tuple[str, list[str]]:
    """``swap`` and the lines below: ``18 of 20 correct``, where there are predictions, and ``not in ranks``."""
    correct = "" if method.n is None else f"{method.correct} of {method.n} correct"
    return method_name(method.method), [x for x in (correct, "" if method.ranked else "not in ranks") if x]


def method_cell(cell: Cell | None, method: BoardMethod) -> MethodCell | None:
    """What a cell says about one method of its board."""
    return next((m for m in cell.methods if m.method == method.method), None) if cell else None


def shows_methods(board: Board) -> bool:
    """Whether a board's means are over several methods, so that there is something to show apart."""
    return len(board.methods) > 1


def detection_notes(detection: Detection) -> list[str]:
    """What to know of a detector's result, and why methods have no interval where the whole has one."""
    whole = detection.accuracy.auc
    known = whole is not None and whole.low is not None
    why: dict[str, list[str]] = {}
    for m in detection.methods:
        if known and m.auc and m.auc.note:
            why.setdefault(m.auc.note, []).append(method_name(m.method))
    notes = [f"{', '.join(names)}: {note}" for note, names in why.items()]
    return [detection.accuracy.note, *notes] if detection.accuracy.note else notes
