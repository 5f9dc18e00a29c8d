"""Who stands on the other side of a trigger of an example, kind by kind, and says whether the right thing arrived.

A peer gets the ``Scene`` and one trigger as the manifest has it; it may change what no machine could share (folders, ports,
services on the internet), gives secrets, says where names lead, and yields what judges the arrival. It looks at the trigger alone,
so it can stand on the other side of any manifest of its kind. ``needs`` is what else must run; examples that need it are fired in
the folder that has it.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import yaml

from argosy.bus._base import Item
from argosy.bus.memory import MemoryBus
from argosy.clock import SystemClock
from argosy.manifests.fields import ConfigMapKeySelector, Json, SecretKeySelector
from argosy.manifests.sensor import parse_sensor
from argosy.runtime.duties import TriggerDuties
from argosy.runtime.secrets import Secrets
from argosy.runtime.sensors import SensorRunner
from argosy.runtime.telemetry import Metrics
from argosy.triggers import _http
from tests.brokers.nats_server import connect
from tests.brokers.sources.nats_server import NatsServer
from tests.conformance.trigger import eventually
from tests.corpus.sensor_events import Example, Given, differences, events, examples
from tests.kubernetes import certificates
from tests.unit.triggers.receivers import Answer, HttpServer
from tests.unit.triggers.smtp_server import SmtpServer

Judge = Callable[[Json], Awaitable[list[str]]]
"""Given what an action's outcome keeps, says what is wrong with what arrived."""


class Everything(Secrets):
    """Every secret there can be: one that nobody gave is made of its own name."""

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[tuple[str, str], str] = {}
        self.texts: dict[tuple[str, str], str] = {}

    def secret(self, namespace: str, selector: SecretKeySelector) -> str:
        return self.given.get((selector.name, selector.key), f"{selector.name}-{selector.key}")

    def config_map(self, namespace: str, selector: ConfigMapKeySelector) -> str:
        return self.texts[selector.name, selector.key]

    def of(self, selector: Mapping[str, str]) -> str:
        """The text of a secret as a manifest names it."""
        return self.secret("", SecretKeySelector.model_validate(selector))


@dataclass
class Scene:
    """What surrounds one example."""

    given: Given
    folder: Path
    namespace: str = "default"
    server: Any = None
    """What the fixture gave that the peers need."""
    secrets: Everything = field(default_factory=Everything)
    environment: dict[str, str] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    """Where names lead: ``host:port`` to a port of the loopback."""

    def leads(self, address: str, usual_port: int, port: int) -> None:
        """A URL, or a host with or without port, leads to this port."""
        parts = urlsplit(address if "//" in address else f"//{address}")
        self.names[f"{parts.hostname}:{parts.port or usual_port}"] = port


Play = Callable[[Scene, dict[str, Any]], AsyncIterator[Judge]]


class Peer(NamedTuple):
    """Who stands on the other side of one kind."""

    needs: str
    play: Callable[[Scene, dict[str, Any]], AbstractAsyncContextManager[Judge]]


PEERS: dict[str, Peer] = {}


def peer(*kinds: str, needs: str = "") -> Callable[[Play], Play]:
    """Enters a peer for these kinds."""

    def enter(play: Play) -> Play:
        for kind in kinds:
            PEERS[kind] = Peer(needs, asynccontextmanager(play))
        return play

    return enter


def needs(example: Example) -> str:
    """What must run to fire this example: a word for each thing, or ``a peer for <kind>`` where there is none."""
    found = {PEERS[kind].needs if kind in PEERS else f"a peer for {kind}" for kind in example.triggers.values()}
    return " and ".join(sorted(found - {""}))


def fired_with(what: str, but: Mapping[str, str]) -> list[Any]:
    """The examples that are fired where this runs, as the parameters of a test; those in ``but`` are not."""
    found = [one for one in examples() if str(one) not in but and needs(one) == what]
    return [pytest.param(one, id=str(one)) for one in found]


async def fire(
    example: Example,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    server: Any = None,
    namespace: str = "default",
    waits: Mapping[str, str] | None = None,
) -> None:
    """Given an example and the other side of its triggers, when its events come, then every trigger has acted, once, and what
    arrived is right. ``waits`` names triggers that cannot, each ``example:trigger`` with the reason.
    """
    manifest = copy.deepcopy(example.manifest)
    manifest["metadata"]["namespace"] = namespace
    scene = Scene(Given(example, events(example)), folder, namespace, server)
    judges: dict[str, Judge] = {}
    async with AsyncExitStack() as stack:
        for trigger in manifest["spec"]["triggers"]:
            name = trigger["template"]["name"]
            play = PEERS[example.triggers[name]].play
            judges[name] = await stack.enter_async_context(play(scene, trigger))
        rules = (f"{name}=127.0.0.1:{port}" for name, port in scene.names.items())
        monkeypatch.setenv("ARGOSY_RESOLVE", " ".join(rules))
        for variable, value in scene.environment.items():
            monkeypatch.setenv(variable, value)
        ended = await _run(scene, manifest, list(judges))
        for name, item in ended.items():
            waiting = f"{example}:{name}" in (waits or {})
            assert (item.state != "done") == waiting, f"trigger {name!r} is {item.state}: {item.error}"
            if not waiting:
                assert item.failures == 0, item.error
                wrong = await judges[name](json.loads(item.outcome)["detail"])
                assert not wrong, "\n".join(wrong)


