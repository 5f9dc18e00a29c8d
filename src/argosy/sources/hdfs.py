"""``hdfs``: files and directories below a directory of HDFS that appear, change, move or go.

The NameNode is asked for everything below the directory every ``checkInterval``. The paths that match are remembered on
the bus with the file's id, size, time of change and mode, so what happened while nobody looked is found by the next look, and
a file that is as it was makes no event again. An event is remembered as begun before it is emitted, and its file after: a
crash between gives the same event with the same id. What is there at the very first look is taken as it is.

What cannot be seen: a file that came and went between two looks, and several changes as one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from argosy.addresses import Address, host_and_port
from argosy.errors import LangError, SourceError
from argosy.lang import regex
from argosy.manifests.fields import OWN_NAMESPACE, ConfigMapKeySelector, Duration, SecretKeySelector
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._file_memory import FileMemory, Mark
from argosy.sources._finishing import to_the_end
from argosy.sources._hdfs_rpc import PORT, NameNode, Refusal, connected

_CREATE, _WRITE, _REMOVE, _RENAME, _CHMOD = 1, 2, 4, 8, 16
_OPERATIONS = {"CREATE": _CREATE, "WRITE": _WRITE, "REMOVE": _REMOVE, "RENAME": _RENAME, "CHMOD": _CHMOD}
_MOST_FILES = 500_000
"""So many matching paths are held in memory at most (about 400 bytes each)."""
_KERBEROS = "krbCCacheSecret krbKeytabSecret krbUsername krbRealm krbConfigConfigMap krbServicePrincipalName"


class HdfsConfig(SourceConfig):
    """Which changes below which directory, and where the NameNodes are."""

    dropped: ClassVar[Mapping[str, str]] = {"namespace": f"1.0; {OWN_NAMESPACE}"}

    directory: str
    """Absolute. Everything below it is watched, directories too."""
    path: str = ""
    """The one path below the directory that counts, such as ``x.txt`` or ``in/x.txt``."""
    path_regexp: str = ""
    """Which paths below the directory count: an RE2 expression that finds something in them."""
    type: str
    """Which changes count, joined by ``|``: CREATE, WRITE, REMOVE, RENAME, CHMOD."""
    check_interval: Duration = Field(60.0, gt=0)
    """The pause between two looks; empty means 1 m."""
    addresses: list[str] = Field(min_length=1)
    """The RPC addresses of the NameNodes, ``host:8020``; the first that is active is asked."""
    hdfs_user: str = ""
    """Who we say we are; a cluster without Kerberos believes it."""
    krb_c_cache_secret: SecretKeySelector | None = None
    """Kerberos is not built; this field and the other five are refused."""
    krb_keytab_secret: SecretKeySelector | None = None
    """The keytab."""
    krb_username: str = ""
    """The principal's name."""
    krb_realm: str = ""
    """The principal's realm."""
    krb_config_config_map: ConfigMapKeySelector | None = None
    """The ``krb5.conf``."""
    krb_service_principal_name: str = ""
    """The name node's principal."""

    @field_validator("type")
    @classmethod
    def _known(cls, words: str) -> str:
        for word in words.split("|"):
            if word not in _OPERATIONS:
                raise ValueError(f"{word!r} is not one of {', '.join(_OPERATIONS)}")
        return words

    @field_validator("check_interval", mode="before")
    @classmethod
    def _default(cls, value: object) -> object:
        return "1m" if value == "" else value

    @field_validator("addresses")
    @classmethod
    def _readable(cls, addresses: list[str]) -> list[str]:
        for address in addresses:
            host_and_port(address, PORT)
        return addresses

    @model_validator(mode="after")
    def _complete(self) -> HdfsConfig:
        if not self.directory.startswith("/"):
            raise ValueError(f"directory {self.directory!r} must be an absolute path")
        if bool(self.path) == bool(self.path_regexp):
            raise ValueError("needs either path or pathRegexp")
        if self.path_regexp:
            try:
                regex.compile(self.path_regexp)
            except LangError as error:
                raise ValueError(f"pathRegexp {error}") from error
        given = (self.krb_c_cache_secret, self.krb_keytab_secret, self.krb_config_config_map)
        if any(given) or self.krb_username or self.krb_realm or self.krb_service_principal_name:
            raise ValueError(f"Kerberos is not built; leave out {_KERBEROS.replace(' ', ', ')} and write 'hdfsUser'")
        if not self.hdfs_user:
            raise ValueError("needs hdfsUser")
        return self

    @property
    def wanted(self) -> int:
        """The bits of the changes that count."""
        bits = 0
        for word in self.type.split("|"):
            bits |= _OPERATIONS[word]
        return bits


