"""The Kubernetes client against a real API server, and against answers that a real one gives only on bad
days.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from argosy.errors import Rejected, RetryAfter, TriggerError
from argosy.kubernetes import config
from argosy.kubernetes.client import Client, Conflict, Expired, NotFound, shared
from tests.conformance.trigger import eventually
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.receivers import kubeconfig_through, port_of
from tests.kubernetes.relay import Relay
from tests.unit.triggers.receivers import Answer, HttpServer

Object = dict[str, Any]


def config_map(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def client_of(path: Path) -> Client:
    return Client(lambda: config.load(environment={"KUBECONFIG": str(path)}))


@pytest.fixture
async def client(apiserver: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with client_of(apiserver.kubeconfig(tmp_path / "kubeconfig")) as client:
        yield client


class Changes:
    """The events of a watch that runs beside the test."""

    def __init__(self, events: AsyncIterator[Object]) -> None:
        self.seen: list[tuple[str, str]] = []
        self.bookmarks = 0
        self.failure: Exception | None = None
        self._task = asyncio.create_task(self._follow(events))

    async def _follow(self, events: AsyncIterator[Object]) -> None:
        try:
            async for event in events:
                if event["type"] == "BOOKMARK":
                    self.bookmarks += 1
                else:
                    self.seen.append((event["type"], event["object"]["metadata"]["name"]))
        except TriggerError as error:
            self.failure = error

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


class TestObjects:
    async def test_what_was_created_is_listed_read_changed_and_deleted(self, client: Client, namespace: str) -> None:
        maps = await client.discover("v1", "ConfigMap")
        assert (maps.plural, maps.namespaced, maps.group, "watch" in maps.verbs) == (
            "configmaps",
            True,
            "",
            True,
        )
        made = await client.create(maps, config_map("one", a="1"), namespace)
        found = await client.list(maps, namespace, fields="metadata.name=one")
        assert [item["metadata"]["uid"] for item in found.items] == [made["metadata"]["uid"]]
        assert found.items[0]["kind"] == "ConfigMap"
        assert found.resource_version
        patched = await client.patch(maps, "one", {"data": {"b": "2"}}, namespace)
        assert patched["data"] == {"a": "1", "b": "2"}
        with pytest.raises(Conflict, match=r"update configmaps 'one'.*modified"):
            await client.replace(maps, "one", made, namespace)
        await client.delete(maps, "one", namespace)
        with pytest.raises(NotFound, match="get configmaps 'one' in namespace"):
            await client.get(maps, "one", namespace)

    async def test_a_long_list_comes_in_pages_and_whole(
        self, client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("argosy.kubernetes.client._PAGE", 3)
        maps = await client.discover("v1", "ConfigMap")
        for number in range(8):
            body = config_map(f"map-{number}")
            body["metadata"]["labels"] = {"page": "yes"}
            await client.create(maps, body, namespace)
        found = await client.list(maps, namespace, labels="page=yes")
        assert [item["metadata"]["name"] for item in found.items] == [f"map-{number}" for number in range(8)]

    async def test_a_plural_is_found_too(self, client: Client) -> None:
        found = await client.discover_plural("argoproj.io/v1alpha1", "workflows")
        assert (found.kind, found.group, found.api_version) == (
            "Workflow",
            "argoproj.io",
            "argoproj.io/v1alpha1",
        )
        with pytest.raises(Rejected, match="serves no resource 'workflow' in"):
            await client.discover_plural("argoproj.io/v1alpha1", "workflow")


class TestWatch:
    async def test_changes_come_in_order_and_go_on_when_the_server_ends_the_watch(
        self, client: Client, namespace: str
    ) -> None:
        # Given a watch that the server ends every second
        maps = await client.discover("v1", "ConfigMap")
        start = (await client.list(maps, namespace)).resource_version
        changes = Changes(client.watch(maps, namespace, resource_version=start, timeout_seconds=1))
        # When changes come over several of its lives
        wanted = []
        for number in range(3):
            name = f"map-{number}"
            await client.create(maps, config_map(name), namespace)
            await client.patch(maps, name, {"data": {"a": "1"}}, namespace)
            await client.delete(maps, name, namespace)
            wanted += [("ADDED", name), ("MODIFIED", name), ("DELETED", name)]
            await asyncio.sleep(0.7)  # so that the watch ends in between
        # Then each comes once, in order
        await eventually(lambda: len(changes.seen) >= len(wanted), f"{wanted}, got {changes.seen}")
        await changes.stop()
        assert changes.seen == wanted
        assert changes.failure is None

    async def test_a_selector_chooses(self, client: Client, namespace: str) -> None:
        maps = await client.discover("v1", "ConfigMap")
        changes = Changes(client.watch(maps, namespace, fields="metadata.name=two"))
        for name in ("one", "two", "three"):
            await client.create(maps, config_map(name), namespace)
        await eventually(lambda: ("ADDED", "two") in changes.seen, f"the change, not {changes.failure}")
        await changes.stop()
        assert changes.seen == [("ADDED", "two")]

    async def test_a_lost_connection_is_an_error_of_ours(
        self, apiserver: ApiServer, namespace: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "kubeconfig"
        async with (
            Relay(port_of(apiserver)) as relay,
            client_of(kubeconfig_through(relay, apiserver, path)) as client,
        ):
            maps = await client.discover("v1", "ConfigMap")
            changes = Changes(client.watch(maps, namespace))
            await client.create(maps, config_map("one"), namespace)
            await eventually(lambda: ("ADDED", "one") in changes.seen)
            await relay.cut()
            await eventually(lambda: changes.failure is not None)
            await changes.stop()
        assert "watch configmaps in namespace" in str(changes.failure)


class TestWhoWeAre:
    async def test_a_plug_in_gives_the_token_and_is_asked_again_when_it_is_refused(
        self, apiserver: ApiServer, tmp_path: Path, namespace: str
    ) -> None:
        # Given a credential plug-in that gives a wrong token first
        tokens = [apiserver.tokens["nobody"] + "-wrong", apiserver.tokens["admin"]]
        program = tmp_path / "bin" / "plugin"
        program.parent.mkdir()
        program.write_text(
            f"#!{sys.executable}\n"
            "import json, os, pathlib, sys\n"
            "asked = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
            "assert sys.argv[1:] == ['give'] and os.environ['WHO'] == 'me'\n"
            f"count = pathlib.Path({str(tmp_path / 'count')!r})\n"
            "number = int(count.read_text()) if count.exists() else 0\n"
            "count.write_text(str(number + 1))\n"
            f"token = {tokens!r}[min(number, 1)]\n"
            "print(json.dumps({**asked, 'status': {'token': token}}))\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        path = apiserver.kubeconfig(tmp_path / "kubeconfig")
        document = yaml.safe_load(path.read_text())
        document["users"][0]["user"] = {
            "exec": {
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": "./bin/plugin",
                "args": ["give"],
                "env": [{"name": "WHO", "value": "me"}],
            }
        }
        path.write_text(yaml.safe_dump(document))
        async with client_of(path) as client:
            maps = await client.discover("v1", "ConfigMap")
            await client.list(maps, namespace)
        # Then the second token was used, and kept
        assert (tmp_path / "count").read_text() == "2"

    async def test_a_service_account_in_a_pod_is_read_anew_when_it_rotates(
        self, apiserver: ApiServer, namespace: str, tmp_path: Path
    ) -> None:
        # Given the files and variables of a pod, and a token that is no longer good
        for name, text in (("token", "old"), ("namespace", namespace), ("ca.crt", apiserver.ca.read_text())):
            (tmp_path / name).write_text(text)
        variables = {
            "HOME": str(tmp_path),
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(port_of(apiserver)),
        }
        client = Client(lambda: config.load(environment=variables, service_account=tmp_path))
        async with client:
            assert (await client.access()).namespace == namespace
            with pytest.raises(TriggerError, match="does not accept our credentials"):
                await client.discover("v1", "ConfigMap")
            # When it is replaced, then the next call has the new one
            user = apiserver.service_account(namespace, "pod")
            (tmp_path / "token").write_text(apiserver.tokens[user] + "\n")
            assert (await client.discover("v1", "ConfigMap")).plural == "configmaps"

    async def test_a_server_that_nobody_signed_for_is_not_talked_to(self, apiserver: ApiServer, tmp_path: Path) -> None:
        path = apiserver.kubeconfig(tmp_path / "kubeconfig")
        document = yaml.safe_load(path.read_text())
        del document["clusters"][0]["cluster"]["certificate-authority"]
        path.write_text(yaml.safe_dump(document))
        async with client_of(path) as client:
            with pytest.raises(TriggerError, match="the certificate is not trusted"):
                await client.discover("v1", "ConfigMap")

    async def test_the_shared_client_ends_with_its_last_user(
        self, apiserver: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig(tmp_path / "kubeconfig")))
        async with shared() as one:
            async with shared() as two:
                assert one is two
                await two.discover("v1", "ConfigMap")
            await one.discover("v1", "Secret")
        async with shared() as three:
            assert three is not one


@pytest.fixture
async def bad_day(tmp_path: Path) -> AsyncIterator[tuple[HttpServer, Client]]:
    """A server whose answers a test writes, which knows config maps."""
    async with HttpServer() as server:
        kinds = [{"name": "configmaps", "kind": "ConfigMap", "namespaced": True, "verbs": ["get"]}]
        server.answers["/api/v1"] = Answer(body=json.dumps({"resources": kinds}).encode())
        path = tmp_path / "kubeconfig"
        path.write_text(
            yaml.safe_dump(
                {
                    "clusters": [{"name": "c", "cluster": {"server": server.url}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c"}}],
                    "current-context": "c",
                }
            )
        )
        async with client_of(path) as client:
            yield server, client


def status(code: int, message: str, **more: Any) -> bytes:
    return json.dumps({"kind": "Status", "code": code, "message": message, **more}).encode()


class TestBadDays:
    @pytest.mark.parametrize(
        ("answer", "seconds"),
        [
            (Answer(429, {"Retry-After": "3"}, status(429, "slow down")), 3),
            (Answer(503, {}, status(503, "not now", details={"retryAfterSeconds": 4})), 4),
            (Answer(500, {}, b"<html>a proxy</html>"), None),
            (Answer(403, {}, status(403, 'pods "a" is forbidden: exceeded quota: q')), None),
            (Answer(200, {}, b"<html>a proxy</html>"), None),
            (Answer(200, {}, b'{"items"', cut=4), None),
        ],
    )
    async def test_what_may_pass_is_no_rejection(
        self, bad_day: tuple[HttpServer, Client], answer: Answer, seconds: float | None
    ) -> None:
        server, client = bad_day
        server.default = answer
        maps = await client.discover("v1", "ConfigMap")
        with pytest.raises(TriggerError, match="get configmaps 'one' in namespace 'here': ") as error:
            await client.get(maps, "one", "here")
        assert not isinstance(error.value, Rejected)
        assert getattr(error.value, "seconds", None) == seconds
        assert isinstance(error.value, RetryAfter) == (seconds is not None)

    async def test_a_webhook_that_denies_is_rejected_without_talk_of_roles(
        self, bad_day: tuple[HttpServer, Client]
    ) -> None:
        server, client = bad_day
        server.default = Answer(403, {}, status(403, 'admission webhook "w" denied the request: no'))
        maps = await client.discover("v1", "ConfigMap")
        with pytest.raises(Rejected) as error:
            await client.create(maps, config_map("one"), "here")
        assert str(error.value).endswith('admission webhook "w" denied the request: no')

    async def test_pages_that_expire_are_fetched_as_a_whole(self, bad_day: tuple[HttpServer, Client]) -> None:
        server, client = bad_day
        first = {"metadata": {"continue": "next"}, "items": [{"metadata": {"name": "old"}}]}
        whole = {"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "new"}}]}
        bodies = [Answer(200, {}, json.dumps(first).encode()), Answer(410, {}, status(410, "expired"))]
        bodies.append(Answer(200, {}, json.dumps(whole).encode()))
        server.queue = bodies
        maps = await client.discover("v1", "ConfigMap")
        found = await client.list(maps, "here")
        assert [item["metadata"]["name"] for item in found.items] == ["new"]
        assert found.resource_version == "7"
        assert "limit" not in server.requests[-1].target

    async def test_watches_that_end_at_once_are_not_opened_for_ever(self, bad_day: tuple[HttpServer, Client]) -> None:
        _, client = bad_day
        maps = await client.discover("v1", "ConfigMap")
        with pytest.raises(TriggerError, match="ends watches at once"):
            async for _ in client.watch(maps, "here"):
                pytest.fail("there is nothing to tell")

    async def test_a_watch_that_expires_under_way_is_said(self, bad_day: tuple[HttpServer, Client]) -> None:
        server, client = bad_day
        events = [
            {"type": "ADDED", "object": {"metadata": {"name": "one", "resourceVersion": "5"}}},
            {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "6"}}},
            {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}},
        ]
        server.default = Answer(body="".join(json.dumps(event) + "\n" for event in events).encode())
        maps = await client.discover("v1", "ConfigMap")
        changes = Changes(client.watch(maps, "here", resource_version="4"))
        await eventually(lambda: changes.failure is not None)
        await changes.stop()
        assert isinstance(changes.failure, Expired)
        assert (changes.seen, changes.bookmarks) == ([("ADDED", "one")], 1)
        assert "resourceVersion=4" in server.requests[-1].target
