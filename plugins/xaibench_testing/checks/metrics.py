"""What every metric must hold to. Each check takes a :class:`Subject` and raises :class:`ContractViolation`.

Metrics of scope ``sample`` score one map at a time, the others all maps of one planted detector or of a family of
three. Maps come from explainers that cost nothing, so that all passes are the metric's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from xaibench.api import (
    DETECTOR_NEEDS,
    SAMPLE_NEEDS,
    Better,
    Done,
    ExplainerRecord,
    ExplainRequest,
    Explanation,
    Passes,
    PassQuery,
    Scores,
    ScoreSpec,
    XaibenchError,
)
from xaibench_testing.checks.subject import (
    BATCH,
    Subject,
    bytes_of,
    finished,
    name_of,
    named,
    require_passes,
    scores_bytes,
    seeded,
)
from xaibench_testing.harness import Member, drawn_by, explain, make_bench, score, score_set, value
from xaibench_testing.planted import FAKE
from xaibench_testing.planted_data import clone_of
from xaibench_testing.violations import ContractViolation, NotApplicable, require
from xaibench_testing.worlds import World, awkward_worlds, bare, limited, planted_evidence, planted_world, roomy_world

if TYPE_CHECKING:
    from xaibench import Use

RANDOM_SETS = 32
"""Random maps a picture that the planted evidence must beat on average."""

_EVERYTHING = DETECTOR_NEEDS | SAMPLE_NEEDS
_BETTER: tuple[Better, ...] = ("higher", "lower", "none")


# ---- maps to score --------------------------------------------------------------------------------------------------


def random_map(request: ExplainRequest) -> Tensor:
    """Smooth random values in [0, 1], drawn anew for every picture, view and draw."""
    grid = torch.rand((1, 1, 7, 7), generator=request.streams.torch("map"))
    height, width = request.picture.image.shape[1:]
    return functional.interpolate(grid, size=(height, width), mode="bilinear")[0, 0]


EVIDENCE = drawn_by(lambda r: planted_evidence(r.picture), "evidence")
INVERTED = drawn_by(lambda r: 1 - planted_evidence(r.picture), "inverted")
RANDOM = drawn_by(random_map, "random", stochastic=True)


def _one_pixel(request: ExplainRequest) -> Tensor:
    saliency = torch.zeros(request.picture.image.shape[1:])
    saliency[-1, 0] = 1
    return saliency


def _shaped(make: Callable[[tuple[int, ...]], Tensor]) -> Callable[[ExplainRequest], Tensor]:
    return lambda request: make(tuple(request.picture.image.shape[1:]))


AWKWARD_MAPS: dict[str, Use] = {
    "a constant map": drawn_by(_shaped(torch.ones), "constant"),
    "a map of zeros": drawn_by(_shaped(torch.zeros), "zero"),
    "a map of one pixel": drawn_by(_one_pixel, "one-pixel"),
    "a map without positive values": drawn_by(_shaped(lambda s: -seeded(*s)), "negative"),
    "a signed map of huge values": drawn_by(_shaped(lambda s: (seeded(*s) - 0.5) * 1e30), "huge"),
    "a signed map of tiny values": drawn_by(_shaped(lambda s: (seeded(*s) - 0.5) * 1e-30), "tiny"),
}


def _run(
    subject: Subject, world: World, maps: Use = RANDOM, *, seed: int = 0, draw: int = 0
) -> list[tuple[str, Done[Scores]]]:
    """One outcome a picture, or one for the whole set, each with what it is about."""
    if subject.metric.scope == "sample":
        done = score(subject.use, maps, world.detector, world.pictures, FAKE, seed=seed, draw=draw, batch_size=BATCH)
        return [(name_of(p), d) for p, d in zip(world.pictures, done, strict=True)]
    chosen = world.family if subject.metric.scope == "family" else {"": world.detector}
    members = {n: Member(d, world.pictures, FAKE) for n, d in chosen.items()}
    others = {n: Member(d, world.reference, FAKE) for n, d in chosen.items()} if "reference" in subject.needs() else {}
    whole = score_set(subject.use, maps, members, seed=seed, draw=draw, batch_size=BATCH, reference=others)
    return [("the set", whole)]


def _scores(subject: Subject, world: World, maps: Use = RANDOM, *, seed: int = 0, draw: int = 0) -> dict[str, Scores]:
    found = _run(subject, world, maps, seed=seed, draw=draw)
    return {where: finished(done, f"{where}, {maps.registered.record.name} map") for where, done in found}


def _require_same(one: dict[str, Scores], other: dict[str, Scores], message: str) -> None:
    for where, scores in other.items():
        require(scores_bytes(one[where]) == scores_bytes(scores), f"{where}: {message}")


# ---- declarations ---------------------------------------------------------------------------------------------------


def check_declarations(subject: Subject) -> None:
    """Every score says its direction, range, version, what it is, and whether it ranks the evidence or why not. What
    accompanies the metric is there."""
    specs: Sequence[ScoreSpec] = subject.instance.scores
    require(len(specs) > 0, "declares no score")
    names = [s.name for s in specs]
    require(len(set(names)) == len(names), f"declares a score twice: {', '.join(names)}")
    for spec in specs:
        _check_spec(spec)
        for other in filter(None, (spec.event, spec.tie_spread)):
            require(other in names, f"score '{spec.name}' names '{other}', which is not declared")
    said, first = subject.metric.better, specs[0].better
    require(said == first, f"the record says {said} is better, its first score {first}")
    family = "family" in subject.metric.needs
    require(subject.metric.scope == "family" or not family, "needs a family, but its scope is not family")
    samples = [s.name for s in specs if s.item_is_sample]
    if subject.metric.scope != "model":
        require(not samples, f"score '{samples[0] if samples else ''}': items are samples in scope model alone")
    _check_accompanied(subject)


def _check_accompanied(subject: Subject) -> None:
    """``accompanied_by`` gives a tuple of metrics that can be made."""
    from xaibench import open_component

    accompanied_by = getattr(subject.instance, "accompanied_by", None)
    specs = accompanied_by() if accompanied_by else ()
    require(isinstance(specs, tuple), f"accompanied_by() returned {type(specs).__name__}, not a tuple")
    for spec in specs:
        try:
            open_component("metric", spec, registry=subject.registry)
        except XaibenchError as error:
            raise ContractViolation(f"accompanied_by() names '{spec}': {error.what}") from error


def _check_spec(spec: ScoreSpec) -> None:
    where = f"score '{spec.name}'"
    require(spec.better in _BETTER, f"{where}: better is '{spec.better}', not one of {', '.join(_BETTER)}")
    require(spec.low < spec.high, f"{where}: the range [{spec.low}, {spec.high}] is empty")
    require(spec.version >= 1, f"{where}: version {spec.version}")
    require(bool(spec.description.strip()), f"{where} has no description")
    require(spec.ranks_evidence or bool(spec.why_not.strip()), f"{where} neither ranks_evidence nor says why_not")
    require(not (spec.ranks_evidence and spec.better == "none"), f"{where} ranks_evidence, but neither way is better")


def check_values(subject: Subject) -> None:
    """Every declared score comes back, in its range or with a status and a reason, once an item; curves are finite."""
    world = planted_world(subject.needs())
    specs: Sequence[ScoreSpec] = subject.instance.scores
    ok: set[str] = set()
    for maps in (EVIDENCE, RANDOM):
        for where, scores in _scores(subject, world, maps).items():
            keys = [(s.name, s.item) for s in scores.values]
            require(len(set(keys)) == len(keys), f"{where}: two values of one score and item")
            ok |= {s.name for s in scores.values if s.status == "ok"}
            for curve in scores.curves:
                _check_curve(f"{where}, curve '{curve.name}'", curve.x, curve.y)
    never = sorted({s.name for s in specs} - ok)
    require(not never, f"'{never[0] if never else ''}' has no value for any planted picture, though every need is met")


def _check_curve(where: str, x: Sequence[float], y: Sequence[float]) -> None:
    require(len(x) == len(y), f"{where}: {len(x)} x and {len(y)} y")
    require(all(map(math.isfinite, (*x, *y))), f"{where} is not finite")


# ---- the same again -------------------------------------------------------------------------------------------------


def check_determinism(subject: Subject) -> None:
    """The same seed gives the same numbers."""
    one, two = (_scores(subject, planted_world(subject.needs())) for _ in range(2))
    _require_same(one, two, "the same seed gives other scores")


def check_order(subject: Subject) -> None:
    """The order of the pictures changes no sample's scores."""
    if subject.metric.scope != "sample":
        raise NotApplicable("scores a whole set, whose order is fixed")
    world = planted_world(subject.needs())
    turned = replace(world, pictures=planted_world(subject.needs()).pictures[::-1])
    _require_same(_scores(subject, world), _scores(subject, turned), "the scores depend on the order")


