"""``train.parquet``: one row for every epoch of every run of a family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from xaibench.api import StoreError, commit_file, stage_table
from xaibench_training.checkpoints import Epoch

FILE: Final = "train.parquet"
VERSION: Final = 1


def _field(name: str, kind: pa.DataType, description: str, unit: str = "") -> pa.Field:
    metadata = {"description": description} | ({"unit": unit} if unit else {})
    return pa.field(name, kind, nullable=False, metadata=metadata)


TRAIN: Final = pa.schema([
    _field("recipe", pa.string(), "recipe, distribution/name[:key=value,...]"),
    _field("run", pa.int32(), "number of the training run within the family, from 0"),
    _field("seed", pa.int64(), "seed of the run, derived from the family's seed and the run's number"),
    _field("epoch", pa.int32(), "epoch, from 1"),
    _field("loss", pa.float64(), "mean over the epoch's examples of what was minimised"),
    _field("parts", pa.map_(pa.string(), pa.float64()),
           "means of the loss's parts and of what the recipe measured after its steps, over the steps that gave them"),
    _field("validation_auc", pa.float64(), "area under the ROC curve on the validation pictures, chance 0.5"),
    _field("validation_loss", pa.float64(), "mean cross-entropy on the validation pictures", "nat"),
    _field("learning_rate", pa.float64(), "learning rate of the epoch"),
    _field("seconds", pa.float64(), "wall time of training and validating", "s"),
    _field("examples", pa.int64(), "pictures shown", "picture"),
], metadata={"xaibench.schema": f"train/{VERSION}"})  # fmt: skip


def write_rows(folder: Path, staging: Path, key: tuple[str, int, int], epochs: Sequence[Epoch]) -> None:
    """Replace the rows of one run, ``key`` (recipe, run, seed); those of the others stay."""
    recipe, run, seed = key
    rows = [r for r in read_rows(folder) if r["run"] != run]
    for e in epochs:
        values = {name: getattr(e, name) for name in Epoch.__dataclass_fields__}
        rows.append({"recipe": recipe, "run": run, "seed": seed, **values, "parts": list(e.parts.items())})
    rows.sort(key=lambda r: (r["run"], r["epoch"]))
    commit_file(stage_table(pa.Table.from_pylist(rows, TRAIN), staging, FILE), folder / FILE)


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows so far; none where nothing was trained."""
    file = folder / FILE
    if not file.exists():
        return []
    try:
        return list(pq.read_table(file, schema=TRAIN).to_pylist())
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError(
            f"{file} cannot be read: {' '.join(str(error).split())[:120]}", "restore it, or use another --out"
        ) from error
