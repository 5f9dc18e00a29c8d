"""A file in a git repository, for triggers whose object stands there.

The ``git`` program does it: what it can reach (proxies, SSH, every server's habits), this can. Of a repository only one commit is fetched,
into a copy without files (``--bare``) that stays as long as the trigger; when nothing is new, nothing is sent. The file is read out of the commit
itself, so a path cannot lead out of the repository, and a symbolic link is seen as what it is and refused. A full commit id that is
there already is not asked for again. Programs that take too long are killed with their children.

Secrets reach ``git`` by its environment and by files that only this user can read, never by its arguments.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import re
import shlex
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from argosy.errors import Rejected, TriggerError
from argosy.manifests.artifacts import GitSource
from argosy.triggers import _git_app, _http

if TYPE_CHECKING:
    from argosy.triggers._base import TriggerContext
    from argosy.triggers._http_clients import Clients

_SECONDS = 120.0
_APP_USER = "x-access-token"  # as GitHub documents it
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SCHEMES = ("https", "http", "ssh", "git")
_SSH_URL = re.compile(r"[\w.-]+@[\w.-]+:(?!//)[^\s]+")
_FINAL = (  # what another try will not change
    "couldn't find remote ref",
    "could not read Username",
    "Authentication failed",
    "Permission denied",
    "Host key verification failed",
    "not found",
    "does not appear to be a git repository",
)
_KEPT = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
)
_HELPER = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" "$ARGOSY_GIT_USER" "$ARGOSY_GIT_PASSWORD"; }; f'
)


class Repositories:
    """The copies that one trigger keeps; a context manager that removes them."""

    def __init__(self, ctx: TriggerContext, clients: Clients) -> None:
        """``clients`` ask GitHub for an App's tokens."""
        self._ctx = ctx
        self._folder = Path()
        self._locks: dict[Path, asyncio.Lock] = {}
        self._app = _git_app.Tokens(ctx, clients)

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="argosy-git-"))
        return self

    def __exit__(self, *exc: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    async def read(self, source: GitSource, limit: int) -> bytes:
        """The file's bytes.

        Raises Rejected where another try cannot help (no such file, name or repository; a link; more than ``limit`` bytes; not let in),
        TriggerError where it can.
        """
        program = shutil.which("git")
        if program is None:
            raise TriggerError("source.git needs the program 'git' on PATH; install the package git")
        url = _address(source)
        what = f"source.git {_shown(url)!r}"
        parent = Path(source.clone_directory) if source.clone_directory else self._folder
        copy = parent / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.git"
        with tempfile.TemporaryDirectory(prefix="argosy-git-") as private:
            environment = await self._environment(source, url, Path(private))
            git = _Git(program, copy, environment, what, _secrets(url, environment))
            async with self._locks.setdefault(copy, asyncio.Lock()):
                try:
                    async with asyncio.timeout(_SECONDS):
                        return await self._read(git, source, url, limit)
                except TimeoutError as error:
                    raise TriggerError(f"{what} did not answer within {_SECONDS:g} s") from error
                except OSError as error:
                    raise TriggerError(f"{what}: {error.strerror or error}: {error.filename or copy}") from error

    async def _read(self, git: _Git, source: GitSource, url: str, limit: int) -> bytes:
        if not (git.copy / "HEAD").exists():
            git.copy.mkdir(parents=True, exist_ok=True)
            await git.run("init", "--quiet", "--bare")
        commit = await _fetched(git, _wanted(source), url)
        path = _path(source.file_path)
        entry = await git.run("ls-tree", "-z", "--full-tree", commit, "--", path)
        if not entry:
            raise Rejected(f"{git.what} has no file {path!r} at {_wanted(source)!r}")
        mode, kind, rest = entry.split(b"\0")[0].split(b" ", 2)
        if kind != b"blob" or mode == b"120000":
            is_what = {b"tree": "a directory", b"commit": "a submodule"}.get(
                kind, "a symbolic link, which is not followed"
            )
            raise Rejected(f"{git.what}: {path!r} is {is_what}")
        blob = rest.split(b"\t")[0].decode()
        if int(await git.run("cat-file", "-s", blob)) > limit:
            raise Rejected(f"{git.what}: {path!r} is larger than {limit // 2**20} MiB; no object is")
        return await git.run("cat-file", "blob", blob)

    async def _environment(self, source: GitSource, url: str, private: Path) -> dict[str, str]:
        found = {key: value for key, value in os.environ.items() if key in _KEPT or key.lower().endswith("_proxy")}
        settings = {"credential.helper": "", "http.followRedirects": "initial", "gc.auto": "0", "safe.directory": "*"}
        user, password = "", ""
        if source.creds is not None:
            user = self._ctx.secret(source.creds.username) if source.creds.username else ""
            password = self._ctx.secret(source.creds.password) if source.creds.password else ""
        elif source.github_app is not None:
            user, password = _APP_USER, await self._app.token(source.github_app, url)
        found |= {
            # The user's and the machine's own settings could run programs, or send secrets elsewhere.
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": ":".join(_SCHEMES),
            "GIT_SSH_COMMAND": shlex.join(self._ssh(source, private)),
            "LC_ALL": "C",
        }
        if user or password:
            found |= {"ARGOSY_GIT_USER": user, "ARGOSY_GIT_PASSWORD": password}
            settings["credential.helper"] = _HELPER
        for at, (key, value) in enumerate(settings.items()):
            found |= {f"GIT_CONFIG_KEY_{at}": key, f"GIT_CONFIG_VALUE_{at}": value}
        found["GIT_CONFIG_COUNT"] = str(len(settings))
        return found

    def _ssh(self, source: GitSource, private: Path) -> list[str]:
        options = ["BatchMode=yes", "ConnectTimeout=20"]
        if source.ssh_key_secret is not None and source.creds is None and source.github_app is None:
            key = private / "key"
            key.touch(0o600)
            key.write_text(self._ctx.secret(source.ssh_key_secret).rstrip("\n") + "\n")
            options += [f"IdentityFile={key}", "IdentitiesOnly=yes"]
        if source.insecure_ignore_host_key:
            options += ["StrictHostKeyChecking=no", f"UserKnownHostsFile={os.devnull}"]
        else:
            options.append("StrictHostKeyChecking=yes")
            if source.host_keys:
                known = private / "known_hosts"
                known.write_text("".join(f"* {_key(line)}\n" for line in source.host_keys))
                options += [f"UserKnownHostsFile={known}", f"GlobalKnownHostsFile={os.devnull}"]
            elif files := os.environ.get("SSH_KNOWN_HOSTS"):  # upstream's variable
                options.append(f"UserKnownHostsFile={' '.join(files.split(':'))}")
        return ["ssh", *(word for option in options for word in ("-o", option))]


class _Git:
    """The program, on one copy. ``secrets`` are cut out of what it says."""

    def __init__(self, program: str, copy: Path, environment: dict[str, str], what: str, secrets: list[str]) -> None:
        self.copy = copy
        self.what = what
        self._program = program
        self._environment = environment
        self._secrets = secrets

    async def run(self, *arguments: str) -> bytes:
        """What it writes. Raises Rejected or TriggerError with its own last words if it fails."""
        process = await asyncio.create_subprocess_exec(
            self._program,
            f"--git-dir={self.copy}",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            start_new_session=True,  # so that ssh and its like end with it
        )
        try:
            out, said = await process.communicate()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode:
            raise self._failure(said.decode(errors="replace"))
        return out

    def _failure(self, said: str) -> TriggerError:
        for secret in self._secrets:
            said = said.replace(secret, "…")
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        # ssh's reason stands before git's.
        telling = [line for line in lines if any(word in line for word in _FINAL)]
        fatal = [line for line in lines if line.startswith("fatal:")]
        line = (telling or fatal or lines or ["git failed and said nothing"])[0].removeprefix("fatal: ")
        if "Host key verification failed" in line:
            line += "; give the server's key in source.git.hostKeys"
        return (Rejected if telling else TriggerError)(f"{self.what}: {line}")


async def _fetched(git: _Git, wanted: str, url: str) -> str:
    """The id of the wanted commit, which is in the copy then."""
    if _COMMIT.fullmatch(wanted):
        with contextlib.suppress(TriggerError):
            await git.run("cat-file", "-e", f"{wanted}^{{commit}}")
            return wanted
    fetch = ("fetch", "--quiet", "--no-tags", "--force", "--no-write-fetch-head", "--depth=1")
    name = "refs/argosy/" + hashlib.sha256(wanted.encode()).hexdigest()[:16]
    try:
        await git.run(*fetch, "--", url, f"+{wanted}:{name}")
    except TriggerError as error:
        if "shallow" not in str(error):  # servers that only hand out files cannot cut the past off
            raise
        await git.run(*fetch[:-1], "--", url, f"+{wanted}:{name}")
    return (await git.run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")).decode().strip()


def _wanted(source: GitSource) -> str:
    """Upstream's order: ref, tag, branch; without any, the branch master."""
    if source.ref:
        found = (
            source.ref
            if source.ref.startswith("refs/") or _COMMIT.fullmatch(source.ref)
            else f"refs/heads/{source.ref}"
        )
    elif source.tag:
        found = f"refs/tags/{source.tag}"
    else:
        found = f"refs/heads/{source.branch or 'master'}"
    if re.search(r"[\s:*?\[\\~^]|\.\.|^-|@\{", found):
        raise Rejected(f"source.git: {found!r} cannot be the name of a branch, a tag or a ref")
    return found


def _address(source: GitSource) -> str:
    url = source.remote.urls[0] if source.remote is not None and source.remote.urls else source.url
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    if scheme not in _SCHEMES and not (not scheme and _SSH_URL.fullmatch(url)):
        raise Rejected(
            f"source.git: {_shown(url)!r} is no https, http, ssh or git URL of a repository, nor user@host:path"
        )
    if scheme in ("https", "http"):
        import httpx2

        try:
            host = httpx2.URL(url).host
        except httpx2.InvalidURL as error:
            raise Rejected("source.git: the URL cannot be read") from error
        if _http.is_link_local(host):
            raise Rejected(f"source.git: {host!r} is a link-local or metadata address, where no trigger may go")
    return url


def _shown(url: str) -> str:
    return _http.place(url) if "://" in url else url


def _secrets(url: str, environment: dict[str, str]) -> list[str]:
    login = re.match(r"\w+://([^/@]*)@", url)
    password = environment.get("ARGOSY_GIT_PASSWORD", "")
    user = environment.get("ARGOSY_GIT_USER", "")
    both = base64.b64encode(f"{user}:{password}".encode()).decode() if password else ""
    return [word for word in (login[1] if login else "", password, both) if word]


def _path(path: str) -> str:
    """The path in the repository. Raises Rejected for one that would lead out of it, which upstream refuses, too."""
    parts = path.removeprefix("./").split("/")
    if not path or path.startswith("/") or "\\" in path or "~" in path or ".." in parts or "\0" in path:
        raise Rejected(
            f"source.git.filePath {path!r} is no path in a repository; write it without '..', '~', '\\' or '/' first"
        )
    return "/".join(part for part in parts if part not in ("", "."))


def _key(line: str) -> str:
    """A host's key as ``known_hosts`` has it, of a line of a ``.pub`` file or of ``ssh-keyscan``."""
    words = line.split()
    start = next((at for at, word in enumerate(words) if word.startswith(("ssh-", "ecdsa-", "sk-"))), None)
    if start is None or len(words) < start + 2:
        raise Rejected(f"source.git.hostKeys: {line!r} is no public key; write for example: ssh-ed25519 AAAA…")
    return " ".join(words[start : start + 2])
