"""The EventBus manifest: which engine keeps the events, and how it is reached or, on Kubernetes, installed.

Every field of upstream is known
(``pkg/apis/events/v1alpha1/{eventbus_types,jetstream_eventbus,nats_eventbus,kafka_eventbus}.go``); what only
shapes pods is kept as it stands. Choosing an engine from this is the runtime's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from argosy.bus._jetstream_settings import STREAM_KEYS, StreamSettings, server_urls
from argosy.errors import BusError
from argosy.manifests._yaml import Fault, documents
from argosy.manifests.fields import Json, Metadata, Model, SASLConfig, SecretKeySelector, TLSConfig
from argosy.manifests.findings import Problem, check
from argosy.manifests.objects import digest, frame
from argosy.manifests.spelling import did_you_mean

Engine = Literal["nats", "jetstream", "kafka", "jetstreamExotic"]


class _Pods(Model):
    """How the installed servers' pods look; read by the controller only, so kept as free JSON."""

    replicas: int | None = None
    """How many servers."""
    container_template: dict[str, Json] | None = None
    """The server's container."""
    metrics_container_template: dict[str, Json] | None = None
    """The container of the metrics exporter."""
    persistence: dict[str, Json] | None = None
    """The volume that it keeps its data on; without it they are lost with the pod."""
    metadata: dict[str, Json] | None = None
    """Labels and annotations of the pods."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels of the nodes that the pods may run on."""
    tolerations: list[Json] = Field(default_factory=list)
    """Taints of nodes that the pods put up with."""
    security_context: dict[str, Json] | None = None
    """The pods' security context."""
    image_pull_secrets: list[Json] = Field(default_factory=list)
    """Secrets to pull images with."""
    priority_class_name: str = ""
    """The pods' priority class."""
    priority: int | None = None
    """The pods' priority."""
    affinity: dict[str, Json] | None = None
    """Where the pods should run."""
    service_account_name: str = ""
    """The pods' service account."""
    max_payload: str | None = None
    """The largest message, as ``1MB``."""


class NativeStrategy(_Pods):
    """NATS Streaming installed by the controller. It is at its end of life; Argosy serves it by JetStream."""

    dropped: ClassVar[Mapping[str, str]] = {
        "antiAffinity": "1.5; write 'affinity'",
        "size": "0.17; write 'replicas'",
    }

    auth: Literal["none", "token"] | None = None
    """Whether clients need a token."""
    max_age: str | None = None
    """How long messages are kept, as ``72h``."""
    max_msgs: int | None = None
    """How many messages are kept."""
    max_bytes: str | None = None
    """How much is kept, as ``1GB``."""
    max_subs: int | None = None
    """How many subscriptions there may be."""
    raft_heartbeat_timeout: str | None = None
    """Without effect here."""
    raft_election_timeout: str | None = None
    """Without effect here."""
    raft_lease_timeout: str | None = None
    """Without effect here."""
    raft_commit_timeout: str | None = None
    """Without effect here."""


class NatsConfig(Model):
    """A NATS Streaming server that somebody else runs."""

    url: str = Field(min_length=1)
    """Where it is."""
    cluster_id: str = Field(alias="clusterID")
    """The cluster's id."""
    auth: Literal["none", "token", "basic"] | None = None
    """How clients say who they are."""
    access_secret: SecretKeySelector | None = None
    """What they say."""


class NatsBus(Model):
    """NATS Streaming: installed (``native``) or somebody else's (``exotic``), exactly one of them."""

    native: NativeStrategy | None = None
    """Installed by the controller."""
    exotic: NatsConfig | None = None
    """Run by somebody else."""

    @model_validator(mode="after")
    def _one(self) -> NatsBus:
        if (self.native is None) == (self.exotic is None):
            raise ValueError("needs exactly one of 'native' and 'exotic'")
        return self


class JetStreamBus(_Pods):
    """NATS JetStream installed by the controller. ``stream_config`` is YAML text."""

    version: str = Field(min_length=1)
    """The version of NATS, one of the controller's configuration, or ``latest``."""
    reloader_container_template: dict[str, Json] | None = None
    """The container that makes the server read its configuration again."""
    settings: str | None = None
    """Lines of the server's configuration, in the place of the controller's."""
    start_args: list[str] = Field(default_factory=list)
    """Arguments of the server."""
    stream_config: str | None = None
    """Limits of the stream as YAML text, such as ``maxAge: 72h``."""

    @field_validator("replicas")
    @classmethod
    def _quorum(cls, replicas: int | None) -> int | None:
        if replicas is not None and (replicas < 1 or replicas == 2):
            raise ValueError("must be 1, or 3 and more: two servers cannot outvote each other")
        return replicas


class JetStreamConfig(Model):
    """A JetStream server that somebody else runs. ``stream_config`` is YAML text."""

    url: str = Field(min_length=1)
    """Where it is: one ``nats://`` or ``tls://`` URL, or several with commas."""
    access_secret: SecretKeySelector | None = None
    """User and password, token or the like, as a YAML document."""
    stream_config: str | None = None
    """Limits of the stream as YAML text, such as ``maxAge: 72h``."""
    tls: TLSConfig | None = None
    """How it is trusted, and our certificate."""


class KafkaConsumerGroup(Model):
    """The consumer group of a sensor; an empty name means ``<namespace>-<sensor>``."""

    dropped: ClassVar[Mapping[str, str]] = {"startOldest": "1.9.3; write 'oldest'"}

    group_name: str = ""
    """The group; empty means ``<namespace>-<sensor>``."""
    oldest: bool = False
    """A new group begins with the oldest message there is."""
    rebalance_strategy: str = ""
    """How partitions are shared out: ``range``, ``sticky`` or ``roundrobin``."""


