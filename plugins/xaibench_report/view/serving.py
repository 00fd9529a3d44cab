"""Serving a run until Ctrl-C."""

from __future__ import annotations

import contextlib
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import uvicorn

from xaibench.api import UsageError
from xaibench_report.view.live_run import LiveRun
from xaibench_report.view.server import HOST, make_app

_HEAD_START: Final = 3.0  # seconds that the first screen has for itself


def serve(
    run: str | Path,
    *,
    port: int = 0,
    open_browser: bool = True,
    baseline: str | None = None,
    by: Sequence[str] = (),
    plugin: Sequence[Path] = (),
) -> None:
    """Serve the page of a run on the loopback address until the process is interrupted.

    The address with its token is printed on stdout. Raises :class:`UsageError` where the port is taken, and
    :class:`~xaibench.api.StoreError` where the folder is no run.
    """
    from xaibench import open_run

    live = LiveRun(lambda: open_run(run, plugin=plugin), baseline, by)
    token = secrets.token_urlsafe(24)
    with _listening(port) as listener:
        bound = listener.getsockname()[1]
        app = make_app(live, token, bound, f"xaibench view: {run}")
        config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, lifespan="off")
        address = f"http://{HOST}:{bound}/{token}/"
        print(address, flush=True)
        print("Ctrl-C ends it", file=sys.stderr)
        head_start = threading.Timer(_HEAD_START, live.start)
        head_start.start()
        try:
            if open_browser:
                webbrowser.open(address)
            with contextlib.suppress(KeyboardInterrupt):  # the usual way to end it
                uvicorn.Server(config).run(sockets=[listener])
        finally:
            head_start.cancel()
            live.end()


def _listening(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()  # whoever has the address may ask at once
    except OSError as error:
        listener.close()
        raise UsageError(f"port {port} cannot be had: {error.strerror}", "leave --port off for any free one") from None
    return listener
