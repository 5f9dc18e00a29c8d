"""Where a Kafka is and how it lets us in, and other fields that the source and the trigger share."""

from __future__ import annotations

import re

from pydantic import ConfigDict, Field, field_validator

from argosy.kafka.cluster import brokers
from argosy.kafka.registry import check_url
from argosy.manifests.fields import BasicAuth, Model, SASLConfig, TLSConfig

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


class KafkaAccess(Model):
    """A topic of a cluster, TLS, and who we are."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: str
    """Brokers to begin with, ``host:port``, joined by commas."""
    topic: str = Field(min_length=1)
    """The topic's name."""
    version: str = ""
    """The version of the brokers. It is checked for its form and has no effect: the client asks the brokers."""
    tls: TLSConfig | None = None
    sasl: SASLConfig | None = None
    """A login. With OAUTHBEARER the password is the token."""

    @field_validator("url")
    @classmethod
    def _readable(cls, url: str) -> str:
        brokers(url)
        return url

    @field_validator("version")
    @classmethod
    def _a_version(cls, version: str) -> str:
        if version and not _VERSION.fullmatch(version):
            raise ValueError("is no version of Kafka; write for example 2.8.0")
        return version

    @field_validator("sasl")
    @classmethod
    def _known_mechanism(cls, sasl: SASLConfig | None) -> SASLConfig | None:
        if sasl is not None and sasl.mechanism == "GSSAPI":
            raise ValueError("the mechanism GSSAPI (Kerberos) is not built; use SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN")
        return sasl
