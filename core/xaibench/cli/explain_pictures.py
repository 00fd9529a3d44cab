"""``xaibench explain IMAGE...``: the verdict on each picture, a map for every explainer, and a contact sheet."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from xaibench.api import (
    Detector,
    ExplainedMap,
    ExplainedPicture,
    Explanation,
    MapRegion,
    SheetView,
    UnreadablePicture,
    UsageError,
    p_fake,
    plugin_output,
    print_json,
    verdict,
)
from xaibench.cli.explain_files import PictureFile, UnreadableFile, picture_files, read_files

if TYPE_CHECKING:
    from xaibench.discovery.components import Use
    from xaibench.discovery.registry import Registered, Registry
    from xaibench.run.picture_batch import PictureBatch

_PAGE: Final = 24  # pictures that are explained together and stand on one page


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """What the flags of ``xaibench explain`` say."""

    images: tuple[Path, ...]
    model: str
    explainers: tuple[str, ...]
    target: str
    out: Path
    sheet: Path | None
    calibrated_on: Path | None
    alpha: float
    seed: int
    device: str
    accept_detector: bool
    plugins: tuple[Path, ...]
    parameters: Mapping[str, object]
    json: bool


def explain_pictures(options: ExplainOptions) -> int:
    """Write ``EXPLAINER.npy`` (the map), what views make of it and the contact sheet, and print the verdicts.

    Of several pictures each has a folder of its own. A file that is no picture is named, and the others go on.
    """
    files = picture_files(options.images)
    session = _Session(options, len(files) > 1)
    results, broken = list[dict[str, Any]](), list[UnreadableFile]()
    for start in range(0, len(files), _PAGE):
        pictures, unreadable = read_files(files[start : start + _PAGE])
        if unreadable and len(files) == 1:
            raise UnreadablePicture(unreadable[0].reason)
        for file in unreadable:
            print(f"{file.path}: {file.reason}", file=sys.stderr)
        broken += unreadable
        if pictures:
            results += session.explain(pictures)
    if options.json:
        _print_json(results, broken, single=len(files) == 1)
    return 1 if broken or any(_failed(r) for r in results) else 0


def _failed(result: Mapping[str, Any]) -> bool:
    return bool(result.get("reason")) or any(row["status"] == "failed" for row in result["maps"])


def _print_json(results: list[dict[str, Any]], broken: Sequence[UnreadableFile], *, single: bool) -> None:
    """One object: that of the picture, or of several a list of them and the files that are none."""
    schema = {"schema": "xaibench.explain/1"}
    if single:
        print_json(schema | results[0])
        return
    unreadable = [{"image": str(f.path), "reason": f.reason} for f in broken]
    print_json({"schema": "xaibench.explanations/1", "pictures": results, "unreadable": unreadable})


class _Session:
    """A detector and explainers that are opened once, before parts of the pictures."""

    def __init__(self, options: ExplainOptions, several: bool) -> None:
        from xaibench.detector.torch_settings import prepare_torch
        from xaibench.discovery.paths import open_models
        from xaibench.discovery.registry import load_registry
        from xaibench.plan.runtime import make_runtime
        from xaibench.plan.settings import make_settings
        from xaibench.run.picture_input import target_rules

        self.options, self.several, self.pages = options, several, 0
        values = {"device": options.device, "target": options.target, "parameter": dict(options.parameters)}
        self.settings = make_settings(None, values)
        self.registry = load_registry(options.plugins)
        runtime = make_runtime(self.settings.device)
        prepare_torch(runtime.threads, runtime.device)
        _, source = open_models(options.model, overrides=self.settings.parameter, registry=self.registry)[0]
        with plugin_output():
            self.detector: Detector = source.open(source.instance.members()[0], runtime)
        self.rule = target_rules(options.target, 1, labelled=False)[0]
        self._refuse_sheet()
        self._ready = False

    @cached_property
    def uses(self) -> list[Use]:
        """The explainers that were asked for, or those of the quick preset that this detector can run."""
        from xaibench.discovery.components import open_component, parse_overrides
        from xaibench.run.picture_batch import explainer_needs

        overrides = parse_overrides(self.settings.parameter)
        uses = [
            open_component("explainer", s, overrides.get(("explainer", s.partition(":")[0])), registry=self.registry)
            for s in self.options.explainers or _usable(self.registry, self.detector)
        ]
        with plugin_output():
            for use in uses:  # makes the explainers: a wrong option is refused before any runs
                explainer_needs(use, self.registry)
        return uses

    @cached_property
    def regions(self) -> dict[str, MapRegion]:
        """The calibrated threshold of each explainer by its name; none without ``--calibrated-on``."""
        from xaibench.run.calibration import detector_in_run, refuse_other_explainer
        from xaibench.store.open_run import open_run

        if self.options.calibrated_on is None:
            return {}
        run = open_run(self.options.calibrated_on)
        model, member = detector_in_run(run, self.detector.facts, self.options.target)
        for use in self.uses:
            refuse_other_explainer(run, use)
        return {
            use.name: run.region_threshold(use.name, model=model, member=member, alpha=self.options.alpha)
            for use in self.uses
        }

    def explain(self, pictures: Sequence[tuple[PictureFile, Any]]) -> list[dict[str, Any]]:
        """Explain some pictures together, print what is said of them, and write their files and their sheet."""
        batch = self._batch(pictures)
        self._begin(batch)
        with plugin_output():
            targets = batch.targets([self.rule] * len(pictures))
            maps = {use.name: batch.explain(use, targets) for use in self.uses}
        results, explained = [], dict[str, ExplainedPicture]()
        for i, (file, pixels) in enumerate(pictures):
            mine = [(use, maps[use.name][i]) for use in self.uses]
            folder = self.options.out / file.name if self.several else self.options.out
            folder.mkdir(parents=True, exist_ok=True)
            rows = [_write_map(batch, file.name, use, explanation, folder) for use, explanation in mine]
            for row in rows:
                row |= _region_columns(self.regions.get(row["explainer"]))
            results.append(_result(file.path, batch, file.name, targets, rows))
            explained[file.name] = self._explained(batch, file, pixels, targets, mine)
        for result, path in zip(results, self._write_sheets(explained), strict=True):
            result |= {"sheet": str(path)} if path else {}
        if not self.options.json:
            for result in results:
                _print_result(result, self.detector)
        return results

    def _batch(self, pictures: Sequence[tuple[PictureFile, Any]]) -> PictureBatch:
        from xaibench.data.survey import survey
        from xaibench.run.picture_batch import PictureBatch
        from xaibench.run.picture_input import picture_arrays

        arrays, names = picture_arrays([pixels for _, pixels in pictures], ids=[file.name for file, _ in pictures])
        found = survey(arrays, "the pictures", seed=self.options.seed)
        with plugin_output():
            return PictureBatch(self.detector, arrays, found, names, self.registry, self.options.seed)

    def _begin(self, batch: PictureBatch) -> None:
        """Before the first part: refuse what cannot go on, and say what the detector says of itself."""
        from xaibench.run.examination import FEW_PICTURES, refuse_faulty

        if not self._ready and not self.options.accept_detector:
            with plugin_output():
                refuse_faulty(self.detector, [batch.picture(s.id).image for s in batch.samples[:FEW_PICTURES]])
        if not self.several:
            with plugin_output():
                batch.raise_failed()
        if self._ready:
            return
        self.uses, self.regions  # noqa: B018
        for note in self.detector.facts.notes:
            print(f"{self.detector.facts.name}: {note}", file=sys.stderr)
        self._ready = True

    # ---- the sheet ----

    @cached_property
    def _sheet_view(self) -> SheetView | None:
        from xaibench.run.on_arrays import sheet_view

        return sheet_view(self.registry)

    def _refuse_sheet(self) -> None:
        sheet = self.options.sheet
        if sheet is not None and sheet.suffix.lower() not in (".html", ".png"):
            raise UsageError(f"--sheet {sheet} does not say what to write", "end it in .html or .png")
        if sheet is not None and self._sheet_view is None:
            raise UsageError("no plugin draws contact sheets", "leave --sheet out, or install xaibench whole")

    def _write_sheets(self, pictures: Mapping[str, ExplainedPicture]) -> Iterator[Path | None]:
        """Write the page of these pictures by their names, or one PNG each, and give the file of each picture."""
        if self._sheet_view is None:
            yield from (None for _ in pictures)
            return
        draw, path = self._sheet_view, self.options.sheet or self.options.out / "sheet.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".png":
            for name, picture in pictures.items():
                file = path.with_stem(f"{path.stem}-{name}") if self.several else path
                draw([picture]).save(file)
                yield file
            return
        self.pages += 1
        page = path if self.pages == 1 else path.with_stem(f"{path.stem}-{self.pages}")
        draw(list(pictures.values())).save(page)
        yield from (page for _ in pictures)

    def _explained(
        self,
        batch: PictureBatch,
        file: PictureFile,
        pixels: Any,
        targets: Mapping[str, int],
        maps: Sequence[tuple[Use, Explanation]],
    ) -> ExplainedPicture:
        from xaibench.data.pictures import shown_box

        facts, probabilities = self.detector.facts, batch.probabilities(file.name)
        height, width = pixels.shape[:2]
        return ExplainedPicture(
            name=str(file.path),
            pixels=pixels,
            box=shown_box(height, width, facts.input_size, facts.resize),
            verdict="" if probabilities is None else verdict(probabilities, facts),
            p_fake=float("nan") if probabilities is None else p_fake(probabilities, facts),
            threshold=facts.threshold,
            target=facts.classes[targets[file.name]] if file.name in targets else "",
            maps=tuple(ExplainedMap(explainer=u.name, explanation=e, region=self.regions.get(u.name)) for u, e in maps),
        )


def _usable(registry: Registry, detector: Detector) -> list[str]:
    """The quick preset's explainers that this detector can run."""
    from xaibench.plan.choice import preset_members

    def needs(spec: str) -> frozenset[str]:
        return getattr(registry.find("explainer", spec.partition(":")[0]).record, "needs", frozenset())

    return [s for s in preset_members("quick", "explainer") if not needs(s) - detector.facts.gives]


