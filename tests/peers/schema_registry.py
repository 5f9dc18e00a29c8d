"""A double of a schema registry: answers what Confluent's REST interface documents, and demands a password.

No real one can be had here. ``GET /schemas/ids/{id}`` and ``GET /subjects/{subject}/versions/{version}`` tell schemas; what it
does not have is answered with 404 and error code 40403.
"""

from __future__ import annotations

import base64
import io
import json
from typing import Any, Self

import fastavro
import orjson

from tests.unit.triggers.receivers import Answer, HttpServer

PASSWORD = "of the registry"
SECRETS = {("registry", "user"): "argosy", ("registry", "password"): PASSWORD}
AUTH = {"username": {"name": "registry", "key": "user"}, "password": {"name": "registry", "key": "password"}}


class SchemaRegistry:
    """An async context manager. ``requests`` are the paths that were asked for."""

    def __init__(self) -> None:
        self.server = HttpServer()
        self.server.default = Answer(404, body=b'{"error_code": 40403, "message": "Schema not found"}')
        self._schemas: dict[int, Any] = {}

    async def __aenter__(self) -> Self:
        await self.server.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.server.__aexit__(*exc)

    @property
    def block(self) -> dict[str, Any]:
        """The field ``schemaRegistry``."""
        return {"url": f"{self.server.url}/", "auth": AUTH}

    @property
    def asked(self) -> list[str]:
        """The paths that were asked for; each time with the password."""
        expected = "Basic " + base64.b64encode(f"argosy:{PASSWORD}".encode()).decode()
        assert {request.headers.get("authorization") for request in self.server.requests} <= {expected}
        return [request.target for request in self.server.requests]

    def put(self, number: int, schema: Any, **more: Any) -> None:
        """From now on it has this schema."""
        self._schemas[number] = fastavro.parse_schema(schema) if not more else None
        self._tell(f"/schemas/ids/{number}", {"schema": json.dumps(schema), **more})

    def put_subject(self, subject: str, version: int, schema: Any) -> None:
        """From now on it has this version of a subject."""
        told = {"subject": subject, "version": version, "id": 99, "schema": json.dumps(schema)}
        self._tell(f"/subjects/{subject}/versions/{version}", told)

    def answer(self, number: int, answer: Answer) -> None:
        """Answer so when asked for a schema."""
        self.server.answers[f"/schemas/ids/{number}"] = answer

    def _tell(self, path: str, told: dict[str, Any]) -> None:
        self.server.answers[path] = Answer(
            200, {"Content-Type": "application/vnd.schemaregistry.v1+json"}, orjson.dumps(told)
        )

    def written(self, number: int, value: Any) -> bytes:
        """A message as a producer with the registry's serializer writes it."""
        text = io.BytesIO()
        fastavro.schemaless_writer(text, self._schemas[number], value)
        return b"\0" + number.to_bytes(4, "big") + text.getvalue()

    def read(self, message: bytes) -> Any:
        """What a consumer with the registry's deserializer reads."""
        assert message[:1] == b"\0"
        schema = self._schemas[int.from_bytes(message[1:5], "big")]
        return fastavro.schemaless_reader(io.BytesIO(message[5:]), schema, None)
