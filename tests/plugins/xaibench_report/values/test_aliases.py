"""Short names."""

from xaibench_report.values.aliases import Aliases


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
