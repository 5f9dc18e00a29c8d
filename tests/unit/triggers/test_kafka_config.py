"""The block of the ``kafka`` trigger without a broker: what ``argosy lint`` says of it."""

from __future__ import annotations

from argosy.manifests.bundle import loads
from argosy.triggers.kafka import Kafka


def test_a_partition_that_nobody_reads_is_said_by_lint_at_its_place() -> None:
    # Given the example with a partition, as old manifests have it
    text = Kafka.example.replace("topic: billing", "topic: billing\n          partition: 3")
    # When it is read
    found = [each for each in loads(text).findings if each.code == "no-effect"]
    # Then the partition is named
    assert [(each.severity, each.path) for each in found] == [
        ("warning", "spec.triggers[0].template.kafka.partition"),
    ]
    # And nothing is said where it is left out
    assert not [each for each in loads(Kafka.example).findings if each.code == "no-effect"]
