"""Evaluation from Python: of files and names as on the command line, and of live objects.

A live object (a module, a callable, arrays) runs in this process. The keys of its cells hold a random version, so that
no other process resumes its results, unless the caller names a version.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from xaibench.api import (
    ExplainRequest,
    Explanation,
    MetricRecord,
    Passes,
    PassQuery,
    Scores,
    UsageError,
    read_picture,
)
from xaibench.api.events import Display, Output
from xaibench.data.arrays import PictureArrays
from xaibench.detector.torch_settings import prepare_torch
from xaibench.discovery.components import Use, hold_component, open_component, with_held
from xaibench.discovery.paths import open_models
from xaibench.discovery.registry import Registry, load_registry
from xaibench.plan.runtime import make_runtime
from xaibench.plan.settings import Rerun, make_settings
from xaibench.run.driver import execute, prepare
from xaibench.run.examination import refuse_faulty
from xaibench.run.live_objects import LiveObjects, metric_record
from xaibench.run.one_picture import OnePicture
from xaibench.store.map_rows import BadMap, check, stored_form
from xaibench.store.open_run import Run

_PLURAL = {"explainer": "explainers", "metric": "metrics"}


def evaluate(
    model: Any = None,
    dataset: Any = None,
    *,
    explainers: Any = None,
    metrics: Any = None,
    out: str | Path | None = None,
    card: Mapping[str, Any] | None = None,
    version: str = "",
    progress: bool = False,
    rerun: Rerun = "missing",
    replace: bool = False,
    registry: Registry | None = None,
    **settings: Any,
) -> Run:
    """Evaluate explanations of a detector and open the run.

    Parameters
    ----------
    model: a path, a component's name, a ``torch.nn.Module``, or a callable that maps ``(N, 3, H, W)`` pictures to
        ``(N, K)`` values; or a list of these. None: the preset's.
    dataset: a path, a component's name, a :class:`PictureArrays`, a mapping with its arguments, or an object that
        fulfils the contract of a dataset; or a list of these. None: the preset's.
    explainers, metrics: specs, ``NAME[:KEY=VALUE,...]``, or objects that fulfil their contract. None: the preset's.
    out: folder of the run. A run in this folder is resumed. None: ``xaibench-runs/PLAN``, or for a live object a
        temporary folder, which is deleted with the returned run.
    card: keys of a model card for a live model: ``size`` (required), ``mean``, ``std``, ``activation``, ``high`` ...
    version: identifies the code of live objects. Without a version no other process can resume the run.
    progress: show progress and the plan's notes on stderr.
    rerun: ``missing``, ``failed`` or ``all``.
    replace: supersede results that the plan contradicts instead of refusing to run.
    registry: the registry of components. None: installed plugins and the files of ``plugin``.
    settings: keys of a run file: ``preset``, ``target``, ``seed``, ``limit``, ``split``, ``controls``, ``device`` ...

    Nothing is asked before a long run (``xaibench eval`` asks beyond ``--max-hours``). Failed cells are reported on
    stderr and in the tables; they raise nothing. Raises :class:`XaibenchError` for what cannot run as a whole.
    """
    if rerun not in get_args(Rerun):
        raise UsageError(f"rerun = {rerun!r} is not known", f"give {' or '.join(get_args(Rerun))}")
    if wrong := next((key for key in _PLURAL if key in settings), None):
        raise UsageError(f"evaluate() has no argument '{wrong}'", f"give {_PLURAL[wrong]}=")
    asked = make_settings(None, settings)
    plugins = registry or load_registry(asked.plugin, asked.no_plugin)
    live = LiveObjects(plugins, card or {}, version)
    specs = {
        "model": [live.model(m) for m in _several("model", model)],
        "dataset": [live.dataset(d) for d in _several("dataset", dataset)],
        "explainer": [live.explainer(e) for e in _several("explainers", explainers)],
        "metric": [live.metric(m) for m in _several("metrics", metrics)],
    }
    live.refuse_idle_card()
    chosen_settings = make_settings(None, settings | specs)
    temporary = tempfile.mkdtemp(prefix="xaibench-") if out is None and live.uses else None
    try:
        components = with_held(plugins, live.uses)
        prepared = live.noted(prepare(live.settings(chosen_settings, temporary or out), components))
        if progress:
            for note in prepared.plan.notes:
                print(note, file=sys.stderr)
        prepare_torch(prepared.plan.runtime.threads)
        output: Output = "json" if progress else "none"
        result = execute(prepared, components, rerun=rerun, replace=replace, display=Display(output=output))
        run = Run(result.out, components)
    except BaseException:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
        raise
    if temporary:
        weakref.finalize(run, shutil.rmtree, temporary, ignore_errors=True)
    return run


def explain(
    model: Any,
    image: Any,
    explainer: Any = "gradcam",
    *,
    target: str = "predicted",
    mask: Any = None,
    counterpart: Any = None,
    card: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "auto",
    accept_detector: bool = False,
    registry: Registry | None = None,
) -> Explanation:
    """Explain one picture, with the same map as in a run. ``explanation.array`` is the map, ``(H, W)`` float32.

    Parameters
    ----------
    model: as for :func:`evaluate`. The first member of a family is explained.
    image: the file of a picture, or an array of a picture as for :class:`PictureArrays`.
    explainer: a spec, or an object that fulfils the contract.
    target: the explained class: ``predicted``, ``fake``, ``real`` or the name of a class.
    mask: the mask of the manipulation, ``(H, W)``, for explainers that need it.
    counterpart: the real counterpart, a file or an array, for explainers that need it.
    accept_detector: go on with a detector whose structure is at fault.
    card, seed, device, registry: as for :func:`evaluate`.

    Where there is no map, ``explanation.status`` and ``reason`` say why. Raises :class:`XaibenchError` for a wrong
    name or value.
    """
    session, use = _session(model, image, explainer, mask, counterpart, card, seed, device, registry, accept_detector)
    return session.explain(use, session.target(target))


def score(
    model: Any,
    image: Any,
    values: Any,
    metric: Any,
    *,
    target: str = "predicted",
    mask: Any = None,
    counterpart: Any = None,
    card: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "auto",
    accept_detector: bool = False,
    registry: Registry | None = None,
) -> Scores:
    """Score a map from any source with a metric of scope ``sample``.

    Parameters
    ----------
    values: ``(H, W)`` finite values at the detector's input size; higher values are stronger evidence for the target.
    metric: a spec, or an object that fulfils the contract.
    model, image, target, mask, counterpart, card, seed, device, accept_detector, registry: as for :func:`explain`.

    A metric that needs the map of another picture is undefined, since there is no explainer to draw it. Raises what
    the metric raises.
    """
    session, use = _session(
        model, image, _GivenMap(values), mask, counterpart, card, seed, device, registry, accept_detector
    )
    measure = _metric_use(metric, session.registry)
    height, width = session.picture.image.shape[1:]
    return session.score(measure, use, _given_map(values, height, width), session.target(target))


def _given_map(values: Any, height: int, width: int) -> Explanation:
    """The stored form of a map that was handed over. Raises :class:`UsageError` for what is no map of the picture."""
    import numpy as np
    import torch

    try:
        given = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values
        array = np.array(given, dtype=np.float32)
        return stored_form(check(Explanation(map=torch.from_numpy(array)), height, width))
    except (BadMap, TypeError, ValueError) as error:
        what = error if isinstance(error, BadMap) else f"{type(values).__name__} is no map: {error}"
        raise UsageError(str(what), f"give ({height}, {width}) finite values") from None


def _session(
    model: Any,
    image: Any,
    explainer: Any,
    mask: Any,
    counterpart: Any,
    card: Mapping[str, Any] | None,
    seed: int,
    device: str,
    registry: Registry | None,
    accept_detector: bool,
) -> tuple[OnePicture, Use]:
    plugins = registry or load_registry()
    live = LiveObjects(plugins, card or {}, "")
    text, spec = live.model(model), live.explainer(explainer)
    live.refuse_idle_card()
    components = with_held(plugins, live.uses)
    settings = make_settings(None, {"seed": seed, "device": device})
    runtime = make_runtime(settings.device)
    prepare_torch(runtime.threads)
    _, source = open_models(text, registry=components)[0]
    detector = source.open(source.instance.members()[0], runtime)
    pictures = one_picture(image, mask, counterpart)
    session = OnePicture(detector, pictures, components, settings.seed)
    if not accept_detector:
        refuse_faulty(detector, [session.picture.image])
    return session, open_component("explainer", spec, registry=components)


def one_picture(image: Any, mask: Any = None, counterpart: Any = None) -> PictureArrays:
    """A picture, a file or an array, as a data set of one, or of two with its real counterpart.

    Its label is fake: of a picture from outside nobody knows, and what asks for masks and counterparts asks of fakes.
    """
    name = Path(image).stem if isinstance(image, str | Path) else "picture"
    if counterpart is None:
        return PictureArrays([_pixels(image)], ["fake"], ids=[name], masks=[mask])
    return PictureArrays(
        [_pixels(image), _pixels(counterpart)], ["fake", "real"], ids=[name, f"{name}/counterpart"],
        masks=[mask, None], pairs=[1, None],
    )  # fmt: skip


def _pixels(image: Any) -> Any:
    return read_picture(image) if isinstance(image, str | Path) else image


class _GivenMap:
    """Stands for whoever made a map: it can draw no other."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def explain(self, request: ExplainRequest) -> Explanation:
        return Explanation.none("the map was handed over: nobody can draw it of another picture")

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


def _metric_use(metric: Any, registry: Registry) -> Use:
    if not isinstance(metric, str):
        return hold_component(metric_record(metric), metric)
    use = open_component("metric", metric, registry=registry)
    record = use.registered.record
    if isinstance(record, MetricRecord) and record.scope != "sample":
        raise UsageError(f"{use.name} has scope {record.scope}: it scores no single map", "evaluate() runs it")
    return use


def _several(argument: str, things: Any) -> Sequence[Any]:
    """One thing as a list of one, None as an empty list. A module that is a sequence of layers is one thing.

    Raises :class:`UsageError` for an empty list, which would mean what is not given: the preset's.
    """
    if things is None:
        return ()
    single = isinstance(things, str | Path | Mapping) or callable(things) or hasattr(things, "read")
    if single or not isinstance(things, Iterable):
        return (things,)
    several = list(things)
    if not several:
        raise UsageError(f"{argument} is empty", "name one, or leave it out for the preset's")
    return several
