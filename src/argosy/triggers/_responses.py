"""``policy.response``: what an answer's body must say for the action to count as done, for kinds that get an answer in JSON."""

from __future__ import annotations

import json

from argosy.errors import LangError, Rejected, TriggerError
from argosy.lang import expr, jsonpath
from argosy.manifests.fields import Json, ResponsePolicy, TriggerPolicy

_SHOWN = 200


def require(policy: TriggerPolicy | None, said: str, document: Json, unread: str = "") -> None:
    """Return if the answer says what ``policy.response`` wants, or if nothing is wanted.

    ``said`` begins the sentence of a failure; ``unread`` says why there is no document, where there is none. Raises TriggerError, or Rejected where
    the policy says so.
    """
    response = policy.response if policy is not None else None
    if response is None:
        return
    if why := unread or mismatch(response, document):
        sentence = f"{said}, and policy.response is not met: {why}"
        raise Rejected(sentence) if response.otherwise == "reject" else TriggerError(sentence)


def mismatch(policy: ResponsePolicy, document: Json) -> str:
    """Which condition the document does not meet, and what it says instead; empty where it meets all."""
    floats = expr.floats(document)
    for match in policy.match:
        wanted = text(expr.floats(match.value))
        try:
            found = text(jsonpath.compile(match.path).query(floats))
        except LangError as error:
            return error.message
        if found != wanted:
            return f"{match.path} is {shown(found)}, not {shown(wanted)}"
    return ""


def text(value: Json) -> str:
    """The value so that equal ones have equal texts, and true is not 1."""
    return json.dumps(value, sort_keys=True)


def shown(text: str) -> str:
    """The text of a value, or its beginning."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
