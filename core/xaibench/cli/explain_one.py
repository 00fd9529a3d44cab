"""``xaibench explain IMAGE``: the verdict on one picture, and a map for every explainer."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xaibench.api import Detector, p_fake, plugin_output, print_json

if TYPE_CHECKING:
    from xaibench.discovery.components import Use
    from xaibench.discovery.registry import Registered, Registry
    from xaibench.run.one_picture import OnePicture


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
    from xaibench.detector.torch_settings import prepare_torch
    from xaibench.discovery.components import open_component, parse_overrides
    from xaibench.discovery.paths import open_models
    from xaibench.discovery.registry import load_registry
    from xaibench.plan.runtime import make_runtime
    from xaibench.plan.settings import make_settings
    from xaibench.run.evaluation import one_picture
    from xaibench.run.examination import refuse_faulty
    from xaibench.run.one_picture import OnePicture, explainer_needs

    settings = make_settings(None, {"device": device, "target": target, "parameter": dict(parameters)})
    registry = load_registry(files)
    runtime = make_runtime(settings.device)
    prepare_torch(runtime.threads)
    overrides = parse_overrides(settings.parameter)
    _, source = open_models(model, overrides=settings.parameter, registry=registry)[0]
    with plugin_output():
        detector = source.open(source.instance.members()[0], runtime)
        session = OnePicture(detector, one_picture(image), registry, seed)
        if not accept_detector:
            refuse_faulty(detector, [session.picture.image])
        target_index = session.target(target)
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
        rows = [_explain(session, use, target_index, out) for use in uses]
    _show(image, session, target_index, rows, as_json)
    return 1 if any(row["status"] == "failed" for row in rows) else 0


def _usable(registry: Registry, detector: Detector) -> list[str]:
    """The quick preset's explainers that this detector can run."""
    from xaibench.plan.choice import preset_members

    def needs(spec: str) -> frozenset[str]:
        return getattr(registry.find("explainer", spec.partition(":")[0]).record, "needs", frozenset())

    return [s for s in preset_members("quick", "explainer") if not needs(s) - detector.facts.gives]


def _explain(session: OnePicture, use: Use, target: int, out: Path) -> dict[str, Any]:
    import numpy as np

    explanation = session.explain(use, target)
    row: dict[str, Any] = {"explainer": use.name, "status": explanation.status, "reason": explanation.reason}
    row |= {"details": dict(explanation.details)} if explanation.details else {}
    if explanation.map is None:
        return row
    stem, values = _stem(use.name.removeprefix("xaibench/")), explanation.array
    np.save(out / f"{stem}.npy", values)
    peak = np.unravel_index(int(values.argmax()), values.shape)
    row |= {"map": str(out / f"{stem}.npy"), "peak": [int(peak[0]), int(peak[1])]}
    pixels = (session.picture.image.permute(1, 2, 0).cpu().numpy() * 255).round().astype("uint8")
    for view in _explanation_views(session.registry):
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


def _show(image: Path, session: OnePicture, target: int, rows: list[dict[str, Any]], as_json: bool) -> None:
    facts, probabilities, verdict = session.detector.facts, session.probabilities, session.verdict
    if as_json:
        print_json({
            "schema": "xaibench.explain/1", "image": str(image), "model": facts.name, "verdict": verdict,
            "p_fake": p_fake(probabilities, facts), "target": facts.classes[target],
            "probabilities": dict(zip(facts.classes, probabilities, strict=True)), "maps": rows,
        })  # fmt: skip
        return
    print(f"{image}: {verdict} (P(fake) = {p_fake(probabilities, facts):.3f}, threshold {facts.threshold:g})")
    print(f"explained class: {facts.classes[target]}")
    for row in rows:
        name = row["explainer"].removeprefix("xaibench/")
        print(f"  {name}: {_place(row) if 'map' in row else row['reason']}")


def _place(row: Mapping[str, Any]) -> str:
    """Where the map is, and where it is highest; and that the adversarial twin behind it failed, where it did."""
    twin = "; the twin did not turn the verdict" if row.get("details", {}).get("twin_flipped") == 0 else ""
    return f"{row.get('overlay', row['map'])}, highest at row {row['peak'][0]}, column {row['peak'][1]}{twin}"
