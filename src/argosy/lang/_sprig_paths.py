"""sprig's paths (always with slashes) and URLs, cut up and put together as Go's net/url does."""

from __future__ import annotations

import ipaddress
import re
import string
from typing import Any

from argosy.errors import LangError
from argosy.lang import _gotemplate_print as goprint
from argosy.lang._gotemplate_functions import Registry, raw, registrar, text_of

FUNCTIONS: Registry = {}
sprig = registrar(FUNCTIONS)

_UNRESERVED = frozenset((string.ascii_letters + string.digits + "-_.~").encode())
_IN_PATH = _UNRESERVED | frozenset(b"$&+,/:;=@")
_IN_FRAGMENT = _IN_PATH | frozenset(b"?!()*")
_IN_USER = _UNRESERVED | frozenset(b"$&+,;=")
_IN_HOST = _UNRESERVED | frozenset(b"!$&'()*+,;=:[]<>\"")
_USERINFO = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_PORT = re.compile(r"(?::[0-9]*)?")
_ESCAPE = re.compile(rb"%([0-9a-fA-F]{2})")


@sprig("base", "osBase", takes="s")
def _base(path: str) -> str:
    if not path:
        return "."
    return path.rstrip("/").rpartition("/")[2] or "/"


@sprig("clean", "osClean", takes="s")
def clean(path: str) -> str:
    """``path.Clean``: the shortest path of the same meaning."""
    rooted = path.startswith("/")
    parts: list[str] = []
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part != ".." or not rooted:
            parts.append(part)
    return ("/" if rooted else "") + "/".join(parts) or "."


@sprig("dir", "osDir", takes="s")
def _dir(path: str) -> str:
    head, slash, _ = path.rpartition("/")
    return clean(head + slash)


@sprig("ext", "osExt", takes="s")
def _ext(path: str) -> str:
    name = path.rpartition("/")[2]
    _, dot, tail = name.rpartition(".")
    return dot + tail if dot else ""


@sprig("isAbs", "osIsAbs", takes="s")
def _is_abs(path: str) -> bool:
    return path.startswith("/")


@sprig("urlParse", takes="s")
def _url_parse(text: str) -> dict[str, Any]:
    members = dict.fromkeys(("scheme", "host", "hostname", "path", "query", "opaque", "fragment", "userinfo"), "")
    if any(char < " " or char == "\x7f" for char in text):
        raise _wrong(text, "it has a control character")
    rest, _, fragment = text.partition("#")
    members["fragment"] = _unescaped(fragment, text)
    if rest == "*":
        return {**members, "path": "*"}
    scheme, rest = _scheme(rest, text)
    members["scheme"] = scheme.lower()
    rest, _, members["query"] = rest.partition("?")
    if not rest.startswith("/"):
        if scheme:
            return {**members, "opaque": rest}
        if ":" in rest.partition("/")[0]:
            raise _wrong(text, "its first part has a colon")
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, rest = rest[2:].partition("/")
        rest = slash + rest
        user, at, host = authority.rpartition("@")
        members["host"] = _host(host, text)
        members["hostname"] = _hostname(members["host"])
        if at:
            members["userinfo"] = _userinfo(user, text)
    members["path"] = _unescaped(rest, text)
    return members


def _wrong(text: str, why: str) -> LangError:
    return LangError(f"{text!r} is not a URL: {why}")


def _scheme(rest: str, text: str) -> tuple[str, str]:
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)?:", rest)
    if not match:
        return "", rest
    if not match[1]:
        raise _wrong(text, "its scheme is missing")
    return match[1], rest[match.end() :]


def _unescaped(part: str, text: str) -> str:
    data = raw(part)
    if data.count(b"%") != len(_ESCAPE.findall(data)):
        raise _wrong(text, f"{part!r} has a percent sign without two hexadecimal digits")
    return text_of(_ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), data))


def _escaped(part: str, allowed: frozenset[int]) -> str:
    return "".join(chr(byte) if byte in allowed else f"%{byte:02X}" for byte in raw(part))


def _host(host: str, text: str) -> str:
    if "[" in host[1:]:
        raise _wrong(text, "its host is not an address")
    if host.startswith("["):
        address, bracket, port = host[1:].rpartition("]")
        if not bracket or not _PORT.fullmatch(port):
            raise _wrong(text, "its host is not an address with a port")
        address = _unescaped(address, text)
        try:
            ipaddress.IPv6Address(address)
        except ValueError:
            raise _wrong(text, f"{address!r} is not an IPv6 address") from None
        return f"[{address}]{port}"
    if ":" in host and not _PORT.fullmatch(host[host.index(":") :]):
        last = host[host.rindex(":") :]
        if text.lower().startswith(("http:", "https:")) or not _PORT.fullmatch(last):
            raise _wrong(text, "its port is not a number")
    for match in _ESCAPE.finditer(raw(host)):
        if int(match[1], 16) < 0x80 and match[1] != b"25":
            raise _wrong(text, "its host has an escape")
    if any(byte < 0x80 and byte not in _IN_HOST and byte != ord("%") for byte in raw(host)):
        raise _wrong(text, "its host has a character that hosts do not have")
    return _unescaped(host, text)


def _hostname(host: str) -> str:
    colon = host.rfind(":")
    if colon >= 0 and _PORT.fullmatch(host[colon:]):
        host = host[:colon]
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _userinfo(user: str, text: str) -> str:
    """The user part as Go writes it again: both halves unescaped and escaped."""
    if not _USERINFO.fullmatch(user):
        raise _wrong(text, "its user part has a character that it may not have")
    name, colon, password = user.partition(":")
    shown = _escaped(_unescaped(name, text), _IN_USER)
    return f"{shown}:{_escaped(_unescaped(password, text), _IN_USER)}" if colon else shown


@sprig("urlJoin", takes="D")
def _url_join(members: dict[str, Any] | None) -> str:
    part = {key: _text(members or {}, key) for key in ("scheme", "host", "path", "query", "opaque", "fragment")}
    userinfo = _text(members or {}, "userinfo")
    user = _url_parse(f"proto://{userinfo}@host")["userinfo"] if userinfo else None
    out = f"{part['scheme']}:" if part["scheme"] else ""
    if part["opaque"]:
        out += part["opaque"]
    else:
        if (part["scheme"] or part["host"] or user is not None) and (part["host"] or part["path"] or user is not None):
            out += "//"
            if user is not None:
                out += user + "@"
            out += _escaped(part["host"], _IN_HOST)
        path = "*" if part["path"] == "*" else _escaped(part["path"], _IN_PATH)
        if path and not path.startswith("/") and part["host"]:
            out += "/"
        if not out and ":" in path.partition("/")[0]:
            out += "./"
        out += path
    if part["query"]:
        out += "?" + part["query"]
    if part["fragment"]:
        out += "#" + _escaped(part["fragment"], _IN_FRAGMENT)
    return out


def _text(members: dict[str, Any], key: str) -> str:
    value = members.get(key, "")
    if not isinstance(value, str):
        kind = "nil" if value is None else f"a {goprint.type_name(value)}"
        raise LangError(f"the member {key!r} of a URL is a string, not {kind}")
    return value
