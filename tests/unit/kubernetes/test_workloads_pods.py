"""What an EventSource and a Sensor become where each has pods of its own, and what serves them where they share one."""

from __future__ import annotations

import base64
import json

import pytest

from argosy.errors import ConfigError
from argosy.kubernetes.names import shard_of
from argosy.kubernetes.workloads import (
    Settings,
    api_secret,
    event_source,
    runners,
    sensor,
    shared_event_source,
    without_effect,
)
from argosy.runtime.app import Shard
from tests.unit.kubernetes.objects import BUS, Object, env, event_source_of, main, only, pod, sensor_of

WEBHOOK = "webhook: {new: {port: '12000', endpoint: /new, method: POST}}"
QUEUE = "amqp: {new: {url: 'amqp://mq', exchangeName: e, exchangeType: topic, routingKey: r, connectionBackoff: {steps: 1}}}"
LOG = "[{template: {name: log, log: {}}}]"
WORKFLOW = """[{template: {name: run, argoWorkflow: {operation: submit, source: {resource: {
    apiVersion: argoproj.io/v1alpha1, kind: Workflow, metadata: {generateName: w-}, spec: {}}}}}}]"""


def made(spec: str, **more: str) -> list[Object]:
    """What an EventSource becomes."""
    return event_source(event_source_of(spec, **more), BUS, Settings())


def acts(triggers: str = LOG, rest: str = "", **more: str) -> list[Object]:
    """What a Sensor becomes."""
    text = f"{{dependencies: [{{name: a, eventSourceName: orders, eventName: new}}], triggers: {triggers}{rest}}}"
    return sensor(sensor_of(text, **more), BUS, Settings())


class TestNamesAndLabels:
    def test_are_upstreams_so_that_what_looks_for_the_pods_finds_them(self) -> None:
        deployment = only(made(WEBHOOK, metadata="{labels: {team: shop, controller: mine}}"), "Deployment")

        own = {"controller": "eventsource-controller", "eventsource-name": "orders", "owner-name": "orders"}
        assert deployment["metadata"]["name"] == "orders-eventsource"
        assert deployment["spec"]["selector"]["matchLabels"] == own
        assert deployment["spec"]["template"]["metadata"]["labels"] == own
        assert deployment["metadata"]["labels"] == {**own, "team": "shop", "app.kubernetes.io/managed-by": "argosy"}

    def test_of_a_sensor_speak_of_the_sensor(self) -> None:
        deployment = only(acts(), "Deployment")

        assert deployment["metadata"]["name"] == "orders-sensor"
        assert deployment["spec"]["selector"]["matchLabels"] == {
            "controller": "sensor-controller",
            "sensor-name": "orders",
            "owner-name": "orders",
        }
        assert main([deployment])["args"] == ["sensor-service"]

    def test_the_objects_go_with_their_owner(self) -> None:
        for one in made(f"{WEBHOOK}\nreplicas: 2\nservice: {{ports: [{{port: 80}}]}}"):
            (owner,) = one["metadata"]["ownerReferences"]
            assert (owner["kind"], owner["name"], owner["uid"]) == ("EventSource", "orders", "uid-orders")
            assert owner["controller"] and owner["blockOwnerDeletion"]

    def test_of_the_template_the_pods_own_labels_win(self) -> None:
        text = f"{WEBHOOK}\ntemplate: {{metadata: {{labels: {{a: b, owner-name: x}}, annotations: {{c: d}}}}}}"

        about = only(made(text), "Deployment")["spec"]["template"]["metadata"]

        assert (about["labels"]["a"], about["labels"]["owner-name"]) == ("b", "orders")
        assert about["annotations"] == {"c": "d"}

    def test_a_name_longer_than_a_label_is_shortened_and_stays_one_of_its_own(self) -> None:
        first, second = (only(made(WEBHOOK, name="x" * 70 + end), "Deployment") for end in "ab")

        labels = [one["spec"]["selector"]["matchLabels"]["owner-name"] for one in (first, second)]
        assert labels[0] != labels[1]
        assert all(len(label) <= 63 for label in labels)


