"""The ``email`` trigger against a real SMTP server (aiosmtpd).

Longer than 400 lines, for messages, servers and what both refuse are shown by one server and one block.
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from argosy.bus.memory import MemoryBus
from argosy.errors import Rejected, TriggerError
from argosy.manifests.fields import Json
from argosy.manifests.sensor import parse_sensor
from argosy.sensor import rendering
from tests.conformance.trigger import Receiver, Stage, TriggerSuite, event, eventually
from tests.unit.triggers.smtp_server import SmtpServer

# aiosmtpd warns of what a test does on purpose, and of an attribute that it uses itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning"),
    pytest.mark.filterwarnings("ignore:Session.login_data is deprecated:DeprecationWarning"),
]

_CORPUS = Path(__file__).resolve().parents[4] / "shared" / "corpus" / "argo-events-examples"
PASSWORD = "s3cr3t-pass"
SECRETS = {("smtp", "password"): PASSWORD}
MAIL: dict[str, Json] = {
    "from": "Shop <shop@example.com>",
    "to": ["ann@example.com"],
    "subject": "Größe 10",
    "body": "Schöne Grüße\n",
}


def block(server: SmtpServer, **more: Json) -> dict[str, Json]:
    return {"host": "127.0.0.1", "port": server.port, **MAIL, **more}


def login(server: SmtpServer) -> dict[str, Json]:
    return {"username": server.user, "smtpPassword": {"name": "smtp", "key": "password"}}


class _Smtp(Receiver):
    secrets: ClassVar[dict[tuple[str, str], str]] = SECRETS
    hastened: ClassVar[dict[str, Json]] = {"argosy.triggers._smtp._SECONDS": 1.0}
    private = (PASSWORD,)

    def __init__(self, server: SmtpServer) -> None:
        self.server = server
        self.address = f"127.0.0.1:{server.port}"
        self.block = block(server, **login(server))

    async def effects(self) -> list[str]:
        return [str(each.mail["Message-ID"]).strip("<>").split(".")[0] for each in self.server.taken]

    async def arrived(self) -> Json:
        taken = self.server.taken[-1]
        headers = {name: str(value) for name, value in taken.mail.items()}
        return {
            "MAIL FROM": taken.sender,
            "RCPT TO": taken.recipients,
            "headers": headers,
            "body": taken.mail.get_content(),
        }

    def speak_tls(self, patch: pytest.MonkeyPatch) -> None:
        self.block = {**self.block, "security": "tls"}

    async def limit(self, patch: pytest.MonkeyPatch) -> None:
        self.server.answers["*"] = "450 4.7.1 Too many messages, slow down"

    async def knows(self, private: str) -> bool:
        return private in self.server.seen_passwords

    async def refuse(self) -> None:
        self.server.answers["*"] = f"550 5.1.1 No such user ({PASSWORD})"

    async def fail(self) -> None:
        self.server.answers["*"] = f"451 4.7.1 Greylisted ({PASSWORD})"

    async def hold(self) -> None:
        self.server.hold()

    async def release(self) -> None:
        self.server.answers.clear()
        self.server.release()

    async def held(self) -> int:
        return self.server.waiting


class TestEmail(TriggerSuite):
    kind = "email"
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        (MAIL, "host"),
        ({**MAIL, "host": ""}, "host"),
        ({**MAIL, "host": "smtp", "port": 65536}, "port"),
        ({**MAIL, "host": "smtp", "to": "a@example.com"}, "to"),
        ({**MAIL, "host": "smtp", "security": "ssl"}, "security"),
        ({**MAIL, "host": "smtp", "tls": {}}, "caCertSecret"),
    ]

    @pytest.fixture
    async def receiver(self) -> AsyncIterator[_Smtp]:
        async with SmtpServer(user="shop") as server:
            server.password = PASSWORD
            yield _Smtp(server)


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as server:
        yield server


async def send(given: dict[str, Json], *, id: str = "action-1", **stage: Any) -> Any:
    """Fire once with a trigger of its own."""
    on = Stage("email", secrets=stage.pop("secrets", dict(SECRETS)), **stage)
    async with on.open() as trigger:
        return await on.fire(trigger, given, id=id)


async def test_each_recipient_gets_a_message_of_its_own_and_sees_no_other(server: SmtpServer) -> None:
    # When an action has several recipients, one of them twice, with names and a domain that is not ASCII
    to = ["ann@example.com", "Bob Größe <bob@bücher.example>", "ann@example.com"]
    outcome = await send(block(server, to=to, replyTo="Help <help@example.com>"))
    # Then each got one message, over one connection, with what the manifest says
    first, second = server.taken
    assert server.connections == 1
    assert (first.recipients, second.recipients) == (["ann@example.com"], ["bob@xn--bcher-kva.example"])
    mail = first.mail
    assert (first.sender, str(mail["From"]), str(mail["To"])) == (
        "shop@example.com",
        "Shop <shop@example.com>",
        "ann@example.com",
    )
    assert (str(mail["Subject"]), mail.get_content().splitlines()) == ("Größe 10", ["Schöne Grüße"])
    assert (mail.get_content_type(), str(mail["Auto-Submitted"])) == ("text/plain", "auto-generated")
    assert str(mail["Reply-To"]) == "Help <help@example.com>"
    assert mail["Date"] is not None and first.raw.isascii()
    # And the outcome names each message
    assert outcome.message == f"smtp://127.0.0.1:{server.port} took the message for 2 recipients"
    assert [each["messageId"] for each in outcome.detail["recipients"]] == [
        str(each.mail["Message-ID"]) for each in server.taken
    ]
    assert "queued as 1234" in outcome.detail["recipients"][0]["answer"]


async def test_a_body_of_html_and_an_address_that_is_not_ascii(server: SmtpServer) -> None:
    await send(block(server, html=True, body="<p>hello</p>", to=["größe@example.com"]))
    (taken,) = server.taken
    assert taken.recipients == ["größe@example.com"]
    assert (taken.mail.get_content_type(), taken.mail.get_content().strip()) == ("text/html", "<p>hello</p>")


async def test_message_ids_are_made_of_action_and_recipient_and_of_nothing_else(server: SmtpServer) -> None:
    for _ in range(2):
        await send(block(server, to=["a@example.com", "b@example.com"]))
    await send(block(server), id="an action / with <odd> letters")
    first, second, again, later, odd = (str(each.mail["Message-ID"]) for each in server.taken)
    assert (first, second) == (again, later) and first != second
    assert first.startswith("<action-1.") and first.endswith("@example.com>")
    assert odd.count("<") == 1 and " " not in odd


@pytest.mark.parametrize("word", ["subject", "from", "replyTo"])
async def test_a_line_break_in_a_header_is_refused_and_nothing_is_sent(server: SmtpServer, word: str) -> None:
    with pytest.raises(Rejected, match=f"{word!r} has a line break"):
        await send(block(server, **{word: "hello <a@example.com>\r\nBcc: all@example.com"}))
    assert server.taken == []


@pytest.mark.parametrize("word", ["to", "from", "subject", "body"])
async def test_what_is_needed_and_empty_is_refused_by_its_name(server: SmtpServer, word: str) -> None:
    with pytest.raises(Rejected, match=f"{word!r} is empty"):
        await send(block(server, **{word: [] if word == "to" else ""}))
    assert server.connections == 0


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ann",
        "ann@",
        "@example.com",
        "ann@example",
        "a b@example.com",
        "a@example.com, b@example.com",
        "a@b\r\nDATA",
    ],
)
async def test_what_is_no_address_is_refused_and_the_others_get_their_message(server: SmtpServer, address: str) -> None:
    with pytest.raises(Rejected, match="no address|control character"):
        await send(block(server, to=[address, "bob@example.museum"]))
    assert [each.recipients for each in server.taken] == [["bob@example.museum"]]


async def test_an_action_that_is_broken_off_remembers_who_has_the_message() -> None:
    # Given a server that takes one message and then lets us wait
    class Slow(SmtpServer):
        async def handle_DATA(self, *given: Any) -> str:
            answer = await super().handle_DATA(*given)
            if len(self.taken) == 1:
                self.hold()
            return answer

    bucket = MemoryBus().bucket("email")
    async with Slow() as server:
        given = block(server, to=["ann@example.com", "bob@example.com"])
        task = asyncio.create_task(send(given, bucket=bucket))
        await eventually(lambda: len(server.taken) == 1 and server.waiting == 1)
        # When the action is broken off, and tried again later
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.release()
        await eventually(lambda: not server.waiting)
        taken = len(server.taken)
        await send(given, bucket=bucket)
        # Then only the other one gets it
        assert [each.recipients for each in server.taken[taken:]] == [["bob@example.com"]]


async def test_of_several_recipients_only_those_without_the_message_are_tried_again(server: SmtpServer) -> None:
    # Given a server that knows one recipient, does not know another, and is not sure of a third
    bus = MemoryBus()
    bucket = bus.bucket("email")
    server.answers = {"no@example.com": "550 5.1.1 No such user", "later@example.com": "451 4.7.1 Greylisted"}
    given = block(server, to=["yes@example.com", "no@example.com", "later@example.com"])
    # When the action is fired, then another try may help, and who has it is said
    with pytest.raises(
        TriggerError, match="no@example.com: 550 .*later@example.com: 451 .*1 of the recipients"
    ) as raised:
        await send(given, bucket=bucket)
    assert not isinstance(raised.value, Rejected)
    # And when the third is taken at the next try, by another process, then nobody gets it twice, and the second is refused for good
    del server.answers["later@example.com"]
    with pytest.raises(Rejected, match="no@example.com: 550"):
        await send(given, bucket=bucket)
    assert [each.recipients[0] for each in server.taken] == ["yes@example.com", "later@example.com"]
    # And a redrive after the user was made reaches that one alone, and leaves nothing behind
    server.answers.clear()
    await send(given, bucket=bucket)
    assert [each.recipients[0] for each in server.taken][2:] == ["no@example.com"]
    assert await bucket.keys() == []


async def test_what_is_kept_of_actions_that_never_ended_is_bounded(
    server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("argosy.triggers.email._MOST_KEPT", 4)
    bucket = MemoryBus().bucket("email")
    server.answers = {"no@example.com": "550 5.1.1 No such user"}
    for number in range(10):
        with pytest.raises(Rejected):
            await send(block(server, to=["yes@example.com", "no@example.com"]), id=f"a-{number}", bucket=bucket)
    kept = await bucket.keys()
    assert len(kept) <= 4 and "sent/a-9" in kept


@pytest.mark.parametrize(
    ("answer", "lasting"),
    [
        ("421 4.3.2 Shutting down", False),
        ("452 4.3.1 Full", False),
        ("554 5.7.1 Spam", True),
        ("552 5.3.4 Too big", True),
    ],
)
async def test_the_class_of_an_answer_to_the_message_decides(server: SmtpServer, answer: str, lasting: bool) -> None:
    server.after_data = answer
    with pytest.raises(TriggerError, match=answer.split()[1]) as raised:
        await send(block(server))
    assert isinstance(raised.value, Rejected) == lasting


async def test_a_server_that_hangs_up_after_the_message_leaves_it_open_whether_it_has_it(server: SmtpServer) -> None:
    server.after_data = "hang up"
    with pytest.raises(TriggerError, match="whether it took the message is not known") as raised:
        await send(block(server))
    assert not isinstance(raised.value, Rejected)


async def test_a_thousand_actions_use_one_connection_and_one_that_was_closed_meanwhile_is_made_anew(
    server: SmtpServer,
) -> None:
    stage = Stage("email")
    async with stage.open() as trigger:
        for number in range(1000):
            await stage.fire(trigger, block(server), id=f"a-{number}")
        assert (server.connections, len(server.taken)) == (1, 1000)
        # When the server closes the connection while it waits
        server.hang_up()
        await stage.fire(trigger, block(server), id="after")
        # Then the next action has another one, and its message once
        assert (server.connections, len(server.taken)) == (2, 1001)


async def test_parameters_of_block_and_template_reach_every_field(server: SmtpServer) -> None:
    # Given a sensor like upstream's example, in which nothing but the host stands in the block
    def value(key: str, dest: str) -> dict[str, Json]:
        return {"src": {"dependencyName": "dep", "dataKey": key}, "dest": dest}

    words = ("from", "subject", "body", "replyTo")
    given = {
        "parameters": [value("to", "email.to.-1"), value("from", "email.from")],
        "template": {
            "name": "mail",
            "email": {
                "host": "127.0.0.1",
                "port": server.port,
                "to": ["first@example.com"],
                "parameters": [value(word, word) for word in words[1:]],
            },
        },
    }
    dependency = {"name": "dep", "eventSourceName": "webhook", "eventName": "example"}
    head = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Sensor", "metadata": {"name": "s"}}
    sensor, problems = parse_sensor({**head, "spec": {"dependencies": [dependency], "triggers": [given]}})
    assert sensor is not None, problems
    events = {"dep": event({"to": "to@example.com", **{word: f"{word}@example.com" for word in words}})}
    # When an event sets all of it
    rendered = rendering.complete(rendering.prepare(sensor.triggers[0], events), None, events)
    await send(rendered.config.model_dump(mode="json", by_alias=True, exclude_unset=True))
    # Then the messages have it
    assert [each.recipients for each in server.taken] == [["first@example.com"], ["to@example.com"]]
    for taken in server.taken:
        assert [str(taken.mail[name]) for name in ("From", "Subject", "Reply-To")] == [
            "from@example.com",
            "subject@example.com",
            "replyTo@example.com",
        ]
        assert taken.mail.get_content().strip() == "body@example.com"


@pytest.fixture
def authority(certificates: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    return context


def trust(certificates: Path) -> tuple[dict[str, Json], dict[tuple[str, str], str]]:
    secrets = {("tls", "ca"): (certificates / "ca.crt").read_text(), **SECRETS}
    return {"tls": {"caCertSecret": {"name": "tls", "key": "ca"}}}, secrets


@pytest.mark.parametrize("security", ["", "startTLS", "tls"])
async def test_tls_is_verified_and_used_before_the_password(
    authority: ssl.SSLContext, certificates: Path, security: str
) -> None:
    async with SmtpServer(authority, from_the_start=security == "tls", user="shop") as server:
        server.password = PASSWORD
        given, secrets = trust(certificates)
        plain = block(server, security=security, **login(server))
        # When whom to trust is given, then the message came encrypted, from the user
        await send({**plain, **given}, secrets=secrets)
        assert [(each.encrypted, each.user) for each in server.taken] == [(True, "shop")]
        # And by the machine's trust nothing is sent, the password neither
        server.seen_passwords.clear()
        with pytest.raises(TriggerError, match="certificate of smtps?://127.0.0.1:.* is not trusted"):
            await send(plain)
        # Nor by a name that the certificate does not have; and without verification it is
        with pytest.raises(TriggerError, match="not trusted"):
            await send({**plain, **given, "host": "localhost"}, secrets=secrets)
        assert (len(server.taken), server.seen_passwords) == (1, [])
        await send({**plain, "tls": {"insecureSkipVerify": True}})
        assert len(server.taken) == 2


async def test_the_example_of_argo_events_is_sent_as_it_stands(
    certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given Argo Events' own sensor, and a server with the name that it has, whom the machine trusts
    path = _CORPUS / "sensors" / "email-trigger.yaml"
    if not path.exists():
        pytest.skip(f"the corpus is not here: {path}")
    sensor, problems = parse_sensor(yaml.safe_load(path.read_text()))
    assert sensor is not None, problems
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*a_certificate(certificates, tmp_path, "smtp.example.net"))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.crt"))
    async with SmtpServer(context, user="username") as server:
        server.password = PASSWORD
        monkeypatch.setenv("ARGOSY_RESOLVE", f"smtp.example.net:587=127.0.0.1:{server.port}")
        # When its event comes
        events = {"test-dep": event({"body": {"to": "ann@example.com", "name": "Ann"}})}
        rendered = rendering.complete(rendering.prepare(sensor.triggers[0], events), None, events)
        block = rendered.config.model_dump(mode="json", by_alias=True, exclude_unset=True)
        await send(block, secrets={("smtp-secret", "password"): PASSWORD})
    # Then the mail arrived, encrypted and from the user
    (taken,) = server.taken
    assert (taken.recipients, taken.encrypted, taken.user) == (["ann@example.com"], True, "username")
    assert str(taken.mail["Subject"]) == "Hello There"
    lines = taken.mail.get_content().splitlines()
    assert lines == ["Hi Ann,", "", "\tHello There.", "", "Thanks,", "Obi"]


def a_certificate(authority: Path, folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for a host, and its key, of the authority in a folder."""
    key, request, certificate, names = (folder / each for each in ("key", "csr", "crt", "names"))
    names.write_text(f"subjectAltName=DNS:{name}\n")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    made = ["openssl", "req", *curve, "-keyout", str(key), "-out", str(request), "-subj", f"/CN={name}"]
    subprocess.run(made, check=True, capture_output=True)
    signed = ["openssl", "x509", "-req", "-in", str(request), "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"]
    signed += ["-out", str(certificate), "-days", "2", "-extfile", str(names)]
    subprocess.run(signed, cwd=authority, check=True, capture_output=True)
    return certificate, key


