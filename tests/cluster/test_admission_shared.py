"""Replicas of the webhook share one certificate, whoever begins; and answers rest on what is there now, not on what was heard."""

from __future__ import annotations

import asyncio
import base64
import copy
import datetime as dt
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import orjson
import pytest

from argosy.errors import TriggerError
from argosy.kubernetes import config
from argosy.kubernetes.admission.certificates import Lives
from argosy.kubernetes.admission.configuration import PATH, SECRET
from argosy.kubernetes.admission.judges import Judges
from argosy.kubernetes.admission.known import Ask, Known
from argosy.kubernetes.admission.presenting import Presented, Shared
from argosy.kubernetes.admission.server import Metrics, Webhook
from argosy.kubernetes.client import Client
from tests.cluster.webhooks import account, asked, not_asked, path_of
from tests.kubernetes.apiserver import ApiServer
from tests.unit.kubernetes.asking import BUS, NAMESPACE, SENSOR, SOURCE, Object, cluster, question

START = dt.datetime.now(dt.UTC)


@pytest.fixture
async def client(
    apiserver: ApiServer, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Client]:
    """A client with the webhook's account in its namespace, whose configuration is there."""
    name = f"argosy-{namespace}"
    user = account(apiserver, namespace, name)
    monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig(tmp_path / "config", user, namespace=namespace)))
    asked(apiserver, namespace, 1, name)
    try:
        async with Client(config.load) as client:
            yield client
    finally:
        not_asked(apiserver, name)


def replica(client: Client, namespace: str, now: dt.datetime = START) -> Shared:
    """One replica, at a time."""
    return Shared(
        client,
        namespace,
        ["127.0.0.1"],
        configuration=f"argosy-{namespace}",
        lives=Lives(),
        now=lambda: now,
    )


def held(server: ApiServer, namespace: str) -> Object:
    secret = server.request("GET", f"/api/v1/namespaces/{namespace}/secrets/{SECRET}")
    return {key: base64.b64decode(text).decode() for key, text in secret["data"].items()}


def told(server: ApiServer, namespace: str) -> str:
    """Whom the API server trusts."""
    (bundle,) = {
        one["clientConfig"]["caBundle"] for one in server.request("GET", path_of(f"argosy-{namespace}"))["webhooks"]
    }
    return base64.b64decode(bundle).decode()


async def shown_by(client: Client, namespace: str, count: int, now: dt.datetime = START) -> set[str]:
    """The certificates that so many replicas show that begin at once."""
    presented = [Presented() for _ in range(count)]
    await asyncio.gather(*(replica(client, namespace, now).step(one) for one in presented))
    return {one.certificate for one in presented}


async def test_replicas_that_begin_at_once_show_one_certificate(
    client: Client, apiserver: ApiServer, namespace: str
) -> None:
    (certificate,) = await shown_by(client, namespace, 8)
    made = held(apiserver, namespace)
    assert made["tls.crt"] == certificate
    assert told(apiserver, namespace) == made["ca.crt"]
    # And those that renew it at once agree, too
    (later,) = await shown_by(client, namespace, 8, START + dt.timedelta(days=25))
    assert later != certificate
    assert held(apiserver, namespace)["ca.crt"] == made["ca.crt"]


async def test_a_new_authority_is_told_before_it_is_needed(
    client: Client, apiserver: ApiServer, namespace: str
) -> None:
    (before,) = await shown_by(client, namespace, 1)
    # When the authority is renewed
    now = START + dt.timedelta(days=250)
    first = replica(client, namespace, START + dt.timedelta(days=29))
    presented = Presented()
    await first.step(presented)
    renewed_ = presented.certificate
    assert renewed_ != before
    (shown,) = await shown_by(client, namespace, 3, now)
    # Then the API server trusts both
    assert told(apiserver, namespace) == held(apiserver, namespace)["ca.crt"]
    assert told(apiserver, namespace).count("BEGIN CERTIFICATE") == 2
    assert shown


async def test_a_secret_that_somebody_broke_or_deleted_is_made_anew(
    client: Client, apiserver: ApiServer, namespace: str
) -> None:
    await shown_by(client, namespace, 1)
    path = f"/api/v1/namespaces/{namespace}/secrets/{SECRET}"
    broken = {"data": {"tls.key": base64.b64encode(b"nonsense").decode()}}
    apiserver.request("PATCH", path, broken, content="application/merge-patch+json")
    (mended,) = await shown_by(client, namespace, 3)
    assert held(apiserver, namespace)["tls.crt"] == mended
    apiserver.request("DELETE", path)
    (anew,) = await shown_by(client, namespace, 3)
    assert anew != mended
    assert told(apiserver, namespace) == held(apiserver, namespace)["ca.crt"]


