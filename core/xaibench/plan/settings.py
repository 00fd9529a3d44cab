"""What a run is asked to do. A field of :class:`Settings` is a run-file key, a flag and a variable."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator

from xaibench.api import (
    SHARED_FLAGS,
    Parameters,
    PlanError,
    UsageError,
    build_parameters,
    location,
    name_delay,
    parse_toml,
    setting,
)
from xaibench.discovery.secrets import Literals, is_secret_entry, without_literals
from xaibench.store.folder import RECORD, RUN_FILE, RunFolder

Rerun = Literal["missing", "failed", "all"]


# the headings under which the help of `eval` shows the flags
WHAT, HOW, WHERE, OUTPUT = "What is evaluated", "How", "Where and when it runs", "Output"

MANY = 10**9
"""More samples than any dataset has. Beyond it a number is a slip, which nothing is to compute with."""


class Settings(Parameters):
    """Everything that ``xaibench eval`` can be told of a run. In a run file dashes and underscores are the same."""

    model: tuple[str, ...] = setting((), SHARED_FLAGS["model"], panel=WHAT)
    dataset: tuple[str, ...] = setting((), SHARED_FLAGS["dataset"], panel=WHAT)
    explainer: tuple[str, ...] = setting((), SHARED_FLAGS["explainer"], panel=WHAT)
    metric: tuple[str, ...] = setting((), SHARED_FLAGS["metric"], panel=WHAT)
    preset: Literal["quick", "standard", "full"] = setting("quick", "what runs when nothing is named", panel=WHAT)
    target: str = setting("predicted", "class explained: predicted, fake, real, label or a class name", panel=WHAT)
    out: str | None = setting(
        None, "folder of the run, the same one resumes; default: xaibench-runs/PLAN", short="-o", panel=WHERE
    )
    seed: int = setting(0, SHARED_FLAGS["seed"], ge=0, lt=2**63, panel=HOW)
    repeats: int = setting(1, "repeats of explainers that draw at random", ge=1, le=10_000, panel=HOW)
    limit: int | None = setting(None, SHARED_FLAGS["limit"], ge=1, le=MANY, panel=WHAT)
    until_settled: tuple[str, ...] = setting(
        (),
        "add pictures only until the order of the explainers by this score is settled, [best:]METRIC[.SCORE]",
        panel=WHAT,
    )
    split: str | None = setting(None, SHARED_FLAGS["split"], panel=WHAT)
    method: tuple[str, ...] = setting((), "only fakes of this manipulation method, and the real pictures", panel=WHAT)
    batch_size: int | None = setting(
        None,
        "pictures in every detector call; default: 64, less of large pictures on a CPU",
        ge=1,
        le=65_536,
        panel=HOW,
    )
    part: str | None = setting(
        None, "only every N-th sample from the I-th on, I/N; xaibench merge joins the parts", panel=WHAT
    )
    task_samples: int | None = setting(
        None,
        "most samples in one task; default: what takes about a minute and fits the memory",
        ge=1,
        le=MANY,
        panel=WHERE,
    )
    executor: str = setting("local", "where tasks run, NAME[:KEY=VALUE,...]", panel=WHERE, values="executor")
    jobs: int = setting(1, SHARED_FLAGS["jobs"], ge=1, le=1024, panel=WHERE)
    threads: int | None = setting(None, SHARED_FLAGS["threads"], ge=1, le=1024, panel=WHERE)
    time_limit: float | None = setting(
        None,
        "seconds that one map or score may take; default: an hour for components of third parties, else any",
        gt=0,
        le=1e9,
        panel=HOW,
    )
    accept_detector: bool = setting(
        False, "go on with a detector whose structure is at fault; its results say so", panel=HOW
    )
    isolation: bool = setting(True, "run components of third parties in processes of their own", panel=WHERE)
    device: str = setting("auto", SHARED_FLAGS["device"], panel=WHERE)
    precision: Literal["fp32", "fp16", "bf16"] = setting("fp32", "precision of detector calls", panel=HOW)
    engine: Literal["torch", "auto", "compile", "onnxruntime", "batched", "parallel"] = setting(
        "torch",
        "engine of passes without gradient on a CPU: of PyTorch detectors (compile, onnxruntime), of ONNX graphs that "
        "take one picture (batched, parallel); auto: the fastest; torch: each detector's own",
        panel=HOW,
    )
    maps: Literal["auto", "keep", "drop"] = setting("auto", "whether saliency maps are kept", panel=OUTPUT)
    members: Literal["first", "all"] = setting("first", "members of a family that sample metrics run on", panel=WHAT)
    controls: bool = setting(
        True,
        "run the controls beside the explainers, and the measures that accompany others, such as fill-response",
        panel=WHAT,
    )
    plugin: tuple[str, ...] = setting((), SHARED_FLAGS["plugin"], panel=WHERE)
    no_plugin: tuple[str, ...] = setting((), SHARED_FLAGS["no_plugin"], panel=WHERE)
    requires: tuple[str, ...] = setting((), "distribution the run needs, such as 'xaibench-acme>=1.2'", panel=WHERE)
    parameter: dict[str, Any] = setting({}, SHARED_FLAGS["parameter"], panel=HOW)

    @field_validator(
        "model",
        "dataset",
        "explainer",
        "metric",
        "until_settled",
        "method",
        "plugin",
        "no_plugin",
        "requires",
        mode="before",
    )
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        if isinstance(value, str | Path):
            return (str(value),)
        return tuple(str(v) if isinstance(v, Path) else v for v in value) if isinstance(value, list | tuple) else value

    @field_validator("part")
    @classmethod
    def _part(cls, value: str | None) -> str | None:
        if value is not None:
            i, _, n = value.partition("/")
            if not (value.isascii() and i.isdigit() and n.isdigit() and len(value) < 20 and 1 <= int(i) <= int(n)):
                raise ValueError("give I/N with 1 <= I <= N, for example 2/3")
        return value

    @property
    def part_of(self) -> tuple[int, int]:
        """The part as numbers, (1, 1) for the whole."""
        i, _, n = (self.part or "1/1").partition("/")
        return int(i), int(n)

    @field_validator("parameter", mode="before")
    @classmethod
    def _flatten(cls, value: object) -> object:
        return dict(_flat(value)) if isinstance(value, Mapping) else value


def _flat(table: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    """Entries ``KIND.NAME.KEY``. The value of a key may be a table itself."""
    found: list[tuple[str, object]] = []
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and name.count(".") < 2:
            found += _flat(value, f"{name}.")
        else:
            found.append((name, value))
    return found


def read_run_file(path: str | Path) -> dict[str, Any]:
    """The keys of a run file, which is a path or a URL. A relative path in it stays relative to the working directory,
    as on the command line."""
    return {key: value for key, value in _contents(path).items() if key != RECORD}


def _contents(path: str | Path) -> dict[str, Any]:
    """The keys of a run file, with ``record`` where a run wrote it."""
    try:
        with name_delay(f"reading {path}"):
            data = parse_toml(location(path).read_text(encoding="utf-8"))
    except OSError as error:
        parent, _, name = str(path).rpartition("/")
        folder = RunFolder(parent or ".")
        if name != RUN_FILE or not folder.exists() or RUN_FILE in folder.files.entries():
            raise PlanError(f"run file {path} cannot be read: {error.strerror or error}", "check the path") from None
        # a run that lost the file holds the same settings in its table runs
        data = {**folder.run_file(), RECORD: True}
    except ValueError as error:  # of TOML or of UTF-8
        raise PlanError(
            f"run file {path} is not valid TOML: {error}", "see the run-file reference in the docs"
        ) from None
    keys = [key.replace("-", "_") for key in data]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise PlanError(f"run file {path} gives '{twice}' twice, with a dash and an underscore", "take one off")
    return dict(zip(keys, data.values(), strict=True))


def make_settings(
    run_file: str | Path | None, flags: Mapping[str, object], defaults: Mapping[str, object] | None = None
) -> Settings:
    """Settings from a run file and the flags that were given; a flag wins over the file, and both over ``defaults``.

    The file that a run wrote is complete: no ``defaults`` are added to it. ``parameter`` is merged key by key. An
    unknown key or a wrong value raises :class:`UsageError` (a flag) or :class:`PlanError` (the run file), naming what
    is accepted.
    """
    values: dict[str, Any] = {}
    base = dict(defaults or {})
    if run_file is not None:
        values = _contents(run_file)
        if values.pop(RECORD, None) is not None:
            base = {}
        try:
            build_parameters(Settings, values, f"run file {run_file}")
        except UsageError as error:
            raise PlanError(error.what, error.mend) from None
    given = {k: v for k, v in flags.items() if not (v is None or (isinstance(v, list | tuple) and not v))}
    merged: dict[str, object] = {}
    for source in (base, values, given):
        merged |= dict(_flat(source.get("parameter", {})))  # type: ignore[arg-type]
    return build_parameters(Settings, {**base, **values, **given, "parameter": merged}, "eval")


def without_secrets(settings: Settings, literals: Literals) -> Settings:
    """Settings without the secret values that they give literally."""
    specs = ("model", "dataset", "explainer", "metric")
    changes: dict[str, Any] = {
        key: tuple(without_literals(text, literals) for text in getattr(settings, key)) for key in specs
    }
    changes["executor"] = without_literals(settings.executor, literals)
    changes["parameter"] = {
        key: without_literals(value, literals) if isinstance(value, str) else value
        for key, value in settings.parameter.items()
        if not is_secret_entry(key, literals)
    }
    return settings.model_copy(update={k: v for k, v in changes.items() if v != getattr(settings, k)})
