"""The shared HTTP server: routes that come and go, what clients may do, TLS, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from argosy.errors import ConfigError, SourceError
from argosy.sources._http import SUCCESS, HttpServers, Request, Response
from argosy.sources._http_protocol import Limits
from argosy.sources._http_routes import PathTemplate, header_name, query
from tests.conformance.source import eventually, free_port
from tests.kubernetes import certificates


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=60) as client:
        yield client


@pytest.fixture
async def http() -> AsyncIterator[HttpServers]:
    async with HttpServers("127.0.0.1", linger_seconds=0.0) as servers:
        yield servers


def saying(text: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return Response(200, text)

    return answer


async def success(request: Request) -> Response:
    return SUCCESS


class Bus:
    """A handler that waits, as one does whose bus is slow."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.waiting = 0

    async def __call__(self, request: Request) -> Response:
        self.waiting += 1
        try:
            await self.gate.wait()
            return SUCCESS
        finally:
            self.waiting -= 1


async def talk(port: int, *parts: bytes, context: ssl.SSLContext | None = None) -> bytes:
    """Send ``parts`` and read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def statuses(answer: bytes) -> list[int]:
    """The statuses of the answers on one connection."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


async def test_events_of_any_kind_share_a_port_and_come_and_go(http: HttpServers, client: httpx2.AsyncClient) -> None:
    # Given two routes on one port
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    async with http.route(port=port, endpoint="/a", handler=saying("a"), name="A"):
        async with http.route(port=port, endpoint="/b", handler=saying("b"), name="B") as b:
            assert (await client.post(base + "/a")).text == "a"
            assert (await client.post(base + "/b")).text == "b"
            assert http.listening == [f"{base}/a", f"{base}/b"]
            assert b.url == f"{base}/b"
        # When one leaves
        # Then its path is unknown, and the other goes on, on the same connection
        assert (await client.post(base + "/b")).status_code == 404
        assert (await client.post(base + "/a")).text == "a"
        # And it may come back
        async with http.route(port=port, endpoint="/b", handler=saying("b2"), name="B"):
            assert (await client.post(base + "/b")).text == "b2"
    # And when the last has left, the port is closed
    assert http.listening == []
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_health_is_answered_on_every_port_without_a_token(http: HttpServers, client: httpx2.AsyncClient) -> None:
    async with http.route(port=0, endpoint="/a", handler=success, name="A", token=lambda: "s3cret") as route:
        for method in ("GET", "POST", "HEAD"):
            response = await client.request(method, route.url.replace("/a", "/health"))
            assert (response.status_code, response.text) == (200, "" if method == "HEAD" else "OK")
    with pytest.raises(ConfigError, match="'/health' of A is the health check"):
        async with http.route(port=0, endpoint="/health", handler=success, name="A"):
            pass


async def test_one_place_is_given_to_one_route(http: HttpServers) -> None:
    port = free_port()
    async with http.route(port=port, endpoint="/a/{x}", handler=success, name="event 'one'"):
        with pytest.raises(
            ConfigError, match=rf"'/a/\{{y\}}' on port {port} is taken by event 'one'; give event 'two'"
        ):
            async with http.route(port=port, endpoint="/a/{y}", handler=success, name="event 'two'"):
                pass
        # The loser harms nobody
        assert http.listening == [f"http://127.0.0.1:{port}/a/{{x}}"]


async def test_a_port_in_use_is_named(http: HttpServers) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SourceError, match=f"port {port} on 127.0.0.1 cannot be opened: another program"):
            async with http.route(port=port, endpoint="/a", handler=success, name="A"):
                pass
    # And once it is free, it can be had
    async with http.route(port=port, endpoint="/a", handler=success, name="A"):
        pass


