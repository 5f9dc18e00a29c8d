"""A process that acts for accounts, against a real API server: what it does it does as the service account of each object, with rights that it
has not itself, and with tokens that it asks for.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from argosy import event as events
from argosy.bus._base import Bus
from argosy.errors import Rejected, TriggerError
from argosy.event import Event
from argosy.kubernetes.client import Client, shared
from argosy.kubernetes.config import load
from argosy.kubernetes.rights import Account
from argosy.kubernetes.tokens import AccountToken
from argosy.manifests.bundle import from_objects
from argosy.runtime.app import App
from argosy.runtime.buses import Buses
from argosy.runtime.secrets import Secrets
from argosy.runtime.status import Pulse
from tests.conformance.source import eventually
from tests.kubernetes import certificates
from tests.kubernetes.apiserver import ApiError, ApiServer

Rule = dict[str, Any]
TOKENS: Rule = {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]}
WORKFLOWS: Rule = {"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["create"]}
CONFIG_MAPS: Rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}


@pytest.fixture
def as_runner(
    apiserver: ApiServer, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Makes this process one that may ask for tokens, with these rules more, and nothing else."""

    def make(*rules: Rule, tokens: bool = True) -> None:
        user = apiserver.service_account(namespace, "runner", [*([TOKENS] if tokens else []), *rules])
        path = apiserver.kubeconfig(tmp_path / "runner.kubeconfig", user, namespace=namespace)
        monkeypatch.setenv("KUBECONFIG", str(path))

    make()
    return make


def _sensor(namespace: str, account: str | None = "submitter", **trigger: Any) -> dict[str, Any]:
    workflow = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "made-"},
        "spec": {"entrypoint": "main", "templates": [{"name": "main", "suspend": {}}]},
    }
    block = {"operation": "submit", "source": {"resource": workflow}, **trigger}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Sensor",
        "metadata": {"name": "orders", "namespace": namespace},
        "spec": {
            **({"template": {"serviceAccountName": account}} if account is not None else {}),
            "dependencies": [{"name": "order", "eventSourceName": "shop", "eventName": "new"}],
            "triggers": [
                {
                    "template": {"name": "start", "argoWorkflow": block},
                    "retryStrategy": {"steps": 50, "duration": "200ms", "factor": 1.0},
                }
            ],
        },
    }


class _Running:
    def __init__(self, app: App, bus: Bus, namespace: str) -> None:
        self.app = app
        self.bus = bus
        self._namespace = namespace

    async def event(self) -> None:
        event = Event(
            id=events.new_id(), source="shop", subject="new", type="webhook", time="2026-01-01T00:00:00Z", data=b"{}"
        )
        await self.bus.publish(event)

    async def pulse(self, kind: str = "Sensor", name: str = "orders") -> Pulse:
        return (await self.app.status())[kind, self._namespace, name].pulse

    async def error(self) -> str:
        return (await self.pulse()).error

    async def dead(self) -> int:
        return await self.bus.queue(f"{self._namespace}/orders/start").count_dead()


@asynccontextmanager
async def _running(namespace: str, *objects: dict[str, Any], acts_for_accounts: bool = True) -> AsyncIterator[_Running]:
    secrets = Secrets()
    buses = Buses("memory", secrets)
    async with App(buses, secrets=secrets, acts_for_accounts=acts_for_accounts, grace_seconds=2.0) as app:
        await app.apply(from_objects(list(objects)))
        yield _Running(app, await buses.get(namespace, "default"), namespace)


def _workflows(apiserver: ApiServer, namespace: str) -> list[dict[str, Any]]:
    found = apiserver.request("GET", f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/workflows")
    return list(found["items"])


def _subject(header: str) -> str:
    """Whose token it is."""
    body = header.removeprefix("Bearer ").split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["sub"])


