"""A family of independent runs in one folder: trained, resumed, extended, exported."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
import torch

from xaibench.api import FAMILY_RECORD, Network, StoreError, parse_toml
from xaibench_training import loop
from xaibench_training.cards import interface, write_member
from xaibench_training.checkpoints import Epoch, History, RunState, held, snapshot
from xaibench_training.data import Guides
from xaibench_training.family import TrainingPlan, difference, identity
from xaibench_training.networks import NetworkSpec, build_trained
from xaibench_training.progress import Display
from xaibench_training.table import FILE, read_rows, write_rows
from xaibench_training.writing import staged_name, write_bytes

STATE = ".state"
BEST, ONNX = "best", "onnx"
_EXPORT_PROBES = 8


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A complete run. ``resumed``: the epoch that it went on after in this call, 0 where it started here, None where
    it was complete before. ``onnx``: largest difference of a logit between file and network; None without export."""

    run: int
    seed: int
    history: History
    resumed: int | None
    onnx: float | None


def member(run: int) -> str:
    """Name of a run's files."""
    return f"run-{run}"


def train_family(plan: TrainingPlan, out: Path, runs: int, *, export: bool, display: Display) -> list[RunResult]:
    """Train what is missing of ``runs`` runs into ``out``.

    Raises :class:`StoreError` for a folder that holds another training or anything else.
    """
    first = plan.guides(0)
    known = identity(plan, first)
    refuse_foreign(out, known)  # before anything is put there, and again when nobody else can
    with held(out):
        refuse_foreign(out, known)
        record = family_toml(plan, known, first, max(runs, _runs_before(out)))
        write_bytes(out / FAMILY_RECORD, tomli_w.dumps(record).encode())
        (out / STATE).mkdir(exist_ok=True)
        for leftover in (out / STATE).glob(f"{FILE}.*"):
            leftover.unlink()
        found = [
            _one(plan, out, run, first if run == 0 else None, export=export, display=display) for run in range(runs)
        ]
        with suppress(OSError):  # the state of a run beyond these stays
            (out / STATE).rmdir()
    return found


def _one(
    plan: TrainingPlan, out: Path, number: int, guides: Guides | None, *, export: bool, display: Display
) -> RunResult:
    name, seed = member(number), plan.seed_of(number)
    state = RunState(out / STATE, name)
    resumed: int | None = None
    if state.exists() or not (out / f"{name}.toml").exists():
        resumed = _train(plan, out, number, guides or plan.guides(number), state, display)
    state.remove()  # a kill after the last commit may have left part of it
    history = _history(out, number)
    gap = _export(plan, out, name) if export and (resumed is not None or not _onnx(out, name).exists()) else None
    return RunResult(run=number, seed=seed, history=history, resumed=resumed, onnx=gap)


def _train(plan: TrainingPlan, out: Path, number: int, guides: Guides, state: RunState, display: Display) -> int:
    """Train one run to its end and write its members; the epoch after which it went on."""
    name, seed = member(number), plan.seed_of(number)
    key = (plan.recipe.name, number, seed)
    recipe = plan.new_recipe()
    run = loop.Run(
        number=number, seed=seed, settings=plan.settings, recipe=recipe, network=plan.network,
        train=plan.train, validation=plan.validation, guides=guides, device=torch.device(plan.runtime.device),
    )  # fmt: skip
    before = state.epochs() if state.exists() else 0
    display.run(number, before, plan.settings.epochs)

    def committed(epoch: Epoch, history: History) -> None:
        write_rows(out, out / STATE, key, history.epochs)
        display.epoch(epoch, history)

    trained = loop.train(run, state, on_step=display.step, on_epoch=committed)
    write_rows(out, out / STATE, key, trained.history.epochs)
    _write_members(plan, out, name, recipe, trained.network, state)
    return before


