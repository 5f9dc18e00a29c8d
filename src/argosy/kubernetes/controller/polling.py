"""Asks the pods how the objects that they serve are doing: last event, last fired, last error, backlog, dead letters.

Each pod answers ``GET /api/v1/status`` for all that it serves. What the latest answers said is kept by object; an object whose answer
changed is looked at, and its status tells it. A pod that does not answer changes nothing: the status keeps what was true last.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Callable, Iterable
from typing import Any

from argosy.errors import ArgosyError
from argosy.kubernetes.client import Object
from argosy.kubernetes.controller.caches import Caches
from argosy.kubernetes.names import API_SECRET, API_TOKEN_KEY, CONTROLLER
from argosy.manifests.bundle import Key

_log = logging.getLogger("argosy.controller")
PORT = 7777
_AT_ONCE, _SECONDS, _LONGEST_ANSWER = 32, 5.0, 4 * 2**20
_FIELDS: dict[str, type] = {
    "events": int,
    "lastEvent": str,
    "lastFired": str,
    "lastError": dict,
    "backlog": int,
    "deadLetters": int,
}


class Reports:
    """What pods said last, by the object that it is about."""

    def __init__(self) -> None:
        self._found: dict[Key, dict[str, dict[str, Any]]] = {}
        self._role: dict[str, str] = {}
        self.complete = False
        """Whether all pods have been asked once."""

    def take(self, pod: str, namespace: str, role: str, answer: Any) -> list[Key]:
        """Note what a pod said; the objects of which it says something else now. ``role`` is its label ``controller``, empty of one
        that is gone.
        """
        if role:
            self._role[pod] = role
        else:
            self._role.pop(pod, None)
        moved = []
        said: dict[Key, dict[str, Any]] = {}
        objects = answer.get("objects") if isinstance(answer, dict) else None
        for one in objects if isinstance(objects, list) else ():
            # A pod speaks of its own namespace, whatever it says.
            if isinstance(one, dict) and one.get("kind") in ("EventSource", "Sensor"):
                said[Key(one["kind"], namespace, str(one.get("name")))] = one
        for key in {*said, *(key for key, by_pod in self._found.items() if pod in by_pod)}:
            before = self._found.get(key, {}).get(pod)
            if before == said.get(key):
                continue
            moved.append(key)
            if key in said:
                self._found.setdefault(key, {})[pod] = said[key]
            else:
                del self._found[key][pod]
                if not self._found[key]:
                    del self._found[key]
        return sorted(moved)

    def forget(self, pods: Iterable[str]) -> list[Key]:
        """Let go of what all other pods than these said; the objects that it was about."""
        return sorted({key for pod in set(self._role) - set(pods) for key in self.take(pod, "", "", {})})

    def pods(self, key: Key) -> dict[str, dict[str, Any]]:
        """What each pod says of the object."""
        return self._found.get(key, {})

    def ready(self, key: Key, role: str) -> bool:
        """Whether a pod of this role says that it serves the object now."""
        return any(one.get("ready") and self._role.get(pod) == role for pod, one in self.pods(key).items())

    def waiting_for(self, key: Key) -> str:
        """What keeps the object from being ready, as a clause."""
        waiting = (one for one in self.pods(key).values() if one.get("waitingFor") and not one.get("ready"))
        return next((str(one["waitingFor"]) for one in waiting), "")

    def fields(self, key: Key) -> dict[str, Any]:
        """The fields of the object's status. Several pods: counts are the largest, since all count on one bus; times the latest."""
        found: dict[str, Any] = {}
        for one in self.pods(key).values():
            for field, kind in _FIELDS.items():
                value, known = one.get(field), found.get(field)
                if isinstance(value, kind) and (known is None or _order(value) > _order(known)):
                    found[field] = value
        return found


def _order(value: Any) -> Any:
    return str(value.get("time")) if isinstance(value, dict) else value


class Poll:
    """Asks all pods, again and again."""

    def __init__(self, caches: Caches, reports: Reports, moved: Callable[[Key], None], seconds: float) -> None:
        """``moved`` is told of each object of which a pod says something new."""
        self._caches = caches
        self._reports = reports
        self._moved = moved
        self._seconds = seconds

    async def run(self) -> None:
        """Ask until cancelled."""
        import httpx2

        limits = httpx2.Limits(max_connections=_AT_ONCE, max_keepalive_connections=0)
        async with httpx2.AsyncClient(timeout=_SECONDS, limits=limits, trust_env=False) as http:
            while True:
                await self._round(http)
                if not self._reports.complete:
                    self._reports.complete = True
                    for item in (*self._caches.each("EventSource"), *self._caches.each("Sensor")):
                        self._moved(Key(item["kind"], item["metadata"]["namespace"], item["metadata"]["name"]))
                await asyncio.sleep(self._seconds)

    async def _round(self, http: Any) -> None:
        pods = {_uid(pod): pod for pod in self._caches.each("Pod") if _runs(pod)}
        for key in self._reports.forget(pods):
            self._moved(key)
        tokens: dict[str, str] = {}
        for namespace in {pod["metadata"]["namespace"] for pod in pods.values()}:
            tokens[namespace] = await self._token(namespace)
        slots = asyncio.Semaphore(_AT_ONCE)

        async def ask(uid: str, pod: Object) -> None:
            async with slots:
                answer = await self._answer(http, pod, tokens[pod["metadata"]["namespace"]])
            if answer is not None:
                about = pod["metadata"]
                role = about.get("labels", {}).get(CONTROLLER, "")
                for key in self._reports.take(uid, about["namespace"], role, answer):
                    self._moved(key)

        async with asyncio.TaskGroup() as group:
            for uid, pod in pods.items():
                group.create_task(ask(uid, pod))

    async def _token(self, namespace: str) -> str:
        try:
            secret = await self._caches.read("Secret", namespace, API_SECRET)
            held = ((secret or {}).get("data") or {}).get(API_TOKEN_KEY) or ""
            return base64.b64decode(held, validate=True).decode()
        except (ArgosyError, binascii.Error, UnicodeDecodeError) as error:
            _log.info("the pods of %s cannot be asked: %s", namespace, error, extra={"action": "status.token"})
            return ""

    async def _answer(self, http: Any, pod: Object, token: str) -> Any:
        import httpx2
        import orjson

        address = pod["status"]["podIP"]
        host = f"[{address}]" if ":" in address else address
        try:
            async with http.stream(
                "GET", f"http://{host}:{PORT}/api/v1/status", headers={"X-Argosy-Token": token}
            ) as response:
                if response.status_code != 200:
                    return None
                body = b""
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > _LONGEST_ANSWER:
                        return None
            return orjson.loads(body)
        except (httpx2.HTTPError, orjson.JSONDecodeError, OSError) as error:
            _log.debug("pod %s does not answer: %s", pod["metadata"]["name"], error, extra={"action": "status.silent"})
            return None


def _uid(pod: Object) -> str:
    return str(pod["metadata"]["uid"])


def _runs(pod: Object) -> bool:
    status = pod.get("status") or {}
    return (
        status.get("phase") == "Running"
        and bool(status.get("podIP"))
        and not pod["metadata"].get("deletionTimestamp")
        and pod["metadata"].get("labels", {}).get("controller") != "eventbus-controller"
    )
