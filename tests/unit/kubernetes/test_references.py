"""What objects name: Secrets and ConfigMaps wherever they stand in a manifest, and the account as which something is asked."""

from __future__ import annotations

import pytest

from argosy.kubernetes.references import acting, named, references
from argosy.manifests.bundle import Bundle, loads

SOURCE = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {name: all, namespace: team}
spec:
  amqp:
    orders:
      url: amqp://rabbit:5672
      exchangeName: orders
      exchangeType: topic
      routingKey: "#"
      auth: {username: {name: rabbit, key: user}, password: {name: rabbit, key: password}}
      tls: {caCertSecret: {name: rabbit-ca, key: ca.crt}}
"""
SENSOR = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: tell, namespace: team}
spec:
  dependencies: [{name: it, eventSourceName: all, eventName: orders}]
  triggers:
    - template:
        name: call
        http:
          url: http://host/
          secureHeaders:
            - {name: X-A, valueFrom: {secretKeyRef: {name: header, key: a}}}
            - {name: X-B, valueFrom: {configMapKeyRef: {name: settings, key: b}}}
      dlqTrigger:
        template:
          name: last
          slack: {channel: c, slackToken: {name: slack, key: token}}
    - template:
        name: written
        http:
          basicAuth: {username: {name: written, key: user}, password: {name: written, key: password}}
      parameters: [{src: {dependencyName: it, dataKey: url}, dest: http.url}]
"""
BUS = """\
apiVersion: argoproj.io/v1alpha1
kind: EventBus
metadata: {name: default, namespace: team}
spec: {jetstreamExotic: {url: nats://host:4222, accessSecret: {name: nats, key: auth}}}
"""


def bundle(*texts: str) -> Bundle:
    """The objects, without a fault."""
    found = loads("---\n".join(texts))
    assert not [one for one in found.findings if one.severity == "error"], found.findings
    return found


def test_every_secret_and_config_map_of_sources_triggers_and_buses_is_named() -> None:
    named = references(bundle(SOURCE, SENSOR, BUS))

    assert named.secrets.keys() == {"rabbit", "rabbit-ca", "header", "slack", "written", "nats"}
    assert named.config_maps == {"settings": {"b"}}
    assert named.secrets["rabbit"] == {"user", "password"}


def test_what_an_object_that_is_made_names_is_not_the_sensors_to_read() -> None:
    workflow = """{apiVersion: argoproj.io/v1alpha1, kind: Workflow, metadata: {generateName: w-}, spec: {templates: [
        {name: a, container: {env: [{name: A, valueFrom: {secretKeyRef: {name: workflows, key: k}}}]}}]}}"""
    trigger = f"argoWorkflow: {{operation: '', source: {{resource: {workflow}}}}}"
    for word, complete in (("submit", True), ("by-event", False)):
        text = _sensor("{}", trigger.replace("''", word)).replace(
            "}}]\n", "}, parameters: [{src: {dependencyName: it, dataKey: a}, dest: argoWorkflow.operation}]}]\n"
        )
        (sensor,) = bundle(text).sensors
        assert (sensor.triggers[0].config is not None) is complete

        assert not named(sensor).secrets


def _sensor(template: str, trigger: str) -> str:
    return f"""\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: act, namespace: team}}
spec:
  template: {template}
  dependencies: [{{name: it, eventSourceName: all, eventName: orders}}]
  triggers: [{{template: {{name: go, {trigger}}}}}]
"""


CREATES = (
    "k8s: {operation: create, source: {resource: {apiVersion: v1, kind: ConfigMap, metadata: {generateName: a-}}}}"
)


@pytest.mark.parametrize(
    ("template", "trigger", "account"),
    [
        ("{serviceAccountName: worker}", CREATES, "worker"),
        ("{}", CREATES, "default"),
        ("{serviceAccountName: worker}", "log: {}", None),
    ],
)
def test_a_sensor_acts_as_its_account_where_it_asks_the_cluster_for_something(
    template: str, trigger: str, account: str | None
) -> None:
    (sensor,) = bundle(_sensor(template, trigger)).sensors

    found = acting(sensor)
    assert (found and found.name) == account