async def test_a_workflow_is_made_with_the_rights_of_the_sensors_account_which_the_process_has_not(
    apiserver: ApiServer, namespace: str, as_runner: Callable[..., None]
) -> None:
    # Given a process that may ask for tokens and nothing else, and an account that may create workflows
    apiserver.service_account(namespace, "submitter", [WORKFLOWS])
    async with shared() as client:
        workflow = await client.discover("argoproj.io/v1alpha1", "Workflow")
        with pytest.raises(Rejected, match=r"runner.*cannot create"):
            await client.create(workflow, {"metadata": {"name": "own"}}, namespace)
    async with _running(namespace, _sensor(namespace)) as running:
        # When an event comes
        await running.event()
        # Then there is a workflow
        await eventually(lambda: len(_workflows(apiserver, namespace)) == 1, "no workflow")
        await eventually(lambda: _fired(running))


async def _fired(running: _Running) -> bool:
    return (await running.pulse()).last_fired > 0


async def test_a_process_that_does_not_act_for_accounts_acts_as_itself(
    apiserver: ApiServer, namespace: str, as_runner: Callable[..., None]
) -> None:
    as_runner(WORKFLOWS, tokens=False)
    async with _running(namespace, _sensor(namespace, "nobody"), acts_for_accounts=False) as running:
        await running.event()
        await eventually(lambda: len(_workflows(apiserver, namespace)) == 1, "no workflow")


async def test_a_sensor_that_names_no_account_acts_as_the_default_one(
    apiserver: ApiServer, namespace: str, as_runner: Callable[..., None]
) -> None:
    apiserver.service_account(namespace, "default", [WORKFLOWS])
    async with _running(namespace, _sensor(namespace, None)) as running:
        await running.event()
        await eventually(lambda: len(_workflows(apiserver, namespace)) == 1, "no workflow")


async def test_an_account_that_is_not_there_is_named_and_comes_in_time(
    apiserver: ApiServer, namespace: str, as_runner: Callable[..., None]
) -> None:
    async with _running(namespace, _sensor(namespace)) as running:
        await running.event()
        words = f"the service account 'submitter' of namespace '{namespace}' does not exist"

        async def said() -> bool:
            return words in await running.error()

        await eventually(said, words)
        apiserver.service_account(namespace, "submitter", [WORKFLOWS])
        await eventually(lambda: len(_workflows(apiserver, namespace)) == 1, "no workflow")


async def test_a_process_that_may_not_have_tokens_says_what_to_grant(
    apiserver: ApiServer, namespace: str, as_runner: Callable[..., None]
) -> None:
    as_runner(tokens=False)
    apiserver.service_account(namespace, "submitter", [WORKFLOWS])
    async with _running(namespace, _sensor(namespace)) as running:
        await running.event()

        async def said() -> bool:
            error = await running.error()
            return (
                "cannot act as the service account 'submitter'" in error
                and "--verb=create --resource=serviceaccounts/token" in error
            )

        await eventually(said, "what to grant")
        as_runner()  # the same token, with more rights
        await eventually(lambda: len(_workflows(apiserver, namespace)) == 1, "no workflow")


async def test_a_right_that_is_taken_away_makes_a_dead_letter_that_names_the_account_and_the_verb(
    apiserver: ApiServer, namespace: str, as_runner: Callable[..., None]
) -> None:
    apiserver.service_account(namespace, "submitter", [WORKFLOWS])
    async with _running(namespace, _sensor(namespace)) as running:
        await running.event()
        await eventually(lambda: len(_workflows(apiserver, namespace)) == 1, "no workflow")
        apiserver.service_account(namespace, "submitter")

        async def dead() -> bool:
            if not await running.dead():
                await running.event()  # the server forgets a right within moments, not at once
                await asyncio.sleep(0.1)
            return await running.dead() > 0

        await eventually(dead, "a dead letter")
        error = await running.error()
        assert f"system:serviceaccount:{namespace}:submitter" in error
        assert 'cannot create resource "workflows"' in error
        assert "forbidden" in error
        letters = await running.bus.queue(f"{namespace}/orders/start").dead_letters()
        assert "cannot create" in letters[0].reason


