"""Metrics that remove the same pixels in the same order with the same fill share the curve: scores, passes and plan."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from explainer_toys import run
from looks import MOST, STRUCTURE
from region_toys import Scored
from torch import Tensor
from torch.nn import functional

from xaibench import Use, open_component
from xaibench.api import Done, Passes, PassQuery, Scores
from xaibench_metrics.faithfulness.curves import replaced_probabilities
from xaibench_metrics.faithfulness.removal_curves import Removal, deletion, insertion
from xaibench_testing import World, drawn_by, make_bench, planted_world, score, value

PIXELS = 32 * 48
"""Of a planted picture. The toy detector sees 32 x 32."""


def five(pixels: int) -> list[str]:
    """Metrics that all remove a sixteenth of the pixels at a time, from the picture to black."""
    return [
        "deletion:steps=16",
        "accuracy-under-removal:steps=16,hidden=black",
        "abpc:steps=16",
        f"pixel-flipping:fill=black,pixels={pixels // 16}",
        "top-minus-random:steps=16,draws=2",
    ]


ALONE = [16, 2 * 16, 2 * 16, 16, 16 + 2 * 16]
"""Passes of each on one map: accuracy removes and shows, ABPC removes both ways, top-minus-random also by two maps."""

TOGETHER = [16, 16, 0, 0, 2 * 16]
"""Most salient first at ``deletion``; least salient first, which is showing the most salient first, at accuracy."""


def smooth(seed: int) -> Use:
    """An explainer whose maps are smooth noise."""
    grid = torch.rand((1, 1, 7, 7), generator=torch.Generator().manual_seed(seed))
    drawn = functional.interpolate(grid, size=(32, 48), mode="bilinear")[0, 0]
    return drawn_by(lambda _: drawn, f"smooth-{seed}")


def scored(metrics: list[str], world: World, *explainers: Use, bench: Any = None) -> list[list[Done[Scores]]]:
    """The outcomes for each metric and explainer, in this order, on one bench."""
    bench = bench or make_bench(world.detector)
    return [
        score(open_component("metric", metric), explainer, world.detector, world.pictures, 1, bench=bench)
        for metric in metrics
        for explainer in explainers
    ]


def passes_of(outcomes: list[list[Done[Scores]]]) -> list[list[int]]:
    return [[done.passes.forward for done in row] for row in outcomes]


# ---- which pictures -------------------------------------------------------------------------------------------------


def removed(removal: Removal, ranks: Tensor) -> list[list[bool]]:
    """What is removed at each count, by hand: the first pixels of the order."""
    place = ranks if removal.order == "most" else len(ranks) - 1 - ranks
    return [(place < count).tolist() for count in removal.counts]


@pytest.mark.parametrize("steps", [1, 3, 4, 7])
def test_removals_by_hand(steps: int) -> None:
    ranks = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    counts = [t * 12 // steps for t in range(steps + 1)]
    most = deletion(12, steps, "black", 0.1)
    assert removed(most, ranks) == [[r < count for r in ranks.tolist()] for count in counts[1:]]
    # an insertion shows the most salient, backwards: from nearly all pixels to none
    shown = insertion(12, steps, "black", 0.1)
    assert removed(shown, ranks) == [[r >= count for r in ranks.tolist()] for count in counts[-2::-1]]
    assert list(shown.counts) == sorted(shown.counts)


def test_insertion_is_removal_of_the_least_salient_where_the_steps_divide_the_pixels() -> None:
    least = deletion(12, 4, "black", 0.1, "least")
    assert insertion(12, 4, "black", 0.1).shared() == least.shared() != deletion(12, 4, "black", 0.1).shared()
    # 5 steps end at 2, 4, 7, 9 and 12 pixels removed, and at 3, 5, 8, 10 and 12 not shown
    assert insertion(12, 5, "black", 0.1).shared() != deletion(12, 5, "black", 0.1, "least").shared()


def test_a_name_tells_apart_what_changes_a_curve() -> None:
    removals = [
        deletion(12, 4, "black", 0.1),
        deletion(12, 3, "black", 0.1),
        deletion(16, 4, "black", 0.1),
        deletion(12, 4, "grey", 0.1),
        deletion(12, 4, "blur", 0.1),
        deletion(12, 4, "blur", 0.2),
        deletion(12, 4, "black", 0.1, "least"),
    ]
    names = [name for removal in removals for name in removal.shared()]
    assert len(set(names)) == len(names) == len(removals)
    assert deletion(12, 4, "black", 0.1).shared() == deletion(12, 4, "black", 0.2).shared()  # black is not blurred
    assert deletion(12, 4, "noise", 0.1).shared() == {}  # every metric draws its own


# ---- scores and passes ----------------------------------------------------------------------------------------------


def test_five_metrics_of_a_map_take_the_passes_of_two_curves_and_score_as_each_does_alone() -> None:
    world, metrics = planted_world(frozenset()), five(PIXELS)
    pictures = len(world.pictures)
    alone = [scored([metric], world, smooth(0))[0] for metric in metrics]
    together = scored(metrics, world, smooth(0))
    assert passes_of(alone) == [[n] * pictures for n in ALONE]
    assert passes_of(together) == [[n] * pictures for n in TOGETHER]
    backwards = scored(metrics[::-1], world, smooth(0))[::-1]
    assert sum(map(sum, passes_of(backwards))) == pictures * sum(TOGETHER)
    for one, *others in zip(alone, together, backwards, strict=True):
        for other in others:
            assert [value(d) for d in other] == [value(d) for d in one]


def test_what_differs_is_not_shared() -> None:
    world = planted_world(frozenset())
    # two explainers of the same maps, and one of other maps: what a map costs does not depend on its neighbours
    twin = drawn_by(smooth(0).instance.draw, "twin")
    assert {n for row in passes_of(scored(["deletion"], world, smooth(0), twin, smooth(1))) for n in row} == {20}
    other = ["deletion", "deletion:fill=grey", "deletion:steps=19", "insertion", "insertion:sigma=0.1"]
    assert [row[0] for row in passes_of(scored(other, world, smooth(0)))] == [20, 20, 19, 20, 20]
    drawn = ["pixel-flipping:fill=noise,pixels=96", "abpc:fill=noise,steps=16"]
    first, second = scored(drawn, world, smooth(0))
    assert [first[0].passes, second[0].passes] == [Passes(forward=16), Passes(forward=32)]
    assert value(first[0]).curves[0].y != value(second[0]).curves[0].y  # each has its own noise


LOGIT = ["sensitivity-n:subsets=3", "infidelity:samples=3", "mufidelity:subsets=3", "monotonicity:steps=4,output=logit"]


def test_measures_of_the_logit_share_the_clean_pass() -> None:
    world = planted_world(frozenset())
    query = PassQuery(sample=world.pictures[0].sample, facts=world.detector.facts)
    alone = [scored([metric], world, smooth(0))[0] for metric in LOGIT]
    together = scored(LOGIT, world, smooth(0))
    changed = [5 * 3, 3, 3, 4]
    assert [row[0] for row in passes_of(alone)] == [n + 1 for n in changed]
    assert [row[0] for row in passes_of(together)] == [changed[0] + 1, *changed[1:]]
    assert [[value(d) for d in row] for row in together] == [[value(d) for d in row] for row in alone]
    for metric in LOGIT:
        assert list(open_component("metric", metric).instance.shared(query).values()) == [Passes(forward=1)]
    assert open_component("metric", "monotonicity").instance.shared(query) == {}


# ---- the plan -------------------------------------------------------------------------------------------------------


@pytest.fixture
def eval_toy(toy_eval: Callable[..., tuple[int, str, str]]) -> Callable[..., dict[str, Any]]:
    """The answer of ``eval`` on the toy's maps of ten pictures, with these metrics."""

    def run(metrics: list[str], *arguments: object) -> dict[str, Any]:
        first, *more = metrics
        flags = [part for metric in more for part in ("-x", metric)]
        code, out, err = toy_eval(*flags, *arguments, metric=first, limit=10)
        assert code == 0, err
        answer: dict[str, Any] = json.loads(out)
        return answer

    return run


