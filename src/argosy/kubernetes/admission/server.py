"""The webhook's HTTP side: what comes from an API server, and what it gets back.

An answer is always an AdmissionReview where the question was one: an object that cannot be judged in time is refused with a sentence, and so the
API server never has to tell its user of a webhook that did not answer.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
import orjson
import prometheus_client as prometheus
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from argosy.errors import ArgosyError
from argosy.kubernetes.admission._judge import Answer
from argosy.kubernetes.admission.configuration import PATH
from argosy.kubernetes.admission.judges import Busy, Failed, Judges, TooLong
from argosy.kubernetes.admission.known import Ask, Known
from argosy.kubernetes.admission.others import Remark
from argosy.kubernetes.admission.review import Malformed, Verdict, answer, concerns, request_of
from argosy.kubernetes.client import Object
from argosy.lang import durations

_log = logging.getLogger("argosy.admission")
LARGEST_BODY_BYTES = 8 * 1024 * 1024
"""An object has at most 3 MiB, and an update sends it twice."""
_BODY_SECONDS = 5.0
_MOST_AT_ONCE = 32
_USUAL_SECONDS = 9.0
_FRESH_SECONDS = 2.0
_SPARE_SECONDS = 1.0
_MOST_ASKS = 20
_ROUNDS = 3


class Metrics:
    """What the webhook counts."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        prometheus.ProcessCollector(registry=registry)
        self.reviews = Counter(
            "argosy_admission_reviews",
            "Objects that were judged; result is admitted, warned, refused or failed",
            ("kind", "operation", "result"),
            registry=registry,
        )
        self.seconds = Histogram(
            "argosy_admission_seconds",
            "How long a judgement took",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=registry,
        )
        self.certificate_expires = Gauge(
            "argosy_admission_certificate_expires_timestamp_seconds",
            "When the certificate that is shown ends",
            registry=registry,
        )

    def exposition(self) -> bytes:
        """In Prometheus' text format."""
        return prometheus.generate_latest(self.registry)


class Webhook:
    """An ASGI application. ``known`` says what is known of a namespace that matters to an object of a kind, ``fresh`` asks the API server itself."""

    def __init__(
        self,
        judges: Judges,
        known: Callable[[str, str, Object], Known],
        fresh: Callable[[str, Iterable[Ask]], Awaitable[dict[Ask, Object | None]]],
        metrics: Metrics,
    ) -> None:
        self._judges = judges
        self._known = known
        self._fresh = fresh
        self._metrics = metrics
        self._room = asyncio.Semaphore(_MOST_AT_ONCE)
        self.ending = False
        """Set before the end: each answer then asks its client to come back on another connection, to somebody else."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.ending:
            send = _closing(send)
        if scope["path"] != PATH:
            return await _say(send, 404, "404 page not found")
        if scope["method"] != "POST":
            return await _say(send, 405, "an AdmissionReview is posted")
        headers = {name.lower(): value for name, value in scope["headers"]}
        media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if media != b"application/json":
            return await _say(send, 415, "the content type must be application/json")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > LARGEST_BODY_BYTES:
            return await _say(send, 413, f"more than {LARGEST_BODY_BYTES // 2**20} MiB are not read")
        until = asyncio.get_running_loop().time() + _seconds(scope.get("query_string", b""))
        try:
            # What nobody reads yet waits at the sender's.
            async with asyncio.timeout_at(until):
                await self._room.acquire()
        except TimeoutError:
            return await _say(send, 503, "too many questions at once")
        try:
            await self._answer(receive, send, until)
        finally:
            self._room.release()
        return None

    async def _answer(self, receive: Any, send: Any, until: float) -> None:
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await _body(receive)
        except TimeoutError:
            return await _say(send, 408, "the question did not come in time")
        if body is None:
            return await _say(send, 413, f"more than {LARGEST_BODY_BYTES // 2**20} MiB are not read")
        try:
            review = await self.review(orjson.loads(body), until)
        except orjson.JSONDecodeError:
            return await _say(send, 400, "the body is not JSON")
        except Malformed as error:
            return await _say(send, 400, str(error))
        return await _send(send, 200, orjson.dumps(review), b"application/json")

    async def review(self, question: Any, until: float) -> dict[str, Any]:
        """The answer to an AdmissionReview, before the loop's time ``until``. Raises Malformed."""
        request = request_of(question)
        if not concerns(request):
            return answer(request, Verdict(True, [], [], []))
        began = time.perf_counter()
        try:
            made, result = await self._judged(request, until), ""
        except (TooLong, Busy, Failed) as error:
            busy = isinstance(error, Busy)
            code, reason = (503, "ServiceUnavailable") if busy else (422, "Invalid")
            remark = Remark("", str(error), "error", "")
            made, result = answer(request, Verdict(False, [remark], [], [], code, reason)), "failed"
            _log.warning(
                "%s %s/%s is refused: %s",
                request["kind"]["kind"],
                request.get("namespace"),
                request.get("name"),
                error,
                extra={"action": "admission.failed"},
            )
        said = made["response"]
        result = result or ("refused" if not said["allowed"] else "warned" if said.get("warnings") else "admitted")
        self._metrics.reviews.labels(request["kind"]["kind"], request["operation"], result).inc()
        self._metrics.seconds.observe(time.perf_counter() - began)
        return made

    async def _judged(self, request: dict[str, Any], until: float) -> dict[str, Any]:
        namespace = request.get("namespace")
        if not isinstance(namespace, str) or not namespace:
            raise Malformed("the request names no namespace")
        known = self._known(namespace, request["kind"]["kind"], _object(request))
        asked: set[Ask] = set()
        made: Answer | None = None
        for _ in range(_ROUNDS):
            made = await self._judges.judge(request, known, _left(until))
            asks = [ask for ask in made.asks if ask not in asked][:_MOST_ASKS]
            if not asks or not known.whole:
                break
            asked.update(asks)
            try:
                async with asyncio.timeout(min(_FRESH_SECONDS, _left(until))):
                    known = known.refreshed(await self._fresh(namespace, asks))
            except (ArgosyError, TimeoutError):
                # Nothing is refused for what cannot be looked up.
                known = msgspec.structs.replace(known, whole=False)
        assert made is not None
        return made.review


def _object(request: dict[str, Any]) -> Object:
    """The object that the request is about: the new one, or the one that goes."""
    for word in ("object", "oldObject"):
        if isinstance(value := request.get(word), dict):
            return value
    return {}


def _left(until: float) -> float:
    return max(until - asyncio.get_running_loop().time(), 0.2)


def _seconds(query: bytes) -> float:
    """How long the API server waits, less what the way back takes: it says so in each call."""
    found = re.search(rb"(?:^|&)timeout=([0-9a-z.]+)", query)
    try:
        said = durations.parse(found[1].decode()) if found else _USUAL_SECONDS + _SPARE_SECONDS
    except ArgosyError:
        said = _USUAL_SECONDS + _SPARE_SECONDS
    return min(max(said - _SPARE_SECONDS, said / 2), 29.0)


async def _body(receive: Any) -> bytes | None:
    """The whole body; None where it is too large."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        part = message.get("body", b"")
        size += len(part)
        if size > LARGEST_BODY_BYTES:
            return None
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def _closing(send: Any) -> Any:
    async def closing(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await send(message)

    return closing


async def _say(send: Any, status: int, text: str) -> None:
    await _send(send, status, text.encode(), b"text/plain; charset=utf-8")


async def _send(send: Any, status: int, body: bytes, content_type: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