class KafkaBus(Model):
    """A Kafka cluster that somebody else runs."""

    url: str = Field(min_length=1)
    """The brokers, with commas between them."""
    topic: str = ""
    """The topic; empty means ``<namespace>-<name of the EventBus>``."""
    version: str = ""
    """The version of the brokers."""
    tls: TLSConfig | None = None
    """How they are trusted, and our certificate."""
    sasl: SASLConfig | None = None
    """Who we are."""
    consumer_group: KafkaConsumerGroup | None = None
    """The consumer group."""
    partitioner: str = ""
    """How messages are spread over partitions."""


class EventBusSpec(Model):
    """One of four engines; of several, the first of nats, jetstream, kafka, jetstreamExotic counts."""

    nats: NatsBus | None = None
    """NATS Streaming, at its end of life; served by JetStream."""
    jetstream: JetStreamBus | None = None
    """NATS JetStream, installed by the controller."""
    kafka: KafkaBus | None = None
    """A Kafka cluster of somebody else."""
    jetstream_exotic: JetStreamConfig | None = None
    """A NATS server of somebody else."""

    @model_validator(mode="after")
    def _some(self) -> EventBusSpec:
        if not (self.nats or self.jetstream or self.kafka or self.jetstream_exotic):
            raise ValueError("needs one of 'nats', 'jetstream', 'jetstreamExotic' and 'kafka'")
        return self

    @property
    def engine(self) -> Engine:
        """The engine that counts."""
        if self.nats:
            return "nats"
        if self.jetstream:
            return "jetstream"
        return "kafka" if self.kafka else "jetstreamExotic"

    @property
    def stream_config(self) -> str:
        """The limits of the stream as the manifest writes them: YAML text, empty where it says nothing."""
        if self.engine == "jetstream" and self.jetstream:
            return self.jetstream.stream_config or ""
        if self.engine == "jetstreamExotic" and self.jetstream_exotic:
            return self.jetstream_exotic.stream_config or ""
        return ""


@dataclass(frozen=True)
class EventBus:
    """A valid EventBus. ``raw`` is the object as it was read; ``digest`` names the content of its spec."""

    metadata: Metadata
    spec: EventBusSpec
    digest: str
    raw: dict[str, Any] = field(repr=False)

    kind = "EventBus"


def parse_event_bus(raw: dict[str, Any]) -> tuple[EventBus | None, list[Problem]]:
    """The EventBus that ``raw`` describes, or None, with everything there is to say about it."""
    metadata, problems = frame(raw)
    spec: EventBusSpec | None = None
    if raw.get("spec") is not None:
        spec, wrong = check(EventBusSpec, raw["spec"])
        problems += [problem.inside("spec") for problem in wrong]
    if spec:
        problems += [problem.inside("spec") for problem in _remarks(spec)]
    if metadata is None or spec is None or any(problem.severity == "error" for problem in problems):
        return None, problems
    return EventBus(metadata, spec, digest(raw["spec"]), raw), problems


def _remarks(spec: EventBusSpec) -> list[Problem]:
    found: list[Problem] = []
    engines = [name for name in ("nats", "jetstream", "kafka", "jetstreamExotic") if getattr(spec, _ATTRIBUTES[name])]
    if len(engines) > 1:
        others = " and ".join(f"'{name}'" for name in engines[1:])
        found.append(
            Problem(
                "several-kinds",
                f"'{spec.engine}' counts, {others} not; keep one",
                (engines[1],),
                "warning",
                True,
            )
        )
    if spec.engine == "nats" and spec.nats:
        if spec.nats.native:
            found.append(
                Problem(
                    "nats-native",
                    "NATS Streaming is at its end of life; this bus is served by JetStream, with its limits",
                    ("nats", "native"),
                    "warning",
                    True,
                )
            )
        else:
            found.append(
                Problem(
                    "nats-exotic",
                    "NATS Streaming is at its end of life and Argosy does not speak it; run a NATS server of"
                    " 2.10 or newer with JetStream, and name it in 'jetstreamExotic'",
                    ("nats", "exotic"),
                    at_key=True,
                )
            )
    for engine in ("jetstream", "jetstreamExotic"):
        block = getattr(spec, _ATTRIBUTES[engine])
        if block and block.stream_config:
            found += [problem.inside(engine, "streamConfig") for problem in stream_remarks(block.stream_config)]
    if spec.jetstream_exotic:
        try:
            server_urls(spec.jetstream_exotic.url)
        except BusError as error:
            found.append(Problem("invalid-value", str(error), ("jetstreamExotic", "url")))
    return found


_ATTRIBUTES = {
    "nats": "nats",
    "jetstream": "jetstream",
    "kafka": "kafka",
    "jetstreamExotic": "jetstream_exotic",
}


def stream_remarks(text: str) -> list[Problem]:
    """What there is to say about the text of a ``streamConfig``."""
    read = list(documents(text))
    if not read:
        return []
    if len(read) != 1 or isinstance(read[0], Fault) or not isinstance(read[0].value, dict):
        return [Problem("invalid-value", "'streamConfig' must be YAML text with settings such as 'maxMsgs: 50000'")]
    known = {key.lower() for key in STREAM_KEYS}
    found = [
        Problem(
            "unknown-field",
            f"unknown stream setting '{key}'{did_you_mean(key, STREAM_KEYS)}; it has no effect",
            (),
            "warning",
        )
        for key in read[0].value
        if key.lower() not in known
    ]
    try:
        StreamSettings.parse(text)
    except BusError as error:
        found.append(Problem("invalid-value", str(error)))
    return found
