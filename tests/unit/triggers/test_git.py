"""A trigger's object out of a git repository, over HTTP and SSH."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from argosy.errors import Rejected, TriggerError
from argosy.manifests.artifacts import ArtifactLocation
from argosy.triggers import _git_app
from argosy.triggers._sources import Objects
from tests.brokers.sources.openssh import OpenSSH
from tests.conformance.trigger import Stage
from tests.unit.triggers.git_server import GitHttp, Repository
from tests.unit.triggers.receivers import Answer, HttpServer

Fetch = Callable[..., Any]
FILE = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {0}}}\n"
PASSWORD = "s3cr3t/p@ss"
SECRETS: dict[tuple[str, str], str] = {("git", "user"): "robot", ("git", "password"): PASSWORD}
CREDS = {"username": {"name": "git", "key": "user"}, "password": {"name": "git", "key": "password"}}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    found = Repository(tmp_path / "served" / "config")
    found.commit({"a.yaml": FILE.format("one"), "deep/er/b.yaml": FILE.format("deep")})
    return found


@pytest.fixture
def http(repository: Repository) -> Iterator[GitHttp]:
    with GitHttp(repository.folder.parent) as server:
        yield server


@pytest.fixture
def secrets() -> dict[tuple[str, str], str]:
    return dict(SECRETS)


@pytest.fixture
async def fetch(secrets: dict[tuple[str, str], str]) -> AsyncIterator[Fetch]:
    """The name of the object that a ``git`` block leads to."""
    async with Objects(Stage("log", secrets=secrets).open().ctx) as objects:

        async def fetch(url: str, path: str = "a.yaml", **fields: Any) -> str:
            block = {"url": url, "filePath": path, **fields}
            found = await objects.fetch(ArtifactLocation.model_validate({"git": block}))
            return str(found["metadata"]["name"])

        yield fetch


async def test_branches_tags_and_refs_are_found_in_upstreams_order(
    fetch: Fetch, repository: Repository, http: GitHttp
) -> None:
    url = f"{http.url}/config"
    first = repository.git("rev-parse", "HEAD")
    repository.git("tag", "v1")
    repository.git("checkout", "--quiet", "-b", "other")
    repository.commit({"a.yaml": FILE.format("other")})
    repository.git("update-ref", "refs/pull/1/head", "HEAD")
    repository.git("checkout", "--quiet", "master")
    repository.commit({"a.yaml": FILE.format("new")})

    assert await fetch(url) == "new"
    assert await fetch(url, branch="other") == "other"
    assert await fetch(url, tag="v1", branch="other") == "one"
    assert await fetch(url, ref="refs/pull/1/head", tag="v1") == "other"
    assert await fetch(url, ref="other") == "other"
    assert await fetch(url, ref=first) == "one"
    assert await fetch(url, "./deep//er/b.yaml") == "deep"
    assert await fetch("https://example.com/none", remote={"name": "mirror", "urls": [url]}) == "new"


async def test_a_change_counts_from_the_next_time_on_and_nothing_is_sent_twice(
    fetch: Fetch, repository: Repository, http: GitHttp
) -> None:
    url = f"{http.url}/config"
    repository.commit({"large.txt": random.Random(1).randbytes(50_000).hex()})
    assert await fetch(url) == "one"
    sent = http.sent
    assert sent > 50_000
    assert await fetch(url) == "one"
    assert http.sent - sent < 1000
    commit = repository.commit({"a.yaml": FILE.format("two")})
    assert await fetch(url) == "two"
    # A commit that is here already needs no server.
    before = len(http.requests)
    assert await fetch(url, ref=commit) == "two"
    assert len(http.requests) == before
    # A branch that was written anew is followed, too.
    repository.git("reset", "--quiet", "--hard", "HEAD~1")
    repository.commit({"a.yaml": FILE.format("three")})
    assert await fetch(url) == "three"


async def test_many_at_once_share_a_copy(fetch: Fetch, repository: Repository, http: GitHttp, tmp_path: Path) -> None:
    url, kept = f"{http.url}/config", tmp_path / "kept"
    found = await asyncio.gather(*(fetch(url, cloneDirectory=str(kept)) for _ in range(8)))
    assert found == ["one"] * 8
    assert len(list(kept.iterdir())) == 1


async def test_a_path_cannot_lead_out_and_links_are_not_followed(
    fetch: Fetch, repository: Repository, http: GitHttp, tmp_path: Path
) -> None:
    url = f"{http.url}/config"
    (tmp_path / "secret.yaml").write_text(FILE.format("secret"))
    (repository.folder / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    (repository.folder / "inner").symlink_to("deep")
    repository.commit({"large.yaml": " " * (4 * 2**20 + 1), "bytes.yaml": ""})
    (repository.folder / "bytes.yaml").write_bytes(b"\xff")
    repository.commit({})
    for path in ("../secret.yaml", "deep/../../x", "/etc/passwd", "~/x", "a\\b", ""):
        with pytest.raises(Rejected, match="is no path in a repository"):
            await fetch(url, path)
    for path, said in (
        ("link.yaml", "is a symbolic link, which is not followed"),
        ("inner/er/b.yaml", "has no file 'inner/er/b.yaml' at 'refs/heads/master'"),
        ("deep", "'deep' is a directory"),
        ("none.yaml", "has no file 'none.yaml'"),
        ("large.yaml", "is larger than 4 MiB"),
        ("bytes.yaml", "is not text in UTF-8"),
    ):
        with pytest.raises(Rejected, match=said):
            await fetch(url, path)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"branch": "none"}, "couldn't find remote ref refs/heads/none"),
        ({"branch": "a b"}, "cannot be the name of a branch"),
        ({"branch": "--upload-pack=x"}, "couldn't find remote ref"),
        ({"ref": "refs/heads/*"}, "cannot be the name"),
        ({"ref": "refs/heads/a:refs/heads/b"}, "cannot be the name"),
        ({"ref": "0" * 40}, "not our ref|not found|upload-pack"),
    ],
)
async def test_a_name_that_is_not_there_is_said(fetch: Fetch, http: GitHttp, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(TriggerError, match=said):
        await fetch(f"{http.url}/config", **fields)


@pytest.mark.parametrize(
    "url",
    ["", "/etc", "file:///etc", "ext::sh -c id", "--upload-pack=id", "ftp://example.com/x", "-oProxyCommand=id@h:x"],
)
async def test_what_is_no_address_of_a_repository_is_refused(fetch: Fetch, url: str) -> None:
    with pytest.raises(Rejected, match="is no https, http, ssh or git URL"):
        await fetch(url)


async def test_metadata_addresses_are_forbidden(fetch: Fetch) -> None:
    with pytest.raises(Rejected, match="link-local or metadata"):
        await fetch("http://169.254.169.254/x.git")


async def test_a_server_that_is_not_there_may_come(fetch: Fetch, http: GitHttp) -> None:
    with pytest.raises(TriggerError, match="Failed to connect|Could not connect|Couldn't connect") as error:
        await fetch("http://127.0.0.1:1/config")
    assert not isinstance(error.value, Rejected)
    with pytest.raises(Rejected, match="not found"):
        await fetch(f"{http.url}/none")


async def test_a_password_is_read_anew_each_time_and_never_shown(
    fetch: Fetch, repository: Repository, secrets: dict[tuple[str, str], str]
) -> None:
    with GitHttp(repository.folder.parent, password=PASSWORD) as server:
        url = f"{server.url}/config"
        assert await fetch(url, creds=CREDS) == "one"
        secrets["git", "password"] = "wr0ng/word"
        with pytest.raises(Rejected, match="Authentication failed") as error:
            await fetch(url, creds=CREDS)
        assert "wr0ng" not in str(error.value)
        with pytest.raises(Rejected, match="could not read Username"):
            await fetch(url)
        with pytest.raises(TriggerError) as error:
            await fetch(url.replace("//", "//robot:wr0ng-word@"))
        assert "wr0ng" not in str(error.value)
        secrets["git", "password"] = PASSWORD
        assert await fetch(url, creds=CREDS) == "one"


@pytest.fixture(scope="module")
def openssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSSH]:
    with OpenSSH(tmp_path_factory.mktemp("ssh")) as server:
        yield server


async def test_over_ssh_the_servers_key_is_verified(
    fetch: Fetch, repository: Repository, openssh: OpenSSH, secrets: dict[tuple[str, str], str]
) -> None:
    secrets["git", "key"] = openssh.private_key
    url = f"ssh://{openssh.user}@127.0.0.1:{openssh.port}{repository.folder}"
    key = {"sshKeySecret": {"name": "git", "key": "key"}}
    assert await fetch(url, **key, hostKeys=[openssh.host_key]) == "one"
    assert await fetch(url, **key, insecureIgnoreHostKey=True) == "one"
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0iPTYm2gC0JlYf4hzcPNCVo9eGDhzJDZ6vQHXbYNlF"
    for known in ([], [other]):
        with pytest.raises(Rejected, match=r"Host key verification failed.*source.git.hostKeys"):
            await fetch(url, **key, hostKeys=known)
    with pytest.raises(Rejected, match="is no public key"):
        await fetch(url, **key, hostKeys=["nonsense"])
    with pytest.raises(Rejected, match="Permission denied"):
        await fetch(url, hostKeys=[openssh.host_key])


async def test_one_that_never_answers_is_ended_with_all_it_started(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setattr("argosy.triggers._git._SECONDS", 0.3)
    with pytest.raises(TriggerError, match="did not answer within 0.3 s"):
        await fetch(f"ssh://git@127.0.0.1:{port}/x", insecureIgnoreHostKey=True)
    assert asked.is_set()
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [line for line in running if f"-p\0{port}\0".encode() in line]
    server.close()
    await server.wait_closed()


class TestGithubApp:
    @pytest.fixture
    def private_key(self) -> str:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        ).decode()

    async def test_the_installations_token_is_the_password(
        self,
        fetch: Fetch,
        repository: Repository,
        private_key: str,
        secrets: dict[tuple[str, str], str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # Given a GitHub that gives tokens, and a repository that is read with one
        secrets["git", "app"] = private_key
        app = {"privateKey": {"name": "git", "key": "app"}, "appID": 7, "installationID": 9}
        token = b'{"token":"t0ken","expires_at":"2999-01-01T00:00:00Z"}'
        async with HttpServer() as api:
            api.answers["/app/installations/9/access_tokens"] = Answer(201, body=token)
            monkeypatch.setattr(_git_app, "_api", lambda repository: api.url)
            with GitHttp(repository.folder.parent, password="t0ken") as server:
                # The test's server knows one user; GitHub takes any.
                monkeypatch.setattr("argosy.triggers._git._APP_USER", "robot")
                for _ in range(2):
                    assert await fetch(f"{server.url}/config", githubApp=app) == "one"
            # Then one token served both, and the App said who it is
            assert len(api.requests) == 1
            import jwt

            signed = api.requests[0].headers["authorization"].removeprefix("Bearer ")
            claims = jwt.decode(signed, options={"verify_signature": False})
            assert (claims["iss"], claims["exp"] - claims["iat"]) == ("7", 600)

    async def test_an_app_that_is_refused_is_said(
        self,
        fetch: Fetch,
        private_key: str,
        secrets: dict[tuple[str, str], str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        secrets["git", "app"] = private_key
        app: dict[str, Any] = {"privateKey": {"name": "git", "key": "app"}, "appID": 7, "installationID": 9}
        async with HttpServer() as api:
            monkeypatch.setattr(_git_app, "_api", lambda repository: api.url)
            for status, failure in ((401, Rejected), (502, TriggerError)):
                api.default = Answer(status)
                with pytest.raises(failure, match=f"answered {status}, not 201"):
                    await fetch("https://github.com/a/b", githubApp=app)
            api.default = Answer(201, body=b"[]")
            with pytest.raises(TriggerError, match="something else than a token"):
                await fetch("https://github.com/a/b", githubApp=app)
        with pytest.raises(Rejected, match="needs privateKey, appID and installationID"):
            await fetch("https://github.com/a/b", githubApp={"appID": 7})
        secrets["git", "app"] = "nonsense"
        with pytest.raises(Rejected, match="is no unencrypted key in PEM"):
            await fetch("https://github.com/a/b", githubApp=app)

    def test_the_api_is_the_repositorys_servers(self) -> None:
        assert _git_app._api("https://github.com/a/b") == "https://api.github.com"
        assert _git_app._api("https://git.example.com:8443/a/b.git") == "https://git.example.com:8443/api/v3"
        with pytest.raises(Rejected, match="begins with https"):
            _git_app._api("git@github.com:a/b.git")
