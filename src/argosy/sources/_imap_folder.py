"""One folder of an IMAP server: how far it was read, its messages as events, and what becomes of them."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from argosy.errors import EventInvalid, EventTooLarge, SourceError
from argosy.lang import gojson
from argosy.manifests.fields import Json
from argosy.sources import _mail
from argosy.sources._base import SourceContext
from argosy.sources._finishing import to_the_end
from argosy.sources._imap import Imap, Refusal, folder_name

if TYPE_CHECKING:
    from argosy.sources.imap import ImapConfig

_IDLE_SECONDS = 300.0
"""So often IDLE is begun anew: routers forget a connection on which nothing is said for longer."""
_MOST_SAME = 1000
_CURSOR = "cursor"
_TIME = "%d-%b-%Y %H:%M:%S %z"


@dataclass(frozen=True)
class About:
    """What the server says of a message beside its text."""

    validity: int
    uid: int
    flags: list[str]
    size: int
    received: str

    def id(self, config: ImapConfig) -> str:
        return f"{config.folder}/{self.validity}/{self.uid}"

    @property
    def when(self) -> dt.datetime:
        """When the server received it; the epoch where it says nothing that can be read."""
        try:
            return dt.datetime.strptime(self.received.strip(), _TIME).astimezone(dt.UTC)
        except ValueError:
            return dt.datetime.fromtimestamp(0, dt.UTC)


def event(config: ImapConfig, about: About, text: bytes) -> bytes:
    """The event's data. ``text`` may be the headers alone."""
    whole = about.size <= config.max_message_bytes
    value: dict[str, Json] = {
        "folder": config.folder,
        "uidValidity": about.validity,
        "uid": about.uid,
        "flags": about.flags,
        "size": about.size,
        "received": about.when.isoformat().replace("+00:00", "Z"),
        "truncated": not whole,
        **_mail.read(text, config.max_attachment_bytes),
    }
    if config.metadata:
        value["metadata"] = config.metadata
    return gojson.dumps(value, sort_keys=False)