async def test_path_variables_are_handed_over(http: HttpServers, client: httpx2.AsyncClient) -> None:
    seen: list[Request] = []

    async def answer(request: Request) -> Response:
        seen.append(request)
        return SUCCESS

    port = free_port()
    base = f"http://127.0.0.1:{port}"
    async with (
        http.route(port=port, endpoint="/r/{owner}/{number:[0-9]{2,}}", handler=answer, name="A"),
        http.route(port=port, endpoint="/r/exact/42", handler=saying("exact"), name="B"),
    ):
        await client.post(base + "/r/gr%C3%BCn/007?q=1")
        assert (await client.post(base + "/r/exact/42")).text == "exact"
        assert (await client.post(base + "/r/a/7")).status_code == 404
        assert (await client.post(base + "/r/a/b/77")).status_code == 404
        assert (await client.post(base + "/r/a/77/")).status_code == 404
    (request,) = seen
    assert (request.path_params, request.query) == ({"owner": "grün", "number": "007"}, {"q": ["1"]})


@pytest.mark.parametrize("endpoint", ["/a/{", "/a/}", "/a/{}", "/a/{b:}", "/a/{b:(}", "/{a}/{a}"])
def test_a_template_that_cannot_match_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="endpoint"):
        PathTemplate(endpoint)


def test_an_endpoint_without_its_slash_is_understood() -> None:
    assert PathTemplate("example").match("/example") == {}


def test_names_and_queries_are_read_as_go_reads_them() -> None:
    assert header_name("x-gitHUB-event") == "X-Github-Event"
    assert query("a=1&&b&=c&a=%41+") == {"a": ["1", "A "], "b": [""], "": ["c"]}


async def test_a_source_that_starts_anew_misses_no_request(client: httpx2.AsyncClient) -> None:
    # Given a route that leaves
    async with HttpServers("127.0.0.1", linger_seconds=30) as http:
        port = free_port()
        async with http.route(port=port, endpoint="/a", handler=saying("old"), name="A"):
            pass
        # When a request comes before its successor
        call = asyncio.create_task(client.post(f"http://127.0.0.1:{port}/a"))
        await asyncio.sleep(0.05)  # the request must be there first; that it waits cannot be awaited
        assert not call.done()
        # Then the successor answers it
        async with http.route(port=port, endpoint="/a", handler=saying("new"), name="A"):
            assert (await call).text == "new"


async def test_a_route_that_does_not_come_back_is_told_to_waiting_callers(client: httpx2.AsyncClient) -> None:
    async with HttpServers("127.0.0.1", linger_seconds=0.2) as http:
        port = free_port()
        async with http.route(port=port, endpoint="/other", handler=success, name="B"):
            async with http.route(port=port, endpoint="/a", handler=success, name="A"):
                pass
            response = await client.post(f"http://127.0.0.1:{port}/a")
            assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
            await eventually(
                lambda: _is_status(client.post(f"http://127.0.0.1:{port}/a"), 404), "the place is forgotten"
            )


async def _is_status(call: Awaitable[httpx2.Response], status: int) -> bool:
    return (await call).status_code == status


async def test_a_route_that_leaves_answers_what_is_under_way(http: HttpServers, client: httpx2.AsyncClient) -> None:
    # Given a request under way
    bus = Bus()
    port = free_port()
    leave = asyncio.Event()

    async def serve() -> None:
        async with http.route(port=port, endpoint="/a", handler=bus, name="A"):
            await leave.wait()

    serving = asyncio.create_task(serve())
    await eventually(lambda: bool(http.listening), "the port is open")
    call = asyncio.create_task(client.post(f"http://127.0.0.1:{port}/a"))
    await eventually(lambda: bus.waiting == 1, "the request arrived")
    # When the route leaves
    leave.set()
    await eventually(lambda: http.listening == [], "the route left")
    # Then it waits, new requests are turned away for now, and the old one is answered
    assert (await client.post(f"http://127.0.0.1:{port}/a")).status_code == 503
    assert not serving.done()
    bus.gate.set()
    assert (await call).status_code == 200
    await serving


