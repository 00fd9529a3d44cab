"""``xaibench view``: declared here, what serves is imported when the command is given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xaibench.api import SHARED_FLAGS, RunFolder, UsageError, help_page


@help_page("Read a run", "xaibench view xaibench-runs/RUN", "xaibench view RUN --port 8765 --no-browser")
def view(
    run: RunFolder,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port on this machine; 0: any free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page in the browser.")] = False,
    baseline: Annotated[
        str | None, typer.Option(help="Model of the run beside which accuracy and interpretability are balanced.")
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(help="Show every board by the values of this column of the samples, too; may be repeated."),
    ] = None,
    plugin: Annotated[
        list[Path] | None,
        SHARED_FLAGS["plugin"].option("new place of a plugin file of the run that was moved, of the same name"),
    ] = None,
) -> None:
    """Look at a run in the browser: the report's page with every picture, also while the run goes on.

    The page is served on this machine alone, at an address with a token. Ctrl-C ends it. It needs the extra `view`.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise UsageError("xaibench view needs starlette and uvicorn", "pip install 'xaibench[view]'") from None
    from xaibench_report.view.serving import serve

    serve(
        run, port=port, open_browser=not no_browser, baseline=baseline, by=tuple(by or ()), plugin=tuple(plugin or ())
    )
