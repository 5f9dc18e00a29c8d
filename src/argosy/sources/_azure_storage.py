"""A queue of Azure Storage: the four calls that a reader needs, signed, without a vendor's library.

A connection string says where the account is and how a call is signed: by the account's key (Shared Key), by a shared
access signature, or, without a connection string, by a token of the process's own identity. It is read anew for every
call, so a key that rotates is taken up at once.
Sources: learn.microsoft.com "Authorize with Shared Key", "Configure Azure Storage connection strings", "Queue Storage
REST API", "Delegate access with a shared access signature".
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import email.utils
import hashlib
import hmac
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from argosy import xml_document
from argosy.errors import ConfigError, SourceError
from argosy.sources._azure_identity import Identity
from argosy.sources._base import SourceContext
from argosy.sources._http_client import HttpClient

if TYPE_CHECKING:
    import xml.etree.ElementTree as ElementTree

    import httpx2

SCOPE = "https://storage.azure.com/.default"
_VERSION = "2021-12-02"
_LONGEST_ANSWER = 16 * 1024 * 1024
# The account of the emulator and its key, which everybody knows.
_EMULATOR = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6"
    "IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1"
)


class Gone(SourceError):
    """A message is not ours any more: its time was up, or somebody deleted it."""


class Message(NamedTuple):
    """A message as it was taken. ``receipt`` allows to delete it or to keep it longer."""

    id: str
    inserted: dt.datetime
    taken: int
    """How often it has been taken, this time included."""
    receipt: str
    text: str


@dataclass(frozen=True)
class Account:
    """Where the queues of an account are, and what signs a call; neither means a token."""

    url: str
    name: str = ""
    key: bytes = field(default=b"", repr=False)
    signature: str = field(default="", repr=False)


def parse(text: str) -> Account:
    """Read a connection string. Raises ConfigError, which never quotes it."""
    if "usedevelopmentstorage=true" in text.lower().replace(" ", ""):
        text = _EMULATOR
    parts = {
        name.strip().lower(): value.strip()
        for name, equals, value in (part.partition("=") for part in text.strip().split(";"))
        if equals
    }
    name, signature = parts.get("accountname", ""), parts.get("sharedaccesssignature", "").removeprefix("?")
    url = parts.get("queueendpoint", "")
    if not url and name:
        suffix = parts.get("endpointsuffix", "core.windows.net")
        url = f"{parts.get('defaultendpointsprotocol', 'https')}://{name}.queue.{suffix}"
    if not url or not urlsplit(url).hostname:
        raise ConfigError("the connection string names no account: it has neither AccountName nor QueueEndpoint")
    if signature:
        return Account(url.rstrip("/"), name, signature=signature)
    try:
        key = base64.b64decode(parts.get("accountkey", ""), validate=True)
    except binascii.Error:
        key = b""
    if not (name and key):
        raise ConfigError(
            "the connection string has no AccountName with a base64 AccountKey, and no SharedAccessSignature"
        )
    return Account(url.rstrip("/"), name, key)


class Queue(HttpClient):
    """One queue: an async context manager. Every call raises SourceError with Azure's own code where it fails."""

    def __init__(self, ctx: SourceContext[Any], name: str, tls: ssl.SSLContext | None = None) -> None:
        super().__init__("'azureQueueStorage'", tls)
        self._ctx = ctx
        self._name = name
        self._identity = Identity(ctx, SCOPE) if ctx.config.connection_string is None else None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        if self._identity is not None:
            await self._identity.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._identity is not None:
            await self._identity.__aexit__(*exc)
        await super().__aexit__(*exc)

    @property
    def where(self) -> str:
        """The queue as it stands in sentences."""
        return f"queue {self._name!r} of {urlsplit(self._account().url).netloc}"

    async def look(self) -> None:
        """Return if the queue is there and can be read, taking nothing."""
        await self._call("GET", "/messages", {"peekonly": "true"})

    async def take(self, most: int, seconds: int) -> list[Message]:
        """Up to 32 messages, which nobody else gets for ``seconds``."""
        query = {"numofmessages": str(most), "visibilitytimeout": str(seconds)}
        return [_message(each) for each in _tree(await self._call("GET", "/messages", query))]

    async def extend(self, message: Message, seconds: int) -> Message:
        """Keep a message for ``seconds`` from now; 0 gives it back. Raises Gone."""
        query = {"popreceipt": message.receipt, "visibilitytimeout": str(seconds)}
        response = await self._call("PUT", f"/messages/{quote(message.id, safe='')}", query)
        return message._replace(receipt=response.headers.get("x-ms-popreceipt", message.receipt))

    async def delete(self, message: Message) -> None:
        """Raises Gone."""
        await self._call("DELETE", f"/messages/{quote(message.id, safe='')}", {"popreceipt": message.receipt})

    def _account(self) -> Account:
        config = self._ctx.config
        if config.connection_string is not None:
            return parse(self._ctx.secret(config.connection_string))
        return Account(f"https://{config.storage_account_name}.queue.core.windows.net")

    async def _call(self, method: str, path: str, query: Mapping[str, str]) -> httpx2.Response:
        import httpx2

        account = self._account()
        url = f"{account.url}/{quote(self._name, safe='')}{path}?{urlencode(query)}"
        headers = {"x-ms-date": email.utils.format_datetime(self._ctx.clock.now().astimezone(dt.UTC), usegmt=True)}
        headers["x-ms-version"] = _VERSION
        if account.signature:
            url += f"&{account.signature}"
        elif account.key:
            headers["Authorization"] = f"SharedKey {account.name}:{signed(method, url, headers, account)}"
        elif self._identity is not None:
            headers["Authorization"] = f"Bearer {(await self._identity.token()).text}"
        try:
            response = await self._answer(method, url, headers=headers)
        except httpx2.ConnectError as error:
            raise SourceError(f"{self.where} cannot be reached: {_reason(error)}") from error
        except httpx2.TimeoutException as error:
            raise SourceError(f"{self.where} has not answered in time") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise SourceError(f"{self.where} broke off: {type(error).__name__}") from error
        if not response.is_success:
            raise self._failure(response)
        return response

    def _failure(self, response: httpx2.Response) -> SourceError:
        code = response.headers.get("x-ms-error-code", "") or _code(response.content)
        said = f"{self.where} answered {response.status_code} {code}".rstrip()
        if code in ("MessageNotFound", "PopReceiptMismatch"):
            return Gone(said)
        if code == "QueueNotFound":
            return SourceError(f"{said}: there is no such queue; make it, or mend queueName")
        if response.status_code in (401, 403):
            return SourceError(f"{said}: check the connection string, or what the identity may do, and the clock")
        return SourceError(said)


