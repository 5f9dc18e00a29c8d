"""A double of the services that webhooks are registered at: it keeps lists of webhooks and writes down what it is
asked. It speaks HTTP on a port of the loopback and knows how GitHub, GitLab, both Bitbuckets and Gerrit page, name
and answer; what it takes for granted of them is their documentation's word. No test against the real services.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Asked:
    """One call of the API."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass
class HookApi:
    """``style`` is whose API it is; ``lists`` are the webhooks by the path of their list."""

    style: str
    url: str = ""
    lists: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    """What other calls answer, by method and path."""
    refusing: tuple[int, dict[str, str]] | None = None
    """The status and headers that all calls are answered with."""
    says: str = "no"
    """What a refusal says."""
    next_id: int = 1

    def changes(self) -> list[tuple[str, str]]:
        """Method and path of the calls that changed something, in order."""
        return [(each.method, each.path) for each in self.asked if each.method != "GET"]

    def last(self, method: str) -> Asked:
        """The last call of this method."""
        return next(each for each in reversed(self.asked) if each.method == method)

    def add(self, path: str, hook: dict[str, Any]) -> dict[str, Any]:
        """A webhook that somebody else made; returns it as listed."""
        name = {"bitbucket": "uuid", "gerrit": "name"}.get(self.style, "id")
        made = {"uuid": f"{{{self.next_id}}}", "name": hook.get("name", f"another-{self.next_id}")}
        shown = {**hook, name: made.get(name, self.next_id)}
        self.next_id += 1
        # What services never show.
        shown.pop("token", None)
        shown.pop("secret", None)
        if "config" in shown:
            shown["config"] = {**shown["config"], **({"secret": "********"} if "secret" in shown["config"] else {})}
        self.lists.setdefault(path, []).append(shown)
        return shown

    def answer(self, asked: Asked, query: Mapping[str, list[str]]) -> tuple[int, dict[str, str], Any]:
        self.asked.append(asked)
        if self.refusing is not None:
            return (*self.refusing, {"message": self.says})
        if (call := (asked.method, asked.path.rstrip("/"))) in self.answers:
            return 200, {}, self.answers[call]
        if self.style == "gerrit":
            return self._gerrit(asked)
        parent, _, name = asked.path.rpartition("/")
        if asked.method == "GET":
            return self._page(asked.path, query)
        if asked.method == "POST" and parent not in self.lists:
            return 201, {}, self.add(asked.path, self._plain(asked.body))
        key = "uuid" if self.style == "bitbucket" else "id"
        hook = next((each for each in self.lists.get(parent, []) if str(each[key]) == unquote(name)), None)
        if hook is None:
            return 404, {}, {"message": "Not Found"}
        if asked.method == "DELETE":
            self.lists[parent].remove(hook)
            return 204, {}, None
        changed = self._plain(asked.body)
        hook.update({name: value for name, value in changed.items() if name not in ("secret", "token")})
        return 200, {}, hook

    def _gerrit(self, asked: Asked) -> tuple[int, dict[str, str], Any]:
        """A map of webhooks by their names; one PUT makes and changes."""
        place, _, name = asked.path.partition("/remotes/")
        path = f"{place}/remotes"
        if asked.method == "GET":
            shown = {hook["name"]: {**hook} for hook in self.lists.get(path, [])}
            for hook in shown.values():
                del hook["name"]
            return 200, {}, shown
        hook = next((each for each in self.lists.get(path, []) if each["name"] == unquote(name)), None)
        if asked.method == "DELETE":
            if hook is None:
                return 404, {}, {"message": "Not Found"}
            self.lists[path].remove(hook)
            return 204, {}, None
        if hook is not None:
            hook.update(asked.body)
            return 200, {}, hook
        return 201, {}, self.add(path, {"name": unquote(name), **asked.body})

    def _plain(self, body: Any) -> dict[str, Any]:
        """A webhook as it was asked for; Stripe's come as forms."""
        if self.style != "stripe":
            return dict(body)
        return {"url": body["url"][0], "enabled_events": body["enabled_events[]"]}

    def _page(self, path: str, query: Mapping[str, list[str]]) -> tuple[int, dict[str, str], Any]:
        """Two webhooks a page, so that pages are turned."""
        if self.style in ("stripe", "storageGrid"):
            return 200, {}, {"data": self.lists.get(path, [])}
        start = int(query.get("start", query.get("page", ["0"]))[0])
        items = self.lists.get(path, [])[start : start + 2]
        more = len(self.lists.get(path, [])) > start + 2
        following = f"{self.url}{path}?page={start + 2}"
        if self.style == "bitbucket":
            return 200, {}, {"values": items, **({"next": following} if more else {})}
        if self.style == "bitbucketserver":
            return 200, {}, {"values": items, "isLastPage": not more, "nextPageStart": start + 2 if more else None}
        return 200, {"Link": f'<{following}>; rel="next"'} if more else {}, items


@contextmanager
def hook_api(style: str, tls: ssl.SSLContext | None = None) -> Iterator[HookApi]:
    """The double, serving."""
    api = HookApi(style)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            form = self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
            body = parse_qs(text.decode()) if form else json.loads(text) if text else None
            asked = Asked(self.command, parts.path, dict(self.headers), body)
            status, headers, answer = api.answer(asked, parse_qs(parts.query))
            guard = b")]}'\n" if api.style == "gerrit" else b""
            data = b"" if answer is None else guard + json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

        def log_message(self, format: str, *args: Any) -> None:
            """Tests read ``asked``."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        api.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()
