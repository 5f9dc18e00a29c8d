"""Raw JSON as an event holds it: the sender's text, compacted and escaped as Go's encoding/json embeds raw
messages.

The text itself is kept (``1.0`` stays ``1.0``, large integers keep their digits, keys their order), because
parameters may copy a part of it verbatim.
"""

from __future__ import annotations

import msgspec
import orjson

from argosy.errors import EventInvalid

DEEPEST = 512
"""How deep arrays and objects may be nested: what every parser between here and a trigger can read."""

_ESCAPES = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)


def raw_json(text: bytes) -> bytes:
    """``text`` without blanks between tokens, and with the characters escaped that Go escapes.

    Raises EventInvalid, saying what is wrong and where, if it is not JSON that the pipeline can hold.
    """
    if not text:
        raise EventInvalid("the body is empty; JSON is wanted")
    try:
        value = orjson.loads(text)
        _measure(text, value)
        compact = msgspec.json.format(text, indent=-1)
    except orjson.JSONDecodeError as error:
        raise EventInvalid(f"the body is not JSON: {error}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise EventInvalid("the body is JSON that cannot be kept as it stands") from error
    # In JSON these characters stand only inside strings, where an escape means the same.
    for letter, escape in _ESCAPES:
        compact = compact.replace(letter, escape)
    return compact


def _measure(text: bytes, value: object) -> None:
    if text.count(b"[") + text.count(b"{") <= DEEPEST:
        return
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEEPEST + 1:
            raise EventInvalid(f"the body nests arrays and objects deeper than {DEEPEST}")
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