class TestTheEnvironment:
    def test_carries_the_object_without_what_changes_while_it_runs(self) -> None:
        text = env(made(WEBHOOK, metadata="{labels: {a: b}, resourceVersion: '7'}"))["EVENTSOURCE_OBJECT"]

        carried = json.loads(base64.b64decode(text))
        assert carried["metadata"] == {"name": "orders", "namespace": "shop", "uid": "uid-orders"}
        assert carried["spec"]["webhook"]["new"]["port"] == "12000"

    def test_has_upstreams_words_in_upstreams_order(self) -> None:
        names = list(env(made(f"{WEBHOOK}\ntemplate: {{container: {{env: [{{name: MINE, value: x}}]}}}}")))

        assert names[:6] == [
            "MINE",
            "EVENTSOURCE_OBJECT",
            "EVENTBUS_SUBJECT",
            "POD_NAME",
            "LEADER_ELECTION",
            "EVENTBUS_CONFIG",
        ]

    def test_tells_the_bus_as_its_status_has_it(self) -> None:
        variables = env(acts())

        assert json.loads(base64.b64decode(variables["EVENTBUS_CONFIG"])) == BUS
        assert variables["EVENTBUS_SUBJECT"] == "eventbus-shop"
        assert variables["POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}

    def test_a_variable_of_the_template_with_a_name_of_ours_does_not_count_and_no_name_stands_twice(self) -> None:
        text = f"{WEBHOOK}\ntemplate: {{container: {{env: [{{name: POD_NAME, value: x}}, {{name: A, value: '1'}}, {{name: A, value: '2'}}]}}}}"

        names = [one["name"] for one in main(made(text))["env"]]

        assert sorted(names) == sorted(set(names))
        assert env(made(text))["A"] == "2"
        assert env(made(text))["POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}

    def test_has_the_token_of_the_api_where_there_is_one(self) -> None:
        reference = env(acts())["ARGOSY_API_TOKEN"]["secretKeyRef"]

        assert reference == {"name": "argosy-api", "key": "token", "optional": True}
        secret = api_secret("shop", "s3cret")
        assert base64.b64decode(secret["data"]["token"]) == b"s3cret"
        assert (secret["metadata"]["name"], secret["metadata"]["namespace"]) == ("argosy-api", "shop")

    def test_an_object_that_no_environment_can_hold_is_refused_with_the_way_out(self) -> None:
        source = event_source_of(f"webhook: {{new: {{port: '1', endpoint: /x, metadata: {{a: {'x' * 100_000}}}}}}}")

        with pytest.raises(ConfigError, match=r"'orders' is too large .*argosy.dev/mode: shared"):
            event_source(source, BUS, Settings())


class TestVolumes:
    def test_bring_the_secrets_and_config_maps_that_the_manifest_names_to_upstreams_places(self) -> None:
        text = """webhook: {new: {port: '1', endpoint: /x, authSecret: {name: hook, key: t}}}"""
        triggers = """[{template: {name: s, http: {url: 'https://x', secureHeaders: [
            {name: A, valueFrom: {configMapKeyRef: {name: words, key: a}}},
            {name: B, valueFrom: {secretKeyRef: {name: api, key: b}}}]}}}]"""

        assert _mounted(made(text))["/argo-events/secrets/hook"] == {"secret": {"secretName": "hook", "optional": True}}
        sensors = _mounted(acts(triggers))
        assert sensors["/argo-events/secrets/api"] == {"secret": {"secretName": "api"}}
        assert sensors["/argo-events/config/words"] == {"configMap": {"name": "words"}}

    def test_that_are_not_there_yet_hold_up_no_other_event_but_a_sensor_lest_its_actions_fail(self) -> None:
        hook = "webhook: {new: {port: '1', endpoint: /x, authSecret: {name: late, key: t}}}"
        triggers = "[{template: {name: s, slack: {channel: c, message: m, slackToken: {name: late, key: t}}}}]"

        assert _mounted(made(hook))["/argo-events/secrets/late"]["secret"]["optional"]
        assert "optional" not in _mounted(acts(triggers))["/argo-events/secrets/late"]["secret"]
        assert "optional" not in _mounted(made(hook))["/etc/eventbus/auth"]["secret"]

    def test_bring_those_of_dead_letter_triggers_and_of_blocks_that_parameters_complete(self) -> None:
        triggers = """[{template: {name: s, http: {secureHeaders: [{name: A, valueFrom: {secretKeyRef: {name: first, key: b}}}]}},
            parameters: [{src: {dependencyName: a, dataKey: url}, dest: http.url}],
            dlqTrigger: {template: {name: t, slack: {channel: c, message: m, slackToken: {name: second, key: t}}}}}]"""

        assert {"/argo-events/secrets/first", "/argo-events/secrets/second"} <= _mounted(acts(triggers)).keys()

    def test_show_a_client_of_the_bus_its_credentials_and_whom_to_trust_and_no_key_of_a_server(self) -> None:
        found = _mounted(made(WEBHOOK))

        assert found["/etc/eventbus/auth"]["secret"] == {
            "secretName": "eventbus-default-js-client-auth",
            "items": [{"key": "client-auth", "path": "auth.yaml"}],
        }
        assert found["/argo-events/secrets/eventbus-default-js-client-auth"]["secret"]["items"] == [
            {"key": "ca-cert", "path": "ca-cert"}
        ]

    def test_bring_what_a_kafka_bus_names(self) -> None:
        sasl = {"userSecret": {"name": "k", "key": "u"}, "passwordSecret": {"name": "k", "key": "p"}}
        bus = {"kafka": {"url": "kafka:9092", "topic": "t", "sasl": sasl}}

        found = _mounted(event_source(event_source_of(WEBHOOK), bus, Settings()))

        assert [one["key"] for one in found["/argo-events/secrets/k"]["secret"]["items"]] == ["p", "u"]
        assert "/etc/eventbus/auth" not in found

    def test_what_upstreams_controller_leaves_empty_or_adds_in_the_status_of_a_bus_is_no_fault(self) -> None:
        bus = {"jetstream": {"url": "nats://a:4222", "accessSecret": None, "streamConfig": "", "new": 1}, "nats": None}

        assert _mounted(event_source(event_source_of(WEBHOOK), bus, Settings())).keys() == {"/tmp"}

    @pytest.mark.parametrize(
        ("bus", "told"),
        [
            ({"jetstream": {"url": "nats://a:4222", "tls": {"new": 1}}}, "status of EventBus 'default' .* 'new'"),
            ({"nats": {"url": "x"}}, "'default' is a server of NATS Streaming"),
        ],
    )
    def test_a_bus_that_no_pod_could_use_is_refused_by_name(self, bus: Object, told: str) -> None:
        with pytest.raises(ConfigError, match=told):
            event_source(event_source_of(WEBHOOK), bus, Settings())

    def test_have_names_that_the_api_takes_also_for_a_secret_with_dots(self) -> None:
        objects = made("webhook: {new: {port: '1', endpoint: /x, authSecret: {name: my.hook, key: t}}}")

        names = [one["name"] for one in pod(objects)["volumes"]]
        assert all("." not in name for name in names)
        assert "/argo-events/secrets/my.hook" in _mounted(objects)

    def test_never_stand_beside_a_volume_or_path_of_the_template_twice(self) -> None:
        template = "{volumes: [{name: tmp, emptyDir: {}}, {name: x, emptyDir: {}}], container: {volumeMounts: [{name: x, mountPath: /tmp}, {name: tmp, mountPath: /d}]}}"

        objects = made(f"{WEBHOOK}\ntemplate: {template}")

        paths = [one["mountPath"] for one in main(objects)["volumeMounts"]]
        names = [one["name"] for one in pod(objects)["volumes"]]
        assert paths[:2] == ["/tmp", "/d"]
        assert len(paths) == len(set(paths)) and len(names) == len(set(names))

    def test_a_secret_that_object_and_bus_name_is_mounted_once(self) -> None:
        text = "webhook: {new: {port: '1', endpoint: /x, authSecret: {name: eventbus-default-js-client-auth, key: x}}}"

        found = [one for one in main(made(text))["volumeMounts"] if one["mountPath"].endswith("-js-client-auth")]

        assert len(found) == 1


class TestTheTemplate:
    @pytest.mark.parametrize(
        "wrong",
        [
            "volumes: 7",
            "imagePullSecrets: 7",
            "container: {env: 7, volumeMounts: 7}",
            "container: {securityContext: {capabilities: {add: 7}}}",
            "container: {securityContext: {capabilities: {add: [{}]}}}",
        ],
    )
    def test_that_is_nonsense_in_places_is_left_to_the_api_server_to_refuse(self, wrong: str) -> None:
        assert only(made(f"{WEBHOOK}\ntemplate: {{{wrong}}}"), "Deployment")

    def test_shapes_the_pod_field_by_field(self) -> None:
        template = """{serviceAccountName: sa, nodeSelector: {disk: ssd}, tolerations: [{key: a, operator: Exists}],
            affinity: {nodeAffinity: {}}, imagePullSecrets: [{name: pull}], priorityClassName: high, priority: 3,
            container: {resources: {limits: {memory: 1Gi}}, imagePullPolicy: Always, envFrom: [{secretRef: {name: e}}],
                        image: evil, args: [evil]}}"""

        objects = made(f"{WEBHOOK}\ntemplate: {template}")

        spec, container = pod(objects), main(objects)
        assert spec["serviceAccountName"] == "sa"
        assert spec["nodeSelector"] == {"disk": "ssd"}
        assert spec["tolerations"] == [{"key": "a", "operator": "Exists"}]
        assert spec["affinity"] == {"nodeAffinity": {}}
        assert spec["imagePullSecrets"] == [{"name": "pull"}]
        assert (spec["priorityClassName"], spec["priority"]) == ("high", 3)
        assert container["resources"] == {"limits": {"memory": "1Gi"}}
        assert container["imagePullPolicy"] == "Always"
        assert container["envFrom"] == [{"secretRef": {"name": "e"}}]
        assert (container["image"], container["args"]) == (Settings().image, ["eventsource-service"])

    def test_is_filled_up_with_what_is_safe(self) -> None:
        objects = acts()

        context, confined = pod(objects)["securityContext"], main(objects)["securityContext"]
        assert context["runAsNonRoot"] and context["runAsUser"] == 9731
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert confined == {
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "allowPrivilegeEscalation": False,
        }

    def test_counts_where_it_says_something_about_security(self) -> None:
        template = "{securityContext: {runAsUser: 0}, container: {securityContext: {privileged: true}}}"

        objects = made(f"{WEBHOOK}\ntemplate: {template}")

        assert "runAsNonRoot" not in pod(objects)["securityContext"]
        assert main(objects)["securityContext"]["privileged"]
        assert "allowPrivilegeEscalation" not in main(objects)["securityContext"]

    def test_may_make_the_container_root_although_the_pod_says_that_nobody_is(self) -> None:
        text = f"{WEBHOOK}\ntemplate: {{container: {{securityContext: {{runAsUser: 0}}}}}}"

        objects = made(text)

        # The kubelet starts no container whose user is 0 where this is not said.
        assert pod(objects)["securityContext"]["runAsNonRoot"]
        assert main(objects)["securityContext"]["runAsNonRoot"] is False

    def test_leaves_the_user_to_the_cluster_where_the_settings_do(self) -> None:
        objects = event_source(event_source_of(WEBHOOK), BUS, Settings(run_as_user=0))

        assert pod(objects)["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}, "runAsNonRoot": True}


class TestReplicas:
    def test_of_a_webhook_are_replaced_one_by_one_without_a_gap(self) -> None:
        objects = made(f"{WEBHOOK}\nreplicas: 3")

        spec = only(objects, "Deployment")["spec"]
        assert spec["replicas"] == 3
        assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        assert only(objects, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
        assert "ARGOSY_ELECT" not in env(objects)

    def test_of_a_queue_elect_who_receives(self) -> None:
        objects = made(f"{QUEUE}\nreplicas: 2")

        assert env(objects)["ARGOSY_ELECT"] == "lease"
        assert only(objects, "Deployment")["spec"]["strategy"]["type"] == "RollingUpdate"
        assert pod(objects)["automountServiceAccountToken"]

    def test_a_single_one_of_a_queue_ends_before_the_next_begins_and_asks_nobody(self) -> None:
        objects = made(QUEUE)

        assert only(objects, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
        assert "ARGOSY_ELECT" not in env(objects)
        assert not pod(objects)["automountServiceAccountToken"]
        assert [one["kind"] for one in objects] == ["Deployment"]

    def test_upstreams_annotation_elects_too(self) -> None:
        objects = made(QUEUE, metadata="{annotations: {events.argoproj.io/leader-election: k8s}}")

        assert (env(objects)["LEADER_ELECTION"], env(objects)["ARGOSY_ELECT"]) == ("k8s", "lease")

    @pytest.mark.parametrize("written", ["0", "-1", "null"])
    def test_that_are_none_are_one(self, written: str) -> None:
        assert only(made(f"{WEBHOOK}\nreplicas: {written}"), "Deployment")["spec"]["replicas"] == 1

    def test_of_a_sensor_are_recreated_and_its_history_is_as_long_as_it_says(self) -> None:
        spec = only(acts(rest=", replicas: 2, revisionHistoryLimit: 0"), "Deployment")["spec"]

        assert spec["strategy"] == {"type": "Recreate"}
        assert spec["revisionHistoryLimit"] == 0


class TestProbesAndTheEnd:
    def test_are_asked_on_the_one_port(self) -> None:
        container = main(acts())

        assert container["ports"] == [{"name": "metrics", "containerPort": 7777, "protocol": "TCP"}]
        paths = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
        assert {one["port"] for one in paths.values()} == {"metrics"}
        assert (paths["livenessProbe"]["path"], paths["readinessProbe"]["path"]) == ("/healthz", "/readyz")

    def test_one_event_that_waits_does_not_keep_requests_from_the_others(self) -> None:
        two = "webhook: {a: {port: '12000', endpoint: /a}, b: {port: '12000', endpoint: /b, authSecret: {name: late, key: t}}}"

        assert main(made(two))["readinessProbe"]["httpGet"]["path"] == "/readyz/once"
        assert main(made(WEBHOOK))["readinessProbe"]["httpGet"]["path"] == "/readyz"

    def test_the_pod_has_more_time_than_its_process_takes(self) -> None:
        for seconds in (0.0, 20.0, 90.5):
            settings = Settings(grace_seconds=seconds)
            objects = event_source(event_source_of(WEBHOOK), BUS, settings)

            # Sources, sensors and connections end one after the other.
            assert pod(objects)["terminationGracePeriodSeconds"] > 3 * seconds
            assert float(env(objects).get("ARGOSY_GRACE", "20")) == seconds

    def test_a_pod_that_takes_requests_goes_on_until_nobody_sends_any(self) -> None:
        assert main(made(WEBHOOK))["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]
        assert "lifecycle" not in main(made(QUEUE))


class TestTheToken:
    """Of the service account is given to pods that ask the Kubernetes API, and to no others."""

    @pytest.mark.parametrize(
        ("triggers", "given"),
        [(LOG, False), (WORKFLOW, True), ("[{template: {name: h, http: {url: 'https://x'}}}]", False)],
    )
    def test_of_a_sensor(self, triggers: str, given: bool) -> None:
        objects = acts(triggers, rest=", template: {serviceAccountName: sa}")

        assert pod(objects)["automountServiceAccountToken"] is given
        assert pod(objects)["serviceAccountName"] == "sa"

    def test_of_a_source_that_watches_objects(self) -> None:
        text = "resource: {r: {namespace: shop, group: '', version: v1, resource: secrets, eventTypes: [ADD]}}"

        assert pod(made(text))["automountServiceAccountToken"]

    def test_of_a_handler_of_which_nobody_can_tell_what_it_asks(self) -> None:
        python = "[{template: {name: p, python: {handler: 'shop.orders:new'}}}]"

        assert pod(acts(python, rest=", template: {serviceAccountName: sa}"))["automountServiceAccountToken"]
        assert not pod(acts(python))["automountServiceAccountToken"]


class TestTheService:
    SERVICE = "service: {ports: [{port: 80, targetPort: 12000, name: http}], clusterIP: None, metadata: {labels: {x: y}, annotations: {a: b}}}"

    def test_is_upstreams(self) -> None:
        service = only(made(f"{WEBHOOK}\n{self.SERVICE}", metadata="{labels: {team: shop}}"), "Service")

        assert service["metadata"]["name"] == "orders-eventsource-svc"
        assert service["metadata"]["annotations"] == {"a": "b"}
        assert {"x": "y", "team": "shop", "owner-name": "orders"}.items() <= service["metadata"]["labels"].items()
        assert service["spec"] == {
            "type": "ClusterIP",
            "clusterIP": "None",
            "ports": [{"port": 80, "targetPort": 12000, "name": "http"}],
            "selector": {
                "controller": "eventsource-controller",
                "eventsource-name": "orders",
                "owner-name": "orders",
            },
        }

    def test_names_each_of_several_ports_for_the_api_wants_it(self) -> None:
        service = only(
            made(
                f"{WEBHOOK}\nservice: {{ports: [{{port: 80, name: web}}, {{port: 81}}, {{port: 81, protocol: UDP}}]}}"
            ),
            "Service",
        )

        assert [one["name"] for one in service["spec"]["ports"]] == ["web", "tcp-81", "udp-81"]

    @pytest.mark.parametrize("written", ["", "service: {}", "service: {ports: []}"])
    def test_is_not_there_without_ports(self, written: str) -> None:
        assert [one["kind"] for one in made(f"{WEBHOOK}\n{written}")] == ["Deployment"]

    def test_leads_to_the_runner_that_listens_where_the_namespace_shares_runners(self) -> None:
        source = event_source_of(f"{WEBHOOK}\n{self.SERVICE}")

        (service,) = shared_event_source(source, 5)

        labels = service["spec"]["selector"]
        deployments = {one["metadata"]["name"]: one for one in runners("shop", 5, Settings())}
        chosen = [name for name, one in deployments.items() if one["spec"]["selector"]["matchLabels"] == labels]
        shard = shard_of("port 12000", 5)
        assert chosen == [f"argosy-runner-{shard}"]
        assert env([deployments[chosen[0]]])["ARGOSY_SHARD"] == f"{shard}/5"
        assert Shard(shard, 5).has("port 12000")

    def test_whose_ports_belong_to_different_runners_is_refused_with_the_way_out(self) -> None:
        ports = [port for port in range(12000, 12010) if shard_of(f"port {port}", 2) == 0][:1]
        ports += [port for port in range(12000, 12010) if shard_of(f"port {port}", 2) == 1][:1]
        source = event_source_of(f"{WEBHOOK}\nservice: {{ports: [{{port: {ports[0]}}}, {{port: {ports[1]}}}]}}")

        assert shared_event_source(source, 1)
        with pytest.raises(ConfigError, match=r"different runners.*argosy.dev/shards"):
            shared_event_source(source, 2)


class TestTheRunner:
    def test_is_told_which_part_of_the_namespace_is_its(self) -> None:
        first, second = runners("shop", 2, Settings())

        assert [env([one])["ARGOSY_SHARD"] for one in (first, second)] == ["0/2", "1/2"]
        assert first["spec"]["selector"] != second["spec"]["selector"]
        assert main([first])["args"] == ["runner-service"]
        assert {"POD_NAME", "POD_NAMESPACE", "ARGOSY_API_TOKEN"} <= env([first]).keys()

    def test_acts_as_its_account_and_is_replaced_without_a_gap(self) -> None:
        (runner,) = runners("shop", 1, Settings())

        assert pod([runner])["serviceAccountName"] == "argosy-runner"
        assert pod([runner])["automountServiceAccountToken"]
        assert env([runner])["ARGOSY_ELECT"] == "lease"
        assert runner["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}

    def test_goes_on_taking_requests_while_one_of_its_objects_waits_for_something(self) -> None:
        (runner,) = runners("shop", 1, Settings())

        assert main([runner])["readinessProbe"]["httpGet"]["path"] == "/readyz/once"

    def test_knows_how_objects_are_served_that_do_not_say_it(self) -> None:
        assert env(runners("shop", 1, Settings()))["ARGOSY_MODE"] == "dedicated"
        assert env(runners("shop", 1, Settings(mode="shared")))["ARGOSY_MODE"] == "shared"
        assert env(runners("shop", 1, Settings(), "shared"))["ARGOSY_MODE"] == "shared"

    def test_what_shapes_a_pod_is_named_where_there_is_none(self) -> None:
        template = (
            "{serviceAccountName: sa, volumes: [{name: x, emptyDir: {}}], container: {env: [{name: A, value: b}]}}"
        )

        assert without_effect(event_source_of(f"{QUEUE}\nreplicas: 2\ntemplate: {template}")) == [
            "replicas",
            "template.container.env",
            "template.volumes",
        ]
        assert without_effect(event_source_of(WEBHOOK)) == []


def _mounted(objects: list[Object]) -> dict[str, Object]:
    """What is mounted, by its place."""
    volumes = {
        one["name"]: {key: value for key, value in one.items() if key != "name"} for one in pod(objects)["volumes"]
    }
    return {one["mountPath"]: volumes[one["name"]] for one in main(objects)["volumeMounts"]}
