"""Whose name AWS is called in.

In this order: the role of ``roleARN``; the keys of the manifest, with their session token; the process's own
credentials. Those are the first of: the environment (``AWS_ACCESS_KEY_ID`` …), a web identity
(``AWS_WEB_IDENTITY_TOKEN_FILE`` and ``AWS_ROLE_ARN``, as EKS sets them), the shared credentials file
(``~/.aws/credentials``, profile ``AWS_PROFILE``), the container's (ECS, EKS Pod Identity), the instance's (EC2,
version 2 of its metadata service). A role is taken with the process's own credentials, as upstream does; where it
has none, with the keys of the manifest.

Keys of the manifest are read for every call, so a rotated Secret counts from the next one on. What is taken from
elsewhere is remembered until five minutes before it runs out, and no longer than five minutes where it does not
say. Not read: profiles that name a role or a login of their own (SSO, ``credential_process``).
Sources: docs.aws.amazon.com "Standardized credential providers", "Container credential provider",
"IMDS credential provider".
"""

from __future__ import annotations

import asyncio
import configparser
import datetime as dt
import ipaddress
import json
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from argosy.aws.client import AwsError, Client, endpoint
from argosy.aws.signing import Credentials
from argosy.clock import Clock
from argosy.errors import ConfigError
from argosy.manifests.fields import SecretKeySelector

_EARLY_SECONDS = 300.0
_CHAINS = 32
_SESSION = "argosy"
_METADATA_SECONDS = 2.0
_INSTANCE = "http://169.254.169.254"
_CONTAINER = "http://169.254.170.2"
_CONTAINERS = ("169.254.170.2", "169.254.170.23", "fd00:ec2::23")
"""The hosts, beside the machine itself, whose word is taken without TLS."""


class Named(NamedTuple):
    """Where the manifest says the credentials are."""

    access_key: SecretKeySelector | None = None
    secret_key: SecretKeySelector | None = None
    session_token: SecretKeySelector | None = None
    role_arn: str = ""

    def keys(self, secret: Callable[[SecretKeySelector], str]) -> Credentials | None:
        """The manifest's keys as they are now; None where it has none. Raises what ``secret`` raises."""
        if self.access_key is None or self.secret_key is None:
            return None
        token = secret(self.session_token) if self.session_token is not None else ""
        return Credentials(secret(self.access_key), secret(self.secret_key), token)


class _Taken(NamedTuple):
    """Credentials and the second from which on they are taken anew."""

    credentials: Credentials
    until: float


class Chain:
    """The credentials of one block of a manifest."""

    def __init__(
        self, client: Client, named: Named, secret: Callable[[SecretKeySelector], str], clock: Clock, region: str
    ) -> None:
        self._client = client
        self._named = named
        self._secret = secret
        self._clock = clock
        self._region = region
        self._taken: _Taken | None = None
        self._taking = asyncio.Lock()

    async def get(self) -> Credentials:
        """The credentials of now. Raises AwsError where there are none, ConfigError where what leads to them is wrong."""
        if not self._named.role_arn and (keys := self._named.keys(self._secret)) is not None:
            return keys
        async with self._taking:  # many calls at once take them once
            if self._taken is None or self._now() >= self._taken.until:
                self._taken = await (self._role() if self._named.role_arn else self._own())
            return self._taken.credentials

    def forget(self) -> None:
        self._taken = None

    async def _role(self) -> _Taken:
        own: Credentials
        try:
            own = (await self._own()).credentials
        except _NoneThere:
            if (keys := self._named.keys(self._secret)) is None:
                raise
            own = keys
        return await self._sts("AssumeRole", {"RoleArn": self._named.role_arn}, _As(own))

    async def _own(self) -> _Taken:
        key, secret = os.environ.get("AWS_ACCESS_KEY_ID", ""), os.environ.get("AWS_SECRET_ACCESS_KEY", "")
        if key and secret:
            return self._for_now(Credentials(key, secret, os.environ.get("AWS_SESSION_TOKEN", "")))
        file, role = os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE", ""), os.environ.get("AWS_ROLE_ARN", "")
        if file and role:
            token = await _text(file, "AWS_WEB_IDENTITY_TOKEN_FILE")
            return await self._sts("AssumeRoleWithWebIdentity", {"RoleArn": role, "WebIdentityToken": token}, None)
        if (found := await asyncio.to_thread(_shared)) is not None:
            return self._for_now(found)
        if url := _container_url():
            return await self._container(url)
        if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true":
            try:
                return await self._instance()
            except AwsError as error:
                raise _NoneThere from error
        raise _NoneThere

    async def _sts(self, action: str, parameters: dict[str, str], who: _As | None) -> _Taken:
        session = os.environ.get("AWS_ROLE_SESSION_NAME", "") or _SESSION
        url = endpoint("sts", self._region)
        answer = await self._client.query(
            "sts", self._region, url, action, {"RoleSessionName": session, **parameters}, who
        )
        return self._until(_given(answer), answer.findtext(".//Expiration") or "")

    async def _container(self, url: str) -> _Taken:
        headers = {}
        if file := os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", ""):
            headers["Authorization"] = await _text(file, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        elif token := os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", ""):
            headers["Authorization"] = token
        return self._document(await self._ask("GET", url, headers))

    async def _instance(self) -> _Taken:
        base = (os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "") or _INSTANCE).rstrip("/")
        token = await self._ask("PUT", f"{base}/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
        headers = {"X-aws-ec2-metadata-token": token.decode(errors="replace").strip()}
        place = f"{base}/latest/meta-data/iam/security-credentials/"
        role = (await self._ask("GET", place, headers)).decode(errors="replace").strip()
        return self._document(await self._ask("GET", place + role, headers))

    async def _ask(self, method: str, url: str, headers: dict[str, str]) -> bytes:
        # Not by a proxy: this is between the process and its machine.
        async with Client("AWS", self._clock, direct=True) as client:
            answer = await client.request(
                "", "", method, url, headers, b"", None, action="credentials", seconds=_METADATA_SECONDS
            )
        return bytes(answer.content)

    def _document(self, text: bytes) -> _Taken:
        try:
            found = json.loads(text)
            credentials = Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["Token"])
            expires = str(found.get("Expiration", ""))
        except (ValueError, KeyError, TypeError):
            # Not "from": the words of the error quote the text, which may be half a secret.
            raise AwsError("the metadata service answered without credentials") from None
        return self._until(credentials, expires)

    def _for_now(self, credentials: Credentials) -> _Taken:
        return _Taken(credentials, self._now() + _EARLY_SECONDS)

    def _until(self, credentials: Credentials, expires: str) -> _Taken:
        try:
            end = dt.datetime.fromisoformat(expires).timestamp()
        except ValueError:
            return self._for_now(credentials)
        # What lives shorter than the five minutes serves half its life.
        left = end - self._now()
        return _Taken(credentials, self._now() + max(left - _EARLY_SECONDS, left / 2))

    def _now(self) -> float:
        return self._clock.now().timestamp()


