"""The ``nautobot`` trigger and what goes wrong on the way: a double of Nautobot's API, for what a real one does not do when it is told to.

What Nautobot itself takes, shows and refuses is proved against a real one, in ``tests/peers``.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest

from argosy.errors import Rejected, RetryAfter, TriggerError
from argosy.manifests.fields import Json
from tests.conformance.trigger import Stage, eventually
from tests.unit.triggers.receivers import Answer, HttpServer, Request

TOKEN = "0123456789abcdef0123456789abcdef01234567"
SECRETS = {("nautobot", "token"): TOKEN}
_PATH = "/api/tenancy/tenants/"


class NautobotDouble(HttpServer):
    """Tenants, which have a name and a description, in Nautobot's words (those of 3.2)."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.tenants: dict[str, dict[str, Any]] = {}
        self.instead: Callable[[Request], Answer | None] = lambda request: None
        """What to answer in Nautobot's place."""
        self.largest_page = 1000

    @property
    def asked(self) -> list[str]:
        """The methods of the requests so far."""
        return [request.method for request in self.requests]

    def _write(self, writer: asyncio.StreamWriter, request: Request) -> bool:
        answer = self.instead(request)
        if answer is None:
            status, document = self._answered(request)
            body = b"" if document is None else orjson.dumps(document)
            answer = Answer(status, {"Content-Type": "application/json"}, body)
        self.default = answer
        return super()._write(writer, request)

    def _answered(self, request: Request) -> tuple[int, Any]:
        target = urlsplit(request.target)
        if request.headers.get("authorization") != f"Token {TOKEN}":
            return 403, {"detail": "Invalid token"}
        if not target.path.startswith(_PATH):
            return 404, {"detail": "Not found."}
        id = target.path.removeprefix(_PATH).rstrip("/")
        if id and id not in self.tenants:
            return 404, {"detail": "No Tenant matches the given query."}
        if request.method == "OPTIONS":
            names = {"id": False, "name": False, "description": False, "display": True}
            return 200, {
                "actions": {"POST": {name: {"type": "string", "read_only": fixed} for name, fixed in names.items()}}
            }
        if request.method == "GET" and not id:
            return 200, self._page(dict(parse_qsl(target.query)))
        if request.method == "GET":
            return 200, self.tenants[id]
        if request.method == "DELETE":
            del self.tenants[id]
            return 204, None
        body = orjson.loads(request.body)
        if request.method == "PATCH":
            self.tenants[id].update(body)
            return 200, self.tenants[id]
        if any(tenant["name"] == body["name"] for tenant in self.tenants.values()):
            return 400, {"name": ["tenant with this name already exists."]}
        return 201, self.add(**body)

    def add(self, id: str, name: str, description: str = "") -> dict[str, Any]:
        url = f"{self.url}{_PATH}{id}/"
        about = {"id": id, "object_type": "tenancy.tenant", "display": name, "url": url}
        return self.tenants.setdefault(id, {**about, "name": name, "description": description})

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        found = [each for each in self.tenants.values() if each["name"].lower() == query["name"].lower()]
        start, most = int(query["offset"]), min(int(query["limit"]), self.largest_page)
        # The address of the next page is that of Nautobot behind its proxy, where nobody gets.
        next_page = "http://nautobot.internal:8080/next" if start + most < len(found) else None
        return {"count": len(found), "next": next_page, "previous": None, "results": found[start : start + most]}


@pytest.fixture
async def double() -> AsyncIterator[NautobotDouble]:
    async with NautobotDouble() as double:
        yield double


def _block(double: NautobotDouble, **fields: Json) -> dict[str, Json]:
    return {
        "url": double.url,
        "token": {"name": "nautobot", "key": "token"},
        "endpoint": "tenancy/tenants",
        "key": ["name"],
        "object": {"name": "one", "description": "first"},
        **fields,
    }


