"""A repository that a test fills, and a real git server for it over HTTP (``git http-backend``), with a user and a password."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self


class Repository:
    """A repository with a work tree; ``commit`` makes what the tests ask for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=master")
        for key, value in (
            ("user.name", "Test"),
            ("user.email", "test@example.com"),
            ("uploadpack.allowAnySHA1InWant", "true"),
        ):
            self.git("config", key, value)

    def git(self, *arguments: str) -> str:
        environment = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
        done = subprocess.run(["git", *arguments], cwd=self.folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, files: dict[str, str]) -> str:
        """The new commit's id."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "change")
        return self.git("rev-parse", "HEAD")


class GitHttp:
    """Serves the repositories below ``root`` on loopback; a context manager. Without ``password`` to anybody."""

    def __init__(self, root: Path, password: str = "", user: str = "robot") -> None:
        self.made: dict[str, bytes] = {}
        """What it answers to these paths with 201, as the API beside a repository does."""
        self.requests: list[tuple[str, str]] = []
        self.sent = 0
        """Bytes of packs that were sent."""
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._serve(b"")

            def do_POST(self) -> None:
                self._serve(self.rfile.read(int(self.headers["Content-Length"])))

            def _serve(self, body: bytes) -> None:
                path, _, query = self.path.partition("?")
                served.requests.append((self.command, path))
                if path in served.made:
                    self.send_response(201)
                    self.end_headers()
                    self.wfile.write(served.made[path])
                    return
                login = base64.b64encode(f"{user}:{password}".encode()).decode()
                if password and self.headers.get("Authorization") != f"Basic {login}":
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="git"')
                    self.end_headers()
                    return
                environment = {
                    **os.environ,
                    "GIT_PROJECT_ROOT": str(root),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "PATH_INFO": path,
                    "QUERY_STRING": query,
                    "REQUEST_METHOD": self.command,
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                    "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                    "GIT_CONFIG_COUNT": "1",
                    "GIT_CONFIG_KEY_0": "safe.directory",
                    "GIT_CONFIG_VALUE_0": "*",
                }
                done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True)
                head, _, answer = done.stdout.partition(b"\r\n\r\n")
                headers = [line.split(": ", 1) for line in head.decode().splitlines()]
                self.send_response(next((int(value.split()[0]) for key, value in headers if key == "Status"), 200))
                for key, value in headers:
                    if key != "Status":
                        self.send_header(key, value)
                self.end_headers()
                self.wfile.write(answer)
                served.sent += len(answer) if self.command == "POST" and b"PACK" in answer else 0

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
