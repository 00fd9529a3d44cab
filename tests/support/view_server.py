"""A server of ``xaibench view`` in this process, and a client that asks it as it stands on the wire."""

import http.client
import json
import socket
import threading
from contextlib import contextmanager

import uvicorn
from headless import wait_for

from xaibench_report.view.server import make_app

TOKEN = "secret-token"


class Reply:
    def __init__(self, response):
        self.status = response.status
        self.headers = {k.lower(): v for k, v in response.getheaders()}
        self.text = response.read().decode()

    def json(self):
        assert self.status == 200, self.text
        return json.loads(self.text)


class Client:
    """Asks a server as it stands on the wire: no path is tidied up on the way."""

    def __init__(self, port):
        self.port = port

    def get(self, path, headers=None, method="GET"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, headers=headers or {})
            return Reply(connection.getresponse())
        finally:
            connection.close()

    def own(self, path, **more):
        return self.get(f"/{TOKEN}/{path}", **more)


@contextmanager
def served(live, title="run"):
    """A client of a server that shows ``live``."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = uvicorn.Config(make_app(live, TOKEN, port, title), log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield Client(port)
    finally:
        server.should_exit = True
        live.end()
        thread.join(30)
