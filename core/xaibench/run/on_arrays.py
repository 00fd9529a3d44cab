"""One explainer or one metric on pictures that are handed over, with the same maps and values as in a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

from xaibench.api import (
    PROJECT,
    Detector,
    ExplainedPicture,
    ExplainerRecord,
    ExplainRequest,
    Explanation,
    MetricRecord,
    Parameters,
    Passes,
    PassQuery,
    Scores,
    Sheet,
    SheetView,
    UsageError,
    ViewRecord,
    p_fake,
    verdict,
)
from xaibench.data.arrays import PictureArrays
from xaibench.data.survey import Survey, survey
from xaibench.detector.torch_settings import prepare_torch
from xaibench.discovery.components import Use, hold_component, open_component, with_held
from xaibench.discovery.paths import open_models
from xaibench.discovery.registry import Origin, Registered, Registry, load_registry
from xaibench.plan.due import most_samples
from xaibench.plan.runtime import make_runtime
from xaibench.plan.settings import make_settings
from xaibench.run.batch_results import Explanations, MapScores
from xaibench.run.examination import FEW_PICTURES, refuse_faulty
from xaibench.run.live_objects import LiveObjects, metric_record
from xaibench.run.picture_batch import PictureBatch, TargetRule, explainer_needs
from xaibench.run.picture_input import given_maps, picture_arrays, target_rules


def explain(
    model: Any,
    images: Any,
    explainer: Any = "gradcam",
    targets: Any = "predicted",
    *,
    masks: Any = None,
    counterparts: Any = None,
    labels: Any = None,
    ids: Any = None,
    card: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "auto",
    accept_detector: bool = False,
    registry: Registry | None = None,
) -> Explanations:
    """Explain one picture or a batch, with the same maps as in a run. ``maps.array`` is ``(N, H, W)`` float32.

    Parameters
    ----------
    model: as for :func:`evaluate`. The first member of a family is explained.
    images: a picture or a batch of them, N: files, or arrays as for :class:`PictureArrays`, such as a tensor
        ``(N, 3, H, W)`` of floats in [0, 1]. One picture is a batch of one.
    explainer: a spec, ``NAME[:KEY=VALUE,...]``, or an object that fulfils the contract.
    targets: the explained class: ``predicted``, ``fake``, ``real``, ``label``, a class name or its index; one for all
        pictures, or a list with one for each.
    masks: the mask of each manipulation, ``(H, W)``, or None where it is not known, for explainers that need it.
    counterparts: the real counterpart of each picture, or None, for explainers that need it.
    labels: ``real`` or ``fake`` of each picture. None: every one counts as a fake.
    ids: the ids of the pictures, on which random draws hang. None: the stem of a file's name, ``0000``, ``0001`` ...
        for arrays.
    accept_detector: go on with a detector whose structure is at fault.
    card, seed, device, registry: as for :func:`evaluate`.

    Where a picture has no map, ``maps.status`` and ``maps.reasons`` say why. Raises :class:`XaibenchError` for a wrong
    name or value.
    """
    opened = _open(model, explainer, card, seed, device, registry)
    pictures, names = picture_arrays(images, labels=labels, masks=masks, counterparts=counterparts, ids=ids)
    session = opened.show(pictures, names, frozenset(), accept_detector)
    rules = target_rules(targets, len(names), labelled=labels is not None)
    sheet = sheet_view(opened.registry)
    return _joined([_explained(batch, opened.explainer, rules[part], sheet) for batch, part in session.batches()])


def score(
    metric: Any,
    model: Any,
    images: Any,
    maps: Any,
    targets: Any = None,
    *,
    explainer: Any = None,
    masks: Any = None,
    counterparts: Any = None,
    labels: Any = None,
    ids: Any = None,
    card: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "auto",
    accept_detector: bool = False,
    registry: Registry | None = None,
) -> MapScores:
    """Score maps from any source with one metric of scope ``sample``, with the same values as in a run.

    Parameters
    ----------
    metric: a spec, ``NAME[:KEY=VALUE,...]``, or an object that fulfils the contract.
    maps: a map of each picture: ``(N, H, W)``, ``(N, 1, H, W)``, or ``(H, W)`` of one, finite values at the detector's
        input size; higher values are stronger evidence for the target. Or what :func:`explain` gave, of which the
        pictures without a map keep their status and reason.
    targets: as for :func:`explain`. None: the classes that :func:`explain` explained, and ``predicted`` for maps from
        elsewhere.
    explainer: a spec or an object that draws maps of changed pictures for metrics that ask for them. None: such a
        metric is undefined.
    model, images, masks, counterparts, labels, ids, card, seed, device, accept_detector, registry: as for
        :func:`explain`.

    Where a picture has no value, ``scores.status`` and ``scores.reasons`` say why. Raises :class:`XaibenchError` for a
    wrong name or value.
    """
    if not isinstance(metric, str):
        metric_record(metric)  # what is no metric is refused before a model is opened
    opened = _open(model, _GivenMaps() if explainer is None else explainer, card, seed, device, registry)
    measure = _metric_use(metric, opened.registry)
    pictures, names = picture_arrays(images, labels=labels, masks=masks, counterparts=counterparts, ids=ids)
    given = given_maps(maps, names, *opened.detector.facts.input_size)
    if targets is None:
        targets = [t or "predicted" for t in maps.targets] if isinstance(maps, Explanations) else "predicted"
    rules = target_rules(targets, len(names), labelled=labels is not None)
    session = opened.show(pictures, names, _needs(measure), accept_detector)
    classes, results = list[str](), list[Scores]()
    for batch, part in session.batches():
        chosen = batch.targets(rules[part])
        classes += _class_names(batch, chosen)
        results += batch.score(measure, opened.explainer, given[part], chosen)
    return MapScores(
        metric=_short(measure), specs=tuple(measure.instance.scores), ids=names, targets=tuple(classes),
        results=tuple(results),
    )  # fmt: skip


@dataclass(frozen=True)
class _Opened:
    """A detector and an explainer. ``foreign``: the detector's name where it comes from a third party."""

    detector: Detector
    explainer: Use
    registry: Registry
    seed: int
    foreign: str

    def show(
        self, pictures: PictureArrays, ids: tuple[str, ...], needs: frozenset[str], accept_detector: bool
    ) -> _Session:
        """The detector before these pictures. ``needs``: those of a metric.

        Raises :class:`~xaibench.api.ModelError` where its structure is at fault.
        """
        strangers = "stranger" in needs | explainer_needs(self.explainer, self.registry)
        session = _Session(self, pictures, survey(pictures, "pictures", seed=self.seed, strangers=strangers), ids)
        if not accept_detector:
            first = session.batch(ids[:FEW_PICTURES])
            refuse_faulty(self.detector, [first.picture(s.id).image for s in first.samples])
        return session


