"""The ``imap`` source against a real Dovecot: the suites of every source and of brokers, what becomes of a message, and what
messages look like as events.

Longer than 400 lines, for the messages stand beside the events that they become.
"""

from __future__ import annotations

import asyncio
import base64
import imaplib
import itertools
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from email.message import EmailMessage
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl

import pytest

from argosy.errors import EventInvalid, EventTooLarge, SourceError
from argosy.manifests.fields import Json
from argosy.registry import wrap
from argosy.sources._raw import Raw
from tests.brokers.sources.suite import BrokerSuite, BrokerUpstream
from tests.conformance.source import DictBucket, SourceSuite, Stage, eventually, on_stage, raising
from tests.peers.dovecot import PASSWORD, USER, Dovecot
from tests.unit.triggers.receivers import Answer, HttpServer

_numbers = itertools.count(1)
_SECRETS = {("mail", "password"): PASSWORD}


@pytest.fixture(scope="module")
def dovecot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dovecot]:
    with Dovecot(tmp_path_factory.mktemp("dovecot")) as server:
        yield server


class Mailbox(BrokerUpstream):
    """A client that puts mail into a folder of its own."""

    redelivers = True
    keeps = True
    names_messages = True
    kind = "imap"
    server: Dovecot
    secrets = _SECRETS

    def __init__(self, server: Dovecot) -> None:
        super().__init__(server)
        self.folder = f"Größe & Co {next(_numbers)}"
        self.place = repr(self.folder)
        self.wire = b'"Gr&APYA3w-e &- Co %s"' % self.folder.rsplit(" ", 1)[1].encode()
        self.bucket = DictBucket()
        self.client: Any = None
        self.sent: list[int] = []
        self.block = {
            "hostAddress": f"127.0.0.1:{server.port}",
            "security": "none",
            "username": USER,
            "password": {"name": "mail", "key": "password"},
            "folder": self.folder,
        }

    async def __aenter__(self) -> Self:
        await self.again()
        await self.ask("create", self.wire)
        return self

    async def again(self) -> None:
        if self.client is not None:
            self.client.shutdown()
        self.client = await asyncio.to_thread(self.server.client)

    async def __aexit__(self, *exc: object) -> None:
        self.client.shutdown()

    async def ask(self, command: str, *arguments: Any) -> list[Any]:
        status, data = await asyncio.to_thread(getattr(self.client, command), *arguments)
        assert status == "OK", data
        return list(data)

    async def put(self, message: bytes, received: str | None = None) -> int:
        """Put a message into the folder; its UID."""
        (answer,) = await self.ask("append", self.wire, None, received, message)
        uid = int(answer.split(b"]")[0].split()[2])
        self.sent.append(uid)
        return uid

    async def send(self, text: str) -> None:
        await self.put(f"From: Ann <ann@example.com>\r\nSubject: {text}\r\n\r\nHello.\r\n".encode())

    def at(self, host: str) -> dict[str, Json]:
        return {"hostAddress": host, "security": "tls"}

    def text_of(self, data: Json) -> str:
        head = ["folder", "uidValidity", "uid", "flags", "size", "received", "truncated"]
        mail = ["subject", "messageId", "date", "from", "to", "cc", "replyTo", "headers", "text", "html", "attachments"]
        assert [key for key in data if key != "metadata"] == head + mail
        assert (data["folder"], data["text"], data["html"]) == (self.folder, "Hello.\n", None)
        assert data["from"] == [{"name": "Ann", "address": "ann@example.com"}]
        return str(data["subject"])

    async def acknowledged(self) -> int:
        entry = await self.bucket.get("cursor")
        return sum(uid <= json.loads(entry.value)["uid"] for uid in self.sent) if entry else 0

    async def flags(self, folder: bytes = b"") -> dict[str, list[str]]:
        """The subjects of a folder's messages, and their flags."""
        await self.ask("select", folder or self.wire, True)
        found = {}
        if (await self.ask("search", None, "ALL"))[0]:
            for part in await self.ask("fetch", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])"):
                if isinstance(part, tuple):
                    flags = [flag.decode() for flag in imaplib.ParseFlags(part[0]) if flag != b"\\Recent"]
                    found[part[1].decode().strip().removeprefix("Subject: ")] = flags
        return found


