"""Who a source is to Azure when the manifest gives no key: tokens of Microsoft Entra ID without a vendor's library.

In this order, as Azure's own libraries have it: a client secret (``AZURE_TENANT_ID``, ``AZURE_CLIENT_ID``,
``AZURE_CLIENT_SECRET``), a workload identity (``AZURE_FEDERATED_TOKEN_FILE`` with tenant and client, as AKS sets them),
the managed identity of the machine (``AZURE_CLIENT_ID`` chooses one of several). ``AZURE_AUTHORITY_HOST`` and
``AZURE_POD_IDENTITY_AUTHORITY_HOST`` lead elsewhere. A token is kept until shortly before it expires.
Sources: learn.microsoft.com "Microsoft identity platform and the OAuth 2.0 client credentials flow", "How to use
managed identities for Azure resources on an Azure VM to acquire an access token".
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from argosy.errors import ConfigError, SourceError
from argosy.sources._base import SourceContext
from argosy.sources._http_client import HttpClient

_EARLY_SECONDS = 300.0
_MACHINE = "http://169.254.169.254"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Token(NamedTuple):
    """A bearer token, and when it ends, in seconds since 1970."""

    text: str
    expires: float

    def __repr__(self) -> str:
        return "Token()"


class Identity(HttpClient):
    """An async context manager that hands out tokens for one scope, such as ``https://storage.azure.com/.default``."""

    def __init__(self, ctx: SourceContext[Any], scope: str) -> None:
        super().__init__("Azure AD")
        self._ctx = ctx
        self._scope = scope
        self._held: Token | None = None
        self._asking = asyncio.Lock()

    async def token(self) -> Token:
        """One that is good for some minutes. Raises SourceError, or ConfigError where nobody can be asked."""
        async with self._asking:  # messages under way together ask once
            now = self._ctx.clock.now().timestamp()
            if self._held is None or now >= self._held.expires - _EARLY_SECONDS:
                self._held = await self._asked(now)
            return self._held

    async def _asked(self, now: float) -> Token:
        tenant, client = os.environ.get("AZURE_TENANT_ID", ""), os.environ.get("AZURE_CLIENT_ID", "")
        secret, file = os.environ.get("AZURE_CLIENT_SECRET", ""), os.environ.get("AZURE_FEDERATED_TOKEN_FILE", "")
        if tenant and client and secret:
            return await self._of_tenant(tenant, {"client_id": client, "client_secret": secret}, now)
        if tenant and client and file:
            try:
                assertion = (await asyncio.to_thread(Path(file).read_text)).strip()
            except OSError as error:
                raise SourceError(f"AZURE_FEDERATED_TOKEN_FILE {file!r} cannot be read: {error.strerror}") from error
            proof = {"client_id": client, "client_assertion_type": _ASSERTION, "client_assertion": assertion}
            return await self._of_tenant(tenant, proof, now)
        return await self._of_machine(client, now)

    async def _of_tenant(self, tenant: str, proof: dict[str, str], now: float) -> Token:
        authority = os.environ.get("AZURE_AUTHORITY_HOST", "") or "https://login.microsoftonline.com"
        if "://" not in authority:
            authority = f"https://{authority}"
        form = {"grant_type": "client_credentials", "scope": self._scope, **proof}
        url = f"{authority.rstrip('/')}/{tenant}/oauth2/v2.0/token"
        return await self._given("POST", url, now, data=form)

    async def _of_machine(self, client: str, now: float) -> Token:
        host = os.environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST", "") or _MACHINE
        query = {"api-version": "2018-02-01", "resource": self._scope.removesuffix("/.default")}
        if client:
            query["client_id"] = client
        url = f"{host.rstrip('/')}/metadata/identity/oauth2/token"
        try:
            return await self._given("GET", url, now, params=query, headers={"Metadata": "true"}, timeout=5.0)
        except SourceError as error:
            raise ConfigError(
                f"there is no identity for Azure: {error}; give a key in the manifest, or AZURE_TENANT_ID, AZURE_CLIENT_ID"
                " and AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE in the environment, or a managed identity"
            ) from error

    async def _given(self, method: str, url: str, now: float, **parts: Any) -> Token:
        import httpx2

        where = urlsplit(url).netloc
        try:
            response = await self._answer(method, url, **parts)
            answer = response.json()
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise SourceError(f"{where} cannot be asked for a token: {type(error).__name__}") from error
        except ValueError as error:
            raise SourceError(f"{where} answered {response.status_code} without JSON when asked for a token") from error
        if not response.is_success or not isinstance(answer, dict) or not answer.get("access_token"):
            reason = answer.get("error", "") if isinstance(answer, dict) else ""
            raise SourceError(f"{where} gives no token: {response.status_code} {reason}".rstrip())
        try:
            return Token(str(answer["access_token"]), now + float(answer.get("expires_in", 3600)))
        except (ValueError, TypeError) as error:
            raise SourceError(f"{where} gives a token that ends at no time") from error


class Tokens:
    """An identity as Microsoft's libraries take one; the scope that they ask for is the one that it has."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    async def get_token(self, *scopes: str, **_: Any) -> Any:
        """A token that is good for some minutes."""
        from azure.core.credentials import AccessToken

        token = await self._identity.token()
        return AccessToken(token.text, int(token.expires))

    async def close(self) -> None:
        """Nothing: the identity is closed by whoever has opened it."""

    async def __aenter__(self) -> Tokens:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
