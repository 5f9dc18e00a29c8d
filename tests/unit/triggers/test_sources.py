"""Where a trigger's object comes from, and what is said where there is none."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from argosy.errors import Rejected, SecretMissing, TriggerError
from argosy.manifests.artifacts import ArtifactLocation
from argosy.triggers import _http, _sources
from tests.conformance.trigger import Stage
from tests.unit.triggers.receivers import Answer, HttpServer

TEXT = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {on: 'yes', number: 010}\n"
OBJECT = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "one"},
    "data": {"true": "yes", "number": 8},
}
Fetch = Callable[[dict[str, Any]], Any]


@pytest.fixture
async def fetch() -> AsyncIterator[Fetch]:
    context = Stage("log", config_maps={("objects", "one"): TEXT}).open().ctx
    async with _sources.Objects(context) as objects:

        async def fetch(location: dict[str, Any]) -> Any:
            return await objects.fetch(ArtifactLocation.model_validate(location))

        yield fetch


async def test_each_place_gives_the_object_by_kubernetes_rules(fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(TEXT)
    for location in (
        {"inline": TEXT},
        {"inline": "---\n" + TEXT + "---\nkind: Second\n"},
        {"file": {"path": str(tmp_path / "one.yaml")}},
        {"configmap": {"name": "objects", "key": "one"}},
    ):
        assert await fetch(location) == OBJECT


async def test_a_resource_of_the_manifest_is_not_changed_by_who_gets_it(fetch: Fetch) -> None:
    for location in ({"resource": {"metadata": {"name": "one"}}}, {"inline": "metadata: {name: one}"}):
        (await fetch(location))["metadata"]["name"] = "two"
        assert await fetch(location) == {"metadata": {"name": "one"}}


async def test_of_several_places_upstreams_first_counts(fetch: Fetch, tmp_path: Path) -> None:
    both = {"resource": {"kind": "Resource"}, "configmap": {"name": "objects", "key": "one"}}
    assert (await fetch(both))["kind"] == "ConfigMap"
    assert (await fetch({**both, "inline": "kind: Inline"}))["kind"] == "Inline"
    with pytest.raises(Rejected, match=r"source.s3 needs endpoint, bucket.name and bucket.key"):
        await fetch({**both, "s3": {}})
    with pytest.raises(Rejected, match=r"source.git: '' is no https"):
        await fetch({**both, "git": {}})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "source.inline is empty"),
        ("# nothing\n", "source.inline is empty"),
        ("- a\n", "source.inline holds no object"),
        ("text", "source.inline holds no object"),
        ("a: b: c\n", "source.inline is not YAML: line 1, column"),
    ],
)
async def test_text_that_is_no_object_is_rejected(fetch: Fetch, text: str, said: str) -> None:
    with pytest.raises(Rejected, match=said):
        await fetch({"inline": text})


async def test_a_file_that_is_not_there_may_come(fetch: Fetch, tmp_path: Path) -> None:
    with pytest.raises(TriggerError, match=r"one.yaml' cannot be read: No such file") as error:
        await fetch({"file": {"path": str(tmp_path / "one.yaml")}})
    assert not isinstance(error.value, Rejected)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(Rejected, match="is not text in UTF-8"):
        await fetch({"file": {"path": str(tmp_path / "binary")}})
    (tmp_path / "large").write_bytes(b" " * (4 * 2**20 + 1))
    with pytest.raises(Rejected, match="is larger than 4 MiB"):
        await fetch({"file": {"path": str(tmp_path / "large")}})


async def test_a_missing_config_map_is_named(fetch: Fetch) -> None:
    with pytest.raises(SecretMissing, match="'none'"):
        await fetch({"configmap": {"name": "none", "key": "one"}})


class TestUrl:
    async def test_it_is_fetched_anew_each_time_and_follows(self, fetch: Fetch) -> None:
        async with HttpServer() as server:
            server.answers["/old"] = Answer(302, {"Location": "/new"})
            server.answers["/new"] = Answer(body=TEXT.encode())
            for _ in range(2):
                assert await fetch({"url": {"path": f"{server.url}/old"}}) == OBJECT
            assert [request.target for request in server.requests] == ["/old", "/new"] * 2

    async def test_what_is_unchanged_is_not_sent_again(self, fetch: Fetch) -> None:
        # Given a server that can tell whether there is something new
        async with HttpServer() as server:
            server.default = Answer(headers={"ETag": '"1"'}, body=TEXT.encode())
            assert await fetch({"url": {"path": server.url}}) == OBJECT
            # When there is not
            server.default = Answer(304)
            assert await fetch({"url": {"path": server.url}}) == OBJECT
            # And when there is
            server.default = Answer(headers={"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}, body=b"kind: New")
            assert await fetch({"url": {"path": server.url}}) == {"kind": "New"}
            assert (await fetch({"url": {"path": server.url}}))["kind"] == "New"
            # Then it was asked so, over one connection
            asked = [
                {key: value for key, value in request.headers.items() if key.startswith("if-")}
                for request in server.requests
            ]
            modified = {"if-modified-since": "Thu, 01 Jan 2026 00:00:00 GMT"}
            assert asked == [{}, {"if-none-match": '"1"'}, {"if-none-match": '"1"'}, modified]
            assert server.connections == 1

    async def test_what_is_no_object_or_not_200_is_said(self, fetch: Fetch) -> None:
        async with HttpServer() as server:
            server.default = Answer(404)
            with pytest.raises(TriggerError, match=r"answered 404, not 200") as error:
                await fetch({"url": {"path": f"{server.url}/a?token=s3cr3t"}})
            assert "s3cr3t" not in str(error.value)
            server.default = Answer(body=b"a" * (512 * 1024 + 1))
            with pytest.raises(Rejected, match="is larger than 512 KiB"):
                await fetch({"url": {"path": server.url}})
            server.default = Answer(body=b'a: "' + b"a" * (512 * 1024 - 5) + b'"')
            assert list(await fetch({"url": {"path": server.url}})) == ["a"]

    async def test_forbidden_addresses_are_forbidden_here_too(
        self, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(Rejected, match="link-local or metadata"):
            await fetch({"url": {"path": "http://169.254.169.254/latest/user-data"}})
        async with HttpServer() as server:
            server.default = Answer(302, {"Location": "http://metadata.google.internal/"})
            with pytest.raises(Rejected, match="link-local or metadata"):
                await fetch({"url": {"path": server.url}})
        assert not _http.is_link_local("127.0.0.1")

    async def test_a_certificate_is_verified_unless_the_manifest_says_otherwise(self, certificates: Path) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
        async with HttpServer(tls=context) as server:
            server.default = Answer(body=TEXT.encode())
            async with _sources.Objects(Stage("log").open().ctx) as objects:
                for location in ({"path": server.url}, {"path": server.url, "verifyCert": True}):
                    with pytest.raises(TriggerError, match="the certificate is not trusted"):
                        await objects.fetch(ArtifactLocation.model_validate({"url": location}))
                location["verifyCert"] = False
                assert await objects.fetch(ArtifactLocation.model_validate({"url": location})) == OBJECT
