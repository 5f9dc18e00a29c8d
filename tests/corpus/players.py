"""Who plays the other side of an example of Argo Events, kind by kind: the manifest stays as it is, ``--resolve`` leads to a
real server, and a message goes in.

A player gets the ``Scene`` of one event: it may change what no machine could share (ports, directories), gives secrets, says
where names lead, and yields what sends a message. It looks at the block alone, so it plays any manifest of its kind.
``needs`` is the fixture of the server that it plays with; its examples run in the folder that has it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import asyncssh
import httpx2
import paho.mqtt.client as paho
import pytest
import redis.asyncio as redis
import yaml
from paho.mqtt.enums import CallbackAPIVersion

from argosy import registry
from argosy.clock import Clock, SystemClock
from argosy.manifests import bundle
from argosy.manifests.fields import Json
from tests.brokers.nats_server import connect
from tests.brokers.sources.minio_double import ACCESS, SECRET, MinioDouble
from tests.brokers.sources.mosquitto import Mosquitto
from tests.brokers.sources.nats_server import NatsServer
from tests.brokers.sources.nsq_server import Nsqd, Nsqlookupd
from tests.brokers.sources.redis_server import RedisServer
from tests.conformance.source import Stage, VirtualClock, eventually, on_stage

_CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"
_START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Example:
    """One event of one manifest."""

    path: Path
    kind: str
    event: str
    block: dict[str, Json]

    def __str__(self) -> str:
        return f"{self.path.relative_to(_CORPUS)}:{self.event}"


@cache
def examples() -> tuple[Example, ...]:
    """Every event of every EventSource of the corpus; none where the corpus is not here."""
    found = []
    for path in sorted(_CORPUS.rglob("*.yaml")):
        for source in bundle.load([str(path)]).event_sources:
            for event in source.events:
                block = event.config.model_dump(mode="json", by_alias=True, exclude_unset=True)
                found.append(Example(path, event.kind, event.name, block))
    return tuple(found)


def kinds() -> frozenset[str]:
    """The kinds of the corpus' event sources."""
    manifests = (yaml.safe_load(text) for path in _CORPUS.rglob("*.yaml") for text in path.read_text().split("\n---"))
    specs = [one["spec"] for one in manifests if isinstance(one, dict) and one.get("kind") == "EventSource"]
    return frozenset(kind for spec in specs for kind in spec if kind in registry.source_kinds())


class _AnySecret(dict[tuple[str, str], str]):
    """Every secret there can be: one that nobody gave is made of its own name."""

    def __missing__(self, key: tuple[str, str]) -> str:
        return "-".join(key)


@dataclass
class Scene:
    """What surrounds one example."""

    block: dict[str, Any]
    folder: Path
    server: Any = None
    """What the fixture gave that the player needs."""
    secrets: _AnySecret = field(default_factory=_AnySecret)
    clock: Clock = field(default_factory=SystemClock)
    environment: dict[str, str] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    """Where names lead: ``host:port`` to a port of the loopback."""

    def secret(self, selector: Mapping[str, str]) -> str:
        return self.secrets[selector["name"], selector["key"]]

    def leads(self, address: str, usual_port: int, port: int) -> None:
        """A URL, or a host with or without port, leads to this port."""
        parts = urlsplit(address if "//" in address else f"//{address}")
        self.names[f"{parts.hostname}:{parts.port or usual_port}"] = port


Send = Callable[[Stage], Awaitable[object]]
Play = Callable[[Scene], AsyncIterator[Send]]


class Player(NamedTuple):
    """Who plays one kind."""

    needs: str
    play: Callable[[Scene], AbstractAsyncContextManager[Send]]


PLAYERS: dict[str, Player] = {}


def player(*kinds: str, needs: str = "") -> Callable[[Play], Play]:
    """Enters a player for these kinds."""

    def enter(play: Play) -> Play:
        for kind in kinds:
            PLAYERS[kind] = Player(needs, asynccontextmanager(play))
        return play

    return enter


def played_with(needs: str) -> list[Any]:
    """The examples that are played with this fixture, as the parameters of a test."""
    found = [one for one in examples() if one.kind in PLAYERS and PLAYERS[one.kind].needs == needs]
    return [pytest.param(one, id=str(one)) for one in found]


