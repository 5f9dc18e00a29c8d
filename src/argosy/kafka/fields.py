"""Fields of manifests that the source and the trigger share."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from argosy.kafka.registry import check_url
from argosy.manifests.fields import BasicAuth, Model, SASLConfig

_VERSION = re.compile(r"\d+\.\d+\.\d+(\.\d+)?")


class SchemaRegistryConfig(Model):
    """A schema registry, which tells Avro schemas by their numbers."""

    url: str
    """``http://`` or ``https://``; the certificate is verified by the machine's authorities."""
    schema_id: int = Field(default=0, ge=0, le=2**31 - 1)
    """The number of the schema to write by. A source does not need it: each message has its own."""
    auth: BasicAuth = Field(default_factory=BasicAuth)
    """User name and password of the registry."""

    @field_validator("url")
    @classmethod
    def _readable(cls, url: str) -> str:
        return check_url(url)


def check_version(version: str) -> str:
    """Raises ValueError if it is no version of Kafka; empty is none."""
    if version and not _VERSION.fullmatch(version):
        raise ValueError("is no version of Kafka; write for example 2.8.0")
    return version


def check_mechanism(sasl: SASLConfig | None) -> SASLConfig | None:
    """Raises ValueError for the one mechanism that is not built."""
    if sasl is not None and sasl.mechanism == "GSSAPI":
        raise ValueError("the mechanism GSSAPI (Kerberos) is not built; use SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN")
    return sasl
