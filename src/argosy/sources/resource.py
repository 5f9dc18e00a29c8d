"""``resource``: each change of the Kubernetes objects of one kind becomes one event.

The source lists, then watches. It remembers each object, so that an UPDATE carries the old one beside the
new; and a list after a break tells, by comparison, what was added, changed and deleted meanwhile. The
event's id is uid, resource version and type.

What was told already is noted on the bus (``_resource_memory``), and how far the watch was. A source that starts again
asks for the objects as they stood at that point and watches from there, so every change of the time between is told,
each with the old object. Where the server has forgotten that point (it keeps five minutes), a list is compared
with the notes: what has changed is an UPDATE without ``oldBody``; of an object that has gone, the DELETE carries type,
name and labels alone. Upstream says ADD for every object at every start, and nothing of those that have gone.

A watch that breaks goes on where it stood, and begins with a list again where the server has forgotten that
point. That is done in here, not by a new start, because what is remembered would be lost.

``_resource_filter`` says which events are wanted. Kubeconfig and service account are the client's matter
(``argosy.kubernetes.client``). Slightly over the usual length, because list, watch and notes are one story told in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pydantic import Field, field_validator, model_validator

from argosy.errors import EventInvalid, EventTooLarge, LangError, Rejected, RetryAfter, SourceError, TriggerError
from argosy.kubernetes.rights import EVERYWHERE, Asking, Right, Rights
from argosy.lang import gjson, gojson
from argosy.manifests.fields import OURS, Json
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._raw import Raw, Wrapped
from argosy.sources._resource_filter import EventType, Object, ResourceFilter, label_selector, predicate
from argosy.sources._resource_memory import Progress, Seen
from argosy.sources._resource_objects import about_of, metadata_only, uid_of, version_of

if TYPE_CHECKING:
    from argosy.kubernetes.client import Client, Listing, Resource

_UNDER_WAY = 64
_LONGEST_PAUSE_SECONDS = 30.0


class ResourceConfig(SourceConfig):
    """The objects of one kind, in one namespace or in all."""

    dropped: ClassVar[Mapping[str, str]] = {"eventType": "0.14; write 'eventTypes'"}

    namespace: str = ""
    """Empty means all namespaces; the service account then needs a ClusterRole."""
    group: str = ""
    """Empty is the core API (pods, secrets)."""
    version: str = Field(min_length=1)
    """The version of the API: ``v1``, ``v1alpha1``."""
    resource: str = Field(min_length=1)
    """The plural: ``workflows``, ``pods``."""
    event_types: list[EventType]
    """Which changes become events."""
    filter: ResourceFilter | None = None
    """Which objects and changes count."""
    metadata_only: bool = Field(False, json_schema_extra=OURS)
    """Objects are asked for and told with their ``metadata`` alone: what a Secret holds stays where it is. The copy
    of everything that ``kubectl apply`` keeps in an annotation is left out, too."""

    @field_validator("event_types")
    @classmethod
    def _some(cls, event_types: list[EventType]) -> list[EventType]:
        if not event_types:
            raise ValueError("needs at least one of ADD, UPDATE, DELETE")
        return event_types

    @model_validator(mode="after")
    def _within_reach(self) -> ResourceConfig:
        for field in self.filter.fields if self.filter and self.metadata_only else ():
            if not field.key.startswith("metadata."):
                raise ValueError(
                    f"with metadataOnly, filter.fields can look into 'metadata.' only, not at {field.key!r}"
                )
        return self


class ResourceSource(Source[ResourceConfig]):
    """Watches one kind of object. The service account needs the verbs list and watch on it.

    What takes the place of an acknowledgement is a note on the bus: how far everything is told. A source that starts again goes
    on from there: nothing is told twice because it starts, and nothing that happened while it was away is left out."""

    kind: ClassVar[str] = "resource"
    config = ResourceConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = ("httpx2",)
    extra: ClassVar[str] = "kubernetes"
    peer: ClassVar[str] = "real: kube-apiserver with etcd"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: resource
spec:
  template:
    serviceAccountName: argosy-resource
  resource:
    example:
      namespace: argo
      group: argoproj.io
      version: v1alpha1
      resource: workflows
      eventTypes:
        - ADD
        - UPDATE
      filter:
        afterStart: true
        labels:
          - key: app
            operation: in
            value: builds,tests
        fields:
          - key: status.phase
            operation: ==
            value: ^(Failed|Error)$
"""

    @classmethod
    def wrap(cls, config: ResourceConfig, raw: Raw) -> Wrapped:
        change = raw.method or config.event_types[0]
        if change not in config.event_types:
            raise EventInvalid(f"{change!r} is not among the eventTypes of this event: {', '.join(config.event_types)}")
        try:
            item = gojson.loads(raw.body)
        except LangError as error:
            raise EventInvalid(f"the object is not JSON: {error}") from error
        if config.metadata_only:
            item = metadata_only(item)
        return Wrapped(_data(change, gojson.dumps(item), None, _tail(config)), None)

    @classmethod
    def rights(cls, config: ResourceConfig, asking: Asking) -> Rights:
        where = config.namespace if asking.kinds.namespaced(config.group, config.resource) else EVERYWHERE
        return Rights([Right(verb, config.group, config.resource, where) for verb in ("list", "watch")])

    async def run(self, ctx: SourceContext[ResourceConfig]) -> None:
        from argosy.kubernetes.client import shared

        async with shared(ctx.account) as client:
            await _Watch(ctx, client).run()


