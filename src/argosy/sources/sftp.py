"""``sftp``: files of one directory on an SFTP server that appear, change or are removed.

The directory is listed every ``pollIntervalDuration``. The names that match are remembered on the bus with size
and time of change, so what happened while nobody looked, or while the server was away, is found by the next look,
and a file that is as it was makes no event again. An event is remembered as begun before it is emitted, and its
file after: a crash between gives the same event with the same id. Files that are there at the very first look are
taken as they are.

A file that is being written is seen as often as it has grown between two looks. ``settle`` waits until it has
stopped.

What cannot be seen: a file that came and went between two looks, several changes as one, and a change that leaves
size and time (whole seconds in most servers) as they were.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from argosy.addresses import Address, host_and_port
from argosy.errors import ConfigError, SourceError
from argosy.lang import regex
from argosy.manifests.fields import OURS, Duration, SecretKeySelector
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._file_memory import FileMemory, Mark
from argosy.sources._finishing import to_the_end
from argosy.sources._ssh import connected, public_keys
from argosy.sources.file import WatchPathConfig

if TYPE_CHECKING:
    import asyncssh

_OPERATIONS = {"CREATE": 1, "REMOVE": 4}
_POLL_SECONDS = 10.0
_PORT = 22
_MOST_FILES = 500_000
"""So many matching names are held in memory at most (about 300 bytes each)."""
_THERE: Mark = (1,)
"""The mark of a file of which only counts that it is there."""


class SftpConfig(SourceConfig):
    """Which change of which files, on which server."""

    event_type: Literal["CREATE", "REMOVE"]
    """``CREATE``: a file is new, or its size or time has changed. ``REMOVE``: it is gone."""
    watch_path_config: WatchPathConfig
    """Which files of which directory."""
    address: SecretKeySelector
    """The secret that holds ``host:port``, or a host with port 22."""
    username: SecretKeySelector
    """The secret that holds the user's name."""
    password: SecretKeySelector | None = None
    """The secret that holds the user's password."""
    ssh_key_secret: SecretKeySelector | None = None
    """The secret that holds a private key (PEM) to log in with. A line ``ssh-ed25519 AAAA…`` beside it in the same
    secret is the key that the server must have, as in Argo Events."""
    host_keys: list[str] = Field(default_factory=list, json_schema_extra=OURS)
    """The keys that the server may have, as in a ``.pub`` file or as ``ssh-keyscan`` prints them. Without any, and
    without one in ``sshKeySecret``, the key that is shown at the first connection is remembered and wanted from then
    on."""
    poll_interval_duration: Duration = Field(_POLL_SECONDS, gt=0)
    """The pause between two looks; empty means 10 s."""
    settle: Duration = Field(0.0, ge=0, json_schema_extra=OURS)
    """A file that is new or has changed is told only once it has stayed the same for so long. 0 tells it at sight."""

    @field_validator("event_type", mode="before")
    @classmethod
    def _known(cls, name: object) -> object:
        if not isinstance(name, str) or name not in _OPERATIONS:
            raise ValueError(f"{name!r} is not one of {', '.join(_OPERATIONS)}")
        return name

    @field_validator("poll_interval_duration", mode="before")
    @classmethod
    def _default(cls, value: object) -> object:
        return "10s" if value == "" else value

    @field_validator("host_keys")
    @classmethod
    def _keys(cls, lines: list[str]) -> list[str]:
        for line in lines:
            if len(public_keys(line)) != 1:
                raise ValueError(f"{line!r} is no public key; write for example: ssh-ed25519 AAAA…")
        return lines

    @model_validator(mode="after")
    def _complete(self) -> SftpConfig:
        if self.password is None and self.ssh_key_secret is None:
            raise ValueError("needs either password or sshKeySecret")
        return self

    @property
    def unverified(self) -> str:
        if self.host_keys or self.ssh_key_secret is not None:
            return ""
        return "'hostKeys' is missing, so whoever answers the first connection is trusted and gets the password"


class Sftp(Source[SftpConfig]):
    """Watches a directory. What its upstream, the directory, is told is which files the source remembers.

    ``op`` in the data is fsnotify's bit: 1 CREATE, 4 REMOVE. ``name`` is the file's name without its directory.
    """

    kind: ClassVar[str] = "sftp"
    config = SftpConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = ("asyncssh",)
    extra: ClassVar[str] = "sftp"
    peer: ClassVar[str] = "real: OpenSSH"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: sftp
spec:
  sftp:
    new-report:
      address:
        name: reports-sftp
        key: address
      username:
        name: reports-sftp
        key: username
      sshKeySecret:
        name: reports-sftp
        key: private-key
      hostKeys:
        - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0iPTYm2gC0JlYf4hzcPNCVo9eGDhzJDZ6vQHXbYNlF
      eventType: CREATE
      watchPathConfig:
        directory: /outgoing/
        pathRegexp: '\\.csv$'
      pollIntervalDuration: 10s
      settle: 30s
