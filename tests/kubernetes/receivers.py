"""The API server as a receiver of triggers' actions, behind a cable that can be held and cut."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest

from argosy.manifests.fields import Json
from argosy.triggers._objects import ACTION_ID
from tests.conformance.trigger import Receiver, Stage
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.relay import Relay
from tests.unit.triggers.receivers import Answer, HttpServer

_TOO_MANY = b'{"kind":"Status","apiVersion":"v1","status":"Failure","message":"too many requests, please try again later","code":429}'


class ClusterReceiver(Receiver):
    """Effects are the objects of one kind in one namespace. ``block`` makes one; ``bad_block``
    cannot ever.
    """

    deduplicates = True
    hastened: ClassVar[dict[str, Json]] = {"argosy.kubernetes.client._CALL_SECONDS": 0.3}

    def __init__(
        self,
        apiserver: ApiServer,
        relay: Relay,
        namespace: str,
        path: str,
        block: dict[str, Any],
        bad_block: dict[str, Any],
        overloaded: HttpServer,
    ) -> None:
        self._overloaded = overloaded
        self.private = (apiserver.tokens["admin"],)
        self.address = f"127.0.0.1:{relay.port}"
        self.namespace = namespace
        self.block = block
        self._bad_block = bad_block
        self._good_block = block
        self._apiserver = apiserver
        self._relay = relay
        self._path = path

    def objects(self) -> list[Any]:
        """What is there, in the order in which it was made."""
        items: list[Any] = self._apiserver.request("GET", self._path)["items"]
        mine = [each for each in items if ACTION_ID in (each["metadata"].get("annotations") or {})]
        return sorted(mine, key=lambda each: int(each["metadata"]["resourceVersion"]))

    async def effects(self) -> list[str]:
        return [each["metadata"]["annotations"][ACTION_ID] for each in self.objects()]

    async def arrived(self) -> Json:
        made = dict(self.objects()[-1])
        made["metadata"] = {name: value for name, value in made["metadata"].items() if name != "managedFields"}
        return made

    def speak_tls(self, patch: pytest.MonkeyPatch) -> None:
        """It does."""

    async def limit(self, patch: pytest.MonkeyPatch) -> float:
        self.lead(self._overloaded.port, patch)
        return 7

    async def knows(self, private: str) -> bool:
        return bool(self.objects())  # nobody is let in without the token

    async def refuse(self) -> None:
        self.block = self._bad_block

    async def fail(self) -> None:
        await self._relay.cut()

    async def hold(self) -> None:
        self._relay.hold()

    async def release(self) -> None:
        self.block = self._good_block
        self._relay.release()

    async def held(self) -> int:
        return self._relay.holding


@contextlib.asynccontextmanager
async def overloaded(apiserver: ApiServer) -> AsyncIterator[HttpServer]:
    """Who answers in the API server's place, with its certificate, that it has too much to do: the real one never has."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(apiserver.folder / "server.crt", apiserver.folder / "server.key")
    async with HttpServer(tls) as server:
        server.default = Answer(429, {"Retry-After": "7"}, _TOO_MANY)
        yield server


async def thousand(
    kind: str,
    block: dict[str, Json],
    apiserver: ApiServer,
    namespace: str,
    folder: Path,
    patch: pytest.MonkeyPatch,
) -> None:
    """Given a block that makes an object, when it is fired a thousand times, then one connection is enough.

    The API server judges all and stores none, which would take its time.
    """
    async with Relay(port_of(apiserver)) as relay:
        patch.setenv("KUBECONFIG", str(kubeconfig_through(relay, apiserver, folder / "kubeconfig")))
        stage = Stage(kind, namespace=namespace)
        names = set()
        async with stage.open() as trigger:
            for number in range(1000):
                outcome = await stage.fire(trigger, {**block, "dryRun": True}, id=f"a-{number}")
                names.add(outcome.detail["name"])
        assert (len(names), relay.connections) == (1000, 1)


def port_of(apiserver: ApiServer) -> int:
    """The API server's port."""
    port = urlsplit(apiserver.url).port
    assert port is not None
    return port


def kubeconfig_through(relay: Relay, apiserver: ApiServer, path: Path, user: str = "admin") -> Path:
    """A kubeconfig whose server is the relay."""
    apiserver.kubeconfig(path, user)
    path.write_text(path.read_text().replace(apiserver.url, f"https://127.0.0.1:{relay.port}"))
    return path
