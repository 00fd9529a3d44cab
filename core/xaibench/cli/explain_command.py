"""``xaibench explain``: declared here, what computes is imported when it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xaibench.api import SHARED_FLAGS, JsonFlag, PluginFiles, help_page, parse_assignments


@help_page(
    "Evaluate",
    "xaibench explain face.png",
    "xaibench explain face.png -m detector.onnx -e gradcam -e rise:masks=400",
    "xaibench explain pictures/ --sheet sheet.html --calibrated-on RUN",
)
def explain(
    images: Annotated[list[Path], typer.Argument(help="Pictures to explain, and folders of them.", metavar="IMAGE...")],
    model: Annotated[str, SHARED_FLAGS["model"].option()] = "demo",
    explainer: Annotated[
        list[str] | None,
        SHARED_FLAGS["explainer"].option("explainer, NAME[:KEY=VALUE,...]; default: those of the preset quick"),
    ] = None,
    target: Annotated[str, typer.Option(help="Class explained: predicted, fake, real or a class name.")] = "predicted",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the maps.")] = Path("xaibench-explain"),
    sheet: Annotated[
        Path | None, typer.Option(help="Contact sheet, .html or .png; default OUT/sheet.html.", metavar="FILE")
    ] = None,
    calibrated_on: Annotated[
        Path | None,
        typer.Option(
            help="Run of this detector and explainer: outline regions that miss at most a share alpha of what was "
            "manipulated.",
            metavar="RUN",
        ),
    ] = None,
    alpha: Annotated[
        float, typer.Option(help="Expected share of manipulated pixels outside a region, for --calibrated-on.")
    ] = 0.1,
    seed: Annotated[int, SHARED_FLAGS["seed"].option(min=0, max=2**63 - 1)] = 0,
    device: Annotated[str, SHARED_FLAGS["device"].option()] = "auto",
    accept_detector: Annotated[
        bool, typer.Option("--accept-detector", help="Go on with a detector whose structure is at fault.")
    ] = False,
    plugin: PluginFiles = None,
    parameter: Annotated[list[str] | None, SHARED_FLAGS["parameter"].option()] = None,
    json: JsonFlag = False,
) -> None:
    """Explain pictures: verdicts, a map and an overlay for every explainer, and a contact sheet."""
    from xaibench.cli.explain_pictures import ExplainOptions, explain_pictures

    options = ExplainOptions(
        images=tuple(images),
        model=model,
        explainers=tuple(explainer or ()),
        target=target,
        out=out,
        sheet=sheet,
        calibrated_on=calibrated_on,
        alpha=alpha,
        seed=seed,
        device=device,
        accept_detector=accept_detector,
        plugins=tuple(plugin or ()),
        parameters=parse_assignments(parameter or []),
        json=json,
    )
    raise typer.Exit(explain_pictures(options))
