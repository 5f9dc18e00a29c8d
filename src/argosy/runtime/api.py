"""The local API: ``/api/v1/…`` on the admin server, JSON in and out, every request with the token of this run.

What may be asked stands in ``argosy.runtime.operations``, one file a topic. Here is what all have in common: the token, finding the
operation, reading the question, one JSON document or JSON lines as the answer, and errors as sentences: ``{"error": "…"}`` with status 400 (the
question is wrong), 401, 404, 405, 409 (it may mean several things), 413, 503 (not now) or 500.

``argosy run`` writes where it is and the token into ``<data>/api.json``, readable by its owner alone, and removes the file at its end. The token
is made at each start unless ``ARGOSY_API_TOKEN`` gives one.
"""

from __future__ import annotations

import asyncio
import hmac
import importlib
import json
import logging
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from inspect import isasyncgen
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from argosy.errors import Ambiguous, ArgosyError, BusUnavailable, EventTooLarge, NotFound
from argosy.runtime.operations._base import Ask, Operation, System, pattern

_log = logging.getLogger("argosy.api")

ROOT = "/api/v1"
TOPICS = ("actions", "events", "explaining", "replay", "sensors", "shadow", "status")
"""The modules of ``argosy.runtime.operations`` that are served. Imported at the first request."""
FILE = "api.json"
PATH_HEADER = b"x-argosy-path"
_MOST_BYTES = 16 * 1024 * 1024
_ANSWER_SECONDS = 60.0
"""How long an operation may take before its question is answered with 503; one that answers in lines may take longer."""
_SIGN_OF_LIFE_SECONDS = 5.0
"""After so long without a line an empty one is sent, so that both ends notice when the other is gone."""

_encode = msgspec.json.Encoder(enc_hook=str).encode


