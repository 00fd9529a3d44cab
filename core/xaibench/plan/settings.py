"""What a run is asked to do: the run file (TOML) and the flags, which have the same keys."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from xaibench.api import Parameters, PlanError, UsageError, build_parameters


class Settings(Parameters):
    """Everything that ``xaibench eval`` can be told. In a run file dashes and underscores are the same."""

    model: tuple[str, ...] = Field(
        (), description="detectors: component names, model files, or folders of models (families)"
    )
    dataset: tuple[str, ...] = Field((), description="datasets: component names or folders")
    explainer: tuple[str, ...] = Field((), description="explainers, NAME[:KEY=VALUE,...]; default: the preset's")
    metric: tuple[str, ...] = Field((), description="metrics, NAME[:KEY=VALUE,...]; default: the preset's")
    preset: Literal["quick", "standard", "full"] = Field("quick", description="what runs when nothing is named")
    target: str = Field("predicted", description="class explained: predicted, fake, real, label or a class name")
    out: str | None = Field(None, description="folder of the run; default xaibench-runs/PLAN")
    seed: int = Field(0, ge=0, description="seed of every random stream")
    repeats: int = Field(1, ge=1, description="repeats of explainers that draw at random")
    limit: int | None = Field(None, ge=1, description="evaluate the first N samples of the seeded order")
    split: str | None = Field(None, description="only samples of this split")
    method: tuple[str, ...] = Field((), description="only fakes of these manipulation methods, and the real pictures")
    batch_size: int | None = Field(
        None, ge=1, description="pictures in every detector call; default: 64; less of large pictures on a CPU"
    )
    shard_size: int = Field(32, ge=1, description="samples in one unit of work")
    executor: str = Field("local", description="where tasks run")
    jobs: int = Field(1, ge=1, description="worker processes")
    threads: int | None = Field(None, ge=1, description="threads of each detector call; default: all cores")
    device: str = Field("auto", description="cpu, cuda, cuda:N or auto")
    precision: Literal["fp32", "fp16", "bf16"] = Field("fp32", description="precision of detector calls")
    maps: Literal["auto", "keep", "drop"] = Field("auto", description="whether saliency maps are kept")
    members: Literal["first", "all"] = Field("first", description="members of a family that sample metrics run on")
    controls: bool = Field(True, description="run the controls beside the explainers")
    plugin: tuple[str, ...] = Field((), description="one-off plugin files")
    no_plugin: tuple[str, ...] = Field((), description="distributions whose plugins are left out")
    requires: tuple[str, ...] = Field((), description="distributions the run needs, such as 'xaibench-acme>=1.2'")
    parameter: dict[str, Any] = Field({}, description="component parameters, KIND.NAME.KEY = value")

    @field_validator(
        "model", "dataset", "explainer", "metric", "method", "plugin", "no_plugin", "requires", mode="before"
    )
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value

    @field_validator("parameter", mode="before")
    @classmethod
    def _flatten(cls, value: object) -> object:
        return dict(_flat(value)) if isinstance(value, Mapping) else value


def _flat(table: Mapping[str, object], prefix: str = "", depth: int = 1) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and depth < 3:
            found += _flat(value, f"{name}.", depth + 1)
        else:
            found.append((name, value))
    return found


def read_run_file(path: Path) -> dict[str, Any]:
    """The keys of a run file. A relative path in it stays relative to the working directory, as on the command line."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"run file {path} cannot be read: {error.strerror}", "check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(
            f"run file {path} is not valid TOML: {error}", "see the run-file reference in the docs"
        ) from None
    return {key.replace("-", "_"): value for key, value in data.items() if key != "record"}


def make_settings(run_file: Path | None, flags: Mapping[str, object]) -> Settings:
    """Settings from a run file and the flags that were given; a flag wins over the file.

    ``parameter`` is merged key by key. An unknown key or a wrong value raises :class:`UsageError` (a flag) or
    :class:`PlanError` (the run file), naming what is accepted.
    """
    values: dict[str, Any] = {}
    if run_file is not None:
        values = read_run_file(run_file)
        try:
            build_parameters(Settings, values, f"run file {run_file}")
        except UsageError as error:
            raise PlanError(error.what, error.mend) from None
    given = {key: value for key, value in flags.items() if value not in (None, (), [])}
    merged = dict(_flat(values.get("parameter", {}))) | dict(_flat(given.get("parameter", {})))  # type: ignore[arg-type]
    return build_parameters(Settings, {**values, **given, "parameter": merged}, "eval")
