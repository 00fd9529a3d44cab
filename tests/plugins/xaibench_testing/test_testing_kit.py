"""What the conformance kit is made of: planted detectors and pictures, the harness, the doors for other packages."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from pydantic import Field
from toys import GoodExplainer, GoodMetric, Plain, failing

from xaibench import hold_component
from xaibench.api import ExplainerRecord, Explanation, Parameters, Score
from xaibench.discovery.registry import load_registry
from xaibench_testing import (
    DifferentiablePatchDetector,
    LinearDetector,
    Patch,
    PatchDetector,
    check_component,
    check_names,
    drawn_by,
    explain,
    fake_distribution,
    make_bench,
    parametrize_checks,
    pictures_of,
    planted_samples,
    planted_world,
    score,
    value,
)
from xaibench_testing.planted import FAKE, PATCH, REAL, SIZE


class UndeclaredMask(Plain):
    def explain(self, request):
        if request.picture.mask is None:
            return Explanation.none("no mask")
        return Explanation(map=request.picture.mask.float())


class CrashesWithoutMask(Plain):
    def explain(self, request):
        return Explanation(map=request.picture.mask.float())


def explainer(instance, **record):
    return hold_component(
        ExplainerRecord(**{"name": "toy", "target": "toys:Toy", "summary": "a toy", **record}), instance
    )


RANDOM = {"stochastic": True}


# ---- what is planted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["contrast", "brightness"])
@pytest.mark.parametrize("response", ["smooth", "step"])
def test_planted_fakes_are_seen_and_only_by_the_patch(pattern, response):
    detector = PatchDetector(pattern=pattern, response=response)
    pictures = pictures_of(planted_samples(3, pattern=pattern), detector)
    images = torch.stack([p.image for p in pictures])
    expected = [FAKE if p.sample.label == "fake" else REAL for p in pictures]
    assert detector.probabilities(images).argmax(dim=1).tolist() == expected
    inside = PATCH.mask(SIZE)
    noise = torch.where(inside, images, torch.rand(images.shape))
    assert torch.equal(detector.scores(noise), detector.scores(images))
    repaired = torch.where(inside, images[0], images[1])
    assert detector.probabilities(repaired[None])[0, FAKE] < 0.5
    assert torch.equal(pictures[1].mask, inside)
    assert torch.equal(pictures[1].counterpart().image, pictures[0].image)


def test_a_planted_detector_counts_what_it_is_asked():
    detector = PatchDetector()
    detector.probabilities(torch.zeros((3, 3, *SIZE)))
    detector.scores(torch.zeros((2, 3, *SIZE)))
    assert (detector.calls, detector.pictures) == (2, 5)


def test_a_class_activation_map_of_a_planted_detector_lies_in_the_patch():
    detector = DifferentiablePatchDetector()
    image = pictures_of(planted_samples(1), detector)[1].image[None]
    found = detector.features(image.requires_grad_(True))
    (gradient,) = torch.autograd.grad(found.logits[0, FAKE], found.activation)
    cam = (gradient.mean(dim=(2, 3), keepdim=True) * found.activation).sum(dim=1).relu()[0]
    cells = PATCH.mask(SIZE).float().view(8, 4, 12, 4).mean(dim=(1, 3)).bool()
    assert (cam > 0)[cells].all()
    assert not cam[~cells].any()


def test_the_linear_detector_is_linear():
    weights = torch.randn((3, 8, 12), generator=torch.Generator().manual_seed(0))
    detector, image = LinearDetector(weights, 0.5), torch.rand((1, 3, 8, 12))
    z = float((weights * image[0]).sum()) + 0.5
    assert detector.scores(image)[0].tolist() == pytest.approx([-z / 2, z / 2], rel=1e-5)
    leaf = image.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(detector.logits(leaf)[0, FAKE], leaf)
    assert torch.allclose(gradient[0], weights / 2)


# ---- harness ---------------------------------------------------------------------------------------------------------


def test_explain_and_score_run_as_a_run_does():
    detector = PatchDetector()
    pictures = pictures_of(planted_samples(2), detector)
    done = explain(GoodExplainer(), detector, pictures, FAKE, seed=3, batch_size=5)
    assert [d.passes.forward for d in done] == [6] * 4
    assert detector.pictures % 5 == 0
    assert value(done[0]).map.shape == SIZE
    oracle = drawn_by(lambda r: PATCH.mask(SIZE))
    scored = [value(d).values[0].value for d in score(GoodMetric(), oracle, detector, pictures, FAKE)]
    assert scored[1] == pytest.approx(1, abs=0.02)  # blackening the patch takes the verdict away
    assert scored[0] == pytest.approx(0, abs=0.02)


def test_exceptions_and_missing_maps_come_back():
    detector = PatchDetector()
    pictures = pictures_of(planted_samples(1), detector)
    failed = explain(CrashesWithoutMask(), detector, pictures, FAKE)
    assert isinstance(failed[0].error, AttributeError)
    undefined = score(GoodMetric(), explainer(UndeclaredMask()), detector, pictures, FAKE)
    assert value(undefined[0]).values == (Score(name="drop", status="undefined", reason="no mask"),)


def test_a_map_for_another_detector_is_of_that_detector():
    mine, other = PatchDetector(), PatchDetector(Patch(16, 0, 12, 16))
    pictures = pictures_of(planted_samples(1), mine)
    use, bench = explainer(GoodExplainer(), **RANDOM), make_bench(mine)
    asked = value(bench.engine().run_one(lambda: bench.explanation(use, pictures[1], FAKE, 0, detector=other)))
    assert torch.equal(asked.map, value(explain(use, other, pictures[1:], FAKE)[0]).map)


def test_pictures_of_one_name_are_refused():
    detector = PatchDetector()
    pictures = pictures_of(planted_samples(1), detector)
    with pytest.raises(ValueError, match="two pictures are called 'fake/000'"):
        explain(Plain(), detector, [pictures[1], pictures[1]], FAKE)


def test_a_world_gives_what_is_asked_and_no_more():
    world = planted_world(frozenset({"gradients", "mask"}))
    assert world.detector.facts.gives == {"gradients"}
    assert not hasattr(world.detector, "features")
    fake = next(p for p in world.pictures if p.sample.label == "fake")
    assert fake.mask is not None
    assert fake.native().mask is not None
    assert (fake.landmarks, fake.counterpart(), fake.sample.pair) == (None, None, None)


# ---- for other packages ----------------------------------------------------------------------------------------------

PLUGIN = """
from xaibench.api import Explanation, Passes
from xaibench.api import Parameters
from xaibench.api import ExplainerRecord, hookimpl