def check_batch_mates(subject: Subject) -> None:
    """A sample scored alone, at the same compute batch, scores the same."""
    if subject.metric.scope != "sample":
        raise NotApplicable("scores a whole set")
    world = planted_world(subject.needs())
    together = _scores(subject, planted_world(subject.needs()))
    for picture in world.pictures:
        alone = _scores(subject, replace(world, pictures=(picture,)))
        _require_same(together, alone, "the scores depend on what is scored beside it")


def check_mutation(subject: Subject) -> None:
    """Pictures, masks, landmarks and maps are left as they were."""
    world = planted_world(subject.needs())
    before = [clone_of(p) for p in world.pictures]
    if subject.metric.scope == "sample":
        bench = make_bench(world.detector, batch_size=BATCH)
        maps = [value(d).map for d in explain(RANDOM, world.detector, world.pictures, FAKE, bench=bench)]
        kept = [bytes_of(m) for m in maps]
        score(subject.use, RANDOM, world.detector, world.pictures, FAKE, bench=bench)
        require([bytes_of(m) for m in maps] == kept, "the metric changed a map in place")
    else:
        _scores(subject, world)
    for picture, old in zip(world.pictures, before, strict=True):
        same = all(bytes_of(a) == bytes_of(b) for a, b in zip(clone_of(picture), old, strict=True))
        require(same, f"{name_of(picture)}: the metric changed its picture, mask or landmarks in place")