async def test_where_nobody_asks_the_webhook_it_says_so_and_is_there(
    apiserver: ApiServer, client: Client, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    absent = Shared(client, namespace, ["127.0.0.1"], configuration="nobody", lives=Lives())
    presented = Presented()
    with pytest.raises(TriggerError):
        await absent.step(presented)  # its account may not even look for another one
    assert presented.certificate


# What is there now


async def answer(asked: Object, heard: Known, now: dict[Ask, Object | None] | None) -> Object:
    """The response of a webhook that heard of ``heard``; ``now`` is what the API server says, None where it does not."""

    async def fresh(namespace: str, asks: Iterable[Ask]) -> dict[Ask, Object | None]:
        if now is None:
            raise TriggerError("the Kubernetes API cannot be reached")
        return {ask: now.get(ask) for ask in asks}

    async with Judges(1) as judges:
        webhook = Webhook(judges, lambda namespace, kind, item: heard, fresh, Metrics())
        made = await webhook.review(asked, asyncio.get_running_loop().time() + 60)
        response = made["response"]
        assert isinstance(response, dict)
        return response


def waiting_for(name: str) -> Object:
    made = copy.deepcopy(SENSOR)
    made["spec"]["dependencies"][0]["eventSourceName"] = name
    return made


async def test_what_was_applied_a_moment_ago_counts() -> None:
    # Given a sensor for an event source that is named nearly as another, and of which nobody has heard yet
    other = copy.deepcopy(SOURCE)
    other["metadata"]["name"] = "orderss"
    response = await answer(question(waiting_for("orderss")), cluster(SOURCE), {("EventSource", "orderss"): other})
    assert response == {"uid": "1f2e", "allowed": True}
    # And what nobody has is refused
    response = await answer(question(waiting_for("orderss")), cluster(SOURCE), {})
    assert response["allowed"] is False


async def test_who_used_a_bus_a_moment_ago_does_not_keep_it() -> None:
    heard = cluster(SOURCE, SENSOR)
    gone: dict[Ask, Object | None] = {("Namespace", NAMESPACE): {"metadata": {"name": NAMESPACE}}}
    assert (await answer(question(None, "DELETE", BUS), heard, gone))["allowed"] is True
    kept: dict[Ask, Object | None] = {**gone, ("Sensor", "billing"): SENSOR}
    response = await answer(question(None, "DELETE", BUS), heard, kept)
    assert "is the bus of Sensor 'billing'" in response["status"]["message"]
    # And with its namespace everything goes
    ending = {**kept, ("Namespace", NAMESPACE): {"metadata": {"deletionTimestamp": "2026-11-26T00:00:00Z"}}}
    assert (await answer(question(None, "DELETE", BUS), heard, ending))["allowed"] is True


async def test_where_nobody_can_be_asked_nothing_is_refused_for_the_others() -> None:
    response = await answer(question(waiting_for("orderss")), cluster(SOURCE), None)
    assert response["allowed"] is True
    assert any("did you mean 'orders'?" in one for one in response["warnings"])
    wrong = waiting_for("orderss")
    wrong["spec"]["trigers"] = []
    response = await answer(question(wrong), cluster(SOURCE), None)
    assert [one["field"] for one in response["status"]["details"]["causes"]] == ["spec.trigers"]


async def nothing(namespace: str, asks: Iterable[Ask]) -> dict[Ask, Object | None]:
    """An API server that has nothing of what is asked."""
    return dict.fromkeys(asks)


async def test_who_is_ending_sends_its_clients_elsewhere() -> None:
    # Given a webhook that is asked over one connection, and then ends
    async with Judges(1) as judges:
        webhook = Webhook(judges, lambda namespace, kind, item: cluster(), nothing, Metrics())
        sent: list[Object] = []

        async def send(message: Object) -> None:
            sent.append(message)

        body = orjson.dumps(question(SOURCE))

        async def receive() -> Object:
            return {"type": "http.request", "body": body, "more_body": False}

        scope = {"path": PATH, "method": "POST", "headers": [(b"content-type", b"application/json")]}
        for ending in (False, True):
            sent.clear()
            webhook.ending = ending
            await webhook(scope, receive, send)
            start, answer = sent
            # Then it is answered as ever, and told to come back to somebody else
            assert start["status"] == 200
            assert orjson.loads(answer["body"])["response"]["allowed"] is True
            assert ((b"connection", b"close") in start["headers"]) is ending