async def _fire(double: NautobotDouble, **fields: Json) -> Any:
    stage = Stage("nautobot", secrets=SECRETS)
    async with stage.open() as trigger:
        return await stage.fire(trigger, _block(double, **fields))


async def test_a_thousand_actions_need_one_connection_and_ask_once_what_fields_there_are(
    double: NautobotDouble,
) -> None:
    stage = Stage("nautobot", secrets=SECRETS)
    async with stage.open() as trigger:
        for number in range(1000):
            object_ = {"name": f"t-{number % 10}", "description": str(number)}
            await stage.fire(trigger, _block(double, object=object_), id=str(number))
    assert double.connections == 1
    assert double.asked.count("OPTIONS") == 1
    assert double.asked.count("GET") == 1000
    assert double.asked.count("POST") == 10
    assert double.asked.count("PATCH") == 990


async def test_what_nautobot_cannot_do_now_is_tried_again(double: NautobotDouble) -> None:
    # Given a Nautobot that is overrun, or down, or behind a proxy that finds it nowhere; then it is a failed try
    for status in (408, 425, 429, 500, 502, 503, 504):
        double.instead = lambda request, status=status: Answer(status, body=b"<html>sorry</html>")  # type: ignore[misc]
        with pytest.raises(TriggerError, match=str(status)) as error:
            await _fire(double)
        assert not isinstance(error.value, Rejected)
    # And where it says when, it is asked then
    double.instead = lambda request: Answer(429, {"Retry-After": "30"}, b'{"detail": "Request was throttled."}')
    with pytest.raises(RetryAfter, match="Request was throttled") as wait:
        await _fire(double)
    assert wait.value.seconds == 30
    # And so it is with an answer that is broken off, or never comes
    for answer in (Answer(reset=True), Answer(body=b'{"count": 1, "results": []}', cut=5)):
        double.instead = lambda request, answer=answer: answer  # type: ignore[misc]
        with pytest.raises(TriggerError) as error:
            await _fire(double)
        assert not isinstance(error.value, Rejected)
    double.instead = lambda request: Answer(body=b"{}", stall=True)
    with pytest.raises(TriggerError, match="no answer within 1 s"):
        await _fire(double, timeout=1)
    assert double.tenants == {}


async def test_who_answers_otherwise_than_nautobot_is_named(double: NautobotDouble) -> None:
    # A redirect would lose what is sent
    double.instead = lambda request: Answer(301, {"Location": "https://nautobot.example.com/api/"})
    with pytest.raises(Rejected, match="a redirect to https://nautobot.example.com/api/; write Nautobot's own address"):
        await _fire(double)
    # A page of something else
    double.instead = lambda request: Answer(200, body=b"<html>welcome</html>")
    with pytest.raises(TriggerError, match="something else than JSON; is 'url' that of a Nautobot"):
        await _fire(double)
    # JSON of something else
    double.instead = lambda request: Answer(200, body=b"[1]")
    with pytest.raises(Rejected, match="something else than a list of objects"):
        await _fire(double)


async def test_the_token_is_in_no_sentence_even_if_it_is_said_back(double: NautobotDouble) -> None:
    for status in (400, 503):
        double.instead = lambda request, status=status: Answer(  # type: ignore[misc]
            status, body=orjson.dumps({"detail": f"what about {request.headers['authorization']}?"})
        )
        with pytest.raises(TriggerError) as error:
            await _fire(double)
        assert "what about Token …?" in str(error.value)
    assert all(request.headers["authorization"] == f"Token {TOKEN}" for request in double.requests)


@pytest.mark.parametrize("secret", ["", "two\nlines"])
async def test_a_token_that_is_none_is_rejected(double: NautobotDouble, secret: str) -> None:
    stage = Stage("nautobot", secrets={("nautobot", "token"): secret})
    async with stage.open() as trigger:
        with pytest.raises(Rejected) as error:
            await stage.fire(trigger, _block(double))
    assert "lines" not in str(error.value)
    assert double.requests == []


