"""The ``sftp`` source against a real OpenSSH: the suite of every source, who the server must be, and what happens while
nobody looks. Passwords are shown on the server of asyncssh, since OpenSSH knows only those of the machine's users.

Longer than 400 lines, for who the server is and what it holds are shown on one server and one directory.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import asyncssh
import pytest

from argosy.errors import BusError, ConfigError, SourceError
from argosy.manifests import bundle
from argosy.manifests.fields import Json
from tests.brokers.sources.openssh import OpenSSH, new_key
from tests.conformance.source import DictBucket, SourceSuite, Stage, Upstream, eventually, on_stage, raising

_PASSWORD = "p@ss/w:rd%41"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSSH]:
    with OpenSSH(tmp_path_factory.mktemp("openssh")) as server:
        yield server


def secrets_of(server: OpenSSH) -> dict[tuple[str, str], str]:
    return {
        ("sftp", "address"): f"127.0.0.1:{server.port}\n",
        ("sftp", "username"): server.user,
        ("sftp", "key"): server.private_key,
        ("sftp", "password"): _PASSWORD,
    }


def block(directory: Path, event: str = "CREATE", **more: Json) -> dict[str, Json]:
    return {
        "eventType": event,
        "watchPathConfig": {"directory": str(directory), "pathRegexp": r"\.txt$"},
        "address": {"name": "sftp", "key": "address"},
        "username": {"name": "sftp", "key": "username"},
        "sshKeySecret": {"name": "sftp", "key": "key"},
        "pollIntervalDuration": "30ms",
        **more,
    }


class Folder(Upstream):
    """A directory on the server in which every message is a new file; what it was told is which files the source
    remembers."""

    redelivers = True
    keeps = True
    names_messages = True

    def __init__(self, server: OpenSSH, path: Path) -> None:
        self.server = server
        self.path = path
        self.bucket = DictBucket()
        self.secrets = secrets_of(server)  # type: ignore[misc]
        self.block = block(path, hostKeys=[server.host_key])

    async def send(self, text: str) -> None:
        (self.path / f"{text}.txt").write_text("content")

    def text_of(self, data: Any) -> str:
        assert set(data) == {"name", "op", "metadata"}
        assert data["op"] == 1
        assert data["name"] == Path(data["name"]).name
        return Path(data["name"]).stem

    async def acknowledged(self) -> int:
        shards = [entry.value for key, entry in self.bucket.entries.items() if key.startswith("files/")]
        return sum(len(json.loads(shard)) for shard in shards)


@pytest.fixture
async def upstream(server: OpenSSH, tmp_path: Path) -> Folder:
    return Folder(server, tmp_path)


@pytest.fixture
async def stage(upstream: Folder) -> AsyncIterator[Stage]:
    async with on_stage("sftp", dict(upstream.block), secrets=upstream.secrets, bucket=upstream.bucket) as stage:
        yield stage


_WATCH = {"directory": "/a", "path": "b"}
_LOGIN: dict[str, Json] = {
    "address": {"name": "s", "key": "a"},
    "username": {"name": "s", "key": "u"},
    "password": {"name": "s", "key": "p"},
    "watchPathConfig": _WATCH,
    "eventType": "CREATE",
}


class TestSftp(SourceSuite):
    kind = "sftp"
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        ({key: value for key, value in _LOGIN.items() if key != "eventType"}, "eventType"),
        ({**_LOGIN, "eventType": "WRITE"}, "'WRITE'"),
        ({**_LOGIN, "watchPathConfig": {"directory": "/a"}}, "path or pathRegexp"),
        ({**_LOGIN, "watchPathConfig": {"directory": "a", "path": "b"}}, "absolute"),
        ({key: value for key, value in _LOGIN.items() if key != "address"}, "address"),
        ({key: value for key, value in _LOGIN.items() if key != "username"}, "username"),
        ({key: value for key, value in _LOGIN.items() if key != "password"}, "sshKeySecret"),
        ({**_LOGIN, "pollIntervalDuration": "often"}, "pollIntervalDuration"),
        ({**_LOGIN, "pollIntervalDuration": "0s"}, "greater than 0"),
        ({**_LOGIN, "settle": "-1s"}, "greater than or equal to 0"),
        ({**_LOGIN, "hostKeys": ["ssh-ed25519 no-key"]}, "'ssh-ed25519 no-key'"),
    ]

    @pytest.fixture
    async def upstream(self, upstream: Folder) -> Folder:
        return upstream


def told(stage: Stage) -> list[tuple[str, int]]:
    return [(event.data["name"], event.data["op"]) for event in stage.emitted]


@pytest.mark.parametrize(
    ("event", "expected"),
    [("CREATE", [("written.txt", 1), ("new.txt", 1)]), ("REMOVE", [("removed.txt", 4), ("renamed.txt", 4)])],
)
async def test_what_happens_while_nobody_looks_is_found_and_told_once(
    event: str, expected: list[tuple[str, int]], upstream: Folder, stage: Stage
) -> None:
    # Given a directory whose files are known, and a source that is stopped
    path = upstream.path
    for name in ("kept", "written", "renamed", "removed"):
        (path / f"{name}.txt").write_text("content")
        os.utime(path / f"{name}.txt", (1000, 1000))
    stage.block["eventType"] = event
    await stage.start()
    await stage.stop()
    # When files come, change and go; and others that do not match, or are no files
    (path / "new.txt").write_text("content")
    (path / "written.txt").write_text("content2")
    os.utime(path / "written.txt", (2000, 2000))
    (path / "renamed.txt").rename(path / "moved.other")
    (path / "removed.txt").unlink()
    (path / "folder.txt").mkdir()
    # Then the wanted changes are told when the source is back, the oldest first, and not again by the next start
    await stage.start()
    await stage.events(len(expected))
    await stage.stop()
    await stage.start()
    await upstream.settle()
    assert told(stage) == expected
    assert [event.data["metadata"] for event in stage.emitted] == [None] * len(expected)
    assert not stage.errors


async def test_a_file_that_is_replaced_removed_and_made_again_is_told_each_time(upstream: Folder, stage: Stage) -> None:
    # Given a file that was told
    file = upstream.path / "a.txt"
    await stage.start()
    file.write_text("one")
    await stage.events(1)
    # When it is replaced, and then removed and made again just as it was
    file.write_text("three")
    await stage.events(2)
    times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    file.unlink()
    await eventually(lambda: _none_known(upstream))
    file.write_text("three")
    os.utime(file, ns=times)
    # Then each is an event with an id of its own
    await stage.events(3)
    assert told(stage) == [("a.txt", 1)] * 3
    assert len({event.id for event in stage.emitted}) == 3


async def _none_known(upstream: Folder) -> bool:
    return await upstream.acknowledged() == 0


async def test_a_crash_between_emit_and_remembering_gives_the_same_id(upstream: Folder, stage: Stage) -> None:
    # Given a bucket that fails when the file is to be remembered
    plain = upstream.bucket.put

    async def put(key: str, value: bytes, *, revision: int | None = None) -> int:
        if key.startswith("files/") and len(stage.emitted) == 1:
            raise BusError("the bus has gone")
        return await plain(key, value, revision=revision)

    await stage.start()
    upstream.bucket.put = put  # type: ignore[method-assign]
    # When a file comes
    await upstream.send("one")
    # Then it is told again with the same id
    await stage.events(2)
    assert len({event.id for event in stage.emitted}) == 1


async def test_a_file_that_still_grows_waits_until_it_has_settled(upstream: Folder, stage: Stage) -> None:
    # Given a source that waits until files have stopped changing for an hour, by a clock that we turn
    class Clock:
        hours = 0.0
        looks = 0

        def monotonic(self) -> float:
            return self.hours * 3600

        async def sleep(self, seconds: float) -> None:
            self.looks += 1
            await asyncio.sleep(0.01)

    stage.clock = clock = Clock()  # type: ignore[assignment]

    async def look() -> None:
        wanted = clock.looks + 2  # one may be under way
        await eventually(lambda: clock.looks >= wanted)

    stage.block["settle"] = "1h"
    await stage.start()
    # When a file grows whenever the hour is nearly over
    for size in range(1, 4):
        (upstream.path / "growing.txt").write_text("x" * size)
        await look()
        clock.hours += 0.9
        await look()
    # Then it is not told
    assert stage.offered == []
    # And is told once when it has rested
    clock.hours += 0.2
    await stage.events(1)
    await look()
    assert told(stage) == [("growing.txt", 1)]


async def test_thousands_of_files_are_told_in_the_order_of_their_times(upstream: Folder, stage: Stage) -> None:
    # Given many more files than the server tells in one answer
    await stage.start()
    await stage.stop()
    for number in range(1500):
        file = upstream.path / f"{number:04}.txt"
        file.touch()
        os.utime(file, (5000 - number, 5000 - number))
    # When the source looks
    await stage.start()
    # Then all are told, each once, the oldest first
    await stage.events(1500)
    assert [name for name, _ in told(stage)] == [f"{number:04}.txt" for number in reversed(range(1500))]


async def test_more_files_than_memory_is_meant_for_end_the_run_with_a_sentence(
    upstream: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("argosy.sources.sftp._MOST_FILES", 2)
    for number in range(3):
        await upstream.send(str(number))
    async with raising("sftp", upstream.block, secrets=upstream.secrets) as sentence:
        assert "more than 2 files that match" in sentence


async def test_a_killed_server_is_come_back_to_and_nothing_is_missing(tmp_path: Path) -> None:
    with OpenSSH(tmp_path / "server") as server:
        upstream = Folder(server, tmp_path)
        async with on_stage("sftp", upstream.block, secrets=upstream.secrets, bucket=upstream.bucket) as stage:
            # Given a file whose emit is under way
            await stage.start()
            stage.close_gate()
            await upstream.send("before")
            await eventually(lambda: stage.under_way == 1)
            # When the server is killed, files come and go, and it comes back
            server.kill()
            await upstream.send("meanwhile")
            stage.open_gate()
            await eventually(lambda: len(stage.errors) >= 1)
            await server.come_back()
            await upstream.send("after")
            # Then each file is an event, once
            await stage.events(3)
            await upstream.settle()
            assert sorted(upstream.text_of(event.data) for event in stage.offered) == ["after", "before", "meanwhile"]
            assert all(isinstance(error, SourceError) and "sftp://127.0.0.1" in str(error) for error in stage.errors)


async def test_a_server_with_another_key_than_the_manifest_names_is_refused(upstream: Folder, tmp_path: Path) -> None:
    other = new_key(tmp_path / "other")[1]
    async with raising("sftp", {**upstream.block, "hostKeys": [other]}, secrets=upstream.secrets) as sentence:
        assert "is none of 'hostKeys'" in sentence and upstream.server.host_key.split()[1] in sentence
    # As what ssh-keyscan prints, and among several, the right one is known
    keys = [other, f"[127.0.0.1]:{upstream.server.port} {upstream.server.host_key}"]
    async with on_stage("sftp", {**upstream.block, "hostKeys": keys}, secrets=upstream.secrets) as stage:
        await stage.start()


async def test_a_key_beside_the_private_key_is_that_of_the_server_as_in_argo_events(
    upstream: Folder, tmp_path: Path
) -> None:
    # Given secrets with a private key and a public one, and no hostKeys
    block = {key: value for key, value in upstream.block.items() if key != "hostKeys"}
    right = {**upstream.secrets, ("sftp", "key"): f"{upstream.server.private_key}\n{upstream.server.host_key}\n"}
    other = new_key(tmp_path / "other")[1]
    wrong = {**upstream.secrets, ("sftp", "key"): f"{other}\n{upstream.server.private_key}"}
    # Then the public one decides
    async with on_stage("sftp", block, secrets=right) as stage:
        await stage.start()
        assert "host-key" not in await stage.bucket.keys()
    async with raising("sftp", block, secrets=wrong) as sentence:
        assert "is none of 'hostKeys'" in sentence


async def test_without_a_named_key_the_first_one_is_wanted_from_then_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with OpenSSH(tmp_path / "server") as server:
        upstream = Folder(server, tmp_path)
        block = {key: value for key, value in upstream.block.items() if key != "hostKeys"}
        async with on_stage("sftp", block, secrets=upstream.secrets, bucket=upstream.bucket) as stage:
            # Given a source that has connected once, and said whom it trusts
            await stage.start()
            assert f"'{server.host_key.rsplit(' ', 1)[0]}'" in caplog.text
            caplog.clear()
            await stage.stop()
            await stage.start()
            assert caplog.text == ""
            await stage.stop()
            # When a server with another key stands in its place
            server.key_name = "another"
            await server.restart()
            stage.errors.clear()
            plugin = stage.plugin()
            with pytest.raises(SourceError, match="not the one that it showed first"):
                await plugin.run(stage.context())
            # And when its new key is named, then it is connected to again
            stage.block["hostKeys"] = [server.host_key]
            await stage.start()


def test_lint_warns_of_a_server_that_may_be_anybody() -> None:
    source = next(iter(bundle.loads(_manifest(), "sftp.yaml").findings), None)
    assert source is not None and (source.severity, source.code) == ("warning", "unverified-server")


def _manifest() -> str:
    events = {"sftp": {"e": _LOGIN}}
    head = {"apiVersion": "argoproj.io/v1alpha1", "kind": "EventSource", "metadata": {"name": "s"}}
    return json.dumps({**head, "spec": events})


async def test_refusals_are_sentences(upstream: Folder, tmp_path: Path) -> None:
    block, secrets = upstream.block, upstream.secrets
    nobody = {("sftp", "address"): "127.0.0.1:9"}
    stranger = {("sftp", "key"): new_key(tmp_path / "stranger")[0]}
    cases: list[tuple[dict[str, Json], dict[tuple[str, str], str], str]] = [
        ({}, nobody, "nothing listens at sftp://127.0.0.1:9"),
        ({}, stranger, "refuses the user"),
        ({}, {("sftp", "key"): "no key"}, "no private key"),
        ({}, {("sftp", "key"): "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"}, "cannot be read"),
        ({}, {("sftp", "address"): "sftp://server"}, "'address' of secret 'sftp'"),
        ({"watchPathConfig": {"directory": "/no/such", "path": "a"}}, {}, "no directory '/no/such'"),
    ]
    for given, changed, expected in cases:
        async with raising("sftp", {**block, **given}, secrets={**secrets, **changed}) as sentence:
            assert expected in sentence


async def test_a_host_that_is_led_elsewhere_keeps_its_name(
    upstream: Folder, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARGOSY_RESOLVE", f"sftp.reports.svc:22=127.0.0.1:{upstream.server.port}")
    stage.secrets["sftp", "address"] = "sftp.reports.svc"
    await stage.start()
    assert stage.listening == [f"directory {str(upstream.path)!r} of sftp://sftp.reports.svc:22"]


@asynccontextmanager
async def by_password(folder: Path, password: list[str]) -> AsyncIterator[tuple[int, str]]:
    """asyncssh's server with a user ``argosy``, whose password is the last of the list; its port and key."""

    class Login(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, given: str) -> bool:
            return (username, given) == ("argosy", password[-1])

    key = asyncssh.generate_private_key("ssh-ed25519")
    listener = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=Login, server_host_keys=[key], sftp_factory=True, allow_scp=False
    )
    try:
        yield listener.get_port(), key.export_public_key().decode().strip()
    finally:
        listener.close()
        await listener.wait_closed()


