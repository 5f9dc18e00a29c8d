"""A durable pull consumer of JetStream: found, made or changed to fit, asked for messages, told what became of them.

The server's API is JSON over requests, whose answers come to an inbox of ours beside the messages; so there is one
reader for both (``Session.next``). Source: docs.nats.io "JetStream wire API reference", nats-server 2.10 and later.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from argosy.errors import SourceError
from argosy.sources._nats_protocol import Message, Session

_ANSWER_SECONDS = 15.0
_PULL_SECONDS = 30.0
_HEARTBEAT_SECONDS = 5.0
_SILENT_SECONDS = 4 * _HEARTBEAT_SECONDS
_NO_CONSUMER, _NO_STREAM = 10014, 10059


@dataclass(frozen=True)
class Floor:
    """Up to where a stream was acknowledged without a gap. ``created`` tells a stream from a later one of its name."""

    created: str
    sequence: int

    def encode(self) -> bytes:
        """As it is kept on the bus."""
        return json.dumps([self.created, self.sequence]).encode()

    @classmethod
    def decode(cls, text: bytes) -> Floor:
        """What ``encode`` made."""
        return cls(*json.loads(text))


@dataclass(frozen=True)
class Wanted:
    """What a manifest wants of its consumer."""

    stream: str
    name: str
    subjects: list[str] | None
    """What of the stream is wanted, all of it if empty; None: what an existing consumer has, else all."""
    ack_seconds: float | None
    """None: what an existing consumer has, else the server's default."""
    start: dict[str, Any] = field(default_factory=dict)
    """Where a consumer that is made begins, as the API says it."""
    prefix: str = "$JS.API"


