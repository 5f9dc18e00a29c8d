"""``--resolve`` leads connections elsewhere; everything else about them stays as the manifest says."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from argosy import connecting
from argosy.errors import ConfigError
from tests.kubernetes import certificates


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGOSY_RESOLVE", "")


@asynccontextmanager
async def server(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[str]]]:
    """An HTTP server that keeps what it is asked; ``/away`` answers with a redirect to a path."""
    heads: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads.append(head)
        status = "302 Found\r\nLocation: /here" if head.startswith("GET /away") else "200 OK"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    async with listener:
        yield listener.sockets[0].getsockname()[1], heads


def test_a_rule_leads_one_address_elsewhere() -> None:
    connecting.resolve(["Rabbit.example.:5672=127.0.0.1:40000", "[fd00::1]:80=[::1]:8080"])
    assert connecting.target("rabbit.example", 5672) == ("127.0.0.1", 40000)
    assert connecting.target("RABBIT.example.", 5672) == ("127.0.0.1", 40000)
    assert connecting.target("fd00::1", 80) == ("::1", 8080)
    # Another port or host is as it was
    assert connecting.target("rabbit.example", 5671) == ("rabbit.example", 5671)
    assert connecting.target("other.example", 5672) == ("other.example", 5672)


@pytest.mark.parametrize("rule", ["", "a", "a:1", "a=b", "a:1=b", "a:1=b:x", "a:1=b:0", "u@a:1=b:2", "a:1/x=b:2"])
def test_what_is_no_rule_is_said(rule: str) -> None:
    if not rule:
        connecting.resolve([rule])
        assert connecting.mounts() is None
        return
    with pytest.raises(ConfigError, match="HOST:PORT=HOST:PORT"):
        connecting.resolve([rule])


async def test_a_request_goes_elsewhere_and_keeps_its_name() -> None:
    # Given a server that is somewhere else than its name says
    async with server() as (port, heads):
        connecting.resolve([f"svc.cluster.local:80=127.0.0.1:{port}"])
        async with httpx2.AsyncClient(mounts=connecting.mounts()) as client:
            # When it redirects to a path
            response = await client.get("http://svc.cluster.local/away", follow_redirects=True)
    # Then both requests reached it, by the name of the manifest
    assert response.status_code == 200
    assert str(response.url) == "http://svc.cluster.local/here"
    assert [head.split()[1] for head in heads] == ["/away", "/here"]
    assert all("host: svc.cluster.local\r\n" in head.lower() for head in heads)


async def test_the_certificate_is_that_of_the_name(tmp_path: Path) -> None:
    # Given a server whose certificate is for "localhost"
    certificates.authority(tmp_path)
    certificates.server(tmp_path, "server")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    trust = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    async with server(tls) as (port, _):
        connecting.resolve([f"localhost:443=127.0.0.1:{port}", f"svc.example:443=127.0.0.1:{port}"])
        async with httpx2.AsyncClient(verify=trust, mounts=connecting.mounts(verify=trust)) as client:
            # Then that name is trusted, and another one that leads to the same server is not
            assert (await client.get("https://localhost/")).status_code == 200
            with pytest.raises(httpx2.ConnectError, match="svc.example"):
                await client.get("https://svc.example/")


@pytest.mark.parametrize(
    "said", [AttributeError("'NoneType' object has no attribute 'getpeername'"), OSError(107, "x"), None]
)
async def test_a_connection_whose_other_side_is_gone_already_is_broken(said: Exception | None) -> None:
    # Given a connection of which nobody can say any more where it leads: asyncio lets go of a socket that was reset
    class Gone:
        closed = False

        def get_extra_info(self, name: str) -> object:
            if said is not None:
                raise said
            return None

        async def aclose(self) -> None:
            self.closed = True

    stream, seen = Gone(), list[str]()
    # When somebody wants to look where it leads, then it counts as broken, is closed, and is not taken for a place that is allowed
    with pytest.raises(ConnectionResetError):
        await connecting.Connecting(seen.append)("connection.connect_tcp.complete", {"return_value": stream})
    assert (stream.closed, seen) == (True, [])
