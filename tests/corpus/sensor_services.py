"""Peers that are large or slow: their examples are fired with ``make test-peers``."""

from __future__ import annotations

import asyncio
import io
import json
import urllib.request
import zipfile
from collections.abc import AsyncIterator
from typing import Any

from argosy.manifests.fields import Json
from tests.corpus.sensor_peers import Judge, Scene, peer
from tests.peers.azure_bus import KEY, AzureBus, by_tls
from tests.peers.moto_server import MotoServer


def _function(server: MotoServer, name: str) -> None:
    """A function of this name; moto runs none, it gives back what it is handed."""
    settings = json.dumps({"lambda": {"use_docker": False}}).encode()
    with urllib.request.urlopen(f"{server.url}/moto-api/config", settings, timeout=20) as answer:
        assert answer.status in (200, 201)
    iam, code = server.client("iam"), io.BytesIO()
    with zipfile.ZipFile(code, "w") as file:
        file.writestr("main.py", "def handle(event, context): return event")
    role = iam.create_role(RoleName="r", AssumeRolePolicyDocument='{"Statement": []}')["Role"]["Arn"]
    server.client("lambda").create_function(
        FunctionName=name, Runtime="python3.11", Role=role, Handler="main.handle", Code={"ZipFile": code.getvalue()}
    )


@peer("awsLambda", needs="peers")
async def _aws_lambda(scene: Scene, trigger: dict[str, Any]) -> AsyncIterator[Judge]:
    block = trigger["template"]["awsLambda"]
    with MotoServer(scene.folder / "moto") as server:
        await asyncio.to_thread(_function, server, block["functionName"])
        scene.environment["AWS_ENDPOINT_URL"] = server.url

        async def judge(detail: Json) -> list[str]:
            assert detail["status"] == (202 if block.get("invocationType") == "Event" else 200)
            assert detail["body"] == scene.given.payload(block["payload"])
            return []

        yield judge


@peer("azureServiceBus", needs="peers")
async def _azure_service_bus(scene: Scene, trigger: dict[str, Any]) -> AsyncIterator[Judge]:
    block = trigger["template"]["azureServiceBus"]
    place = block.get("queueName") or f"{block['topicName']}/Subscriptions/one"
    with AzureBus(scene.folder / "azure-bus") as bus:
        selector = block["connectionString"]
        scene.secrets.given[selector["name"], selector["key"]] = bus.connection_string
        await bus.set(queues=[place])
        yield _one_message(scene, bus, place, block)


@peer("azureEventHubs", needs="peers")
async def _azure_event_hubs(scene: Scene, trigger: dict[str, Any]) -> AsyncIterator[Judge]:
    block = trigger["template"]["azureEventHubs"]
    with AzureBus(scene.folder / "azure-bus") as bus:
        async with by_tls(bus, f"DNS:{block['fqdn']}") as port:
            for word, text in (("sharedAccessKeyName", "root"), ("sharedAccessKey", KEY)):
                scene.secrets.given[block[word]["name"], block[word]["key"]] = text
            scene.leads(block["fqdn"], 5671, port)
            scene.environment["SSL_CERT_FILE"] = str(bus.folder / "ca.crt")
            await bus.set(hubs={block["hubName"]: 1})
            yield _one_message(scene, bus, block["hubName"], block)


def _one_message(scene: Scene, bus: AzureBus, place: str, block: dict[str, Any]) -> Judge:
    async def judge(detail: Json) -> list[str]:
        (message,) = (await bus.look(place))["messages"]
        wanted = scene.given.payload(block["payload"])
        return [] if json.loads(message["body"]) == wanted else [f"{message['body']} is not {wanted}"]

    return judge
