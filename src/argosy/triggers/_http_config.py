"""The ``http`` block: its fields, and what of it must fit together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from argosy.manifests.fields import OURS, BasicAuth, Model, TLSConfig, TriggerParameter, ValueFrom
from argosy.triggers._base import TriggerConfig
from argosy.triggers._egress import EgressConfig
from argosy.triggers._http import Follow
from argosy.triggers._http_auth import HttpAuth

MOST_RESPONSE_BYTES = 1024 * 1024


class SecureHeader(Model):
    """A header whose value is in a Secret or a ConfigMap."""

    name: str
    """The header's name."""
    value_from: ValueFrom
    """The Secret or ConfigMap that holds its value."""


class Redirects(Model):
    """What becomes of redirects (ours)."""

    follow: Follow = "all"
    """``all``, ``sameOrigin`` (same scheme, host and port) or ``none``. One that is not followed is a failure, unless ``policy.status`` allows
    its status.
    """
    most: int = Field(default=10, ge=1, le=100)
    """How many one request may follow."""


class ProxyConfig(Model):
    """The proxy that requests go through (ours)."""

    url: str = ""
    """``http://``, ``https://`` or ``socks5://``; empty: none, whatever the environment says."""
    auth: BasicAuth | None = None
    """Who we are to the proxy."""


class CloudEventPayload(Model):
    """Sends a CloudEvent instead of a bare document (ours)."""

    mode: Literal["binary", "structured"] = "binary"
    """``binary``: attributes as ``ce-`` headers, the data as the body. ``structured``: all of it as one JSON document."""
    dependency_name: str = ""
    """Whose event gives the attributes, and the data where the trigger has no ``payload``; may be left out where there is one event."""


class HttpConfig(TriggerConfig):
    """The ``http`` block."""

    dropped: ClassVar[Mapping[str, str]] = {"serverURL": "0.14; write 'url'"}

    url: str = Field(min_length=1)
    """With ``pathParameters`` it may hold ``{name}`` in its path."""
    method: Literal["", "GET", "HEAD", "OPTIONS", "DELETE", "PATCH", "POST", "PUT"] = ""
    """Empty means POST."""
    payload: list[TriggerParameter] = Field(default_factory=list)
    """What is sent: values out of events, each at its ``dest``."""
    parameters: list[TriggerParameter] = Field(default_factory=list)
    """Values out of events that are set on this block before it is used."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Headers of the request."""
    dynamic_headers: list[TriggerParameter] = Field(default_factory=list)
    """Headers out of events; ``dest`` is the header's name."""
    secure_headers: list[SecureHeader] = Field(default_factory=list)
    """Headers whose values are in Secrets or ConfigMaps."""
    basic_auth: BasicAuth | None = None
    """A user name and a password, both from Secrets."""
    tls: TLSConfig | None = None
    """Who signed the server, and our certificate if the server wants one."""
    timeout: int = Field(0, ge=0)
    """Seconds for the whole request with its redirects; 0 means 60."""
    host: str = ""
    """The ``Host`` header, where it is not the URL's."""
    allow_link_local: bool = Field(False, json_schema_extra=OURS)
    """Ours: allow link-local and metadata addresses; ``egress`` says it more precisely."""
    path_parameters: list[TriggerParameter] = Field(default_factory=list, json_schema_extra=OURS)
    """Values out of events for the ``{name}`` in the URL's path, ``dest`` is the name (ours). They are quoted: whatever an event holds stays one step of the
    path.
    """
    query_parameters: list[TriggerParameter] = Field(default_factory=list, json_schema_extra=OURS)
    """Values out of events that are added to the URL's query, quoted; ``dest`` is the name (ours)."""
    auth: HttpAuth | None = Field(None, json_schema_extra=OURS)
    """In whose name requests are made, beyond ``basicAuth`` (ours)."""
    redirects: Redirects | None = Field(None, json_schema_extra=OURS)
    """What becomes of redirects (ours); all are followed if nothing is said, and with ``auth.aws`` none."""
    proxy: ProxyConfig | None = Field(None, json_schema_extra=OURS)
    """The proxy that requests go through (ours); the environment's (``HTTPS_PROXY``, ``NO_PROXY`` …) if nothing is said."""
    egress: EgressConfig | None = Field(None, json_schema_extra=OURS)
    """Where requests may go (ours); everywhere but to link-local and metadata addresses if nothing is said."""
    cloud_event: CloudEventPayload | None = Field(None, json_schema_extra=OURS)
    """Sends a CloudEvent (ours)."""
    max_response_bytes: int = Field(64 * 1024, ge=0, le=MOST_RESPONSE_BYTES, json_schema_extra=OURS)
    """How much of an answer is read (ours). JSON up to that size is kept with the action as ``detail.json``, for ``emit`` and ``policy.response``."""

    @model_validator(mode="after")
    def _named(self) -> HttpConfig:
        for word, entries in (
            ("dynamicHeaders", self.dynamic_headers),
            ("pathParameters", self.path_parameters),
            ("queryParameters", self.query_parameters),
        ):
            for number, entry in enumerate(entries):
                if not entry.dest:
                    what = "which is the name of the header" if word == "dynamicHeaders" else "which is its name"
                    raise ValueError(f"{word}.{number} needs dest, {what}")
        for secure in self.secure_headers:
            if (secure.value_from.secret_key_ref is None) == (secure.value_from.config_map_key_ref is None):
                raise ValueError(f"secureHeaders {secure.name!r} needs one of secretKeyRef and configMapKeyRef")
        if self.auth is not None and self.basic_auth is not None:
            raise ValueError("has 'basicAuth' and 'auth'; a request is made in one name")
        if self.auth is not None and self.auth.aws is not None and self.redirects is not None:
            raise ValueError("has 'redirects' beside 'auth.aws'; a signature is for one place, so none is followed")
        return self
