"""What a look at the structure of a detector finds, in how many passes, and what it lets pass."""

from dataclasses import dataclass, field, replace

import pytest
import torch

from xaibench.api import Batch, Facts
from xaibench.detector.structure import MOST_PASSES, look_at_structure

SIZE = (16, 16)
FACTS = Facts(name="planted", classes=("real", "fake"), real_class=0, input_size=SIZE, digest="d")


@dataclass
class Planted:
    """P(fake) rises with the mean of the red channel; ``spoil`` changes the logits of a batch."""

    spoil: object = None
    facts: Facts = FACTS
    calls: list = field(default_factory=list)
    device: torch.device = torch.device("cpu")

    def scores(self, images):
        self.calls.append(len(images))
        z = 4 * (images[:, 0].mean(dim=(1, 2)) - 0.5)
        logits = torch.stack([-z / 2, z / 2], dim=1)
        return logits if self.spoil is None else self.spoil(logits, images)

    def probabilities(self, images):
        return self.scores(images).softmax(dim=1)


def pictures(count):
    return list(torch.rand((count, 3, *SIZE), generator=torch.Generator().manual_seed(3)))


def look(detector, count=16, *, batch=8, both=True, **options):
    return look_at_structure(detector, pictures(count), batch_size=batch, both_labels=both, **options)


def faults(found):
    return [f.name for f in found.findings if f.fault]


@pytest.mark.parametrize("batch", [1, 3, 8, 64])
@pytest.mark.parametrize("count", [0, 1, 4, 16, 40])
def test_a_sound_detector_passes_whatever_the_batch_and_the_number_of_pictures(batch, count):
    detector = Planted()
    found = look(detector, count, batch=batch)
    assert faults(found) == [] and found.fault is None
    assert found.passes <= MOST_PASSES
    assert set(detector.calls) == {min(batch, 16)}  # one batch size in every call


def test_a_fixed_batch_is_kept_to_and_one_of_one_has_no_company():
    detector = Planted(facts=replace(FACTS, batch=Batch(fixed=1)))
    found = look(detector, batch=64)
    assert set(detector.calls) == {1}
    company = next(f for f in found.findings if f.name == "company")
    assert company.value is None and company.reason


def test_chance_is_found_with_its_cause_and_passes_where_the_card_says_so():
    generator = torch.Generator().manual_seed(0)
    noisy = Planted(lambda z, x: z + 0.3 * torch.randn(z.shape, generator=generator))
    noisy.facts = replace(FACTS, suspects={"chance": "Dropout 'd1' computes as in training"})
    found = look(noisy)
    assert faults(found) == ["repeat"] and found.passes <= MOST_PASSES
    assert "Dropout 'd1'" in found.fault.fault and "model.eval()" in found.fault.mend
    noisy.facts = replace(FACTS, stochastic=True)
    found = look(noisy)
    assert faults(found) == []
    assert [f.note != "" for f in found.findings if f.name == "stochastic"] == [True]


def test_a_difference_within_the_precision_is_none():
    def jitter(size):
        sign = [1.0]

        def spoil(z, x):
            sign[0] = -sign[0]
            return z + sign[0] * torch.tensor([[0.0, size]])

        return spoil

    assert faults(look(Planted(jitter(1e-4)), batch=16)) == []  # 5e-5 of a probability, twice
    assert faults(look(Planted(jitter(2e-3)), batch=16)) == ["repeat"]
    assert faults(look(Planted(jitter(2e-3), replace(FACTS, precision="fp16")), batch=16)) == []


def test_company_is_found_where_a_batch_is_normalised_together():
    normalised = Planted(lambda z, x: (z - z.mean(dim=0)) / (z.std(dim=0) + 1e-3))
    found = look(normalised)
    assert faults(found) == ["company"]
    assert "batch = {fixed = 1}" in found.fault.mend
    alone = Planted(normalised.spoil, replace(FACTS, batch=Batch(fixed=1)))
    assert "company" not in faults(look(alone))


def test_one_scale_for_a_whole_batch_is_found():
    """Dynamic quantisation: the step of the grid is that of the largest value in the batch."""

    def quantised(z, x):
        step = x.max() / 15
        coarse = (x / step).round() * step
        y = 4 * (coarse[:, 0].mean(dim=(1, 2)) - 0.15)
        return torch.stack([-y, y], dim=1)

    dark = [0.3 * p for p in pictures(16)]
    found = look_at_structure(Planted(quantised), dark, batch_size=8, both_labels=True)
    assert faults(found) == ["company"]


def test_zeros_of_both_signs_are_one_output():
    assert faults(look(Planted(lambda z, x: z * 0))) == ["distinct"]


@pytest.mark.parametrize("raised", [RuntimeError("no memory left"), SystemExit(0)])
def test_whatever_a_detector_raises_is_found(raised):
    def spoil(logits, images):
        raise raised

    found = look(Planted(spoil))
    assert faults(found) == ["call"] and str(raised) in found.fault.fault


def test_one_output_for_all_is_found_and_saturation_on_one_label_is_not():
    constant = Planted(lambda z, x: torch.zeros_like(z) + torch.tensor([0.1, 0.7]))
    for both in (True, False):
        assert faults(look(constant, both=both)) == ["distinct"]
    # All fakes have the output 1.0 to the last bit; black and white pictures do not.
    saturated = Planted(lambda z, x: torch.where((z[:, 1:] > -0.5) & (z[:, 1:] < 0.5), torch.tensor([-20.0, 20.0]), z))
    assert faults(look(saturated, both=False)) == []


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda z, x: z * float("nan"), "finite"),
        (lambda z, x: z[:1], "call"),
        (lambda z, x: 1 / 0, "call"),
    ],
)
def test_what_is_no_score_is_found(spoil, name):
    found = look(Planted(spoil))
    assert faults(found) == [name]
    assert found.fault.mend


def test_probabilities_that_are_none_and_those_of_other_scores_are_found():
    class NoSum(Planted):
        def probabilities(self, images):
            return torch.sigmoid(self.scores(images) + 1)

    class Other(Planted):
        def probabilities(self, images):
            return (2 * self.scores(images)).softmax(dim=1)

    assert faults(look(NoSum())) == ["probabilities"]
    found = look(Other())
    assert faults(found) == ["repeat"] and "not those of its scores" in found.fault.fault


def test_a_remote_detector_is_asked_little():
    detector = Planted(facts=replace(FACTS, remote=True))
    assert faults(look(detector)) == []
    assert sum(detector.calls) <= 16