class Folder:
    """One folder, how far it was read, and what becomes of a message."""

    def __init__(self, ctx: SourceContext[ImapConfig], imap: Imap) -> None:
        self._ctx = ctx
        self._imap = imap
        self._validity = 0
        self._last = 0
        """The UID up to which the folder was read."""
        self._when = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        """When the last message that was read had come."""
        self._same: list[int] = []
        """The sizes of the messages that were read and had come in that second: servers count no smaller."""
        self._not_before: dt.datetime | None = None
        """Of renumbered messages, those that came before then were read under other numbers ..."""
        self._read_then: list[int] = []
        """... and so were those of these sizes that came just then."""
        self._about = [str(ctx.config.where), ctx.config.username, ctx.config.folder]

    async def run(self) -> None:
        """Read until cancelled, or until the connection is lost."""
        config = self._ctx.config
        following = await self._select()
        await self._remembered(following)
        idle = b"IDLE" in self._imap.capabilities
        how = "" if idle else f", every {config.poll_interval:g} s"
        self._ctx.listening(f"folder {config.folder!r} of {config.where}{how}")
        while True:
            self._imap.changed = False
            await self._look()
            if self._imap.changed:
                continue
            if idle:
                await self._imap.idle(_IDLE_SECONDS)
            else:
                await self._ctx.clock.sleep(config.poll_interval)
                await self._imap.command(b"NOOP")

    async def _select(self) -> int:
        """Open the folder; the UID that its next message will have."""
        config = self._ctx.config
        changes = config.mark_seen or config.move_to or config.delete
        try:
            verb = b"SELECT " if changes else b"EXAMINE "
            answer = await self._imap.command(verb + folder_name(config.folder))
        except Refusal as error:
            raise SourceError(f"{config.where} does not open folder {config.folder!r}: {error}") from error
        self._validity = following = 0
        for tokens in answer.named(b"OK"):
            if tokens[:1] == [b"[UIDVALIDITY"]:
                self._validity = int(tokens[1].rstrip(b"]"))
            elif tokens[:1] == [b"[UIDNEXT"]:
                following = int(tokens[1].rstrip(b"]"))
        if not self._validity:
            raise SourceError(f"{config.where} gives no lasting numbers (UIDVALIDITY) for folder {config.folder!r}")
        return following

    async def _remembered(self, following: int) -> None:
        """How far the folder was read before."""
        entry = await self._ctx.bucket.get(_CURSOR)
        stood: dict[str, Any] = json.loads(entry.value) if entry is not None else {}
        if stood.get("about") != self._about:
            if not self._ctx.config.from_beginning:
                self._last = max(0, following - 1) or await self._highest()
                self._when = self._ctx.clock.now()
            await self._remember(self._last, self._when)
            return
        self._when = dt.datetime.fromisoformat(stood["when"])
        self._same = stood["same"]
        if stood["notBefore"]:
            self._not_before, self._read_then = dt.datetime.fromisoformat(stood["notBefore"]), stood["readThen"]
        if stood["validity"] == self._validity:
            self._last = int(stood["uid"])
            return
        self._ctx.log.warning(
            "the messages of folder %r have other numbers now; those that came after %s are read",
            self._ctx.config.folder,
            self._when.isoformat(),
        )
        if self._not_before is None:
            self._not_before, self._read_then = self._when, list(self._same)

    async def _highest(self) -> int:
        return max(await self._found(b"UID 1:*"), default=0)

    async def _remember(self, uid: int, when: dt.datetime, size: int | None = None) -> None:
        if size is not None and when >= self._when:
            self._same = [*(self._same if when == self._when else ()), size][-_MOST_SAME:]
        self._last, self._when = uid, max(self._when, when)
        stands = {
            "about": self._about,
            "validity": self._validity,
            "uid": uid,
            "when": self._when.isoformat(),
            "same": self._same,
            "notBefore": self._not_before.isoformat() if self._not_before else "",
            "readThen": self._read_then,
        }
        await self._ctx.bucket.put(_CURSOR, json.dumps(stands).encode())

    async def _found(self, criteria: bytes) -> list[int]:
        answer = await self._imap.command(b"UID SEARCH " + criteria)
        return [int(uid) for tokens in answer.named(b"SEARCH") for uid in tokens]

    async def _look(self) -> None:
        """Read what has come, the oldest first."""
        # The last message always counts as part of a range that is open at its end.
        since = b"UID %d:*" % (self._last + 1)
        new = [uid for uid in await self._found(since) if uid > self._last]
        if not new:
            return
        wanted = set(await self._found(since + b" " + self._ctx.config.search.encode()))
        for uid in sorted(wanted & set(new)):
            about = await self._tell_about(uid)
            if about is not None and self._is_new(about):
                await to_the_end(self._keep(about, await self._text(about)))
        if max(new) > self._last or self._not_before:
            self._not_before, self._read_then = None, []
            await self._remember(max(new), self._when)

    def _is_new(self, about: About) -> bool:
        """Whether a message was not read under another number."""
        if self._not_before is None or about.when > self._not_before:
            return True
        if about.when < self._not_before:
            return False
        if about.size in self._read_then:
            self._read_then.remove(about.size)
            return False
        return True

    async def _fetched(self, uid: int, what: bytes) -> dict[bytes, Any]:
        """What the server tells of one message; empty if the message has gone."""
        answer = await self._imap.command(b"UID FETCH %d (%b)" % (uid, what))
        for tokens in answer.untagged:
            if len(tokens) == 3 and tokens[1] == b"FETCH":
                told = dict(zip(tokens[2][::2], tokens[2][1::2], strict=False))
                if int(told.get(b"UID", 0)) == uid and len(told) > 2:
                    return told
        return {}

    async def _tell_about(self, uid: int) -> About | None:
        told = await self._fetched(uid, b"UID FLAGS RFC822.SIZE INTERNALDATE")
        if not told:
            return None
        # \Recent says something of our session, not of the message.
        flags = [flag.decode("ascii", "replace") for flag in told[b"FLAGS"] if flag != b"\\Recent"]
        received = told[b"INTERNALDATE"].decode("ascii", "replace")
        return About(self._validity, uid, flags, int(told[b"RFC822.SIZE"]), received)

    async def _text(self, about: About) -> bytes | None:
        whole = about.size <= self._ctx.config.max_message_bytes
        section = b"BODY.PEEK[]" if whole else b"BODY.PEEK[HEADER]"
        told = await self._fetched(about.uid, b"UID FLAGS " + section)
        return told.get(b"BODY[]" if whole else b"BODY[HEADER]")

    async def _keep(self, about: About, text: bytes | None) -> None:
        config = self._ctx.config
        if text is not None:
            try:
                data = await asyncio.to_thread(event, config, about, text)
                await self._ctx.emit(data, id=about.id(config))
            except (EventInvalid, EventTooLarge) as error:
                self._ctx.refused(f"{error} (message {about.uid} of folder {config.folder!r}); left as it is")
            else:
                await self._dispose(about.uid)
        await self._remember(about.uid, about.when, about.size)

    async def _dispose(self, uid: int) -> None:
        """What becomes of a message whose event is kept."""
        config = self._ctx.config
        if config.mark_seen:
            await self._imap.command(b"UID STORE %d +FLAGS.SILENT (\\Seen)" % uid)
        if config.move_to:
            await self._move(uid, folder_name(config.move_to))
        elif config.delete:
            await self._expunge(uid)

    async def _move(self, uid: int, folder: bytes) -> None:
        try:
            if b"MOVE" in self._imap.capabilities:
                await self._imap.command(b"UID MOVE %d %b" % (uid, folder))
                return
            await self._imap.command(b"UID COPY %d %b" % (uid, folder))
        except Refusal as error:
            raise SourceError(f"cannot move to folder {self._ctx.config.move_to!r}: {error}") from error
        await self._expunge(uid)

    async def _expunge(self, uid: int) -> None:
        if b"UIDPLUS" not in self._imap.capabilities:
            raise SourceError(
                f"{self._imap.where} cannot delete one message alone (UIDPLUS); leave out moveTo and delete"
            )
        await self._imap.command(b"UID STORE %d +FLAGS.SILENT (\\Deleted)" % uid)
        await self._imap.command(b"UID EXPUNGE %d" % uid)
