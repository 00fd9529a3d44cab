"""Reading a run: its tables, one map as an array, its pictures, and the views of plugins."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xaibench.api import Resize, StoreError, UnknownComponent, UsageError
from xaibench.discovery.components import Ref, resolve
from xaibench.discovery.registry import Registered, Registry, load_registry
from xaibench.store.folder import RunFolder

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class Run:
    """The results of an evaluation. Tables are read on access; nothing is written.

    ``run.NAME(...)`` for any further NAME is a view that a plugin brings (``xaibench_run_views``).
    """

    def __init__(self, path: str | Path, registry: Registry | None = None) -> None:
        self.path = Path(path)
        self._folder = RunFolder(path)
        self._registry = registry
        self.settings: dict[str, Any] = {k: v for k, v in self._folder.run_file().items() if k != "record"}
        """The settings of the last plan, with the keys of a run file."""

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    # ---- tables ----

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of a table as Arrow, with all or some columns. Raises :class:`UsageError` for an unknown table."""
        from xaibench.store.schema import TABLES

        if name not in TABLES:
            raise UsageError(f"no table '{name}'", f"tables: {', '.join(TABLES)}")
        return self._folder.table(name, columns=None if columns is None else list(columns))

    @property
    def scores(self) -> pa.Table:
        """The scores, one value a row, with explainer, metric, score, sample, direction, status and reason."""
        return self.table("scores")

    @property
    def predictions(self) -> pa.Table:
        """The predictions of the detectors on the untouched pictures, one row a sample."""
        return self.table("predictions")

    def to_pandas(self, name: str = "scores") -> Any:
        """A table as a pandas data frame (pandas must be installed)."""
        return self.table(name).to_pandas()

    def to_polars(self, name: str = "scores") -> Any:
        """A table as a polars data frame (polars must be installed)."""
        import polars

        return polars.from_arrow(self.table(name))

    # ---- maps and pictures ----

    def map(
        self, sample: str, explainer: str, *, model: str | None = None, member: str | None = None, repeat: int = 0
    ) -> np.ndarray[Any, Any]:
        """One saliency map, ``(H, W)`` float32. A higher value means stronger evidence for the target class.

        Parameters
        ----------
        sample: id of the sample.
        explainer: name of the explainer with its parameters; a built-in one without its distribution.
        model, member: name of the detector, where the run has several.
        repeat: number of the map, where a stochastic explainer draws several.

        Raises :class:`StoreError` where there is no such map, or more than one.
        """
        import pyarrow.compute as pc

        from xaibench.store.map_rows import from_row

        rows = self.table("maps")
        of_explainer = pc.is_in(rows["explainer"], _strings((explainer, f"xaibench/{explainer}")))
        matches = [
            row
            for row in rows.filter(pc.and_(of_explainer, pc.equal(rows["sample"], sample))).to_pylist()
            if row["repeat"] == repeat and not row["view"]
            if model in (None, row["model"]) and member in (None, row["member"])
        ]
        if len(matches) != 1:
            count = f"{len(matches)} maps" if matches else "no map"
            raise StoreError(
                f"{count} of {sample} by {explainer} in {self.path}",
                "evaluate with maps=keep, or name model and member",
            )
        explanation = from_row(matches[0])
        if explanation.map is None:
            raise StoreError(f"{explainer} gave no map of {sample}: {explanation.reason}")
        values: np.ndarray[Any, Any] = explanation.map.numpy()
        return values

    def picture_reader(self) -> Callable[[str], np.ndarray[Any, Any]]:
        """A function from sample id to the picture as the detector saw it, ``(H, W, 3)`` uint8 RGB.

        Raises :class:`UsageError` for a run on several datasets, and what the dataset raises where it cannot be
        opened; the function raises :class:`~xaibench.api.UnreadablePicture` for a file that broke.
        """
        rows = self.table("components").to_pylist()
        datasets = {r["name"]: r for r in rows if r["kind"] == "dataset"}
        models = [json.loads(r["details"]) for r in rows if r["kind"] == "model"]
        if len(datasets) != 1 or not models:
            raise UsageError("pictures are shown for runs on one dataset")
        return _picture_reader(self.registry, next(iter(datasets.values())), models[0])

    # ---- views ----

    @cached_property
    def registry(self) -> Registry:
        """The installed plugins and those that the run named."""
        try:
            return self._registry or load_registry(self.settings.get("plugin", ()), self.settings.get("no-plugin", ()))
        except UsageError as error:
            mend = "open the run in the folder in which it was started, or give open_run another registry"
            raise UsageError(error.what, mend) from None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return partial(self._view(name).load(), self)
        except UnknownComponent as error:
            raise AttributeError(f"{error.what}; {error.mend}") from None

    def __dir__(self) -> list[str]:
        views = [c.record.name for c in self.registry.of_kind("view") if getattr(c.record, "of", "") == "run"]
        return sorted({*super().__dir__(), *views})

    def _view(self, name: str) -> Registered:
        view = self.registry.find("view", name.replace("_", "-"))
        if getattr(view.record, "of", "") != "run":
            raise UnknownComponent(f"a run has no view '{name}'", f"{view.name} is a view of an explanation")
        return view


def open_run(path: str | Path, registry: Registry | None = None) -> Run:
    """Open the folder of a run.

    Views are looked up in ``registry``; None: the installed plugins and those that the run named. Raises
    :class:`xaibench.api.StoreError` where the folder is no run.
    """
    return Run(path, registry)


def _strings(values: Sequence[str]) -> Any:
    import pyarrow as pa

    return pa.array(values, pa.string())


def _picture_reader(
    registry: Registry, row: dict[str, Any], model: dict[str, Any]
) -> Callable[[str], np.ndarray[Any, Any]]:
    from xaibench.data.pictures import show

    dataset = resolve(registry, Ref("dataset", json.loads(row["details"])["component"], row["parameters"])).instance
    samples = {s.id: s for s in dataset.samples()}
    size, resize = (model["input_size"][0], model["input_size"][1]), Resize(**model["resize"])

    def read(sample_id: str) -> np.ndarray[Any, Any]:
        sample = samples[sample_id]
        image, _, _ = show(dataset.read(sample), sample, size, resize)
        pixels: np.ndarray[Any, Any] = (image.permute(1, 2, 0).numpy() * 255).round().astype("uint8")
        return pixels

    return read