async def test_what_is_under_way_is_broken_off_unacknowledged_when_time_is_over(
    http: HttpServers, client: httpx2.AsyncClient
) -> None:
    # Given a route that waits for a request when it is cancelled
    bus = Bus()
    port = free_port()

    async def serve() -> None:
        async with http.route(port=port, endpoint="/a", handler=bus, name="A"):
            await asyncio.Event().wait()

    serving = asyncio.create_task(serve())
    await eventually(lambda: bool(http.listening), "the port is open")
    call = asyncio.create_task(client.post(f"http://127.0.0.1:{port}/a"))
    await eventually(lambda: bus.waiting == 1, "the request arrived")
    serving.cancel()
    await eventually(lambda: http.listening == [], "the route left")
    # When it is cancelled again
    serving.cancel()
    # Then the caller is told to come back
    assert ((await call).status_code, bus.waiting) == (503, 0)
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_more_requests_than_a_route_takes_at_a_time_are_told_to_come_back(
    client: httpx2.AsyncClient,
) -> None:
    async with HttpServers("127.0.0.1", max_in_flight=2, linger_seconds=0) as http:
        bus = Bus()
        port = free_port()
        refused: list[str] = []
        async with (
            http.route(port=port, endpoint="/a", handler=bus, name="A", refused=refused.append),
            http.route(port=port, endpoint="/b", handler=success, name="B"),
        ):
            calls = [asyncio.create_task(client.post(f"http://127.0.0.1:{port}/a")) for _ in range(2)]
            await eventually(lambda: bus.waiting == 2, "two requests wait")
            response = await client.post(f"http://127.0.0.1:{port}/a")
            assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
            assert len(refused) == 1
            # The other route is not held up
            assert (await client.post(f"http://127.0.0.1:{port}/b")).status_code == 200
            bus.gate.set()
            assert [(await call).status_code for call in calls] == [200, 200]


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01\x00\xff\r\n\r\n",
        b"GET /a HTTP/9.9\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_answered_400_and_closed(http: HttpServers, nonsense: bytes) -> None:
    async with http.route(port=0, endpoint="/a", handler=success, name="A") as route:
        port = int(route.url.split(":")[2].split("/")[0])
        answer = await talk(port, nonsense)
        assert answer.startswith(b"HTTP/1.1 400 ")
        # and the next client is served
        assert b"200 OK" in await talk(port, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


@contextlib.asynccontextmanager
async def limited(handler: Any = success, **limits: Any) -> AsyncIterator[int]:
    """The port of a server with one route, ``/a``."""
    given = Limits(**limits)
    async with (
        HttpServers("127.0.0.1", limits=given, body_seconds=0.2, linger_seconds=0) as http,
        http.route(port=0, endpoint="/a", handler=handler, name="A", max_payload_size=1000) as route,
    ):
        yield int(route.url.split(":")[2].split("/")[0])


async def test_a_client_that_dribbles_its_headers_is_cut_off() -> None:
    async with limited(header_seconds=0.2) as port:
        assert (await talk(port, b"POST /a HTTP/1.1\r\n", b"Host: ")).startswith(b"HTTP/1.1 408 ")
        # One that says nothing at all is closed without a word
        assert await talk(port) == b""


async def test_a_client_that_dribbles_its_second_request_is_cut_off() -> None:
    async with limited(header_seconds=0.2) as port:
        answer = await talk(port, b"POST /a HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /a HTTP/1.1\r\nHo")
        assert statuses(answer) == [200, 408]


async def test_a_client_that_dribbles_its_body_is_cut_off() -> None:
    async with limited(idle_seconds=0.3) as port:
        answer = await talk(port, b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n", b"123")
        assert answer.startswith(b"HTTP/1.1 408 ")


async def test_an_idle_connection_is_closed() -> None:
    async with limited(idle_seconds=0.2) as port:
        answer = await talk(port, b"POST /a HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")


async def test_headers_without_end_are_refused() -> None:
    async with limited(header_bytes=4096) as port:
        answer = await talk(port, b"POST /a HTTP/1.1\r\nX: " + b"x" * 9000)
        assert answer.startswith(b"HTTP/1.1 431 ")


async def test_the_rest_of_a_refused_body_is_read_so_that_the_client_sees_the_answer() -> None:
    # Given a body far over the limit, announced or not
    async with limited() as port:
        body = b"x" * 3_000_000
        length = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n"
        chunked = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2dc6c0\r\n"
        last = b"POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        for parts in ((length, body, last), (chunked, body, b"\r\n0\r\n\r\n", last)):
            # When it is sent with a good request behind it
            answer = await talk(port, *parts)
            # Then both are answered on the one connection
            assert statuses(answer) == [413, 200]


async def test_a_body_without_end_is_cut_off() -> None:
    async with limited(unread_bytes=100_000) as port:
        with contextlib.suppress(ConnectionError):
            answer = await talk(
                port, b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 90000000\r\n\r\n", b"x" * 9_000_000
            )
            assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_client_that_asks_first_is_spared_the_body() -> None:
    async with limited() as port:
        head = b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
        # When a client announces too much and waits
        answer = await talk(port, head + b"3000000\r\n\r\n")
        # Then it is refused at once and the connection closed
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"100 Continue" not in answer
        # And one that announces what is allowed is asked to go on
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head + b"2\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        writer.write(b"{}")
        await reader.readline()
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        writer.close()
        await writer.wait_closed()


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def echo(request: Request) -> Response:
        await asyncio.sleep(0 if request.body == b"2" else 0.01)
        return Response(200, request.body.decode())

    async with limited(echo) as port:
        request = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
        answer = await talk(
            port, b"".join((request + b"\r\n1", request + b"\r\n2", request + b"Connection: close\r\n\r\n3"))
        )
        assert [part.split(b"\r\n\r\n")[1] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"1", b"2", b"3"]


async def test_a_client_that_hangs_up_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus()
    async with limited(bus) as port:
        # Given a client that leaves before its answer, and one in the middle of its body
        for request in (b"Content-Length: 2\r\n\r\n{}", b"Content-Length: 10\r\n\r\n{"):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /a HTTP/1.1\r\nHost: x\r\n" + request)
            await writer.drain()
            if request.endswith(b"}"):
                await eventually(lambda: bus.waiting == 1, "the request arrived")
            writer.transport.abort()
        bus.gate.set()
        await eventually(lambda: bus.waiting == 0, "the request was handled")
        assert b"200 OK" in await talk(port, b"POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert caplog.text == ""


@pytest.fixture
def pems(tmp_path: Path) -> dict[str, tuple[str, str]]:
    """Two certificates of one authority, whose certificate is ``ca.crt`` in ``tmp_path``."""
    certificates.authority(tmp_path)
    found = {}
    for name in ("one", "two"):
        certificates.server(tmp_path, name)
        found[name] = ((tmp_path / f"{name}.crt").read_text(), (tmp_path / f"{name}.key").read_text())
    return found


async def _served(port: int, authority: Path) -> str:
    """The PEM certificate that a TLS client is shown."""
    context = ssl.create_default_context(cafile=str(authority))
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return ssl.DER_cert_to_PEM_cert(shown)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


def _leaf(pem: str) -> str:
    return pem[pem.index("-----BEGIN CERT") : pem.index("-----END CERT")].replace("\n", "")


async def test_https_serves_the_certificate_of_the_secret_also_after_it_was_renewed(
    http: HttpServers, pems: dict[str, tuple[str, str]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a port with a certificate
    secret = {"texts": pems["one"]}
    port = free_port()
    async with http.route(port=port, endpoint="/a", handler=success, name="A", tls=lambda: secret["texts"]) as route:
        assert route.url == f"https://127.0.0.1:{port}/a"
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
        async with httpx2.AsyncClient(verify=context) as client:
            assert (await client.post(route.url)).status_code == 200
            assert _leaf(await _served(port, tmp_path / "ca.crt")) == _leaf(pems["one"][0])
            # When the secret is renewed
            secret["texts"] = pems["two"]
            # Then the next client is shown the new one, and open connections go on
            assert _leaf(await _served(port, tmp_path / "ca.crt")) == _leaf(pems["two"][0])
            assert (await client.post(route.url)).status_code == 200
            # And a secret that makes no sense changes nothing and is said
            secret["texts"] = ("nonsense", "nonsense")
            assert _leaf(await _served(port, tmp_path / "ca.crt")) == _leaf(pems["two"][0])
            assert "the certificate stays as it was" in caplog.text


async def test_a_port_has_one_certificate(http: HttpServers, pems: dict[str, tuple[str, str]]) -> None:
    port = free_port()
    secret = {"texts": pems["one"]}
    async with http.route(port=port, endpoint="/a", handler=success, name="'one'", tls=lambda: secret["texts"]):
        # Another event may use the same, also while it is being renewed
        secret["texts"] = pems["two"]
        async with http.route(port=port, endpoint="/b", handler=success, name="'two'", tls=lambda: pems["two"]):
            pass
        with pytest.raises(ConfigError, match="has the certificate of 'one', and 'two' names another"):
            async with http.route(port=port, endpoint="/b", handler=success, name="'two'", tls=lambda: pems["one"]):
                pass
        with pytest.raises(ConfigError, match="has TLS because of 'one', and 'two' wants none"):
            async with http.route(port=port, endpoint="/b", handler=success, name="'two'"):
                pass
    # Once the port is free, it may speak plainly
    async with http.route(port=port, endpoint="/b", handler=success, name="'two'"):
        with pytest.raises(ConfigError, match="has no TLS because of 'two', and 'one' wants it"):
            async with http.route(port=port, endpoint="/a", handler=success, name="'one'", tls=lambda: pems["one"]):
                pass


async def test_a_manifest_that_turns_to_tls_gets_its_port_at_once(
    pems: dict[str, tuple[str, str]], tmp_path: Path
) -> None:
    # Given a port that is kept for a source that starts anew
    async with HttpServers("127.0.0.1", linger_seconds=30) as http:
        port = free_port()
        async with http.route(port=port, endpoint="/a", handler=success, name="A"):
            pass
        # When it comes back with a certificate, and then with another
        for name in ("one", "two"):
            async with http.route(
                port=port, endpoint="/a", handler=success, name="A", tls=lambda name=name: pems[name]
            ):
                assert _leaf(await _served(port, tmp_path / "ca.crt")) == _leaf(pems[name][0])


@pytest.mark.parametrize("which", ["nonsense", "mixed", "encrypted"])
async def test_a_certificate_that_cannot_be_used_is_named(
    which: str, http: HttpServers, pems: dict[str, tuple[str, str]], tmp_path: Path
) -> None:
    texts = {"nonsense": ("no", "pem"), "mixed": (pems["one"][0], pems["two"][1])}
    if which == "encrypted":
        certificates._openssl(
            tmp_path, "ec", "-in", "one.key", "-aes256", "-passout", "pass:secret", "-out", "locked.key"
        )
        texts[which] = (pems["one"][0], (tmp_path / "locked.key").read_text())
    with pytest.raises(ConfigError, match="serverCertSecret and serverKeySecret"):
        async with http.route(port=0, endpoint="/a", handler=success, name="A", tls=lambda: texts[which]):
            pass


async def test_a_client_that_speaks_plainly_to_a_tls_port_harms_nobody(
    http: HttpServers, pems: dict[str, tuple[str, str]], tmp_path: Path
) -> None:
    port = free_port()
    async with http.route(port=port, endpoint="/a", handler=success, name="A", tls=lambda: pems["one"]):
        with contextlib.suppress(ConnectionError):
            assert b"200" not in await talk(port, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await _served(port, tmp_path / "ca.crt")


async def test_it_listens_on_both_internets(client: httpx2.AsyncClient) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with HttpServers("::", linger_seconds=0) as http:
        async with http.route(port=0, endpoint="/a", handler=success, name="A") as route:
            port = route.url.rsplit(":", 1)[1].split("/")[0]
            assert route.url.startswith("http://[::]:")
            for host in ("127.0.0.1", "[::1]"):
                assert (await client.post(f"http://{host}:{port}/a")).status_code == 200


def test_a_port_can_be_had_again_at_once_under_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        async with HttpServers("127.0.0.1", linger_seconds=0) as http:
            port = free_port()
            for turn in range(5):
                async with http.route(port=port, endpoint="/a", handler=saying(str(turn)), name="A") as route:
                    async with httpx2.AsyncClient() as client:
                        assert (await client.post(route.url)).text == str(turn)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