async def run(example: Example, folder: Path, monkeypatch: pytest.MonkeyPatch, server: Any = None) -> None:
    """Given an example and its other side, when a message comes, then there is an event and nothing was wrong."""
    scene = Scene(json.loads(json.dumps(example.block)), folder, server)
    # What is registered at services on the internet has tests of its own; here nobody asks them.
    monkeypatch.setattr("argosy.sources._hooks._FIRST_SECONDS", 3600.0)
    async with PLAYERS[example.kind].play(scene) as send:
        rules = (f"{name}=127.0.0.1:{port}" for name, port in scene.names.items())
        monkeypatch.setenv("ARGOSY_RESOLVE", " ".join(rules))
        for name, value in scene.environment.items():
            monkeypatch.setenv(name, value)
        async with on_stage(example.kind, scene.block, secrets=scene.secrets, clock=scene.clock) as stage:
            await stage.start()
            await send(stage)
            await stage.events(1)
            assert not stage.errors and not stage.refused


# What this machine has


@player("calendar")
async def _calendar(scene: Scene) -> AsyncIterator[Send]:
    clock = scene.clock = VirtualClock(_START)

    async def send(stage: Stage) -> None:
        for _ in range(24 * 60):
            if stage.offered:
                return
            await clock.advance(60)

    yield send


async def _touch(directory: Path, block: Mapping[str, Any]) -> None:
    """Let a file come, change and go, as the block's event may want any of these."""
    file = directory / (block["watchPathConfig"].get("path") or "abc.txt")
    await asyncio.to_thread(file.write_text, "one")
    await asyncio.to_thread(file.write_text, "two")
    if "REMOVE" in block["eventType"]:
        await asyncio.to_thread(file.unlink)


@player("file")
async def _file(scene: Scene) -> AsyncIterator[Send]:
    scene.block["watchPathConfig"]["directory"] = str(scene.folder)

    async def send(stage: Stage) -> None:
        await _touch(scene.folder, scene.block)

    yield send


@player("sftp")
async def _sftp(scene: Scene) -> AsyncIterator[Send]:
    class Login(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return username == scene.secret(scene.block["username"])

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, given: str) -> bool:
            return given == scene.secret(scene.block["password"])

    class Root(asyncssh.SFTPServer):
        def __init__(self, channel: asyncssh.SSHServerChannel[bytes]) -> None:
            super().__init__(channel, chroot=scene.folder)

    directory = scene.folder / scene.block["watchPathConfig"]["directory"].strip("/")
    directory.mkdir(parents=True)
    scene.block["pollIntervalDuration"] = "50ms"
    key = asyncssh.generate_private_key("ssh-ed25519")
    keys, place = [key], ("127.0.0.1", 0)
    async with asyncssh.listen(*place, server_factory=Login, server_host_keys=keys, sftp_factory=Root) as listener:
        address = scene.block["address"]
        scene.secrets[address["name"], address["key"]] = f"127.0.0.1:{listener.get_port()}"

        async def send(stage: Stage) -> None:
            await _touch(directory, scene.block)

        yield send


# Servers


def payload(scene: Scene) -> bytes:
    """One message, JSON where the block says that there is JSON."""
    return b'{"text":"one"}' if scene.block.get("jsonBody") else b"one"


@player("mqtt", "emitter")
async def _mqtt(scene: Scene) -> AsyncIterator[Send]:
    broker = Mosquitto(scene.folder / "mosquitto")
    broker.anonymous = True
    with broker:
        if "broker" in scene.block:  # Emitter's protocol is MQTT, with the key before the channel
            scene.leads(scene.block["broker"], 8080, broker.port)
            topic = f"{scene.block['channelKey']}/{scene.block['channelName'].strip('/')}/"
        else:
            scene.leads(scene.block["url"], 1883, broker.port)
            topic = scene.block["topic"].replace("+", "one").replace("#", "one")

        async def send(stage: Stage) -> None:
            await asyncio.to_thread(publish)

        def publish() -> None:
            client = paho.Client(CallbackAPIVersion.VERSION2)
            client.connect("127.0.0.1", broker.port)
            client.loop_start()
            client.publish(topic, payload(scene), qos=1).wait_for_publish(20)
            client.disconnect()
            client.loop_stop()

        yield send


@player("redis", "redisStream")
async def _redis(scene: Scene) -> AsyncIterator[Send]:
    server = RedisServer(scene.folder / "redis")
    server.anonymous = True
    with server:
        scene.leads(scene.block["hostAddress"], 6379, server.port)

        async def send(stage: Stage) -> None:
            async with redis.Redis(port=server.port, db=scene.block.get("db", 0)) as client:
                if "streams" in scene.block:
                    await client.xadd(scene.block["streams"][0], {"text": "one"})
                else:
                    await client.publish(scene.block["channels"][0], payload(scene))

        yield send


@player("nats")
async def _nats(scene: Scene) -> AsyncIterator[Send]:
    with NatsServer(scene.folder / "nats", extra="max_connections: 100") as server:
        scene.leads(scene.block["url"], 4222, server.port)

        async def send(stage: Stage) -> None:
            client = await connect(server.url)
            await client.publish(scene.block["subject"].replace("*", "one").replace(">", "one"), payload(scene))
            await client.close()

        yield send


