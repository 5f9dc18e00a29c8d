"""The token of a service account: when it is asked for, and what is used where it cannot be had. ``tests/cluster/test_identity.py`` has the server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from argosy.errors import Rejected, RetryAfter, TriggerError
from argosy.kubernetes.client import NotFound
from argosy.kubernetes.rights import Account, account_of
from argosy.kubernetes.tokens import AccountToken


class _Server:
    """Gives out numbered tokens that live as long as ``lives`` says; ``failure`` is what it answers instead."""

    def __init__(self, lives: int = 3600) -> None:
        self.lives = lives
        self.given = 0
        self.asked = 0
        self.failure: Exception | None = None
        self.now = 5000.0
        self.token = AccountToken(self, Account("shop", "orders"), lambda: self.now)  # type: ignore[arg-type]

    async def create_part(self, resource: Any, name: str, part: str, body: Any, namespace: str) -> Any:
        assert (resource.plural, name, part, namespace) == ("serviceaccounts", "orders", "token", "shop")
        assert body["kind"] == "TokenRequest"
        self.asked += 1
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        self.given += 1
        return {"spec": {"expirationSeconds": self.lives}, "status": {"token": f"t{self.given}"}}

    async def use(self, *, refused: bool = False) -> str | None:
        return await self.token.authorization(refused=refused)


@pytest.mark.parametrize("lives", [600, 3600, 86400])
async def test_it_is_renewed_when_four_fifths_of_what_the_server_grants_are_over(lives: int) -> None:
    server = _Server(lives)
    assert await server.use() == "Bearer t1"
    server.now += 0.79 * lives
    assert await server.use() == "Bearer t1"
    server.now += 0.02 * lives
    assert await server.use() == "Bearer t2"


async def test_it_is_asked_for_once_by_however_many_need_it() -> None:
    server = _Server()
    assert set(await asyncio.gather(*(server.use() for _ in range(50)))) == {"Bearer t1"}
    server.now += 100
    assert set(await asyncio.gather(*(server.use(refused=True) for _ in range(50)))) == {"Bearer t2"}
    assert server.asked == 2


async def test_it_serves_on_while_it_lives_and_is_asked_for_now_and_then_where_that_fails() -> None:
    server = _Server()
    await server.use()
    server.failure = TriggerError("the Kubernetes API cannot be reached")
    server.now += 0.85 * 3600
    for _ in range(20):
        assert await server.use() == "Bearer t1"
        server.now += 1
    assert server.asked == 1 + 2
    server.failure = None
    server.now += 10
    assert await server.use() == "Bearer t2"


async def test_it_serves_no_longer_than_it_lives_nor_when_it_was_refused() -> None:
    for refused in (False, True):
        server = _Server()
        await server.use()
        server.failure = TriggerError("away")
        server.now += 100 if refused else 3601
        with pytest.raises(TriggerError, match="away"):
            await server.use(refused=refused)


@pytest.mark.parametrize(
    ("failure", "kind", "sentence"),
    [
        (
            NotFound("x"),
            TriggerError,
            "the service account 'orders' of namespace 'shop' does not exist; make it, or correct spec.template.serviceAccountName",
        ),
        (
            Rejected("forbidden"),
            TriggerError,
            "cannot act as the service account 'orders' of namespace 'shop': forbidden",
        ),
        (RetryAfter("too many", 7), RetryAfter, "too many"),
    ],
)
async def test_where_it_cannot_be_had_another_try_may_help(failure: Exception, kind: type, sentence: str) -> None:
    server = _Server()
    server.failure = failure
    with pytest.raises(kind) as raised:
        await server.use()
    assert str(raised.value) == sentence
    assert not isinstance(raised.value, Rejected | NotFound)


async def test_an_answer_without_a_token_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    server = _Server()

    async def nothing(*words: Any) -> Any:
        return {}

    monkeypatch.setattr(server, "create_part", nothing)
    with pytest.raises(TriggerError, match="holds no token"):
        await server.use()


async def test_it_does_not_show_itself() -> None:
    server = _Server()
    await server.use()
    assert "t1" not in repr(server.token)


@pytest.mark.parametrize(
    ("template", "name"),
    [
        (None, "default"),
        ({}, "default"),
        ({"serviceAccountName": ""}, "default"),
        ({"serviceAccountName": "a"}, "a"),
        ({"serviceAccountName": 7}, "default"),
    ],
)
def test_an_object_acts_as_the_account_that_it_names_or_as_the_default_one(template: Any, name: str) -> None:
    assert account_of("shop", template) == Account("shop", name)