async def test_a_token_that_changes_is_used_at_the_next_action(double: NautobotDouble) -> None:
    # Given a Secret with an old token
    stage = Stage("nautobot", secrets={("nautobot", "token"): "old"})
    async with stage.open() as trigger:
        with pytest.raises(Rejected, match="403: Invalid token; see 'token'"):
            await stage.fire(trigger, _block(double))
        # When it gets the new one, then that is sent, on the same connection
        stage.secrets["nautobot", "token"] = TOKEN
        assert (await stage.fire(trigger, _block(double))).detail["did"] == "create"
    assert double.connections == 1


async def test_whoever_loses_a_race_changes_what_the_other_has_made(double: NautobotDouble) -> None:
    def overtake(request: Request) -> None:
        if request.method == "POST":
            double.add("by-other", "one", "of another")

    # Given somebody who makes the same tenant after this action has looked, and before it writes
    double.instead = overtake
    outcome = await _fire(double)
    # Then there is one tenant, and it is as this action wants it
    assert double.asked == ["OPTIONS", "GET", "POST", "GET", "PATCH"]
    assert [tenant["description"] for tenant in double.tenants.values()] == ["first"]
    assert outcome.detail["changed"] == {"description": {"from": "of another", "to": "first"}}
    # And who only creates leaves it
    double.tenants.clear()
    outcome = await _fire(double, operation="create")
    assert [tenant["description"] for tenant in double.tenants.values()] == ["of another"]
    assert outcome.message == "tenancy.tenant 'one' is there already"


async def test_what_is_removed_by_somebody_in_between_is_looked_for_again(double: NautobotDouble) -> None:
    def remove(request: Request) -> None:
        if request.method in ("PATCH", "DELETE"):
            double.tenants.clear()

    double.instead = remove
    # When the tenant is gone as it is to be changed, then another try may help
    double.add("1", "one")
    with pytest.raises(TriggerError, match="'one' was removed while it was to be changed") as error:
        await _fire(double)
    assert not isinstance(error.value, Rejected)
    # When it is gone as it is to be removed, all is well
    double.add("1", "one")
    outcome = await _fire(double, operation="delete")
    assert outcome.message == "somebody else has removed tenancy.tenant 'one'"


async def test_an_answer_that_got_lost_leads_to_no_second_object(double: NautobotDouble) -> None:
    lost = [True]

    def lose(request: Request) -> Answer | None:
        if request.method == "POST" and lost:
            lost.clear()
            double.add(**orjson.loads(request.body))
            return Answer(reset=True)
        return None

    # Given a Nautobot that makes the tenant, and whose answer never comes
    double.instead = lose
    with pytest.raises(TriggerError):
        await _fire(double)
    # When the action is tried again, then it finds it as it should be
    outcome = await _fire(double)
    assert outcome.message == "tenancy.tenant 'one' is as it should be"
    assert double.asked == ["OPTIONS", "GET", "POST", "OPTIONS", "GET"]


async def test_all_pages_are_read_and_the_exact_one_is_chosen(double: NautobotDouble) -> None:
    # Given a server whose filter does not mind capitals, and whose pages are smaller than asked for
    double.largest_page = 3
    for number in range(8):
        double.add(str(number), "ONE" if number < 7 else "one", "old")
    outcome = await _fire(double)
    assert outcome.detail["id"] == "7"
    assert double.asked == ["OPTIONS", "GET", "GET", "GET", "PATCH"]
    # And too many are not read at all
    for number in range(1001):
        double.add(f"x-{number}", "ONE")
    double.requests.clear()
    with pytest.raises(Rejected, match="1009 objects of 'tenancy/tenants' have name=one; name more fields in 'key'"):
        await _fire(double)
    assert double.asked == ["OPTIONS", "GET"]