# ---- costs and needs ------------------------------------------------------------------------------------------------


def check_needs(subject: Subject) -> None:
    """Without something it declares to need, a metric does not score: a missing capability is an exception or a
    status, a missing mask, pair or landmarks a status with a reason."""
    needs = subject.needs() & _EVERYTHING
    if not needs:
        raise NotApplicable("needs nothing; that it does without is seen by the other checks")
    whole = planted_world(needs)
    for need in sorted(needs & DETECTOR_NEEDS):
        family = {n: limited(d, needs - {need}) for n, d in whole.family.items()}
        poorer = replace(whole, detector=limited(whole.detector, needs - {need}), family=family)
        outcomes = [d.value for _, d in _run(subject, poorer) if d.value is not None]
        require(not any(map(_all_ok, outcomes)), f"declares that it needs {need}, but scores without")
    for need in sorted(needs & SAMPLE_NEEDS):
        without = replace(whole, pictures=tuple(bare(p, needs - {need}) for p in whole.pictures))
        for where, scores in _scores(subject, without).items():
            require(not _all_ok(scores), f"{where}: declares that it needs {need}, but scores without")


def _all_ok(scores: Scores) -> bool:
    return all(s.status == "ok" for s in scores.values)


def check_passes(subject: Subject) -> None:
    """``passes`` is what scoring a map costs: equal where it is exact, never less than what was taken. So it is with
    larger pictures and a layer of many channels, on one picture."""
    needs = subject.needs()
    _check_passes(subject, planted_world(needs))
    _check_passes(subject, roomy_world(needs).only("fake"))


def _check_passes(subject: Subject, world: World) -> None:
    costs = {
        name_of(p): subject.instance.passes(PassQuery(sample=p.sample, facts=world.detector.facts))
        for p in world.pictures
    }
    if subject.metric.scope != "sample":
        members = len(world.family) if subject.metric.scope == "family" else 1
        costs = {"the set": sum(costs.values(), Passes()).times(members)}
    for where, done in _run(subject, world):
        scores, said = finished(done, where), costs[where]
        require_passes(f"{where}{world.place}", said, done.passes, exact=said.exact and _all_ok(scores))


def check_shared(subject: Subject) -> None:
    """What ``shared`` declares is a part of ``passes``, and is not done again for a map that was scored before."""
    shared_of = getattr(subject.instance, "shared", None)
    if shared_of is None or subject.metric.scope != "sample":
        raise NotApplicable("shares no passes with other metrics of a map")
    world = planted_world(subject.needs())
    bench = make_bench(world.detector, batch_size=BATCH)
    _, again = (score(subject.use, RANDOM, world.detector, world.pictures, FAKE, bench=bench) for _ in range(2))
    for picture, done in zip(world.pictures, again, strict=True):
        where, query = name_of(picture), PassQuery(sample=picture.sample, facts=world.detector.facts)
        said, shared = subject.instance.passes(query), sum(shared_of(query).values(), Passes())
        part = shared.forward <= said.forward and shared.backward <= said.backward
        require(part, f"{where}: shared() says {shared.forward} forward, more than passes() with {said.forward}")
        exact = said.exact and _all_ok(finished(done, where))
        require_passes(f"{where}, scored a second time, less shared()", said - shared, done.passes, exact=exact)


