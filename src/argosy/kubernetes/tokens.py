"""Acting as a service account with a short-lived token that the API server gives out (the TokenRequest API).

A process that serves many objects asks for a token of each one's account with its own credentials, for which it needs the verb
``create`` on ``serviceaccounts/token``. What it then does is done, refused and audited as that account. A token is renewed when 80 % of
its life are over, as the kubelet does, and when the server refuses it; where a renewal fails it is used on as long as it lives. It stays in
memory and is never shown.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from argosy.errors import ArgosyError, Rejected, TriggerError
from argosy.kubernetes._answers import NotFound, Resource
from argosy.kubernetes.config import Credentials
from argosy.kubernetes.rights import Account

if TYPE_CHECKING:
    from argosy.kubernetes.client import Client

_ASKED_SECONDS = 3600
"""How long a token shall live; the server may say otherwise (it grants no less than ten minutes)."""
_RENEWED_AT = 0.8
_AGAIN_SECONDS = 10.0
"""After a renewal that failed the token that still lives is used for so long before the next try."""
_FRESH_SECONDS = 1.0
"""Calls that were refused together are answered by one new token: the first asks for it, the others find it this young."""
_ACCOUNTS = Resource("", "v1", "ServiceAccount", "serviceaccounts", True)


class AccountToken(Credentials):
    """A token of ``account``, kept and renewed. ``client`` asks for it, with the rights of the process."""

    def __init__(self, client: Client, account: Account, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._account = account
        self._monotonic = monotonic
        self._header = ""
        self._asked_at = self._due = self._ends = -_FRESH_SECONDS
        self._asking = asyncio.Lock()

    async def authorization(self, *, refused: bool) -> str | None:
        """As all credentials. Raises TriggerError if there is no such account, or the process may not have its tokens."""
        async with self._asking:
            now = self._monotonic()
            if refused and now - self._asked_at >= _FRESH_SECONDS:
                self._header = ""
            if not self._header or now >= self._ends:
                await self._renew()
            elif now >= self._due:
                try:
                    await self._renew()
                except ArgosyError:  # who uses it is told when it has ended
                    self._due = now + _AGAIN_SECONDS
            return self._header

    async def _renew(self) -> None:
        asked_at = self._monotonic()
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": _ASKED_SECONDS},
        }
        namespace, name = self._account
        who = f"the service account {name!r} of namespace {namespace!r}"
        try:
            answer = await self._client.create_part(_ACCOUNTS, name, "token", body, namespace)
        except NotFound as error:
            raise TriggerError(f"{who} does not exist; make it, or correct spec.template.serviceAccountName") from error
        except Rejected as error:
            # Another try may help: the rights of a process that serves many objects may come after it.
            raise TriggerError(f"cannot act as {who}: {error}") from error
        token = (answer.get("status") or {}).get("token")
        if not token:
            raise TriggerError(f"cannot act as {who}: the answer holds no token; is there a Kubernetes API server?")
        # Measured from before the question by our own clock: that of the server may be another.
        lives = float((answer.get("spec") or {}).get("expirationSeconds") or _ASKED_SECONDS)
        self._header = f"Bearer {token}"
        self._asked_at, self._due, self._ends = asked_at, asked_at + _RENEWED_AT * lives, asked_at + lives