@hookimpl
def xaibench_explainers():
    target = "xaibench_acme:AcmeMap"
    return [ExplainerRecord(name="acme-map", target=target, summary="Acme's map.", class_specific=False)]

class AcmeMap:
    def __init__(self, parameters):
        self.parameters = parameters

    def explain(self, request):
        return Explanation(map=request.picture.image.mean(dim=0))

    def passes(self, query):
        return Passes()
"""


@pytest.fixture
def acme(tmp_path, monkeypatch):
    fake_distribution(tmp_path, "xaibench-acme", "1.2", source=PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    yield load_registry()
    sys.modules.pop("xaibench_acme", None)


def test_a_fake_distribution_is_found(acme):
    component = acme.find("explainer", "acme-map")
    assert (component.name, component.origin.version) == ("xaibench-acme/acme-map", "1.2")


def test_the_checks_of_a_distribution_can_be_parametrised(acme):
    mark = parametrize_checks("xaibench-acme", registry=acme)
    assert mark.args[0] == "check"
    assert [p.id for p in mark.args[1]] == [f"explainer-acme-map-{n}" for n in check_names("explainer")]
    assert "xaibench_acme" in sys.modules  # the registration module, which is the plugin itself here
    skipped = 0
    for case in mark.args[1]:
        try:
            case.values[0]()
        except pytest.skip.Exception:
            skipped += 1
    assert 0 < skipped < len(mark.args[1])


def test_importing_the_kit_does_not_import_pytest():
    code = "import sys, xaibench_testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_exports_are_sorted_and_there():
    import xaibench_testing as kit

    assert kit.__all__ == sorted(kit.__all__)
    assert all(hasattr(kit, name) for name in kit.__all__)


def test_every_parameter_of_a_toy_must_be_described():
    class Documented(Parameters):
        masks: int = Field(6, description="how many")

    toy = GoodExplainer()
    toy.parameters = Documented(masks=7)
    assert failing(check_component(explainer(toy, **RANDOM))) == set()
