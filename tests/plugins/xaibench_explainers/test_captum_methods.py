"""``captum:CLASS``: captum's own numbers, whatever else is in the batch, for the passes that were stated."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from propagating import Net, explain, explain_all, image_of, make, map_of
from torch import nn

from xaibench.api import UsageError
from xaibench.discovery.components import open_component
from xaibench.discovery.registry import load_registry
from xaibench_explainers.gradient.captum_methods import REFUSED, WRAPPED, Captum, pictures_asked
from xaibench_perturbation import grid_segments

attr = pytest.importorskip("captum.attr")
SIZE = (8, 12)
OPTIONS: dict[str, dict[str, Any]] = {
    "GradientShap": {"n_samples": 3, "stdevs": 0.1}, "IntegratedGradients": {"n_steps": 7}, "KernelShap": {"n_samples": 20},
    "Lime": {"n_samples": 20}, "NoiseTunnel": {"nt_samples": 3}, "Occlusion": {"sliding_window_shapes": [3, 3, 5]},
    "ShapleyValueSampling": {"n_samples": 2},
}  # fmt: skip
DRAWS = {"GradientShap", "KernelShap", "Lime", "NoiseTunnel", "ShapleyValueSampling"}


def small() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = (nn.Conv2d(3, 4, 3), nn.Softplus(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        net = nn.Sequential(*body, nn.Linear(16, 2)).eval().requires_grad_(False)
    net[-1].weight.mul_(20)  # captum's Lime takes off what is small
    return net


@cache
def detector() -> Net:
    return Net(small(), SIZE)


def captum(name: str, **more: Any) -> Any:
    if WRAPPED.get(name, WRAPPED["Saliency"]).fits:
        pytest.importorskip("sklearn")
    return make(Captum, method=name, cells=6, options=OPTIONS.get(name, {}), **more)


def test_every_class_of_the_table_is_tried() -> None:
    assert set(OPTIONS) <= set(WRAPPED)
    assert not set(WRAPPED) & set(REFUSED)


@pytest.mark.parametrize("output", ["logit", "probability"])
@pytest.mark.parametrize("name", sorted(set(WRAPPED) - DRAWS))
def test_numbers_are_captum_s(name: str, output: str) -> None:
    image, net = image_of(*SIZE), small()
    given: dict[str, Any] = dict(OPTIONS.get(name, {}))
    if name == "Occlusion":
        given = {"sliding_window_shapes": (3, 3, 5), "strides": (3, 1, 1)}
    if name == "FeatureAblation":
        given["feature_mask"] = grid_segments(*SIZE, 6)[None, None]
    if WRAPPED[name].baselines:
        given["baselines"] = torch.full_like(image[None], 0.5)
    forward = (lambda x: net(x).softmax(dim=1)) if output == "probability" else net
    expected = getattr(attr, name)(forward).attribute(image[None].clone().requires_grad_(True), target=1, **given)[0]
    expected = expected.detach().mean(dim=0) if WRAPPED[name].masked else expected.detach().sum(dim=0)
    found = map_of(captum(name, output=output, baseline="grey"), detector(), image)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)  # of logits of about 10


@pytest.mark.parametrize("name", sorted(DRAWS))
def test_a_seed_gives_a_map_and_leaves_global_generators_alone(name: str) -> None:
    image = image_of(*SIZE)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, again, other = (map_of(captum(name), detector(), image, seed=s) for s in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", sorted(WRAPPED))
def test_maps_do_not_depend_on_batch_mates(name: str) -> None:
    images = torch.stack([image_of(*SIZE, seed=i) for i in range(3)])
    together = [d.value.map for d in explain_all(captum(name), detector(), images)]
    turned = [d.value.map for d in explain_all(captum(name), detector(), images.flip(0))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(together, turned, strict=True))
    assert torch.equal(together[1], map_of(captum(name), detector(), images[1]))


@pytest.mark.parametrize("name", sorted(WRAPPED))
def test_passes_are_those_that_captum_asks_for(name: str) -> None:
    component, watched = captum(name), Net(small(), SIZE)
    (done,) = explain_all(component, watched, image_of(*SIZE)[None], batch=1)
    said = pictures_asked(component.parameters, SIZE)
    assert watched.asked == said == done.passes.forward
    assert done.passes.backward == (said if WRAPPED[name].gradients else 0)


@pytest.mark.parametrize("name", ["Saliency", "NoiseTunnel", "FeatureAblation"])
def test_the_calls_for_several_pictures_share_batches(name: str) -> None:
    component, watched = captum(name), Net(small(), SIZE)
    explain_all(component, watched, torch.stack([image_of(*SIZE, seed=i) for i in range(4)]), batch=4)
    assert watched.asked == 4 * pictures_asked(component.parameters, SIZE)  # no picture is padding


@pytest.mark.parametrize("name", sorted(n for n in WRAPPED if WRAPPED[n].once))
def test_a_class_that_asks_once_needs_no_thread(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xaibench_explainers.gradient.calls_as_requests.Thread", None)
    assert map_of(captum(name), detector(), image_of(*SIZE)).any()
    with pytest.raises(TypeError):
        map_of(captum("IntegratedGradients"), detector(), image_of(*SIZE))


def test_another_picture_than_the_explained_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shifted(attr.Saliency):
        def attribute(self, inputs: torch.Tensor, **more: Any) -> torch.Tensor:
            return super().attribute((inputs + 0.1).requires_grad_(True), **more)

    monkeypatch.setattr(attr, "Saliency", Shifted)
    with pytest.raises(RuntimeError, match="captum's Saliency asked for another picture than the explained one"):
        map_of(captum("Saliency"), detector(), image_of(*SIZE))


def test_outputs_are_refused_where_gradients_are_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forwarded(attr.Saliency):
        def attribute(self, inputs: torch.Tensor, **more: Any) -> torch.Tensor:
            return self.forward_func(inputs)

    monkeypatch.setattr(attr, "Saliency", Forwarded)
    with pytest.raises(RuntimeError, match="captum's Saliency asked for outputs, stated are gradients alone"):
        map_of(captum("Saliency"), detector(), image_of(*SIZE))


def test_additive_pictures_have_their_shapley_values() -> None:
    def logits(x: torch.Tensor) -> torch.Tensor:
        z = (x.mean(dim=1) * torch.arange(96.0).reshape(SIZE)).sum(dim=(1, 2))
        return torch.stack([-z / 2, z / 2], dim=1)

    image = image_of(*SIZE)
    cells = grid_segments(*SIZE, 6)
    shares = image.mean(dim=0) * torch.arange(96.0).reshape(SIZE) / 2
    values = torch.zeros(6).index_add_(0, cells.flatten(), shares.flatten())
    found = map_of(captum("ShapleyValueSampling"), Net(logits, SIZE), image)
    torch.testing.assert_close(found, values[cells], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_classes_that_need_modules_are_refused_with_what_to_use(name: str) -> None:
    with pytest.raises(UsageError) as refusal:
        captum(name)
    assert refusal.value.mend.startswith("use ")


def test_a_wrong_class_or_option_lists_what_there_is() -> None:
    with pytest.raises(UsageError) as refusal:
        captum("Salience")
    assert "Saliency" in refusal.value.mend
    with pytest.raises(UsageError) as refusal:
        make(Captum, method="IntegratedGradients", options={"steps": 3})
    assert "n_steps" in refusal.value.mend
    with pytest.raises(UsageError, match="options"):
        make(Captum, method="Saliency", options="[3]")
    with pytest.raises(UsageError, match="no option 'target'"):
        make(Captum, method="Saliency", options={"target": 3})


@pytest.mark.parametrize("name", ["KernelShap", "Lime"])
def test_classes_that_fit_a_model_are_refused_without_scikit_learn(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xaibench_explainers.gradient.captum_methods.find_spec", lambda package: None)
    with pytest.raises(UsageError, match=f"captum:{name} needs scikit-learn") as refusal:
        make(Captum, method=name)
    assert "install scikit-learn, or use lime or kernel-shap" in refusal.value.mend
    with pytest.raises(UsageError) as refusal:
        make(Captum, method="Salience")
    assert refusal.value.mend == f"there are {', '.join(n for n in WRAPPED if n not in ('KernelShap', 'Lime'))}"
    assert make(Captum, method="Saliency").needs == {"gradients"}


def test_a_name_can_be_read_back() -> None:
    registry = load_registry()
    spec = 'captum:IntegratedGradients,options={n_steps=7,method="riemann_middle"}'
    use = open_component("explainer", spec, registry=registry)
    again = open_component("explainer", use.name, registry=registry)
    assert again.parameters == use.parameters
    assert use.parameters.model_dump()["options"] == '{"method": "riemann_middle", "n_steps": 7}'


def test_black_boxes_can_be_explained_by_classes_without_gradients() -> None:
    blind = Net(small(), SIZE, gives=frozenset())
    assert captum("Lime").needs == frozenset()
    assert captum("Saliency").needs == {"gradients"}
    blind.logits = None  # type: ignore[method-assign, assignment]
    net = small()
    blind.scores = lambda x: net(x).detach()  # type: ignore[method-assign]
    assert explain(captum("FeatureAblation"), blind, image_of(*SIZE)).status == "ok"


@pytest.mark.parametrize("name", sorted(n for n, wrapped in WRAPPED.items() if wrapped.masked))
def test_rounding_of_equal_scores_is_no_map(name: str) -> None:
    flat = Net(lambda x: torch.tensor([[0.3, 0.7]]).expand(len(x), 2), SIZE)
    found = explain(captum(name), flat, image_of(*SIZE))
    assert (found.status, found.reason) == ("undefined", f"captum's {name} is zero everywhere")


@pytest.mark.parametrize("name", sorted(WRAPPED))
def test_a_picture_without_a_score_takes_no_map_from_its_batch_mates(name: str) -> None:
    net = small()
    broken = Net(lambda x: net(x) * torch.where(x.amax(dim=(1, 2, 3)) > 5, torch.nan, 1.0)[:, None], SIZE)
    images = torch.stack([image_of(*SIZE), 1e4 + image_of(*SIZE, seed=1), image_of(*SIZE, seed=2)])
    found = [d.value for d in explain_all(captum(name), broken, images)]
    assert [f.status for f in found] == ["ok", "undefined", "ok"]
    assert torch.equal(found[2].map, map_of(captum(name), broken, images[2]))
