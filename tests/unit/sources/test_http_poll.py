"""The ``http`` source: the suite of every source, and what servers do to those who ask them. The server is a real one
(``poll_site``).

Longer than 400 lines, for the scripts of its servers stand beside what they show, and share how they are served.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ClassVar

import pytest

from argosy.errors import BusError, EventInvalid, EventTooLarge
from argosy.registry import wrap
from argosy.sources._poll import MOST_SEEN, Memory
from argosy.sources._raw import Raw
from tests.conformance.source import SourceSuite, Stage, VirtualClock, ended, eventually, free_port, on_stage
from tests.kubernetes import certificates
from tests.unit.sources.poll_site import Reply, Script, Seen, Site, Tickets, told

URL = "https://tickets.example/api"


class TestHttp(SourceSuite):
    kind = "http"

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[Tickets]:
        async with Tickets() as tickets:
            yield tickets

    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({"interval": "1m"}, "url"),
        ({"url": "ftp://n/", "interval": "1m"}, "http or https"),
        ({"url": "http://me:secret@n/", "interval": "1m"}, "basicAuth"),
        ({"url": URL}, "interval"),
        ({"url": URL, "interval": "1m", "schedule": "* * * * *"}, "interval"),
        ({"url": URL, "interval": "1ms"}, "10ms"),
        ({"url": URL, "schedule": "61 * * * *"}, "schedule"),
        ({"url": URL, "schedule": "1 * * * *", "timezone": "Mars/Olympus"}, "timezone"),
        ({"url": URL, "interval": "1m", "method": "FETCH"}, "method"),
        ({"url": URL, "interval": "1m", "query": {"since": "{{ .cursor"}}, "query.since"),
        ({"url": URL, "interval": "1m", "body": "{{ nothing }}"}, "body"),
        ({"url": URL, "interval": "1m", "id": "item."}, "id"),
        ({"url": URL, "interval": "1m", "cursor": "1 +"}, "cursor"),
        ({"url": URL, "interval": "1m", "paging": {}}, "link"),
        ({"url": URL, "interval": "1m", "paging": {"link": True, "next": "body.next"}}, "link"),
        ({"url": URL, "interval": "1m", "paging": {"link": True, "param": "p"}}, "param"),
        ({"url": URL, "interval": "1m", "paging": {"next": "body.("}}, "paging"),
        ({"url": URL, "interval": "1m", "format": "text", "items": "a"}, "format"),
        ({"url": URL, "interval": "1m", "origins": ["https://cdn.example/x"]}, "origin"),
        ({"url": URL, "interval": "1m", "basicAuth": {}}, "basicAuth"),
        ({"url": URL, "interval": "1m", "secureHeaders": [{"name": "X", "valueFrom": {}}]}, "secureHeaders"),
    ]


Served = Callable[..., Any]


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A source beside a server with this script; ``stage.extras['site']`` is the server."""
    async with AsyncExitStack() as stack:

        async def make(script: Script, **fields: Any) -> Stage:
            site = await stack.enter_async_context(Site(script))
            given = {name: fields.pop(name) for name in ("secrets", "clock", "config_maps") if name in fields}
            block = {"url": f"{site.origin}/list", "interval": "20ms", **fields}
            return await stack.enter_async_context(on_stage("http", block, extras={"site": site}, **given))

        yield make


def site_of(stage: Stage) -> Site:
    site = stage.extras["site"]
    assert isinstance(site, Site)
    return site


async def polls(stage: Stage, count: int) -> None:
    """Return once the server was asked ``count`` times more."""
    site = site_of(stage)
    wanted = len(site.seen) + count
    await eventually(lambda: len(site.seen) >= wanted, f"{wanted} requests; errors {stage.errors[-2:]}")


def bodies(stage: Stage) -> list[Any]:
    return [event.data["body"] for event in stage.emitted]


