"""What a run prints: short by default, everything with --detail."""

import io
import re

import pytest
from answer_tables import INFO, answer_of, family_run, made_boards, predictions, printed, quick_run, quick_scores, words
from leaderboard_tables import column, tables
from rich.console import Console

from xaibench_report.comparisons.ranking import rank_detectors
from xaibench_report.terminal.boards_terminal import print_leaderboards
from xaibench_report.terminal.ranking_terminal import print_ranking
from xaibench_report.terminal.run_terminal import short_notes


def test_a_quick_run_prints_at_most_sixty_lines():
    lines = printed(quick_run).splitlines()
    assert len(lines) <= 57  # the command adds three
    assert max(map(len, lines)) <= 80


def test_two_families_and_their_ranking_print_at_most_eighty_lines_each():
    lines = printed(family_run).splitlines()
    assert len(lines) <= 78  # eval adds two
    assert max(map(len, lines)) <= 80
    out = io.StringIO()
    ranking = rank_detectors(family_run(), INFO, test_all=True)
    print_ranking(ranking, Console(file=out, width=80), detail=False)
    assert len(out.getvalue().splitlines()) <= 80


def test_a_ranking_names_the_runs_of_each_mark():
    places = [{"model": m, "member": f"run-{i}"} for m in ("acme/plain", "acme/guided") for i in range(3)]
    rows = [r for at in places for r in quick_scores(**at)]
    marked = {"model": "acme/plain", "member": "run-1"}
    seen = [r for at in places for r in predictions(real=0.8 if at == marked else 0.1, **at)]
    out = io.StringIO()
    print_ranking(rank_detectors(tables(rows, seen), INFO), Console(file=out, width=80), detail=False)
    assert words("mark of run-1: calls all 24 pictures fake") in words(out.getvalue())


@pytest.mark.parametrize("run", [quick_run, family_run])
def test_nothing_is_lost_with_detail(run):
    out = io.StringIO()
    print_leaderboards(made_boards(run), Console(file=out, width=80))
    assert printed(run, detail=True).endswith(out.getvalue())
    assert printed(run, detail=True).startswith(printed(run).partition("\n\n")[0])


def test_one_line_an_explainer_and_the_best_control():
    text = printed(quick_run, width=120)
    line = next(x for x in text.splitlines() if x.startswith("gradcam") and "#1" in x)
    assert re.fullmatch(r"gradcam +0\.200 #1 \+ \[0\.196, 0\.204\] +0\.800 #1 \+ \[0\.796, 0\.804\] *", line)
    assert len([x for x in text.splitlines() if x.startswith("rise ") and "#" in x]) == 3
    assert "inverse of" not in text
    assert re.search(r"best control|, control", text)


def test_no_name_is_cut_inside_a_word():
    long = "a-vendor/a-map-with-a-very-long-name:masks=8000,cells=7"
    run = tables(column({long: 0.2, "a-vendor/a-map-with-a-very-long-name:masks=9000": 0.3, "xaibench/random": 0.9}))
    for text in (printed(run, width=60), printed(run, width=60, detail=True)):
        for line in text.splitlines():
            for word in re.findall(r"a-vendor\S*|(?<=^)a-map\S*|very-long\S*", line):
                assert re.fullmatch(r"(a-)?(vendor/)?(a-)?(map-)?(with-)?(a-)?(very-)?(long-)?(name)?(:?masks=\d000)?,?"
                                    r"(cells=7)?[:;,.)]*(masks=\d000)?.*", word)  # fmt: skip
    assert "very-long-na\n" not in printed(run, width=60, detail=True)


def test_a_note_is_said_once_with_a_count():
    notes = list(short_notes(made_boards(family_run)))
    assert len(notes) == len(set(notes))
    gists = [n for n in notes if "not measured whether a reference is told from random maps" in n]
    assert gists == ["not measured whether a reference is told from random maps (8 x)"]


def test_an_empty_run_says_so():
    text = printed(tables())
    assert words(text) == (
        "Nothing was measured: the run holds neither predictions nor scores. All: xaibench report RUN --detail"
    )


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_any_terminal_can_show_it(encoding):
    from xaibench_report.terminal.answer_terminal import print_answer

    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding=encoding, write_through=True), width=80)
    print_answer(answer_of(quick_run()), console)
    assert "gradcam" in raw.getvalue().decode(encoding)