async def test_a_password_logs_in_a_rotated_one_is_taken_up_and_no_secret_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    passwords = [_PASSWORD]
    async with by_password(tmp_path, passwords) as (port, key):
        given = block(tmp_path, hostKeys=[key], password={"name": "sftp", "key": "password"})
        del given["sshKeySecret"]
        secrets = {("sftp", "address"): f"127.0.0.1:{port}", ("sftp", "username"): "argosy"}
        secrets["sftp", "password"] = _PASSWORD
        async with on_stage("sftp", given, secrets=secrets) as stage:
            # Given a source that has logged in
            await stage.start()
            (tmp_path / "one.txt").write_text("1")
            await stage.events(1)
            await stage.stop()
            # When the password changes, first there and then here
            passwords.append("another-one")
            with pytest.raises(SourceError, match="refuses the user"):
                await stage.plugin().run(stage.context())
            stage.secrets["sftp", "password"] = "another-one"
            # Then it receives again
            await stage.start()
            said = f"{stage.errors} {stage.listening} {caplog.text}"
            assert "another-one" not in said and _PASSWORD not in said and "argosy'" not in said


def test_an_encrypted_key_is_refused_in_a_sentence(tmp_path: Path) -> None:
    from argosy.sources._ssh import _private

    key = asyncssh.generate_private_key("ssh-ed25519").export_private_key(passphrase="x").decode()
    with pytest.raises(ConfigError, match="without a passphrase"):
        _private(key)