# ---- files ----------------------------------------------------------------------------------------------------------


def _write_map(batch: PictureBatch, name: str, use: Use, explanation: Explanation, folder: Path) -> dict[str, Any]:
    """Write the map and what views make of it; the row of the explainer."""
    import numpy as np

    row: dict[str, Any] = {"explainer": use.name, "status": explanation.status, "reason": explanation.reason}
    row |= {"details": dict(explanation.details)} if explanation.details else {}
    if explanation.map is None:
        return row
    stem, values = _stem(use.name.removeprefix("xaibench/")), explanation.array
    np.save(folder / f"{stem}.npy", values)
    peak = np.unravel_index(int(values.argmax()), values.shape)
    row |= {"map": str(folder / f"{stem}.npy"), "peak": [int(peak[0]), int(peak[1])]}
    pixels = batch.pixels(name)
    for view in _explanation_views(batch.registry):
        file = folder / f"{stem}.{view.record.suffix}"  # type: ignore[attr-defined]
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


# ---- what is printed ------------------------------------------------------------------------------------------------


def _region_columns(region: MapRegion | None) -> dict[str, Any]:
    if region is None:
        return {}
    return {"region": {"threshold": region.threshold, "statement": region.statement, "warning": region.warning}}


def _result(
    image: Path, batch: PictureBatch, name: str, targets: Mapping[str, int], rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """What ``--json`` says of a picture."""
    facts, probabilities = batch.detector.facts, batch.probabilities(name)
    result: dict[str, Any] = {"image": str(image), "model": facts.name}
    if probabilities is None:
        error = batch.predictions[name].error
        return result | {"reason": f"the detector failed: {error}", "maps": rows}
    return result | {
        "verdict": verdict(probabilities, facts),
        "p_fake": p_fake(probabilities, facts),
        "target": facts.classes[targets[name]],
        "probabilities": dict(zip(facts.classes, probabilities, strict=True)),
        "maps": rows,
    }


def _print_result(result: Mapping[str, Any], detector: Detector) -> None:
    if "reason" in result:
        print(f"{result['image']}: {result['reason']}")
        return
    threshold = f"threshold {detector.facts.threshold:g}"
    print(f"{result['image']}: {result['verdict']} (P(fake) = {result['p_fake']:.3f}, {threshold})")
    print(f"explained class: {result['target']}")
    for row in result["maps"]:
        print(f"  {row['explainer'].removeprefix('xaibench/')}: {_place(row) if 'map' in row else row['reason']}")
        region = row.get("region")
        if region:
            print(f"    {region['statement']}")
            if region["warning"]:
                print(f"    warning: {region['warning']}")
    if "sheet" in result:
        print(f"sheet: {result['sheet']}")


def _place(row: Mapping[str, Any]) -> str:
    """Where the map is, and where it is highest; and that the adversarial twin behind it failed, where it did."""
    twin = "; the twin did not turn the verdict" if row.get("details", {}).get("twin_flipped") == 0 else ""
    return f"{row.get('overlay', row['map'])}, highest at row {row['peak'][0]}, column {row['peak'][1]}{twin}"