class TestWhatIsNew:
    async def test_a_whole_answer_is_an_event_whenever_it_is_another_one(self, served: Served) -> None:
        # Given a server that says how it is
        state = {"is": "up"}
        stage = await served(lambda seen: told(dict(state)))
        await stage.start()
        # When it says the same again and again, then it is one event
        await polls(stage, 4)
        assert bodies(stage) == [{"is": "up"}]
        # And each change is one more, also the change back
        for word in ("down", "up", "down"):
            state["is"] = word
            await eventually(lambda word=word: bodies(stage)[-1] == {"is": word})
        assert len({event.id for event in stage.emitted}) == len(stage.emitted) == 4

    async def test_an_item_is_told_once_as_long_as_it_is_listed(self, served: Served) -> None:
        items = [{"n": 1}, {"n": 2}]
        stage = await served(lambda seen: told({"list": items}), items="list")
        await stage.start()
        await stage.events(2)
        # When one more is listed, and one goes and comes back
        items.append({"n": 3})
        await stage.events(3)
        del items[0]
        await polls(stage, 3)
        items.append({"n": 1})
        await stage.events(4)
        await polls(stage, 3)
        # Then only what was not there before is told
        assert bodies(stage) == [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 1}]

    async def test_an_item_with_a_name_is_never_told_again(self, served: Served) -> None:
        items = [{"id": 12345678901234567890, "n": 1}]
        stage = await served(lambda seen: told({"list": items}), items="list", id="item.id")
        await stage.start()
        (event,) = await stage.events(1)
        # When it changes, or a list without it is followed by one with it
        items[0]["n"] = 2
        await polls(stage, 3)
        kept, items[:] = list(items), []
        await polls(stage, 3)
        items[:] = kept
        await polls(stage, 3)
        # Then it is the same item, and its name has all digits
        assert len(stage.offered) == 1
        assert event.id == "12345678901234567890"

    async def test_an_item_that_is_listed_twice_is_one_event(self, served: Served) -> None:
        stage = await served(lambda seen: told([{"id": "a"}, {"id": "a"}]), items="@this", id="item.id")
        await stage.start()
        await polls(stage, 3)
        assert [event.id for event in stage.offered] == ["a"]

    async def test_with_repeats_each_poll_tells_all_without_ids(self, served: Served) -> None:
        stage = await served(lambda seen: told({"a": 1}, ETag='"1"'), repeats=True)
        await stage.start()
        events = await stage.events(3)
        assert [event.id for event in events] == [None] * 3
        assert all("if-none-match" not in seen.headers for seen in site_of(stage).seen)

    async def test_start_new_tells_nothing_of_what_is_there(self, served: Served) -> None:
        # Given two pages of old items
        pages = {"": ["old-1"], "2": ["old-2"]}

        def script(seen: Seen) -> Reply:
            page = seen.get("page")
            return told({"list": pages[page], "next": "" if page else "2"})

        stage = await served(
            script, items="list", start="new", paging={"next": "body.next", "param": "page", "maxPages": 1}
        )
        await stage.start()
        await polls(stage, 5)
        assert stage.offered == []
        # When one comes, then it is told
        pages["2"].append("new")
        await stage.events(1)
        assert bodies(stage) == ["new"]

    async def test_more_items_than_go_at_a_time_are_all_told_once(self, served: Served) -> None:
        stage = await served(lambda seen: told([*range(200)]), items="@this")
        await stage.start()
        await stage.events(200)
        await polls(stage, 2)
        assert bodies(stage) == [*range(200)]

    async def test_no_more_than_the_limit_waits_for_the_bus_and_nothing_is_asked_meanwhile(
        self, served: Served
    ) -> None:
        stage = await served(lambda seen: told([*range(200)]), items="@this")
        stage.close_gate()
        await stage.start()
        await eventually(lambda: stage.under_way == 64)
        await asyncio.sleep(0.15)
        assert (stage.under_way, len(site_of(stage).seen)) == (64, 1)
        # And when it is cancelled, then those are finished and the rest is for the next run
        task = stage.begin_stop()
        stage.open_gate()
        await ended(task)
        assert len(stage.emitted) == 64
        await stage.start()
        await stage.events(200)
        assert bodies(stage) == [*range(200)]

    async def test_a_poll_that_breaks_off_is_made_again_with_the_same_ids(self, served: Served) -> None:
        # Given a bus that refuses for a while
        stage = await served(lambda seen: told([1, 2, 3]), items="@this")
        stage.failure = BusError("no")
        await stage.start()
        await eventually(lambda: len(stage.offered) >= 6)
        stage.failure = None
        await stage.events(3)
        # Then the ids are those of the first try
        assert len({event.id for event in stage.offered}) == 3

    async def test_an_item_that_cannot_become_an_event_is_counted_and_left_out(self, served: Served) -> None:
        stage = await served(lambda seen: told([1]), items="@this")
        stage.failure = EventTooLarge("the event is too large")
        await stage.start()
        await polls(stage, 3)
        assert stage.refused == [f"the event is too large (an item of {site_of(stage).origin}/list); left out"]

    async def test_polls_that_find_nothing_cost_the_bus_nothing(self, served: Served) -> None:
        stage = await served(lambda seen: told([1, 2]), items="@this")
        await stage.start()
        await stage.events(2)
        await polls(stage, 1)
        kept = await stage.bucket.get("memory")
        await polls(stage, 5)
        assert await stage.bucket.get("memory") == kept

    def test_the_memory_has_an_end(self) -> None:
        marks = [number.to_bytes(8, "big") for number in range(MOST_SEEN + 10)]
        memory = Memory(cursor="c", quiet=True).and_seen(marks[:-5]).and_seen([marks[-1], marks[20]])
        assert len(memory.seen) == MOST_SEEN
        assert memory.seen[-2:] == (marks[-1], marks[20]) and marks[0] not in memory.seen
        assert Memory.decode(memory.encode()) == memory
        assert len(memory.encode()) < 300_000