def signed(method: str, url: str, headers: Mapping[str, str], account: Account) -> str:
    """The Shared Key signature of a call without a body."""
    parts = urlsplit(url)
    resource = f"/{account.name}{parts.path or '/'}" + "".join(
        f"\n{name}:{value}" for name, value in sorted((name.lower(), value) for name, value in parse_qsl(parts.query))
    )
    ours = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-ms-"))
    # The twelve lines are of headers that a call without a body does not have; Date stands in x-ms-date.
    text = method + "\n" * 12 + ours + resource
    return base64.b64encode(hmac.digest(account.key, text.encode(), hashlib.sha256)).decode()


def _reason(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def _tree(response: httpx2.Response) -> ElementTree.Element:
    if len(response.content) > _LONGEST_ANSWER:
        raise SourceError("Azure Queue Storage answered with something that is no list of messages")
    try:
        return xml_document.read(response.content)
    except ValueError as error:
        raise SourceError(f"Azure Queue Storage answered with something that {error}") from error


def _code(content: bytes) -> str:
    try:
        return xml_document.read(content).findtext("Code") or ""
    except ValueError:
        return ""


def _message(element: ElementTree.Element) -> Message:
    def text(name: str) -> str:
        return element.findtext(name) or ""

    try:
        inserted = email.utils.parsedate_to_datetime(text("InsertionTime"))
        return Message(text("MessageId"), inserted, int(text("DequeueCount")), text("PopReceipt"), text("MessageText"))
    except ValueError as error:
        raise SourceError("Azure Queue Storage answered with a message that has no time or no count") from error
