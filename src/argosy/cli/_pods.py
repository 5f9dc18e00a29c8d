"""The pods of ours in a namespace of a cluster, and asking one of them through the API server's proxy.

A pod's own API listens inside the cluster only. The API server passes questions on to it
(``/api/v1/namespaces/…/pods/NAME:PORT/proxy/…``, Kubernetes documentation, "Manually constructing apiserver proxy URLs"), and keeps the
``Authorization`` header for itself; so the pod's token, which is in a Secret, goes as ``X-Argosy-Token``. Who asks needs to list pods, to get and
create ``pods/proxy``, and to get that one Secret: ``argosy rbac --cli``.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from argosy.cli._apiserver import Server, Status, said_by_server
from argosy.cli._client import Client, Refused, target_of
from argosy.kubernetes import names

RIGHTS = "'argosy rbac --cli' prints the rights that this needs"
_PORT = 7777
_KINDS = {"eventsource-service": "EventSource", "sensor-service": "Sensor", "runner-service": "Runner"}
"""What a pod serves, by the word that its container is started with."""
_LABELS = {"EventSource": names.EVENT_SOURCE_NAME, "Sensor": names.SENSOR_NAME}


class Unreachable(Refused):
    """This pod did not answer; another one may."""


@dataclass(frozen=True)
class Pod:
    """One pod of ours. ``serves`` is the name of its EventSource or Sensor, empty for a runner; ``trouble`` says why it cannot be
    asked, empty where it can.
    """

    name: str
    kind: str
    serves: str
    port: int = _PORT
    ready: bool = True
    trouble: str = ""
    bus: str = field(default="", repr=False)
    """What tells the bus of a dedicated pod from others."""

    @property
    def shown(self) -> str:
        """As a sentence names it."""
        of = f" of {self.kind} '{self.serves}'" if self.kind in _LABELS else ""
        return f"pod '{self.name}'{of}"


class PodClient(Client):
    """The pods that do the same, of which one is asked, through the API server: ``pod``, and the next for a question that it does not answer.

    Every runner can be asked for all that runners serve: each knows all of their manifests, and the rest is on the bus.
    """

    def __init__(self, server: Server, namespace: str, same: Sequence[Pod], token: str) -> None:
        self._server = server
        self._namespace = namespace
        self.pod, *self._others = same
        self._token = token

    @property
    def _named(self) -> str:
        return self.pod.shown

    @property
    def _shown(self) -> str:
        return self.pod.shown

    def _ask(
        self, method: str, path: str, query: Mapping[str, object], body: object, seconds: float
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        try:
            return self._ask_pod(method, path, query, body, seconds)
        except Unreachable:
            # An order may have been heard although nobody answered; it is not given twice.
            if method != "GET" or not self._others:
                raise
            self.pod = self._others.pop(0)
            return self._ask(method, path, query, body, seconds)

    def _ask_pod(
        self, method: str, path: str, query: Mapping[str, object], body: object, seconds: float
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        if self.pod.trouble:
            raise Unreachable(f"{self.pod.shown} cannot be asked: {self.pod.trouble}")
        headers, sent = {"X-Argosy-Token": self._token}, None
        if "%2F" in path:
            # The proxy would unpack it, and the pod take it for two steps.
            headers["X-Argosy-Path"] = target_of(path, {})
            path = "/-"
        if body is not None:
            sent, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        place = f"/api/v1/namespaces/{quote(self._namespace, safe='')}/pods/{quote(self.pod.name, safe='')}:{self.pod.port}/proxy"
        connection, answer = self._server.send(method, place + target_of(path, query), sent, headers, seconds)
        if answer.status < 400:
            return connection, answer
        try:
            raw = answer.read()
        except (OSError, http.client.HTTPException):
            raw = b""
        finally:
            connection.close()
        raise self._why(answer.status, raw, method)

    def _why(self, status: int, raw: bytes, method: str) -> Refused:
        said = said_by_server(raw)
        if said is not None and status == 403:
            verb = "get" if method == "GET" else "create"
            return Refused(f"you may not {verb} pods/proxy in namespace '{self._namespace}': {said}; {RIGHTS}", 403)
        if said is not None and status == 404:
            return Unreachable(f"{self.pod.shown} is gone")
        if said is not None:
            return Unreachable(f"{self.pod.shown} does not answer: {said}")
        try:
            sentence = str(json.loads(raw)["error"])
        except (ValueError, KeyError, TypeError):
            if status >= 500:
                text = " ".join(raw[:200].decode(errors="replace").split()) or f"HTTP {status}"
                return Unreachable(f"{self.pod.shown} does not answer: {text}")
            return Unreachable(f"{self.pod.shown} is no pod of Argosy (it answers {status})")
        if status == 401:
            return Unreachable(
                f"{self.pod.shown} does not accept the token of Secret '{names.API_SECRET}'; it was started with another one: restart it",
                401,
            )
        return Refused(sentence, status)


def token(server: Server, namespace: str) -> str:
    """What opens the API of the pods of this namespace. Raises Refused."""
    what = f"Secret '{names.API_SECRET}' in namespace '{namespace}'"
    try:
        secret = server.get(f"/api/v1/namespaces/{quote(namespace, safe='')}/secrets/{names.API_SECRET}")
    except Status as status:
        if status.code == 403:
            raise Refused(f"you may not get {what}: {status}; {RIGHTS}", 403) from None
        if status.code == 404:
            raise Refused(
                f"there is no {what}, which opens the API of the pods there; the controller makes it, is it running?",
                404,
            ) from None
        raise Refused(f"{what} cannot be read: {status}", status.code) from None
    try:
        return base64.b64decode((secret.get("data") or {})[names.API_TOKEN_KEY], validate=True).decode()
    except (KeyError, TypeError, binascii.Error, UnicodeError):
        raise Refused(
            f"{what} has no usable key '{names.API_TOKEN_KEY}'; delete it, and the controller makes it anew"
        ) from None


def pods(server: Server, namespace: str) -> list[list[Pod]]:
    """The pods of ours in a namespace: those that do the same together, the ready ones first. Raises Refused where there is none."""
    path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods"
    try:
        listed = [_pod(one) for one in server.items(path, labels=names.CONTROLLER)]
    except Status as status:
        if status.code == 403:
            raise Refused(f"you may not list pods in namespace '{namespace}': {status}; {RIGHTS}", 403) from None
        raise Refused(f"the pods of namespace '{namespace}' cannot be listed: {status}", status.code) from None
    found = [one for one in listed if one is not None]
    if not found:
        raise Refused(_none(server, namespace), 404)
    found.sort(key=lambda one: (bool(one.trouble), not one.ready, one.name))
    same: dict[tuple[str, str], list[Pod]] = {}
    for one in found:
        same.setdefault((one.kind, one.serves), []).append(one)
    return [same[place] for place in sorted(same)]


def _pod(raw: Mapping[str, Any]) -> Pod | None:
    """The pod as its object describes it; None if it is not ours, or ends."""
    about, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    if about.get("deletionTimestamp") or status.get("phase") in ("Succeeded", "Failed"):
        return None
    for container in spec.get("containers") or ():
        kind = next((_KINDS[word] for word in container.get("args") or () if word in _KINDS), "")
        environment = {each["name"]: str(each.get("value") or "") for each in container.get("env") or ()}
        # Pods of Argo Events have the same labels and words; only ours are given what opens their API.
        if kind and "ARGOSY_API_TOKEN" in environment:
            break
    else:
        return None
    labels = about.get("labels") or {}
    serves = labels.get(_LABELS[kind]) or about["name"] if kind in _LABELS else ""
    ports = [each.get("containerPort") for each in container.get("ports") or () if each.get("name") == "metrics"]
    ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in status.get("conditions") or ())
    return Pod(
        about["name"], kind, serves, int((ports or [_PORT])[0] or _PORT), ready, _trouble(status),
        environment.get("EVENTBUS_CONFIG", ""),
    )  # fmt: skip


def _trouble(status: Mapping[str, Any]) -> str:
    if status.get("phase") == "Running" and status.get("podIP"):
        return ""
    for one in status.get("containerStatuses") or ():
        waiting = (one.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            return f"its container waits: {waiting['reason']}" + (
                f", {waiting['message']}" if waiting.get("message") else ""
            )
    for one in status.get("conditions") or ():
        if one.get("status") == "False" and one.get("message"):
            return f"it is {status.get('phase', 'Pending')}: {one['message']}"
    return f"it is {status.get('phase', 'Pending')}"


def _none(server: Server, namespace: str) -> str:
    """Why there is no pod of ours in a namespace, as well as can be told."""
    try:
        server.get(f"/api/v1/namespaces/{quote(namespace, safe='')}")
    except Status as status:
        if status.code == 404:
            return f"there is no namespace '{namespace}' on this cluster"
    none = f"no pod of Argosy runs in namespace '{namespace}'"
    counted = {}
    for plural, what in (("eventsources", "EventSources"), ("sensors", "Sensors")):
        path = f"/apis/{names.GROUP_VERSION}/namespaces/{quote(namespace, safe='')}/{plural}"
        try:
            counted[what] = len(list(server.items(path)))
        except Status as status:
            if status.code == 404:
                return f"{none}: Argosy is not installed on this cluster ('argosy install' prints what to apply)"
            return none
    if not any(counted.values()):
        return f"{none}: there is no EventSource and no Sensor"
    what = " and ".join(f"{number} {kind}" for kind, number in counted.items() if number)
    return f"{none}, though it holds {what}: does the controller run ('argosy install'), and are they its ('{names.RESPONSIBLE}')?"
