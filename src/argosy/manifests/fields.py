"""The small typed pieces that manifests and plug-ins are made of: selectors, durations, parameters.

All models are frozen, use upstream's camelCase names in manifests, and refuse unknown keys. Who loads
manifests turns pydantic's findings into sentences with file, line and "did you mean"
(``argosy.manifests.loading``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from argosy.errors import LangError
from argosy.lang import durations


class Model(BaseModel):
    """The base of every manifest model."""

    dropped: ClassVar[Mapping[str, str]] = {}
    """Fields that upstream had here once and ignores now, each with what replaced it: "1.5; write 'x'". Old
    manifests carry them still; they are left out with a warning. Anything else that is unknown is an error.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        strict=False,
        str_strip_whitespace=False,
    )


def _duration(value: object) -> float:
    """Go's duration text, or a whole number of nanoseconds, as seconds (upstream ``Int64OrString``)."""
    if isinstance(value, bool):
        raise ValueError("is not a duration; write for example 10s, 1m30s or 500ms")
    if isinstance(value, int | float):
        return value / 1e9
    if isinstance(value, str):
        try:
            if value.lstrip("-").isdigit():
                return int(value) / 1e9
            return durations.parse(value)
        except LangError as error:
            raise ValueError(str(error)) from error
    raise ValueError("is not a duration; write for example 10s, 1m30s or 500ms")


Duration = Annotated[
    float,
    BeforeValidator(_duration, json_schema_input_type=str | int),
    PlainSerializer(lambda seconds: durations.format(seconds), return_type=str, when_used="json"),
]
"""Seconds. In manifests Go's duration text (``1m30s``), or an integer of nanoseconds."""


