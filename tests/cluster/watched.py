"""A kind of objects kept as the API server has them, by a thread of its own: listed, then watched, and again when that breaks.

The tests' kubelet has its own and not ``argosy.kubernetes.watching``, so that a mistake there cannot hide itself.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.kubernetes.apiserver import ApiError, ApiServer

Object = dict[str, Any]
Key = tuple[str, str]
_WATCH_SECONDS = 30


def key_of(each: Object) -> Key:
    """Namespace and name."""
    return each["metadata"].get("namespace", ""), each["metadata"]["name"]


class Watched:
    """All objects at a path of the API, by namespace and name. ``changed`` is called in the watching thread at each change."""

    def __init__(self, server: ApiServer, path: str, changed: Callable[[], None]) -> None:
        self._server = server
        self._path = path
        self._changed = changed
        self._ended = threading.Event()
        self._listed = threading.Event()
        self._objects: dict[Key, Object] = {}
        self.version = 0
        """Grows with each change."""
        self._thread = threading.Thread(target=self._run, name=f"watch {path}", daemon=True)

    def start(self) -> None:
        """Return once all objects are here."""
        self._thread.start()
        if not self._listed.wait(30):
            raise TimeoutError(f"{self._path} could not be listed")

    def end(self) -> None:
        """Watch no more; the thread ends with its connection."""
        self._ended.set()

    def all(self) -> list[Object]:
        """Every object; to be read and not changed."""
        return list(self._objects.values())

    def get(self, namespace: str, name: str) -> Object | None:
        """One of them."""
        return self._objects.get((namespace, name))

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                listed = self._server.request("GET", self._path)
                self._objects = {key_of(each): each for each in listed["items"]}
                self._tell()
                self._listed.set()
                self._watch(listed["metadata"]["resourceVersion"])
            except (ApiError, OSError, ValueError):
                time.sleep(0.2)  # It is being restarted, or ended with the test.

    def _watch(self, version: str) -> None:
        while not self._ended.is_set():
            url = f"{self._server.url}{self._path}?watch=1&resourceVersion={version}&timeoutSeconds={_WATCH_SECONDS}"
            request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self._server.tokens['admin']}"})
            try:
                answer = self._server._opener.open(request, timeout=_WATCH_SECONDS + 10)
            except urllib.error.HTTPError as error:
                error.close()
                return
            with answer:
                for line in answer:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        return  # The version is too old: list anew.
                    each = event["object"]
                    version = each["metadata"]["resourceVersion"]
                    if event["type"] == "DELETED":
                        self._objects.pop(key_of(each), None)
                    else:
                        self._objects[key_of(each)] = each
                    self._tell()

    def _tell(self) -> None:
        self.version += 1
        if not self._ended.is_set():
            self._changed()
