"""What a ``webhook`` answers once its event is kept, where the manifest says: status, headers and body from templates.

A template sees the event's ``id`` and data. It comes out of a request, so a header made of it can bring no line of its own.
The event is kept by then: a template that fails on it costs the reply, and not the event.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from pydantic import Field, field_validator, model_validator

from argosy.errors import LangError
from argosy.lang import gojson
from argosy.manifests.fields import Model
from argosy.sources._http_messages import SUCCESS, Response

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2, token
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")
_OURS = frozenset(
    ("content-length", "content-type", "transfer-encoding", "connection", "date", "keep-alive", "upgrade")
)


class Reply(Model):
    """The answer to a request whose event is kept, or was dropped by ``filter``."""

    status: int = Field(200, ge=200, le=399)
    """The status code."""
    content_type: str = "text/plain; charset=utf-8"
    """The ``Content-Type`` of the answer."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Values are [templates](languages/templates.md) of ``.id``, ``.header`` and ``.body``: what the event has."""
    body: str = "success"
    """A template, such as ``{"id": "{{ .id }}", "order": {{ .body.order | toJson }}}``."""

    @field_validator("status")
    @classmethod
    def _final(cls, status: int) -> int:
        if status in (205, 304):
            raise ValueError(f"{status} means something else; 200, 201, 202, 204 and 303 are usual")
        return status

    @field_validator("content_type")
    @classmethod
    def _one_line(cls, text: str) -> str:
        if not text or not text.isascii() or _CONTROLS.search(text):
            raise ValueError("is no media type; write for example application/json")
        return text

    @field_validator("headers")
    @classmethod
    def _allowed(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of an HTTP header")
            if name.lower() in _OURS:
                raise ValueError(f"{name!r} is the server's own; write 'contentType' for the type of the body")
        return headers

    @model_validator(mode="after")
    def _templates(self) -> Reply:
        from argosy.lang import gotemplate  # not loaded for webhooks without a reply

        for name, text in {
            "body": self.body,
            **{f"headers.{name}": text for name, text in self.headers.items()},
        }.items():
            try:
                gotemplate.compile(text)
            except LangError as error:
                raise ValueError(f"'{name}' is no template: {error}") from error
        return self


class Replies:
    """The replies of one run."""

    def __init__(self, rule: Reply, log: logging.LoggerAdapter[logging.Logger]) -> None:
        self._rule = rule
        self._log = log
        self._warned = False

    def to(self, id: str, data: bytes) -> Response:
        """The reply to the request that has become this event."""
        from argosy.lang import gotemplate

        seen: dict[str, Any] = {**gojson.loads(data), "id": id}
        rule = self._rule
        try:
            headers = tuple((name, _line(gotemplate.compile(text).render(seen))) for name, text in rule.headers.items())
            text = "" if rule.status == 204 else gotemplate.compile(rule.body).render(seen)
        except LangError as error:
            if not self._warned:
                self._warned = True
                self._log.warning(
                    "a template of 'reply' fails, so the answer is a plain one: %s", error, extra={"action": "reply"}
                )
            return SUCCESS
        return Response(rule.status, text, rule.content_type, headers=headers)


def _line(text: str) -> str:
    return _CONTROLS.sub(" ", text).strip()
