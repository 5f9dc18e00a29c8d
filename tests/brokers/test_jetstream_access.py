"""How a NATS server lets the bus in: by password, nkey, credentials file and certificate, from an address or a manifest."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from argosy.bus._jetstream_settings import split_options
from argosy.bus.jetstream import Connection, JetStreamBus
from argosy.errors import BusError, BusUnavailable
from argosy.manifests.bundle import loads
from argosy.runtime.buses import Buses
from argosy.runtime.secrets import Secrets
from tests.brokers.nats_server import NatsServer
from tests.conformance.bus import PAIR, event, publish, read_ids

needs_nkeys = pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", "import nkeys"], capture_output=True, check=False).returncode != 0,
    reason="no nkeys: pip install 'argosy[nkeys]'",
)
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl: apt-get install openssl")


@pytest.fixture
async def started(tmp_path: Path) -> AsyncIterator[Callable[[str], Any]]:
    """Starts a server with more text for its configuration; ended after the test."""
    async with AsyncExitStack() as stack:

        async def start(extra: str) -> NatsServer:
            server = NatsServer(tmp_path / "nats", extra=extra)
            stack.callback(server.end)
            await server.start()
            return server

        yield start


async def works(bus: JetStreamBus) -> None:
    """The bus keeps and hands out an event."""
    async with bus, bus.subscribe("c", [PAIR]) as subscription:
        await publish(bus, [1])
        assert await read_ids(subscription, 1) == ["1"]


# ---------------------------------------------------------------------- passwords


async def test_user_and_password_may_stand_in_the_address(started: Callable[[str], Any]) -> None:
    server = await started('authorization { users: [ {user: "a", password: "s3cret"} ] }')
    await works(JetStreamBus(server.url.replace("://", "://a:s3cret@")))
    with pytest.raises(BusError, match="does not accept our credentials") as caught:
        async with JetStreamBus(server.url.replace("://", "://a:wr0ng@")):
            pass
    assert "wr0ng" not in str(caught.value)


# ---------------------------------------------------------------------- nkeys and credentials files


@dataclass
class Key:
    """A pair of NATS keys of one kind: ``O`` operator, ``A`` account, ``U`` user."""

    seed: str
    public: str
    pair: Any

    def signs(self, claims: dict[str, Any], subject: str, name: str) -> str:
        """A JWT of NATS."""
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        body = {"jti": name, "iat": 1_700_000_000, "iss": self.public, "name": name, "sub": subject, "nats": claims}
        text = ".".join(_base64(json.dumps(part).encode()) for part in (head, body))
        return f"{text}.{_base64(self.pair.sign(text.encode()))}"


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def key(kind: str, entropy: bytes = b"x") -> Key:
    """A key. Its entropy is fixed: what is tested is not whether it can be guessed."""
    import nkeys

    prefix = {"O": nkeys.PREFIX_BYTE_OPERATOR, "A": nkeys.PREFIX_BYTE_ACCOUNT, "U": nkeys.PREFIX_BYTE_USER}[kind]
    seed = nkeys.encode_seed(entropy * 32, prefix)
    pair = nkeys.from_seed(bytearray(seed))
    return Key(bytes(seed).decode(), pair.public_key.decode(), pair)


@needs_nkeys
async def test_an_nkey_lets_in(started: Callable[[str], Any], tmp_path: Path) -> None:
    user = key("U")
    server = await started(f"authorization {{ users: [ {{nkey: {user.public}}} ] }}")
    await works(JetStreamBus(server.url, connection=Connection(nkey=user.seed)))

    # And out of a file that the address names
    (tmp_path / "seed").write_text(user.seed + "\n")
    address, connection = split_options(f"{server.url}?nkey={tmp_path / 'seed'}")
    assert address == server.url
    assert user.seed not in repr(connection)
    async with JetStreamBus(address, connection=connection) as bus:
        await bus.publish(event(2))


def operator_mode() -> tuple[str, str]:
    """A server's configuration with an account that may use JetStream, and the credentials file of a user of it."""
    operator, account, system, user = key("O"), key("A"), key("A", b"s"), key("U")
    unlimited = ("subs", "data", "payload", "imports", "exports", "conn", "leaf", "mem_storage", "disk_storage")
    limits = dict.fromkeys((*unlimited, "streams", "consumer"), -1)
    own = operator.signs({"type": "operator", "version": 2}, operator.public, "operator")
    of_account = operator.signs(
        {"type": "account", "version": 2, "limits": {**limits, "wildcards": True}}, account.public, "account"
    )
    of_user = account.signs({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1}, user.public, "user")
    plain = {**dict.fromkeys(unlimited[:-2], -1), "wildcards": True}
    of_system = operator.signs({"type": "account", "version": 2, "limits": plain}, system.public, "system")
    config = (
        f"operator: {own}\nsystem_account: {system.public}\nresolver: MEMORY\n"
        f"resolver_preload: {{ {account.public}: {of_account}, {system.public}: {of_system} }}"
    )
    credentials = (
        f"-----BEGIN NATS USER JWT-----\n{of_user}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
    return config, credentials


@needs_nkeys
async def test_a_credentials_file_lets_in(started: Callable[[str], Any], tmp_path: Path) -> None:
    config, credentials = operator_mode()
    server = await started(config)
    await works(JetStreamBus(server.url, connection=Connection(credentials=credentials)))

    file = tmp_path / "user.creds"
    file.write_text(credentials)
    address, connection = split_options(f"{server.url}?creds={file}")
    async with JetStreamBus(address, connection=connection) as bus:
        await bus.publish(event(2))
    with pytest.raises(BusError, match="does not accept our credentials"):
        async with JetStreamBus(server.url):
            pass


async def test_a_credentials_file_without_its_library_names_the_remedy(
    started: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await started("")
    monkeypatch.setitem(sys.modules, "nkeys", None)
    text = "-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------\n"
    with pytest.raises(BusError, match=r"pip install 'argosy\[nkeys\]'"):
        async with JetStreamBus(server.url, connection=Connection(credentials=text)):
            pass


# ---------------------------------------------------------------------- certificates


@dataclass
class Authority:
    """An authority of our own in a folder, and what it has signed."""

    folder: Path

    def __post_init__(self) -> None:
        self._openssl("req", "-x509", *self._new("ca"), "-subj", "/CN=authority", "-days", "2", "-out", "ca.pem")
        for name in ("server", "client"):
            self._openssl("req", *self._new(name), "-subj", f"/CN={name}", "-out", f"{name}.csr")
            (self.folder / "names").write_text("subjectAltName=IP:127.0.0.1")
            signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
            self._openssl("x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.pem")

    def _new(self, name: str) -> tuple[str, ...]:
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key")

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    @property
    def server(self) -> str:
        """The configuration of a server that lets in only whom the authority knows."""
        files = f'cert_file: "{self / "server.pem"}", key_file: "{self / "server.key"}", ca_file: "{self / "ca.pem"}"'
        return f"tls {{ {files}, verify: true }}"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "authority"
    folder.mkdir()
    return Authority(folder)


@needs_openssl
async def test_a_server_that_wants_a_client_certificate_gets_the_one_that_the_address_names(
    started: Callable[[str], Any], authority: Authority
) -> None:
    server = await started(authority.server)
    query = f"ca={authority / 'ca.pem'}&cert={authority / 'client.pem'}&key={authority / 'client.key'}"
    address, connection = split_options(f"{server.url}?{query}")
    await works(JetStreamBus(address, connection=connection))

    # Without one, nobody gets in
    trusting = ssl.create_default_context(cafile=str(authority / "ca.pem"))
    with pytest.raises((BusUnavailable, BusError)):
        async with JetStreamBus(server.url, connection=Connection(tls=trusting), connect_timeout_seconds=1):
            pass


MANIFESTS = """\
apiVersion: argoproj.io/v1alpha1
kind: EventBus
metadata: {{name: default, namespace: ns}}
spec:
  jetstreamExotic:
    url: {url}
    accessSecret: {{name: access, key: auth}}
    tls:
      caCertSecret: {{name: access, key: ca}}
      clientCertSecret: {{name: access, key: cert}}
      clientKeySecret: {{name: access, key: key}}
---
apiVersion: v1
kind: Secret
metadata: {{name: access, namespace: ns}}
stringData: {data}
"""


@needs_openssl
@pytest.mark.parametrize(
    ("access", "server_wants"),
    [
        ("username: a\npassword: s3cret", 'users: [ {user: "a", password: "s3cret"} ]'),
        ("token: s3cret", 'token: "s3cret"'),
        ("s3cret", 'token: "s3cret"'),
    ],
    ids=["user", "token", "bare token"],
)
async def test_an_exotic_bus_of_a_manifest_uses_its_access_secret_and_its_certificates(
    started: Callable[[str], Any], authority: Authority, access: str, server_wants: str
) -> None:
    server = await started(f"{authority.server}\nauthorization {{ {server_wants} }}")
    data = {name: (authority / file).read_text() for name, file in FILES.items()} | {"auth": access}
    bundle = loads(MANIFESTS.format(url=server.url, data=json.dumps(data)))
    secrets = Secrets()
    secrets.update(bundle.secrets, bundle.config_maps)
    buses = Buses("embedded", secrets)
    buses.update(bundle)
    try:
        async with asyncio.timeout(20):
            bus = await buses.get("ns", "default")
        async with bus.subscribe("c", [PAIR]) as subscription:
            await publish(bus, [1])
            assert await read_ids(subscription, 1) == ["1"]
        assert "s3cret" not in repr(bus)
    finally:
        await buses.close()


FILES = {"ca": "ca.pem", "cert": "client.pem", "key": "client.key"}


# ---------------------------------------------------------------------- what an address may say


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("cred=x", "unknown option 'cred'; did you mean 'creds'"),
        ("creds=/no/such", "names '/no/such' as its 'creds'; there is no such file"),
        ("ca={file}", "'ca'.* holds no PEM certificate"),
        ("cert={file}", "only one of 'cert' and 'key'"),
        ("cert={file}&key={file}", "no pair of PEM certificate and unencrypted key"),
    ],
)
def test_an_option_of_an_address_that_does_not_fit_is_named(query: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("s3cret")
    with pytest.raises(BusError, match=sentence) as caught:
        split_options("nats://u:s3cret@h?" + query.format(file=tmp_path / "file"))
    assert "s3cret" not in str(caught.value)