class Consumer:
    """The consumer, over one session."""

    def __init__(self, session: Session, wanted: Wanted) -> None:
        self._session = session
        self._wanted = wanted
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._asked = 0
        self._pulls = 0
        self._outstanding = 0
        self._sign = 0.0
        self._created = ""
        self.ack_seconds = 30.0
        """How long a message may stay without a word from us."""
        self.gives_up_after = -1
        """How often the server delivers a message at most; -1 is for ever."""
        session.subscribe(f"{self._inbox}.>", "")

    async def settle(self, floor: Floor | None) -> None:
        """Find the consumer, make it or change it to fit; one that was lost begins behind ``floor``.

        Raises SourceError with what the server says.
        """
        what, wanted = f"consumer {self._wanted.name!r} of stream {self._wanted.stream!r}", self._wanted
        self._created = await self._stream()
        info = await self._ask(f"CONSUMER.INFO.{wanted.stream}.{wanted.name}", b"")
        if _code(info) == _NO_CONSUMER:
            info = await self._make("create", {**self._given(), **self._begin(floor)})
        config = info.get("config") or {}
        if "error" not in info:
            if config.get("deliver_subject") or config.get("ack_policy") != "explicit":
                raise SourceError(
                    f"{what} is no pull consumer with explicit acknowledgement; give another name as 'durable'"
                )
            if changed := self._changed(config):
                info = await self._make("update", changed)
                config = info.get("config") or {}
        if "error" in info:
            raise SourceError(f"{what} at {self._session.where} cannot be had: {_said(info)}")
        waits = [config.get("ack_wait") or 30e9, *(config.get("backoff") or [])]
        self.ack_seconds = min(waits) / 1e9
        self.gives_up_after = config.get("max_deliver") or -1

    async def _stream(self) -> str:
        info = await self._ask(f"STREAM.INFO.{self._wanted.stream}", b"")
        if _code(info) == _NO_STREAM:
            raise SourceError(
                f"there is no stream {self._wanted.stream!r} at {self._session.where}; create it or correct 'stream'"
            )
        if "error" in info:
            raise SourceError(f"stream {self._wanted.stream!r} at {self._session.where} cannot be had: {_said(info)}")
        return str(info.get("created", ""))

    def _given(self) -> dict[str, Any]:
        """What of the consumer's configuration the manifest says, as the server would say it."""
        said: dict[str, Any] = {}
        subjects = self._wanted.subjects or []
        if len(subjects) == 1:
            said["filter_subject"] = subjects[0]
        elif subjects:
            said["filter_subjects"] = subjects
        if self._wanted.ack_seconds is not None:
            said["ack_wait"] = round(self._wanted.ack_seconds * 1e9)
        return said

    def _changed(self, config: dict[str, Any]) -> dict[str, Any] | None:
        """What an existing consumer's configuration must become; None where it fits."""
        given, kept = self._given(), dict(config)
        one, many = kept.pop("filter_subject", ""), kept.pop("filter_subjects", None)
        if self._wanted.subjects is None:
            given |= {"filter_subject": one} if one else {"filter_subjects": many} if many else {}
        wanted = {**kept, **given}
        return None if wanted == config else wanted

    def _begin(self, floor: Floor | None) -> dict[str, Any]:
        start = self._wanted.start
        if floor is not None:
            again = floor.sequence + 1 if floor.created == self._created else 1
            start = {"deliver_policy": "by_start_sequence", "opt_start_seq": again}
        return {"durable_name": self._wanted.name, "ack_policy": "explicit", "max_deliver": -1, **start}

    async def _make(self, action: str, config: dict[str, Any]) -> dict[str, Any]:
        body = {"stream_name": self._wanted.stream, "config": config, "action": action}
        subject = f"CONSUMER.CREATE.{self._wanted.stream}.{self._wanted.name}"
        if "filter_subject" in config:
            # So that an account can be allowed to make consumers of some subjects only.
            subject += f".{config['filter_subject']}"
        return await self._ask(subject, json.dumps(body).encode())

    async def _ask(self, subject: str, body: bytes) -> dict[str, Any]:
        """An answer of the API. Nothing else may be under way."""
        self._asked += 1
        reply = f"{self._inbox}.api.{self._asked}"
        self._session.publish(f"{self._wanted.prefix}.{subject}", body, reply)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                while True:
                    found = await self._session.next()
                    if isinstance(found, Message) and found.subject == reply:
                        break
        except TimeoutError as error:
            raise SourceError(f"{self._session.where} does not answer {self._wanted.prefix}.{subject}") from error
        if found.status.startswith("503"):
            raise SourceError(
                f"{self._session.where} has no JetStream at {self._wanted.prefix!r}; switch it on, or correct 'domain'"
            )
        return _object(found.body)

    def pull(self, left: int) -> None:
        """Ask for messages, so that as many may come as there is room for: ``left``. Not one by one."""
        if self._outstanding and time.monotonic() - self._sign > _SILENT_SECONDS:
            self._outstanding = 0  # the request was lost, with the server that had it
        room = left - self._outstanding
        if room <= 0 or (self._outstanding and room < left / 2):
            return
        self._outstanding += room
        self._pulls += 1
        self._sign = time.monotonic()
        told = {
            "batch": room,
            "expires": round(_PULL_SECONDS * 1e9),
            "idle_heartbeat": round(_HEARTBEAT_SECONDS * 1e9),
        }
        self._session.publish(
            f"{self._wanted.prefix}.CONSUMER.MSG.NEXT.{self._wanted.stream}.{self._wanted.name}",
            json.dumps(told).encode(),
            f"{self._inbox}.pull.{room}",
        )

    def is_message(self, found: Message) -> bool:
        """Whether it is a message of the stream; else what the server says is heeded.

        Raises SourceError if the consumer is no more.
        """
        self._sign = time.monotonic()
        if not found.status:
            if not found.reply.startswith("$JS.ACK."):
                return False
            self._outstanding = max(0, self._outstanding - 1)
            return True
        code, _, words = found.status.partition(" ")
        if code == "100":
            return False
        if code in ("400", "503") or any(word in words for word in ("Deleted", "Push Based", "Exceeded")):
            raise SourceError(
                f"consumer {self._wanted.name!r} of stream {self._wanted.stream!r}: {words or 'is not there now'}"
            )
        # What is left of a request that came to its end; the server says of each how much that is.
        pending = (found.headers.get("Nats-Pending-Messages") or [""])[0]
        self._outstanding = max(0, self._outstanding - int(pending)) if pending.isdigit() else 0
        return False

    def ask_floor(self) -> None:
        """Ask up to where the stream is acknowledged; ``floor`` reads the answer."""
        subject = f"CONSUMER.INFO.{self._wanted.stream}.{self._wanted.name}"
        self._session.publish(f"{self._wanted.prefix}.{subject}", b"", f"{self._inbox}.floor")

    def floor(self, found: Message) -> Floor | None:
        """The answer to ``ask_floor``, if it is one."""
        if found.subject != f"{self._inbox}.floor" or found.status:
            return None
        sequence = (_object(found.body).get("ack_floor") or {}).get("stream_seq")
        return Floor(self._created, sequence) if isinstance(sequence, int) else None

    def tell(self, message: Message, word: bytes) -> None:
        """Say what became of a message: ``+ACK``, ``-NAK``, ``+WPI`` (it is worked on), ``+TERM`` (no more of it)."""
        self._session.publish(message.reply, word)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"error": {"description": "the answer is no JSON object"}}


def _code(info: dict[str, Any]) -> int:
    error = info.get("error")
    return int(error.get("err_code") or 0) if isinstance(error, dict) else 0


def _said(info: dict[str, Any]) -> str:
    error = info.get("error")
    return str(error.get("description") or error.get("code")) if isinstance(error, dict) else "no reason is given"
