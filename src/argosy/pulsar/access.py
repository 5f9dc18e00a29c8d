"""Where a Pulsar is and how it lets us in: the fields that the source and the trigger share."""

from __future__ import annotations

from pydantic import ConfigDict, Field, field_validator, model_validator

from argosy.addresses import Address, host_and_port
from argosy.manifests.fields import Backoff, Model, SecretKeySelector, TLSConfig

_PORTS = {"pulsar": 6650, "pulsar+ssl": 6651, "http": 8080, "https": 8443}


class PulsarAccess(Model):
    """A cluster, TLS, and who we are."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: str
    """``pulsar://host:6650``, or ``pulsar+ssl://host:6651`` for TLS; several hosts with commas between them. Brokers name each other:
    their advertised addresses must be reachable, too."""
    tls_trust_certs_secret: SecretKeySelector | None = None
    """Who signed the brokers' certificates (PEM); without it ``tls.caCertSecret``, else the authorities that are known
    everywhere."""
    tls_allow_insecure_connection: bool = False
    """Whether any certificate will do."""
    tls_validate_hostname: bool = True
    """Whether the certificate must be the host's own."""
    tls: TLSConfig | None = None
    """Our own certificate and key, by which the brokers know us."""
    auth_token_secret: SecretKeySelector | None = None
    """A token (JWT) by which the brokers know us."""
    auth_athenz_params: dict[str, str] = Field(default_factory=dict)
    """How to get a token of Athenz: ``tenantDomain``, ``tenantService``, ``providerDomain``, ``keyId``, ``ztsUrl``,
    ``privateKey``."""
    auth_athenz_secret: SecretKeySelector | None = None
    """The private key (PEM) for ``authAthenzParams``."""
    connection_backoff: Backoff | None = None
    """Pauses between the tries to connect, before the failure is reported."""

    @field_validator("url")
    @classmethod
    def _readable(cls, url: str) -> str:
        servers(url)
        return url

    @model_validator(mode="after")
    def _whole(self) -> PulsarAccess:
        if self.auth_athenz_secret is not None and not self.auth_athenz_params:
            raise ValueError("authAthenzSecret needs authAthenzParams beside it")
        return self


def servers(url: str) -> list[Address]:
    """The brokers of a service URL. Raises ValueError, without the URL's text."""
    scheme, found, rest = url.strip().partition("://")
    if not found or scheme not in _PORTS:
        raise ValueError("must begin with pulsar:// or pulsar+ssl://")
    try:
        return [Address(scheme, *host_and_port(each, _PORTS[scheme])) for each in rest.rstrip("/").split(",")]
    except ValueError:
        raise ValueError("cannot be read; write for example pulsar://pulsar-broker.messaging:6650") from None
