"""Twins: what the attack's outcomes make of them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from xaibench import hold_component
from xaibench.api import Done, ExplainerRecord, ExplainRequest, Explanation, PassQuery, Picture, Product
from xaibench.run.workbench import BenchArtefacts
from xaibench_perturbation import Switch, SwitchParameters, Twin, switch_off
from xaibench_testing.harness import explain, make_bench, value
from xaibench_testing.planted import LinearDetector, PatchDetector
from xaibench_testing.planted_data import pictures_of, planted_samples

MODES = ("strict", "t24-code")


def fakes(detector: Any, count: int = 1) -> list[Picture]:
    return [p for p in pictures_of(planted_samples(count), detector) if p.sample.label == "fake"]


def made(detector: Any, picture: Picture, **twin: Any) -> Done[Product]:
    bench = make_bench(detector, batch_size=16)
    done = bench.engine().run_one(partial(BenchArtefacts(bench, detector).get, Twin(**twin), picture))
    value(done)
    return done


def slope(size: tuple[int, int] = (32, 48), margin: float = 2.0) -> tuple[LinearDetector, Picture]:
    """A linear detector that gives a planted fake this margin."""
    w = torch.randn((3, *size), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (picture,) = fakes(PatchDetector())
    return LinearDetector(w, margin - float((w * picture.image.double()).sum())), picture


@pytest.mark.parametrize("mode", MODES)
def test_a_twin_is_called_real_and_looks_the_same(mode: Any) -> None:
    detector, picture = slope()
    done = made(detector, picture, mode=mode)
    product = done.value
    assert product is not None
    twin, numbers = product.tensors["twin"], product.numbers
    assert (product.status, product.reason, numbers["flipped"]) == ("ok", "", 1)
    p_real = float(detector.probabilities(twin[None])[0, 0])
    assert p_real > 0.5 > numbers["p_real_before"]
    assert numbers["p_real_after"] == pytest.approx(p_real, abs=1e-6)
    change = (twin.double() - picture.image.double()).abs().max()
    assert float(change) == numbers["largest_change"]
    assert 0 < float(change) <= 16 / 255
    assert numbers["queries"] == 81 * numbers["steps"] + 1 == done.passes.forward - 2
    assert {"survives_8bit", "survives_jpeg", "p_real_before"} <= set(numbers)
    limit = Twin(mode=mode).passes(PassQuery(sample=picture.sample, facts=detector.facts))
    assert not limit.exact
    assert limit.forward >= 81 * 80 + 3 >= done.passes.forward


@pytest.mark.parametrize("mode", MODES)
def test_a_picture_called_real_has_no_twin(mode: Any) -> None:
    detector, picture = slope(margin=-0.1)
    product = made(detector, picture, mode=mode).value
    assert product is not None
    assert (product.status, product.reason) == ("undefined", "the picture is called real already")
    assert not product.tensors
    assert (product.numbers["steps"], product.numbers["queries"]) == (0, 1)


def test_a_twin_that_failed_is_kept_and_says_so() -> None:
    detector, picture = slope(margin=30)
    product = made(detector, picture, steps=2).value
    assert product is not None
    p_real = product.numbers["p_real_after"]
    assert (product.status, product.numbers["flipped"], product.numbers["queries"]) == ("undefined", 0, 162)
    assert product.reason == f"2 steps did not turn the verdict (P(real) {p_real:.2f})"
    assert product.tensors["twin"].shape == picture.image.shape


def test_no_signal_no_twin() -> None:
    detector = PatchDetector(response="step")
    product = made(detector, fakes(detector)[0]).value
    assert product is not None
    assert product.status == "undefined"
    assert product.reason.startswith("no signal: all 40 probe differences of step 1 are 0")
    assert not product.tensors


def test_strict_stays_in_the_range_and_the_code_leaves_it() -> None:
    detector, picture = slope(margin=0)
    dark = replace(picture, image=torch.zeros_like(picture.image), digest="dark")
    detector.bias = 40.0
    found = {m: made(detector, dark, mode=m, steps=3).value for m in MODES}
    assert found["strict"] is not None
    assert found["t24-code"] is not None
    assert float(found["strict"].tensors["twin"].min()) >= 0
    assert float(found["t24-code"].tensors["twin"].min()) == pytest.approx(-3 / 255)


class Filled:
    """An explainer that draws how far its background lies from the picture."""

    def __init__(self, fill: Any = "twin") -> None:
        self.p = SwitchParameters(fill=fill, twin_steps=3)

    def explain(self, request: ExplainRequest) -> Any:
        switch = yield from switch_off(request, self.p)
        self.made = switch
        return switch if isinstance(switch, Explanation) else _map_of(switch)


def _map_of(switch: Switch) -> Explanation:
    assert switch.background is not None
    return Explanation(map=(switch.background - switch.image).abs().sum(dim=0), details=switch.details)


def test_one_twin_for_all_that_ask_on_a_bench() -> None:
    detector, picture = slope(margin=1)
    bench = make_bench(detector)
    uses = [hold_component(toy(fill), Filled(fill)) for fill in ("twin", "noise-twin")]
    one, two = (explain(use, detector, [picture], 1, bench=bench)[0] for use in uses)
    assert one.passes.forward > 81
    assert two.passes.forward == 0
    first, second = (use.instance.made for use in uses)
    assert first.details == second.details
    # the same change but for the direction; nothing here is near black or white
    torch.testing.assert_close(
        (first.background - first.image).abs(), (second.background - second.image).abs(), atol=1e-7, rtol=0
    )
    assert not torch.equal(first.background, second.background)


def toy(name: str) -> ExplainerRecord:
    return ExplainerRecord(name=name, target="held:Toy", summary="a toy", signed=True)


@pytest.mark.parametrize(("margin", "flipped"), [(0.5, 1.0), (500.0, 0.0)])
def test_maps_say_whether_the_twin_flipped(margin: float, flipped: float) -> None:
    detector, picture = slope(margin=margin)
    done = explain(Filled(), detector, [picture], 1)[0]
    explanation = value(done)
    assert explanation.status == "ok"
    assert explanation.details["twin_flipped"] == flipped
    assert explanation.details["twin_queries"] == done.passes.forward - (2 if flipped else 1)


def test_a_picture_called_real_gives_no_map() -> None:
    detector, picture = slope(margin=-1)
    explanation = value(explain(Filled(), detector, [picture], 1)[0])
    assert explanation.status == "undefined"
    assert explanation.reason == "no twin: the picture is called real already"


def test_twins_depend_on_the_seed_alone() -> None:
    detector, picture = slope()
    bench = [make_bench(detector, seed=s, batch_size=b) for s, b in ((0, 16), (0, 4), (1, 16))]
    twins = []
    for b in bench:
        get = partial(BenchArtefacts(b, detector).get, Twin(steps=3), picture)
        twins.append(value(b.engine().run_one(get)).tensors["twin"])
    assert torch.equal(twins[0], twins[1])
    assert not torch.equal(twins[0], twins[2])


def test_twins_of_a_batch_are_those_made_alone() -> None:
    detector, _ = slope(margin=1)
    pictures = fakes(detector, 3)
    detector.bias += 30
    bench = make_bench(detector, batch_size=16)
    jobs = [(p.sample.id, partial(BenchArtefacts(bench, detector).get, Twin(steps=2), p)) for p in pictures]
    together = {key: value(done) for key, done in bench.engine().run(jobs)}
    for picture in pictures:
        alone = made(detector, picture, steps=2).value
        assert alone is not None
        assert torch.equal(alone.tensors["twin"], together[picture.sample.id].tensors["twin"])
        assert alone.numbers == together[picture.sample.id].numbers