class TestConditional:
    async def test_an_answer_that_is_as_it_was_need_not_travel(self, served: Served) -> None:
        # Given a server with an ETag and a time
        state = {"n": 1}
        date = "Wed, 21 Oct 2015 07:28:00 GMT"

        def script(seen: Seen) -> Reply:
            etag = f'"{state["n"]}"'
            if seen.headers.get("if-none-match") == etag and seen.headers.get("if-modified-since") == date:
                return Reply(304, headers={"ETag": etag})
            return told(dict(state), ETag=etag, Last_Modified=date)

        stage = await served(script)
        await stage.start()
        await stage.events(1)
        await polls(stage, 3)
        assert "if-none-match" not in site_of(stage).seen[0].headers
        assert site_of(stage).seen[-1].headers["if-none-match"] == '"1"'
        # When it changes, then that is an event; and a restart does not ask for all again
        state["n"] = 2
        await stage.events(2)
        await polls(stage, 2)
        await stage.stop()
        site_of(stage).seen.clear()
        await stage.start()
        await polls(stage, 1)
        assert site_of(stage).seen[0].headers["if-none-match"] == '"2"'
        assert bodies(stage) == [{"n": 1}, {"n": 2}]

    async def test_it_is_not_sent_before_the_event_is_kept(self, served: Served) -> None:
        stage = await served(lambda seen: told([1], ETag='"1"'))
        stage.failure = BusError("no")
        await stage.start()
        await polls(stage, 3)
        assert all("if-none-match" not in seen.headers for seen in site_of(stage).seen)

    async def test_a_304_that_nobody_asked_for_is_a_failure(self, served: Served) -> None:
        stage = await served(lambda seen: Reply(304))
        await stage.start()
        await eventually(lambda: bool(stage.errors))
        assert "answered 304" in str(stage.errors[0])