@pytest.fixture
async def upstream(dovecot: Dovecot) -> AsyncIterator[Mailbox]:
    async with Mailbox(dovecot) as mailbox:
        yield mailbox


@pytest.fixture
async def stage(upstream: Mailbox) -> AsyncIterator[Stage]:
    async with on_stage("imap", dict(upstream.block), secrets=dict(_SECRETS), bucket=upstream.bucket) as stage:
        yield stage


_LOGIN: dict[str, Json] = {"hostAddress": "mail", "username": "u", "password": {"name": "s", "key": "p"}}


class TestImap(BrokerSuite, SourceSuite):
    kind = "imap"
    server = Dovecot
    publisher = Mailbox
    nobody: ClassVar[dict[str, Json]] = {"hostAddress": "127.0.0.1:9"}
    by_tls = "imaps://{}:993"
    login_refused = "refuses the user"
    impatient: ClassVar[dict[str, float]] = {"_imap._ANSWER_SECONDS": 1.0, "_imap_folder._IDLE_SECONDS": 0.3}
    bounded = False
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        *(({key: value for key, value in _LOGIN.items() if key != gone}, gone) for gone in _LOGIN),
        ({**_LOGIN, "hostAddress": "imaps://mail"}, "address"),
        ({**_LOGIN, "security": "ssl"}, "security"),
        ({**_LOGIN, "oauthToken": {"name": "s", "key": "t"}}, "one of password, oauthToken and oauth"),
        ({**_LOGIN, "oauth": {"tokenUrl": "login.example.com", "clientId": {"name": "s", "key": "i"}}}, "tokenUrl"),
        ({**_LOGIN, "moveTo": "Done", "delete": True}, "moveTo and delete"),
        ({**_LOGIN, "folder": "a\r\nA1 LOGOUT"}, "control characters"),
        ({**_LOGIN, "search": "ALL\r\nA1 LOGOUT"}, "control characters"),
        ({**_LOGIN, "search": "SUBJECT ä"}, "ASCII"),
        ({**_LOGIN, "pollInterval": "0s"}, "pollInterval"),
        ({**_LOGIN, "maxMessageBytes": 0}, "maxMessageBytes"),
        ({**_LOGIN, "tls": {}}, "caCertSecret"),
    ]


def subjects(stage: Stage) -> list[str]:
    return [event.data["subject"] for event in stage.emitted]


async def test_the_first_start_begins_with_what_comes_after_it_or_with_all(upstream: Mailbox, stage: Stage) -> None:
    # Given a folder with mail
    await upstream.send("old")
    # When a source starts, and more comes
    await stage.start()
    await upstream.send("new")
    await stage.events(1)
    # Then only that is an event, and a source that is to begin at the beginning reads both
    assert subjects(stage) == ["new"]
    assert stage.emitted[0].id == f"{upstream.folder}/{stage.emitted[0].data['uidValidity']}/2"
    async with on_stage("imap", {**upstream.block, "fromBeginning": True}, secrets=dict(_SECRETS)) as other:
        await other.start()
        await other.events(2)
        assert subjects(other) == ["old", "new"]


async def test_only_what_the_search_finds_becomes_an_event(upstream: Mailbox, stage: Stage) -> None:
    stage.block["search"] = 'UNSEEN SUBJECT "alert"'
    await stage.start()
    for text in ("alert one", "other", "alert two"):
        await upstream.send(text)
    await stage.events(2)
    # And what was passed over is not looked at again
    await eventually(lambda: _told(upstream, 3))
    assert subjects(stage) == ["alert one", "alert two"]


