"""``argosy actions show`` says of a ``k8s`` and a ``slack`` action that failed what happened, what to do, and whether another try may help.

``http`` is shown by ``tests/cli/test_action_blocks.py``; what every kind answers to every failure by its suite.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.cli.running import Run, free_port, http
from tests.kubernetes.apiserver import ApiServer

TOKEN = "xoxb-s3cr3t"
_RETRY = {"steps": 2, "duration": "10ms"}
_ANSWERS = {"/missing": (200, "channel_not_found"), "/limited": (429, "ratelimited"), "/broken": (503, "unwell")}


@contextmanager
def _slack() -> Iterator[str]:
    """Slack's Web API, which answers as its documents have it: by the first part of the path always the same."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, error = _ANSWERS[self.path.removesuffix("/chat.postMessage")]
            body = json.dumps({"ok": False, "error": error}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Retry-After", "300")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _object(name: str, **fields: Any) -> dict[str, Any]:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}}
    return {"k8s": {"operation": "create", "source": {"resource": body}, **fields}}


def _message(url: str) -> dict[str, Any]:
    token = {"name": "slack", "key": "token"}
    return {"slack": {"slackToken": token, "channel": "ops", "message": "hello", "apiURL": url}}


class _System:
    """A run with one webhook and one trigger for each way to fail, and the command that looks at it."""

    def __init__(self, folder: Path, triggers: dict[str, dict[str, Any]], namespace: str, kubeconfig: Path) -> None:
        folder.mkdir()
        self.run = Run(folder)
        self._port = free_port()
        about = {"apiVersion": "argoproj.io/v1alpha1", "metadata": {"name": "orders", "namespace": namespace}}
        webhook = {"in": {"port": str(self._port), "endpoint": "/in", "method": "POST"}}
        dependencies = [{"name": "order", "eventSourceName": "orders", "eventName": "in"}]
        listed = [{"template": {"name": name, **block}, "retryStrategy": _RETRY} for name, block in triggers.items()]
        manifests = [
            {**about, "kind": "EventSource", "spec": {"webhook": webhook}},
            {**about, "kind": "Sensor", "spec": {"dependencies": dependencies, "triggers": listed}},
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "slack", "namespace": namespace},
                "stringData": {"token": TOKEN},
            },
        ]
        self.run.write("all.yaml", yaml.safe_dump_all(manifests))
        self.run.start({"KUBECONFIG": str(kubeconfig)})

    def post(self) -> None:
        self.run.until_ready()
        assert http(f"http://127.0.0.1:{self._port}/in", b'{"text": "one"}')[0] == 200

    def argosy(self, *words: str) -> str:
        command = [sys.executable, "-m", "argosy.cli.main", *words, "--data", str(self.run.folder / "data")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert TOKEN not in done.stdout
        return done.stdout

    def failed(self, count: int) -> dict[str, dict[str, Any]]:
        """The actions that are given up or rest, by their trigger, once there are so many."""
        found: dict[str, dict[str, Any]] = {}

        def there() -> bool:
            listed = json.loads(self.argosy("actions", "list", "-o", "json"))["actions"]
            found.update({one["trigger"]: one for one in listed if one["state"] in ("dead", "resting")})
            return len(found) == count

        self.run.until(there, f"not {count} have failed")
        return found


def test_the_page_of_an_action_says_what_failed_and_whether_another_try_may_help(
    apiserver: ApiServer, namespace: str, tmp_path: Path
) -> None:
    apiserver.service_account(namespace, "powerless")
    nowhere = f"http://127.0.0.1:{free_port()}"
    with _slack() as slack:
        # Given triggers that fail, each in a way of its own, and one whose API server is not there
        here = {
            "wrong-object": _object("Not A Name"),
            "no-rights": _object("one", serviceAccountName="powerless"),
            "no-channel": _message(f"{slack}/missing"),
            "too-many": _message(f"{slack}/limited"),
            "broken": _message(f"{slack}/broken"),
            "no-slack": _message(nowhere),
        }
        good = apiserver.kubeconfig(tmp_path / "good", namespace=namespace)
        bad = tmp_path / "bad"
        bad.write_text(good.read_text().replace(apiserver.url, nowhere.replace("http:", "https:")))
        systems = [
            _System(tmp_path / "here", here, namespace, good),
            _System(tmp_path / "nowhere", {"no-cluster": _object("one")}, namespace, bad),
        ]
        try:
            # When their event comes
            for system in systems:
                system.post()
            # Then the page of each action says the class and a sentence
            for triggers, system in zip((here, {"no-cluster": 1}), systems, strict=True):
                for trigger, one in system.failed(len(triggers)).items():
                    page = system.argosy("actions", "show", one["id"], "--trigger", trigger)
                    for words in _WANTED[trigger]:
                        assert words in page, f"{trigger}: {words!r} is not in\n{page}"
        finally:
            for system in systems:
                system.run.end(signal.SIGKILL)


_WANTED = {
    "wrong-object": ("class    rejected", "Not A Name", "argosy actions redrive"),
    "no-rights": ("class    rejected", "powerless", "configmaps", "argosy actions redrive"),
    "no-channel": ("class    rejected", "channel_not_found"),
    "too-many": ("class    retried: another try may help", "answered 429", "next try"),
    "broken": ("class    retried: another try may help", "answered 503", "next try"),
    "no-slack": ("class    exhausted: its tries are used up", "nothing listens there", "argosy actions redrive"),
    "no-cluster": ("class    exhausted: its tries are used up", "nothing listens there", "argosy actions redrive"),
}
