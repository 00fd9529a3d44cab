"""What every explainer must hold to. Each check takes a :class:`Subject` and raises :class:`ContractViolation`.

Explainers are run on planted pictures by a planted detector (:mod:`xaibench_testing.planted`) that gives what the
explainer declares to need and nothing else. The class explained is *fake* unless a check says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

import torch
from torch import Tensor

from xaibench.api import (
    DETECTOR_NEEDS,
    SAMPLE_NEEDS,
    STATUSES,
    Detector,
    Done,
    ExplainRequest,
    Explanation,
    Passes,
    PassQuery,
    Picture,
    Programme,
)
from xaibench_testing.checks.subject import (
    BATCH,
    Subject,
    bytes_of,
    explanation_bytes,
    finished,
    name_of,
    named,
    require_passes,
)
from xaibench_testing.harness import explain
from xaibench_testing.planted import FAKE, REAL
from xaibench_testing.planted_data import clone_of
from xaibench_testing.violations import NotApplicable, require
from xaibench_testing.worlds import World, awkward_worlds, bare, limited, planted_evidence, planted_world, roomy_world


def _run(
    subject: Subject,
    detector: Detector,
    pictures: Sequence[Picture],
    *,
    target: int = FAKE,
    seed: int = 0,
    draw: int = 0,
) -> list[Done[Explanation]]:
    return explain(
        subject.use, detector, pictures, target, seed=seed, draw=draw, batch_size=BATCH, registry=subject.registry
    )


def _explanations(
    subject: Subject, world: World, *, target: int = FAKE, seed: int = 0, draw: int = 0
) -> dict[str, Explanation]:
    """The world's explanations by sample id; an exception is a violation."""
    done = _run(subject, world.detector, world.pictures, target=target, seed=seed, draw=draw)
    return {p.sample.id: finished(d, name_of(p)) for p, d in zip(world.pictures, done, strict=True)}


def _require_same(one: dict[str, Explanation], other: dict[str, Explanation], message: str) -> None:
    for sample, explanation in other.items():
        require(explanation_bytes(one[sample]) == explanation_bytes(explanation), f"{sample}: {message}")


def _differ(one: dict[str, Explanation], other: dict[str, Explanation]) -> bool:
    return any(explanation_bytes(one[s]) != explanation_bytes(e) for s, e in other.items())


# ---- what comes back ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Recorder:
    """An explainer that keeps what another returns, before it is checked and stored."""

    inner: object
    returned: dict[str, object] = field(default_factory=dict)

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        import inspect

        result = self.inner.explain(request)  # type: ignore[attr-defined]
        if inspect.isgenerator(result):
            result = yield from result
        self.returned[request.picture.sample.id] = result
        return result  # type: ignore[no-any-return]


def check_maps(subject: Subject) -> None:
    """Maps are finite float32 at the picture's size, other statuses have a reason, and some picture has a map."""
    from xaibench import hold_component

    world = planted_world(subject.needs())
    recorder = _Recorder(subject.instance)
    watched = replace(subject, use=hold_component(subject.explainer, recorder))
    found = _explanations(watched, world)
    for picture in world.pictures:
        _check_returned(recorder.returned[picture.sample.id], picture)
    reasons = "; ".join(sorted({e.reason for e in found.values() if e.status != "ok"}))
    require(any(e.status == "ok" for e in found.values()), f"no planted picture has a map: {reasons}")


def _check_returned(returned: object, picture: Picture) -> None:
    where = name_of(picture)
    assert isinstance(returned, Explanation)
    require(returned.status in STATUSES, f"{where}: '{returned.status}' is no status")
    if returned.status != "ok":
        require(returned.map is None, f"{where}: status '{returned.status}' with a map")
        return
    assert returned.map is not None
    require(returned.map.dtype == torch.float32, f"{where}: the map is {returned.map.dtype}, not float32")
    require(not returned.map.requires_grad, f"{where}: the map hangs on the autograd graph")
    native, weights = returned.native_map, returned.segment_weights
    require(native is None or native.ndim == 2, f"{where}: the native map is not (h, w)")
    require(weights is None or weights.ndim == 1, f"{where}: segment weights are not (S,)")
    require(weights is None or bool(weights.isfinite().all()), f"{where}: segment weights are not finite")


