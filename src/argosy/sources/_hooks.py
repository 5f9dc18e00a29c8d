"""Webhooks registered at a service, and looked after: created where there is none, set right where it differs,
and deleted at the end if the manifest says so.

What several processes (replicas, an old pod and its successor) do must come out as if one did it. So whoever
changes anything holds a lease in the event's bucket, and each writes down that it lives, before all else: with
``deleteHookOnFinish`` the last one to go deletes the webhook, and one that dies while another lives leaves it alone. A
process that was killed counts as living for three minutes more, so a webhook may stay, but is never taken from a reader.

A service does not tell the secret of a webhook. So that a rotated one is registered anew, a keyed digest of all
that was sent is kept (the key is the API token, whose rotation therefore does the same), and compared every few
seconds. A failure is logged, tried again with growing pauses, and never disturbs the receiving.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Generic, Self
from urllib.parse import quote

from argosy.errors import ArgosyError, BusError
from argosy.sources._base import SourceContext
from argosy.sources._hooked import HookedT
from argosy.sources._hooks_api import Api, ApiError

_LEASE = "hooks/lease"
_FREE: dict[str, Any] = {"owner": "", "until": 0.0}
_FIRST_SECONDS = 2.0
"""Replicas that start together begin at different times within this."""
_LOOK_SECONDS = 5.0
_CHECK_SECONDS = 600.0
_LEASE_SECONDS = 120.0
_LEASE_LOOK_SECONDS = 1.0
_ALIVE_SECONDS = 180.0
_SIGN_SECONDS = 60.0
_LEAVE_SECONDS = 10.0
_FORGET_SECONDS = 1.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 5.0, 300.0
_WRITE_PAUSE_SECONDS = 0.5
"""Between two changes, as services ask for."""


class Hooks(ABC, Generic[HookedT]):
    """What is to be registered at one service, and how its API says it: lists of webhooks, each with a path of
    its own below the list's.
    """

    change: ClassVar[str] = "PUT"
    """The method that changes a webhook."""

    def __init__(self, ctx: SourceContext[HookedT], api: Api | None) -> None:
        webhook = ctx.config.webhook
        self._ctx = ctx
        self._api = api
        self.url = webhook.url.rstrip("/") + "/" + webhook.endpoint.lstrip("/")

    @property
    def api(self) -> Api:
        """The API of the service."""
        assert self._api is not None, "a service with another protocol says all calls itself"
        return self._api

    async def __aenter__(self) -> Self:
        if self._api is not None:
            await self._api.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._api is not None:
            await self._api.__aexit__(*exc)

    @abstractmethod
    def token(self) -> str:
        """What the API is asked with; only its digest is kept."""

    @abstractmethod
    def wanted(self) -> dict[str, Any]:
        """The document of the webhook, its secret included."""

    @abstractmethod
    async def places(self) -> list[str]:
        """The paths of the lists that the webhook is to stand in."""

    @abstractmethod
    def listed(self, place: str) -> AsyncIterator[Mapping[str, Any]]:
        """All webhooks of a list."""

    @abstractmethod
    def differs(self, hook: Mapping[str, Any]) -> bool:
        """Whether what the service shows of a webhook is not as wanted."""

    def id_of(self, hook: Mapping[str, Any]) -> str:
        return str(hook["id"])

    def ours(self, hook: Mapping[str, Any]) -> bool:
        """Whether a webhook of the list is the one that we look after."""
        return bool(hook.get("url") == self.url)

    async def find(self, place: str) -> Mapping[str, Any] | None:
        """Ours, in a list; None if it is not there."""
        async for hook in self.listed(place):
            if self.ours(hook):
                return hook
        return None

    async def create(self, place: str) -> None:
        await self.api.call("POST", place, self.wanted())

    async def update(self, place: str, hook: Mapping[str, Any]) -> None:
        await self.api.call(self.change, self._path(place, hook), self.wanted())

    async def delete(self, place: str, hook: Mapping[str, Any]) -> None:
        """Delete the webhook; nothing happens if it has gone."""
        try:
            await self.api.call("DELETE", self._path(place, hook))
        except ApiError as error:
            if error.status != 404:
                raise

    def _path(self, place: str, hook: Mapping[str, Any]) -> str:
        return f"{place}/{quote(self.id_of(hook), safe='')}"


def _told(error: Exception) -> str:
    """What may be said of an exception: our own sentences hold no secret."""
    return str(error) if isinstance(error, ArgosyError) else f"the service answers oddly ({type(error).__name__})"


class Keeper:
    """Looks after the webhooks of one event until cancelled; ``delete`` is ``deleteHookOnFinish``."""

    def __init__(
        self, ctx: SourceContext[Any], hooks: Hooks[Any], *, delete: bool, check_seconds: float | None = None
    ) -> None:
        self._ctx = ctx
        self._hooks = hooks
        self._delete = delete
        self._check_seconds = _CHECK_SECONDS if check_seconds is None else check_seconds
        self._me = uuid.uuid4().hex
        self._signed = 0.0

    async def run(self) -> None:
        """Register, look again now and then, and delete at the end if it is so wanted and nobody else lives."""
        failures = 0
        try:
            while True:
                try:
                    if not self._signed:
                        await self._sign(now=True)  # one that ends now must know that somebody comes
                        await self._sleep(random.random() * _FIRST_SECONDS)
                    digest = await self._register()
                    failures = 0
                    await self._until_changed(digest)
                except Exception as error:  # noqa: BLE001 - whatever a service answers must not end the receiving
                    failures += 1
                    await self._after(_told(error), failures, getattr(error, "wait_seconds", 0.0))
        finally:
            await (self._leave() if self._delete else self._forget())

    async def _after(self, reason: str, failures: int, wait_seconds: float) -> None:
        pause = min(_FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 10), _LONGEST_PAUSE_SECONDS)
        pause = max(pause * (0.75 + random.random() / 2), wait_seconds)
        self._ctx.log.warning(
            "the webhook is not registered: %s; next try in %.0f s", reason, pause, extra={"action": "hook.register"}
        )
        while pause > 0:
            await self._sleep(min(pause, _SIGN_SECONDS))
            pause -= _SIGN_SECONDS
            try:
                await self._sign()
            except ArgosyError as error:
                self._ctx.log.debug("that this process lives cannot be written down now: %s", error)

    async def _until_changed(self, digest: str) -> None:
        """Return when it is time to look again, or when what is to be sent has another digest."""
        waited = 0.0
        while waited < self._check_seconds:
            await self._sleep(min(_LOOK_SECONDS, self._check_seconds - waited))
            waited += _LOOK_SECONDS
            await self._sign()
            if self._digest() != digest:
                return

    async def _register(self) -> str:
        """Register everywhere; the digest of what was meant."""
        async with self._lease():
            await self._sign(now=True)
            digest = self._digest()
            for place in await self._hooks.places():
                await self._ensure(place, digest)
        return digest

    async def _ensure(self, place: str, digest: str) -> None:
        key = "hooks/sent/" + hashlib.sha256(place.encode()).hexdigest()
        hook = await self._hooks.find(place)
        sent = await self._ctx.bucket.get(key)
        if hook is None:
            await self._hooks.create(place)
            self._said("registered", place)
        elif sent is None or sent.value.decode() != digest or self._hooks.differs(hook):
            await self._hooks.update(place, hook)
            self._said("set right", place)
        else:
            return
        await self._ctx.bucket.put(key, digest.encode())
        await self._sleep(_WRITE_PAUSE_SECONDS)

    async def _leave(self) -> None:
        """Delete the webhooks, unless another process lives. Called when cancelled, so it is bounded."""
        try:
            async with asyncio.timeout(_LEAVE_SECONDS), self._lease():
                await self._ctx.bucket.delete(f"hooks/alive/{self._me}")
                if await self._others():
                    self._ctx.log.info("the webhook stays: another process receives", extra={"action": "hook.keep"})
                    return
                for place in await self._hooks.places():
                    if (hook := await self._hooks.find(place)) is not None:
                        await self._hooks.delete(place, hook)
                        self._said("deleted", place)
        except Exception as error:  # noqa: BLE001 - the source ends, whatever a service answers
            timeout = isinstance(error, TimeoutError)
            reason = f"no answer within {_LEAVE_SECONDS:g} s" if timeout else _told(error)
            self._ctx.log.warning("the webhook is not deleted: %s", reason, extra={"action": "hook.delete"})

    async def _forget(self) -> None:
        """Be no more among the living; bounded, and no matter if it fails, for that runs out."""
        try:
            async with asyncio.timeout(_FORGET_SECONDS):
                await self._ctx.bucket.delete(f"hooks/alive/{self._me}")
                await self._others()
                await self._let_go()
        except (ArgosyError, TimeoutError) as error:
            self._ctx.log.debug("that this process ends cannot be written down: %s", error)

    async def _others(self) -> bool:
        """Whether another process that receives this event was seen lately."""
        for key in await self._ctx.bucket.keys():
            if key.startswith("hooks/alive/") and (entry := await self._ctx.bucket.get(key)) is not None:
                if float(entry.value) > self._now():
                    return True
                await self._ctx.bucket.delete(key)
        return False

    async def _sign(self, *, now: bool = False) -> None:
        """Write down that this process lives."""
        at = self._now()
        if now or at >= self._signed + _SIGN_SECONDS:
            await self._ctx.bucket.put(f"hooks/alive/{self._me}", f"{at + _ALIVE_SECONDS:.3f}".encode())
            self._signed = at

    @asynccontextmanager
    async def _lease(self) -> AsyncIterator[None]:
        """One process changes webhooks at a time."""
        key, bucket = _LEASE, self._ctx.bucket
        while True:
            entry = await bucket.get(key)
            held = json.loads(entry.value) if entry is not None else _FREE
            # Ours if this process was told to end while it took the lease or gave it back.
            if held["owner"] == self._me or held["until"] <= self._now():
                mine = json.dumps({"owner": self._me, "until": self._now() + _LEASE_SECONDS}).encode()
                try:
                    revision = await bucket.put(key, mine, revision=entry.revision if entry is not None else 0)
                    break
                except BusError:
                    continue  # another one was quicker
            await self._sleep(_LEASE_LOOK_SECONDS)
        try:
            yield
        finally:
            try:
                await bucket.put(key, json.dumps(_FREE).encode(), revision=revision)
            except BusError:
                self._ctx.log.debug("the lease of the webhooks ran out before they were done")

    async def _let_go(self) -> None:
        """Give a lease back that is still ours."""
        entry = await self._ctx.bucket.get(_LEASE)
        if entry is not None and json.loads(entry.value)["owner"] == self._me:
            await self._ctx.bucket.put(_LEASE, json.dumps(_FREE).encode(), revision=entry.revision)

    def _digest(self) -> str:
        text = json.dumps(self._hooks.wanted(), sort_keys=True)
        return hmac.new(self._hooks.token().encode(), text.encode(), "sha256").hexdigest()

    def _said(self, what: str, place: str) -> None:
        self._ctx.log.info("the webhook of %s is %s", place, what, extra={"action": "hook.register"})

    def _now(self) -> float:
        return self._ctx.clock.now().timestamp()

    async def _sleep(self, seconds: float) -> None:
        await self._ctx.clock.sleep(seconds)