class Chains:
    """The credentials of one block as parameters change it: what they make of it may be many, what is in use is few."""

    def __init__(self, client: Client, secret: Callable[[SecretKeySelector], str], clock: Clock) -> None:
        self._client = client
        self._secret = secret
        self._clock = clock
        self._known: dict[tuple[Named, str], Chain] = {}

    def of(self, named: Named, region: str) -> Chain:
        """Those that are named; of all that were asked for, the newest are remembered."""
        key = (named, region)
        found = self._known.pop(key, None) or Chain(self._client, named, self._secret, self._clock, region)
        self._known[key] = found
        while len(self._known) > _CHAINS:
            del self._known[next(iter(self._known))]
        return found


class _NoneThere(AwsError):
    # No ConfigError: a metadata service that is slow for once is not there either.
    def __init__(self) -> None:
        super().__init__(
            "there are no AWS credentials: give accessKey and secretKey, or AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY in the environment, or a role to the process (web identity, container, instance)"
        )


class _As(NamedTuple):
    """These credentials and no others."""

    credentials: Credentials

    async def get(self) -> Credentials:
        return self.credentials

    def forget(self) -> None:
        """There are no others."""


async def _text(file: str, variable: str) -> str:
    try:
        return (await asyncio.to_thread(Path(file).read_text)).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise AwsError(f"{variable} {file!r} cannot be read: {reason}") from error


def _shared() -> Credentials | None:
    """The keys of the shared credentials file. Raises ConfigError where a profile that was asked for has none."""
    profile = os.environ.get("AWS_PROFILE", "")
    path = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "") or "~/.aws/credentials").expanduser()
    parser = configparser.RawConfigParser()
    try:
        parser.read(path)
    except (configparser.Error, OSError, UnicodeDecodeError):
        raise ConfigError(f"AWS's credentials file {str(path)!r} cannot be read") from None  # its words quote a line
    section = profile or "default"
    if parser.has_section(section):
        values = parser[section]
        key, secret = values.get("aws_access_key_id", ""), values.get("aws_secret_access_key", "")
        if key and secret:
            return Credentials(key, secret, values.get("aws_session_token", ""))
    if profile:
        raise ConfigError(f"AWS_PROFILE {profile!r} has no keys in {str(path)!r}")
    return None


def _container_url() -> str:
    """Where the container's credentials are; empty where there are none. Raises ConfigError for a place whose
    word is not to be trusted.
    """
    if relative := os.environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", ""):
        return urljoin(_CONTAINER, relative)
    full = os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")
    parts = urlsplit(full)
    if not full or parts.scheme == "https":
        return full
    host = parts.hostname or ""
    try:
        own = ipaddress.ip_address(host).is_loopback
    except ValueError:
        own = host == "localhost"
    if parts.scheme != "http" or not (own or host in _CONTAINERS):
        raise ConfigError("AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor this machine's")
    return full


def _given(answer: ElementTree.Element) -> Credentials:
    found = [answer.findtext(f".//{name}") or "" for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
    if not all(found):
        raise AwsError("AWS STS answered without credentials")
    return Credentials(*found)
