"""The permissions that ``argosy rbac`` prints for ``amqp`` sources, against a real RabbitMQ: they suffice, and no name can be left out."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from argosy.kubernetes.rbac import Permission
from argosy.sources._amqp_config import AmqpConfig
from argosy.sources._amqp_rights import broker_right
from tests.brokers.rabbitmq import RabbitMQ
from tests.conformance.source import eventually, on_stage

_numbers = itertools.count(1)
CASES: dict[str, dict[str, Any]] = {
    "named": {"queueDeclare": {"name": "argo", "durable": True}},
    "passive": {
        "exchangeDeclare": {"passive": True},
        "queueDeclare": {"name": "argo", "passive": True},
    },
    "named by the broker": {"queueDeclare": {"exclusive": True}},
    "default exchange": {"exchangeName": "", "queueDeclare": {"name": "argo", "durable": True}},
    "dead letters": {
        "queueDeclare": {"name": "argo", "durable": True, "arguments": "x-dead-letter-exchange: dead.letters"}
    },
}


class Place:
    """A virtual host of its own, and a user whose permissions are set."""

    def __init__(self, broker: RabbitMQ, more: dict[str, Any]) -> None:
        self.broker = broker
        self.user = self.vhost = f"rights-{next(_numbers)}"
        broker.add_user(self.user, "secret")
        broker.add_vhost(self.vhost)
        where = broker.url.rpartition("@")[2].partition("/")[0]
        self.block = {
            "url": f"amqp://{self.user}:secret@{where}/{self.vhost}",
            "exchangeName": "orders.new",
            "exchangeType": "topic",
            "routingKey": "order.*",
            **more,
        }
        self.right = broker_right(AmqpConfig.model_validate(self.block))

    def permit(self, **names: set[str]) -> None:
        permission = Permission("", self.vhost, self.user, "", **names)
        texts = [f'<<"{text}">>'.replace("\\", "\\\\") for text in permission.patterns().values()]
        who = f'<<"{self.user}">>, <<"{self.vhost}">>'
        self.broker.ask(f'rabbit_auth_backend_internal:set_permissions({who}, {", ".join(texts)}, <<"tests">>).')

    async def receives(self, **more: Any) -> str:
        """Run until it listens: nothing, or why it cannot."""
        async with on_stage("amqp", {**self.block, **more}) as stage:
            running = asyncio.create_task(stage.plugin().run(stage.context()))
            try:
                await eventually(lambda: running.done() or bool(stage.listening))
                return str(running.exception()) if running.done() else ""
            finally:
                running.cancel()
                await asyncio.wait([running])


@pytest.mark.parametrize("name", CASES)
async def test_the_patterns_suffice_and_no_name_can_be_left_out(name: str, rabbitmq: RabbitMQ) -> None:
    place = await _place(rabbitmq, name)
    needed = {verb: set(getattr(place.right, verb)) for verb in ("configure", "write", "read")}
    assert name != "passive" or needed["configure"] == set()

    for verb, names in needed.items():
        for left_out in names:
            # In a place of its own: where a queue is there already, not all is asked again.
            poor = await _place(rabbitmq, name)
            poor.permit(**{**needed, verb: names - {left_out}})
            refused = await poor.receives()
            assert "ACCESS_REFUSED" in refused, (verb, left_out, refused)
    place.permit(**needed)
    assert await place.receives() == ""


async def _place(rabbitmq: RabbitMQ, name: str) -> Place:
    place = Place(rabbitmq, CASES[name])
    if name == "passive":
        # Somebody else has made both
        place.permit(configure={".*"}, write={".*"}, read={".*"})
        made = {"exchangeDeclare": {"durable": True}, "queueDeclare": {"name": "argo", "durable": True}}
        assert await place.receives(**made) == ""
    return place