def check_sign(subject: Subject) -> None:
    """Maps of an explainer that is not ``signed`` have no negative values."""
    if subject.use.trait("signed"):
        raise NotApplicable("signed")
    for sample, explanation in _explanations(subject, planted_world(subject.needs())).items():
        low = 0.0 if explanation.map is None else float(explanation.map.min())
        require(low >= 0, f"{sample}: the map reaches {low:.3g}, but the record does not say signed")


CLEARLY = 0.5
"""Difference of the mean of a map in the planted patch and outside of it that is no chance, in standard deviations."""


def check_direction(subject: Subject) -> None:
    """On fakes the map speaks for its class: the planted patch is evidence of *fake* and not of *real*.

    Maps that are not ``signed`` stand higher in the patch for *fake* than for *real*, or the same; no map is no
    evidence. A signed map is, besides, not clearly low there for *fake* nor clearly high for *real* on every fake.
    """
    if not subject.explainer.class_specific or subject.explainer.control:
        raise NotApplicable("a control, or not class_specific")
    world = planted_world(subject.needs()).only("fake")
    fake, real = (_leanings(world, _explanations(subject, world, target=t)) for t in (FAKE, REAL))
    told = f"in the patch of fakes it is higher by {fmean(fake):+.1f} deviations for fake, {fmean(real):+.1f} for real"
    require(fmean(real) - fmean(fake) <= CLEARLY, f"the map speaks for the other class: {told}")
    if subject.use.trait("signed"):
        require(max(fake) >= -CLEARLY, f"the map for fake speaks against fake: {told}")
        require(min(real) <= CLEARLY, f"the map for real speaks for fake: {told}")


def _leanings(world: World, found: dict[str, Explanation]) -> list[float]:
    """How far each map stands higher in the planted patch than outside, in its deviations; 0 without a map."""
    return [_leaning(found[p.sample.id].map, planted_evidence(p) > 0) for p in world.pictures]


def _leaning(saliency: Tensor | None, patch: Tensor) -> float:
    if saliency is None or saliency.min() == saliency.max():
        return 0.0
    values = saliency.double() / saliency.double().abs().max()
    return float((values[patch].mean() - values[~patch].mean()) / values.std())


# ---- the same again -------------------------------------------------------------------------------------------------


def check_determinism(subject: Subject) -> None:
    """The same seed gives the same bytes."""
    one, two = (_explanations(subject, planted_world(subject.needs())) for _ in range(2))
    _require_same(one, two, "the same seed gives another map")


def check_seed(subject: Subject) -> None:
    """Another seed, or another draw, gives another map where the record says ``stochastic``, elsewhere the same.

    A stored artefact may depend on the seed and never on the draw, so what asks for one need not be ``stochastic``.
    """
    needs = subject.needs()
    first = _explanations(subject, planted_world(needs))
    seed = _explanations(subject, planted_world(needs), seed=1)
    draw = _explanations(subject, planted_world(needs), draw=1)
    if subject.stochastic():
        require(_differ(first, seed), "the record says stochastic, but another seed gives the same maps")
        require(_differ(first, draw), "the record says stochastic, but another draw (repeat) gives the same maps")
    elif subject.made():
        _require_same(first, draw, "another draw (repeat) gives another map, but the record does not say stochastic")
    else:
        _require_same(first, seed, "another seed gives another map, but the record does not say stochastic")
        _require_same(first, draw, "another draw (repeat) gives another map, but the record does not say stochastic")


def check_order(subject: Subject) -> None:
    """The order of the pictures changes nothing."""
    world = planted_world(subject.needs())
    turned = replace(world, pictures=planted_world(subject.needs()).pictures[::-1])
    _require_same(_explanations(subject, world), _explanations(subject, turned), "the map depends on the order")


def check_batch_mates(subject: Subject) -> None:
    """A picture explained alone, at the same compute batch, has the same map."""
    world = planted_world(subject.needs())
    together = _explanations(subject, planted_world(subject.needs()))
    for picture in world.pictures:
        alone = replace(world, pictures=(picture,))
        _require_same(together, _explanations(subject, alone), "the map depends on what is explained beside it")


def check_mutation(subject: Subject) -> None:
    """Pictures, masks and landmarks are left as they were."""
    world = planted_world(subject.needs())
    before = [clone_of(p) for p in world.pictures]
    _explanations(subject, world)
    for picture, kept in zip(world.pictures, before, strict=True):
        same = all(bytes_of(a) == bytes_of(b) for a, b in zip(clone_of(picture), kept, strict=True))
        require(same, f"{name_of(picture)}: the explainer changed its picture, mask or landmarks in place")


# ---- declarations ---------------------------------------------------------------------------------------------------


