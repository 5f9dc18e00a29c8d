"""Avro by a schema registry: messages that begin with a zero byte and a schema's number (four bytes, the largest first), as
Confluent's documents describe, and ``GET /schemas/ids/{id}``, by which a registry tells the schema.

A number stands for one schema for ever, so each is asked for once. What Avro says becomes JSON as the Avro
specification writes it: the member of a union stands under its type's name, bytes are text of one character a byte.
"""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any, NamedTuple, Self
from urllib.parse import quote, urlsplit

import orjson

from argosy.connecting import Connecting, mounts
from argosy.errors import EventInvalid, ExtraMissing
from argosy.kafka.cluster import Failure

_MAGIC = b"\0"
_ANSWER_SECONDS = 5.0  # as upstream's client
_DEEPEST_REFERENCE = 16


def check_url(url: str) -> str:
    """Raises ValueError if it is no URL of a registry."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must begin with http:// or https://")
    if parts.username is not None:
        raise ValueError("has a user in it; write it as 'auth'")
    return url


class Schema(NamedTuple):
    """A schema as the library reads it, and the types in it that have names."""

    parsed: Any
    named: dict[str, Any]


class Registry:
    """One schema registry, an async context manager. ``login`` is user and password."""

    def __init__(self, url: str, login: tuple[str, str] | None) -> None:
        try:
            import fastavro
            import httpx2
        except ImportError as error:
            raise ExtraMissing("'schemaRegistry'", "kafka") from error
        self._avro = fastavro
        self._url = url.rstrip("/")
        self._client = httpx2.AsyncClient(
            timeout=_ANSWER_SECONDS, auth=login, mounts=mounts(), headers={"Accept": "application/json"}
        )
        self._schemas: dict[int, Schema] = {}
        self._asking = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.aclose()

    async def decoded(self, value: bytes) -> bytes:
        """The JSON text of a message's value. Raises EventInvalid if it is none of a registry's, Failure if the registry
        cannot be asked now."""
        if len(value) < 5 or value[:1] != _MAGIC:
            raise EventInvalid("the value does not begin with the number of a schema, as a schema registry's do")
        number = int.from_bytes(value[1:5], "big")
        try:
            schema = await self.schema(number)
        except Failure as error:
            if error.lasting:
                raise EventInvalid(str(error)) from error
            raise
        try:
            read = self._avro.schemaless_reader(
                io.BytesIO(value[5:]), schema.parsed, None, return_record_name=True, return_named_type=True
            )
            text = io.StringIO()
            self._avro.json_writer(text, schema.parsed, [read])
        except Exception as error:  # the library raises whatever its reading meets
            raise EventInvalid(f"the value is not what schema {number} of {self._url} says") from error
        return text.getvalue().encode()

    async def encoded(self, payload: bytes, number: int) -> bytes:
        """A message's value out of JSON text. Raises Failure, lasting if the payload is not what the schema says."""
        schema = await self.schema(number)
        try:
            value = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise Failure("the payload is not JSON, so it cannot be written as Avro", lasting=True) from error
        written = io.BytesIO()
        try:
            native = _Reading(self._avro, schema.named).native(schema.parsed, value)
            self._avro.schemaless_writer(written, schema.parsed, native, strict_allow_default=True)
        except Exception as error:  # the library raises whatever its reading meets
            said = f"the payload is not what schema {number} of {self._url} says: {error}"
            raise Failure(said, lasting=True) from error
        return _MAGIC + number.to_bytes(4, "big") + written.getvalue()

    async def schema(self, number: int) -> Schema:
        """The schema of a number. Raises Failure."""
        if number not in self._schemas:
            async with self._asking:  # Messages under way together ask once.
                if number not in self._schemas:
                    told = await self._told(f"/schemas/ids/{number}", f"schema {number}")
                    named: dict[str, Any] = {}
                    parsed = await self._parsed(told, f"schema {number}", named, 0)
                    self._schemas[number] = Schema(parsed, named)
        return self._schemas[number]

    async def _parsed(self, told: dict[str, Any], what: str, known: dict[str, Any], depth: int) -> Any:
        if told.get("schemaType", "AVRO") != "AVRO":
            raise Failure(f"{what} of {self._url} is {told['schemaType']}; only Avro can be read", lasting=True)
        if depth > _DEEPEST_REFERENCE:
            raise Failure(f"{what} of {self._url} refers to others without end", lasting=True)
        for other in told.get("references") or ():
            if other["name"] not in known:
                path = f"/subjects/{quote(other['subject'], safe='')}/versions/{other['version']}"
                name = f"schema {other['subject']!r} version {other['version']}"
                await self._parsed(await self._told(path, name), name, known, depth + 1)
        try:
            return self._avro.parse_schema(json.loads(told["schema"]), named_schemas=known)
        except Exception as error:  # the library raises whatever its reading meets
            raise Failure(f"{what} of {self._url} is no Avro schema", lasting=True) from error

    async def _told(self, path: str, what: str) -> dict[str, Any]:
        import httpx2

        request = self._client.build_request("GET", f"{self._url}{path}", extensions={"trace": Connecting()})
        try:
            answer = await self._client.send(request)
        except (httpx2.HTTPError, OSError) as error:
            said = "no answer in time" if isinstance(error, httpx2.TimeoutException) else str(error)
            raise Failure(f"the schema registry {self._url} cannot be asked: {said}") from error
        if answer.status_code == 404:
            raise Failure(f"the schema registry {self._url} has no {what}", lasting=True)
        if answer.status_code in (401, 403):
            raise Failure(f"the schema registry {self._url} refuses us ({answer.status_code}); correct its 'auth'")
        told = _object(answer.content)
        if answer.status_code != 200 or not isinstance(told.get("schema"), str):
            raise Failure(f"the schema registry {self._url} answers {answer.status_code} when asked for {what}")
        return told


