"""sprig's encodings, checksums and random identifiers."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import uuid
import zlib

from argosy.lang._gotemplate_bound import bounded
from argosy.lang._gotemplate_functions import Registry, raw, registrar, text_of

FUNCTIONS: Registry = {}
sprig = registrar(FUNCTIONS)

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BASE32 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@sprig("b64enc", takes="s")
def _b64enc(text: str) -> str:
    return base64.b64encode(raw(text)).decode()


@sprig("b64dec", takes="s")
def _b64dec(text: str) -> str:
    data = raw(text)
    compact = data.replace(b"\r", b"").replace(b"\n", b"")
    try:
        return text_of(base64.b64decode(compact, validate=True))
    except binascii.Error:
        # The original puts the error's text in the place of the value.
        return f"illegal base64 data at input byte {_fault(data, _BASE64, 4)}"


@sprig("b32enc", takes="s")
def _b32enc(text: str) -> str:
    return base64.b32encode(raw(text)).decode()


@sprig("b32dec", takes="s")
def _b32dec(text: str) -> str:
    data = raw(text)
    compact = data.replace(b"\r", b"").replace(b"\n", b"")
    try:
        return text_of(base64.b32decode(compact))
    except binascii.Error:
        return f"illegal base32 data at input byte {_fault(compact, _BASE32, 8)}"


def _fault(data: bytes, alphabet: bytes, group: int) -> int:
    """The byte at which Go's decoder gives up."""
    count = 0  # digits in the group
    for position, byte in enumerate(data):
        if byte in b"\r\n":
            continue
        if byte in alphabet:
            count = (count + 1) % group
            continue
        if byte == ord("="):
            return _padding_fault(data, position, count, group)
        return position
    return len(data) - count


def _padding_fault(data: bytes, position: int, count: int, group: int) -> int:
    if group == 4:
        if count < 2:
            return position
        rest = data[position + 1 :].lstrip(b"\r\n")
        if count == 2:
            if not rest:
                return len(data)
            if rest[:1] != b"=":
                return len(data) - len(rest)
            rest = rest[1:].lstrip(b"\r\n")
        return len(data) - len(rest)
    needed = group - count
    padding = data[position : position + needed]
    if count in (0, 1, 3, 6):
        return position
    if len(padding) < needed:
        return len(data)
    stray = next((i for i, byte in enumerate(padding) if byte != ord("=")), needed)
    return position + stray


@sprig("sha1sum", takes="s")
def _sha1sum(text: str) -> str:
    return hashlib.sha1(raw(text), usedforsecurity=False).hexdigest()


@sprig("sha256sum", takes="s")
def _sha256sum(text: str) -> str:
    return hashlib.sha256(raw(text)).hexdigest()


@sprig("sha512sum", takes="s")
def _sha512sum(text: str) -> str:
    return hashlib.sha512(raw(text)).hexdigest()


@sprig("adler32sum", takes="s")
def _adler32sum(text: str) -> str:
    return str(zlib.adler32(raw(text)))


@sprig("uuidv4")
def _uuidv4() -> str:
    return str(uuid.uuid4())


@sprig("randBytes", takes="i")
def _rand_bytes(count: int) -> str:
    bounded(max(count, 0) * 2)
    return base64.b64encode(secrets.token_bytes(count)).decode()
