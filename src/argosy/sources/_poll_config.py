"""What a manifest may say of an ``http`` source."""

from __future__ import annotations

import zoneinfo
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from argosy.errors import LangError
from argosy.lang import cron, gotemplate
from argosy.manifests.fields import BasicAuth, Duration, Model, SecretKeySelector, TLSConfig, ValueFrom
from argosy.sources._base import SourceConfig


class SecureHeader(Model):
    """A header whose value is in a Secret or a ConfigMap."""

    name: str = Field(min_length=1)
    """The header's name."""
    value_from: ValueFrom
    """The Secret or ConfigMap that holds its value."""


class Paging(Model):
    """How an answer leads to the next one."""

    link: bool = False
    """Whether the header ``Link`` names the next page (``rel="next"``)."""
    next: str = ""
    """An expression that yields the next page, or nothing at the last one: ``body.next``."""
    param: str = ""
    """The query parameter that takes what ``next`` yields; without it, ``next`` yields a URL."""
    max_pages: int = Field(100, ge=1)
    """How many pages one poll asks for; the next poll goes on where it stopped."""

    @model_validator(mode="after")
    def _complete(self) -> Paging:
        if self.link == bool(self.next):
            raise ValueError("needs one of 'link: true' and 'next'")
        if self.param and not self.next:
            raise ValueError("'param' belongs to 'next'")
        return self


class HttpConfig(SourceConfig):
    """One URL, when it is asked, and what of the answer becomes events."""

    url: str
    """Where to ask, by http or https."""
    method: Literal["GET", "POST", "PUT"] = "GET"
    """The method of the request."""
    query: dict[str, str] = Field(default_factory=dict)
    """Query parameters as [templates](languages/templates.md) of ``.cursor``; what comes out empty is not sent."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Headers of the request."""
    secure_headers: list[SecureHeader] = Field(default_factory=list)
    """Headers with secret values, such as an API's key; another origin does not get them."""
    basic_auth: BasicAuth | None = None
    """A user name and a password, both from Secrets."""
    bearer_secret: SecretKeySelector | None = None
    """A token, sent as ``Authorization: Bearer …``."""
    body: str = ""
    """What is sent, a template of ``.cursor``; JSON, unless ``headers`` have another ``Content-Type``."""
    tls: TLSConfig | None = None
    """Who signed the server, and our certificate if the server wants one."""
    interval: Duration | None = None
    """How long after a poll the next one is due, such as ``30s``."""
    schedule: str = ""
    """Five cron fields, instead of ``interval``."""
    timezone: str = "UTC"
    """Of ``schedule``: an IANA name."""
    timeout: Duration = Field(30.0, gt=0)
    """For an answer as a whole."""
    max_response_size: int = Field(10 * 1024 * 1024, ge=1)
    """Bytes of one answer."""
    redirects: Literal["follow", "refuse"] = "follow"
    """Whether to follow redirects; in either case only to the URL's own origin, and to ``origins``."""
    origins: list[str] = Field(default_factory=list)
    """Other origins that redirects and next pages may lead to, such as ``https://cdn.example``. They get no secrets."""
    format: Literal["json", "text", "base64"] = "json"
    """What ``body`` of an event is: the JSON of the answer, its text, or its bytes in base64."""
    items: str = ""
    """A [gjson](languages/gjson.md) path to an array, each of which is an event; without it the whole answer is one."""
    id: str = ""
    """An [expression](languages/expr.md) over ``item`` and ``body`` that names an item: ``item.id``. Without it, an item
    is what it says: each change makes a new one."""
    cursor: str = ""
    """An expression over ``body``, ``items``, ``header`` and the last ``cursor``, whose value is kept; nil keeps the last
    one: ``body.until``."""
    initial_cursor: str = ""
    """The cursor of the first poll."""
    paging: Paging | None = None
    """How further pages of an answer are found."""
    start: Literal["all", "new"] = "all"
    """Whether what the first poll finds becomes events, or is only remembered."""
    repeats: bool = False
    """Whether an item becomes an event at every poll. Such events have no ids."""

    @field_validator("url")
    @classmethod
    def _readable(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError("must be an http or https URL without a user; write 'basicAuth' for that")
        return url

    @field_validator("origins")
    @classmethod
    def _origins(cls, origins: list[str]) -> list[str]:
        for origin in origins:
            parts = urlsplit(origin)
            if (
                parts.scheme not in ("http", "https")
                or not parts.netloc
                or f"{parts.scheme}://{parts.netloc}" != origin
            ):
                raise ValueError(f"{origin!r} is no origin; write for example https://cdn.example")
        return origins

    @field_validator("id", "cursor")
    @classmethod
    def _expressions(cls, text: str) -> str:
        return _expression(text)

    @field_validator("paging")
    @classmethod
    def _next_expression(cls, paging: Paging | None) -> Paging | None:
        _expression(paging.next if paging is not None else "")
        return paging

    @model_validator(mode="after")
    def _complete(self) -> HttpConfig:
        if (self.interval is None) == (not self.schedule):
            raise ValueError("needs one of 'interval' and 'schedule'")
        if self.interval is not None and self.interval < 0.01:
            raise ValueError("'interval' is shorter than 10ms")
        for name, template in {
            **{f"query.{name}": text for name, text in self.query.items()},
            "body": self.body,
        }.items():
            try:
                gotemplate.compile(template)
            except LangError as error:
                raise ValueError(f"'{name}' is no template: {error}") from error
        if self.schedule:
            try:
                zoneinfo.ZoneInfo(self.timezone)
                cron.compile(self.schedule, self.timezone)
            except (LangError, zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
                raise ValueError(f"'schedule' and 'timezone': {error}") from error
        if self.format != "json" and (self.items or self.paging is not None):
            raise ValueError("'items' and 'paging' want 'format: json'")
        if self.basic_auth is not None and self.bearer_secret is not None:
            raise ValueError("'basicAuth' and 'bearerSecret' want the same header; keep one of them")
        if self.basic_auth is not None and (self.basic_auth.username is None or self.basic_auth.password is None):
            raise ValueError("'basicAuth' needs username and password")
        for header in self.secure_headers:
            if (header.value_from.secret_key_ref is None) == (header.value_from.config_map_key_ref is None):
                raise ValueError(f"secureHeaders {header.name!r} needs one of secretKeyRef and configMapKeyRef")
        return self


def _expression(text: str) -> str:
    if text:
        from argosy.lang import expr

        try:
            expr.compile(text)
        except LangError as error:
            raise ValueError(f"is no expression: {error}") from error
    return text