class TestPaging:
    async def test_links_are_followed_and_the_cursor_stands_at_the_end(self, served: Served) -> None:
        def script(seen: Seen) -> Reply:
            page = int(seen.get("page") or 1)
            link = f'</list?page={page + 1}>; rel="next", </list?page=1>; rel="first"' if page < 3 else ""
            return told({"list": [page * 10, page * 10 + 1], "until": page}, **({"Link": link} if link else {}))

        stage = await served(script, items="list", paging={"link": True}, cursor="body.until")
        await stage.start()
        await stage.events(6)
        assert bodies(stage) == [10, 11, 20, 21, 30, 31]
        memory = Memory.decode((await stage.bucket.get("memory")).value)  # type: ignore[union-attr]
        assert memory.cursor == "3"

    @pytest.mark.parametrize("param", ["page", ""])
    async def test_a_token_or_url_in_the_body_leads_on(self, param: str, served: Served) -> None:
        def script(seen: Seen) -> Reply:
            page = seen.get("page")
            following = None if page else ("a b&c" if param else "?page=a%20b%26c&kept=x")
            return told({"list": [page], "meta": {"next": following}})

        stage = await served(
            script, items="list", query={"kept": "x"}, paging={"next": "body.meta.next", "param": param}
        )
        await stage.start()
        await stage.events(2)
        assert bodies(stage) == ["", "a b&c"]
        assert {seen.get("kept") for seen in site_of(stage).seen} == {"x"}

    async def test_a_poll_stops_at_max_pages_and_the_next_goes_on_there(self, served: Served) -> None:
        def script(seen: Seen) -> Reply:
            page = int(seen.get("page") or 1)
            return told({"list": [page], "next": page + 1 if page < 5 else None})

        stage = await served(script, items="list", paging={"next": "body.next", "param": "page", "maxPages": 2})
        await stage.start()
        await stage.events(5)
        await polls(stage, 1)
        assert [seen.get("page") for seen in site_of(stage).seen[:6]] == ["", "2", "3", "4", "5", ""]

    async def test_pages_that_lead_in_a_circle_are_noticed(self, served: Served) -> None:
        stage = await served(lambda seen: told([1], Link='</list>; rel="next"'), paging={"link": True})
        await stage.start()
        await eventually(lambda: bool(stage.errors))
        assert "circle" in str(stage.errors[0])


class TestCursor:
    async def test_it_is_sent_by_templates_and_outlives_a_restart(self, served: Served) -> None:
        # Given a server that is asked by POST, with a cursor that must be quoted
        stage = await served(
            lambda seen: told({"list": [], "until": 'a"b'}),
            method="POST",
            items="list",
            cursor="body.until",
            initialCursor="zero",
            body='{"since": {{ .cursor | toJson }}}',
            query={"since": "{{ .cursor }}", "empty": "{{ if false }}x{{ end }}"},
        )
        await stage.start()
        await polls(stage, 2)
        await stage.stop()
        first, second = site_of(stage).seen[:2]
        assert (first.body, first.get("since")) == (b'{"since": "zero"}', "zero")
        assert (json.loads(second.body), second.get("since")) == ({"since": 'a"b'}, 'a"b')
        assert first.headers["content-type"] == "application/json" and "empty" not in first.query
        site_of(stage).seen.clear()
        await stage.start()
        await polls(stage, 1)
        assert site_of(stage).seen[0].get("since") == 'a"b'

    async def test_nil_keeps_the_last_one_and_large_numbers_keep_their_digits(self, served: Served) -> None:
        answers = [[{"id": 9007199254740993}], []]
        stage = await served(
            lambda seen: told(answers[0] if not seen.get("after") else answers[1]),
            items="@this",
            cursor="len(items) > 0 ? items[len(items) - 1].id : nil",
            query={"after": "{{ .cursor }}"},
        )
        await stage.start()
        await polls(stage, 4)
        assert {seen.get("after") for seen in site_of(stage).seen[1:]} == {"9007199254740993"}


