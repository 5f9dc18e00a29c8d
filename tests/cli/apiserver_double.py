"""A double of a Kubernetes API server, for what commands ask it: a list of pods, the Secret, and the way through to pods' APIs."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from base64 import b64encode
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import yaml

Answer = tuple[int, Any]
PodApi = Callable[[str, str, dict[str, str], Any], Answer]
"""What a pod answers: method, path below ``/api/v1``, query and body in; status and JSON (or text) out."""
TOKEN = "t0ken"


def pod(
    name: str, kind: str, serves: str, *, bus: str = "one", ready: bool = True, ours: bool = True, **status: Any
) -> Any:
    """A Pod object as our workloads make it."""
    word, label = {
        "EventSource": ("eventsource-service", "eventsource-name"),
        "Sensor": ("sensor-service", "sensor-name"),
        "Runner": ("runner-service", "owner-name"),
    }[kind]
    env = [{"name": "EVENTBUS_CONFIG", "value": bus}] + ([{"name": "ARGOSY_API_TOKEN"}] if ours else [])
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "metadata": {"name": name, "labels": {"controller": "x", label: serves}},
        "spec": {"containers": [{"name": "main", "args": [word], "env": env}]},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": conditions, **status},
    }


class ApiServerDouble:
    """One namespace, ``shop``. ``pods`` are its Pod objects, ``apis`` what answers for each by name; ``asked`` tells who was asked what."""

    def __init__(self, folder: Path) -> None:
        self.pods: list[Any] = []
        self.apis: dict[str, PodApi] = {}
        self.asked: list[tuple[str, str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port = self._server.server_port
        self.kubeconfig = folder / "kubeconfig"
        cluster = {"server": f"http://127.0.0.1:{self._server.server_port}"}
        self.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "clusters": [{"name": "c", "cluster": cluster}],
                    "users": [{"name": "u", "user": {"token": "a-person"}}],
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
                    "current-context": "x",
                }
            )
        )

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, described: Any, api: PodApi) -> None:
        """A pod and what answers for it."""
        self.pods.append(described)
        self.apis[described["metadata"]["name"]] = api

    def answer(self, method: str, target: str, headers: Any, body: Any) -> Answer:
        """What the server says to one request."""
        path, query = urlsplit(target).path, dict(parse_qsl(urlsplit(target).query))
        if headers["Authorization"] != "Bearer a-person":
            return 401, _status(401, "Unauthorized")
        root = "/api/v1/namespaces/shop"
        if path == f"{root}/pods":
            return 200, {"items": self.pods}
        if path == f"{root}/secrets/argosy-api":
            return 200, {"data": {"token": b64encode(TOKEN.encode()).decode()}}
        if path.startswith(f"{root}/pods/"):
            name, _, rest = path.removeprefix(f"{root}/pods/").partition(":7777/proxy/api/v1")
            if headers["X-Argosy-Token"] != TOKEN:
                return 401, {"error": "the token is missing or wrong"}
            self.asked.append((name, method, rest))
            return self.apis[name](method, rest, query, body)
        return 404, _status(404, f"{path} is not there")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        double = self

        class Handler(BaseHTTPRequestHandler):
            def _do(self) -> None:
                length = int(self.headers["Content-Length"] or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                status, said = double.answer(self.command, self.path, self.headers, body)
                raw = said.encode() if isinstance(said, str) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = _do

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


def _status(code: int, message: str) -> Any:
    return {"apiVersion": "v1", "kind": "Status", "code": code, "message": message}


def unreachable(*_: Any) -> Answer:
    """What the API server says of a pod where nobody listens."""
    return 503, _status(503, "error trying to reach service: dial tcp 10.0.0.1:7777: connect: connection refused")


class Proxy:
    """An HTTP proxy that leads every CONNECT to one port, and tells where to it was asked for."""

    def __init__(self, port: int) -> None:
        self.asked: list[str] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_CONNECT(self) -> None:
                proxy.asked.append(self.path)
                with socket.create_connection(("127.0.0.1", port)) as there:
                    self.send_response(200)
                    self.end_headers()
                    back = threading.Thread(target=_pour, args=(there, self.connection), daemon=True)
                    back.start()
                    _pour(self.connection, there)
                    back.join(10)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _pour(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := one.recv(65536):
            other.sendall(chunk)
        other.shutdown(socket.SHUT_WR)
