"""Attacks on a fake device: no step waits for it, and what they find is what they find on the CPU."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from threading import Event, Timer
from typing import Any

import pytest
import torch
from tests.support import fake_device, on_device
from torch import Tensor

from xaibench.api import Detector
from xaibench.detector.engine import ProbeEngine
from xaibench_perturbation import AttackSettings, GradientSettings, drawn_ahead
from xaibench_perturbation.attacks import Attacked, nes_attack, pgd_attack
from xaibench_perturbation.inpainting import inpaint, inpaint_each

STEPS = 5


def attacked(detector: Detector, attack: str, image: Tensor, region: Tensor | None, **settings: Any) -> Attacked:
    settings = {"steps": STEPS, **settings}
    image = image.to(detector.device)
    if attack == "pgd":
        programme = partial(pgd_attack, image, region, detector.facts, GradientSettings(**settings), detector)
    else:
        noise = torch.Generator().manual_seed(0)
        programme = partial(
            nes_attack, image, region, detector.facts, AttackSettings(pairs=4, **settings), noise, detector
        )
    done = ProbeEngine(detector, 8).run_one(programme)
    assert done.error is None
    return done.value


def half() -> Tensor:
    region = torch.zeros(on_device.SIZE, dtype=torch.bool)
    region[:, :24] = True
    return region


@pytest.mark.parametrize("attack", ["nes", "pgd"])
@pytest.mark.parametrize("stop", [True, False])
@pytest.mark.parametrize("region", [None, half()])
def test_an_attack_on_a_device_is_that_of_the_cpu(attack: str, stop: bool, region: Tensor | None) -> None:
    here, there = on_device.detectors()
    image = on_device.pictures()[1].image
    one, two = (attacked(d, attack, image, region, stop=stop) for d in (here, there))
    assert (one.numbers(), one.status, one.trace) == (two.numbers(), two.status, two.trace)
    assert torch.equal(one.image, two.image.cpu()) and torch.equal(one.near, two.near.cpu())
    assert (one.turned is None) == (two.turned is None)
    assert one.steps > 0


@pytest.mark.parametrize("attack", ["nes", "pgd"])
@pytest.mark.parametrize(("stop", "reads"), [(False, 0), (True, 1)])
def test_no_step_waits_but_for_the_verdict_that_may_end_it(
    attack: str, stop: bool, reads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six more steps cost no synchronisation where their number is fixed, and one each where a verdict ends them."""
    there = on_device.detectors()[1]
    image, counts = on_device.pictures()[1].image, []
    for steps in (2, 8):
        with on_device.watched(monkeypatch) as seen, fake_device.counted() as waits:
            # so small a bound that the verdict stands
            found = attacked(there, attack, image, half(), steps=steps, stop=stop, step=1e-6, bound=1e-5)
        assert found.steps == steps
        assert not seen.in_passes, seen.in_passes
        counts.append(len(waits))
    assert counts[1] - counts[0] == 6 * reads, str(waits)


def test_a_step_that_finds_no_signal_ends_the_attack_on_a_device() -> None:
    """It is found out after the last step; queries count what the attack asked up to there."""
    here, there = on_device.detectors()
    image = torch.full((3, *on_device.SIZE), 0.5)
    blind = [_blind(d) for d in (here, there)]
    one, two = (attacked(d, "pgd", image, None, stop=False) for d in blind)
    assert one.status == two.status == "undefined"
    assert one.reason == two.reason
    assert (one.queries, one.steps) == (two.queries, two.steps) == (1, 0)


def test_no_draw_goes_on_once_a_series_of_draws_is_closed() -> None:
    has_begun, may_end, has_ended = Event(), Event(), Event()

    def slow() -> Tensor:
        has_begun.set()
        may_end.wait(5)
        has_ended.set()
        return torch.zeros(1)

    draws = drawn_ahead(iter([lambda: torch.ones(1), slow]), fake_device.device())
    assert next(draws).cpu() == 1
    assert has_begun.wait(5)
    Timer(0.1, may_end.set).start()
    draws.close()
    assert has_ended.is_set()


def _blind(detector: Any) -> Any:
    class Blind(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.logits = torch.nn.Parameter(torch.tensor([0.0, 1.0]), requires_grad=False)

        def forward(self, images: Tensor) -> Tensor:
            return 0 * images.mean(dim=(1, 2, 3))[:, None] + self.logits

    return replace(detector, network=detector.network.placed(Blind()))


# ---- inpainting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_holes_are_filled_on_a_device_as_exactly_as_a_score_shows(share: float) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand((3, 24, 32), generator=generator)
    holes = torch.rand((3, 24, 32), generator=generator) < share
    there = inpaint_each(image.to(fake_device.device()), holes, noise=0.01, seed=1).cpu()
    assert (there - inpaint_each(image, holes, noise=0.01, seed=1)).abs().max() < 1e-4
    kept = ~holes[:, None].expand(-1, 3, -1, -1)
    assert torch.equal(there[kept], image.expand(3, -1, -1, -1)[kept])


def test_a_hole_that_covers_all_takes_the_mean_colour_on_a_device() -> None:
    image = torch.rand((3, 8, 8), generator=torch.Generator().manual_seed(0))
    hole = torch.ones((8, 8), dtype=torch.bool)
    assert torch.allclose(inpaint(image.to(fake_device.device()), hole).cpu(), inpaint(image, hole))
