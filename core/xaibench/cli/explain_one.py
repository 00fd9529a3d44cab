"""``xaibench explain IMAGE``: the verdict on one picture, and a map for every explainer."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xaibench.api import Detector, p_fake, plugin_output, print_json, verdict

if TYPE_CHECKING:
    from xaibench.discovery.components import Use
    from xaibench.discovery.registry import Registered, Registry
    from xaibench.run.picture_batch import PictureBatch


def explain_one(
    image: Path,
    model: str,
    specs: Sequence[str],
    target: str,
    out: Path,
    seed: int,
    device: str,
    accept_detector: bool,
    files: Sequence[Path],
    parameters: Mapping[str, object],
    as_json: bool,
) -> int:
    """Write ``EXPLAINER.npy`` (the map) and what views make of it into ``out`` and print the verdict."""
    from xaibench.data.survey import survey
    from xaibench.detector.torch_settings import prepare_torch
    from xaibench.discovery.components import open_component, parse_overrides
    from xaibench.discovery.paths import open_models
    from xaibench.discovery.registry import load_registry
    from xaibench.plan.runtime import make_runtime
    from xaibench.plan.settings import make_settings
    from xaibench.run.examination import refuse_faulty
    from xaibench.run.picture_batch import PictureBatch, explainer_needs
    from xaibench.run.picture_input import picture_arrays, target_rules

    settings = make_settings(None, {"device": device, "target": target, "parameter": dict(parameters)})
    registry = load_registry(files)
    runtime = make_runtime(settings.device)
    prepare_torch(runtime.threads, runtime.device)
    overrides = parse_overrides(settings.parameter)
    _, source = open_models(model, overrides=settings.parameter, registry=registry)[0]
    with plugin_output():
        detector = source.open(source.instance.members()[0], runtime)
        rules = target_rules(target, 1, labelled=False)
        pictures, names = picture_arrays(image)
        batch = PictureBatch(detector, pictures, survey(pictures, "the picture", seed=seed), names, registry, seed)
        if not accept_detector:
            refuse_faulty(detector, [batch.picture(names[0]).image])
        batch.raise_failed()
        targets = batch.targets(rules)
    uses = [
        open_component("explainer", s, overrides.get(("explainer", s.partition(":")[0])), registry=registry)
        for s in specs or _usable(registry, detector)
    ]
    with plugin_output():
        for use in uses:  # makes the explainers: a wrong option is refused before any runs
            explainer_needs(use, registry)
    for note in detector.facts.notes:
        print(f"{detector.facts.name}: {note}", file=sys.stderr)
    out.mkdir(parents=True, exist_ok=True)
    with plugin_output():
        rows = [_explain(batch, use, targets, out) for use in uses]
    _show(image, batch, targets[names[0]], rows, as_json)
    return 1 if any(row["status"] == "failed" for row in rows) else 0


def _usable(registry: Registry, detector: Detector) -> list[str]:
    """The quick preset's explainers that this detector can run."""
    from xaibench.plan.choice import preset_members

    def needs(spec: str) -> frozenset[str]:
        return getattr(registry.find("explainer", spec.partition(":")[0]).record, "needs", frozenset())

    return [s for s in preset_members("quick", "explainer") if not needs(s) - detector.facts.gives]


def _explain(batch: PictureBatch, use: Use, targets: Mapping[str, int], out: Path) -> dict[str, Any]:
    import numpy as np

    (explanation,) = batch.explain(use, targets)
    row: dict[str, Any] = {"explainer": use.name, "status": explanation.status, "reason": explanation.reason}
    row |= {"details": dict(explanation.details)} if explanation.details else {}
    if explanation.map is None:
        return row
    stem, values = _stem(use.name.removeprefix("xaibench/")), explanation.array
    np.save(out / f"{stem}.npy", values)
    peak = np.unravel_index(int(values.argmax()), values.shape)
    row |= {"map": str(out / f"{stem}.npy"), "peak": [int(peak[0]), int(peak[1])]}
    pixels = batch.pixels(batch.samples[0].id)
    for view in _explanation_views(batch.registry):
        file = out / f"{stem}.{view.record.suffix}"  # type: ignore[attr-defined]
        file.write_bytes(view.load()(pixels, values))
        row[view.record.name] = str(file)
    return row


def _explanation_views(registry: Registry) -> list[Registered]:
    """What plugins write beside each map."""
    return [c for c in registry.of_kind("view") if getattr(c.record, "of", "") == "explanation"]


def _stem(name: str) -> str:
    """A file name for an explainer with its parameters, without what shells and file systems trip over."""
    swapped = name.translate(str.maketrans("/:=,", "__-_"))
    return "".join(c for c in swapped if c.isalnum() or c in "_-+.")


def _show(image: Path, batch: PictureBatch, target: int, rows: list[dict[str, Any]], as_json: bool) -> None:
    facts, probabilities = batch.detector.facts, batch.probabilities(batch.samples[0].id) or ()
    label = verdict(probabilities, facts)
    if as_json:
        print_json({
            "schema": "xaibench.explain/1", "image": str(image), "model": facts.name, "verdict": label,
            "p_fake": p_fake(probabilities, facts), "target": facts.classes[target],
            "probabilities": dict(zip(facts.classes, probabilities, strict=True)), "maps": rows,
        })  # fmt: skip
        return
    print(f"{image}: {label} (P(fake) = {p_fake(probabilities, facts):.3f}, threshold {facts.threshold:g})")
    print(f"explained class: {facts.classes[target]}")
    for row in rows:
        name = row["explainer"].removeprefix("xaibench/")
        print(f"  {name}: {_place(row) if 'map' in row else row['reason']}")


def _place(row: Mapping[str, Any]) -> str:
    """Where the map is, and where it is highest; and that the adversarial twin behind it failed, where it did."""
    twin = "; the twin did not turn the verdict" if row.get("details", {}).get("twin_flipped") == 0 else ""
    return f"{row.get('overlay', row['map'])}, highest at row {row['peak'][0]}, column {row['peak'][1]}{twin}"
