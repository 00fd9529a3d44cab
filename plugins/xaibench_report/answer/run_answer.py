"""The answer of a run: is the detector fit to be explained, what is each explainer shown to be, on what does that rest,
and what comes next. There is no overall number and no winner over families of measures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from xaibench_report.answer.detector_fitness import Fitness, detector_fitness
from xaibench_report.answer.family_words import FamilyCell, Measure, family_cell, measures
from xaibench_report.answer.next_steps import next_steps
from xaibench_report.answer.sentences import explainer_sentences, family_head, footing_lines
from xaibench_report.answer.two_explainers import two_explainers
from xaibench_report.boards.leaderboard import Board, Leaderboards
from xaibench_report.boards.wording import pictures_line
from xaibench_report.detectors.detection import Detection
from xaibench_report.judgement.verdicts import OWN_INVERSE
from xaibench_report.values.aliases import Aliases
from xaibench_report.values.run_values import ScoreInfo, family_order, short

CAUTION: Final = "No verdict says that a map is right, or why the detector decided on one picture."


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyFooting:
    """The measures of one family on one detector, each with its state. ``head``: what stands over its column."""

    family: str
    measures: tuple[Measure, ...]
    head: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRow:
    """One explainer, with a cell for each family."""

    explainer: str
    alias: str
    cells: tuple[FamilyCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorAnswer:
    """The answer for one detector, or one family of training runs, on one dataset.

    ``fitness``: whether it is fit to be explained; ``sentences``: what is shown of the explainers; ``rests_on`` and
    ``next_steps``: lines.
    """

    dataset: str
    model: str
    members: tuple[str, ...]
    fitness: Fitness
    sentences: tuple[str, ...]
    families: tuple[FamilyFooting, ...]
    rows: tuple[AnswerRow, ...]
    rests_on: tuple[str, ...]
    next_steps: tuple[str, ...]

    @property
    def title(self) -> str:
        """``demo (demo-0) on demo``, ``demo-family (5 runs) on demo``."""
        return title(self.model, self.members, self.dataset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of a run, a detector at a time. ``controls``: the names of the maps that *every control* stands for;
    ``legend``: the names that are written short. ``stopping``: what follows from a run that was to stop when its order
    was settled; empty for any other."""

    detectors: tuple[DetectorAnswer, ...]
    controls: tuple[str, ...]
    legend: str
    stopping: str = ""

    @property
    def paragraphs(self) -> tuple[str, ...]:
        """What is said of each detector, and last what no verdict says, where there are verdicts."""
        texts = [" ".join((*d.fitness.sentences, *d.sentences)) for d in self.detectors]
        if any(c.judged for d in self.detectors for r in d.rows for c in r.cells):
            texts = [*texts, CAUTION] if len(texts) > 1 else [f"{texts[0]} {CAUTION}"]
        return tuple(filter(None, (*texts, self.stopping)))

    @property
    def meaning(self) -> str:
        """What *better* means, and what it does not."""
        controls = f" ({', '.join(self.controls)})" if self.controls else ""
        return f"Better: than every control{controls}, on average over these pictures, paired and corrected."


def stopping_sentence(scores: Sequence[str]) -> str:
    """What a reader must know of a run that added pictures until its order by these scores was settled, or until none
    were left."""
    if not scores:
        return ""
    names = ", ".join(scores)
    return (
        f"Pictures were added until the order by {names} was settled or none were left. That every pair told apart on "
        "the way is in the right order holds with 95 %. Values, intervals and verdicts of the same score favour what "
        "made the run stop."
    )


def title(model: str, members: Sequence[str], dataset: str = "") -> str:
    """A detector, its training run where that has a name, and the dataset where it is given."""
    runs = [m for m in members if m not in ("", model)]
    what = f"{len(runs)} runs" if len(runs) > 1 else "".join(runs)
    return f"{short(model)}{f' ({what})' if what else ''}{f' on {short(dataset)}' if dataset else ''}"


