"""Services that send webhooks share one port with each other: each is checked by its own rules, all are received at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest

from argosy import registry
from argosy.sources._http import HttpServers
from tests.conformance.source import Stage, eventually, free_port
from tests.unit.sources import test_github, test_gitlab, test_slack
from tests.unit.sources.hook_sender import Delivery

_KINDS: dict[str, tuple[dict[str, Any], dict[tuple[str, str], str]]] = {
    "github": ({"repositories": test_github.REPOSITORIES, "webhookSecret": test_github.SELECTOR}, test_github.SECRET),
    "gitlab": ({"secretToken": test_gitlab.TOKEN, **test_gitlab.FIELDS}, test_gitlab.SECRETS),
    "slack": (test_slack.FIELDS, test_slack.SECRETS),
    "webhook": ({}, {}),
}


def _deliveries() -> dict[str, Delivery]:
    """What each service sends; signed now, for a signature is good for minutes only."""
    return {
        "github": test_github.delivery("one"),
        "gitlab": test_gitlab.delivery("one"),
        "slack": test_slack.signed(json.dumps(test_slack.callback("one")).encode()),
        "webhook": (b'{"text":"one"}', {"Content-Type": "application/json"}),
    }


@pytest.fixture
async def stages() -> AsyncIterator[dict[str, Stage]]:
    """A source of each kind on one port, each with an endpoint of its own."""
    port = str(free_port())
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(HttpServers(host="127.0.0.1", linger_seconds=0.0))
        stages = {}
        for kind, (fields, secrets) in _KINDS.items():
            webhook = {"port": port, "endpoint": f"/{kind}", "method": "POST"}
            plugin = registry.source(kind)
            assert plugin is not None
            block = {**webhook, **fields} if kind == "webhook" else {"webhook": webhook, **fields}
            stage = stages[kind] = Stage(plugin, block, secrets=dict(secrets), http=http)
            stack.push_async_callback(stage.stop)
            stack.callback(stage.open_gate)
            await stage.start()
        yield stages


async def test_github_gitlab_slack_and_plain_webhooks_are_received_on_one_port_at_once(
    stages: dict[str, Stage],
) -> None:
    # Given a bus that does not answer
    for stage in stages.values():
        stage.close_gate()
    async with httpx2.AsyncClient(timeout=60) as client:
        # When each service delivers
        calls = {
            kind: asyncio.create_task(client.post(stages[kind].listening[0], content=body, headers=headers))
            for kind, (body, headers) in _deliveries().items()
        }
        # Then none waits for another, and none is answered
        await eventually(lambda: all(stage.under_way == 1 for stage in stages.values()), "all are offered")
        assert not any(call.done() for call in calls.values())
        # And each is told, and becomes an event of its own kind, once it is stored
        for stage in stages.values():
            stage.open_gate()
        assert {kind: (await call).status_code for kind, call in calls.items()} == dict.fromkeys(_KINDS, 200)
        assert all(len(stage.emitted) == 1 for stage in stages.values())


async def test_what_one_service_signs_does_not_open_the_endpoint_of_another(stages: dict[str, Stage]) -> None:
    async with httpx2.AsyncClient(timeout=60) as client:
        # When each delivery goes to the endpoints of the others that want a proof
        for kind, (body, headers) in _deliveries().items():
            for other in _KINDS.keys() - {kind, "webhook"}:
                answer = await client.post(stages[other].listening[0], content=body, headers=headers)
                assert answer.status_code in (400, 401, 403), (kind, other, answer.text)
        # Then none of them is an event
        assert all(not stage.offered for stage in stages.values())