def _write_members(plan: TrainingPlan, out: Path, name: str, recipe: Any, network: Network, state: RunState) -> None:
    changes = tuple(recipe.changes()) if hasattr(recipe, "changes") else ()
    assert plan.settings.size is not None
    spec = NetworkSpec(name=plan.settings.network, size=plan.settings.size, changes=changes)
    data = f"{plan.dataset}, {len(plan.train)} pictures, {plan.recipe.name}"
    write_member(out / BEST, name, spec, state.best(), training_data=data)
    write_member(out, name, spec, snapshot(network.module()), training_data=data)


def _onnx(out: Path, name: str) -> Path:
    return out / ONNX / f"{name}.onnx"


def _export(plan: TrainingPlan, out: Path, name: str) -> float:
    """The member of the last epoch, opened from its files, as ONNX; the largest difference of a logit."""
    from xaibench_operations import read_tensors
    from xaibench_training.export import export_onnx

    card = parse_toml((out / f"{name}.toml").read_text(encoding="utf-8"))
    module = build_trained(**card["kwargs"])
    module.load_state_dict(read_tensors(out / f"{name}.safetensors"))
    words = interface(card["kwargs"]["size"], training_data=card.get("training_data"))
    probes = plan.validation.images(torch.arange(min(_EXPORT_PROBES, len(plan.validation))))
    return export_onnx(module, _onnx(out, name), words, probes)


def _history(out: Path, run: int) -> History:
    rows = [r for r in read_rows(out) if r["run"] == run]
    if not rows:
        raise StoreError(
            f"{out / FILE} has no row of {member(run)}, which is complete",
            f"restore the table, or delete {member(run)}.toml to train that run again",
        )
    names = Epoch.__dataclass_fields__
    return History([Epoch(**{**{n: r[n] for n in names}, "parts": dict(r["parts"])}) for r in rows])


# ---- the folder -----------------------------------------------------------------------------------------------------


def family_toml(plan: TrainingPlan, known: Mapping[str, Any], guides: Guides, runs: int) -> dict[str, Any]:
    """What is in the folder, for people and for the next call: the plan, the data, what the bytes hang on."""
    from xaibench import provenance

    settings = plan.settings.model_dump(mode="json", exclude_none=True)
    return {
        "family": {"schema": "xaibench.family/1", "recipe": plan.recipe.name, "runs": runs,
                   "seeds": [str(plan.seed_of(run)) for run in range(runs)]},
        "recipe": plan.recipe.parameters.model_dump(mode="json", exclude_none=True),
        "settings": settings,
        "data": {"dataset": plan.dataset, "training": len(plan.train), "validation": len(plan.validation),
                 "guided": guides.count, "left-out": len(plan.problems), "notes": list(plan.notes)},
        "identity": {k: v for k, v in known.items() if v is not None},
        "provenance": {k: v for k, v in provenance().items() if isinstance(v, str | int | dict)},
    }  # fmt: skip


def _record(out: Path) -> dict[str, Any] | None:
    """The folder's ``family.toml``; None where it has none."""
    try:
        return parse_toml((out / FAMILY_RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StoreError(f"{out / FAMILY_RECORD} is broken: {error}", "restore it, or use another --out") from None


def _runs_before(out: Path) -> int:
    return int((_record(out) or {}).get("family", {}).get("runs", 0))


def refuse_foreign(out: Path, known: Mapping[str, Any]) -> None:
    """Raises :class:`StoreError` where ``out`` holds another training than the identity ``known``, or anything else."""
    record = _record(out)
    if record is None and out.is_dir():
        ours = (".lock", staged_name(out / FAMILY_RECORD).name)  # all that a kill leaves before there is a record
        entry = next((e.name for e in sorted(out.iterdir()) if e.name not in ours), None)
        if entry is not None:
            raise StoreError(f"{out} is no family and holds {entry}", "give a new or empty folder with --out")
    if record is None:
        return
    before = record.get("identity", {})
    changed = difference(before, {k: v for k, v in known.items() if v is not None})
    if changed:
        raise StoreError(
            f"{out} holds another training: {changed}", "give the same settings, or another folder with --out"
        )
