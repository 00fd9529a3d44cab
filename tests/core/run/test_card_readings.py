"""Other readings of a card: which is told better, what is never advised, and what it costs."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from xaibench.api import CardVariant, Facts, ModelError, toml_value
from xaibench.data.arrays import PictureArrays
from xaibench.plan.detector_cells import of_both_labels, too_few_groups, why_not_otherwise
from xaibench.run.card_readings import try_readings

SIZE = (8, 8)
FACTS = Facts(name="planted", classes=("real", "fake"), real_class=0, input_size=SIZE, digest="d")
BGR = CardVariant(name="colour", keys={"colour": "BGR"})
HALF = CardVariant(name="range", keys={"range": (-1.0, 1.0)})
SWAP = CardVariant(name="classes", keys={"classes": ("fake", "real")}, swaps=True)
BROKEN = CardVariant(name="size", keys={"size": 7})


@dataclass
class Tinted:
    """P(fake) rises with a colour channel. ``colour`` and ``range`` are as its card says."""

    facts: Facts = FACTS
    colour: str = "RGB"
    low: float = 0.0
    sign: float = 1.0
    shift: float = 0.0
    offer: tuple = (BGR, HALF, SWAP)
    calls: int = 0
    device: torch.device = torch.device("cpu")

    def scores(self, images):
        self.calls += len(images)
        seen = images[:, 0 if self.colour == "RGB" else 2]
        seen = self.low + seen * (1 - self.low)
        z = self.sign * 40 * (seen.mean(dim=(1, 2)) - 0.5) + self.shift
        return torch.stack([-z / 2, z / 2], dim=1)

    def probabilities(self, images):
        return self.scores(images).softmax(dim=1)

    def variants(self):
        return self.offer

    def read_as(self, variant):
        if variant.name == "size":
            raise ModelError("the network takes 8 x 8", "leave it")
        values = dict(variant.keys)
        return replace(
            self, colour=values.get("colour", self.colour), low=values.get("range", (self.low, 1.0))[0],
            facts=replace(self.facts, digest=str(values)),
        )  # fmt: skip


def people(count=24, seed=0, tint=0.15, spread=0.05):
    """Each person real and fake; a fake is redder, and the other channels tell nothing."""
    generator = np.random.default_rng(seed)
    images, labels, groups = [], [], []
    for person in range(count):
        for label in ("real", "fake"):
            pixels = generator.uniform(0.3, 0.7, (1, 1, 3)) + generator.normal(0, 0.02, (*SIZE, 3))
            pixels[..., 0] = 0.5 + (tint if label == "fake" else -tint) + generator.normal(0, spread)
            images.append((pixels.clip(0, 1) * 255).round().astype(np.uint8))
            labels.append(label)
            groups.append(f"p{person}")
    return PictureArrays(images, labels, groups=groups)


def read(detector, data=None, variants=None):
    data = data or people()
    asked = detector if variants is None else replace(detector, offer=variants)
    return try_readings(asked, data, data.samples())


def test_the_wrong_colour_order_is_told_and_nothing_else_advised():
    found = read(Tinted(colour="BGR", offer=(CardVariant(name="colour", keys={"colour": "RGB"}), HALF, SWAP)))
    assert found.own.auc.value < 0.75
    assert found.best.name == "colour" and found.best.auc.value > 0.99
    assert 'colour = "RGB"' in found.advice and "->" in found.advice


def test_swapped_classes_take_no_pass_and_go_together_with_another_key():
    swapped = Tinted(sign=-1.0)
    found = read(swapped, variants=(SWAP,))
    assert found.passes == 48  # the card's own reading alone
    assert found.best.name == "classes" and found.best.auc.value > 0.99
    both = read(Tinted(sign=-1.0, colour="BGR", offer=(CardVariant(name="colour", keys={"colour": "RGB"}), SWAP)))
    assert both.best.keys == {"classes": ("fake", "real"), "colour": "RGB"}


def test_a_right_card_takes_no_pass_beyond_its_own():
    sound = Tinted()
    data = people()
    seen = {s.id: [0.0, 1.0] if s.label == "fake" else [1.0, 0.0] for s in data.samples()}
    found = try_readings(sound, data, data.samples(), seen)
    assert (found.passes, sound.calls, found.best) == (0, 0, None)
    assert "right on every picture" in found.note


def test_a_guesser_is_advised_nothing():
    """Pictures of noise: whatever reading does best does so by chance."""
    advised = 0
    for seed in range(10):
        found = read(Tinted(), people(seed=seed, tint=0.0, spread=0.2))
        advised += bool(found.advice)
    assert advised == 0


def test_a_threshold_is_advised_where_ranks_are_right_and_verdicts_are_not():
    found = read(Tinted(shift=9.0, offer=(BGR, SWAP)))
    assert found.own.auc.value > 0.99 and found.own.balanced_accuracy.value < 0.7
    assert found.best.name == "threshold" and 0.5 < found.best.keys["threshold"] < 1


def test_a_reading_that_the_network_does_not_take_is_left_out_with_the_reason():
    found = read(Tinted(colour="BGR"), variants=(BROKEN,))
    assert [r.reason for r in found.others if r.name == "size"] == ["ModelError: the network takes 8 x 8"]


@pytest.mark.parametrize(
    ("facts", "why"), [({"remote": True}, "remote"), ({"stochastic": True}, "differ from call to call")]
)
def test_dear_and_stochastic_detectors_are_not_tried(facts, why):
    assert why in why_not_otherwise(Tinted(facts=replace(FACTS, **facts)), people().samples())
    assert why_not_otherwise(Tinted(), people().samples()) == ""


def test_pictures_are_chosen_of_both_labels_and_of_many_people():
    samples = people(count=80).samples()
    chosen = of_both_labels(samples, 64)
    assert [sum(s.label == label for s in chosen) for label in ("real", "fake")] == [32, 32]
    assert too_few_groups(chosen) == ""
    assert "10 are needed" in too_few_groups(samples[:18])
    assert of_both_labels(samples[:1], 64) == [samples[0]]


def test_values_of_a_card_are_written_as_toml():
    assert toml_value("BGR") == '"BGR"'
    assert toml_value((0.485, 1.0)) == "[0.485, 1.0]"
    assert toml_value({"mode": "crop", "antialias": False}) == '{mode = "crop", antialias = false}'
