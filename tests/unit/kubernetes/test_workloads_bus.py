"""What an EventBus becomes: servers of its own and how they are reached, or the word of who runs them."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
import yaml

from argosy.bus._jetstream_settings import StreamSettings
from argosy.errors import ConfigError
from argosy.kubernetes.buses import bus_manifest
from argosy.kubernetes.workloads import Settings, bus_config, event_bus, installed, parse
from argosy.manifests.eventbus import parse_event_bus
from tests.unit.kubernetes.objects import Object, credentials, event_bus_of, main, only, pod

ONE = "{jetstream: {version: latest, replicas: 1}}"
THREE = "{jetstream: {version: latest}}"


def made(spec: str = THREE, settings: Settings | None = None, **more: str) -> list[Object]:
    """What an EventBus becomes."""
    return event_bus(event_bus_of(spec, **more), settings or Settings(), credentials())


def written(spec: str) -> str:
    """The servers' configuration."""
    text: str = only(made(spec), "ConfigMap")["data"]["nats-js"]
    return text


class TestTheObjects:
    def test_have_upstreams_names_and_go_with_their_owner(self) -> None:
        objects = made()

        assert [(one["kind"], one["metadata"]["name"]) for one in objects] == [
            ("Secret", "eventbus-default-js-server"),
            ("Secret", "eventbus-default-js-client-auth"),
            ("ConfigMap", "eventbus-default-js-config"),
            ("Service", "eventbus-default-js-svc"),
            ("StatefulSet", "eventbus-default-js"),
            ("PodDisruptionBudget", "eventbus-default-js"),
            ("NetworkPolicy", "eventbus-default-js"),
        ]
        for one in objects:
            assert one["metadata"]["ownerReferences"][0]["kind"] == "EventBus"
            assert one["metadata"]["labels"]["eventbus-name"] == "default"

    def test_of_a_bus_with_a_long_name_have_names_that_pods_can_have_and_no_other_bus_has(self) -> None:
        first, second = (made(name="b" * 60 + end) for end in "xy")

        sets = [only(one, "StatefulSet")["metadata"]["name"] for one in (first, second)]
        assert sets[0] != sets[1]
        assert all(len(name) <= 52 for name in sets)
        assert all(len(only(one, "Service")["metadata"]["name"]) <= 63 for one in (first, second))

    def test_of_a_bus_whose_name_is_longer_than_a_label_let_its_clients_in(self) -> None:
        spec = only(made(name="b" * 70), "NetworkPolicy")["spec"]

        labels = [one["podSelector"].get("matchLabels", {}) for one in spec["ingress"][0]["from"]]
        assert all(len(value) <= 63 for one in [*labels, spec["podSelector"]["matchLabels"]] for value in one.values())
        assert labels[1]["argosy.dev/event-bus"].startswith("bbb")

    def test_a_single_server_has_no_quorum_to_keep(self) -> None:
        assert "PodDisruptionBudget" not in {one["kind"] for one in made(ONE)}
        assert only(made(), "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1

    def test_the_service_has_no_address_and_names_servers_that_are_not_ready(self) -> None:
        spec = only(made(), "Service")["spec"]

        assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)
        assert {one["name"]: one["port"] for one in spec["ports"]} == {
            "tcp-client": 4222,
            "cluster": 6222,
            "metrics": 7777,
            "monitor": 8222,
        }

    def test_only_pods_of_the_namespace_that_use_a_bus_reach_it_and_servers_only_each_other(self) -> None:
        spec = only(made(), "NetworkPolicy")["spec"]

        clients, servers, metrics = spec["ingress"]
        assert [one["port"] for one in clients["ports"]] == [4222]
        assert all(one.keys() == {"podSelector"} for one in clients["from"])
        assert clients["from"][0]["podSelector"]["matchExpressions"][0]["values"] == [
            "eventsource-controller",
            "sensor-controller",
            "argosy-runner",
        ]
        assert servers == {
            "from": [{"podSelector": spec["podSelector"]}],
            "ports": [{"protocol": "TCP", "port": 6222}],
        }
        assert [one["port"] for one in metrics["ports"]] == [7777]
        assert "NetworkPolicy" not in {one["kind"] for one in made(settings=Settings(network_policy=False))}


