"""Reading a run: its tables, one map as an array, its pictures, and the views of plugins."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from xaibench.api import PROJECT, Resize, StoreError, UnknownComponent, UsageError, XaibenchError, closest_first
from xaibench.discovery.components import HELD, Ref, resolve
from xaibench.discovery.registry import Registered, Registry, load_registry
from xaibench.store.data_frames import pandas_frame, polars_frame
from xaibench.store.files import location_of
from xaibench.store.folder import RunFolder
from xaibench.store.run_display import run_html
from xaibench.store.table_paths import recorded_paths, restore_values

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


Shown: TypeAlias = "Callable[[str], tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]]"
"""From the id of a sample to its picture and its mask as the detector saw them."""


class Run:
    """The results of an evaluation. Tables are read on access; nothing is written.

    ``run.NAME(...)`` for any further NAME is a view that a plugin brings (``xaibench_run_views``). A copy is the run
    itself; another process gets what :func:`open_run` gives it.
    """

    def __init__(self, path: str | Path, registry: Registry | None = None, plugin: Sequence[str | Path] = ()) -> None:
        location = location_of(path)
        self.path = location.absolute() if isinstance(location, Path) else location
        self._folder = RunFolder(self.path, str(location))
        self._registry = registry
        contents = self._folder.run_file()
        self._paths = recorded_paths(contents)
        self.settings: dict[str, Any] = {k: v for k, v in contents.items() if k != "record"}
        """The settings of the last plan, with the keys of a run file. Moved plugin files have their new places."""
        if plugin:
            self.settings["plugin"] = moved_files(self.settings.get("plugin", ()), plugin)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def _repr_html_(self) -> str | None:
        try:
            components, samples = self.to_arrow("components").to_pylist(), self.to_arrow("samples", ["order"])
            statuses = self.to_arrow("scores", ["status"])["status"].to_pylist()
        except XaibenchError:  # a run whose folder is gone
            return None
        in_memory = str(self.path).startswith("memory://")
        place = f"{self.path}, gone with this object: out= keeps it" if in_memory else str(self.path)
        views = ", ".join(f"run.{name}" for name in self._views())
        return run_html(place, components, statuses, len(samples) - samples["order"].null_count, views)

    def __copy__(self) -> Run:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Run:
        return self

    def __reduce__(self) -> tuple[type[Run], tuple[Path | str]]:
        return Run, (self.path,)

    # ---- tables ----

    @property
    def tables(self) -> Mapping[str, pa.Schema]:
        """The schemas of its tables by name: columns with descriptions and units, and the version of the schema."""
        from xaibench.store.schema import TABLES

        return MappingProxyType(TABLES)

    def to_arrow(
        self, name: str, columns: Sequence[str] | None = None, where: Mapping[str, Sequence[str]] | None = None
    ) -> pa.Table:
        """The rows of a table that the last plan asks for, as Arrow, with all or some columns.

        ``where={"sample": ["a", "b"], "explainer": [...]}`` keeps the rows whose texts in these columns are among those
        given; the others take no memory. Raises :class:`UsageError` for an unknown table or column and for a column in
        ``where`` that holds no texts, :class:`StoreError` where the folder is gone.
        """
        from xaibench.store.schema import TABLES

        if name not in TABLES:
            raise UsageError(f"no table '{name}'", f"tables: {closest_first(name, TABLES)}")
        if not self._folder.exists():
            raise StoreError(f"{self.path} is gone", "evaluate again, with out= to keep the folder")
        schema, asked = TABLES[name], (*(columns or ()), *(where or ()))
        if name == "samples" and not set(asked) <= set(schema.names):  # a data set brings columns of its own
            schema = self._folder.snapshot().samples.schema
        if unknown := [c for c in asked if c not in schema.names]:
            raise UsageError(
                f"the table '{name}' has no column '{unknown[0]}'", f"its: {closest_first(unknown[0], schema.names)}"
            )
        texts = [field.name for field in schema if str(field.type) == "string"]
        if others := [c for c in where or () if c not in texts]:
            raise UsageError(
                f"where= picks rows by texts, and the column '{others[0]}' holds none",
                f"filter the table that comes back, or pick by one of: {', '.join(texts)}",
            )
        return self._folder.table(name, columns=None if columns is None else list(columns), where=where)

    @property
    def scores(self) -> pa.Table:
        """The scores, one value a row, with explainer, metric, score, sample, direction, status and reason."""
        return self.to_arrow("scores")

    @property
    def predictions(self) -> pa.Table:
        """The predictions of the detectors on the untouched pictures, one row a sample."""
        return self.to_arrow("predictions")

    def to_pandas(self, name: str = "scores") -> Any:
        """A table as a pandas data frame. Raises :class:`UsageError` where pandas is not installed."""
        return pandas_frame(self.to_arrow(name))

    def to_polars(self, name: str = "scores") -> Any:
        """A table as a polars data frame. Raises :class:`UsageError` where polars is not installed."""
        return polars_frame(self.to_arrow(name))

    def save(self, out: str | Path) -> Run:
        """Keep a run that lies in memory: copy what its plan asks for to a folder or URL, and open that.

        Raises :class:`StoreError` where another run or anything else lies there.
        """
        from xaibench.store.joining import join_runs

        if RunFolder(out).exists():
            raise StoreError(f"{out} holds a run already", "give a new or empty folder, or join them: xaibench merge")
        join_runs([self.path], out)
        return Run(out, self._registry)

    # ---- maps and pictures ----

    def map(
        self, sample: str, explainer: str, *, model: str | None = None, member: str | None = None, repeat: int = 0
    ) -> np.ndarray[Any, Any]:
        """One saliency map, ``(H, W)`` float32. A higher value means stronger evidence for the target class.

        Parameters
        ----------
        sample: id of the sample.
        explainer: name of the explainer with its parameters; the distribution of a built-in or live one is optional.
        model, member: name of the detector, where the run has several.
        repeat: number of the map, where a stochastic explainer draws several.

        Raises :class:`StoreError` where there is no such map, or more than one.
        """
        import pyarrow.compute as pc

        from xaibench.store.map_rows import from_row

        rows = self.to_arrow("maps")
        rows = rows.filter(pc.equal(rows["sample"], str(sample)))
        named = pc.is_in(rows["explainer"], _strings(_full_names(explainer)))
        chosen = [r for r in rows.filter(named).to_pylist() if r["repeat"] == repeat and not r["view"]]
        chosen = [r for r in chosen if model is None or r["model"] in _full_names(model)]
        chosen = [r for r in chosen if member in (None, r["member"])]
        if len(chosen) != 1:
            count = "no map" if not chosen else f"{len(chosen)} maps"
            explainers = sorted(set(rows["explainer"].to_pylist()))
            raise StoreError(
                f"{count} of {sample} by {explainer} in {self.path}",
                "name model and member" if chosen else f"there are those of {', '.join(explainers)}"
                if explainers else "name a sample of the run, evaluated with maps=keep",
            )  # fmt: skip
        explanation = from_row(chosen[0])
        if explanation.map is None:
            raise StoreError(f"{explainer} gave no map of {sample}: {explanation.reason}")
        values: np.ndarray[Any, Any] = explanation.map.numpy()
        return values

    def picture(self, sample: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
        """A picture as the detector saw it, ``(H, W, 3)`` uint8 RGB, and its mask, ``(H, W)`` bool, or None.

        Raises what :meth:`picture_reader` and its function raise.
        """
        return self._shown(str(sample))

    def picture_reader(self) -> Callable[[str], np.ndarray[Any, Any]]:
        """A function from sample id to the picture as the detector saw it, ``(H, W, 3)`` uint8 RGB.

        Raises :class:`UsageError` for a run on several datasets or on pictures in another process's memory, and what
        the dataset raises where it cannot be opened; the function raises :class:`UsageError` for another sample and
        :class:`~xaibench.api.UnreadablePicture` for a file that broke.
        """
        shown = self._shown
        return lambda sample: shown(sample)[0]

    @cached_property
    def _shown(self) -> Shown:
        rows = self.to_arrow("components").to_pylist()
        datasets = {r["name"]: r for r in rows if r["kind"] == "dataset"}
        models = [json.loads(r["details"]) for r in rows if r["kind"] == "model"]
        if len(datasets) != 1 or not models:
            raise UsageError("pictures are shown for runs on one dataset")
        dataset = next(iter(datasets.values()))
        dataset["parameters"] = json.dumps(restore_values(json.loads(dataset["parameters"]), self._paths))
        return _picture_reader(self.registry, dataset, models[0])

    # ---- views ----

    @cached_property
    def registry(self) -> Registry:
        """The installed plugins and those that the run named."""
        try:
            return self._registry or load_registry(self.settings.get("plugin", ()), self.settings.get("no-plugin", ()))
        except UsageError as error:
            mend = "--plugin FILE, or plugin= of open_run, says where a file of the run lies now"
            raise UsageError(error.what, mend) from None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("path", "settings") or hasattr(type(self), name):
            raise AttributeError(name)  # a property that raised this, or an object that is being made
        try:
            view = self._view(name).load()
            return view(self) if isinstance(view, type) else partial(view, self)
        except UnknownComponent as error:
            raise AttributeError(f"{error.what}; {error.mend}") from None

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._views()})

    def _views(self) -> list[str]:
        """The names of the views of plugins."""
        try:
            views = [c for c in self.registry.of_kind("view") if getattr(c.record, "of", "") == "run"]
        except XaibenchError:  # a plugin that the run named is gone
            views = []
        return [c.record.name.replace("-", "_") for c in views]

    def _view(self, name: str) -> Registered:
        view = self.registry.find("view", name.replace("_", "-"))
        if getattr(view.record, "of", "") != "run":
            raise UnknownComponent(f"a run has no view '{name}'", f"{view.name} is a view of an explanation")
        return view


def open_run(path: str | Path, registry: Registry | None = None, plugin: Sequence[str | Path] = ()) -> Run:
    """Open the folder of a run.

    Views are looked up in ``registry``; None: the installed plugins and those that the run named. ``plugin``: where
    plugin files that the run named lie now; each stands for the recorded one of the same name. Raises
    :class:`xaibench.api.StoreError` where the folder is no run, and :class:`~xaibench.api.UsageError` for a file of
    another name.
    """
    return Run(path, registry, plugin)


def moved_files(recorded: Sequence[str], given: Sequence[str | Path]) -> list[str]:
    """The plugin files that a run records, with those of ``given`` in the place of the ones of the same name.

    Raises :class:`UsageError` for a file whose name the run does not know.
    """
    places = {Path(file).name: str(file) for file in given}
    # A run of Windows is read elsewhere, too.
    names = {file: file.replace("\\", "/").rpartition("/")[2] for file in recorded}
    unknown = [name for name in places if name not in names.values()]
    if unknown:
        known = f"its plugin files: {', '.join(names.values())}" if names else "it names no plugin file"
        raise UsageError(f"the run has no plugin file called '{unknown[0]}'", known)
    return [places.get(name, file) for file, name in names.items()]


def _full_names(name: str) -> tuple[str, ...]:
    return name, f"{PROJECT}/{name}", f"{HELD}/{name}"


def _strings(values: Sequence[str]) -> Any:
    import pyarrow as pa

    return pa.array(values, pa.string())


def _picture_reader(registry: Registry, row: dict[str, Any], model: dict[str, Any]) -> Shown:
    from xaibench.data.pictures import show

    component = json.loads(row["details"])["component"]
    if component.startswith(f"{HELD}/") and component not in {c.name for c in registry.components}:
        raise UsageError(f"the pictures of {row['name']} were in the memory of the process that made the run")
    dataset = resolve(registry, Ref("dataset", component, row["parameters"])).instance
    samples = {s.id: s for s in dataset.samples()}
    size, resize = (model["input_size"][0], model["input_size"][1]), Resize(**model["resize"])

    def read(sample_id: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
        if sample_id not in samples:
            raise UsageError(f"the dataset has no sample '{sample_id}'", "give a value of the column sample")
        sample = samples[sample_id]
        image, mask, _ = show(dataset.read(sample), sample, size, resize)
        pixels: np.ndarray[Any, Any] = (image.permute(1, 2, 0).numpy() * 255).round().astype("uint8")
        return pixels, None if mask is None else mask.numpy()

    return read