class TestServersThatMisbehave:
    @pytest.mark.parametrize(
        ("reply", "said"),
        [
            (Reply(200, b"[1]", stalls=True), "no whole answer within 0.2 s"),
            (Reply(200, b"[1]", breaks=True), "broke off"),
            (Reply(raw=b"SSH-2.0-OpenSSH_9.6\r\n"), "no HTTP"),
            (Reply(200, b"x" * 3000), "more than maxResponseSize, 2000 bytes"),
            (Reply(200, b"[1]", claims=50, stalls=True), "no whole answer"),
            (Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1]"), "broke off"),
            (Reply(200, b"<html>please log in</html>"), "not JSON"),
            (Reply(200, b""), "empty"),
            (Reply(200, b'{"other": []}'), "nothing at 'list'"),
            (Reply(200, b'{"list": {"a": 1}}'), "no array at 'list'"),
            (Reply(200, b'{"list": []}', {"Content-Encoding": "gzip"}), "packed"),
            (Reply(401, b"secret words of the server"), "answered 401"),
            (Reply(500, b"x"), "answered 500"),
            (Reply(429, b"x"), "answered 429"),
            (Reply(302, headers={"Location": "/list"}), "redirects"),
            (Reply(302, headers={"Location": "http://127.0.0.1:9/"}), "leads to 'http://127.0.0.1:9'"),
            (Reply(302, headers={"Location": "file:///etc/passwd"}), "no http or https URL"),
        ],
    )
    async def test_is_said_and_asked_again(self, reply: Reply, said: str, served: Served) -> None:
        # Given a server that fails once
        replies = [reply] * (11 if "redirects" in said else 1)
        stage = await served(
            lambda seen: replies.pop() if replies else told({"list": [1]}),
            items="list",
            timeout="200ms",
            maxResponseSize=2000,
        )
        await stage.start()
        # Then the failure is a sentence with the place and without the server's words, and the next poll is served
        await stage.events(1)
        assert said in str(stage.errors[0]) and "secret words" not in str(stage.errors)
        assert f"{site_of(stage).origin}/list" in str(stage.errors[0])
        assert len(stage.errors) == 1

    async def test_a_server_that_asks_for_time_gets_it(self, served: Served) -> None:
        # Given a server that asks for ten minutes, and then for a day
        waits = ["86400", "600"]
        clock = VirtualClock(dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC))

        def script(seen: Seen) -> Reply:
            return Reply(429 if len(waits) == 2 else 503, headers={"Retry-After": waits.pop()}) if waits else told([1])

        stage = await served(script, interval="1m", clock=clock)
        site = site_of(stage)
        await stage.start()
        await eventually(lambda: len(site.seen) == 1 and clock.sleeping == 1)
        # When nine minutes pass, then it is left alone; after ten it is asked
        await clock.advance(599)
        assert len(site.seen) == 1
        await clock.advance(1)
        await eventually(lambda: len(site.seen) == 2 and clock.sleeping == 1)
        # And nobody is waited for longer than an hour
        await clock.advance(3600)
        await stage.events(1)
        assert not stage.errors

    async def test_a_server_that_is_away_is_come_back_to(self, served: Served) -> None:
        stage = await served(lambda seen: told([1]), url=f"http://127.0.0.1:{free_port()}/x")
        await stage.start()
        await eventually(lambda: bool(stage.errors))
        assert "cannot be reached" in str(stage.errors[0])

    async def test_while_a_server_stalls_the_source_ends_at_once(self, served: Served) -> None:
        stage = await served(lambda seen: Reply(200, b"[1]", stalls=True))
        await stage.start()
        await polls(stage, 1)
        await stage.stop()
        assert stage.offered == []