@player("nsq")
async def _nsq(scene: Scene) -> AsyncIterator[Send]:
    with (
        Nsqlookupd(scene.folder / "nsqlookupd") as lookup,
        Nsqd(scene.folder / "nsqd", lookups=(lookup.tcp,), guarded=False) as nsqd,
    ):
        scene.leads(scene.block["hostAddress"], 4161, lookup.port)
        url, topic = f"http://127.0.0.1:{nsqd.http_port}", {"topic": scene.block["topic"]}
        async with httpx2.AsyncClient(trust_env=False) as client:
            # One that nsqlookupd does not know yet would be looked for again some seconds later.
            assert (await client.post(f"{url}/topic/create", params=topic)).status_code == 200

            async def known() -> bool:
                answer = await client.get(f"{lookup_url}/lookup", params=topic)
                return answer.status_code == 200 and bool(answer.json()["producers"])

            lookup_url = f"http://127.0.0.1:{lookup.port}"
            await eventually(known)

            async def send(stage: Stage) -> None:
                assert (await client.post(f"{url}/pub", params=topic, content=payload(scene))).text == "OK"

            yield send


@player("generic")
async def _generic(scene: Scene) -> AsyncIterator[Send]:
    from tests.unit.sources.test_generic import EventingServer

    server = EventingServer()
    async with server.serving():
        scene.leads(scene.block["url"], 443, server.port)
        yield lambda stage: server.send("one")


@player("minio")
async def _minio(scene: Scene) -> AsyncIterator[Send]:
    bucket, filtered = scene.block["bucket"]["name"], scene.block.get("filter") or {}
    async with MinioDouble(None, bucket) as server:
        for selector, value in ((scene.block["accessKey"], ACCESS), (scene.block["secretKey"], SECRET)):
            scene.secrets[selector["name"], selector["key"]] = value
        scene.leads(scene.block["endpoint"], 9000, server.port)

        async def send(stage: Stage) -> None:
            name = scene.block.get("events", ["s3:ObjectCreated:Put"])[0].replace("*", "Put")
            key = filtered.get("prefix", "") + "one" + filtered.get("suffix", "")
            await eventually(lambda: server.notify(server.record(key, name, bucket)) > 0)

        yield send


@player("amqp", needs="rabbitmq")
async def _amqp(scene: Scene) -> AsyncIterator[Send]:
    import aiormq

    broker, parts = scene.server, urlsplit(scene.block["url"])
    user, password, vhost = "guest", "guest", parts.path[1:] or "/"
    if auth := scene.block.get("auth"):
        user, password = scene.secret(auth["username"]), scene.secret(auth["password"])
    broker.add_user(user, password)
    broker.add_vhost(vhost, (user, "argosy"))
    scene.leads(scene.block["url"], 5672, int(broker.url.rpartition(":")[2]))

    async def send(stage: Stage) -> None:
        connection = await aiormq.connect(f"{broker.url}/{vhost.replace('/', '%2f')}")
        channel = await connection.channel()
        key = scene.block.get("routingKey", "").replace("*", "one").replace("#", "one")
        where = {"exchange": scene.block.get("exchangeName", ""), "routing_key": key}
        await channel.basic_publish(payload(scene), **where)
        await connection.close()

    yield send


@player("resource", needs="apiserver")
async def _resource(scene: Scene) -> AsyncIterator[Send]:
    cluster, block = scene.server, scene.block
    block["namespace"] = cluster.namespace()
    api_version = f"{block['group']}/{block['version']}" if block.get("group") else block["version"]
    wanted = (block.get("filter") or {}).get("labels", ())
    labels = {label["key"]: label.get("value") or "one" for label in wanted}
    root = f"/apis/{api_version}" if block.get("group") else f"/api/{api_version}"
    path = f"{root}/namespaces/{block['namespace']}/{block['resource']}"
    (kind,) = (one["kind"] for one in cluster.request("GET", root)["resources"] if one["name"] == block["resource"])

    async def send(stage: Stage) -> None:
        ask, about = cluster.request, {"name": "one", "labels": labels}
        made = {
            "apiVersion": api_version,
            "kind": kind,
            "metadata": about,
            **({"spec": {}} if block.get("group") else {}),
        }
        await asyncio.to_thread(ask, "POST", path, made)
        patch, content = {"metadata": {"annotations": {"a": "b"}}}, "application/merge-patch+json"
        await asyncio.to_thread(ask, "PATCH", f"{path}/one", patch, content=content)
        await asyncio.to_thread(ask, "DELETE", f"{path}/one")

    yield send
