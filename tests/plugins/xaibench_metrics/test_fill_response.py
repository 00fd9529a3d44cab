"""Fill response: hand-computable responses, regions of matched area, and which pictures are filled."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest
import torch

from xaibench.api import Facts, PassQuery, Sample, Streams
from xaibench.discovery import components
from xaibench.discovery.registry import load_registry
from xaibench_metrics.faithfulness import fill_response as module
from xaibench_metrics.faithfulness.fill_response import FillResponse, FillResponseParameters, fill_response, response_of
from xaibench_metrics.faithfulness.matched_regions import (
    Extent,
    balanced_samples,
    extent_of,
    extents_of,
    mean_extent,
    random_regions,
    region_size,
)
from xaibench_testing import check_component, pictures_of, planted_samples, score_model, value

SIZE = (8, 8)
STREAMS = Streams.of(0, 0, "fill-response", "")


class Darkness:
    """P(fake) = 1 - the mean of all pixels."""

    device = torch.device("cpu")

    def __init__(self, threshold=0.5, size=SIZE):
        self.shown = 0
        self.facts = Facts(
            name="dark", classes=("real", "fake"), real_class=0, input_size=size, digest="dark", threshold=threshold
        )

    def probabilities(self, images):
        self.shown += len(images)
        mean = images.double().mean(dim=(1, 2, 3)).float()
        return torch.stack((mean, 1 - mean), dim=1)


def picture(name, label, image, mask=None, pair=None):
    base = pictures_of(planted_samples(1), Darkness(size=(32, 48)))[0]
    sample = Sample(id=name, label=label, group=name, pair=pair, has_mask=mask is not None)
    return replace(base, sample=sample, image=image, mask=mask, landmarks=None)


def plain(level):
    return torch.full((3, *SIZE), level)


def corner(rows, columns):
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[:rows, :columns] = True
    return mask


def scores(pictures, detector=None, seed=0, **parameters):
    use = components.open_component("metric", "fill-response", parameters, registry=load_registry())
    found = value(score_model(use, detector or Darkness(), pictures, seed=seed)).values
    return {(s.name, s.item): s.value if s.status == "ok" else s.reason for s in found}


# ---- exact values ---------------------------------------------------------------------------------------------------


def test_a_response_by_hand():
    found = response_of(0.25, torch.tensor([0.25, 0.5, 0.75, 0.0]), 0.5)
    assert (found.rises, found.turns, found.change) == (0.5, 0.5, 0.125)
    assert response_of(0.5, torch.tensor([0.75]), 0.5).turns is None


def test_a_rise_within_rounding_is_none():
    assert response_of(0.5, torch.tensor([0.5 + 9e-7, 0.5 + 2e-6]).double(), 0.9).rises == 0.5


def test_black_and_white_on_a_detector_of_darkness_by_hand():
    """The mask takes 16 of 64 pixels, so that black brings a level of 0.75 to 0.5625 and white to 0.8125."""
    fake, real = picture("f", "fake", plain(0.75), corner(4, 4), pair="r"), picture("r", "real", plain(0.75))
    black = scores([fake, real], Darkness(threshold=0.4375), fill="black")
    assert black == {
        ("fake-rises", "f"): 1.0, ("fake-change", "f"): 0.1875, ("real-turns", "r"): 1.0, ("real-change", "r"): 0.1875,
    }  # fmt: skip
    assert scores([fake, real], Darkness(threshold=0.44), fill="black")["real-turns", "r"] == 0
    white = scores([fake, real], Darkness(threshold=0.4375), fill="white")
    assert (white["fake-rises", "f"], white["real-turns", "r"], white["real-change", "r"]) == (0, 0, -0.0625)


@pytest.mark.parametrize("fill", ["mean", "blur", "inpaint", "minimum"])
def test_a_fill_that_changes_nothing_here_raises_nothing(fill):
    found = scores([picture("f", "fake", plain(0.5), corner(4, 4)), picture("r", "real", plain(0.75))], fill=fill)
    assert (found["fake-rises", "f"], found["real-turns", "r"]) == (0, 0)
    assert found["real-change", "r"] == pytest.approx(0, abs=1e-6)


def test_a_share_of_the_regions_by_their_places():
    """Only the left half is bright: a region of one column darkens where it falls there. P(fake) is 0.5 before."""
    image = plain(0.0)
    image[:, :, :4] = 1
    pictures = [picture("r", "real", image), picture("f", "fake", image, corner(8, 1), pair="r")]
    regions = random_regions(Extent(1 / 8, 8.0), SIZE, 16, STREAMS.child("r"))
    left = float(regions[:, 0, :4].any(dim=1).double().mean())
    assert 0 < left < 1
    found = scores(pictures, Darkness(threshold=0.51), regions=16)
    assert found["real-turns", "r"] == left
    assert found["real-change", "r"] == left / 8


def test_a_real_picture_called_fake_cannot_turn_and_has_a_change():
    found = scores([picture("r", "real", plain(0.25)), picture("f", "fake", plain(0.25), corner(4, 4), pair="r")])
    assert found["real-turns", "r"] == module.CALLED_FAKE
    assert found["real-change", "r"] == 0.0625


def test_one_label_leaves_the_scores_of_the_other_undefined():
    found = scores([picture("f", "fake", plain(0.5), corner(4, 4))])
    assert found["real-turns", ""] == "there is no real picture"
    assert scores([])["fake-rises", ""] == "there is no fake picture"


def test_every_fill_meets_the_same_regions_and_every_seed_others():
    def regions(seed, **parameters):
        image = torch.arange(64.0).view(1, 8, 8).expand(3, 8, 8) / 64
        return scores([picture("r", "real", image)], Darkness(threshold=0.9), seed=seed, **parameters)

    black, grey = regions(0, fill="black")["real-change", "r"], regions(0, fill="grey")["real-change", "r"]
    filled = 6 / 64  # the 0.1 of the picture where there is no mask
    assert black - grey == pytest.approx(0.5 * filled, abs=1e-6)
    assert regions(1, fill="black")["real-change", "r"] != black


def test_noise_is_the_same_however_many_regions_there_are():
    pictures = [picture("r", "real", plain(0.75)), picture("f", "fake", plain(0.75), corner(4, 4), pair="r")]
    assert scores(pictures, fill="noise") == scores(pictures[::-1], fill="noise")


# ---- regions --------------------------------------------------------------------------------------------------------


def test_the_extent_of_a_mask():
    mask = torch.zeros((10, 20), dtype=torch.bool)
    mask[2:8, 5] = mask[4, 5:8] = True
    assert extent_of(mask) == Extent(8 / 200, 2.0)
    assert extent_of(torch.zeros((4, 4), dtype=torch.bool)) is None


@pytest.mark.parametrize("size", [(8, 8), (32, 48), (224, 224), (5, 300)])
def test_the_area_is_matched_to_within_half_a_column(size):
    for area, aspect in product([0.001, 0.03, 0.1, 0.37, 0.9, 1.0], [0.01, 0.5, 1.0, 3.0, 100.0]):
        rows, columns = region_size(Extent(area, aspect), size)
        assert 1 <= rows <= size[0] and 1 <= columns <= size[1]
        assert abs(rows * columns - max(1, round(area * size[0] * size[1]))) <= rows / 2


def test_the_aspect_is_that_of_the_extent_where_the_picture_has_room():
    assert region_size(Extent(0.02, 2.0), (100, 100)) == (20, 10)
    assert region_size(Extent(0.5, 100.0), (100, 100)) == (100, 50)


def test_regions_lie_everywhere_and_a_larger_count_moves_none():
    regions = random_regions(Extent(0.25, 1.0), SIZE, 400, STREAMS)
    assert set(regions.sum(dim=(1, 2)).tolist()) == {16}
    corners = Counter((int(r.any(dim=1).nonzero()[0]), int(r.any(dim=0).nonzero()[0])) for r in regions)
    assert len(corners) == 25 and min(corners.values()) >= 4  # 16 each on average
    assert torch.equal(random_regions(Extent(0.25, 1.0), SIZE, 3, STREAMS), regions[:3])


def test_whose_mask_a_picture_takes():
    masks = {"a": corner(4, 4), "b": corner(8, 2), "c": corner(2, 2)}
    samples = [
        Sample(id="a", label="fake", group="1", has_mask=True, pair="r"),
        Sample(id="b", label="fake", group="1", has_mask=True, pair="r"),
        Sample(id="c", label="fake", group="2", has_mask=True),
        Sample(id="d", label="fake", group="3", has_mask=False),
        Sample(id="r", label="real", group="1"), Sample(id="s", label="real", group="4"),
    ]  # fmt: skip
    by_id = {s.id: s for s in samples}
    found = extents_of(samples[::-1], samples[::-1], masks.get, 0.1)
    own = {i: extent_of(m) for i, m in masks.items()}
    assert {i: found[i] for i in "abcr"} == {**own, "r": own["a"]}  # of two fakes that of least id
    assert found["d"] == found["s"] == mean_extent(list(own.values()))
    assert found["d"].area == pytest.approx((16 + 16 + 4) / 3 / 64)
    assert found["d"].aspect == pytest.approx((1 * 4 * 1) ** (1 / 3))
    assert extents_of([by_id["s"]], [by_id["s"]], masks.get, 0.1) == {"s": Extent(0.1, 1.0)}


# ---- pictures -------------------------------------------------------------------------------------------------------


def many(groups, methods, reals):
    fakes = [
        Sample(id=f"f{g:02d}{m}{i}", label="fake", group=f"g{g}", method=m)
        for g in range(groups) for m in methods for i in range(4)
    ]  # fmt: skip
    return fakes + [Sample(id=f"r{i:02d}", label="real", group=f"g{i % groups}") for i in range(reals)]


def test_labels_groups_and_methods_are_balanced_whatever_the_order():
    samples = many(5, "abc", 40)
    chosen = balanced_samples(samples, 30, STREAMS)
    assert Counter(s.label for s in chosen) == {"real": 15, "fake": 15}
    assert set(Counter((s.label, s.group) for s in chosen).values()) == {3}
    assert set(Counter((s.group, s.method) for s in chosen if s.label == "fake").values()) == {1}
    assert chosen == balanced_samples(samples[::-1], 30, STREAMS)
    assert chosen != balanced_samples(samples, 30, STREAMS.child("another seed"))


def test_the_other_label_takes_what_one_cannot_fill():
    assert Counter(s.label for s in balanced_samples(many(5, "abc", 4), 30, STREAMS)) == {"real": 4, "fake": 26}
    assert len(balanced_samples(many(2, "a", 3), 30, STREAMS)) == 11


def test_passes_are_those_of_the_pictures_that_are_filled():
    detector = Darkness(size=(32, 48))
    pictures = pictures_of(planted_samples(4), detector)
    use = components.open_component("metric", "fill-response:pictures=5,regions=3", registry=load_registry())
    done = score_model(use, detector, pictures)
    queries = [PassQuery(sample=p.sample, facts=detector.facts) for p in pictures]
    assert done.passes.forward == 15 == use.instance.passes_of_set(queries).forward
    assert FillResponse(FillResponseParameters()).passes_of_set(queries).forward == 64


# ---- what it accompanies --------------------------------------------------------------------------------------------

ACCOMPANIED = {
    "deletion": ("fill=black",), "insertion": ("fill=blur,sigma=0.0225",), "pixel-flipping": ("fill=minimum",),
    "region-perturbation": ("fill=noise",), "irof": ("fill=mean",), "road": ("fill=inpaint",), "abpc": ("fill=black",),
    "accuracy-under-removal": ("fill=black", "fill=blur,sigma=0.0225"), "top-minus-random": ("fill=black",),
    "sensitivity-n": ("fill=mean",), "faithfulness-correlation": ("fill=mean",), "faithfulness-estimate": ("fill=mean",),
    "mufidelity": ("fill=black",), "monotonicity": ("fill=mean",), "infidelity": ("fill=mean",),
    "accuracy-under-segment-removal": ("fill=mean",), "average-drop": ("fill=black",), "irof:fill=current-mean": ("fill=mean",), "infidelity:perturbation=noise": (),
    "deletion:fill=blur,sigma=0.05": ("fill=blur,sigma=0.05",),
}  # fmt: skip


@pytest.mark.parametrize("spec", ACCOMPANIED)
def test_what_accompanies_a_measure_of_removal(spec):
    found = components.open_component("metric", spec, registry=load_registry()).instance.accompanied_by()
    assert found == tuple(f"fill-response:{fill}" for fill in ACCOMPANIED[spec])


@pytest.mark.parametrize("fill", ["blur", "noise", "inpaint"])
def test_every_kind_of_fill_keeps_to_the_contract(fill):
    """The kit checks the default fill, as of every component."""
    registry = load_registry()
    use = components.open_component("metric", f"fill-response:fill={fill}", registry=registry)
    assert [r for r in check_component(use, registry) if r.status == "fail"] == []


def test_every_measure_that_fills_is_accompanied():
    """Whatever takes a fill, and nothing else that is built in."""
    registry = load_registry()
    for component in registry.of_kind("metric"):
        instance = components.make(component, {}).instance
        takes = {"fill", "removed"} & set(type(instance.parameters).model_fields)
        fills = (takes and component.record.scope == "sample") or component.record.name == "road"
        assert hasattr(instance, "accompanied_by") == bool(fills), component.name


def test_the_spec_names_the_default_blur_so_that_a_plan_can_shorten_it():
    (spec,) = fill_response("blur")
    use = components.open_component("metric", spec, registry=load_registry())
    assert use.name == "xaibench/fill-response:fill=blur"
