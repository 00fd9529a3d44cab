"""The server of ``xaibench view``: a few addresses on this machine, behind a token.

It writes nothing. It reads the run and the pictures of its data set, by the ids of samples and never by a path. Every
address begins with the token; a wrong one, a foreign host name (another site that resolves to this machine) and every
method but GET are refused.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from xaibench.api import UnreadablePicture, UsageError, XaibenchError, printable
from xaibench_report.view.live_run import LiveRun
from xaibench_report.view.served_page import served_page

HOST: Final = "127.0.0.1"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_ENTRY: Final = "browser-entry-"


def make_app(run: LiveRun, token: str, port: int, title: str) -> Starlette:
    """The application that shows a run to who knows the token."""

    def page(request: Request) -> Response:
        html, policy = served_page(run.state, title)
        run.start()  # only now, so that the first screen does not wait for the boards
        return HTMLResponse(html, headers={"Content-Security-Policy": policy})

    def status(request: Request) -> Response:
        return _json(dict(run.status()))

    def pictures(request: Request) -> Response:
        return _json(run.state.catalogue.page(dict(request.query_params)))

    def data(request: Request) -> Response:
        name = request.path_params["name"]
        if not name.startswith(_ENTRY):
            return _refusal(404, "no such data")
        sample = name.removeprefix(_ENTRY)
        try:
            return _json(run.entry(sample))
        except KeyError:
            return _refusal(404, "no such sample")
        except UnreadablePicture as error:
            return _json({"sample": printable(sample), "failed": error.what})

    routes = [
        Route(f"/{token}/", _in_thread(page)),
        Route(f"/{token}/status", _in_thread(status)),
        Route(f"/{token}/pictures", _in_thread(pictures)),
        Route(f"/{token}/data/{{name:path}}", _in_thread(data)),
    ]
    hosts = {f"{name}:{port}" for name in (HOST, "localhost")}
    return Starlette(routes=routes, middleware=[Middleware(Guard, hosts=frozenset(hosts), token=token)])


class Guard:
    """Refuses foreign host names, other methods and wrong tokens before anything is looked up."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str], token: str) -> None:
        self.app, self.hosts, self.token = app, hosts, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        await (refusal or self.app)(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        request = Request(scope)
        if request.headers.get("host", "") not in self.hosts:
            return _refusal(403, "another host name than 127.0.0.1 and localhost")
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return _refusal(403, "asked for by another site")
        if request.method not in ("GET", "HEAD"):
            return _refusal(405, "only GET is answered")
        given = scope["path"].lstrip("/").partition("/")[0]
        if not secrets.compare_digest(given.encode(), self.token.encode()):
            return _refusal(403, "the token is missing or wrong: open the address that xaibench view printed")
        return None


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = [(k.lower().encode(), v.encode()) for k, v in _HEADERS.items()]
            known = {name for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(h for h in headers if h[0] not in known)]
        await send(message)

    return send_with_headers


def _in_thread(answer: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
    async def handler(request: Request) -> Response:
        try:
            return await run_in_threadpool(answer, request)
        except UsageError as error:
            return _refusal(400, f"{error.what}; {error.mend}")
        except XaibenchError as error:
            return _refusal(500, error.what)

    return handler


def _json(value: Any) -> Response:
    return Response(json.dumps(value, allow_nan=False), media_type="application/json")


def _refusal(code: int, why: str) -> Response:
    return PlainTextResponse(f"{why}\n", status_code=code)
