"""Short names, and lines that break between words only."""

import pytest

from xaibench_report.values.aliases import Aliases, break_lines, longest_piece


def test_a_component_that_stands_alone_is_called_by_its_name():
    aliases = Aliases.of(["xaibench/rise:masks=400", "xaibench/gradcam", "xaibench/inverse:of=rise:masks=400"])
    names = ("xaibench/rise:masks=400", "xaibench/gradcam", "xaibench/inverse:of=rise:masks=400", "acme/other")
    assert [aliases(n) for n in names] == ["rise", "gradcam", "inverse of rise", "acme/other"]
    assert aliases.legend(names) == "rise (masks=400)"


def test_two_of_one_component_differ_by_the_parameter_that_differs():
    one, two, bare = "xaibench/rise:masks=400,cells=7", "xaibench/rise:masks=800,cells=7", "xaibench/rise"
    aliases = Aliases.of([one, two])
    assert (aliases(one), aliases(two)) == ("rise:masks=400", "rise:masks=800")
    aliases = Aliases.of([one, bare])
    assert (aliases(one), aliases(bare)) == ("rise:masks=400,cells=7", "rise")


def test_explainers_and_metrics_do_not_take_names_from_one_another():
    aliases = Aliases.of(["xaibench/both:a=1"], ["xaibench/both:b=2"])
    assert (aliases("xaibench/both:a=1"), aliases("xaibench/both:b=2")) == ("both", "both")
    assert aliases.score("xaibench/both:b=2", "both") == "both"
    assert aliases.score("xaibench/both:b=2", "auc") == "both auc"


def test_a_sentence_is_shortened_at_whole_names():
    aliases = Aliases.of(["xaibench/rise:masks=400"], ["xaibench/deletion:steps=1"])
    text = "deletion:steps=1: rise:masks=400 and rise:masks=4000, not deletion:steps=10"
    assert aliases.text(text) == "deletion: rise and rise:masks=4000, not deletion:steps=10"


def test_names_of_any_form_stay_as_they_are():
    aliases = Aliases.of(["acme/odd:one,two", "acme/odd:three,four"])
    assert aliases("acme/odd:one,two") == "acme/odd:one,two"


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("integrated-gradients:steps=16", 22, ["integrated-gradients:", "steps=16"]),
        ("inverse:of=integrated-gradients:steps=16", 22, ["inverse:of=integrated-", "gradients:steps=16"]),
        ("not told apart from own inverse", 20, ["not told apart from", "own inverse"]),
        ("unbreakable_name", 5, ["unbreakable_name"]),
        ("two\nlines here", 6, ["two", "lines", "here"]),
        ("", 5, [""]),
    ],
)
def test_lines_break_between_words_and_after_hyphens_alone(text, width, lines):
    assert break_lines(text, width).split("\n") == lines


def test_the_longest_piece_is_what_a_column_needs():
    assert longest_piece("integrated-gradients:steps=16") == len("integrated-")
    assert longest_piece("") == 0