def _open(
    model: Any, explainer: Any, card: Mapping[str, Any] | None, seed: int, device: str, registry: Registry | None
) -> _Opened:
    plugins = registry or load_registry()
    live = LiveObjects(plugins, card or {}, "")
    text = live.model(model)
    spec = "" if isinstance(explainer, _GivenMaps) else live.explainer(explainer)
    live.refuse_idle_card()
    components = with_held(plugins, live.uses)
    settings = make_settings(None, {"seed": seed, "device": device})
    use = open_component("explainer", spec, registry=components) if spec else _given_use(explainer)
    runtime = make_runtime(settings.device)
    prepare_torch(runtime.threads, runtime.device)
    _, source = open_models(text, registry=components)[0]
    detector = source.open(source.instance.members()[0], runtime)
    foreign = "" if source.registered.built_in else source.name
    return _Opened(detector, use, components, settings.seed, foreign)


@dataclass(frozen=True)
class _Session:
    """A detector before some pictures."""

    opened: _Opened
    pictures: PictureArrays
    found: Survey
    ids: tuple[str, ...]

    def batches(self) -> Iterator[tuple[PictureBatch, slice]]:
        """The pictures in parts that the memory takes, and the place of each part."""
        most = most_samples(self.opened.detector.facts)
        for start in range(0, len(self.ids), most):
            part = slice(start, start + most)
            yield self.batch(self.ids[part]), part

    def batch(self, ids: tuple[str, ...]) -> PictureBatch:
        """Some of the pictures together."""
        o = self.opened
        return PictureBatch(o.detector, self.pictures, self.found, ids, o.registry, o.seed, o.foreign)