class TestTheServers:
    def test_are_upstreams_three_containers(self) -> None:
        objects = made()

        server, reloader, metrics = pod(objects, "StatefulSet")["containers"]
        assert [one["name"] for one in (server, reloader, metrics)] == ["main", "reloader", "metrics"]
        assert server["command"] == ["/nats-server", "--config", "/etc/nats-config/nats-js.conf"]
        assert server["lifecycle"]["preStop"]["exec"]["command"] == ["/nats-server", "-sl=ldm=/var/run/nats/nats.pid"]
        assert "/etc/nats-config/server-cert.pem" in reloader["args"]
        assert metrics["args"][-1] == "http://localhost:8222"
        assert pod(objects, "StatefulSet")["shareProcessNamespace"]
        assert not pod(objects, "StatefulSet")["automountServiceAccountToken"]

    def test_are_shaped_by_their_templates(self) -> None:
        spec = """{jetstream: {version: latest, replicas: 1, startArgs: ['-D'], serviceAccountName: sa, nodeSelector: {a: b},
            metadata: {labels: {x: y}, annotations: {c: d}}, imagePullSecrets: [{name: p}], priorityClassName: h, priority: 2,
            tolerations: [{operator: Exists}], affinity: {podAntiAffinity: {}}, securityContext: {fsGroup: 5},
            containerTemplate: {resources: {limits: {cpu: 1}}, imagePullPolicy: Always, securityContext: {readOnlyRootFilesystem: false}},
            reloaderContainerTemplate: {resources: {limits: {cpu: 2}}}, metricsContainerTemplate: {imagePullPolicy: Never}}}"""

        objects = made(spec)

        inner = pod(objects, "StatefulSet")
        server, reloader, metrics = inner["containers"]
        assert server["args"] == ["-D"]
        assert (server["resources"], server["imagePullPolicy"]) == ({"limits": {"cpu": 1}}, "Always")
        assert not server["securityContext"]["readOnlyRootFilesystem"]
        assert reloader["resources"] == {"limits": {"cpu": 2}}
        assert metrics["imagePullPolicy"] == "Never"
        assert inner["securityContext"]["fsGroup"] == 5
        assert (inner["serviceAccountName"], inner["nodeSelector"], inner["affinity"]) == (
            "sa",
            {"a": "b"},
            {"podAntiAffinity": {}},
        )
        assert (inner["imagePullSecrets"], inner["priorityClassName"], inner["priority"]) == ([{"name": "p"}], "h", 2)
        about = only(objects, "StatefulSet")["spec"]["template"]["metadata"]
        assert about["labels"]["x"] == "y" and about["annotations"]["c"] == "d"

    def test_are_no_root_unless_their_files_are_roots(self) -> None:
        ours = made()
        theirs = event_bus(event_bus_of(THREE), Settings(), replace(credentials(), adopted=True))

        assert pod(ours, "StatefulSet")["securityContext"]["runAsUser"] == 9731
        assert pod(theirs, "StatefulSet")["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}

    def test_keep_their_data_on_a_volume_if_the_manifest_asks_for_one(self) -> None:
        spec = "{jetstream: {version: latest, persistence: {storageClassName: fast, volumeSize: 5Gi, accessMode: ReadWriteMany}}}"

        objects = made(spec)

        (claim,) = only(objects, "StatefulSet")["spec"]["volumeClaimTemplates"]
        assert claim["metadata"]["name"] == "eventbus-default-js-vol"
        assert claim["spec"] == {
            "accessModes": ["ReadWriteMany"],
            "volumeMode": "Filesystem",
            "storageClassName": "fast",
            "resources": {"requests": {"storage": "5Gi"}},
        }
        assert {"name": "eventbus-default-js-vol", "mountPath": "/data/jetstream"} in main(objects, "StatefulSet")[
            "volumeMounts"
        ]
        plain = only(made("{jetstream: {version: latest, persistence: {}}}"), "StatefulSet")["spec"]
        assert plain["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] == "20Gi"
        assert "volumeClaimTemplates" not in only(made(), "StatefulSet")["spec"]

    def test_start_anew_when_their_configuration_changes_and_not_for_a_certificate(self) -> None:
        def note(spec: str) -> Any:
            return only(made(spec), "StatefulSet")["spec"]["template"]["metadata"]["annotations"]["argosy.dev/config"]

        assert note(THREE) != note("{jetstream: {version: latest, maxPayload: 2MB}}")
        assert note(THREE) == note("{jetstream: {version: latest, streamConfig: 'maxAge: 1h'}}")

    def test_see_of_the_secret_what_they_need_and_not_the_authoritys_key(self) -> None:
        volumes = {one["name"]: one for one in pod(made(), "StatefulSet")["volumes"]}

        items = volumes["config-volume"]["projected"]["sources"][1]["secret"]["items"]
        held = only(made(ONE)[:1], "Secret")["data"]
        assert {one["key"] for one in items} <= held.keys()
        assert not [one for one in items if "authority" in one["key"]]
        assert "authority-private-key" in held


class TestTheConfiguration:
    def test_takes_variables_out_of_quotes_or_they_are_plain_text(self) -> None:
        text = written(ONE)

        assert "encryption_key: $JS_KEY" in text
        assert '"$' not in text

    def test_of_several_servers_has_their_routes_and_of_one_none(self) -> None:
        assert "cluster {" not in written(ONE)
        text = written("{jetstream: {version: latest, replicas: 5}}")
        for index in range(5):
            assert f"nats://eventbus-default-js-{index}.eventbus-default-js-svc.shop.svc:6222" in text

    def test_has_the_settings_of_the_bus_in_the_place_of_the_clusters(self) -> None:
        settings = parse("eventBus: {jetstream: {settings: 'max_file_store: 1TB'}}")
        text = only(made(ONE, settings), "ConfigMap")["data"]["nats-js"]
        own = only(
            made("{jetstream: {version: latest, settings: 'max_memory_store: 1GB', maxPayload: 8MB}}", settings),
            "ConfigMap",
        )["data"]["nats-js"]

        assert "max_file_store: 1TB" in text and "max_payload: 1MB" in text
        assert "max_memory_store: 1GB" in own and "max_file_store" not in own and "max_payload: 8MB" in own


class TestTheStatus:
    def test_says_how_the_bus_is_reached_and_whom_to_trust(self) -> None:
        config = bus_config(event_bus_of(THREE), Settings())["jetstream"]

        assert config["url"] == "nats://eventbus-default-js-svc.shop.svc:4222"
        assert config["accessSecret"] == {"name": "eventbus-default-js-client-auth", "key": "client-auth"}
        assert config["tls"] == {"caCertSecret": {"name": "eventbus-default-js-client-auth", "key": "ca-cert"}}
        manifest = bus_manifest("shop", "default", {"jetstream": config})
        assert parse_event_bus(manifest)[1] == []

    @pytest.mark.parametrize(
        ("spec", "copies"),
        [
            (ONE, 1),
            (THREE, 3),
            ("{jetstream: {version: latest, replicas: 5}}", 3),
            ("{jetstream: {version: latest, replicas: 3, streamConfig: 'replicas: 1'}}", 1),
            ("{jetstream: {version: latest, replicas: 1, streamConfig: 'replicas: 5'}}", 1),
        ],
    )
    def test_asks_for_no_more_copies_of_an_event_than_there_are_servers(self, spec: str, copies: int) -> None:
        assert limits(spec)["replicas"] == copies

    def test_has_the_limits_of_the_bus_over_those_of_the_cluster_whatever_their_case(self) -> None:
        settings = parse("eventBus: {jetstream: {streamConfig: '{maxage: 1h, maxMsgs: 7}'}}")

        found = limits("{jetstream: {version: latest, streamConfig: 'maxAge: 2h'}}", settings)

        assert found == {"maxAge": "2h", "maxMsgs": 7, "replicas": 3}

    def test_passes_on_what_somebody_else_runs(self) -> None:
        exotic = event_bus_of(
            "{jetstreamExotic: {url: 'nats://a:4222', accessSecret: {name: s, key: k}, tls: {insecureSkipVerify: true}}}"
        )
        kafka = event_bus_of("{kafka: {url: 'k:9092', consumerGroup: {groupName: g}}}")

        assert bus_config(exotic, Settings()) == {
            "jetstream": {
                "url": "nats://a:4222",
                "accessSecret": {"name": "s", "key": "k"},
                "tls": {"insecureSkipVerify": True},
            }
        }
        assert bus_config(kafka, Settings()) == {
            "kafka": {"url": "k:9092", "topic": "shop-default", "consumerGroup": {"groupName": "g"}}
        }
        for one in (exotic, kafka):
            assert event_bus(one, Settings(), None) == [] and installed(one, Settings()) is None

    def test_refuses_limits_that_do_not_go_with_the_clusters_with_their_place(self) -> None:
        bus = event_bus_of("{jetstream: {version: latest, streamConfig: 'duplicates: 2h'}}")
        settings = parse("eventBus: {jetstream: {streamConfig: 'maxAge: 1h'}}")

        with pytest.raises(ConfigError, match=r"spec.jetstream.streamConfig.*'duplicates' is longer than 'maxAge'"):
            bus_config(bus, settings)

    @pytest.mark.parametrize("own", ["maxAge: 1m", "{maxAge: 1m, colour: red}"])
    def test_take_a_short_age_though_the_clusters_window_is_longer(self, own: str) -> None:
        found = limits(f"{{jetstream: {{version: latest, streamConfig: '{own}'}}}}")

        read = StreamSettings.parse(found)
        assert (read.max_age_seconds, read.duplicates_seconds, read.max_messages) == (60, 60, -1)


class TestNatsStreaming:
    def test_that_is_installed_is_served_by_jetstream_with_its_limits(self) -> None:
        spec = "{nats: {native: {replicas: 3, auth: token, maxAge: 72h, maxBytes: 1GB, maxMsgs: 9, persistence: {volumeSize: 1Gi}, nodeSelector: {a: b}}}}"

        objects = made(spec)

        assert only(objects, "StatefulSet")["metadata"]["name"] == "eventbus-default-js"
        assert pod(objects, "StatefulSet")["nodeSelector"] == {"a": "b"}
        assert only(objects, "StatefulSet")["spec"]["volumeClaimTemplates"]
        assert limits(spec).items() >= {"maxAge": "72h", "maxBytes": 2**30, "maxMsgs": 9, "replicas": 3}.items()

    @pytest.mark.parametrize("size", ["much", "inf", "1e400", "1GG"])
    def test_a_size_that_is_none_is_refused_with_its_place(self, size: str) -> None:
        with pytest.raises(ConfigError, match=rf"spec.nats.native.maxBytes: '{size}' is no size"):
            made(f"{{nats: {{native: {{maxBytes: '{size}'}}}}}}")

    @pytest.mark.parametrize("written", ["", "replicas: 1"])
    def test_has_three_servers_at_least_as_ever(self, written: str) -> None:
        assert only(made(f"{{nats: {{native: {{{written}}}}}}}"), "StatefulSet")["spec"]["replicas"] == 3


class TestVersions:
    def test_that_the_configuration_has_not_are_refused_with_those_that_it_has(self) -> None:
        with pytest.raises(
            ConfigError, match=r"spec.jetstream.version.*no NATS version '9.9'; write one of: latest, 2.10.29"
        ):
            made("{jetstream: {version: '9.9'}}")

    def test_choose_the_images_of_the_configuration(self) -> None:
        settings = parse(
            """eventBus: {jetstream: {versions: [
            {version: 2.8.1, natsImage: 'r:5000/nats:2.11.1', startCommand: nats-server}]}}"""
        )

        containers = pod(made("{jetstream: {version: 2.8.1}}", settings), "StatefulSet")["containers"]

        assert [(one["name"], one["image"]) for one in containers] == [("main", "r:5000/nats:2.11.1")]
        assert containers[0]["command"][0] == "nats-server"

    def test_that_are_too_old_are_refused(self) -> None:
        settings = parse("eventBus: {jetstream: {versions: [{version: 2.9.1, natsImage: 'nats:2.9.1'}]}}")

        with pytest.raises(ConfigError, match="NATS '2.9.1' is older than 2.10"):
            made("{jetstream: {version: 2.9.1}}", settings)


class TestTheControllersConfiguration:
    UPSTREAM = """
eventBus:
  nats:
    versions:
    - version: 0.22.1
      natsStreamingImage: nats-streaming:0.22.1
      metricsExporterImage: natsio/prometheus-nats-exporter:0.8.0
  jetstream:
    settings: |
      # a comment
      max_file_store: 1TB
    streamConfig: |
      maxMsgs: 50000
      replicas: 3
    versions:
    - version: latest
      natsImage: nats:2.10.29
      metricsExporterImage: exporter:1
      configReloaderImage: reloader:1
      startCommand: /nats-server
"""

    def test_of_upstream_is_read_as_it_is(self) -> None:
        settings = parse(self.UPSTREAM)

        assert settings.jetstream.version("latest").config_reloader_image == "reloader:1"
        assert "max_file_store: 1TB" in settings.jetstream.settings

    def test_has_what_is_ours_in_a_block_of_its_own(self) -> None:
        settings = parse("argosy: {image: 'x:1', mode: shared, shards: 3, imagePullSecrets: [p], runAsUser: 0}")

        assert (settings.image, settings.mode, settings.shards, settings.run_as_user) == ("x:1", "shared", 3, 0)
        assert parse("") == Settings()

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("[]", "is not a mapping"),
            ("a: b: c", "is not YAML"),
            ("argosy: {imagePullPolic: x}", "argosy.imagePullPolic: unknown field.*did you mean 'imagePullPolicy'"),
            ("argosy: {mode: both}", "'mode' must be 'dedicated' or 'shared'"),
            ("argosy: {jetstream: {}}", "'jetstream' belongs into 'eventBus'"),
            ("eventBus: {jetstream: {versions: []}}", "needs at least 1 entry"),
            ("eventBus: {jetstream: {versions: [{version: a}]}}", "'natsImage' is missing"),
            (
                "eventBus: {jetstream: {streamConfig: 'maxMsg: 1'}}",
                "streamConfig: unknown stream setting 'maxMsg'; did you",
            ),
            (
                "eventBus: {jetstream: {streamConfig: 'maxMsgs: x'}}",
                "eventBus.jetstream.streamConfig: .*'maxMsgs' is 'x'",
            ),
        ],
    )
    def test_that_is_wrong_says_where(self, text: str, told: str) -> None:
        with pytest.raises(ConfigError, match=told):
            parse(text)


def limits(spec: str, settings: Settings | None = None) -> dict[str, Any]:
    """The limits of the event log."""
    config: dict[str, Any] = yaml.safe_load(
        bus_config(event_bus_of(spec), settings or Settings())["jetstream"]["streamConfig"]
    )
    return config


def test_the_credentials_are_in_the_secrets_and_nowhere_else() -> None:
    held = credentials()
    objects = made()

    others = str([one for one in objects if one["kind"] != "Secret"])
    for secret in (held.password, held.system_password, held.encryption_key):
        assert secret not in others
        assert base64.b64encode(secret.encode()).decode() not in others
        assert secret not in repr(held)
