"""Players with servers that are large or slow: their examples run with ``make test-peers``.

Services on the internet have no name in a manifest that could lead elsewhere: their endpoint is given by the field or the
variable that they have for this.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from tests.conformance.source import Stage
from tests.corpus.players import Scene, Send, payload, player


@player("kafka", needs="kafka")
async def _kafka(scene: Scene) -> AsyncIterator[Send]:
    from aiokafka import AIOKafkaProducer
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    topic, partition = scene.block["topic"], int(scene.block.get("partition") or 0)
    admin = AIOKafkaAdminClient(**scene.server.client())
    await admin.start()
    await admin.create_topics([NewTopic(topic, partition + 1, 1)])
    await admin.close()
    scene.leads(scene.block["url"].split(",")[0], 9092, scene.server.open_port)

    async def send(stage: Stage) -> None:
        producer = AIOKafkaProducer(**scene.server.client())
        await producer.start()
        await producer.send_and_wait(topic, payload(scene), partition=partition)
        await producer.stop()

    yield send


@player("sqs", needs="peers")
async def _sqs(scene: Scene) -> AsyncIterator[Send]:
    from tests.peers.moto_server import MotoServer

    with MotoServer(scene.folder / "moto") as server:
        scene.block["endpoint"] = server.url
        client = server.client("sqs")
        made = await asyncio.to_thread(client.create_queue, QueueName=scene.block["queue"])

        async def send(stage: Stage) -> None:
            body = payload(scene).decode()
            await asyncio.to_thread(client.send_message, QueueUrl=made["QueueUrl"], MessageBody=body)

        yield send
        client.close()


@player("azureQueueStorage", needs="peers")
async def _azure_queue_storage(scene: Scene) -> AsyncIterator[Send]:
    from tests.peers.azurite import Azurite, QueueClient

    with Azurite(scene.folder / "azurite") as server:
        selector = scene.block["connectionString"]
        scene.secrets[selector["name"], selector["key"]] = server.connection_string
        async with QueueClient(server, scene.block["queueName"]) as queue:
            yield lambda stage: queue.put(payload(scene).decode())


@player("pubSub", needs="peers")
async def _pub_sub(scene: Scene) -> AsyncIterator[Send]:
    from tests.peers.pub_sub_emulator import Publisher, PubSubEmulator

    with PubSubEmulator(scene.folder / "pubsub") as server:
        scene.environment["PUBSUB_EMULATOR_HOST"] = f"127.0.0.1:{server.port}"
        async with Publisher(server) as publisher:
            project = f"projects/{scene.block['projectID']}"
            topic = f"{project}/topics/{scene.block['topic']}"
            await publisher.make(topic=topic, subscription=f"{project}/subscriptions/{scene.block['subscriptionID']}")
            yield lambda stage: publisher.publish(payload(scene), topic)


@player("pulsar", needs="peers")
async def _pulsar(scene: Scene) -> AsyncIterator[Send]:
    import pulsar

    from tests.peers.pulsar_server import PulsarServer

    class Open(PulsarServer):
        def _properties(self) -> dict[str, str]:
            return {**super()._properties(), "authenticationEnabled": "false", "authorizationEnabled": "false"}

    with Open(scene.folder / "pulsar") as server:
        scene.leads(scene.block["url"], 6650, server.port)

        def publish() -> None:
            client = pulsar.Client(server.url, logger=pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull))
            client.create_producer(scene.block["topics"][0]).send(payload(scene))
            client.close()

        async def send(stage: Stage) -> None:
            await asyncio.to_thread(publish)

        yield send


@player("azureServiceBus", needs="peers")
async def _azure_service_bus(scene: Scene) -> AsyncIterator[Send]:
    from tests.peers.azure_bus import AzureBus

    with AzureBus(scene.folder / "azure-bus") as bus:
        selector, queue = scene.block["connectionString"], scene.block["queueName"]
        scene.secrets[selector["name"], selector["key"]] = bus.connection_string
        await bus.set(queues=[queue], lock_seconds=30.0)
        yield lambda stage: bus.put(queue, payload(scene), id="one")


@player("hdfs", needs="peers")
async def _hdfs(scene: Scene) -> AsyncIterator[Send]:
    from tests.peers.hadoop_server import Files, Hadoop

    directory = scene.block["directory"].rstrip("/")
    scene.block["checkInterval"] = "50ms"
    with Hadoop(scene.folder / "hadoop") as server:
        for address in scene.block["addresses"]:
            scene.leads(address, 8020, server.port)
        files = Files(server)
        await files.make(directory)
        yield lambda stage: files.write(f"{directory}/{scene.block.get('path') or 'abc.txt'}", b"")


@player("azureEventsHub", needs="peers")
async def _azure_events_hub(scene: Scene) -> AsyncIterator[Send]:
    from tests.peers.azure_bus import KEY, AzureBus, by_tls

    host, hub = scene.block["fqdn"], scene.block["hubName"]
    for field, value in (("sharedAccessKeyName", "root"), ("sharedAccessKey", KEY)):
        selector = scene.block[field]
        scene.secrets[selector["name"], selector["key"]] = value
    with AzureBus(scene.folder / "azure-hubs") as bus:
        async with by_tls(bus, f"DNS:{host}") as port:
            scene.environment["SSL_CERT_FILE"] = str(bus.folder / "ca.crt")
            scene.leads(host, 5671, port)
            await bus.set(hubs={hub: 2})
            yield lambda stage: bus.put(f"{hub}/Partitions/0", payload(scene), id="one")
