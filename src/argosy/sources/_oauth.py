"""OAuth 2.0 access tokens for sources whose server wants one at the login: asked for whenever a connection is made.

With a refresh token in the name of the user who gave it, without one in the name of the application (client
credentials). Source: RFC 6749, sections 4.4 and 6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import Field, field_validator

from argosy.errors import SourceError
from argosy.manifests.fields import Model, SecretKeySelector
from argosy.sources._http_client import HttpClient


class OAuth(Model):
    """Where access tokens come from."""

    token_url: str
    """Where tokens are asked for."""
    client_id: SecretKeySelector
    """The secret that holds the application's id."""
    client_secret: SecretKeySelector | None = None
    """The secret that holds the application's secret, where it has one."""
    refresh_token: SecretKeySelector | None = None
    """The secret that holds a refresh token: access in the name of the user who gave it."""
    scopes: list[str] = Field(default_factory=list)
    """What is asked for, such as ``https://outlook.office365.com/.default``."""

    @field_validator("token_url")
    @classmethod
    def _a_url(cls, url: str) -> str:
        if not url.startswith(("https://", "http://")):
            raise ValueError(f"{url!r} is no http or https URL")
        return url


class _Asking(HttpClient):
    """Asks one token endpoint."""

    async def ask(self, url: str, form: dict[str, str]) -> Any:
        import httpx2

        what = f"the token endpoint {url.partition('?')[0]}"
        try:
            response = await self._answer("POST", url, data=form, headers={"Accept": "application/json"})
            answer = response.json()
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise SourceError(f"{what}: {error or type(error).__name__}") from error
        except ValueError as error:
            raise SourceError(f"{what} answered {response.status_code} with something that is no JSON") from error
        said = answer if isinstance(answer, dict) else {}
        if not response.is_success:
            # Only the code is shown: a description may repeat what was sent.
            code = said.get("error")
            word = f" ({code})" if isinstance(code, str) and code.replace("_", "").isalnum() else ""
            raise SourceError(f"{what} answered {response.status_code}{word}; check the secrets of 'oauth'")
        token = said.get("access_token")
        if not isinstance(token, str) or not token:
            raise SourceError(f"{what} answered {response.status_code} without an access_token")
        return token


async def access_token(config: OAuth, secret: Callable[[SecretKeySelector], str]) -> str:
    """A fresh access token. Raises SourceError in a sentence that holds no secret."""
    form = {"client_id": secret(config.client_id)}
    if config.client_secret is not None:
        form["client_secret"] = secret(config.client_secret)
    if config.refresh_token is not None:
        form |= {"grant_type": "refresh_token", "refresh_token": secret(config.refresh_token)}
    else:
        form["grant_type"] = "client_credentials"
    if config.scopes:
        form["scope"] = " ".join(config.scopes)
    async with _Asking("asking for OAuth tokens") as client:
        return str(await client.ask(config.token_url, form))