async def test_a_trigger_that_acts_in_the_name_of_another_account_does_so_on_top(
    apiserver: ApiServer, namespace: str, as_runner: Callable[..., None]
) -> None:
    impersonate = {
        "apiGroups": [""],
        "resources": ["serviceaccounts"],
        "verbs": ["impersonate"],
        "resourceNames": ["tenant"],
    }
    apiserver.service_account(namespace, "submitter", [impersonate])
    apiserver.service_account(namespace, "tenant", [WORKFLOWS])
    async with _running(namespace, _sensor(namespace, serviceAccountName="tenant")) as running:
        await running.event()
        await eventually(lambda: len(_workflows(apiserver, namespace)) == 1, "no workflow")


async def test_a_resource_source_watches_as_its_own_account_and_follows_a_change_of_it(
    apiserver: ApiServer, namespace: str, as_runner: Callable[..., None]
) -> None:
    def source(account: str) -> dict[str, Any]:
        block = {"namespace": namespace, "version": "v1", "resource": "configmaps", "eventTypes": ["ADD"]}
        return {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "EventSource",
            "metadata": {"name": "maps", "namespace": namespace},
            "spec": {"template": {"serviceAccountName": account}, "resource": {"changes": block}},
        }

    # Given a source whose account may not watch
    apiserver.service_account(namespace, "blind")
    apiserver.service_account(namespace, "watcher", [CONFIG_MAPS])
    async with _running(namespace, source("blind")) as running:

        async def refused() -> bool:
            error = (await running.pulse("EventSource", "maps")).error
            return "'changes' is not received" in error and f"system:serviceaccount:{namespace}:blind" in error

        await eventually(refused, "the refusal")
        status = (await running.app.status())["EventSource", namespace, "maps"]
        assert not status.ready
        assert "does not receive: " in status.waiting_for[0]
        # When another account stands in its manifest, and nothing else changes
        await running.app.apply(from_objects([source("watcher")]))
        # Then it receives as that

        async def receives() -> bool:
            return (await running.app.status())["EventSource", namespace, "maps"].ready

        await eventually(receives, "the source receives")


