"""Sends, once, what an OpenStack cloud would tell in a busy minute: notifications to RabbitMQ, and two HTTP requests.

python notify.py [--rabbitmq amqp://guest:guest@127.0.0.1:5672/] [--webhooks http://127.0.0.1:12000]
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import urllib.request
import uuid
from typing import Any

NODE = "a2f4b1de-64a5-4f37-9d0c-3f8a5f3d8e11"
PORT = "f0d5c4ae-0d3c-4dd5-8d4a-3b6b1d1c9a02"
SERVER = "0c2a4f34-5b1c-4c7e-a0a9-6f8fb8d2c703"
OTHER_SERVER = "1d3b5045-6c2d-4d8f-b1ba-7090c9e3d804"
NETWORK = "7be1c1c2-3f8e-4a65-9a5f-1f0b9f6c2c05"
RANGE = "9e0d2c4b-7a61-4f0e-8c3d-5b7a9d1e3f06"
WRONG_RANGE = "9e0d2c4b-7a61-4f0e-8c3d-5b7a9d1e3f07"
PROJECT = "3a69b98463964e19b295f87cffa5db52"


def ironic(event_type: str, **data: Any) -> tuple[str, str, str, dict[str, Any]]:
    """A versioned notification of Ironic: exchange, routing key, event type, payload."""
    payload = {"ironic_object.name": "Payload", "ironic_object.namespace": "ironic", "ironic_object.data": data}
    return "ironic", "ironic_versioned_notifications.info", event_type, payload


def other(exchange: str, event_type: str, **payload: Any) -> tuple[str, str, str, dict[str, Any]]:
    """A notification of another service."""
    return exchange, "notifications.info", event_type, payload


def server(instance_id: str, storage: str) -> dict[str, Any]:
    return {"instance_id": instance_id, "node": NODE, "tenant_id": PROJECT, "metadata": {"storage": storage}}


def segments(id: str, minimum: int, maximum: int) -> dict[str, Any]:
    return {"id": id, "name": "fabric-1", "network_type": "vxlan", "minimum": minimum, "maximum": maximum}


NOTIFICATIONS = [
    ironic(
        "baremetal.port.create.end",
        uuid=PORT,
        node_uuid=NODE,
        address="52:54:00:AB:CD:01",
        local_link_connection={"switch_info": "leaf-7", "port_id": "Ethernet1/12"},
    ),
    ironic(
        "baremetal.node.provision_set.end",
        uuid=NODE,
        name="r12-u20",
        provision_state="active",
        power_state="power on",
        lessee=PROJECT,
    ),
    ironic("baremetal.node.power_set.end", uuid=NODE, name="r12-u20", provision_state="clean failed", lessee=None),
    other("nova", "compute.instance.delete.end", **server(SERVER, "wanted")),
    other("nova", "compute.instance.delete.end", **server(OTHER_SERVER, "unwanted")),
    other(
        "neutron",
        "network.create.end",
        network={"id": NETWORK, "name": "tenant-net", "mtu": 9000, "provider:segmentation_id": 1860},
    ),
    other("neutron", "network_segment_range.create.end", network_segment_range=segments(RANGE, 1800, 3799)),
    other("neutron", "network_segment_range.create.end", network_segment_range=segments(WRONG_RANGE, 3799, 1800)),
    other("keystone", "identity.project.created", target={"id": PROJECT, "typeURI": "data/security/project"}),
    other("keystone", "identity.authenticate", outcome="success"),
]

REQUESTS: dict[str, dict[str, Any]] = {
    "/nautobot": {
        "event": "updated",
        "model": "interface",
        "timestamp": "2026-03-02 12:00:00.000000+00:00",
        "username": "alex",
        "data": {"id": "67c1f3f2-0a4e-4b7c-8d15-2e6f9a7b1c08", "name": "eth0", "device": {"name": "r12-u20"}},
    },
    "/alerts": {
        "status": "firing",
        "alerts": [
            {
                "status": status,
                "labels": {"alertname": "NeutronAgentDown", "hostname": host, "id": f"agent-of-{host}"},
                "startsAt": "2026-03-02T12:00:00Z",
            }
            for status, host in (("firing", "net-1"), ("resolved", "net-2"), ("firing", "net-3"))
        ],
    },
}


def envelope(event_type: str, payload: dict[str, Any]) -> bytes:
    """What oslo.messaging makes of a notification (message format 2.0)."""
    notification = {
        "message_id": str(uuid.uuid4()),
        "publisher_id": "example.host-1",
        "event_type": event_type,
        "priority": "INFO",
        "payload": payload,
        "timestamp": str(dt.datetime.now(dt.UTC).replace(tzinfo=None)),
    }
    return json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(notification)}).encode()


async def publish(url: str) -> None:
    """Send the notifications, in order; each is with RabbitMQ on return."""
    import aiormq

    connection = await aiormq.connect(url)
    channel = await connection.channel()
    for exchange, key, event_type, payload in NOTIFICATIONS:
        await channel.exchange_declare(exchange, exchange_type="topic", durable=True)
        properties = aiormq.spec.Basic.Properties(content_type="application/json", delivery_mode=2)
        body = envelope(event_type, payload)
        await channel.basic_publish(body, exchange=exchange, routing_key=key, properties=properties)
        print(f"sent {event_type} to exchange {exchange}")
    await connection.close()


def post(url: str, document: dict[str, Any]) -> None:
    """Send one document; raises if it is not accepted."""
    head = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(document).encode(), head), timeout=30):
        print(f"posted to {url}")


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description="Send what an OpenStack cloud would tell in a busy minute.")
    parser.add_argument("--rabbitmq", default="amqp://guest:guest@127.0.0.1:5672/", metavar="URL")
    parser.add_argument("--webhooks", default="http://127.0.0.1:12000", metavar="URL")
    wanted = parser.parse_args()
    asyncio.run(publish(wanted.rabbitmq))
    for path, document in REQUESTS.items():
        post(wanted.webhooks + path, document)


if __name__ == "__main__":
    main()
