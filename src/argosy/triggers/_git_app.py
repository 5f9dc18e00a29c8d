"""Tokens for a git repository on GitHub, by the key of a GitHub App.

An App proves itself with a signed word that holds for minutes and gets a token for its installation, which holds for an hour
(GitHub's page "Generating an installation access token").
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import orjson

from argosy.errors import Rejected, TriggerError
from argosy.event import parse_time
from argosy.json_web_token import signed
from argosy.manifests.artifacts import GithubApp
from argosy.triggers import _http
from argosy.triggers._http_clients import NO_TLS, Clients, of_environment

if TYPE_CHECKING:
    from datetime import datetime

    from argosy.triggers._base import TriggerContext

_SECONDS = 30.0
_EARLY = timedelta(minutes=5)
_MOST_BYTES = 64 * 1024


class Tokens:
    """The tokens of one trigger's Apps, each used until shortly before its end."""

    def __init__(self, ctx: TriggerContext, clients: Clients) -> None:
        self._ctx = ctx
        self._clients = clients
        self._known: dict[tuple[str, int, int, str], tuple[str, datetime]] = {}

    async def token(self, app: GithubApp, repository: str) -> str:
        """The password for the user ``x-access-token``. Raises Rejected where GitHub refuses the App, TriggerError otherwise."""
        if app.private_key is None or not app.app_id or not app.installation_id:
            raise Rejected("source.git.githubApp needs privateKey, appID and installationID")
        key = self._ctx.secret(app.private_key)
        api = _api(repository)
        about = (api, app.app_id, app.installation_id, key)
        known = self._known.get(about)
        if known is None or known[1] - _EARLY < self._ctx.clock.now():
            known = await self._asked(api, app, key)
            self._known = {about: known}
        return known[0]

    async def _asked(self, api: str, app: GithubApp, key: str) -> tuple[str, datetime]:
        where = f"{api}/app/installations/{app.installation_id}/access_tokens"
        what = f"POST {where}"
        now = int(self._ctx.clock.now().timestamp())
        signed = _signed(key, {"iat": now - 60, "exp": now + 540, "iss": str(app.app_id)})
        headers = {"Authorization": f"Bearer {signed}", "Accept": "application/vnd.github+json"}
        try:
            async with asyncio.timeout(_SECONDS), self._clients.use(NO_TLS, of_environment(where), "") as client:
                with _http.sentences(what):
                    request = client.build_request("POST", where, headers=headers)
                    response, raw = await _http.ask(client, request, _MOST_BYTES, private=["authorization"])
        except TimeoutError as error:
            raise TriggerError(f"{what}: no answer within {_SECONDS:g} s") from error
        if response.status_code != 201:
            said = f"{what} answered {response.status_code}, not 201: the App, its key or its installation is wrong"
            raise _http.failure(response.status_code, said, response.headers.get("Retry-After"))
        try:
            answer = orjson.loads(raw)
            return str(answer["token"]), parse_time(answer["expires_at"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise TriggerError(f"{what} answered something else than a token") from error


def _api(repository: str) -> str:
    """Where the API of this repository's server is."""
    parts = urlsplit(repository)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost")):
        raise Rejected("source.git.githubApp wants a repository's URL that begins with https")
    if parts.hostname == "github.com":
        return "https://api.github.com"
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}/api/v3"


def _signed(key: str, claims: dict[str, object]) -> str:
    try:
        return signed(claims, key, what="source.git.githubApp")
    except ValueError as error:
        raise Rejected(f"source.git.githubApp.privateKey is {error}") from error
