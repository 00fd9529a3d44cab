"""Run one explainer or one metric outside of a run, exactly as a run does: same bench, engine, streams, stored form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from xaibench.api import (
    Detector,
    Done,
    ExplainerRecord,
    ExplainRequest,
    Explanation,
    Forward,
    MapCase,
    MetricRecord,
    ModelCase,
    Passes,
    PassQuery,
    Picture,
    Programme,
    Score,
    Scores,
    SetCase,
    Streams,
    check_scores,
)
from xaibench_testing.planted_data import planted_samples

if TYPE_CHECKING:
    from xaibench import Bench, Registry, Use

T = TypeVar("T")
Targets = int | Sequence[int]


@dataclass(frozen=True)
class DrawnBy:
    """An explainer made of a function: ``draw(request)`` returns the ``(H, W)`` map. Costs no detector pass."""

    draw: Callable[[ExplainRequest], torch.Tensor]

    def explain(self, request: ExplainRequest) -> Explanation:
        return Explanation(map=self.draw(request).float())

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


def drawn_by(draw: Callable[[ExplainRequest], torch.Tensor], name: str = "drawn", *, stochastic: bool = False) -> Use:
    """:class:`DrawnBy` as a component: gives a metric the maps that a test wants."""
    from xaibench import hold_component

    record = ExplainerRecord(
        name=name,
        target="xaibench_testing.harness:DrawnBy",
        summary="maps of a test",
        signed=True,
        stochastic=stochastic,
    )
    return hold_component(record, DrawnBy(draw))


def make_bench(detector: Detector, *, seed: int = 0, batch_size: int = 8, registry: Registry | None = None) -> Bench:
    """A bench for one detector. Components used on one bench share maps and artefacts, as in one task of a run.

    ``batch_size`` gives way to the detector's own limit. ``registry`` is where an explainer finds the others that it
    asks for; None: nowhere.
    """
    from xaibench import Bench, Registry, compute_batch, prepare_torch

    prepare_torch(1)
    nothing = planted_samples(0)  # pictures are handed over, not read
    batch = compute_batch(detector, batch_size)
    return Bench(detector, nothing, (), registry or Registry(), seed=seed, batch_size=batch)


def _bench_for(explainer: Use, detector: Detector, seed: int, batch_size: int, registry: Registry | None) -> Bench:
    """A bench with what is installed at hand, if the explainer says that it asks for others."""
    from xaibench import load_registry

    asks = bool(getattr(explainer.instance, "depends", ()))
    known = load_registry() if registry is None and asks else registry
    return make_bench(detector, seed=seed, batch_size=batch_size, registry=known)


def explain(
    explainer: Use | object,
    detector: Detector,
    pictures: Sequence[Picture],
    targets: Targets,
    *,
    seed: int = 0,
    batch_size: int = 8,
    draw: int = 0,
    registry: Registry | None = None,
    bench: Bench | None = None,
) -> list[Done[Explanation]]:
    """One map a picture, in stored form, with the passes it took; an exception comes back in ``error``.

    Parameters
    ----------
    explainer: a component, or an object with ``explain``.
    targets: class index for every picture, or one for all.
    draw: number of the independent draw (repeats and ``draws`` count it up).
    bench: take this one (and its detector, seed and batch) instead of a fresh one.
    """
    use = explainer_use(explainer)
    at = bench or _bench_for(use, detector, seed, batch_size, registry)
    _check_distinct(pictures)
    jobs: list[tuple[int, Callable[[], Programme[Explanation] | Explanation]]] = [
        (i, partial(at.explanation, use, picture, target, draw))
        for i, (picture, target) in enumerate(zip(pictures, _each(targets, pictures), strict=True))
    ]
    found = dict(at.engine().run(jobs))
    return [found[i] for i in range(len(pictures))]


def score(
    metric: Use | object,
    explainer: Use | object,
    detector: Detector,
    pictures: Sequence[Picture],
    targets: Targets,
    *,
    seed: int = 0,
    batch_size: int = 8,
    draw: int = 0,
    registry: Registry | None = None,
    bench: Bench | None = None,
) -> list[Done[Scores]]:
    """Draw each picture's map with ``explainer`` and score it with a metric of scope ``sample``.

    The passes are the metric's own and those of maps that it asks for; the first map's are not among them. A picture
    without a map has its status and reason in every score; scores that break the contract come back as ``error``.
    """
    use, drawn_with = metric_use(metric), explainer_use(explainer)
    at = bench or _bench_for(drawn_with, detector, seed, batch_size, registry)
    maps = explain(drawn_with, detector, pictures, targets, draw=draw, bench=at)
    cases = _cases(at, use, drawn_with, pictures, _each(targets, pictures), maps=maps, draw=draw)
    found = dict(at.engine().run((i, partial(use.instance.score, case)) for i, case in cases.items()))
    return [_checked(use, found[i]) if i in found else _unmapped(use, m) for i, m in enumerate(maps)]


@dataclass(frozen=True, slots=True)
class Member:
    """One detector of a family and the pictures as it is shown them."""

    detector: Detector
    pictures: Sequence[Picture]
    targets: Targets


def score_set(
    metric: Use | object,
    explainer: Use | object,
    members: Mapping[str, Member],
    *,
    seed: int = 0,
    batch_size: int = 8,
    draw: int = 0,
    registry: Registry | None = None,
    reference: Mapping[str, Member] | None = None,
) -> Done[Scores]:
    """Draw all maps and score them at once with a metric of scope ``detector`` (one member) or ``family``.

    ``reference``: the same members on the pictures of the first dataset, for metrics that need it.
    """
    use, drawn_with = metric_use(metric), explainer_use(explainer)
    benches = {name: _bench_for(drawn_with, m.detector, seed, batch_size, registry) for name, m in members.items()}

    def drawn(of: Mapping[str, Member]) -> tuple[dict[str, list[MapCase]], dict[str, int]]:
        cases, asked = {}, {}
        for name, m in of.items():
            at = benches[name]
            maps = explain(drawn_with, m.detector, m.pictures, m.targets, draw=draw, bench=at)
            found = _cases(at, use, drawn_with, m.pictures, _each(m.targets, m.pictures), maps=maps, draw=draw)
            cases[name], asked[name] = list(found.values()), len(maps)
        return cases, asked

    cases, asked = drawn(members)
    streams = Streams.of(seed, draw, use.name, "", drawn_with.name)
    case = SetCase(members=cases, asked=asked, explainer=drawn_with.name, streams=streams,
                   reference=drawn(reference or {})[0])  # fmt: skip
    return _checked(use, next(iter(benches.values())).engine().run_one(lambda: use.instance.score(case)))


def score_model(
    metric: Use | object, detector: Detector, pictures: Sequence[Picture], *, seed: int = 0, batch_size: int = 8
) -> Done[Scores]:
    """Score a detector with a metric of scope ``model``. The clean predictions are not among the passes."""
    use, at = metric_use(metric), make_bench(detector, seed=seed, batch_size=batch_size)
    asked: list[tuple[int, Callable[[], Programme[torch.Tensor] | torch.Tensor]]] = [
        (i, partial(_predict, p)) for i, p in enumerate(pictures)
    ]
    clean = dict(at.engine().run(asked))
    rows = [value(clean[i]) for i in range(len(pictures))]
    case = ModelCase(
        detector=detector, samples=[p.sample for p in pictures], pictures=pictures, missing=0,
        artefacts=at.artefacts(),
        clean=torch.stack(rows) if rows else torch.zeros(0, len(detector.facts.classes)),
        streams=Streams.of(seed, 0, use.name, ""),
    )  # fmt: skip
    return _checked(use, at.engine().run_one(lambda: use.instance.score(case)))


def value(done: Done[T]) -> T:
    """What a programme returned; raises what ended it."""
    if done.error is not None:
        raise done.error
    assert done.value is not None
    return done.value


def explainer_use(explainer: Use | object) -> Use:
    """An explainer as a component; an object gets a record that claims nothing."""
    from xaibench import Use, hold_component

    if isinstance(explainer, Use):
        return explainer
    return hold_component(ExplainerRecord(name="toy", target="held:Toy", summary="a toy", signed=True), explainer)


def metric_use(metric: Use | object) -> Use:
    """A metric as a component; an object gets a record of scope ``sample``."""
    from xaibench import Use, hold_component

    if isinstance(metric, Use):
        return metric
    return hold_component(MetricRecord(name="toy", target="held:Toy", summary="a toy", family="faithfulness"), metric)


def _record(use: Use, kind: type[T]) -> T:
    record = use.registered.record
    if not isinstance(record, kind):
        raise TypeError(f"{use.name} is a {record.kind}, not what {kind.__name__} describes")
    return record


def _each(targets: Targets, pictures: Sequence[Picture]) -> Sequence[int]:
    return [targets] * len(pictures) if isinstance(targets, int) else targets


def _check_distinct(pictures: Sequence[Picture]) -> None:
    """Maps are known by sample and view, so two pictures of one key would be taken for one."""
    keys = [(p.sample.id, p.view) for p in pictures]
    twice = next((k for k in keys if keys.count(k) > 1), None)
    if twice:
        raise ValueError(f"two pictures are called {twice[0]!r} (view {twice[1]!r}): give their samples different ids")


def _cases(
    at: Bench,
    metric: Use,
    explainer: Use,
    pictures: Sequence[Picture],
    targets: Sequence[int],
    *,
    maps: Sequence[Done[Explanation]],
    draw: int,
) -> dict[int, MapCase]:
    """The case of every picture that has a map, by its index."""
    asked: list[tuple[int, Callable[[], Programme[torch.Tensor] | torch.Tensor]]] = [
        (i, partial(_predict, p)) for i, p in enumerate(pictures)
    ]
    clean = dict(at.engine().run(asked))
    cases = {}
    for i, (picture, target, done) in enumerate(zip(pictures, targets, maps, strict=True)):
        explanation = value(done)
        if explanation.status == "ok":
            cases[i] = at.case(metric, explainer, explanation, picture, target, draw, value(clean[i]))
    return cases


def _predict(picture: Picture) -> Programme[torch.Tensor]:
    reply: torch.Tensor = yield Forward(picture.image[None])
    return reply[0].cpu()


def _checked(metric: Use, done: Done[Any]) -> Done[Scores]:
    if done.error is not None:
        return done
    try:
        return Done(check_scores(done.value, metric.instance.scores), None, done.passes)
    except ValueError as error:
        return Done(None, error, done.passes)


def _unmapped(metric: Use, done: Done[Explanation]) -> Done[Scores]:
    explanation = value(done)
    values = (Score(name=s.name, status=explanation.status, reason=explanation.reason) for s in metric.instance.scores)
    return Done(Scores(tuple(values)), None, Passes())
