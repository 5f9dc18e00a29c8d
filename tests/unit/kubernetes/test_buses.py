"""An EventBus as pods use it: the server that ``status.config`` or EVENTBUS_CONFIG names, as a manifest."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.errors import ConfigError
from argosy.kubernetes.buses import access_of, bus_manifest, reachable, with_authority
from argosy.manifests.bundle import from_objects

JETSTREAM = {
    "url": "nats://eventbus-main-js-svc.team.svc:4222",
    "accessSecret": {"name": "eventbus-main-js-client-auth", "key": "client-auth"},
    "streamConfig": "maxAge: 72h\n",
    "tls": {"caCertSecret": {"name": "eventbus-main-js-server", "key": "ca-cert"}},
}


def item(spec: dict[str, Any], status: dict[str, Any] | None = None) -> dict[str, Any]:
    """An EventBus as the API has it."""
    about = {"namespace": "team", "name": "main", "resourceVersion": "1"}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "EventBus",
        "metadata": about,
        "spec": spec,
        "status": status or {},
    }


def test_a_jetstream_server_becomes_a_bus_that_names_it_with_all_that_is_said_of_it() -> None:
    bundle = from_objects([bus_manifest("team", "main", {"jetstream": JETSTREAM})])

    bus = bundle.event_bus("team", "main")
    assert bus is not None and not bundle.count("error") + bundle.count("warning")
    assert bus.spec.engine == "jetstreamExotic"
    exotic = bus.spec.jetstream_exotic
    assert exotic is not None and exotic.access_secret is not None and exotic.tls is not None
    assert exotic.url == JETSTREAM["url"]
    assert exotic.stream_config == "maxAge: 72h\n"
    assert exotic.access_secret.name == "eventbus-main-js-client-auth"
    assert exotic.tls.ca_cert_secret is not None and exotic.tls.ca_cert_secret.key == "ca-cert"


def test_what_upstream_leaves_empty_or_adds_is_no_fault() -> None:
    config = {
        "nats": None,
        "jetstream": {"url": "nats://host:4222", "accessSecret": None, "streamConfig": "", "new": 1},
    }

    assert bus_manifest("team", "main", config)["spec"] == {"jetstreamExotic": {"url": "nats://host:4222"}}
    assert access_of(config) is None


def test_kafka_stays_kafka() -> None:
    config = {"kafka": {"url": "kafka:9092", "topic": "team-main", "consumerGroup": {"groupName": "g"}}}

    bus = from_objects([bus_manifest("team", "main", config)]).event_bus("team", "main")
    assert bus is not None and bus.spec.kafka is not None
    assert (bus.spec.engine, bus.spec.kafka.topic) == ("kafka", "team-main")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"nats": {"url": "nats://stan:4222"}}, "NATS Streaming"),
        ({}, "names neither 'jetstream' nor 'kafka'"),
        ({"jetstream": {}}, "names neither"),
    ],
)
def test_a_server_that_is_not_spoken_to_is_refused_with_the_way_out(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        bus_manifest("team", "main", config)


def test_the_secret_that_opens_a_bus_is_told() -> None:
    assert access_of({"jetstream": JETSTREAM}) == ("eventbus-main-js-client-auth", "client-auth")


def test_somebody_elses_server_is_taken_from_the_spec_and_an_installed_one_from_the_status() -> None:
    exotic = item({"jetstreamExotic": {"url": "nats://host:4222"}})
    assert reachable(exotic) is exotic

    installed = item({"jetstream": {"version": "latest"}}, {"config": {"jetstream": JETSTREAM}})
    assert reachable(installed) == bus_manifest("team", "main", {"jetstream": JETSTREAM})

    # The first engine counts, as it does for the controller.
    both = item({"jetstream": {"version": "latest"}, "jetstreamExotic": {"url": "nats://host:4222"}})
    assert reachable(both) is None


def test_a_server_that_upstreams_controller_installed_is_trusted_by_the_authority_that_it_made() -> None:
    plain = {key: value for key, value in JETSTREAM.items() if key != "tls"}
    authority = {"caCertSecret": {"name": "eventbus-main-js-server", "key": "ca-cert"}}

    assert with_authority("team", "main", {"jetstream": plain})["jetstream"]["tls"] == authority
    found = reachable(item({"jetstream": {"version": "latest"}}, {"config": {"jetstream": plain}}))
    assert found is not None and found["spec"]["jetstreamExotic"]["tls"] == authority
    # What says how it is trusted, and what is nobody's installation, stays as it is.
    other = {**JETSTREAM, "tls": {"caCertSecret": {"name": "mine", "key": "ca"}}}
    assert with_authority("team", "main", {"jetstream": other}) == {"jetstream": other}
    elsewhere = {"jetstream": {"url": "nats://nats.shared.svc:4222"}}
    assert with_authority("team", "main", elsewhere) == elsewhere
    assert with_authority("other", "main", {"jetstream": plain}) == {"jetstream": plain}


def test_one_that_is_not_installed_yet_cannot_be_reached() -> None:
    assert reachable(item({"jetstream": {"version": "latest"}})) is None
