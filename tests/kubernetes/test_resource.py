"""The ``resource`` source against a real API server: the suite of every source, and what is this kind's own."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import itertools
from collections.abc import AsyncIterator
from functools import partialmethod
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest

from argosy.errors import BusError, SourceError
from argosy.kubernetes.client import Client
from argosy.lang.gjson import Document
from argosy.manifests.fields import Json
from argosy.sources._filter import decision
from argosy.sources._raw import Raw
from argosy.sources._resource_filter import ResourceFilter, predicate
from argosy.sources.resource import ResourceConfig, ResourceSource
from tests.conformance.source import DictBucket, Emitted, SourceSuite, Stage, Upstream, eventually, on_stage
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.receivers import kubeconfig_through, port_of
from tests.kubernetes.relay import Relay

orjson_loads = orjson.loads
_numbers = itertools.count(1)
GOOD: dict[str, Json] = {"version": "v1", "resource": "configmaps", "eventTypes": ["ADD"]}


class Cluster(Upstream):
    """One namespace of the API server: every message is a ConfigMap of its own."""

    keeps = True
    redelivers = True
    names_messages = True

    def __init__(self, server: ApiServer, namespace: str) -> None:
        self.server = server
        self.namespace = namespace
        self.bucket = DictBucket()
        self.block = {
            "namespace": namespace,
            "version": "v1",
            "resource": "configmaps",
            "eventTypes": ["ADD", "UPDATE", "DELETE"],
        }

    async def ask(self, method: str, path: str, body: object = None, **more: Any) -> Any:
        return await asyncio.to_thread(self.server.request, method, path, body, **more)

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/configmaps"

    async def create(self, name: str, *, labels: dict[str, str] | None = None, **data: str) -> Any:
        about = {"name": name, "labels": labels or {}}
        return await self.ask("POST", self.path, {"metadata": about, "data": data})

    async def change(self, name: str, **data: str) -> Any:
        patch = {"data": data}
        return await self.ask("PATCH", f"{self.path}/{name}", patch, content="application/merge-patch+json")

    async def label(self, name: str, **labels: str | None) -> Any:
        patch = {"metadata": {"labels": labels}}
        return await self.ask("PATCH", f"{self.path}/{name}", patch, content="application/merge-patch+json")

    async def remove(self, name: str) -> None:
        await self.ask("DELETE", f"{self.path}/{name}")

    async def send(self, text: str) -> None:
        await self.create(f"message-{next(_numbers)}", text=text)

    async def acknowledged(self) -> int:
        shards = [entry.value for key, entry in self.bucket.entries.items() if key.startswith("seen/")]
        return sum(len(orjson.loads(shard)["seen"]) for shard in shards)

    def text_of(self, data: Json) -> str:
        keys = ["type", "body", "oldBody", "group", "version", "resource"]
        assert list(data) == keys or list(data) == [*keys, "metadata"]
        assert (data["type"], data["oldBody"]) == ("ADD", None)
        assert (data["group"], data["version"], data["resource"]) == ("", "v1", "configmaps")
        assert (data["body"]["apiVersion"], data["body"]["kind"]) == ("v1", "ConfigMap")
        return str(data["body"]["data"]["text"])


@pytest.fixture
async def cluster(
    apiserver: ApiServer, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Cluster]:
    monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig(tmp_path / "kubeconfig")))
    yield Cluster(apiserver, namespace)


@pytest.fixture
async def stage(cluster: Cluster) -> AsyncIterator[Stage]:
    async with on_stage("resource", dict(cluster.block)) as stage:
        yield stage


def told(events: list[Emitted]) -> list[tuple[str, str]]:
    """Type and name of each event."""
    return [(event.data["type"], event.data["body"]["metadata"]["name"]) for event in events]


class TestResource(SourceSuite):
    kind = "resource"
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        ({**GOOD, "version": ""}, "version"),
        ({**GOOD, "resource": ""}, "resource"),
        ({**GOOD, "eventTypes": []}, "ADD, UPDATE, DELETE"),
        ({**GOOD, "eventTypes": ["CREATE"]}, "eventTypes"),
        ({key: GOOD[key] for key in ("version", "resource")}, "eventTypes"),
        ({**GOOD, "filter": {"labels": [{"key": "a", "operation": "~"}]}}, "operation"),
        ({**GOOD, "filter": {"labels": [{"key": "a", "operation": "exists", "value": "b"}]}}, "exists"),
        ({**GOOD, "filter": {"fields": [{"key": "a", "operation": "in", "value": "b"}]}}, "operation"),
        ({**GOOD, "filter": {"fields": [{"key": "a", "value": "("}]}}, "RE2"),
        ({**GOOD, "filter": {"createdBy": "yesterday"}}, "createdBy"),
        ({**GOOD, "metadataOnly": True, "filter": {"fields": [{"key": "data.a", "value": "b"}]}}, "metadataOnly"),
    ]

    @pytest.fixture
    async def upstream(self, cluster: Cluster) -> AsyncIterator[Upstream]:
        yield cluster


async def test_each_change_is_an_event_with_the_old_object_beside_an_update(cluster: Cluster, stage: Stage) -> None:
    # Given a source with metadata
    stage.block["metadata"] = {"team": "a"}
    await stage.start()
    # When an object is made, changed and deleted
    made = await cluster.create("one", text="<first>")
    changed = await cluster.change("one", text="second")
    await cluster.remove("one")
    # Then there are three events in order, whose ids are uid, version and type
    add, update, delete = await stage.events(3)
    uid = made["metadata"]["uid"]
    assert add.data["body"] == made
    assert add.id == f"{uid}/{made['metadata']['resourceVersion']}/ADD"
    assert (update.data["body"], update.data["oldBody"]) == (changed, made)
    assert update.id == f"{uid}/{changed['metadata']['resourceVersion']}/UPDATE"
    assert (delete.data["type"], delete.data["oldBody"]) == ("DELETE", None)
    assert delete.data["body"]["data"] == {"text": "second"}
    assert delete.id == f"{uid}/{delete.data['body']['metadata']['resourceVersion']}/DELETE"
    assert all(event.data["metadata"] == {"team": "a"} for event in (add, update, delete))
    # And the text is Go's: keys sorted in the body, brackets escaped
    assert b'"data":{"text":"\\u003cfirst\\u003e"}' in add.raw and add.raw.startswith(
        b'{"type":"ADD","body":{"apiVersion"'
    )


async def test_only_the_types_asked_for_are_emitted(cluster: Cluster, stage: Stage) -> None:
    # Given a source of deletions
    stage.block["eventTypes"] = ["DELETE"]
    await stage.start()
    # When objects come and go
    await cluster.create("one")
    await cluster.change("one", a="b")
    await cluster.remove("one")
    await cluster.create("two")
    await cluster.remove("two")
    # Then only their going is told
    assert told(await stage.events(2)) == [("DELETE", "one"), ("DELETE", "two")]
    assert len(stage.offered) == 2


async def test_what_is_there_already_is_added_at_the_first_start(cluster: Cluster, stage: Stage) -> None:
    # Given objects that are older than the source
    await cluster.create("one")
    await cluster.create("two")
    # When it starts
    await stage.start()
    # Then each is an ADD
    assert sorted(told(await stage.events(2))) == [("ADD", "one"), ("ADD", "two")]


async def test_a_later_start_goes_on_where_the_last_run_stood(cluster: Cluster, stage: Stage) -> None:
    # Given a source that told about three objects and stopped
    same = await cluster.create("same")
    made = await cluster.create("changed")
    await cluster.create("gone", text="still known")
    await stage.start()
    await stage.events(3)
    await stage.stop()
    # When one changes twice, one goes, one comes and goes, and it starts again
    changed = [await cluster.change("changed", a="b"), await cluster.change("changed", a="c")]
    await cluster.remove("gone")
    await cluster.create("short")
    await cluster.remove("short")
    await stage.start()
    # Then it tells each of these changes in order, as if it had been there, and nothing about what is as it was
    events = (await stage.events(8))[3:]
    await cluster.settle()
    meanwhile = [
        ("UPDATE", "changed"),
        ("UPDATE", "changed"),
        ("DELETE", "gone"),
        ("ADD", "short"),
        ("DELETE", "short"),
    ]
    assert sorted(told(events)) == sorted(meanwhile) and len(stage.offered) == 8
    first, second = (event.data for event in events if event.data["type"] == "UPDATE")
    assert (first["oldBody"], first["body"]) == (made, changed[0])
    assert (second["oldBody"], second["body"]) == tuple(changed)
    assert next(event.data["body"]["data"] for event in events if event.data["type"] == "DELETE") == {
        "text": "still known"
    }
    # And knows what was there before: the next change has the old object, too
    await cluster.change("same", a="b")
    assert (await stage.events(9))[8].data["oldBody"] == same
    # And a start with nothing changed tells nothing
    await stage.stop()
    await stage.start()
    await cluster.settle()
    assert len(stage.offered) == 9


async def test_where_that_point_is_forgotten_a_later_start_compares(cluster: Cluster, stage: Stage) -> None:
    # Given a source that told about three objects and stopped
    for name in ("same", "changed", "gone"):
        await cluster.create(name)
    await stage.start()
    await stage.events(3)
    await stage.stop()
    # When one changes, one goes and one comes, the server lets go of the past, and the source starts again
    await cluster.change("changed", a="b")
    await cluster.remove("gone")
    await cluster.create("new")
    cluster.server.forget()
    await stage.start()
    # Then it tells that, and nothing about what is as it was
    events = (await stage.events(6))[3:]
    await cluster.settle()
    assert sorted(told(events)) == [("ADD", "new"), ("DELETE", "gone"), ("UPDATE", "changed")]
    assert len(stage.offered) == 6
    # And of the one that is gone it tells who it was, for what it held was noted nowhere
    (gone,) = (event.data["body"] for event in events if event.data["type"] == "DELETE")
    assert (gone["kind"], gone["metadata"]["namespace"], "data" in gone) == ("ConfigMap", cluster.namespace, False)
    # And a start with nothing changed tells nothing
    await stage.stop()
    await stage.start()
    await cluster.settle()
    assert len(stage.offered) == 6


async def test_a_quiet_source_learns_how_far_the_server_is(
    cluster: Cluster, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a source in a namespace where nothing happens, whose watches are short: a server that ends one says where it is
    monkeypatch.setattr(Client, "watch", partialmethod(Client.watch, timeout_seconds=3))
    await stage.start()
    # When something happens to objects of its kind elsewhere
    path, about = "/api/v1/namespaces/default/configmaps", {"metadata": {"generateName": "elsewhere-"}}
    elsewhere = await cluster.ask("POST", path, about)
    # Then its next start will begin behind that
    await eventually(lambda: int(_reached(stage) or 0) >= int(elsewhere["metadata"]["resourceVersion"]))
    assert not stage.offered and not stage.errors


def _reached(stage: Stage) -> str:
    assert isinstance(stage.bucket, DictBucket)
    entry = stage.bucket.entries.get("reached")
    return str(orjson.loads(entry.value)["version"]) if entry else ""


async def test_where_it_stands_never_passes_an_event_that_is_not_stored(cluster: Cluster, stage: Stage) -> None:
    # Given an event that the bus does not take
    await stage.start()
    stage.close_gate()
    first = await cluster.create("one")
    await eventually(lambda: stage.under_way == 1)
    # When another is received, and the process dies: what it noted by then is all that there is
    await cluster.create("two")
    await eventually(lambda: stage.under_way == 2)
    await asyncio.sleep(1.5)  # longer than it takes to note
    assert isinstance(stage.bucket, DictBucket)
    noted = dict(stage.bucket.entries)
    assert int(_reached(stage) or 0) < int(first["metadata"]["resourceVersion"])
    stage.open_gate()
    await stage.events(2)
    await stage.stop()
    stage.bucket.entries = noted
    # Then the next run tells both again, by the same ids
    await stage.start()
    events = await stage.events(4)
    assert sorted(event.id or "" for event in events[:2]) == sorted(event.id or "" for event in events[2:])


async def test_of_metadata_alone_nothing_else_travels(
    cluster: Cluster, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given secrets, one of which has a copy of itself in the annotation that kubectl keeps
    received: list[bytes] = []
    monkeypatch.setattr("argosy.kubernetes.client.orjson.loads", lambda raw: received.append(raw) or orjson_loads(raw))
    path = cluster.path.replace("configmaps", "secrets")
    kept, copied = base64.b64encode(b"never to travel").decode(), base64.b64encode(b"never to be told").decode()
    annotations = {
        "kubectl.kubernetes.io/last-applied-configuration": f'{{"data":{{"a":"{copied}"}}}}',
        "other": "stays",
    }
    one = {"metadata": {"name": "one", "labels": {"app": "web"}}, "data": {"a": kept}}
    await cluster.ask("POST", path, one)
    # When a source of their metadata starts, and one is made, changed and removed
    stage.block |= {"resource": "secrets", "metadataOnly": True}
    stage.block["filter"] = {"fields": [{"key": "metadata.labels.app", "value": "^web$"}]}
    await stage.start()
    await cluster.ask("POST", path, {"metadata": {**one["metadata"], "name": "two", "annotations": annotations}})
    patch = {"stringData": {"b": "another"}}
    await cluster.ask("PATCH", f"{path}/two", patch, content="application/merge-patch+json")
    await cluster.ask("DELETE", f"{path}/two")
    # Then all of it is told, with type, name, labels and the annotations of others
    events = await stage.events(4)
    assert told(events) == [("ADD", "one"), ("ADD", "two"), ("UPDATE", "two"), ("DELETE", "two")]
    for event in events:
        body = event.data["body"]
        assert sorted(body) == ["apiVersion", "kind", "metadata"]
        assert (body["apiVersion"], body["kind"]) == ("v1", "Secret")
    assert events[2].data["oldBody"]["metadata"]["annotations"] == {"other": "stays"}
    assert events[2].data["body"]["metadata"]["resourceVersion"] in (events[2].id or "")
    # And what they hold neither came over the line nor stands on the bus
    assert received and all(kept.encode() not in bytes(raw) for raw in received)
    assert isinstance(stage.bucket, DictBucket)
    noted = [entry.value for entry in stage.bucket.entries.values()]
    assert all(
        secret.encode() not in raw for raw in [*noted, *(event.raw for event in events)] for secret in (kept, copied)
    )
    # And a start where that point is forgotten lists no more than that
    await stage.stop()
    cluster.server.forget()
    await stage.start()
    await cluster.settle()
    assert len(stage.offered) == 4
    assert all(kept.encode() not in bytes(raw) for raw in received)


async def test_an_expression_decides_over_the_object(cluster: Cluster) -> None:
    # Given a filter of this kind's own sort with an expression beside it
    wanted = {"prefix": "a", "expression": "body.data.size == 'large'"}
    config = ResourceConfig.model_validate({**cluster.block, "filter": wanted})
    decided = decision(config)
    # When an object is recorded, then both decide
    assert decided is not None
    for size, passes in (("large", True), ("small", False)):
        item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"size": size}}
        wrapped = ResourceSource.wrap(config, Raw(orjson.dumps(item)))
        assert wrapped is not None and decided.accepts(wrapped.data) is passes


async def test_a_deletion_that_failed_is_told_by_the_next_run(cluster: Cluster, stage: Stage) -> None:
    # Given a source that told about an object, whose label is a secret's, and a bus that is away
    await cluster.create("one", labels={"user": "robot"}, password="never written down")
    await stage.start()
    await stage.events(1)
    stage.close_gate()
    # When the object goes and then the bus fails
    await cluster.remove("one")
    await eventually(lambda: len(stage.offered) == 2)
    stage.failure = BusError("the bus is gone")
    stage.open_gate()
    await eventually(lambda: bool(stage.errors))
    stage.failure = None
    # Then the next run tells it, with name and labels
    event = (await stage.events(2))[1]
    assert told([event]) == [("DELETE", "one")]
    assert event.data["body"]["metadata"]["labels"] == {"user": "robot"}
    # And nothing that the object held was noted
    await stage.stop()
    assert isinstance(stage.bucket, DictBucket)
    assert all(b"never written down" not in entry.value for entry in stage.bucket.entries.values())


async def test_another_filter_looks_at_all_objects_anew(cluster: Cluster, stage: Stage) -> None:
    # Given a source that let one object pass
    stage.block["filter"] = {"prefix": "a"}
    await cluster.create("a1")
    await cluster.create("b1")
    await stage.start()
    await stage.events(1)
    await stage.stop()
    # When its filter lets the other pass
    stage.block["filter"] = {"prefix": "b"}
    await stage.start()
    # Then that one is added
    assert told(await stage.events(2)) == [("ADD", "a1"), ("ADD", "b1")]


async def test_a_crash_before_the_note_repeats_events_by_the_same_ids(cluster: Cluster, stage: Stage) -> None:
    # Given a source whose notes were lost
    await cluster.create("one")
    await stage.start()
    await stage.events(1)
    await stage.stop()
    stage.bucket = DictBucket()
    # When it starts again
    await stage.start()
    # Then the event comes again by its id, which the bus stores once
    first, second = await stage.events(2)
    assert (first.id, first.raw) == (second.id, second.raw)


async def test_what_happened_while_it_was_away_is_after_the_start(cluster: Cluster, stage: Stage) -> None:
    # Given a source of what happens after its start, which was stopped
    stage.block["filter"] = {"afterStart": True}
    await stage.start()
    await cluster.create("before")
    await stage.events(1)
    await stage.stop()
    # When an object is made, and a second later it starts again
    await cluster.create("meanwhile")
    await asyncio.sleep(1.1)
    await stage.start()
    # Then that object is told
    assert told(await stage.events(2)) == [("ADD", "before"), ("ADD", "meanwhile")]


async def test_the_changes_of_one_object_are_stored_one_after_the_other(cluster: Cluster, stage: Stage) -> None:
    # Given a bus that is away
    await stage.start()
    stage.close_gate()
    # When two objects are made, and one of them is changed
    await cluster.create("one")
    await cluster.change("one", a="b")
    await cluster.create("two")
    # Then the change waits for its own object only
    await eventually(lambda: len(stage.offered) == 2)
    await cluster.settle()
    assert told(stage.offered) == [("ADD", "one"), ("ADD", "two")]
    # And is told when the bus is back
    stage.open_gate()
    assert ("UPDATE", "one") in told(await stage.events(3))


async def test_a_change_that_nobody_wants_does_not_hide_an_event_that_failed(cluster: Cluster, stage: Stage) -> None:
    # Given a source of new objects, and a bus that is away
    stage.block["eventTypes"] = ["ADD"]
    await stage.start()
    stage.close_gate()
    # When an object is made and changed, and then the bus fails
    made = await cluster.create("one")
    await cluster.change("one", a="b")
    await eventually(lambda: len(stage.offered) == 1)
    await cluster.settle()
    stage.failure = BusError("the bus is gone")
    stage.open_gate()
    await eventually(lambda: bool(stage.errors))
    stage.failure = None
    # Then the next run tells that it was made, and how
    (event,) = await stage.events(1)
    assert told([event]) == [("ADD", "one")] and event.data["body"] == made


LABELLED: list[tuple[dict[str, str], set[str]]] = [
    ({"key": "app", "value": "web"}, {"web-a", "web-b"}),
    ({"key": "app", "operation": "==", "value": "web"}, {"web-a", "web-b"}),
    ({"key": "app", "operation": "!=", "value": "web"}, {"db", "bare"}),
    ({"key": "app", "operation": "in", "value": "db,web"}, {"web-a", "web-b", "db"}),
    ({"key": "app", "operation": "notin", "value": "db,other"}, {"web-a", "web-b", "bare"}),
    ({"key": "tier", "operation": "exists"}, {"web-b", "db"}),
    ({"key": "tier", "operation": "!"}, {"web-a", "bare"}),
    ({"key": "tier", "operation": "gt", "value": "1"}, {"db"}),
    ({"key": "tier", "operation": "lt", "value": "2"}, {"web-b"}),
]


@pytest.mark.parametrize(
    ("label", "wanted"), LABELLED, ids=lambda value: str(value.get("operation", "")) if isinstance(value, dict) else ""
)
async def test_labels_choose_objects(cluster: Cluster, stage: Stage, label: dict[str, str], wanted: set[str]) -> None:
    # Given objects with labels
    await cluster.create("web-a", labels={"app": "web"})
    await cluster.create("web-b", labels={"app": "web", "tier": "1"})
    await cluster.create("db", labels={"app": "db", "tier": "2"})
    await cluster.create("bare")
    # When a source starts that wants some
    stage.block["filter"] = {"labels": [label]}
    await stage.start()
    # Then it tells about those alone
    await stage.events(len(wanted))
    await cluster.settle()
    assert {name for _, name in told(stage.offered)} == wanted


async def test_an_object_that_loses_its_label_is_deleted_for_the_source(cluster: Cluster, stage: Stage) -> None:
    # Given a source that watches a label
    stage.block["filter"] = {"labels": [{"key": "app", "operation": "exists"}]}
    await stage.start()
    # When an object gains and loses the label
    await cluster.create("one")
    await cluster.label("one", app="x")
    await cluster.label("one", app=None)
    # Then for the source it came and went, as for upstream
    assert told(await stage.events(2)) == [("ADD", "one"), ("DELETE", "one")]


FIELDS: list[tuple[dict[str, str], set[str]]] = [
    ({"key": "data.phase", "operation": "==", "value": "^(Failed|Error)$"}, {"failed", "error"}),
    ({"key": "data.phase", "value": "rr"}, {"error"}),
    ({"key": "data.phase", "operation": "!=", "value": "rr"}, {"failed", "running"}),
    ({"key": "data.absent", "operation": "!=", "value": "x"}, set()),
    ({"key": "immutable", "operation": "=", "value": "^true$"}, {"running"}),
]


@pytest.mark.parametrize(("field", "wanted"), FIELDS)
async def test_fields_choose_objects_by_path_and_pattern(
    cluster: Cluster, stage: Stage, field: dict[str, str], wanted: set[str]
) -> None:
    # Given objects with different values
    await cluster.create("failed", phase="Failed")
    await cluster.create("error", phase="Error")
    running = {"metadata": {"name": "running"}, "data": {"phase": "Running"}, "immutable": True}
    await cluster.ask("POST", cluster.path, running)
    # When a source starts that wants some
    stage.block["filter"] = {"fields": [field]}
    await stage.start()
    # Then it tells about those alone
    await stage.events(len(wanted))
    await cluster.settle()
    assert {name for _, name in told(stage.offered)} == wanted


async def test_created_by_and_after_start_choose_by_time(cluster: Cluster, stage: Stage) -> None:
    # Given an object whose creation is told in whole seconds, and a source that starts in a later second
    made = await cluster.create("old")
    await asyncio.sleep(1.1)
    stage.block["filter"] = {"afterStart": True}
    await stage.start()
    # When another is made, and the old one is changed
    await cluster.create("new")
    await cluster.change("old", a="b")
    # Then what happened after the start is told
    assert told(await stage.events(2)) == [("ADD", "new"), ("UPDATE", "old")]
    await stage.stop()
    # And createdBy lets pass what was made until then
    stage.block["filter"] = {"createdBy": made["metadata"]["creationTimestamp"]}
    await stage.start()
    assert told((await stage.events(3))[2:]) == [("ADD", "old")]
    await cluster.settle()
    assert len(stage.offered) == 3


def test_after_start_judges_an_update_by_the_latest_update_that_the_object_tells() -> None:
    # Given an object that was updated before and after noon, and applied later
    def at(time: str, operation: str = "Update") -> dict[str, str]:
        return {"operation": operation, "time": f"2026-01-01T{time}:00Z"}

    fields = [at("11:00"), at("13:00"), at("15:00", "Apply")]
    item = {"metadata": {"name": "o", "creationTimestamp": "2025-01-01T00:00:00Z", "managedFields": fields}}
    wanted = ResourceFilter.model_validate({"afterStart": True})
    document = Document(b"{}")

    def passes(started: str) -> bool:
        return predicate(wanted, dt.datetime.fromisoformat(f"2026-01-01T{started}+00:00"))("UPDATE", item, document)

    # When the source started before, in the second of, and after the last update
    # Then the first two let it pass
    assert [passes("12:00:00"), passes("13:00:00.900"), passes("13:00:01")] == [True, True, False]


async def test_all_namespaces_are_watched_where_none_is_named(cluster: Cluster, stage: Stage) -> None:
    # Given a source without namespace, for objects of a name that nothing else has
    name = f"everywhere-{next(_numbers)}"
    del stage.block["namespace"]
    stage.block["filter"] = {"prefix": name}
    await stage.start()
    assert "all namespaces" in stage.listening[0]
    # When objects come in two namespaces
    other = Cluster(cluster.server, await asyncio.to_thread(cluster.server.namespace))
    await cluster.create(name)
    await other.create(name)
    # Then both are told
    namespaces = {event.data["body"]["metadata"]["namespace"] for event in await stage.events(2)}
    assert namespaces == {cluster.namespace, other.namespace}


async def test_custom_resources_are_watched_by_group_and_plural(cluster: Cluster, stage: Stage) -> None:
    # Given a source of Argo's workflows
    stage.block |= {"group": "argoproj.io", "version": "v1alpha1", "resource": "workflows"}
    await stage.start()
    assert f"workflows.argoproj.io in namespace '{cluster.namespace}'" in stage.listening[0]
    # When one is made
    path = f"/apis/argoproj.io/v1alpha1/namespaces/{cluster.namespace}/workflows"
    workflow = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "w"}, "spec": {}}
    await cluster.ask("POST", path, workflow)
    # Then it is told
    (event,) = await stage.events(1)
    assert event.data["body"]["kind"] == "Workflow"
    assert (event.data["group"], event.data["version"], event.data["resource"]) == (
        "argoproj.io",
        "v1alpha1",
        "workflows",
    )


async def test_what_may_not_be_watched_is_a_sentence_with_verb_resource_namespace_and_account(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a service account that may list pods and nothing else
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]
    user = await asyncio.to_thread(cluster.server.service_account, cluster.namespace, "watcher", rules)
    config = cluster.server.kubeconfig(tmp_path / "watcher", user)
    monkeypatch.setenv("KUBECONFIG", str(config))
    # When it starts on another kind
    async with on_stage("resource", {**cluster.block, "resource": "secrets"}) as stage:
        with pytest.raises(SourceError) as raised:
            await stage.plugin().run(stage.context())
    # Then the sentence says who may not do what where, and how to allow it
    for part in ("list secrets", f"'{cluster.namespace}'", user, "kubectl create role", "--verb=list"):
        assert part in str(raised.value)
    assert stage.listening == []


async def test_an_unknown_resource_is_a_sentence(cluster: Cluster) -> None:
    # Given plurals and versions that the server does not serve
    for block, named in (
        ({**cluster.block, "resource": "gadgets"}, "'gadgets'"),
        ({**cluster.block, "group": "example.com", "version": "v7"}, "'example.com/v7'"),
    ):
        # When the source starts
        async with on_stage("resource", block) as stage:
            with pytest.raises(SourceError) as raised:
                await stage.plugin().run(stage.context())
        # Then the sentence names it
        assert named in str(raised.value)


async def test_a_broken_line_goes_on_where_it_stood(
    cluster: Cluster, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a source that watches through a line that can be cut
    async with Relay(port_of(cluster.server)) as relay:
        path = kubeconfig_through(relay, cluster.server, tmp_path / "relay")
        monkeypatch.setenv("KUBECONFIG", str(path))
        await cluster.create("one")
        await stage.start()
        await stage.events(1)
        # When it is cut, and objects come, change and go meanwhile
        await relay.cut()
        await cluster.create("two")
        await cluster.change("one", a="b")
        await cluster.remove("two")
        relay.release()
        # Then every change is told, in order, with the old object, and run was not started anew
        events = (await stage.events(4))[1:]
        assert told(events) == [("ADD", "two"), ("UPDATE", "one"), ("DELETE", "two")]
        assert events[1].data["oldBody"]["metadata"]["name"] == "one"
        assert not stage.errors and len(stage.listening) == 1
        await stage.stop()


async def test_an_api_server_that_was_killed_is_watched_again(cluster: Cluster, stage: Stage) -> None:
    # Given a source that watches
    await stage.start()
    await cluster.create("before")
    await stage.events(1)
    # When the API server is killed and comes back
    cluster.server.restart()
    await cluster.create("after")
    # Then the next object is told, and the first is not told again
    assert told(await stage.events(2)) == [("ADD", "before"), ("ADD", "after")]
    assert len(stage.offered) == 2 and not stage.errors


async def test_where_the_server_has_forgotten_the_point_a_list_tells_the_rest(
    cluster: Cluster, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a source that told about three objects through a line that can be cut
    async with Relay(port_of(cluster.server)) as relay:
        path = kubeconfig_through(relay, cluster.server, tmp_path / "relay")
        monkeypatch.setenv("KUBECONFIG", str(path))
        for name in ("same", "changed"):
            await cluster.create(name)
        gone = await cluster.create("gone")
        await stage.start()
        await stage.events(3)
        # When the line is cut, things change, and the API server starts anew, which knows nothing of the time before
        await relay.cut()
        await cluster.change("changed", a="b")
        await cluster.remove("gone")
        await cluster.create("new")
        cluster.server.restart()
        relay.release()
        # Then the difference is told, with the old object, and a deletion with the last known one
        events = (await stage.events(6))[3:]
        assert sorted(told(events)) == [("ADD", "new"), ("DELETE", "gone"), ("UPDATE", "changed")]
        deletion = next(event for event in events if event.data["type"] == "DELETE")
        assert deletion.data["body"] == gone
        assert deletion.id == f"{gone['metadata']['uid']}/{gone['metadata']['resourceVersion']}/DELETE"
        update = next(event for event in events if event.data["type"] == "UPDATE")
        assert "data" not in update.data["oldBody"] and update.data["body"]["data"] == {"a": "b"}
        assert not stage.errors
        await cluster.settle()
        assert len(stage.offered) == 6
        await stage.stop()