def _amount(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("is not a number")
    return float(value)


Amount = Annotated[float, BeforeValidator(_amount, json_schema_input_type=float | str)]
"""A JSON number, or the same as text (upstream ``Amount``)."""


def _int_or_text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("is neither text nor a whole number")
    return str(value)


IntOrText = Annotated[str, BeforeValidator(_int_or_text, json_schema_input_type=int | str)]
"""Text, where manifests may also write a whole number (upstream ``Int64OrString``)."""


OWN_NAMESPACE = "Secrets and ConfigMaps are those of the object's own namespace"
"""What replaced the fields ``namespace`` beside references."""

OURS: dict[str, JsonValue] = {"x-argosy": True}
"""``json_schema_extra`` of a field that Argo Events does not have."""


class SecretKeySelector(Model):
    """One key of a Secret in the object's namespace."""

    name: str = ""
    """The Secret."""
    key: str
    """The key in it."""
    optional: bool | None = None
    """Without effect."""


class ConfigMapKeySelector(Model):
    """One key of a ConfigMap in the object's namespace."""

    name: str = ""
    """The ConfigMap."""
    key: str
    """The key in it."""
    optional: bool | None = None
    """Without effect."""


class ValueFrom(Model):
    """A value out of a Secret or a ConfigMap."""

    secret_key_ref: SecretKeySelector | None = None
    """The value is in a Secret."""
    config_map_key_ref: ConfigMapKeySelector | None = None
    """The value is in a ConfigMap."""


class BasicAuth(Model):
    """A user name and a password, both from Secrets."""

    dropped: ClassVar[Mapping[str, str]] = {"namespace": f"1.0; {OWN_NAMESPACE}"}

    username: SecretKeySelector | None = None
    """The user name."""
    password: SecretKeySelector | None = None
    """The password."""


class TLSConfig(Model):
    """TLS of a client: who signed the server, and our certificate if the server wants one."""

    dropped: ClassVar[Mapping[str, str]] = {
        "caCertPath": "1.5; write 'caCertSecret'",
        "clientCertPath": "1.5; write 'clientCertSecret'",
        "clientKeyPath": "1.5; write 'clientKeySecret'",
    }

    ca_cert_secret: SecretKeySelector | None = None
    """Who must have signed the server; without it the usual authorities."""
    client_cert_secret: SecretKeySelector | None = None
    """Our certificate, where the server wants one."""
    client_key_secret: SecretKeySelector | None = None
    """The key of our certificate."""
    insecure_skip_verify: bool = False
    """Nobody looks who the server is. For a try only."""
    enabled: bool = False
    """TLS with nothing else to say of it."""

    @model_validator(mode="after")
    def _complete(self) -> TLSConfig:
        # Upstream's rule (pkg/apis/events/v1alpha1/tls.go): skipping verification makes everything else moot.
        if self.insecure_skip_verify:
            return self
        given = (self.ca_cert_secret, self.client_cert_secret, self.client_key_secret)
        if not any(given) and not self.enabled:
            raise ValueError("needs caCertSecret, or clientCertSecret and clientKeySecret, or enabled: true")
        if (self.client_cert_secret is None) != (self.client_key_secret is None):
            raise ValueError("needs clientCertSecret and clientKeySecret together")
        return self


class SASLConfig(Model):
    """How a Kafka client says who it is. An empty mechanism means PLAIN."""

    mechanism: Literal["", "PLAIN", "OAUTHBEARER", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI"] = ""
    """How; empty means PLAIN."""
    user_secret: SecretKeySelector
    """The user name."""
    password_secret: SecretKeySelector
    """The password."""


class Backoff(Model):
    """Pauses between tries. ``steps`` counts all tries.

    Each pause is ``duration * factor**n``, up to ``jitter`` times longer.

    The defaults of a given block are upstream's (``pkg/shared/util/retry.go``): 1 s, factor 1, jitter 1, 5
    steps.
    """

    duration: Duration = 1.0
    """The first pause."""
    factor: Amount = 1.0
    """Each pause is so many times the one before."""
    jitter: Amount = 1.0
    """How much longer a pause may be by chance, as a part of it."""
    steps: int = 5
    """How many tries there are, the first included."""

    @property
    def tries(self) -> int:
        """All tries, the first included; upstream reads 0 and less as 5."""
        return self.steps if self.steps > 0 else 5

    def pause_seconds(self, failures: int, random: float) -> float:
        """The pause after ``failures`` (from 1) failed tries; ``random`` is in [0, 1)."""
        # A factor of 0 lets the pause stay as it is, as upstream's documents say.
        try:
            growth = self.factor ** (failures - 1) if self.factor else 1.0
        except OverflowError:
            growth = math.inf
        return float(self.duration * growth * (1.0 + random * max(0.0, self.jitter)))


class EventFilter(Model):
    """Which events the source keeps; the others are dropped, and their sender is told that all is well."""

    expression: str
    """An [expr](languages/expr.md) expression over the event's data, such as ``body.id == 4``. What is not true drops the
    event; what fails drops it with a warning."""


class Metadata(BaseModel):
    """Kubernetes object metadata: what Argosy reads of it, the rest kept."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    name: str = Field(min_length=1)
    namespace: str = "default"
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)

    @field_validator("namespace")
    @classmethod
    def _where(cls, namespace: str) -> str:
        return namespace or "default"  # tools write an empty one where they mean none


class TriggerParameterSource(Model):
    """Where a parameter's value comes from: an event that matched, or the literal ``value``."""

    dependency_name: str = ""
    """The dependency whose event is looked into."""
    context_key: str = ""
    """A field of the event's context, such as ``id``, ``type`` or ``subject``."""
    context_template: str = ""
    """A Go template over the event's context."""
    data_key: str = ""
    """A gjson path into the event's data."""
    data_template: str = ""
    """A Go template over the event's data."""
    value: str | None = None
    """What is taken where the event has nothing there."""
    use_raw_data: bool = False
    """Numbers, booleans, objects and lists stay what they are; else the value is set as text."""


class TriggerParameter(Model):
    """A value and the place (an sjson path) where it is set."""

    src: TriggerParameterSource
    """Where the value comes from."""
    dest: str = ""
    """Where it goes: an sjson path."""
    operation: Literal["", "overwrite", "append", "prepend"] = ""
    """Whether it takes the place of what is there (the default) or is put after or before it."""


Json = Any
"""A JSON value as Python has it: dict, list, str, int, float, bool or None."""


class StatusPolicy(Model):
    """Which response statuses count as a success."""

    allow: list[int]
    """The statuses that count as a success."""


class ResponseMatch(Model):
    """A value that an answer, or an object, must have."""

    path: str = Field(min_length=1)
    """A JSONPath into it, as ``$.state``."""
    value: Json
    """What must be there: text, a number, true, false, null, or a whole object or list."""


class K8sPolicy(Model):
    """When an object counts as a success: what it must have become. All that is given must hold."""

    labels: dict[str, str] = Field(default_factory=dict)
    """Labels that the object must have."""
    fields: list[ResponseMatch] = Field(default_factory=list, json_schema_extra=OURS)
    """Values of the object by JSONPath, as ``{path: $.status.phase, value: Succeeded}`` (ours)."""
    conditions: dict[str, str] = Field(default_factory=dict, json_schema_extra=OURS)
    """Its ``status.conditions``, as ``{Ready: "True"}`` (ours)."""
    backoff: Backoff | None = None
    """How long it has time, as the pauses of it together; between them an account that may not watch objects looks again."""
    error_on_backoff_timeout: bool = False
    """Whether the attempt has failed if the time is over; else it counts as done."""
    deadline: Duration | None = Field(default=None, gt=0, json_schema_extra=OURS)
    """How long it has time, in the place of ``backoff``; at its end the attempt has failed (ours)."""

    @model_validator(mode="after")
    def _says_something(self) -> K8sPolicy:
        if not (self.labels or self.fields or self.conditions):
            raise ValueError("needs one of labels, fields and conditions")
        return self


class ResponsePolicy(Model):
    """What an answer's body must say for the action to count as done (ours)."""

    match: list[ResponseMatch] = Field(min_length=1)
    """All of them must hold."""
    otherwise: Literal["retry", "reject"] = "retry"
    """What follows if they do not: the action is tried again, or becomes a dead letter at once."""


class TriggerPolicy(Model):
    """What counts as a success of an action, beyond that it was accepted."""

    k8s: K8sPolicy | None = Field(None, alias="k8s")
    """What the object must have become."""
    status: StatusPolicy | None = None
    """Which statuses of an answer count as a success."""
    response: ResponsePolicy | None = Field(None, json_schema_extra=OURS)
    """What the answer's body must say (ours); for kinds that get one in JSON, such as ``http``."""
