"""``xaibench explain IMAGE``: the verdict on one picture, and a map for every explainer."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xaibench.api import (
    SAMPLE_NEEDS,
    Detector,
    Done,
    Explanation,
    Forward,
    Native,
    PlanError,
    Problem,
    Sample,
    UsageError,
    describe_error,
)
from xaibench.detector.batch_size import compute_batch
from xaibench.detector.engine import ProbeEngine
from xaibench.plan.cells import lacking

if TYPE_CHECKING:
    from xaibench.run.workbench import Bench


@dataclass(frozen=True, slots=True)
class OnePicture:
    """A dataset of one file, so that one picture is explained exactly as a run would explain it."""

    path: Path

    def samples(self) -> Sequence[Sample]:
        return (Sample(id=self.path.stem, label="fake", group=self.path.stem),)

    def read(self, sample: Sample) -> Native:
        from xaibench.api import read_picture

        return Native(read_picture(self.path))

    def problems(self) -> Sequence[Problem]:
        return ()


def explain_one(
    image: Path,
    model: str,
    specs: Sequence[str],
    target: str,
    out: Path,
    seed: int,
    device: str,
    files: Sequence[Path],
    parameters: Mapping[str, object],
    as_json: bool,
) -> int:
    """Write ``EXPLAINER.npy`` (the map) and ``EXPLAINER.png`` (an overlay) into ``out`` and print the verdict."""
    from xaibench.api import check_target_rule, resolve_target
    from xaibench.detector.torch_settings import prepare_torch
    from xaibench.discovery import components
    from xaibench.discovery.components import open_component
    from xaibench.discovery.paths import open_models
    from xaibench.discovery.registry import load_registry
    from xaibench.plan.runtime import make_runtime
    from xaibench.plan.settings import make_settings

    settings = make_settings(None, {"device": device, "target": target, "parameter": dict(parameters)})
    if target == "label":
        raise UsageError("a picture from outside a dataset has no label", "use predicted, fake, real or a class name")
    registry = load_registry(files)
    runtime = make_runtime(settings)
    prepare_torch(runtime.threads)
    overrides = components.parse_overrides(settings.parameter)
    _, used = open_models(model, registry=registry)[0]
    detector = used.open(used.instance.members()[0], runtime)
    check_target_rule(target, detector.facts)
    session = _Session(OnePicture(image), detector, registry, seed, compute_batch(detector))
    picture = session.picture()
    engine = ProbeEngine(detector, session.batch)
    reply = engine.run_one(lambda: _ask(Forward(picture.image[None])))
    if reply.value is None:
        raise reply.error or RuntimeError("no prediction came back")
    probabilities = [float(p) for p in reply.value[0]]
    chosen = resolve_target(target, picture.sample, probabilities, detector.facts)
    uses = [
        open_component("explainer", s, overrides.get(("explainer", s.partition(":")[0])), registry=registry)
        for s in specs or _usable(registry, detector)
    ]
    needs = [_needs(registry, u) for u in uses]  # makes the explainers: a wrong option is refused before any runs
    for note in detector.facts.notes:
        print(f"{detector.facts.name}: {note}", file=sys.stderr)
    out.mkdir(parents=True, exist_ok=True)
    rows = [_explain(session, use, wanted, chosen, out) for use, wanted in zip(uses, needs, strict=True)]
    _show(image, detector, probabilities, chosen, rows, out, as_json)
    return 1 if any(row["status"] == "failed" for row in rows) else 0


def _ask(request: Any) -> Any:
    reply = yield request
    return reply


def _usable(registry: Any, detector: Detector) -> list[str]:
    """The quick preset's explainers that this detector can run."""
    from xaibench.plan.choice import preset_members

    return [
        s for s in preset_members("quick", "explainer")
        if not (registry.find("explainer", s.partition(":")[0]).record.needs - detector.facts.gives)
    ]  # fmt: skip


def _needs(registry: Any, use: Any, above: tuple[str, ...] = ()) -> frozenset[str]:
    """What an explainer needs with these parameters, and what those whose maps it asks for need."""
    from xaibench.discovery.components import open_component

    if use.name in above:
        raise PlanError(f"explainer '{use.name}' asks for its own map", "name another explainer in its parameters")
    own: frozenset[str] = use.registered.record.needs | frozenset(getattr(use.instance, "needs", ()))
    asked = (open_component("explainer", spec, registry=registry) for spec in getattr(use.instance, "depends", ()))
    return own.union(*(_needs(registry, other, (*above, use.name)) for other in asked))