class _Failed(Exception):
    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Api:
    """An ASGI application for everything below ``ROOT``. ``close`` ends the answers that would go on for ever."""

    def __init__(self, system: System, token: str | None = None) -> None:
        self.token = token or os.environ.get("ARGOSY_API_TOKEN") or secrets.token_urlsafe(32)
        self._system = system
        self._operations: list[tuple[Operation, Any]] = []
        self._closing = asyncio.Event()

    def close(self) -> None:
        """The process is stopping."""
        self._closing.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        try:
            self._admit(scope)
            operation, path = self._find(scope)
            ask = Ask(path, dict(parse_qsl(scope["query_string"].decode("latin-1"))), await _body(scope, receive))
            async with asyncio.timeout(_ANSWER_SECONDS):
                answer = await operation.do(self._system, ask)
            if isasyncgen(answer):
                await self._lines(answer, receive, send)
            else:
                await _answer(send, 200, answer)
        except _Failed as failed:
            await _answer(send, failed.status, {"error": str(failed)})
        except Exception as error:  # noqa: BLE001 - one question's failure is its answer and must not reach others
            await _answer(send, _status(error), {"error": _sentence(error)})

    def _admit(self, scope: Any) -> None:
        given = dict(scope["headers"])
        wanted = self.token.encode()
        # Compared as bytes: anybody may send what is no text. The header of our own is for questions through the proxy of a Kubernetes API
        # server, which keeps the other one for itself.
        said = (given.get(b"authorization", b""), b"Bearer " + wanted), (given.get(b"x-argosy-token", b""), wanted)
        if not any(hmac.compare_digest(*each) for each in said):
            raise _Failed(
                401,
                "the token is missing or wrong; it stands in api.json in the data folder of the run,"
                " and is sent as Authorization: Bearer TOKEN, or as X-Argosy-Token: TOKEN",
            )

    def _find(self, scope: Any) -> tuple[Operation, dict[str, str]]:
        if not self._operations:
            for topic in TOPICS:
                module = importlib.import_module(f"argosy.runtime.operations.{topic}")
                self._operations += [(operation, pattern(operation.path)) for operation in module.OPERATIONS]
        # The path as it was sent: an id may hold a slash, spelled %2F. The proxy of a Kubernetes API server unpacks it; past that the path
        # comes as a header.
        sent = dict(scope["headers"]).get(PATH_HEADER) or scope.get("raw_path") or scope["path"].encode()
        raw = sent.decode("latin-1").removeprefix(ROOT)
        found = [(one, match) for one, expression in self._operations if (match := expression.fullmatch(raw))]
        for operation, match in found:
            if operation.method == scope["method"]:
                return operation, {name: unquote(value) for name, value in match.groupdict().items()}
        if found:
            methods = " or ".join(sorted({operation.method for operation, _ in found}))
            raise _Failed(405, f"{scope['method']} is not for {ROOT}{raw}; it wants {methods}")
        raise _Failed(404, f"there is no {ROOT}{raw} in this version")

    async def _lines(self, values: AsyncIterator[Any], receive: Any, send: Any) -> None:
        """Send each value as a line until they end, the client goes or the process stops. A failure becomes the last line."""
        await send(_start(200, b"application/x-ndjson", None))
        leaving = [asyncio.create_task(_disconnected(receive)), asyncio.create_task(self._closing.wait())]
        coming: asyncio.Task[Any] | None = None
        try:
            while not any(task.done() for task in leaving):
                coming = coming or asyncio.ensure_future(_next(values))
                await asyncio.wait(
                    {coming, *leaving}, timeout=_SIGN_OF_LIFE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if not coming.done():
                    await send({"type": "http.response.body", "body": b"\n", "more_body": True})
                    continue
                value, coming = coming.result(), None
                if value is _END:
                    break
                await send({"type": "http.response.body", "body": _encode(value) + b"\n", "more_body": True})
        except Exception as error:  # noqa: BLE001 - the head is sent already; what failed becomes the last line
            line = _encode({"error": _sentence(error)}) + b"\n"
            await send({"type": "http.response.body", "body": line, "more_body": True})
        finally:
            for task in (*leaving, coming):
                if task is not None:
                    task.cancel()
            await asyncio.gather(*(task for task in (*leaving, coming) if task is not None), return_exceptions=True)
            await values.aclose()  # type: ignore[attr-defined]
        await send({"type": "http.response.body", "body": b""})


_END = object()


async def _next(values: AsyncIterator[Any]) -> Any:
    return await anext(values, _END)


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(scope: Any, receive: Any) -> Any:
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Failed(400, "the body is incomplete")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > _MOST_BYTES:
            raise _Failed(413, f"the body is larger than {_MOST_BYTES // 2**20} MiB")
        more = message.get("more_body", False)
    if not size:
        return None
    try:
        return json.loads(b"".join(chunks))
    except (ValueError, RecursionError) as error:
        raise _Failed(400, f"the body is not JSON: {error}") from error


def _status(error: Exception) -> int:
    for kind, status in ((NotFound, 404), (Ambiguous, 409), (EventTooLarge, 413), (BusUnavailable, 503)):
        if isinstance(error, kind):
            return status
    if isinstance(error, TimeoutError):
        return 503
    return 400 if isinstance(error, ArgosyError) else 500


def _sentence(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"the event bus did not answer within {_ANSWER_SECONDS:g} s; ask again, or for less"
    if isinstance(error, ArgosyError):
        return str(error)
    _log.error("a question could not be answered", exc_info=error, extra={"action": "api.fault"})
    return "a fault of Argosy; its log says more"


def _start(status: int, content_type: bytes, length: int | None) -> dict[str, Any]:
    headers = [(b"content-type", content_type), (b"cache-control", b"no-store")]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    return {"type": "http.response.start", "status": status, "headers": headers}


async def _answer(send: Any, status: int, value: Any) -> None:
    body = _encode(value)
    await send(_start(status, b"application/json", len(body)))
    await send({"type": "http.response.body", "body": body})


@contextmanager
def announced(folder: Path, url: str, token: str) -> Iterator[None]:
    """``api.json`` in ``folder`` while the context is open, for those who may read files of this user.

    Where the folder cannot be written (a read-only container with a bus elsewhere), it says so and there is none.
    """
    path = folder / FILE
    try:
        _write(path, {"url": url, "token": token, "pid": os.getpid()})
    except OSError as error:
        _log.warning(
            "%s cannot be written (%s), so no command finds this run; give it a folder with --data", path, error.strerror,
            extra={"action": "api.unannounced"},
        )  # fmt: skip
    try:
        yield
    finally:
        # Another run may have the folder by now; its file is not ours to remove.
        with suppress(OSError, ValueError):
            if json.loads(path.read_text()).get("token") == token:
                path.unlink()


def _write(path: Path, said: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(said, file)
    try:
        fresh.replace(path)
    except OSError:
        fresh.unlink()
        raise