def run_aliases(leaderboards: Leaderboards, info: ScoreInfo) -> Aliases:
    """The short names of what stands on the boards of a run."""
    explainers = {e for b in leaderboards.boards for e in (*(r.explainer for r in b.rows), *b.absent) if e}
    columns = [c for b in leaderboards.boards for c in (*b.columns, *(x.column for x in b.beside))]
    columns += [c for t in leaderboards.detectors for c in t.columns]
    return Aliases.of(explainers | set(info.controls), {c.metric for c in columns} | set(info.families))


def build_answer(leaderboards: Leaderboards, info: ScoreInfo) -> Answer:
    """The answer of a run from its boards."""
    aliases = run_aliases(leaderboards, info)
    keys = [(d.where.dataset, d.where.model) for d in leaderboards.detections]
    keys += [(b.where.dataset, b.where.model) for b in leaderboards.boards]
    several = len(dict.fromkeys(keys)) > 1
    answers = tuple(_of_detector(*key, leaderboards, info, aliases, several) for key in dict.fromkeys(keys))
    used = {m.metric for a in answers for f in a.families for m in f.measures}
    shown = [*(row.explainer for a in answers for row in a.rows), *sorted(used), *_controls(leaderboards)]
    return Answer(detectors=answers, controls=_control_names(leaderboards, aliases), legend=aliases.legend(shown))


def _of_detector(
    dataset: str, model: str, leaderboards: Leaderboards, info: ScoreInfo, aliases: Aliases, several: bool
) -> DetectorAnswer:
    boards = [b for b in leaderboards.boards if (b.where.dataset, b.where.model) == (dataset, model)]
    found = [d for d in leaderboards.detections if (d.where.dataset, d.where.model) == (dataset, model)]
    wheres = [*(d.where for d in found), *(b.where for b in boards)]
    members = tuple(dict.fromkeys(where.member for where in wheres if where.member))
    families = tuple(_footing(name, some) for name, some in by_family(boards))
    names = {e for b in boards for e in (*(r.explainer for r in b.rows), *b.absent) if e}
    explainers = sorted(e for e in names if info.role(e) == "explainer")
    rows = tuple(
        AnswerRow(
            explainer=e,
            alias=aliases(e),
            cells=tuple(family_cell(e, name, some, aliases) for name, some in by_family(boards)),
        )
        for e in explainers
    )
    fitness = detector_fitness(f"Detector {title(model, members, dataset)}", found)
    every = tuple(m for f in families for m in f.measures)
    sentences = explainer_sentences([(r.alias, r.cells) for r in rows], every, max(1, len(members)), asks=not several)
    return DetectorAnswer(
        dataset=dataset,
        model=model,
        members=members,
        fitness=fitness,
        sentences=(*sentences, *two_explainers(boards, explainers, aliases)),
        families=families,
        rows=rows,
        rests_on=tuple(footing_lines(_pictures(found), every, aliases)),
        next_steps=tuple(next_steps(fitness, boards, every, len(rows), info, aliases)),
    )


def by_family(boards: Iterable[Board]) -> list[tuple[str, list[Board]]]:
    """The boards of one detector by family, in the order in which families are printed."""
    found: dict[str, list[Board]] = {}
    for board in boards:
        found.setdefault(board.family, []).append(board)
    return sorted(found.items(), key=lambda item: family_order(item[0]))


def _footing(family: str, boards: Sequence[Board]) -> FamilyFooting:
    every = measures(boards)
    return FamilyFooting(family=family, measures=every, head=family_head(every))


def _pictures(detections: Sequence[Detection]) -> str:
    """``48 pictures (24 fake, 24 real) in 24 groups``, of the run that has most."""
    most = max((d.accuracy for d in detections), key=lambda a: a.n, default=None)
    return pictures_line(most) if most else ""


def _controls(leaderboards: Leaderboards) -> list[str]:
    found = {r.explainer for b in leaderboards.boards for r in b.rows if r.role in ("control", "inverse")}
    return sorted(found)


def _control_names(leaderboards: Leaderboards, aliases: Aliases) -> tuple[str, ...]:
    rows = {(r.role, r.explainer) for b in leaderboards.boards for r in b.rows}
    names = sorted(aliases(e) for role, e in rows if role == "control")
    return (*names, *([OWN_INVERSE] if any(role == "inverse" for role, _ in rows) else []))
