"""Names of ours as names JetStream can hold: tokens of subjects, keys of buckets, ids of messages.

Two encodings, both reversible. ``token`` touches only what a subject cannot hold, so that legal Kubernetes
names stay as a Go process writes them. ``key`` keeps to the letters that the command line tool ``nats kv``
accepts. What is too long for a subject becomes a hash; who needs the name back keeps it in a header.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from urllib.parse import unquote

_UNFIT_TOKEN = re.compile(r"[\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000.*>%]")
_UNFIT_KEY = re.compile(r"[^A-Za-z0-9_/-]")
_UNFIT_HEADER = re.compile(r"[^\x21-\x24\x26-\x7e]")
_UNFIT_PART = re.compile(r"[^\x21-\x24\x26-\x2e\x30-\x7e]")
_LONGEST = 400
"""Characters of one token. The server takes 4096 in one line of the protocol; an API subject holds two or
three tokens.
"""


def _escape(text: str, unfit: re.Pattern[str], sign: str) -> str:
    def spell(match: re.Match[str]) -> str:
        return "".join(f"{sign}{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))

    return unfit.sub(spell, text)


def token(name: str) -> str:
    """``name`` as one token of a subject, percent-encoded where it must be; an empty name is a lone ``%``."""
    encoded = _escape(name, _UNFIT_TOKEN, "%") or "%"
    return encoded if len(encoded) <= _LONGEST else f"{digest(name)}%"


def shortened(encoded: str) -> bool:
    """Whether ``token`` had to hash this one."""
    return len(encoded) > 1 and encoded.endswith("%")


def name_of(encoded: str) -> str:
    """The name that ``token`` encoded; a token that nobody encoded is its own name."""
    return "" if encoded == "%" else unquote(encoded)


def key(text: str) -> str:
    """``text`` as one token of letters, digits, ``_ / - =``; see ``too_long`` for what cannot be decoded."""
    encoded = _escape(text, _UNFIT_KEY, "=") or "="
    return encoded if len(encoded) <= _LONGEST else f"=={digest(text)}"


def too_long(encoded: str) -> bool:
    """Whether ``key`` had to hash this one."""
    return encoded.startswith("==")


def text_of(encoded: str) -> str:
    """The text that ``key`` encoded. Not for those that are ``too_long``."""
    return "" if encoded == "=" else unquote(encoded.replace("=", "%"), errors="surrogatepass")


def header(text: str) -> str:
    """``text`` as the value of a header: printable ASCII without blanks, percent-encoded."""
    return _escape(text, _UNFIT_HEADER, "%")


def text_of_header(value: str) -> str:
    """The text that ``header`` encoded."""
    return unquote(value, errors="surrogatepass")


def event_id(source: str, subject: str, id: str) -> str:
    """The message id of an event: two event sources that carry one upstream message do not swallow each
    other.
    """
    return f"{_escape(source, _UNFIT_PART, '%')}/{_escape(subject, _UNFIT_PART, '%')}/{header(id)}"


def digest(*parts: str) -> str:
    """22 letters that stand for ``parts``, the same in every process; 128 bits, so that no two ever meet."""
    seal = hashlib.blake2b(digest_size=16)
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        seal.update(len(raw).to_bytes(4, "big") + raw)
    return urlsafe_b64encode(seal.digest()).rstrip(b"=").decode()