async def stay_silent(example: Example) -> None:
    """Given an example, when its events have been decided on, then no trigger has anything to do."""
    given = Given(example, events(example))
    async with _running(given, example.manifest, Everything()) as (bus, runner):
        consumer = f"default/{example.manifest['metadata']['name']}"

        async def decided() -> bool:
            return await bus.position(consumer) == len(given.events)

        await eventually(decided, f"{example} has decided on every event")
        for name in example.triggers:
            queue = runner.queue(name)
            assert await queue.depth() == 0
            assert [*await queue.items("ended"), *await queue.items("dead")] == []


@asynccontextmanager
async def _running(
    given: Given, manifest: dict[str, Any], secrets: Secrets
) -> AsyncIterator[tuple[MemoryBus, SensorRunner]]:
    """A sensor that runs and gets its events."""
    sensor, problems = parse_sensor(manifest)
    assert sensor is not None, problems
    duties = TriggerDuties(secrets=secrets, clock=SystemClock(), metrics=Metrics(), grace_seconds=5)
    async with MemoryBus() as bus:
        runner = SensorRunner(sensor, bus, duties)
        running = asyncio.create_task(runner.run())
        try:
            await runner.opened.wait()
            for event in given.events.values():
                await bus.publish(event)
            yield bus, runner
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def _run(scene: Scene, manifest: dict[str, Any], triggers: list[str]) -> dict[str, Item]:
    """Let the events of the scene come; how the action of each trigger ended."""
    ended: dict[str, Item] = {}
    async with _running(scene.given, manifest, scene.secrets) as (_, runner):

        async def over() -> bool:
            for name in triggers:
                queue = runner.queue(name)
                found = [*await queue.items("ended"), *await queue.items("dead")]
                assert len(found) < 2, f"trigger {name!r} acted more than once"
                if found:
                    ended[name] = found[0]
            return len(ended) == len(triggers)

        await eventually(over, f"every trigger of {scene.given.example} has acted")
    return ended


def block(trigger: dict[str, Any], kind: str) -> dict[str, Any]:
    """The trigger's block, in whatever case its word is written."""
    ((_, found),) = ((word, one) for word, one in trigger["template"].items() if word.lower() == kind.lower())
    return dict(found)


# Light peers


