"""Evaluation from Python: of files and names as on the command line, and of live objects.

A live object (a module, a callable, arrays) runs in this process. Its unit keys hold a random version, so that no other
process resumes its results, unless the caller names a version.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import sys
import tempfile
import uuid
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from xaibench.api import (
    ComponentRecord,
    DatasetRecord,
    ExplainerRecord,
    ExplainRequest,
    Explanation,
    MetricRecord,
    ModelRecord,
    Passes,
    PassQuery,
    PluginError,
    Scores,
    UsageError,
    read_picture,
)
from xaibench.api.events import Output
from xaibench.data.arrays import PictureArrays
from xaibench.detector.torch_settings import prepare_torch
from xaibench.discovery.components import HELD, Use, hold_component, open_component, with_held
from xaibench.discovery.paths import open_models
from xaibench.discovery.registry import Registry, load_registry
from xaibench.plan.runtime import make_runtime
from xaibench.plan.settings import Settings, make_settings
from xaibench.run.driver import PreparedRun, execute, prepare
from xaibench.run.one_picture import OnePicture
from xaibench.store.map_rows import check, stored_form
from xaibench.store.open_run import Run


def evaluate(
    model: Any = None,
    dataset: Any = None,
    *,
    explainers: Any = (),
    metrics: Any = (),
    out: str | Path | None = None,
    card: Mapping[str, Any] | None = None,
    version: str = "",
    progress: bool = False,
    rerun: str = "missing",
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
    replace: move results that the plan contradicts to ``superseded/`` instead of refusing to run.
    registry: the registry of components. None: installed plugins and the files of ``plugin``.
    settings: keys of a run file: ``preset``, ``target``, ``seed``, ``limit``, ``split``, ``controls``, ``device`` ...

    Failed cells are reported on stderr and in the tables; they raise nothing. Raises :class:`XaibenchError` for what
    cannot run as a whole.
    """
    plugins = load_registry(settings.get("plugin", ()), settings.get("no_plugin", ())) if registry is None else registry
    live = _LiveObjects(plugins, card or {}, version)
    chosen_settings = make_settings(
        None,
        settings
        | {
            "model": [live.model(m) for m in _several(model)],
            "dataset": [live.dataset(d) for d in _several(dataset)],
            "explainer": [live.explainer(e) for e in _several(explainers)],
            "metric": [live.metric(m) for m in _several(metrics)],
        },
    )
    temporary = tempfile.mkdtemp(prefix="xaibench-") if out is None and live.uses else None
    try:
        components = with_held(plugins, live.uses)
        prepared = live.noted(prepare(live.settings(chosen_settings, temporary or out), components))
        if progress:
            for note in prepared.plan.notes:
                print(note, file=sys.stderr)
        prepare_torch(prepared.plan.runtime.threads)
        output: Output = "json" if progress else "none"
        result = execute(prepared, components, rerun=rerun, replace=replace, output=output)
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
    card, seed, device, registry: as for :func:`evaluate`.

    Where there is no map, ``explanation.status`` and ``reason`` say why. Raises :class:`XaibenchError` for a wrong
    name or value.
    """
    session, use = _session(model, image, explainer, mask, counterpart, card, seed, device, registry)
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
    registry: Registry | None = None,
) -> Scores:
    """Score a map from any source with a metric of scope ``sample``.

    Parameters
    ----------
    values: ``(H, W)`` finite values at the detector's input size; higher values are stronger evidence for the target.
    metric: a spec, or an object that fulfils the contract.
    model, image, target, mask, counterpart, card, seed, device, registry: as for :func:`explain`.

    A metric that needs the map of another picture is undefined, since there is no explainer to draw it. Raises what
    the metric raises.
    """
    import torch

    session, use = _session(model, image, _GivenMap(values), mask, counterpart, card, seed, device, registry)
    measure = _metric_use(metric, session.registry)
    height, width = session.picture.image.shape[1:]
    explanation = stored_form(check(Explanation(map=torch.as_tensor(values, dtype=torch.float32)), height, width))
    return session.score(measure, use, explanation, session.target(target))


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
) -> tuple[OnePicture, Use]:
    plugins = registry or load_registry()
    live = _LiveObjects(plugins, card or {}, "")
    text, spec = live.model(model), live.explainer(explainer)
    components = with_held(plugins, live.uses)
    runtime = make_runtime(device)
    prepare_torch(runtime.threads)
    _, source = open_models(text, registry=components)[0]
    detector = source.open(source.instance.members()[0], runtime)
    pictures = one_picture(image, mask, counterpart)
    return OnePicture(detector, pictures, components, seed), open_component("explainer", spec, registry=components)


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


# ---- objects --------------------------------------------------------------------------------------------------------


@dataclass
class _LiveObjects:
    """What was handed over in Python, as components: ``uses``. Paths and names pass through as they are."""

    registry: Registry
    card: Mapping[str, Any]
    version: str

    def __post_init__(self) -> None:
        self.uses: list[Use] = []
        self._code = self.version or uuid.uuid4().hex

    def model(self, thing: Any) -> str:
        if isinstance(thing, str | Path):
            return str(thing)
        if not callable(thing):
            raise UsageError(f"{type(thing).__name__} is no model", "give a path, a name, a module or a callable")
        maker = next((c for c in self.registry.of_kind("model") if getattr(c.record, "wraps", "")), None)
        if maker is None:
            raise PluginError("no plugin makes detectors of live objects", "leave the built-in models in")
        name = _kebab(getattr(thing, "__name__", type(thing).__name__))
        instance = maker.load(maker.record.wraps)(thing, name, self.card, self._code)  # type: ignore[attr-defined]
        return self._hold(ModelRecord(name=name, target="held:Model", summary="A model in memory."), instance)

    def dataset(self, thing: Any) -> str:
        if isinstance(thing, str | Path):
            return str(thing)
        if isinstance(thing, Mapping):
            thing = PictureArrays(**thing)
        if not hasattr(thing, "read"):
            raise UsageError(f"{type(thing).__name__} is no data set", "give a path, a name, or images and labels")
        name = _kebab(type(thing).__name__)
        return self._hold(DatasetRecord(name=name, target="held:Dataset", summary="Pictures in memory."), thing)

    def explainer(self, thing: Any) -> str:
        if isinstance(thing, str):
            return thing
        record = ExplainerRecord(
            name=_kebab(type(thing).__name__), target="held:Explainer", summary="An explainer in memory.", signed=True
        )
        return self._hold(record, thing)

    def metric(self, thing: Any) -> str:
        if isinstance(thing, str):
            return thing
        return self._hold(_metric_record(thing), thing)

    def settings(self, chosen: Settings, out: str | Path | None) -> Settings:
        """The settings of the run. Raises :class:`UsageError` where live objects would have to leave this process."""
        if self.uses and (chosen.jobs > 1 or chosen.executor != "local"):
            raise UsageError(
                f"{self.uses[0].name} lies in this process, and workers cannot have it",
                "leave jobs at 1, or give a file",
            )
        return chosen if out is None else chosen.model_copy(update={"out": str(out)})

    def noted(self, prepared: PreparedRun) -> PreparedRun:
        """The plan with a note that nobody can resume it, where that is so."""
        if not self.uses or self.version:
            return prepared
        names = ", ".join(use.name for use in self.uses)
        note = f"{names}: handed over in Python without a version; no other process resumes this run"
        plan = dataclasses.replace(prepared.plan, notes=(*prepared.plan.notes, note))
        return dataclasses.replace(prepared, plan=plan)

    def _hold(self, record: ComponentRecord, instance: object) -> str:
        taken = {use.name for use in self.uses}
        names = chain([record.name], (f"{record.name}-{i}" for i in count(2)))
        name = next(n for n in names if f"{HELD}/{n}" not in taken)
        use = hold_component(dataclasses.replace(record, name=name), instance, version=self._code)
        self.uses.append(use)
        return use.name


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
        return hold_component(_metric_record(metric), metric)
    use = open_component("metric", metric, registry=registry)
    record = use.registered.record
    if isinstance(record, MetricRecord) and record.scope != "sample":
        raise UsageError(f"{use.name} has scope {record.scope}: it scores no single map", "evaluate() runs it")
    return use


def _metric_record(thing: Any) -> MetricRecord:
    return MetricRecord(
        name=_kebab(type(thing).__name__), target="held:Metric", summary="A metric in memory.", family="faithfulness"
    )


def _kebab(name: str) -> str:
    """``FacesNet`` -> ``faces-net``; what holds no letter is ``object``."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", name)
    return "-".join(words).lower() or "object"


def _several(things: Any) -> Sequence[Any]:
    """One thing as a list of one; nothing as an empty list. A module that is a sequence of layers is one thing."""
    if things is None:
        return ()
    return things if isinstance(things, list | tuple) else (things,)
