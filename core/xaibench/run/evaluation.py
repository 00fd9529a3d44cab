"""Evaluation from Python: of files and names as on the command line, and of live objects.

A live object (a module, a callable, arrays) runs in this process. The keys of its cells hold a random version, so that
no other process resumes its results, unless the caller names a version.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from xaibench.api import UsageError
from xaibench.api.events import Display, Output
from xaibench.detector.torch_settings import prepare_torch
from xaibench.discovery.components import with_held
from xaibench.discovery.registry import Registry, load_registry
from xaibench.plan.settings import Rerun, Settings, make_settings
from xaibench.run.driver import PreparedRun, prepare
from xaibench.run.live_objects import LiveObjects
from xaibench.run.run_place import forget, forget_with, temporary_folder, without_folder
from xaibench.run.until_settled import execute_settled
from xaibench.store.files import Location
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
    out: folder or URL of the run. A run that is there is resumed. None: the tables and maps stay in memory, or where
        other processes work on them in a temporary folder, and go with the returned run.
    card: keys of a model card for a live model: ``size`` (required), ``mean``, ``std``, ``activation``, ``high`` ...
    version: identifies the code of live objects. Without a version no other process can resume the run.
    progress: show progress, in a notebook as one line under the cell, and the plan's notes on stderr.
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
    temporary = temporary_folder() if out is None else None
    place: Location | None = None if temporary is None else Path(temporary)
    try:
        components = with_held(plugins, live.uses)

        def plan_of(changed: Settings) -> PreparedRun:
            return live.noted(prepare(live.settings(changed, changed.out or temporary or out), components))

        prepared = plan_of(chosen_settings)
        if temporary:
            prepared = without_folder(prepared, components)
            place = prepared.folder.path
        if progress:
            for note in prepared.plan.notes:
                print(note, file=sys.stderr)
        prepare_torch(prepared.plan.runtime.threads, prepared.plan.runtime.device)
        output: Output = "json" if progress else "none"
        settled = execute_settled(
            prepared, components, plan_of, rerun=rerun, replace=replace, display=Display(output=output)
        )
        if progress:
            for order in settled.orders:
                print(order.line, file=sys.stderr)
        run = Run(settled.result.out, components)
    except BaseException:
        if place is not None:
            forget(place)
        raise
    if place is not None:
        forget_with(run)
    return run


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