def check_needs(subject: Subject) -> None:
    """Without something it declares to need, an explainer draws no map: a missing capability is an exception or a
    status, a missing mask, pair or landmarks a status with a reason (real pictures have no mask)."""
    needs = subject.needs()
    if not needs & (DETECTOR_NEEDS | SAMPLE_NEEDS):
        raise NotApplicable("needs nothing; that it does without is seen by the other checks")
    whole = planted_world(needs)
    for need in sorted(needs & DETECTOR_NEEDS):
        done = _run(subject, limited(whole.detector, needs - {need}), whole.pictures)
        drawn = [d for d in done if d.value is not None and d.value.status == "ok"]
        require(not drawn, f"declares that it needs {need}, but draws maps without")
    for need in sorted(needs & SAMPLE_NEEDS):
        without = replace(whole, pictures=tuple(bare(p, needs - {need}) for p in whole.pictures))
        for sample, explanation in _explanations(subject, without).items():
            require(explanation.status != "ok", f"{sample}: declares that it needs {need}, but draws a map without")


def check_passes(subject: Subject) -> None:
    """``passes`` is what a map costs: equal where it is exact, never less than what was taken. So it is with larger
    pictures and a layer of many channels, on one picture."""
    needs = subject.needs()
    _check_passes(subject, planted_world(needs))
    _check_passes(subject, roomy_world(needs).only("fake"))


def _check_passes(subject: Subject, world: World) -> None:
    for picture, done in zip(world.pictures, _run(subject, world.detector, world.pictures), strict=True):
        explanation = finished(done, name_of(picture))
        said = subject.expected_passes(PassQuery(sample=picture.sample, facts=world.detector.facts))
        where = f"{name_of(picture)}{world.place}"
        require_passes(where, said, done.passes, exact=said.exact and explanation.status == "ok")


def check_class(subject: Subject) -> None:
    """Where the record says that the map is not ``class_specific``, another class has the same map."""
    if subject.explainer.class_specific:
        raise NotApplicable("class_specific")
    fake, real = (_explanations(subject, planted_world(subject.needs()), target=t) for t in (FAKE, REAL))
    _require_same(fake, real, "the map depends on the class, but the record says that it is not class_specific")


def check_refusals(subject: Subject) -> None:
    """Where ``refuses`` gives a reason there is no map; where it gives none and ``always_explains`` is set there is."""
    refuses = getattr(subject.instance, "refuses", None)
    always = bool(getattr(subject.instance, "always_explains", False))
    if refuses is None and not always:
        raise NotApplicable("foresees nothing")
    world = planted_world(subject.needs())
    found = _explanations(subject, world)
    for picture in world.pictures:
        explanation = found[picture.sample.id]
        reason = refuses(PassQuery(sample=picture.sample, facts=world.detector.facts)) if refuses else ""
        if reason:
            require(explanation.status != "ok", f"{name_of(picture)}: refuses() says '{reason}', but there is a map")
        elif always:
            why = explanation.reason
            require(explanation.status == "ok", f"{name_of(picture)}: always_explains, but there is no map: {why}")


def check_control(subject: Subject) -> None:
    """A control asks the detector nothing itself, and a random one differs from training run to training run."""
    if not subject.explainer.control:
        raise NotApplicable("no control")
    world = planted_world(subject.needs())
    for picture in world.pictures:
        own = subject.instance.passes(PassQuery(sample=picture.sample, facts=world.detector.facts))
        require(own == Passes(), f"a control needs no detector, but passes() says {own.forward} forward")
    if not subject.use.trait("stochastic"):
        return
    maps = [_explanations(subject, replace(world, detector=d)) for d in world.family.values()]
    require(_differ(maps[0], maps[1]), "two detectors get the same random maps: draw from request.streams")


def check_awkward(subject: Subject) -> None:
    """Flat pictures, masks of one pixel, of all and none, a detector that always says the same, tiny pictures: a
    finite map or a status with a reason, never an exception."""
    for situation, world in awkward_worlds(subject.needs()).items():
        done = _run(subject, world.detector, world.pictures)
        for picture, one in zip(world.pictures, done, strict=True):
            finished(one, f"{situation}: {name_of(picture)}")


CHECKS = named(
    check_maps,
    check_sign,
    check_direction,
    check_determinism,
    check_seed,
    check_order,
    check_batch_mates,
    check_mutation,
    check_needs,
    check_passes,
    check_class,
    check_refusals,
    check_control,
    check_awkward,
)