async def _told(upstream: Mailbox, count: int) -> bool:
    return await upstream.acknowledged() == count


@pytest.mark.parametrize(
    ("given", "left", "moved"),
    [
        ({}, {"one": [], "two": []}, {}),
        ({"markSeen": True}, {"one": ["\\Seen"], "two": ["\\Seen"]}, {}),
        ({"moveTo": "Handled"}, {}, {"one": [], "two": []}),
        ({"moveTo": "Handled", "markSeen": True}, {}, {"one": ["\\Seen"], "two": ["\\Seen"]}),
        ({"delete": True}, {}, {}),
    ],
    ids=["keep", "mark", "move", "mark and move", "delete"],
)
@pytest.mark.parametrize("old", [False, True], ids=["", "without MOVE"])
async def test_a_message_is_changed_only_once_its_event_is_kept(
    upstream: Mailbox,
    stage: Stage,
    given: dict[str, Json],
    left: dict[str, list[str]],
    moved: dict[str, list[str]],
    old: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if old:
        _without(monkeypatch, b"MOVE")
    # Given a bus that does not answer, and a message that somebody else wants to delete
    stage.block |= given
    await stage.start()
    stage.close_gate()
    await upstream.send("one")
    await eventually(lambda: stage.under_way == 1)
    # Then the message is as it came
    assert await upstream.flags() == {"one": []}
    # And when the bus has taken it, it is what the manifest says
    stage.open_gate()
    await upstream.send("two")
    await stage.events(2)
    await eventually(lambda: _told(upstream, 2))
    assert await upstream.flags() == left
    assert await upstream.flags(b"Handled") == moved
    await upstream.ask("select", b"Handled")
    await upstream.ask("store", "1:*", "+FLAGS", "\\Deleted") if moved else None
    await upstream.ask("expunge")


def _without(monkeypatch: pytest.MonkeyPatch, *words: bytes) -> None:
    """A server that cannot do something; everything else it does."""
    from argosy.sources._imap import Imap

    plain = Imap.ask_capabilities

    async def asked(self: Imap) -> None:
        await plain(self)
        self.capabilities -= set(words)

    monkeypatch.setattr(Imap, "ask_capabilities", asked)


async def test_without_idle_the_server_is_asked_again_and_again(
    upstream: Mailbox, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without(monkeypatch, b"IDLE", b"AUTH=PLAIN", b"SASL-IR")
    stage.block["pollInterval"] = "30ms"
    await stage.start()
    assert stage.listening[0].endswith("every 0.03 s")
    for text in ("one", "two"):
        await upstream.send(text)
        await stage.events(len(stage.emitted) + 1 if text == "one" else 2)
    assert subjects(stage) == ["one", "two"]


async def test_a_server_that_cannot_delete_one_message_alone_is_not_asked_to(
    upstream: Mailbox, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without(monkeypatch, b"UIDPLUS")
    stage.block["delete"] = True
    await stage.start()
    await upstream.send("one")
    await eventually(lambda: any("UIDPLUS" in str(error) for error in stage.errors))
    assert await upstream.flags() == {"one": []}


async def test_a_message_that_went_while_it_was_looked_for_is_passed_over(upstream: Mailbox, stage: Stage) -> None:
    # Given a source whose bus takes its time with one message
    await stage.start()
    stage.close_gate()
    for text in ("one", "two", "three"):
        await upstream.send(text)
    await eventually(lambda: stage.under_way == 1)
    # When the next one is deleted by somebody else
    await upstream.ask("select", upstream.wire)
    await upstream.ask("store", "2", "+FLAGS", "\\Deleted")
    await upstream.ask("expunge")
    stage.open_gate()
    # Then the others are events
    await stage.events(2)
    assert subjects(stage) == ["one", "three"]
    assert not stage.errors


async def test_a_folder_that_was_made_anew_is_read_from_the_last_message_on(
    upstream: Mailbox, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a source that has read a message and is away
    await stage.start()
    hour = time.time() + 3600
    await upstream.put(b"Subject: read\r\n\r\n", imaplib.Time2Internaldate(hour))
    await stage.events(1)
    await eventually(lambda: _told(upstream, 1))
    await stage.stop()
    # When the folder is made anew with that message, one that came in the same second, and one that came later
    await upstream.ask("delete", upstream.wire)
    await upstream.ask("create", upstream.wire)
    upstream.sent.clear()
    await upstream.put(b"Subject: read\r\n\r\n", imaplib.Time2Internaldate(hour))
    await upstream.put(b"Subject: soon after\r\n\r\n", imaplib.Time2Internaldate(hour))
    await upstream.put(b"Subject: later\r\n\r\n", imaplib.Time2Internaldate(hour + 1))
    await stage.start()
    # Then only those two are told, and the rest goes on as before
    await stage.events(3)
    await upstream.put(b"Subject: next\r\n\r\n")
    await stage.events(4)
    assert subjects(stage) == ["read", "soon after", "later", "next"]
    assert "have other numbers now" in caplog.text


async def test_a_killed_server_is_come_back_to_and_nothing_is_missing(upstream: Mailbox, stage: Stage) -> None:
    # Given a message whose emit is under way
    stage.block["markSeen"] = True
    await stage.start()
    stage.close_gate()
    await upstream.send("before")
    await eventually(lambda: stage.under_way == 1)
    # When the server is killed and comes back
    await upstream.server.restart()
    await upstream.again()
    stage.open_gate()
    await upstream.send("after")
    # Then nothing is missing, what comes twice has one id, and both are marked
    await eventually(lambda: set(subjects(stage)) == {"before", "after"})
    assert len({event.id for event in stage.emitted}) == 2
    await eventually(lambda: _told(upstream, 2))
    assert await upstream.flags() == {"before": ["\\Seen"], "after": ["\\Seen"]}
    assert all(isinstance(error, SourceError) and "imap://127.0.0.1" in str(error) for error in stage.errors)


async def test_a_message_that_cannot_be_kept_stays_as_it_is_and_is_counted(upstream: Mailbox, stage: Stage) -> None:
    stage.block["delete"] = True
    await stage.start()
    stage.failure = EventTooLarge("the event has 2 MB, the bus takes 1 MB")
    await upstream.send("large")
    await eventually(lambda: len(stage.refused) == 1)
    stage.failure = None
    await upstream.send("small")
    await stage.events(1)
    await eventually(lambda: _told(upstream, 2))
    assert await upstream.flags() == {"large": []}
    assert "message 1 of folder" in stage.refused[0]


def a_mail() -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = "Jörg Müller <joerg@example.com>"
    mail["To"] = "a@example.com, B <b@example.com>"
    mail["Subject"] = "Größe: 10 €"
    mail["Date"] = "Tue, 03 Feb 2026 04:05:06 +0100"
    mail["Message-ID"] = "<1@example.com>"
    mail["Received"] = "from a"
    mail["Received"] = "from b"
    mail.set_content("Schöne Grüße\n")
    mail.add_alternative("<p>Schöne Grüße</p>\n", subtype="html")
    mail.add_attachment(b"\x00\x01", maintype="application", subtype="octet-stream", filename="ä.bin")
    mail.add_attachment("a,b\n", subtype="csv", filename="large.csv")
    inner = EmailMessage()
    inner["Subject"] = "inner"
    inner.set_content("inside")
    mail.add_attachment(inner)
    return mail


async def test_headers_text_and_attachments_are_decoded_and_large_content_is_left_out(
    upstream: Mailbox, stage: Stage
) -> None:
    # Given a limit for the content of attachments
    stage.block |= {"maxAttachmentBytes": 3, "metadata": {"a": "b"}}
    await stage.start()
    # When a message with all there is comes
    mail = a_mail().as_bytes()
    await upstream.put(mail, '"04-Feb-2026 10:00:00 +0200"')
    # Then it is JSON with what it says, and wrap makes the same of the same message
    (event,) = await stage.events(1)
    data = event.data
    assert (data["subject"], data["messageId"]) == ("Größe: 10 €", "<1@example.com>")
    assert (data["date"], data["received"]) == ("2026-02-03T04:05:06+01:00", "2026-02-04T08:00:00Z")
    assert data["from"] == [{"name": "Jörg Müller", "address": "joerg@example.com"}]
    assert [each["address"] for each in data["to"]] == ["a@example.com", "b@example.com"]
    assert (data["cc"], data["metadata"], data["truncated"]) == ([], {"a": "b"}, False)
    assert data["headers"]["Received"] == ["from a", "from b"]
    assert (data["text"], data["html"]) == ("Schöne Grüße\n", "<p>Schöne Grüße</p>\n")
    first, second, third = data["attachments"]
    assert first == {"filename": "ä.bin", "contentType": "application/octet-stream", "size": 2, "content": "AAE="}
    assert (second["filename"], second["size"], second["content"]) == ("large.csv", 5, None)
    assert (third["contentType"], third["content"]) == ("message/rfc822", None)
    headers = {"uidValidity": str(data["uidValidity"]), "uid": "1", "internalDate": "04-Feb-2026 10:00:00 +0200"}
    sent = mail.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    again = wrap("imap", stage.context().config, Raw(sent, headers))
    assert (again.data, again.id) == (event.raw, event.id)


async def test_of_a_message_that_is_too_large_only_the_headers_are_read(upstream: Mailbox, stage: Stage) -> None:
    stage.block["maxMessageBytes"] = 1000
    await stage.start()
    await upstream.put(b"Subject: large\r\nFrom: a@example.com\r\n\r\n" + b"x" * 2000)
    (event,) = await stage.events(1)
    assert (event.data["subject"], event.data["truncated"], event.data["size"]) == ("large", True, 2039)
    assert event.data["text"] == ""


@pytest.mark.parametrize(
    "mail",
    [
        b"",
        b"no header at all",
        b"Subject: \xff\xfe\r\nFrom: <<<>>>,,\r\nDate: yesterday\r\nContent-Type: text/plain; charset=klingon\r\n\r\n\xff",
        b"From: a@b\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nno end",
        b'Content-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: base64\r\n\r\nnot base64!',
        b"Subject: =?utf-8?b?4p?= =?none?q?x?=\r\nTo: undisclosed-recipients:;\r\nContent-Type: ;;;\r\n\r\nx",
    ],
)
def test_malformed_mail_is_read_as_far_as_it_goes(mail: bytes) -> None:
    from argosy.sources.imap import ImapConfig

    data, id_ = wrap("imap", ImapConfig.model_validate(_LOGIN), Raw(mail))
    value = json.loads(data)
    assert id_ == "INBOX/1/1"
    assert isinstance(value["subject"], str) and isinstance(value["attachments"], list)


def test_mail_that_is_nested_without_end_is_refused() -> None:
    from argosy.sources.imap import ImapConfig

    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(3000))
    with pytest.raises(EventInvalid, match="cannot be read as mail"):
        wrap("imap", ImapConfig.model_validate(_LOGIN), Raw(nested))


async def test_starttls_with_our_certificate(upstream: Mailbox, stage: Stage) -> None:
    # Given the plain port, and whom to trust
    stage.block |= {"security": "startTLS", "tls": {"caCertSecret": {"name": "tls", "key": "ca"}}}
    stage.secrets |= upstream.server.tls_secrets()
    # Then the source comes in, and does not by the machine's trust
    await stage.start()
    await upstream.send("one")
    await stage.events(1)
    async with raising("imap", {**upstream.block, "security": "startTLS"}, secrets=dict(_SECRETS)) as sentence:
        assert "certificate of imap://127.0.0.1" in sentence and "not trusted" in sentence


async def test_an_oauth_token_logs_in_and_a_wrong_one_does_not(upstream: Mailbox) -> None:
    block = {key: value for key, value in upstream.block.items() if key != "password"}
    block["oauthToken"] = {"name": "mail", "key": "token"}
    async with on_stage("imap", block, secrets={("mail", "token"): upstream.server.token()}) as stage:
        await stage.start()
        await upstream.send("one")
        await stage.events(1)
    wrong = base64.b64encode(b"no token").decode()
    async with raising("imap", block, secrets={("mail", "token"): wrong}) as sentence:
        assert "refuses the user" in sentence and wrong not in sentence


@pytest.mark.parametrize("grant", ["refresh_token", "client_credentials"])
async def test_an_access_token_is_asked_for_at_each_connection(
    upstream: Mailbox, grant: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    names = {"clientId": "id-1", "clientSecret": "s3cr3t", "refreshToken": "r3fr3sh"}
    secrets = {("app", name): value for name, value in names.items()}
    async with HttpServer() as tokens:
        oauth: dict[str, Json] = {"tokenUrl": f"{tokens.url}/token", "scopes": ["mail", "offline_access"]}
        wanted = names if grant == "refresh_token" else {"clientId": "id-1", "clientSecret": "s3cr3t"}
        oauth |= {name: {"name": "app", "key": name} for name in wanted}
        block = {key: value for key, value in upstream.block.items() if key != "password"} | {"oauth": oauth}
        async with on_stage("imap", block, secrets=secrets) as stage:
            # Given an endpoint that refuses first, and says the secret back
            refusal = json.dumps({"error": "invalid_grant", "error_description": f"{names}"}).encode()
            tokens.queue.append(Answer(400, body=refusal))
            given = json.dumps({"access_token": upstream.server.token(), "expires_in": 600}).encode()
            tokens.default = Answer(body=given)
            # When the source starts, then it comes in by what the next answer brings
            await stage.start()
            await upstream.send("one")
            await stage.events(1)
            form = dict(parse_qsl(tokens.requests[-1].body.decode()))
            assert (form["grant_type"], form["client_id"], form["scope"]) == (grant, "id-1", "mail offline_access")
            assert form.get("refresh_token") == ("r3fr3sh" if grant == "refresh_token" else None)
            # And a restart asks for another one
            asked = len(tokens.requests)
            await stage.stop()
            await stage.start()
            assert len(tokens.requests) == asked + 1
        said = f"{stage.errors} {caplog.text}"
        assert "invalid_grant" in said and "check the secrets of 'oauth'" in said
        assert not [secret for secret in ("s3cr3t", "r3fr3sh", upstream.server.token()[:40]) if secret in said]


async def test_refusals_are_sentences(upstream: Mailbox, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    cases: list[tuple[dict[str, Json], str]] = [
        ({"hostAddress": "127.0.0.1:9"}, "nothing listens at imap://127.0.0.1:9"),
        ({"folder": "No Such"}, "does not open folder 'No Such'"),
        ({"search": "NONSENSE"}, "refuses UID SEARCH"),
        ({"hostAddress": f"127.0.0.1:{upstream.server.port}", "security": "tls"}, "does not take our TLS"),
    ]
    await upstream.send("one")
    for given, expected in cases:
        block = {**upstream.block, "fromBeginning": True, **given}
        async with on_stage("imap", block, secrets=dict(_SECRETS)) as other:
            with pytest.raises(SourceError, match=expected):
                await other.plugin().run(other.context())
    stage.block["moveTo"] = "No Such"
    await stage.start()
    await upstream.send("two")
    await eventually(lambda: any("cannot move to folder 'No Such'" in str(error) for error in stage.errors))