class TestSecrets:
    SECRETS: ClassVar = {("s", "user"): "ann", ("s", "password"): "p:w", ("s", "key"): "k3y-one"}
    BASIC: ClassVar = {"username": {"name": "s", "key": "user"}, "password": {"name": "s", "key": "password"}}
    KEY: ClassVar = [{"name": "X-Api-Key", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}}]

    async def test_are_sent_are_read_at_each_poll_and_stand_in_no_log(
        self, served: Served, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        stage = await served(
            lambda seen: told([1]), secrets=dict(self.SECRETS), basicAuth=self.BASIC, secureHeaders=self.KEY
        )
        await stage.start()
        await polls(stage, 1)
        stage.secrets["s", "key"] = "k3y-two"
        await polls(stage, 2)
        seen = site_of(stage).seen
        assert seen[0].headers["authorization"] == "Basic YW5uOnA6dw=="
        assert (seen[0].headers["x-api-key"], seen[-1].headers["x-api-key"]) == ("k3y-one", "k3y-two")
        assert not any(secret in caplog.text for secret in ("k3y-", "p:w", "YW5uOnA6dw"))

    async def test_a_token_is_sent_and_one_that_cannot_be_is_not_shown(self, served: Served) -> None:
        stage = await served(
            lambda seen: told([1]), secrets={("s", "t"): "to\nken"}, bearerSecret={"name": "s", "key": "t"}
        )
        await stage.start()
        await eventually(lambda: bool(stage.errors))
        assert "header cannot be sent" in str(stage.errors[0]) and "ken" not in str(stage.errors[0])
        stage.secrets["s", "t"] = "token"
        await stage.events(1)
        assert site_of(stage).seen[0].headers["authorization"] == "Bearer token"

    async def test_another_origin_gets_none_of_them_and_must_be_named(self, served: Served) -> None:
        # Given a server that sends us to another one, and that one back
        async with Site(lambda seen: told([seen.path])) as other:
            target = f"{other.origin}/elsewhere"
            stage = await served(
                lambda seen: Reply(302, headers={"Location": target}) if seen.path == "/list" else told([seen.path]),
                secrets=dict(self.SECRETS),
                secureHeaders=self.KEY,
                basicAuth=self.BASIC,
            )
            await stage.start()
            await eventually(lambda: bool(stage.errors))
            assert f"leads to '{other.origin}'; add it to 'origins'" in str(stage.errors[0])
            assert other.seen == []
            # When it is named, then it is asked, without what is secret
            await stage.stop()
            stage.block["origins"] = [other.origin]
            await stage.start()
            await stage.events(1)
            assert not {"authorization", "x-api-key"} & other.seen[0].headers.keys()
            # And a redirect within the origin keeps it
            target = "/there"
            await eventually(lambda: site_of(stage).seen[-1].path == "/there")
            assert site_of(stage).seen[-1].headers["x-api-key"] == "k3y-one"
            assert site_of(stage).seen[-1].headers["authorization"].startswith("Basic ")

    async def test_redirects_can_be_refused(self, served: Served) -> None:
        stage = await served(lambda seen: Reply(307, headers={"Location": "/there"}), redirects="refuse")
        await stage.start()
        await eventually(lambda: bool(stage.errors))
        assert "redirects: refuse" in str(stage.errors[0])

    async def test_a_next_page_at_another_origin_must_be_named(self, served: Served) -> None:
        stage = await served(lambda seen: told([1], Link='<http://127.0.0.1:9/>; rel="next"'), paging={"link": True})
        await stage.start()
        await eventually(lambda: bool(stage.errors))
        assert "leads to 'http://127.0.0.1:9'" in str(stage.errors[0])


async def test_tls_with_our_certificate_and_a_host_that_is_led_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an HTTPS server that wants to see a certificate
    certificates.authority(tmp_path)
    for name in ("server", "client"):
        certificates.server(tmp_path, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    context.load_verify_locations(tmp_path / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    files = (("ca", "ca.crt"), ("crt", "client.crt"), ("key", "client.key"))
    secrets = {("tls", key): (tmp_path / file).read_text() for key, file in files}
    tls = {
        f"{name}Secret": {"name": "tls", "key": key}
        for name, key in (("caCert", "ca"), ("clientCert", "crt"), ("clientKey", "key"))
    }
    async with Site(lambda seen: told([1]), context) as site:
        rules = (f"{name}:443=127.0.0.1:{site.port}" for name in ("kubernetes.default.svc", "other.svc"))
        monkeypatch.setenv("ARGOSY_RESOLVE", " ".join(rules))
        block = {"url": "https://kubernetes.default.svc/x", "interval": "20ms", "tls": tls}
        # When it is asked by the name that its certificate has, then it answers
        async with on_stage("http", block, secrets=secrets) as stage:
            await stage.start()
            await stage.events(1)
        # And by another name it is not trusted
        async with on_stage("http", {**block, "url": "https://other.svc/x"}, secrets=secrets) as stage:
            await stage.start()
            await eventually(lambda: bool(stage.errors))
            assert "https://other.svc/x: the certificate is not trusted" in str(stage.errors[0])


async def test_a_schedule_waits_for_its_time_and_makes_up_for_one_missed_poll(served: Served) -> None:
    # Given a source that asks at nine in Berlin
    clock = VirtualClock(dt.datetime(2026, 1, 30, 7, 59, tzinfo=dt.UTC))
    stage = await served(
        lambda seen: told([1]), interval=None, schedule="0 9 * * *", timezone="Europe/Berlin", clock=clock, repeats=True
    )
    await stage.start()
    await eventually(lambda: clock.sleeping == 1)
    assert site_of(stage).seen == []
    # When it is nine, then it asks
    await clock.advance(60)
    await stage.events(1)
    await eventually(lambda: clock.sleeping == 1)
    await stage.stop()
    # And after two days of absence it asks once, at once
    await clock.advance(2 * 86400 + 3600)
    await stage.start()
    await stage.events(2)
    await eventually(lambda: clock.sleeping == 1)
    assert len(site_of(stage).seen) == 2


async def test_the_interval_holds_over_restarts(served: Served) -> None:
    clock = VirtualClock(dt.datetime(2026, 1, 30, 8, tzinfo=dt.UTC))
    stage = await served(lambda seen: told([1]), interval="1h", clock=clock)
    await stage.start()
    await stage.events(1)
    await eventually(lambda: clock.sleeping == 1)
    await stage.stop()
    # When it starts again at once, then it does not ask
    await stage.start()
    await eventually(lambda: clock.sleeping == 1)
    await asyncio.sleep(0.1)
    assert len(site_of(stage).seen) == 1


@pytest.mark.parametrize(("shape", "body"), [("text", "gr\u00fc\ufffd"), ("base64", "Z3LDvP8=")])
async def test_what_is_no_json_is_text_or_bytes(shape: str, body: str, served: Served) -> None:
    stage = await served(lambda seen: Reply(200, "gr\u00fc".encode() + b"\xff"), format=shape)
    await stage.start()
    await stage.events(1)
    assert bodies(stage) == [body]


async def test_the_text_of_an_item_is_kept_and_test_tools_make_the_same(served: Served) -> None:
    # Given an answer with numbers that a parser would spoil
    answer = b'{"list": [ {"id": "a", "n": 1.0, "big": 12345678901234567890123} ]}'
    stage = await served(lambda seen: Reply(200, answer), items="list", id="item.id", metadata={"m": "1"})
    await stage.start()
    (event,) = await stage.events(1)
    url = f"{site_of(stage).origin}/list"
    assert event.raw.decode() == (
        f'{{"url":"{url}","body":{{"id":"a","n":1.0,"big":12345678901234567890123}},"metadata":{{"m":"1"}}}}'
    )
    config = stage.context().config
    assert wrap("http", config, Raw(answer)) == (event.raw, "a")
    with pytest.raises(EventInvalid, match="nothing at 'list'"):
        wrap("http", config, Raw(b"{}"))


async def test_an_id_that_fails_is_said(served: Served) -> None:
    stage = await served(lambda seen: told([{"n": 1}]), items="@this", id="item.n.m")
    await stage.start()
    await eventually(lambda: bool(stage.errors))
    assert "'id' fails on the answer" in str(stage.errors[0])


async def test_a_secret_that_is_missing_is_said() -> None:
    block = {"url": "http://127.0.0.1:9/", "interval": "1m", "bearerSecret": {"name": "s", "key": "t"}}
    async with on_stage("http", block) as stage:
        await stage.start()
        await eventually(lambda: bool(stage.errors))
        assert "secret 's' has no key 't'" in str(stage.errors[0])
