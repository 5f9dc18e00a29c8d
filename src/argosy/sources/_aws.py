"""One service of AWS, as a source calls it: failures are the source's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from argosy.aws.client import AwsError, Client, endpoint
from argosy.aws.credentials import Chain, Named
from argosy.errors import SourceError
from argosy.sources._base import SourceContext
from argosy.sources._hooks_api import ApiError

if TYPE_CHECKING:
    import xml.etree.ElementTree as ElementTree

__all__ = ["Aws", "Named"]


class Aws:
    """Calls one service of one region: an async context manager."""

    def __init__(self, ctx: SourceContext[Any], service: str, region: str, named: Named, given: str = "") -> None:
        self._client = Client(f"AWS {service}", ctx.clock)
        self._who = Chain(self._client, named, ctx.secret, ctx.clock, region)
        self._service = service
        self._region = region
        self._url = endpoint(service, region, given)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.__aexit__(*exc)

    async def call(self, action: str, **parameters: str) -> ElementTree.Element:
        """A call of the query protocol: the answer's XML. Raises SourceError with AWS's own code."""
        with _sentences():
            return await self._client.query(self._service, self._region, self._url, action, parameters, self._who)

    async def call_unsigned(self, action: str, **parameters: str) -> ElementTree.Element:
        """As ``call``, for what wants no credentials."""
        with _sentences():
            return await self._client.query(self._service, self._region, self._url, action, parameters, None)

    async def ask(self, target: str, document: Mapping[str, Any], seconds: float = 30.0) -> dict[str, Any]:
        """A call of the JSON protocol. Raises SourceError with AWS's own code and sentence."""
        with _sentences():
            return await self._client.json(
                self._service, self._region, self._url, target, document, self._who, seconds=seconds
            )

    async def fetch(self, url: str) -> bytes:
        """What a public URL yields. Raises SourceError."""
        with _sentences():
            answer = await self._client.request(self._service, self._region, "GET", url, {}, b"", None)
        return bytes(answer.content)


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    try:
        yield
    except AwsError as error:
        if error.wait_seconds:
            raise ApiError(str(error), error.status, error.wait_seconds) from error
        raise SourceError(str(error)) from error
