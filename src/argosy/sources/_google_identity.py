"""Who a source is to Google Cloud: access tokens without a vendor's library.

In this order: the key that the manifest gives, the file that ``GOOGLE_APPLICATION_CREDENTIALS`` names, the metadata server
of the machine or of GKE's workload identity (``GCE_METADATA_HOST`` leads elsewhere). A key is JSON of type
``service_account`` or ``authorized_user``. It is read anew for every token; a token is kept until shortly before it
expires, or until the key is another one.
Sources: developers.google.com "Using OAuth 2.0 for Server to Server Applications"; cloud.google.com "About VM metadata".
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from argosy.errors import ConfigError, SourceError
from argosy.json_web_token import signed
from argosy.manifests.fields import SecretKeySelector
from argosy.sources._base import SourceContext
from argosy.sources._http_client import HttpClient

_EARLY_SECONDS = 300.0
_TOKENS = "https://oauth2.googleapis.com/token"


class Identity(HttpClient):
    """An async context manager that hands out tokens for one scope."""

    def __init__(self, ctx: SourceContext[Any], key: SecretKeySelector | None, scope: str) -> None:
        super().__init__("Google Cloud")
        self._ctx = ctx
        self._key = key
        self._scope = scope
        self._held: tuple[str, str, float] | None = None
        self._asking = asyncio.Lock()

    async def token(self) -> str:
        """One that is good for some minutes. Raises SourceError, or ConfigError where a key is none."""
        async with self._asking:  # calls that begin together ask once
            text = await self._text()
            now = self._ctx.clock.now().timestamp()
            if self._held is None or self._held[0] != text or now >= self._held[2] - _EARLY_SECONDS:
                answer = await self._asked(text, now)
                try:
                    found = json.loads(answer)
                    token, seconds = str(found["access_token"]), float(found.get("expires_in", 3600))
                except (KeyError, ValueError, TypeError, AttributeError):
                    # Not "from": the words of the error quote the text, which may be half a token.
                    raise SourceError("Google answered without a token when asked for one") from None
                self._held = (text, token, now + seconds)
            return self._held[1]

    async def project(self) -> str:
        """The project of the key, else that of the machine. Raises SourceError where there is neither."""
        text = await self._text()
        found = _parsed(text).get("project_id", "") if text else ""
        if found:
            return str(found)
        try:
            return str(await self._of_machine("project/project-id"))
        except SourceError as error:
            raise SourceError(f"give projectID: the credentials name no project, and {error}") from error

    async def _text(self) -> str:
        """The key's JSON; empty for the machine's own identity."""
        if self._key is not None:
            return self._ctx.secret(self._key)
        file = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
        if not file:
            return ""
        try:
            return await asyncio.to_thread(Path(file).read_text)
        except OSError as error:
            raise SourceError(f"GOOGLE_APPLICATION_CREDENTIALS {file!r} cannot be read: {error.strerror}") from error

    async def _asked(self, text: str, now: float) -> str:
        if not text:
            return await self._of_machine(f"instance/service-accounts/default/token?scopes={self._scope}")
        key = _parsed(text)
        url = str(key.get("token_uri") or _TOKENS)
        if key["type"] == "service_account":
            form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}
            form["assertion"] = _assertion(key, url, self._scope, int(now))
        else:
            form = {"grant_type": "refresh_token"}
            form |= {name: str(key.get(name, "")) for name in ("client_id", "client_secret", "refresh_token")}
        return await self._got("POST", url, data=form)

    async def _of_machine(self, path: str) -> str:
        host = os.environ.get("GCE_METADATA_HOST", "") or "metadata.google.internal"
        url = f"http://{host}/computeMetadata/v1/{path}"
        return await self._got("GET", url, headers={"Metadata-Flavor": "Google"}, timeout=5.0)

    async def _got(self, method: str, url: str, **parts: Any) -> str:
        import httpx2

        where = urlsplit(url).netloc
        try:
            response = await self._answer(method, url, **parts)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise SourceError(f"{where} cannot be asked who we are: {type(error).__name__}") from error
        if response.is_success:
            return response.text
        try:
            answer = response.json()
            reason = str(answer.get("error", ""))
        except (ValueError, AttributeError):
            reason = ""
        raise SourceError(f"{where} gives no token: {response.status_code} {reason}".rstrip())


def _parsed(text: str) -> dict[str, Any]:
    try:
        key = json.loads(text)
    except ValueError as error:
        raise ConfigError("the credentials for Google Cloud are not JSON") from error
    kind = key.get("type") if isinstance(key, dict) else None
    if kind not in ("service_account", "authorized_user"):
        raise ConfigError(
            f"credentials of type {kind!r} are not understood; give a key of type 'service_account' or 'authorized_user',"
            " or leave them out where the machine or GKE's workload identity has an identity"
        )
    return dict(key)


def _assertion(key: dict[str, Any], audience: str, scope: str, now: int) -> str:
    """The JSON Web Token by which a service account asks for a token."""
    claims = {"iss": key.get("client_email", ""), "scope": scope, "aud": audience, "iat": now, "exp": now + 3600}
    private, name = str(key.get("private_key", "")), str(key.get("private_key_id", ""))
    try:
        return signed(claims, private, what="the key of a Google service account", key_id=name)
    except ValueError as error:
        raise ConfigError(f"the service account's private_key is {error}") from error
