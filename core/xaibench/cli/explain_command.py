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
)
def explain(
    image: Annotated[Path, typer.Argument(help="Picture to explain.")],
    model: Annotated[str, SHARED_FLAGS["model"].option()] = "demo",
    explainer: Annotated[
        list[str] | None,
        SHARED_FLAGS["explainer"].option("explainer, NAME[:KEY=VALUE,...]; default: those of the preset quick"),
    ] = None,
    target: Annotated[str, typer.Option(help="Class explained: predicted, fake, real or a class name.")] = "predicted",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the maps.")] = Path("xaibench-explain"),
    seed: Annotated[int, SHARED_FLAGS["seed"].option(min=0, max=2**63 - 1)] = 0,
    device: Annotated[str, SHARED_FLAGS["device"].option()] = "auto",
    accept_detector: Annotated[
        bool, typer.Option("--accept-detector", help="Go on with a detector whose structure is at fault.")
    ] = False,
    plugin: PluginFiles = None,
    parameter: Annotated[list[str] | None, SHARED_FLAGS["parameter"].option()] = None,
    json: JsonFlag = False,
) -> None:
    """Explain one picture: verdict, and a map and an overlay for every explainer."""
    from xaibench.cli.explain_one import explain_one

    parameters = parse_assignments(parameter or [])
    raise typer.Exit(
        explain_one(
            image, model, explainer or [], target, out, seed, device, accept_detector, plugin or [], parameters, json
        )
    )