class _Session:
    """One picture in front of one detector."""

    def __init__(self, dataset: OnePicture, detector: Detector, registry: Any, seed: int, batch: int) -> None:
        self.dataset, self.detector, self.registry, self.seed, self.batch = dataset, detector, registry, seed, batch

    def picture(self) -> Any:
        from xaibench.data.pictures import show_picture

        return show_picture(self.dataset, self.dataset.samples()[0], self.detector.facts, counterpart=lambda: None)

    @cached_property
    def bench(self) -> Bench:
        """One for all explainers, so that what they share is made once."""
        from xaibench.run.workbench import Bench

        return Bench(
            self.detector, self.dataset, self.dataset.samples(), self.registry, seed=self.seed, batch_size=self.batch
        )

    def explain(self, use: Any, needs: frozenset[str], target: int) -> Explanation:
        of_sample = sorted(needs & SAMPLE_NEEDS)
        reason = lacking(needs, self.detector.facts)
        if not reason and of_sample:
            reason = f"needs {of_sample[0]}: a picture by itself has none (eval on a dataset that does)"
        if reason:
            return Explanation(map=None, status="not_applicable", reason=reason)
        bench = self.bench
        done: Done[Explanation] = bench.engine().run_one(lambda: bench.explanation(use, self.picture(), target, 0))
        if done.value is None:
            why = describe_error(done.error) if done.error else "no explanation came back"
            return Explanation(map=None, status="failed", reason=why)
        return done.value


def _explain(session: _Session, use: Any, needs: frozenset[str], target: int, out: Path) -> dict[str, Any]:
    import numpy as np

    explanation = session.explain(use, needs, target)
    row: dict[str, Any] = {"explainer": use.name, "status": explanation.status, "reason": explanation.reason}
    row |= {"details": dict(explanation.details)} if explanation.details else {}
    if explanation.map is None:
        return row
    stem = _stem(use.name.removeprefix("xaibench/"))
    values = explanation.map.numpy()
    np.save(out / f"{stem}.npy", values)
    pixels = (session.picture().image.permute(1, 2, 0).cpu().numpy() * 255).round().astype("uint8")
    peak = np.unravel_index(int(values.argmax()), values.shape)
    row |= {"map": str(out / f"{stem}.npy"), "peak": [int(peak[0]), int(peak[1])]}
    for view in explanation_views(session.registry):
        file = out / f"{stem}.{view.record.suffix}"
        file.write_bytes(view.load()(pixels, values))
        row[view.record.name] = str(file)
    return row


def explanation_views(registry: Any) -> list[Any]:
    """What plugins write beside each map."""
    return [c for c in registry.of_kind("view") if c.record.of == "explanation"]


def _stem(name: str) -> str:
    """A file name for an explainer with its parameters, without what shells and file systems trip over."""
    swapped = name.translate(str.maketrans("/:=,", "__-_"))
    return "".join(c for c in swapped if c.isalnum() or c in "_-+.")


def _show(
    image: Path, detector: Detector, probabilities: list[float], target: int, rows: list[dict[str, Any]], out: Path,
    as_json: bool,
) -> None:  # fmt: skip
    from xaibench.api import p_fake, verdict

    facts = detector.facts
    said = verdict(probabilities, facts)
    if as_json:
        print(jsonlib.dumps({
            "schema": "xaibench.explain/1", "image": str(image), "model": facts.name, "verdict": said,
            "p_fake": p_fake(probabilities, facts), "target": facts.classes[target],
            "probabilities": dict(zip(facts.classes, probabilities, strict=True)), "maps": rows,
        }))  # fmt: skip
        return
    print(f"{image}: {said} (P(fake) = {p_fake(probabilities, facts):.3f}, threshold {facts.threshold:g})")
    print(f"explained class: {facts.classes[target]}")
    for row in rows:
        where = (
            f"{row.get('overlay', row['map'])}, highest at row {row['peak'][0]}, column {row['peak'][1]}{_warning(row)}"
            if "map" in row
            else row["reason"]
        )
        print(f"  {row['explainer'].removeprefix('xaibench/')}: {where}")


def _warning(row: Mapping[str, Any]) -> str:
    """That the adversarial twin behind a map did not do what it is for."""
    return "; the twin did not turn the verdict" if row.get("details", {}).get("twin_flipped") == 0 else ""