async def test_the_fields_are_asked_for_again_only_where_they_are_not_told(double: NautobotDouble) -> None:
    # Given a user to whom Nautobot does not tell the fields (who may add nothing, but change)
    double.add("1", "one")
    double.instead = lambda request: Answer(body=b'{"name": "Tenant List"}') if request.method == "OPTIONS" else None
    stage = Stage("nautobot", secrets=SECRETS)
    async with stage.open() as trigger:
        for number in range(3):
            object_ = {"name": "one", "description": str(number)}
            assert (await stage.fire(trigger, _block(double, object=object_))).detail["did"] == "update"
    assert double.asked.count("OPTIONS") == 1


async def test_the_server_is_verified_and_may_want_a_certificate(certificates: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.crt")
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    files = {"ca": "ca.crt", "crt": "client.crt", "key": "client.key"}
    secrets = {("tls", key): (certificates / file).read_text() for key, file in files.items()}
    authority: dict[str, Json] = {"caCertSecret": {"name": "tls", "key": "ca"}}
    mine: dict[str, Json] = {
        "clientCertSecret": {"name": "tls", "key": "crt"},
        "clientKeySecret": {"name": "tls", "key": "key"},
    }
    stage = Stage("nautobot", secrets={**SECRETS, **secrets})
    async with NautobotDouble(context) as double, stage.open() as trigger:
        for tls in (None, authority, {"insecureSkipVerify": True}):
            with pytest.raises(TriggerError):
                await stage.fire(trigger, _block(double, tls=tls))
        for tls in ({**authority, **mine}, {"insecureSkipVerify": True, **mine}):
            assert (await stage.fire(trigger, _block(double, tls=tls))).detail["display"] == "one"


async def test_a_name_that_leads_to_the_machine_s_metadata_is_refused() -> None:
    stage = Stage("nautobot", secrets=SECRETS)
    async with NautobotDouble() as double, stage.open() as trigger:
        with pytest.raises(Rejected, match="link-local"):
            await stage.fire(trigger, _block(double, url="http://169.254.169.254"))
        with pytest.raises(Rejected, match="no address of the public internet"):
            await stage.fire(trigger, _block(double, egress={"to": "public"}))
        assert double.requests == []


async def test_a_held_answer_is_given_up_when_the_action_is_cancelled(double: NautobotDouble) -> None:
    double.hold()
    task = asyncio.create_task(_fire(double))
    await eventually(lambda: double.waiting == 1, "the action is under way")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("operation", "there", "did"),
    [
        ("upsert", False, "create"),
        ("upsert", True, "update"),
        ("create", False, "create"),
        ("create", True, "nothing"),
        ("update", True, "update"),
        ("delete", False, "nothing"),
        ("delete", True, "delete"),
    ],
)
async def test_a_dry_run_says_what_it_would_do_and_only_reads(
    double: NautobotDouble, operation: str, there: bool, did: str
) -> None:
    if there:
        double.add("1", "one", "old")
    outcome = await _fire(double, operation=operation, dryRun=True)
    assert outcome.detail["did"] == did
    assert set(double.asked) <= {"OPTIONS", "GET"}
    # And without it that is what happens
    assert (await _fire(double, operation=operation)).detail["did"] == did


async def test_a_field_that_nautobot_would_pass_over_is_rejected_before_anything_is_written(
    double: NautobotDouble,
) -> None:
    for fields, said in (
        ({"nmae": "a"}, "have no field 'nmae'; there are description, id, name"),
        ({"display": "a"}, "field 'display' of 'tenancy/tenants' can only be read"),
    ):
        for operation in ("upsert", "create"):
            with pytest.raises(Rejected, match=said):
                await _fire(double, operation=operation, object={"name": "one", **fields})
    with pytest.raises(Rejected, match="have no field 'nmae'"):
        await _fire(double, defaults={"nmae": "a"})
    assert set(double.asked) <= {"OPTIONS", "GET"}
