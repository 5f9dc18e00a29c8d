"""How the event log is shaped (``streamConfig``) and how its server is reached.

``StreamSettings`` reads what an EventBus manifest says, with the keys and defaults of upstream's controller
(reference: eventbus.md §2, ``pkg/apis/events/v1alpha1/jetstream_eventbus.go``), and writes it as the server
wants it. ``Connection`` carries what a client needs to be let in; it prints without its secrets.
"""

from __future__ import annotations

import difflib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, urlsplit

import yaml

from argosy.errors import BusError, LangError
from argosy.lang import durations

STREAM = "default"
"""The event log's stream, upstream's name."""
SUBJECTS = "default.*.*"
"""``default.<eventsource>.<event>``."""

STREAM_KEYS = ("retention", "discard", "maxMsgs", "maxAge", "maxBytes", "replicas", "duplicates")
"""What ``streamConfig`` may say."""
_KEYS = {key.lower(): key for key in STREAM_KEYS}


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How a server lets us in. At most one of user and password, ``token``, ``credentials``, ``nkey`` is used, in
    this order.

    ``credentials`` is the text of a ``.creds`` file, or the path of one; ``nkey`` is the seed of a user (``SU…``).
    ``tls`` is used when the server asks for TLS; without it the machine's certificate authorities decide.
    """

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    credentials: str | Path = field(default="", repr=False)
    nkey: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    tls_hostname: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """The limits of the event log. Numbers below 1 (and an age of 0) mean no limit.

    The defaults are those of upstream's controller; they count for the whole bus, all event sources together.
    ``replicas`` is lowered to 1 on a server that is not part of a cluster; None takes 3 in a cluster.
    """

    retention: Literal["limits", "interest", "workqueue"] = "limits"
    discard: Literal["old", "new"] = "old"
    max_messages: int = 50_000
    max_age_seconds: float = 168 * 3600.0
    max_bytes: int = -1
    replicas: int | None = None
    duplicates_seconds: float = 300.0

    @classmethod
    def parse(cls, config: str | Mapping[str, Any] | None) -> Self:
        """Read a manifest's ``streamConfig``: YAML text or what it holds. Keys in any case; what is missing
        has its default, and what is unknown has no effect, as upstream has it; ``argosy lint`` warns of it.

        Raises BusError, naming the key, where a value is not what it should be.
        """
        if isinstance(config, str):
            try:
                config = yaml.safe_load(config)
            except yaml.YAMLError as error:
                raise BusError(f"streamConfig is not YAML: {error}") from error
        if config is None:
            return cls()
        if not isinstance(config, Mapping):
            raise BusError("streamConfig is not a mapping; write for example maxMsgs: 50000")
        values: dict[str, Any] = {}
        for name, value in config.items():
            if known := _KEYS.get(str(name).lower()):
                values[known] = value
        read: dict[str, Any] = {}
        if values.get("retention") is not None:
            read["retention"] = ("limits", "interest", "workqueue")[_whole("retention", values["retention"], 0, 2)]
        if values.get("discard") is not None:
            read["discard"] = ("old", "new")[_whole("discard", values["discard"], 0, 1)]
        if values.get("maxMsgs") is not None:
            read["max_messages"] = _whole("maxMsgs", values["maxMsgs"], -1)
        if values.get("maxBytes") is not None:
            read["max_bytes"] = _whole("maxBytes", values["maxBytes"], -1)
        if values.get("replicas") is not None:
            read["replicas"] = _whole("replicas", values["replicas"], 0, 5) or None
        if values.get("maxAge") is not None:
            read["max_age_seconds"] = _seconds("maxAge", values["maxAge"])
        if values.get("duplicates") is not None:
            read["duplicates_seconds"] = _seconds("duplicates", values["duplicates"])
        settings = cls(**read)
        if settings.max_age_seconds and settings.duplicates_seconds > settings.max_age_seconds:
            if "duplicates" not in values:  # the default of a key that nobody wrote must not fail the ones they did
                return cls(**read, duplicates_seconds=settings.max_age_seconds)
            raise BusError("streamConfig: 'duplicates' is longer than 'maxAge'; make it at most as long")
        return settings

    def config(self, clustered: bool) -> dict[str, Any]:
        """The stream's configuration in the server's words."""
        config = {
            "name": STREAM,
            "subjects": [SUBJECTS],
            "retention": self.retention,
            "storage": "file",
            "discard": self.discard,
            "max_msgs": self.max_messages if self.max_messages > 0 else -1,
            "max_bytes": self.max_bytes if self.max_bytes > 0 else -1,
            "max_age": round(self.max_age_seconds * 1e9),
            "num_replicas": self.replicas_on(clustered),
        }
        if self.duplicates_seconds:
            config["duplicate_window"] = round(self.duplicates_seconds * 1e9)
        return config

    def replicas_on(self, clustered: bool) -> int:
        """How many servers keep each stream of ours."""
        return (self.replicas or 3) if clustered else 1


def server_urls(url: str) -> list[str]:
    """The servers that ``url`` (comma separated) names. Raises BusError, without printing secrets, if one is
    no address.
    """
    urls = [part.strip() for part in url.split(",") if part.strip()]
    for each in urls:
        try:
            parts = urlsplit(each if "://" in each else f"nats://{each}")
            fine = parts.scheme in ("nats", "tls", "ws", "wss") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            fine = False
        if not fine:
            raise BusError(
                f"{shown_url(each)!r} is not the address of a NATS server; write for example nats://host:4222"
            )
    if not urls:
        raise BusError("the NATS bus has no address; write for example nats://host:4222")
    return urls


_OPTIONS = ("creds", "nkey", "ca", "cert", "key")
"""What may stand in the query of an address, each the path of a file."""


def split_options(url: str) -> tuple[str, Connection]:
    """The address without its query, and what the query says of being let in.

    ``nats://host:4222?creds=/etc/nats/user.creds&ca=/etc/nats/ca.pem``: ``creds`` a credentials file, ``nkey`` a file with
    a user's seed, ``ca`` the authorities to trust, ``cert`` and ``key`` what a client shows of itself. Raises BusError,
    naming the option and the file.
    """
    address, _, query = url.partition("?")
    given = dict(parse_qsl(query, keep_blank_values=True))
    for name in given:
        if name not in _OPTIONS:
            near = difflib.get_close_matches(name, _OPTIONS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_OPTIONS)}"
            raise BusError(f"the address of the bus has the unknown option {name!r}; {hint}")
    for name, file in given.items():
        if not Path(file).is_file():
            raise BusError(f"the address of the bus names {file!r} as its {name!r}; there is no such file")
    nkey = Path(given["nkey"]).read_text().strip() if "nkey" in given else ""
    credentials = Path(given["creds"]) if "creds" in given else ""
    return address, Connection(credentials=credentials, nkey=nkey, tls=_context(given))


def _context(given: Mapping[str, str]) -> ssl.SSLContext | None:
    if not {"ca", "cert", "key"} & given.keys():
        return None
    if ("cert" in given) != ("key" in given):
        raise BusError("the address of the bus names only one of 'cert' and 'key'; a client shows both")
    try:
        context = ssl.create_default_context(cafile=given.get("ca"))
    except (ssl.SSLError, OSError) as error:
        raise BusError(f"the address of the bus: {given['ca']!r} ('ca') holds no PEM certificate") from error
    if "cert" in given:
        try:
            # A password is given so that an encrypted key fails instead of asking on the terminal.
            context.load_cert_chain(given["cert"], given["key"], password="no password")
        except (ssl.SSLError, OSError) as error:
            raise BusError(
                f"the address of the bus: {given['cert']!r} and {given['key']!r} are no pair of PEM certificate and "
                "unencrypted key"
            ) from error
    return context


def shown_url(url: str) -> str:
    """``url`` as it may be printed: without user, password and options, also where it is no URL at all."""
    url = url.partition("?")[0]
    return ",".join(
        (part.partition("://")[0] + "://" if "://" in part else "") + part.rpartition("://")[2].rpartition("@")[2]
        for part in url.split(",")
    )


def _whole(key: str, value: Any, least: int, most: int | None = None) -> int:
    try:
        number = int(value) if not isinstance(value, bool | float) or value == int(value) else None
    except (TypeError, ValueError):
        number = None
    if isinstance(value, bool) or number is None or number < least or (most is not None and number > most):
        allowed = f"from {least} to {most}" if most is not None else f"from {least} on"
        raise BusError(f"streamConfig: {key!r} is {value!r}; write a whole number {allowed}")
    return number


def _seconds(key: str, value: Any) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise LangError("not a duration")
        # A bare number is nanoseconds, as upstream's reader (viper) takes it.
        seconds = int(value) / 1e9 if str(value).lstrip("-").isdigit() else durations.parse(str(value))
    except LangError as error:
        raise BusError(f"streamConfig: {key!r} is {value!r}; write a duration such as 168h or 300s") from error
    if seconds < 0:
        raise BusError(f"streamConfig: {key!r} is {value!r}; a duration cannot be negative (0 means no limit)")
    return seconds