class Hdfs(Source[HdfsConfig]):
    """Watches a directory. What its upstream, the directory, is told is which files the source remembers.

    ``op`` in the data has fsnotify's bits: 1 CREATE, 2 WRITE, 4 REMOVE, 8 RENAME, 16 CHMOD; several changes of one file between
    two looks are one event with several of them. What was moved is a CREATE and a RENAME under its new path, if it was watched
    under the old one, and a REMOVE under that. ``name`` is the full path.
    """

    kind: ClassVar[str] = "hdfs"
    config = HdfsConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = True
    peer: ClassVar[str] = "real: Hadoop's mini cluster"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: hdfs
spec:
  hdfs:
    new-report:
      addresses:
        - namenode-0.hadoop:8020
        - namenode-1.hadoop:8020
      hdfsUser: argosy
      directory: /reports/
      pathRegexp: '\\.csv$'
      type: CREATE|WRITE
      checkInterval: 30s
"""

    async def run(self, ctx: SourceContext[HdfsConfig]) -> None:
        standby: list[str] = []
        failure: SourceError | None = None
        for text in ctx.config.addresses:
            where = Address("hdfs", *host_and_port(text, PORT))
            try:
                async with connected(where, ctx.config.hdfs_user) as node:
                    await _Watch(ctx, node).run()
            except Refusal as error:
                if error.java != "StandbyException":
                    raise
                standby.append(str(where))
            except SourceError as error:
                failure = error
        raise failure or SourceError(f"no NameNode is active: {', '.join(standby)} stand by")


def _matcher(config: HdfsConfig) -> Callable[[str], bool]:
    if config.path:
        wanted = config.path.lstrip("/")
        return lambda path: path == wanted
    found = regex.compile(config.path_regexp).search
    return lambda path: bool(found(path))


class _Watch:
    """One directory, what is known of its files, and how a difference becomes an event."""

    def __init__(self, ctx: SourceContext[HdfsConfig], node: NameNode) -> None:
        config = ctx.config
        self._ctx = ctx
        self._node = node
        self._root = config.directory.rstrip("/") or "/"
        self._matches = _matcher(config)
        about = json.dumps([config.addresses, self._root, config.path, config.path_regexp])
        self._memory = FileMemory(ctx.bucket, about)

    async def run(self) -> None:
        """Look, and look again, until cancelled."""
        found = await self._list()
        if not await self._memory.load():
            await self._memory.begin(found)
        self._ctx.listening(f"directory {self._root!r} of {self._node.where}")
        while True:
            await self._compare(found)
            await self._ctx.clock.sleep(self._ctx.config.check_interval)
            found = await self._list()

    async def _list(self) -> dict[bytes, Mark]:
        """What matches: its id, size, time of change and mode."""
        marks: dict[bytes, Mark] = {}
        below = len(self._root.rstrip("/")) + 1
        waiting = [self._root]
        while waiting:
            directory = waiting.pop()
            try:
                async for status in self._node.listing(directory):
                    if status.directory:
                        waiting.append(status.path)
                    if self._matches(status.path[below:]):
                        marks[status.path.encode()] = (status.id, status.length, status.modified, status.mode)
            except FileNotFoundError as error:
                if directory == self._root:
                    raise SourceError(f"{self._node.where} has no directory {self._root!r}") from error
                # It went while we were listing what is around it.
            if len(marks) > _MOST_FILES:
                raise SourceError(
                    f"directory {self._root!r} of {self._node.where} has more than {_MOST_FILES} paths that match;"
                    " narrow pathRegexp, or move old files away"
                )
        return marks

    async def _compare(self, found: dict[bytes, Mark]) -> None:
        """Tell the differences between what is known and what was found, the oldest change first."""
        known = dict(self._memory.marks)
        ids = {mark[0] for mark in known.values()}
        for path in sorted(known.keys() - found.keys()):
            await to_the_end(self._tell(path, _REMOVE, None))
        for path in sorted(found, key=lambda path: (found[path][2], path)):
            if operation := _change(known.get(path), found[path], ids):
                await to_the_end(self._tell(path, operation, found[path]))

    async def _tell(self, path: bytes, operation: int, mark: Mark | None) -> None:
        """Emit if it is a wanted change, and remember the file."""
        wanted = bool(operation & self._ctx.config.wanted)
        if wanted:
            identity = await self._memory.begin_event(path, operation, mark)
            metadata = dict(self._ctx.config.metadata) or None
            await self._ctx.emit({"name": path.decode(), "op": operation, "metadata": metadata}, id=identity)
        await self._memory.remember(path, mark, told=wanted)


def _change(before: Mark | None, now: Mark, ids: set[int]) -> int:
    """What happened at a path. A file that was written anew has another id, and counts as the same, written."""
    if before is None:
        return _CREATE | (_RENAME if now[0] in ids else 0)
    operation = _WRITE if before[:3] != now[:3] else 0
    return operation | (_CHMOD if before[3] != now[3] else 0)