def test_a_plan_counts_a_shared_curve_once_and_a_run_takes_what_the_plan_says(
    eval_toy: Callable[..., dict[str, Any]], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    metrics = five(32 * 32)
    plan = eval_toy(metrics, "--dry-run")
    cells = [cell["forward"] for cell in plan["cells"] if cell["metric"]]
    # each curve in three orders of equal values, and random maps, which have a curve each
    assert cells == [10 * 3 * 16, 10 * 3 * 16, 0, 0, 10 * 2 * 16]
    alone = [[cell["forward"] for cell in eval_toy([m], "--dry-run")["cells"] if cell["metric"]] for m in metrics]
    assert alone == [[10 * 3 * n] for n in ALONE[:-1]] + [[10 * (3 * 16 + 2 * 16)]]
    # Removal by the maps: 6 curves of 16 pictures on 10 maps, of which 2 differ; accuracy's insertion is one of these.
    assert 10 * (sum(ALONE) - 16 - 2 * 16) == 960
    # clean predictions, maps of 5 passes, and the metrics; the random maps' bound is reached by one explainer
    assert plan["passes"]["forward"] == MOST + 10 + 10 * 5 + sum(cells)
    # The toy gives a quarter of the rows one value, and a step is a sixteenth: the steps cut every value's pixels.
    taken = plan["passes"]["forward"] - MOST + STRUCTURE
    assert eval_toy(metrics, "-o", tmp_path / "run")["forward"] == taken


def test_every_explainer_pays_for_its_curves_and_a_metric_that_cannot_run_for_none(
    eval_toy: Callable[..., dict[str, Any]], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ("-e", "gradcam", "-e", "random", "--plugin", _needy(tmp_path))
    plan = eval_toy(["needy", "deletion", "abpc"], "--dry-run", *arguments)
    forward: dict[str, list[int]] = {}
    for cell in plan["cells"]:
        if cell["metric"]:
            forward.setdefault(cell["explainer"], []).append(cell["forward"])
    # random maps are drawn 20 times, and declare that they have few ties
    assert forward == {
        "local/rows": [0, 600, 600], "xaibench/gradcam": [0, 600, 600], "xaibench/random": [0, 4000, 4000]
    }  # fmt: skip


def _needy(folder: Any) -> Any:
    """A plugin with a metric that shares deletion's curve, and needs another dataset."""
    file = folder / "needy.py"
    file.write_text(
        "from xaibench.api import MetricRecord, hookimpl\n\n\n"
        "@hookimpl\ndef xaibench_metrics():\n"
        "    return [MetricRecord(name='needy', target='xaibench_metrics.faithfulness.removal:Deletion', summary='x',\n"
        "                         family='faithfulness', better='lower', needs=frozenset({'reference'}))]\n"
    )
    return file


# ---- pictures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [[0, 1, 7, 40], list(range(0, 41)) * 3])
def test_a_changed_picture_is_the_background_where_the_rank_is_below_the_count(counts: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    image, background = torch.rand(2, 3, 5, 8, generator=generator)
    ranks = torch.randperm(40, generator=generator).view(5, 8)
    shown: list[Tensor] = []

    def score(images: Tensor) -> Tensor:
        shown.extend(images.float())
        return images.mean(dim=(1, 2, 3))

    done = run(Scored(score, (5, 8)), lambda: replaced_probabilities(image, background, ranks, torch.tensor(counts)))
    assert value(done).shape == (len(counts), 2)
    expected = torch.stack([torch.where(ranks < n, background, image) for n in counts])
    assert torch.equal(torch.stack(shown)[: len(counts)], expected)