def _tail(config: ResourceConfig) -> bytes:
    origin: dict[str, Json] = {"group": config.group, "version": config.version, "resource": config.resource}
    if config.metadata:
        origin |= {"metadata": dict(sorted(config.metadata.items()))}
    return b"," + gojson.dumps(origin, sort_keys=False)[1:]


def _data(change: str, body: bytes, before: bytes | None, tail: bytes) -> bytes:
    return b'{"type":"%b","body":%b,"oldBody":%b%b' % (change.encode(), body, before or b"null", tail)


class _Known(NamedTuple):
    version: str
    body: bytes


class _Watch:
    """One run: the objects as they were last seen, and the emits under way. The changes of one object are
    emitted and noted one after the other: a later one that is noted would hide an earlier one that failed.
    """

    def __init__(self, ctx: SourceContext[ResourceConfig], client: Client) -> None:
        config = ctx.config
        self._ctx = ctx
        self._client = client
        self._labels = label_selector(config.filter)
        watched = config.model_dump_json(exclude={"metadata"}, exclude_defaults=True)
        self._seen = Seen(ctx.bucket, ctx.clock, hashlib.sha256(watched.encode()).hexdigest()[:16])
        self._known: dict[str, _Known] = {}
        self._tells_deletions = "DELETE" in config.event_types
        self._keeps_bodies = self._tells_deletions or "UPDATE" in config.event_types
        self._version = ""
        self._progress = Progress()
        self._failures = 0
        self._tail = _tail(config)
        self._room = asyncio.Semaphore(_UNDER_WAY)
        self._under_way: set[asyncio.Task[None]] = set()
        self._latest: dict[str, asyncio.Task[None]] = {}
        self._fault: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Until cancelled; raises what ends it otherwise."""
        await self._seen.load()
        self._passes = predicate(self._ctx.config.filter, self._seen.started)
        following = asyncio.create_task(self._follow())
        keeping = asyncio.create_task(self._seen.keep())
        try:
            ends: set[asyncio.Future[Any]] = {following, keeping, self._fault}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            try:
                for task in (following, keeping):
                    task.cancel()
                await asyncio.wait({following, keeping})
                if self._under_way:
                    await asyncio.wait(self._under_way)
                await self._seen.write()
            finally:
                for task in self._under_way:
                    task.cancel()
                await asyncio.gather(*self._under_way, return_exceptions=True)
        if self._fault.done():
            raise self._fault.result()
        for task in (following, keeping):
            if not task.cancelled():
                task.result()

    async def _follow(self) -> None:
        from argosy.kubernetes.client import Expired

        config = self._ctx.config
        api_version = f"{config.group}/{config.version}" if config.group else config.version
        try:
            resource = await self._client.discover_plural(api_version, config.resource)
            if not await self._resume(resource):
                await self._list(resource)
        except TriggerError as error:
            raise SourceError(str(error)) from error
        self._ctx.listening(self._where(resource))
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                if not self._version:
                    await self._list(resource)
                await self._changes(resource)
            except Expired:
                self._version = ""
            except Rejected as error:
                raise SourceError(str(error)) from error
            except TriggerError as error:
                if loop.time() - began > _LONGEST_PAUSE_SECONDS:
                    self._failures = 0
                await self._pause(error)

    async def _resume(self, resource: Resource) -> bool:
        """Know the objects as they stood where the last run got to, and go on from there; False where that is forgotten."""
        from argosy.kubernetes.client import Expired

        if not self._seen.reached:
            return False
        try:
            listing = await self._listing(resource, resource_version=self._seen.reached)
        except (Expired, Rejected):  # some APIs know no "as it stood"; what else is refused, the list tells
            return False
        for item in listing.items:
            self._remember(item)
        self._version = self._seen.reached
        return True

    async def _listing(self, resource: Resource, **more: Any) -> Listing:
        only = self._ctx.config.metadata_only
        listing = await self._client.list(resource, self._namespace, labels=self._labels, metadata_only=only, **more)
        return listing._replace(items=[metadata_only(item) for item in listing.items]) if only else listing

    async def _list(self, resource: Resource) -> None:
        """Tell what is new, changed and gone, by comparison with what is known or was noted."""
        listing = await self._listing(resource)
        there = {uid_of(item) for item in listing.items}
        gone = [uid for uid in self._known if uid not in there]
        for uid in gone:
            await self._gone(uid, self._known[uid].body)
        for uid, about in self._seen.others({*there, *gone, *self._latest}):
            await self._gone(uid, about.encode())
        for item in listing.items:
            uid, version = uid_of(item), version_of(item)
            noted = self._known[uid].version if uid in self._known else self._seen.version(uid)
            if noted == version:
                self._remember(item)
            elif noted is None:
                await self._tell("ADD", item)
            else:
                await self._tell("UPDATE", item)
        self._reach(listing.resource_version)

    async def _changes(self, resource: Resource) -> None:
        only = self._ctx.config.metadata_only
        watch = self._client.watch(
            resource, self._namespace, resource_version=self._version, labels=self._labels, metadata_only=only
        )
        async with contextlib.aclosing(watch) as changes:  # type: ignore[type-var]
            async for change in changes:
                item = metadata_only(change["object"]) if only else change["object"]
                match change["type"]:
                    case "ADDED" | "MODIFIED":
                        known = self._known.get(uid_of(item))
                        if known is None:
                            await self._tell("ADD" if change["type"] == "ADDED" else "UPDATE", item)
                        elif known.version != version_of(item):
                            await self._tell("UPDATE", item)
                    case "DELETED":
                        await self._tell("DELETE", item)
                self._reach(version_of(item) or self._version)
                self._failures = 0

    def _reach(self, version: str) -> None:
        """All changes up to this version are received; a bookmark says no more than that."""
        self._version = version
        self._progress.reach(version)
        self._advance()

    def _advance(self) -> None:
        if not self._fault.done():
            self._seen.reached = self._progress.settled() or self._seen.reached

    async def _gone(self, uid: str, last: bytes) -> None:
        """An object went unseen; what was last known of it is all that can be told."""
        if last:
            await self._tell("DELETE", gojson.loads(last))
        else:
            self._known.pop(uid, None)
            self._seen.forget(uid)

    async def _tell(self, event_type: EventType, item: Object) -> None:
        """Begin to emit the event if it is wanted, and to note it. Waits while too many are under way."""
        uid, version = uid_of(item), version_of(item)
        old = self._known.get(uid)
        body = self._remember(item)
        if event_type == "DELETE":
            self._known.pop(uid, None)
        data = None
        if event_type in self._ctx.config.event_types and self._passes(event_type, item, gjson.Document(body)):
            data = _data(event_type, body, old.body if old is not None and event_type == "UPDATE" else None, self._tail)
        about = about_of(item) if self._tells_deletions and event_type != "DELETE" else ""
        before = self._latest.get(uid)
        if data is None and before is None:
            self._note(event_type, uid, version, about)
            return
        await self._room.acquire()
        task = asyncio.create_task(self._emit(before, event_type, uid, version, about, data))
        self._under_way.add(task)
        self._latest[uid] = task
        self._progress.begin(task)
        task.add_done_callback(lambda task: self._settled(uid, task))

    async def _emit(
        self,
        before: asyncio.Task[None] | None,
        event_type: EventType,
        uid: str,
        version: str,
        about: str,
        data: bytes | None,
    ) -> None:
        """Emit and note one change once the change ``before`` is settled; without ``data`` only note it."""
        if before is not None:
            await asyncio.wait({before})
            if self._fault.done():
                return  # the next run tells it, by comparison with what was noted
        try:
            if data is not None:
                await self._ctx.emit(data, id=f"{uid}/{version}/{event_type}")
        except (EventTooLarge, EventInvalid) as error:
            self._ctx.refused(f"{event_type} of object {uid!r} cannot become an event: {error}")
        except Exception as error:  # noqa: BLE001 - whatever it is ends the run; the next one tells it again
            if not self._fault.done():
                self._fault.set_result(error)
            return
        self._note(event_type, uid, version, about)

    def _settled(self, uid: str, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if self._latest.get(uid) is task:
            del self._latest[uid]
        self._room.release()
        self._advance()

    def _note(self, event_type: EventType, uid: str, version: str, about: str) -> None:
        if event_type == "DELETE":
            self._seen.forget(uid)
        else:
            self._seen.note(uid, version, about)

    def _remember(self, item: Object) -> bytes:
        body = gojson.dumps(item)
        self._known[uid_of(item)] = _Known(version_of(item), body if self._keeps_bodies else b"")
        return body

    async def _pause(self, error: TriggerError) -> None:
        self._failures += 1
        pause = min(2.0 ** (self._failures - 1), _LONGEST_PAUSE_SECONDS) * (0.75 + random.random() / 2)
        if isinstance(error, RetryAfter):
            pause = max(pause, error.seconds)
        self._ctx.log.warning("%s; nothing is lost, next try in %.0f s", error, pause)
        await self._ctx.clock.sleep(pause)

    @property
    def _namespace(self) -> str | None:
        return self._ctx.config.namespace or None

    def _where(self, resource: Resource) -> str:
        what = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
        where = f"namespace '{self._namespace}'" if self._namespace else "all namespaces"
        return f"watch of {what} in {where}" + (f" with labels {self._labels}" if self._labels else "")
