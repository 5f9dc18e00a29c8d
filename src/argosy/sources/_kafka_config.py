"""The block of the ``kafka`` source, and the cluster and the settings that it means."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from argosy.aws.client import REGION
from argosy.aws.credentials import Chain
from argosy.kafka import msk, options
from argosy.kafka.cluster import Cluster, Login, brokers
from argosy.kafka.fields import KafkaAccess, SchemaRegistryConfig
from argosy.manifests.fields import Backoff, IntOrText, Model
from argosy.sources._base import SourceConfig, SourceContext

_SESSION_MILLISECONDS = 10_000
_REBALANCE_MILLISECONDS = 60_000
_FOR_EVER_MILLISECONDS = 2**31 - 1


class KafkaConsumerGroup(Model):
    """The group that shares the topic's partitions, and for which the broker keeps how far each was read."""

    group_name: str = Field(min_length=1)
    """The group."""
    oldest: bool = False
    """Where a group begins that has read nothing yet: with the oldest message there is, or with the next one. What is
    added afterwards is never left out, also while the source is away."""
    rebalance_strategy: Literal["", "range", "roundrobin", "sticky"] = ""
    """How partitions are dealt out; empty means ``range``. All members of a group need the same."""


class AwsMskIamAuth(Model):
    """A login at Amazon MSK by the IAM role of the process (IRSA, pod identity, instance, or keys in the environment).
    The connection is encrypted in any case."""

    region: str = Field(pattern=f"^{REGION}$")
    """The cluster's region."""


class KafkaConfig(KafkaAccess, SourceConfig):
    """One topic of a cluster, read by a consumer group or from one partition."""

    partition: IntOrText = ""
    """The number of the only partition to read, where there is no ``consumerGroup``. How far it was read is kept on
    the bus, so that nothing is left out while the source is away; the first start begins with the next message."""
    consumer_group: KafkaConsumerGroup | None = None
    """Read all partitions as a member of this group; without it one partition is read."""
    limit_events_per_second: int = Field(default=0, ge=0)
    """How many messages become events in a second, over all partitions; 0 for no limit."""
    config: str = ""
    """Settings of sarama, Argo Events' client library, as YAML text; those of them that have an effect are named by
    ``argosy lint`` when another one is given."""
    connection_backoff: Backoff | None = None
    """Pauses between the tries to connect, before the failure is reported and the runtime's own pauses begin."""
    aws_msk_iam_auth: AwsMskIamAuth | None = None
    """A login by an IAM role, instead of ``sasl``."""
    schema_registry: SchemaRegistryConfig | None = None
    """Turns Avro into JSON; needs ``jsonBody: true``."""
    json_body: bool = False
    """Whether the value is JSON (or Avro, with ``schemaRegistry``), and stands as such in ``body``; else ``body`` is its
    bytes in base64."""

    @field_validator("config")
    @classmethod
    def _settings(cls, config: str) -> str:
        options.read(config)
        return config

    @model_validator(mode="after")
    def _complete(self) -> KafkaConfig:
        if self.consumer_group is None and not (self.partition.isascii() and self.partition.isdigit()):
            raise ValueError("needs consumerGroup, or the number of a partition in 'partition'")
        if self.schema_registry is not None and not self.json_body:
            raise ValueError("schemaRegistry has an effect only with 'jsonBody: true'")
        if self.aws_msk_iam_auth is not None and self.sasl is not None:
            raise ValueError("has two logins; leave out 'sasl' or 'awsMskIamAuth'")
        return self

    @property
    def no_effect(self) -> dict[str, str]:
        idle = options.read(self.config)[1]
        if not idle:
            return {}
        names = ", ".join(map(repr, idle))
        return {"config": f"{names} of sarama's settings change nothing here; there is {options.FOLLOWED}"}


def cluster_of(ctx: SourceContext[KafkaConfig], who: Chain | None = None) -> Cluster:
    """The cluster by the secrets as they are now; ``who`` signs where IAM lets us in."""
    from argosy.tls import client_context

    config = ctx.config
    login = None
    if sasl := config.sasl:
        login = Login(sasl.mechanism or "PLAIN", ctx.secret(sasl.user_secret), ctx.secret(sasl.password_secret))
    if (iam := config.aws_msk_iam_auth) is not None and who is not None:
        region = iam.region

        async def token() -> str:
            return msk.token(await who.get(), region, ctx.clock.now())

        login = Login("OAUTHBEARER", "", "", token)
    given = options.read(config.config)[0]
    given.pop("initial", None)
    return Cluster(
        brokers=brokers(config.url),
        client_id=f"argosy-{ctx.event_source}-{ctx.event_name}",
        tls=client_context(config.tls, ctx.secret) if config.tls or who is not None else None,
        login=login,
        options=given,
    )


def begins_with_oldest(config: KafkaConfig) -> bool:
    """Whether a group that has read nothing yet begins with the oldest message."""
    group = config.consumer_group
    return bool(group and group.oldest) or options.read(config.config)[0].get("initial") == "earliest"


def group_settings(config: KafkaConfig) -> dict[str, Any]:
    """What the library's consumer is told of the group; sarama's times where ``config`` says nothing else."""
    from aiokafka.coordinator.assignors.range import RangePartitionAssignor
    from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
    from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

    group = config.consumer_group
    if group is None:
        return {}
    strategies = {"roundrobin": RoundRobinPartitionAssignor, "sticky": StickyPartitionAssignor}
    settings: dict[str, Any] = {
        "group_id": group.group_name,
        "partition_assignment_strategy": (strategies.get(group.rebalance_strategy, RangePartitionAssignor),),
        "session_timeout_ms": _SESSION_MILLISECONDS,
        "rebalance_timeout_ms": _REBALANCE_MILLISECONDS,
        # A source that waits for the bus is alive: it says so to the group by heartbeats, however long it waits.
        "max_poll_interval_ms": _FOR_EVER_MILLISECONDS,
    }
    given = options.read(config.config)[0]
    return {name: given.get(name, value) for name, value in settings.items()}
