"""Certificates that clients must show (``verify.mtls``), by real TLS."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from argosy import registry
from argosy.errors import ConfigError
from argosy.sources._http import HttpServers
from argosy.sources._verify import names_of
from tests.conformance.source import Stage, eventually, free_port, on_stage
from tests.kubernetes import certificates

CERT = {"serverCertSecret": {"name": "tls", "key": "crt"}, "serverKeySecret": {"name": "tls", "key": "key"}}
OURS = {"authorities": [{"configMapKeyRef": {"name": "ca", "key": "ours"}}]}


class Pki:
    """Two authorities, a server, and clients of each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("ours", "theirs"):
            (folder / name).mkdir()
            certificates.authority(folder / name)
        certificates.server(folder / "ours", "server")
        certificates.server(
            folder / "ours", "robot", "DNS:robot.example,URI:spiffe://example/ns/ops/sa/robot,email:r@example"
        )
        certificates.server(folder / "ours", "other", "DNS:other.example")
        certificates.server(folder / "theirs", "stranger", "DNS:robot.example")

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()

    def secrets(self) -> dict[tuple[str, str], str]:
        return {("tls", "crt"): self.text("ours/server.crt"), ("tls", "key"): self.text("ours/server.key")}

    def config_maps(self) -> dict[tuple[str, str], str]:
        return {("ca", "ours"): self.text("ours/ca.crt"), ("ca", "theirs"): self.text("theirs/ca.crt")}

    def client(self, name: str = "") -> httpx2.AsyncClient:
        context = ssl.create_default_context(cafile=str(self.folder / "ours/ca.crt"))
        if name:
            context.load_cert_chain(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        return httpx2.AsyncClient(verify=context, timeout=20)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


Receiving = Callable[..., Any]


@pytest.fixture
async def receiving(pki: Pki) -> AsyncIterator[Receiving]:
    async with AsyncExitStack() as stack:

        async def make(mtls: dict[str, Any], **fields: Any) -> Stage:
            block = {"port": str(free_port()), "endpoint": "/in", "method": "POST", **CERT, **fields}
            stage = on_stage(
                "webhook", {**block, "verify": {"mtls": mtls}}, secrets=pki.secrets(), config_maps=pki.config_maps()
            )
            found: Stage = await stack.enter_async_context(stage)
            return found

        yield make


async def answered(pki: Pki, stage: Stage, name: str = "") -> int:
    """The status, or 0 where TLS did not come about."""
    if not stage.listening:
        await stage.start()
    url = stage.listening[-1].replace("0.0.0.0", "127.0.0.1")
    async with pki.client(name) as client:
        try:
            return int((await client.post(url, content=b"{}")).status_code)
        except httpx2.TransportError:
            return 0


async def test_only_clients_that_the_authority_signed_come_in(pki: Pki, receiving: Receiving) -> None:
    stage = await receiving(OURS)
    assert await answered(pki, stage, "ours/robot") == 200
    assert await answered(pki, stage, "ours/other") == 200
    assert await answered(pki, stage) == 0
    assert await answered(pki, stage, "theirs/stranger") == 0
    assert len(stage.offered) == 2


@pytest.mark.parametrize(
    "name", ["CN:robot", "DNS:robot.example", "URI:spiffe://example/ns/ops/sa/robot", "email:r@example"]
)
async def test_names_say_which_of_them(name: str, pki: Pki, receiving: Receiving) -> None:
    stage = await receiving({**OURS, "names": ["CN:nobody", name]})
    assert await answered(pki, stage, "ours/robot") == 200
    assert await answered(pki, stage, "ours/other") == 401
    assert stage.refused == ["answered 401: the client's certificate is of nobody who is allowed"]
    assert len(stage.offered) == 1


async def test_a_name_of_one_kind_is_not_that_of_another(pki: Pki, receiving: Receiving) -> None:
    stage = await receiving({**OURS, "names": ["DNS:robot", "CN:robot.example", "DNS:ROBOT.example.org"]})
    assert await answered(pki, stage, "ours/robot") == 401


async def test_two_authorities_at_once_and_a_change_without_a_restart(pki: Pki, receiving: Receiving) -> None:
    # Given two authorities, while one is replaced
    both = {"authorities": [*OURS["authorities"], {"configMapKeyRef": {"name": "ca", "key": "theirs"}}]}
    stage = await receiving(both)
    assert await answered(pki, stage, "ours/robot") == await answered(pki, stage, "theirs/stranger") == 200
    # When the old one is taken away, then its clients have no way in any more
    stage.config_maps["ca", "ours"] = pki.text("theirs/ca.crt")
    assert await answered(pki, stage, "theirs/stranger") == 200
    assert await answered(pki, stage, "ours/robot") == 0


@pytest.mark.parametrize("first", [True, False])
async def test_endpoints_of_a_port_must_agree_and_both_are_named(first: bool, pki: Pki, receiving: Receiving) -> None:
    # Given an endpoint that asks for a certificate, and one on its port that does not, or for another authority's
    one = await receiving(OURS)
    for verify in ({}, {"verify": {"mtls": {"authorities": [{"configMapKeyRef": {"name": "ca", "key": "theirs"}}]}}}):
        port = free_port()
        one.block["port"] = str(port)
        block = {"port": str(port), "endpoint": "/other", "method": "POST", **CERT, **verify}
        async with (
            HttpServers("127.0.0.1", linger_seconds=0.0) as http,
            on_stage("webhook", block, secrets=pki.secrets(), config_maps=pki.config_maps()) as other,
        ):
            one.http = other.http = http
            stages = (one, other) if first else (other, one)
            await stages[0].start()
            # When the second starts, then it is refused with both names
            with pytest.raises(ConfigError) as raised:
                await stages[1].plugin().run(stages[1].context())
            assert f"port {port} asks its clients for certificates as event 'example'" in str(raised.value)
            assert str(raised.value).count("event 'example' of event source 'stage'") == 2
            await stages[0].stop()


async def test_endpoints_that_agree_share_the_port_and_have_names_of_their_own(pki: Pki, receiving: Receiving) -> None:
    port = str(free_port())
    one = await receiving({**OURS, "names": ["CN:robot"]}, port=port)
    other = await receiving({**OURS, "names": ["CN:other"]}, port=port, endpoint="/other")
    other.http = one.http
    for stage, mine, not_mine in ((one, "robot", "other"), (other, "other", "robot")):
        assert await answered(pki, stage, f"ours/{mine}") == 200
        assert await answered(pki, stage, f"ours/{not_mine}") == 401


async def test_authorities_that_are_none_are_said(receiving: Receiving) -> None:
    stage = await receiving(OURS)
    stage.config_maps["ca", "ours"] = "no certificate"
    with pytest.raises(ConfigError, match=r"verify\.mtls\.authorities hold no PEM certificate"):
        await stage.plugin().run(stage.context())


async def test_a_change_to_what_is_none_leaves_things_as_they_were(
    pki: Pki, receiving: Receiving, caplog: pytest.LogCaptureFixture
) -> None:
    stage = await receiving(OURS)
    assert await answered(pki, stage, "ours/robot") == 200
    stage.config_maps["ca", "ours"] = "no certificate"
    assert await answered(pki, stage, "ours/robot") == 200
    assert await answered(pki, stage, "theirs/stranger") == 0
    await eventually(lambda: "the certificate stays as it was" in caplog.text)


@pytest.mark.parametrize(
    ("mtls", "cert", "named"),
    [
        (OURS, {}, "serverCertSecret"),
        ({"authorities": []}, CERT, "authorities"),
        ({"authorities": [{}]}, CERT, "authorities"),
        ({**OURS, "names": ["robot"]}, CERT, "DNS:client.example"),
        ({**OURS, "names": ["DNS:"]}, CERT, "DNS:client.example"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(mtls: dict[str, Any], cert: dict[str, Any], named: str) -> None:
    webhook = registry.source("webhook")
    assert webhook is not None
    with pytest.raises(ValidationError) as raised:
        webhook.config.model_validate({"port": "1", "endpoint": "/", **cert, "verify": {"mtls": mtls}})
    assert named in str(raised.value)


def test_no_certificate_has_no_names() -> None:
    assert names_of({}) == set()