# ---- results --------------------------------------------------------------------------------------------------------


def _explained(
    batch: PictureBatch, explainer: Use, rules: Sequence[TargetRule], sheet: SheetView | None
) -> Explanations:
    facts, targets = batch.detector.facts, batch.targets(rules)
    clean = [batch.probabilities(s.id) for s in batch.samples]
    return Explanations(
        explainer=_short(explainer),
        ids=tuple(s.id for s in batch.samples),
        targets=tuple(_class_names(batch, targets)),
        results=tuple(batch.explain(explainer, targets)),
        verdicts=tuple("" if p is None else verdict(p, facts) for p in clean),
        p_fake=tuple(math.nan if p is None else p_fake(p, facts) for p in clean),
        pixels=tuple(batch.pixels(s.id) for s in batch.samples),
        threshold=facts.threshold,
        sheet=sheet,
    )


def _joined(parts: Sequence[Explanations]) -> Explanations:
    """Explanations of several parts of a batch as one."""
    lists = ("ids", "targets", "results", "verdicts", "p_fake", "pixels")
    joined: dict[str, Any] = {name: tuple(chain.from_iterable(getattr(p, name) for p in parts)) for name in lists}
    return replace(parts[0], **joined)


def _class_names(batch: PictureBatch, targets: Mapping[str, int]) -> Iterator[str]:
    classes = batch.detector.facts.classes
    return (classes[targets[s.id]] if s.id in targets else "" for s in batch.samples)


def _short(use: Use) -> str:
    return use.name.removeprefix(f"{PROJECT}/")


def sheet_view(registry: Registry) -> SheetView | None:
    """What a plugin draws of explained pictures, imported when it draws; None where no plugin does."""
    views = (c for c in registry.of_kind("view") if isinstance(c.record, ViewRecord) and c.record.of == "explanations")
    view = next(views, None)
    return None if view is None else partial(_drawn, view)


def _drawn(view: Registered, pictures: Sequence[ExplainedPicture]) -> Sheet:
    sheet: Sheet = view.load()(pictures)
    return sheet


# ---- components -----------------------------------------------------------------------------------------------------


class _GivenMaps:
    """Stands for whoever made the maps: it can draw no other."""

    def explain(self, request: ExplainRequest) -> Explanation:
        return Explanation.none("the map was handed over: name its explainer to draw it of another picture")

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


def _given_use(explainer: _GivenMaps) -> Use:
    """A component of our own: what runs on the maps of a third party is watched, and nobody else's code runs here."""
    record = ExplainerRecord(name="given-maps", target="held:Explainer", summary="Maps in memory.", signed=True)
    return Use(Registered(record, Origin(PROJECT, "0", ""), instance=explainer), Parameters())


def _metric_use(metric: Any, registry: Registry) -> Use:
    """A metric of scope ``sample``. Raises :class:`UsageError` for one of another scope."""
    if not isinstance(metric, str):
        return hold_component(metric_record(metric), metric)
    use = open_component("metric", metric, registry=registry)
    record = use.registered.record
    if isinstance(record, MetricRecord) and record.scope != "sample":
        raise UsageError(f"{use.name} has scope {record.scope}: it scores no single map", "evaluate() runs it")
    return use


def _needs(use: Use) -> frozenset[str]:
    needs: frozenset[str] = getattr(use.registered.record, "needs", frozenset())
    return needs | frozenset(getattr(use.instance, "needs", ()))