@contextmanager
def _noting() -> Any:
    """The records of the log while the context is open."""
    records: list[logging.LogRecord] = []

    class Note(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler, logger = Note(), logging.getLogger("argosy.trigger")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield records
    logger.setLevel(before)
    logger.removeHandler(handler)


@peer("log")
async def _log(scene: Scene, trigger: dict[str, Any]) -> AsyncIterator[Judge]:
    with _noting() as records:

        async def judge(detail: Json) -> list[str]:
            lines = [one for one in records if getattr(one, "triggerName", "") == trigger["template"]["name"]]
            told = {one.dependencyName: one for one in lines if hasattr(one, "dependencyName")}
            wrong = set(told) ^ set(scene.given.events)
            return [f"nothing, or too much, is said of {name}" for name in wrong]

        yield judge


@peer("http")
async def _request(scene: Scene, trigger: dict[str, Any]) -> AsyncIterator[Judge]:
    block = trigger["template"]["http"]
    parts = urlsplit(block["url"])
    async with HttpServer() as server:
        scene.leads(block["url"], 80, server.port)

        async def judge(detail: Json) -> list[str]:
            (request,) = server.requests
            assert (request.method, request.target) == (block.get("method") or "POST", parts.path)
            assert request.headers["host"] == parts.netloc
            for one in block.get("secureHeaders", ()):
                told = scene.secrets.of(one["valueFrom"]["secretKeyRef"])
                assert request.headers[one["name"].lower()] == told
            assert json.loads(request.body or b"{}") == scene.given.payload(block.get("payload", []))
            return [] if request.headers["idempotency-key"] else ["the request has no Idempotency-Key"]

        yield judge


@peer("nats")
async def _nats(scene: Scene, trigger: dict[str, Any]) -> AsyncIterator[Judge]:
    block = trigger["template"]["nats"]
    with NatsServer(scene.folder / "nats", extra="max_connections: 10") as server:
        scene.leads(block["url"], 4222, server.port)
        client = await connect(server.url)
        messages = await client.subscribe(block["subject"])
        await client.flush()

        async def judge(detail: Json) -> list[str]:
            message = await messages.next_msg(10)
            assert json.loads(message.data) == scene.given.payload(block["payload"])
            return [] if messages.pending_msgs == 0 else ["there is more than one message"]

        yield judge
        await client.close()


@peer("email")
async def _email(scene: Scene, trigger: dict[str, Any]) -> AsyncIterator[Judge]:
    block = trigger["template"]["email"]
    certificates.authority(scene.folder)
    certificates.server(scene.folder, "mail", f"DNS:{block['host']}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(scene.folder / "mail.crt", scene.folder / "mail.key")
    async with SmtpServer(context, user=block.get("username", "")) as server:
        server.password = scene.secrets.of(block["smtpPassword"]) if "smtpPassword" in block else ""
        scene.leads(block["host"], block.get("port", 587), server.port)
        scene.environment["SSL_CERT_FILE"] = str(scene.folder / "ca.crt")
        set_to = {one["dest"]: scene.given.value(one["src"]) for one in trigger.get("parameters", ())}

        async def judge(detail: Json) -> list[str]:
            (taken,) = server.taken
            assert (taken.encrypted, taken.user, taken.sender) == (True, block.get("username", ""), block["from"])
            assert taken.recipients == [*block.get("to", []), *[set_to[one] for one in set_to if ".to." in one]]
            assert str(taken.mail["Subject"]) == set_to.get("email.subject", block.get("subject"))
            wanted = str(set_to.get("email.body", block.get("body", "")))
            assert taken.mail.get_content().split() == wanted.split()
            return []

        yield judge


@peer("slack")
async def _slack(scene: Scene, trigger: dict[str, Any]) -> AsyncIterator[Judge]:
    from tests.unit.triggers.test_slack import TOKEN, SlackApi

    block = trigger["template"]["slack"]
    async with SlackApi() as api:
        # Slack has one address, so what leads elsewhere is the field that it has for this.
        block["apiURL"] = f"{api.url}/api"
        scene.secrets.given[block["slackToken"]["name"], block["slackToken"]["key"]] = TOKEN
        set_to = {one["dest"]: scene.given.value(one["src"]) for one in trigger.get("parameters", ())}

        async def judge(detail: Json) -> list[str]:
            (posted,) = api.posted
            assert str(posted["channel"]).lstrip("#") == set_to.get("slack.channel", block["channel"])
            assert posted["text"] == set_to.get("slack.message", block.get("message"))
            return []

        yield judge


@peer("openWhisk")
async def _open_whisk(scene: Scene, trigger: dict[str, Any]) -> AsyncIterator[Judge]:
    told = block(trigger, "openWhisk")
    certificates.authority(scene.folder)
    certificates.server(scene.folder, "whisk", f"DNS:{urlsplit('//' + told['host']).hostname}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(scene.folder / "whisk.crt", scene.folder / "whisk.key")
    scene.environment["SSL_CERT_FILE"] = str(scene.folder / "ca.crt")
    async with HttpServer(context) as server:
        server.default = Answer(200, {"X-Openwhisk-Activation-Id": "44794bd6"}, b'{"done": true}')
        scene.leads(told["host"], 443, server.port)

        async def judge(detail: Json) -> list[str]:
            (request,) = server.requests
            where = f"/api/v1/namespaces/{told.get('namespace', '_')}/actions/{told['actionName']}?"
            assert (request.method, request.target[: len(where)]) == ("POST", where)
            assert json.loads(request.body) == scene.given.payload(told["payload"])
            return []

        _http.trust.cache_clear()  # whom this process trusts is read once
        yield judge
        _http.trust.cache_clear()


@peer("custom")
async def _custom(scene: Scene, trigger: dict[str, Any]) -> AsyncIterator[Judge]:
    from tests.unit.triggers.custom_server import CustomServer

    told = block(trigger, "custom")
    given = {"kind": "Run", "metadata": {"namespace": "none"}}
    async with CustomServer().serving() as server:
        server.resource = json.dumps(given).encode()
        scene.leads(told["serverURL"], 443, server.port)
        spec = dict(told["spec"])
        for one in trigger.get("parameters", ()):
            spec[one["dest"].removeprefix("custom.spec.")] = scene.given.value(one["src"])

        async def judge(detail: Json) -> list[str]:
            assert [yaml.safe_load(one) for one in server.asked] == [spec]
            ((_, resource, payload),) = server.executed
            assert json.loads(payload or b"{}") == scene.given.payload(told.get("payload", []))
            return differences(scene.given, given, told.get("parameters", []), json.loads(resource))

        yield judge