class _Reading:
    """JSON as values that the library writes: as the specification has it, or with members of unions that stand for
    themselves, as upstream takes them too."""

    def __init__(self, avro: Any, named: dict[str, Any]) -> None:
        self._avro = avro
        self._named = named

    def native(self, schema: Any, value: Any) -> Any:
        """Raises ValueError where no member of a union fits."""
        if isinstance(schema, list):
            return self._member(schema, value)
        schema = self._named.get(schema, schema) if isinstance(schema, str) else schema
        kind = schema["type"] if isinstance(schema, dict) else schema
        if kind in ("record", "error") and isinstance(value, dict):
            types = {field["name"]: field["type"] for field in schema["fields"]}
            return {name: self.native(types[name], inner) for name, inner in value.items() if name in types}
        if kind == "array" and isinstance(value, list):
            return [self.native(schema["items"], inner) for inner in value]
        if kind == "map" and isinstance(value, dict):
            return {name: self.native(schema["values"], inner) for name, inner in value.items()}
        if kind in ("bytes", "fixed") and isinstance(value, str):
            return value.encode("latin-1")
        if isinstance(kind, dict | list):
            return self.native(kind, value)
        return value

    def _member(self, union: list[Any], value: Any) -> Any:
        names = {_name(member): member for member in union}
        if isinstance(value, dict) and len(value) == 1 and (name := next(iter(value))) in names:
            return name, self.native(names[name], value[name])
        for name, member in names.items():
            native = self.native(member, value)
            schema = self._named.get(member, member) if isinstance(member, str) else member
            if self._avro.validate(native, schema, raise_errors=False):
                return None if native is None else (name, native)
        raise ValueError(f"no one of {', '.join(names)} fits {type(value).__name__}")


def _name(schema: Any) -> str:
    """By what a member of a union is called."""
    if isinstance(schema, str):
        return schema
    return str(schema.get("name") or schema["type"])


def _object(text: bytes) -> dict[str, Any]:
    try:
        told = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return told if isinstance(told, dict) else {}