class TestToken:
    @pytest.fixture
    async def client(self, as_runner: Callable[..., None]) -> AsyncIterator[Client]:
        async with Client() as client:
            yield client

    async def test_is_kept_for_four_fifths_of_its_life_and_then_renewed(
        self, apiserver: ApiServer, namespace: str, client: Client
    ) -> None:
        apiserver.service_account(namespace, "submitter")
        now = 1000.0
        token = AccountToken(client, Account(namespace, "submitter"), lambda: now)
        first = await token.authorization(refused=False)
        assert first is not None
        assert _subject(first) == f"system:serviceaccount:{namespace}:submitter"
        now += 0.79 * 3600
        assert await token.authorization(refused=False) == first
        now += 0.02 * 3600
        second = await token.authorization(refused=False)
        assert second is not None
        assert second != first
        # Both are good: nobody who holds the first one is cut off.
        for header in (first, second):
            apiserver.tokens["renewed"] = header.removeprefix("Bearer ")
            apiserver.request("GET", "/api/v1", user="renewed")

    async def test_is_used_on_while_it_cannot_be_renewed_and_not_after_its_end(
        self, apiserver: ApiServer, namespace: str, as_runner: Callable[..., None], client: Client
    ) -> None:
        apiserver.service_account(namespace, "submitter")
        now = 1000.0
        token = AccountToken(client, Account(namespace, "submitter"), lambda: now)
        first = await token.authorization(refused=False)
        as_runner(tokens=False)
        now += 0.9 * 3600
        await eventually(lambda: _forbidden(client, namespace))
        assert await token.authorization(refused=False) == first
        now += 0.2 * 3600
        with pytest.raises(TriggerError, match="cannot act as the service account 'submitter'"):
            await token.authorization(refused=False)

    async def test_that_the_server_refuses_is_asked_for_anew_once_for_all(
        self, apiserver: ApiServer, namespace: str, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given a token of an account that was removed and made again since
        apiserver.service_account(namespace, "submitter", [CONFIG_MAPS])
        given: list[str] = []
        ask = client.create_part

        async def asked(*words: Any) -> Any:
            answer = await ask(*words)
            given.append(answer["status"]["token"])
            return answer

        monkeypatch.setattr(client, "create_part", asked)
        acting = client.of(Account(namespace, "submitter"))
        maps = await acting.discover("v1", "ConfigMap")
        await acting.list(maps, namespace)
        apiserver.tokens["old"] = given[0]
        apiserver.request("DELETE", f"/api/v1/namespaces/{namespace}/serviceaccounts/submitter")
        apiserver.service_account(namespace, "submitter", [CONFIG_MAPS])

        def refused() -> bool:
            try:
                apiserver.request("GET", "/api/v1", user="old")
            except ApiError as error:
                return error.status == 401
            return False

        await eventually(refused, "the server forgets the old account within ten seconds")
        # Then whoever uses it does not notice, however many they are
        await asyncio.gather(*(acting.list(maps, namespace) for _ in range(10)))
        assert len(given) == 2

    async def test_is_never_shown(
        self, apiserver: ApiServer, namespace: str, client: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        apiserver.service_account(namespace, "submitter")
        token = AccountToken(client, Account(namespace, "submitter"))
        with caplog.at_level(logging.DEBUG):
            header = await token.authorization(refused=False)
            acting = client.of(Account(namespace, "submitter"))
            maps = await acting.discover("v1", "ConfigMap")
            with pytest.raises(Rejected) as refused:
                await acting.list(maps, namespace)
        assert header is not None
        secret = header.removeprefix("Bearer ")[-40:]
        for text in (caplog.text, repr(token), repr(acting), str(refused.value)):
            assert secret not in text
            assert "Bearer ey" not in text

    async def test_counts_where_the_process_itself_is_known_by_a_certificate(
        self, apiserver: ApiServer, namespace: str, tmp_path: Path
    ) -> None:
        # Given a process that the server knows by its certificate, which comes before any token
        certificates.server(apiserver.folder, "gatekeeper")
        path = apiserver.kubeconfig(tmp_path / "certified")
        document = yaml.safe_load(path.read_text())
        files = {"client-certificate": "gatekeeper.crt", "client-key": "gatekeeper.key"}
        document["users"][0]["user"] = {name: str(apiserver.folder / file) for name, file in files.items()}
        path.write_text(yaml.safe_dump(document))
        apiserver.service_account(namespace, "submitter", [CONFIG_MAPS])
        about = {"namespace": namespace, "name": "gatekeeper"}
        group = "rbac.authorization.k8s.io"
        role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": about}
        reference = {"apiGroup": group, "kind": "Role", "name": "gatekeeper"}
        subject = {"apiGroup": group, "kind": "User", "name": "gatekeeper"}
        apiserver.apply({**role, "rules": [TOKENS]})
        apiserver.apply({**role, "kind": "RoleBinding", "roleRef": reference, "subjects": [subject]})
        async with Client(lambda: load(environment={"KUBECONFIG": str(path)})) as client:
            maps = await client.discover("v1", "ConfigMap")
            with pytest.raises(Rejected, match="gatekeeper"):
                await client.list(maps, namespace)
            # When it acts for an account, then it is that account
            await client.of(Account(namespace, "submitter")).list(maps, namespace)


async def _forbidden(client: Client, namespace: str) -> bool:
    """Whether the process may have no tokens now; the server forgets a right within moments."""
    try:
        await AccountToken(client, Account(namespace, "submitter")).authorization(refused=False)
    except TriggerError:
        return True
    return False