# ---- awkward --------------------------------------------------------------------------------------------------------


def check_awkward_maps(subject: Subject) -> None:
    """Maps that are constant, zero, one pixel, nowhere positive, huge and tiny: values in range or a reason."""
    world = planted_world(subject.needs())
    for situation, maps in AWKWARD_MAPS.items():
        for where, done in _run(subject, world, maps):
            finished(done, f"{situation}: {where}")


def check_awkward(subject: Subject) -> None:
    """Flat pictures, masks of one pixel, of all and none, a detector that always says the same, tiny pictures: values
    in range or a reason, never an exception."""
    for situation, world in awkward_worlds(subject.needs()).items():
        for maps in (RANDOM, EVIDENCE):
            for where, done in _run(subject, world, maps):
                finished(done, f"{situation}: {where}")


class _Silent:
    """An explainer that never draws a map."""

    def explain(self, request: ExplainRequest) -> Explanation:
        return Explanation.none("a check: no map")

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


def _silent() -> Use:
    from xaibench import hold_component

    return hold_component(ExplainerRecord(name="silent", target="held:Silent", summary="draws nothing"), _Silent())


def check_few(subject: Subject) -> None:
    """A set without a single map, or with one, has values in range or a status with a reason."""
    if subject.metric.scope == "sample":
        raise NotApplicable("scores one map at a time; is not asked where there is none")
    world = planted_world(subject.needs())
    for where, done in _run(subject, world, _silent()):
        finished(done, f"no maps: {where}")
    for where, done in _run(subject, replace(world, pictures=world.pictures[-1:])):
        finished(done, f"one picture: {where}")


# ---- does it measure anything? --------------------------------------------------------------------------------------


def check_evidence(subject: Subject) -> None:
    """For scores that declare ``ranks_evidence``: the planted evidence's own map beats the mean of random maps, and
    that beats the inverted map, in the score's direction. Means are over fakes and items; all needs are met."""
    ranking = [s for s in subject.instance.scores if s.ranks_evidence]
    if not ranking:
        raise NotApplicable("; ".join(f"{s.name}: {s.why_not}" for s in subject.instance.scores))
    world = planted_world(_EVERYTHING).only("fake")
    evidence, inverted = _means(subject, world, EVIDENCE, 1), _means(subject, world, INVERTED, 1)
    random = _means(subject, world, RANDOM, RANDOM_SETS)
    for spec in ranking:
        _check_ranking(spec, evidence.get(spec.name), random.get(spec.name), inverted.get(spec.name))


def _check_ranking(spec: ScoreSpec, evidence: float | None, random: float | None, inverted: float | None) -> None:
    where = f"score '{spec.name}' ({spec.better} is better) ranks_evidence"
    values = {"the planted evidence": evidence, "random maps": random, "the inverted evidence": inverted}
    missing = [name for name, mean in values.items() if mean is None]
    require(not missing, f"{where}, but has no value for {' and '.join(missing)}")
    assert evidence is not None
    assert random is not None
    assert inverted is not None
    sign = -1 if spec.better == "lower" else 1
    told = f"evidence {evidence:.4g}, random {random:.4g}, inverted {inverted:.4g}"
    require(sign * evidence > sign * random, f"{where}, but the evidence does not beat random maps: {told}")
    require(sign * random > sign * inverted, f"{where}, but random maps do not beat the inverted evidence: {told}")


def _means(subject: Subject, world: World, maps: Use, draws: int) -> dict[str, float]:
    """Mean value of every score over pictures, draws and items, of those that are ``ok``."""
    found: dict[str, list[float]] = {}
    for draw in range(draws):
        for scores in _scores(subject, world, maps, draw=draw).values():
            for s in scores.values:
                if s.status == "ok" and s.value is not None:
                    found.setdefault(s.name, []).append(s.value)
    return {name: fmean(values) for name, values in found.items()}


CHECKS = named(
    check_declarations,
    check_values,
    check_determinism,
    check_order,
    check_batch_mates,
    check_mutation,
    check_needs,
    check_passes,
    check_shared,
    check_awkward_maps,
    check_awkward,
    check_few,
    check_evidence,
)