async def test_a_host_that_is_led_elsewhere_keeps_its_name(
    authority: ssl.SSLContext, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SmtpServer(authority) as server:
        monkeypatch.setenv("ARGOSY_RESOLVE", f"mail.svc:587=127.0.0.1:{server.port}")
        given, secrets = trust(certificates)
        with pytest.raises(TriggerError, match="certificate of smtp://mail.svc:587 is not trusted"):
            await send({**MAIL, "host": "mail.svc", **given}, secrets=secrets)
        await send({**MAIL, "host": "mail.svc", "security": "none"})
        assert len(server.taken) == 1


async def test_a_password_is_not_sent_in_the_clear_beyond_the_machine_unless_it_is_so_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with SmtpServer(user="shop") as server:
        server.password = PASSWORD
        monkeypatch.setenv("ARGOSY_RESOLVE", f"mail.svc:25=127.0.0.1:{server.port}")
        given = {**MAIL, "host": "mail.svc", "port": 25, **login(server)}
        for security, why in (("", "not sent in the clear"), ("startTLS", "offers no STARTTLS")):
            with pytest.raises(Rejected, match=why):
                await send({**given, "security": security})
        assert server.seen_passwords == []
        await send({**given, "security": "none"})
        assert [each.user for each in server.taken] == ["shop"]


async def test_a_wrong_password_is_refused_and_a_rotated_one_is_taken_up() -> None:
    async with SmtpServer(user="shop") as server:
        server.password = "another"
        stage = Stage("email", secrets=dict(SECRETS))
        async with stage.open() as trigger:
            with pytest.raises(Rejected, match="refuses the user .*check 'username' and 'smtpPassword'") as raised:
                await stage.fire(trigger, block(server, **login(server)))
            assert PASSWORD not in str(raised.value)
            stage.secrets["smtp", "password"] = "another"
            await stage.fire(trigger, block(server, **login(server)))
        assert len(server.taken) == 1
        # And a server on which nobody can log in is told so
    async with SmtpServer() as server:
        with pytest.raises(Rejected, match="no way to log in"):
            await send(block(server, username="shop", smtpPassword={"name": "smtp", "key": "password"}))


async def test_servers_that_are_not_there_or_something_else_are_sentences(server: SmtpServer) -> None:
    async def hush(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    other = await asyncio.start_server(hush, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    cases: list[tuple[dict[str, Json], str]] = [
        ({"port": 9}, "nothing listens at smtp://127.0.0.1:9"),
        ({"host": "no-such-host.invalid"}, "no host 'no-such-host.invalid'"),
        ({"port": port}, "hung up while greeting"),
        ({"security": "tls"}, "does not take our TLS"),
    ]
    for given, expected in cases:
        with pytest.raises(TriggerError, match=expected) as raised:
            await send(block(server, **given))
        assert not isinstance(raised.value, Rejected)
    other.close()
    await other.wait_closed()


async def test_a_server_that_does_not_answer_is_given_up(server: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("argosy.triggers._smtp._SECONDS", 0.2)
    server.hold()
    with pytest.raises(TriggerError, match="did not answer within"):
        await send(block(server))