"""

    async def run(self, ctx: SourceContext[SftpConfig]) -> None:
        config = ctx.config
        address = _address(ctx)
        login = ctx.secret(config.ssh_key_secret) if config.ssh_key_secret is not None else None
        password = ctx.secret(config.password) if config.password is not None else None
        host_keys = [key for text in (*config.host_keys, login or "") for key in public_keys(text)]
        connecting = connected(
            ctx,
            address,
            ctx.secret(config.username),
            password=password,
            private_key=login,
            host_keys=host_keys,
        )
        async with connecting as connection:
            import asyncssh

            try:
                async with connection.start_sftp_client() as files:
                    await _Watch(ctx, files, address).run()
            except asyncssh.SFTPNoSuchFile as error:
                raise SourceError(f"{address} has no directory {config.watch_path_config.directory!r}") from error
            except asyncssh.SFTPPermissionDenied as error:
                raise SourceError(
                    f"the user may not read directory {config.watch_path_config.directory!r} of {address}"
                ) from error
            except asyncssh.SFTPError as error:
                raise SourceError(
                    f"directory {config.watch_path_config.directory!r} of {address} cannot be listed: {error.reason}"
                ) from error


def _address(ctx: SourceContext[SftpConfig]) -> Address:
    selector = ctx.config.address
    try:
        return Address("sftp", *host_and_port(ctx.secret(selector).strip(), _PORT))
    except ValueError as error:
        raise ConfigError(f"key {selector.key!r} of secret {selector.name!r} {error}") from error


def _matcher(paths: WatchPathConfig) -> Callable[[bytes], bool]:
    if paths.path:
        wanted = paths.path.encode()
        return lambda name: name == wanted
    found = regex.compile(paths.path_regexp).search
    return lambda name: bool(found(name.decode(errors="replace")))


class _Watch:
    """One directory, what is known of its files, and how a difference becomes an event."""

    def __init__(self, ctx: SourceContext[SftpConfig], files: asyncssh.SFTPClient, address: Address) -> None:
        self._ctx = ctx
        self._files = files
        self._address = address
        paths = ctx.config.watch_path_config
        self._directory = paths.directory
        self._matches = _matcher(paths)
        self._wanted = ctx.config.event_type
        about = json.dumps([str(address), paths.directory, paths.path, paths.path_regexp, self._wanted])
        self._memory = FileMemory(ctx.bucket, about)
        self._changing: dict[bytes, tuple[Mark, float]] = {}
        """Files that are not as they are known, as they were seen last and since when."""

    async def run(self) -> None:
        """Look, and look again, until cancelled."""
        if not await self._memory.load():
            await self._memory.begin(await self._list())
        self._ctx.listening(f"directory {self._directory!r} of {self._address}")
        while True:
            await self._look()
            await self._ctx.clock.sleep(self._ctx.config.poll_interval_duration)

    async def _list(self) -> dict[bytes, Mark]:
        """The marks of the files that match. The server sends their names in pages."""
        import asyncssh

        marks: dict[bytes, Mark] = {}
        async for entry in self._files.scandir(self._directory.encode()):
            name, about = entry.filename, entry.attrs
            assert isinstance(name, bytes)  # as the path is
            if about.type == asyncssh.FILEXFER_TYPE_DIRECTORY or not self._matches(name):
                continue
            changes = self._wanted == "CREATE"
            marks[name] = (about.size or 0, int(about.mtime or 0)) if changes else _THERE
            if len(marks) > _MOST_FILES:
                raise SourceError(
                    f"directory {self._directory!r} of {self._address} has more than {_MOST_FILES} files that match;"
                    " narrow pathRegexp, or move old files away"
                )
        return marks

    async def _look(self) -> None:
        """Compare the directory with what is known, and tell the wanted differences."""
        found = await self._list()
        for name in sorted(self._memory.marks.keys() - found.keys()):
            await to_the_end(self._tell(name, None))
        for name in self._settled(found):
            await to_the_end(self._tell(name, found[name]))

    def _settled(self, found: dict[bytes, Mark]) -> list[bytes]:
        """Files that are not as they are known and have stopped changing, the oldest first."""
        now, changing = self._ctx.clock.monotonic(), {}
        for name, mark in found.items():
            if self._memory.marks.get(name) != mark:
                seen = self._changing.get(name)
                changing[name] = seen if seen is not None and seen[0] == mark else (mark, now)
        self._changing = changing
        settle = self._ctx.config.settle
        ready = [name for name, (_, since) in changing.items() if now - since >= settle]
        return sorted(ready, key=lambda name: (found[name][-1], name))

    async def _tell(self, name: bytes, mark: Mark | None) -> None:
        """Emit if it is the wanted change, and remember the file."""
        happened = "REMOVE" if mark is None else "CREATE"
        if happened == self._wanted:
            operation = _OPERATIONS[happened]
            identity = await self._memory.begin_event(name, operation, mark)
            text = name.decode(errors="replace")
            metadata = dict(self._ctx.config.metadata) or None
            await self._ctx.emit({"name": text, "op": operation, "metadata": metadata}, id=identity)
        await self._memory.remember(name, mark, told=happened == self._wanted)
