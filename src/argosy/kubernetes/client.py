"""A thin asynchronous client of the Kubernetes API: raw JSON in, raw JSON out, and errors that are sentences.

Nothing is guessed: which kinds there are, how their plural is spelt and whether they live in a namespace is
asked of the server (``discover``) and remembered. One client serves a whole process; triggers and sources
take part in it by ``shared()``, so there is one connection pool and one memory of kinds, also where they act as different
service accounts. Opening reads no file and touches no network: both happen at the first call, and failing there is an answer to that call.
Nothing here retries, except once with fresh credentials: that is the runtime's work.

The errors answer the question of a trigger, whether another try can help (``Rejected`` or not); a source
that lists and watches turns them into its own. Slightly over the usual length: one class with a method for each verb, over
one way to the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from weakref import WeakKeyDictionary

import orjson

from argosy.connecting import Connecting, fault, mounts
from argosy.errors import Rejected, TriggerError
from argosy.kubernetes import config
from argosy.kubernetes._answers import (
    AlreadyExists,
    Call,
    Conflict,
    Expired,
    KindUnknown,
    NotFound,
    PatchStrategy,
    Resource,
    lines,
    read,
    refuse,
    root,
    status_of,
)
from argosy.kubernetes.rights import Account
from argosy.kubernetes.tokens import AccountToken

if TYPE_CHECKING:
    import httpx2

__all__ = [
    "AlreadyExists",
    "Client",
    "Conflict",
    "Expired",
    "KindUnknown",
    "Listing",
    "NotFound",
    "Object",
    "PatchStrategy",
    "Resource",
    "shared",
]

Object = dict[str, Any]
"""A Kubernetes object as JSON has it."""

FIELD_MANAGER = "argosy"
"""Who the server records as the owner of the fields that we set."""

_CALL_SECONDS = 30.0
_PAGE = 500
_ACCEPT = "application/json"
_ACCEPT_METADATA = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
# How much later than asked a server may end a watch before the connection counts as dead.
_GRACE_SECONDS = 30.0


class Listing(NamedTuple):
    """The objects of a list, and the resource version to watch from."""

    items: list[Object]
    resource_version: str


@dataclass
class _Link:
    """What a client and those that act in its place share."""

    load: Callable[[], config.Access]
    access: config.Access | None = None
    pools: dict[ssl.SSLContext, httpx2.AsyncClient] = field(default_factory=dict)
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    kinds: dict[str, list[Resource]] = field(default_factory=dict)


class Client:
    """One API server, asked asynchronously. An asynchronous context manager; safe to use from many tasks."""

    def __init__(self, load: Callable[[], config.Access] = config.load) -> None:
        """``load`` says where the server is. It is called at the first request, and again until it succeeds."""
        self._link = _Link(load)
        self._user = ""
        self._credentials: config.Credentials | None = None
        self.dry_run = False

    def acting(self, user: str = "", *, dry_run: bool = False) -> Client:
        """This client as somebody else (who uses it needs the verb ``impersonate`` on that user), or one whose changes the
        server judges and does not store. It shares the connections of this one and is not to be closed.
        """
        other = copy.copy(self)
        other._user, other.dry_run = user, dry_run
        return other

    def of(self, account: Account) -> Client:
        """This client with the rights of a service account, whose tokens it asks for (``argosy.kubernetes.tokens``). It shares the
        connections of this one and is not to be closed.
        """
        other = copy.copy(self)
        other._credentials = AccountToken(self, account)
        return other

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pools, self._link.pools = self._link.pools, {}
        for pool in pools.values():
            await pool.aclose()

    async def access(self) -> config.Access:
        """Where the server is; read from the files when first asked. Raises TriggerError as ``config.load`` does."""
        link = self._link
        async with link.opening:
            if link.access is None:
                link.access = await asyncio.to_thread(link.load)
            return link.access

    # Kinds

    async def discover(self, api_version: str, kind: str) -> Resource:
        """How the server spells ``kind``. Raises KindUnknown, or Rejected if the API has no such kind."""
        return await self._find(api_version, f"kind {kind!r}", lambda resource: resource.kind == kind)

    async def discover_plural(self, api_version: str, plural: str) -> Resource:
        """The same by the plural (``workflows``), as manifests of the ``resource`` source name it."""
        return await self._find(api_version, f"resource {plural!r}", lambda resource: resource.plural == plural)

    async def _find(self, api_version: str, what: str, fits: Callable[[Resource], bool]) -> Resource:
        # A miss asks again: the definition may have been installed since.
        for fresh in (False, True):
            if fresh or api_version not in self._link.kinds:
                self._link.kinds[api_version] = await self._served(api_version)
            for resource in self._link.kinds[api_version]:
                if fits(resource):
                    return resource
        known = ", ".join(sorted(resource.kind for resource in self._link.kinds[api_version]))
        if not known:
            raise KindUnknown(
                f"the Kubernetes API does not serve {api_version!r}, so it knows no {what};"
                " install its definition, or correct apiVersion"
            )
        raise Rejected(f"the Kubernetes API serves no {what} in {api_version!r}; it serves: {known}")

    async def _served(self, api_version: str) -> list[Resource]:
        group, _, version = api_version.rpartition("/")
        try:
            answer = await self._ask("GET", root(api_version), Call(f"discovery of {api_version!r}"))
        except NotFound:
            return []
        return [
            Resource(
                group,
                version,
                item["kind"],
                item["name"],
                item["namespaced"],
                frozenset(item.get("verbs") or ()),
            )
            for item in answer.get("resources") or ()
            if "/" not in item["name"]  # pods/log and the like are parts of a resource
        ]

    # Objects

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        """One object. Raises NotFound."""
        call = Call("get", resource, namespace, name)
        return await self._ask("GET", resource.path(namespace, name), call)

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> Listing:
        """All objects (of a namespace) that the selectors choose, fetched page by page.

        Items carry ``apiVersion`` and ``kind``, which the server leaves out for its own kinds. With
        ``resource_version`` they are as they stood then; raises Expired if the server has forgotten that.
        ``metadata_only``: the server sends ``metadata`` and nothing else (as PartialObjectMetadata).
        """
        call = Call("list", resource, namespace)
        query = _selectors(labels, fields) | {"limit": str(_PAGE)}
        if resource_version:
            query |= {"resourceVersion": resource_version, "resourceVersionMatch": "Exact"}
        accept = _ACCEPT_METADATA.format("List") if metadata_only else _ACCEPT
        own = {"apiVersion": resource.api_version, "kind": resource.kind}
        items: list[Object] = []
        while True:
            try:
                page = await self._ask("GET", resource.path(namespace), call, query=query, accept=accept)
            except Expired:
                if resource_version:
                    raise
                # The server forgot where the pages stood; the whole at once needs no memory.
                items, query = [], _selectors(labels, fields)
                continue
            items += [{**item, **own} if metadata_only else {**own, **item} for item in page.get("items") or ()]
            about = page.get("metadata") or {}
            if not about.get("continue"):
                return Listing(items, str(about.get("resourceVersion") or ""))
            query = {"continue": about["continue"], "limit": str(_PAGE), **_selectors(labels, fields)}

    async def create(self, resource: Resource, body: Object, namespace: str | None = None) -> Object:
        """The object as the server stored it. Raises AlreadyExists."""
        name = (body.get("metadata") or {}).get("name")
        call = Call("create", resource, namespace, name)
        return await self._ask("POST", resource.path(namespace), call, body, query={"fieldManager": FIELD_MANAGER})

    async def replace(self, resource: Resource, name: str, body: Object, namespace: str | None = None) -> Object:
        """Put the whole object. Raises NotFound, and Conflict if ``body`` carries an old resource version."""
        call = Call("update", resource, namespace, name)
        return await self._ask("PUT", resource.path(namespace, name), call, body, query={"fieldManager": FIELD_MANAGER})

    async def create_part(
        self, resource: Resource, name: str, part: str, body: Object, namespace: str | None = None
    ) -> Object:
        """Ask something of one object through a part of it: a token of a service account (``token``), say. Raises NotFound."""
        call = Call("create", resource, namespace, name, part)
        return await self._ask("POST", resource.path(namespace, name, part), call, body)

    async def patch(
        self,
        resource: Resource,
        name: str,
        body: Object | Sequence[Any],
        namespace: str | None = None,
        *,
        strategy: PatchStrategy = "application/merge-patch+json",
        part: str = "",
        manager: str = FIELD_MANAGER,
    ) -> Object:
        """Change parts of the object, or of its ``part`` (``status``). Raises NotFound, except for an apply patch, which creates
        what is missing.
        """
        query = {"fieldManager": manager}
        if strategy == "application/apply-patch+yaml":
            query["force"] = "true"
        call = Call("patch", resource, namespace, name, part)
        path = resource.path(namespace, name, part)
        return await self._ask("PATCH", path, call, body, query=query, content_type=strategy)

    async def apply(self, body: Object, *, manager: str = FIELD_MANAGER) -> Object:
        """Make the fields that ``body`` names as it says, whether the object is there or not (server-side apply); fields of the same
        manager that it no longer names are taken away.
        """
        resource = await self.discover(body["apiVersion"], body["kind"])
        about = body["metadata"]
        return await self.patch(
            resource,
            about["name"],
            body,
            about.get("namespace"),
            strategy="application/apply-patch+yaml",
            manager=manager,
        )

    async def delete(self, resource: Resource, name: str, namespace: str | None = None, *, uid: str = "") -> None:
        """Ask for the object's removal; what it owns goes after it, and finalizers may delay it. With ``uid`` only if it is that very
        object. Raises NotFound, and Conflict if another one has its name now.
        """
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        if self.dry_run:
            body["dryRun"] = ["All"]  # beside a body the query does not count
        await self._ask("DELETE", resource.path(namespace, name), Call("delete", resource, namespace, name), body)

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str = "",
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
        timeout_seconds: int = 240,
    ) -> AsyncIterator[Object]:
        """Every change since ``resource_version``, as ``{"type": …, "object": …}``; types are ADDED,
        MODIFIED, DELETED and BOOKMARK.

        Goes on for ever: where the server ends a watch (after ``timeout_seconds``), the next one continues
        from the last version seen. A BOOKMARK's object has nothing but ``metadata.resourceVersion``; it is
        handed out so that a caller may note it. Without ``resource_version`` the server first sends all
        objects there are as ADDED. ``metadata_only`` is that of ``list``.

        Raises Expired if the version is too old (list again), TriggerError if the connection is lost or goes
        silent. End it by cancelling the task, or with ``contextlib.aclosing``.
        """
        call = Call("watch", resource, namespace)
        query = _selectors(labels, fields) | {"watch": "true", "timeoutSeconds": str(timeout_seconds)}
        accept = _ACCEPT_METADATA.format("") if metadata_only else _ACCEPT
        loop = asyncio.get_running_loop()
        version = resource_version
        while True:
            if version:
                query["resourceVersion"] = version
            if version not in ("", "0"):
                # Asked for without a version, bookmarks make a streamed list of it, which servers over an old
                # store (etcd 3.4.23, say) refuse.
                query["allowWatchBookmarks"] = "true"
            path, silent = resource.path(namespace), timeout_seconds + _GRACE_SECONDS
            opened, received = loop.time(), False
            async with self._answer("GET", path, call, query=query, accept=accept, read_seconds=silent) as response:
                async for line in lines(response.aiter_bytes()):
                    event, received = _read(line, call), True
                    if event.get("type") == "ERROR":
                        status = event.get("object") or {}
                        refuse(int(status.get("code") or 500), status, {}, call)
                    version = event["object"]["metadata"].get("resourceVersion") or version
                    if metadata_only:
                        event["object"] |= {"apiVersion": resource.api_version, "kind": resource.kind}
                    yield event
            if not received and loop.time() - opened < 1.0:
                raise TriggerError(f"{call}: the Kubernetes API ends watches at once; is a proxy in the way?")

    # The wire

    async def _ask(
        self,
        method: str,
        path: str,
        call: Call,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = _ACCEPT,
    ) -> Object:
        if self.dry_run and method != "GET":
            query = {**(query or {}), "dryRun": "All"}
        async with self._answer(
            method, path, call, body, query=query, content_type=content_type, accept=accept
        ) as response:
            raw = await response.aread()
        answer = _read(raw, call)
        return answer if isinstance(answer, dict) else {}

    @contextlib.asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        call: Call,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = _ACCEPT,
        read_seconds: float = _CALL_SECONDS,
    ) -> AsyncIterator[httpx2.Response]:
        """A successful response whose body is still to be read; every failure, also while reading, is one of
        ours.
        """
        import httpx2

        access = await self.access()
        credentials = self._credentials or access.credentials
        # Where a connection is opened with a certificate of the process, the server would not look at an account's token.
        http = self._pool(access, access.tls if self._credentials is None else access.trust or access.tls)
        headers = {"Accept": accept}
        if self._user:
            headers["Impersonate-User"] = self._user
        if body is not None:
            headers["Content-Type"] = content_type
        extensions: dict[str, Any] = {"trace": Connecting()}
        if access.server_name:
            extensions["sni_hostname"] = access.server_name
        timeout = httpx2.Timeout(_CALL_SECONDS, read=read_seconds)
        try:
            for again in (False, True):
                authorization = await credentials.authorization(refused=again)
                if authorization:
                    headers["Authorization"] = authorization
                request = http.build_request(
                    method,
                    path,
                    params=query,
                    headers=headers,
                    content=None if body is None else orjson.dumps(body),
                    timeout=timeout,
                    extensions=extensions,
                )
                response = await http.send(request, stream=True)
                try:
                    if response.status_code == 401 and not again:
                        await response.aread()
                        continue
                    if not response.is_success:
                        refuse(response.status_code, status_of(await response.aread()), response.headers, call)
                    yield response
                    return
                finally:
                    await response.aclose()
        except httpx2.TimeoutException as error:
            raise TriggerError(f"{call}: the Kubernetes API at {access.server} did not answer in time") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise TriggerError(
                f"{call}: the Kubernetes API at {access.server} ({access.origin}) cannot be reached: {fault(error)}"
            ) from error

    def _pool(self, access: config.Access, tls: ssl.SSLContext) -> httpx2.AsyncClient:
        import httpx2

        if tls not in self._link.pools:
            # A watch holds its connection for minutes, and there may be many watches.
            limits = httpx2.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=60.0)
            self._link.pools[tls] = httpx2.AsyncClient(
                base_url=access.server,
                verify=tls,
                proxy=access.proxy or None,
                limits=limits,
                mounts=mounts(verify=tls, limits=limits),
            )
        return self._link.pools[tls]


class _Users:
    """The one client of an event loop, those of accounts that act through it, and how many use them."""

    def __init__(self) -> None:
        self.client = Client()
        self.accounts: dict[Account, Client] = {}
        self.count = 0

    def of(self, account: Account | None) -> Client:
        if account is None:
            return self.client
        if account not in self.accounts:
            self.accounts[account] = self.client.of(account)
        return self.accounts[account]


_users: WeakKeyDictionary[asyncio.AbstractEventLoop, _Users] = WeakKeyDictionary()


@contextlib.asynccontextmanager
async def shared(account: Account | None = None) -> AsyncIterator[Client]:
    """The process's client (one per event loop), made for its first user and closed after its last; with the rights of ``account``
    in place of the process's own, if there is one.
    """
    loop = asyncio.get_running_loop()
    users = _users.setdefault(loop, _Users())
    users.count += 1
    try:
        yield users.of(account)
    finally:
        users.count -= 1
        if users.count == 0:
            _users.pop(loop, None)
            await users.client.__aexit__()


def _read(text: bytes, call: Call) -> Any:
    try:
        return read(text)
    except orjson.JSONDecodeError as error:
        raise TriggerError(f"{call}: the answer is not JSON; is there a Kubernetes API server?") from error


def _selectors(labels: str, fields: str) -> dict[str, str]:
    return {key: text for key, text in (("labelSelector", labels), ("fieldSelector", fields)) if text}
