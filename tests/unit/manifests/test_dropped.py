"""Old manifests run on: fields that upstream dropped, and names in the wrong case, are warnings. Nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from argosy import registry
from argosy.manifests import artifacts, eventbus, fields, sensor
from argosy.manifests.bundle import Bundle, loads
from argosy.manifests.eventsource import EventSourceSpec
from argosy.sources._http_context import WebhookContext

SENSOR = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: s}}
spec:
  {spec}
  dependencies:
    - {{name: a, eventSourceName: web, eventName: in, {dependency}}}
  triggers:
    - template:
        name: t
        {trigger}
"""

EVENT_SOURCE = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: web}}
spec: {{{spec}}}
"""


def read(text: str, **parts: str) -> Bundle:
    named = {"spec": "replicas: 1", "dependency": "", "trigger": "log: {}"} | parts
    return loads(text.format(**named), "m.yaml")


def said(bundle: Bundle, severity: str) -> list[str]:
    quiet = ("unknown-event-source", "no-events")
    return [one.message for one in bundle.findings if one.severity == severity and one.code not in quiet]


def test_a_dropped_field_is_left_out_with_a_warning_that_says_what_replaced_it() -> None:
    # Given a sensor of a time when conditions were circuits and switches
    bundle = read(SENSOR, spec="circuit: a", trigger="switch: {any: [a]}\n        log: {}")
    # When it is read, then it runs, as upstream runs it
    assert [one.metadata.name for one in bundle.sensors] == ["s"]
    assert said(bundle, "error") == []
    # And each field has its warning, at its place
    found = [(one.line, one.path, one.code) for one in bundle.findings if one.severity == "warning"][:2]
    assert (6, "spec.circuit", "dropped-field") in found
    assert any("'circuit' has no effect since Argo Events 1.5" in text for text in said(bundle, "warning"))
    assert any("'switch' has no effect" in text and "'conditions'" in text for text in said(bundle, "warning"))


def test_a_trigger_that_cannot_do_without_it_is_refused_and_told_the_new_name() -> None:
    bundle = read(SENSOR, trigger="http: {serverURL: 'http://a.example'}")
    assert bundle.sensors == []
    assert said(bundle, "error") == ["'url' is missing"]
    assert any("'serverURL' has no effect" in text and "write 'url'" in text for text in said(bundle, "warning"))


def test_a_name_in_other_case_is_read_as_the_field() -> None:
    # Given fields and a kind of trigger whose case is wrong, one below the other
    trigger = "HTTP: {URL: 'http://a.example', Timeout: later}"
    bundle = read(SENSOR, dependency="Filters: {Data: [{path: body.n, type: number, value: ['1']}]}", trigger=trigger)
    # Then what they say holds: the filter is there, and so is the fault in the timeout, at its place
    warnings = said(bundle, "warning")
    for written, meant in (("Filters", "filters"), ("Data", "data"), ("HTTP", "http"), ("URL", "url")):
        assert any(text.startswith(f"'{written}' is read as '{meant}'") for text in warnings), warnings
    (fault,) = [one for one in bundle.findings if one.severity == "error"]
    assert (fault.line, fault.path) == (12, "spec.triggers[0].template.http.timeout")
    # And without the fault it is a sensor with that filter
    (read_,) = read(SENSOR, dependency="Filters: {Data: [{path: body.n, type: number, value: ['1']}]}").sensors
    assert read_.dependencies[0].filters is not None and read_.dependencies[0].filters.data[0].path == "body.n"


def test_an_event_source_kind_in_other_case_is_received() -> None:
    bundle = read(EVENT_SOURCE, spec="Webhook: {in: {port: '1234', endpoint: /in}}")
    assert [(event.kind, event.name) for event in bundle.event_sources[0].events] == [("webhook", "in")]
    assert any("'Webhook' is read as 'webhook'" in text for text in said(bundle, "warning"))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"dependency": "filter: {}"}, "unknown field 'filter'; did you mean 'filters'?"),
        ({"trigger": "log: {intervalSecond: 1}"}, "unknown field 'intervalSecond'; did you mean 'intervalSeconds'?"),
        ({"trigger": "http: {url: 'http://a', URL: 'http://b'}"}, "unknown field 'URL'; did you mean 'url'?"),
        ({"trigger": "log: {circuit: a}"}, "unknown field 'circuit'"),
        ({"dependency": "circuit: a"}, "unknown field 'circuit'"),
    ],
)
def test_a_misspelt_field_or_one_that_was_never_there_is_refused(parts: dict[str, str], message: str) -> None:
    bundle = read(SENSOR, **parts)
    assert bundle.sensors == []
    assert said(bundle, "error") == [message]


def test_the_names_of_people_are_not_touched() -> None:
    # Given keys that are no fields: an event's name, a header
    text = EVENT_SOURCE + "---" + SENSOR
    trigger = "http: {url: 'http://a.example', headers: {URL: x, Method: z}}"
    bundle = read(text, spec="webhook: {Port: {port: '1234', endpoint: /in}}", trigger=trigger)
    assert bundle.event_sources[0].event_names == ["Port"]
    (trigger_,) = loads(SENSOR.format(spec="replicas: 1", dependency="", trigger=trigger)).sensors[0].triggers
    assert dict(getattr(trigger_.config, "headers", {})) == {"URL": "x", "Method": "z"}


def of_source(kind: str) -> type[BaseModel] | None:
    plugin = registry.source(kind) if kind in registry.source_kinds() else None
    return plugin.config if plugin else None


def of_trigger(kind: str) -> type[BaseModel] | None:
    plugin = registry.trigger(kind) if kind in registry.trigger_kinds() else None
    return plugin.config if plugin else None


HISTORY: list[tuple[type[BaseModel] | None, str]] = [
    # Every field of upstream's types (0.13 to 1.9, status and renamed types left out) that the newest no longer has.
    (sensor.SensorSpec, "circuit dependencyGroups serviceAnnotations serviceLabels subscription"),
    (sensor.Dependency, "gatewayName"),
    (sensor.Filters, "name"),
    (sensor.TriggerTemplate, "openFaas switch"),
    (EventSourceSpec, "replica type"),
    (eventbus.NativeStrategy, "antiAffinity size"),
    (eventbus.KafkaConsumerGroup, "startOldest"),
    (fields.BasicAuth, "namespace"),
    (fields.TLSConfig, "caCertPath clientCertPath clientKeyPath"),
    (artifacts.GitSource, "namespace sshKeyPath"),
    (artifacts.ConfigMapSource, "namespace"),
    (WebhookContext, "serverCertPath serverKeyPath"),
    (of_source("azureEventsHub"), "namespace"),
    (of_source("calendar"), "userPayload"),
    (of_source("emitter"), "namespace"),
    (of_source("generic"), "value"),
    (of_source("github"), "namespace"),
    (of_source("gitlab"), "allowDuplicate event namespace"),
    (of_source("hdfs"), "namespace"),
    (of_source("pubSub"), "credentialsFile enableWorkflowIdentity enableWorkloadIdentity"),
    (of_source("resource"), "eventType"),
    (of_source("slack"), "namespace"),
    (of_source("sns"), "namespace"),
    (of_source("sqs"), "namespace"),
    (of_source("stripe"), "namespace"),
    (of_trigger("argoWorkflow"), "group version resource"),
    (of_trigger("awsLambda"), "namespace"),
    (of_trigger("custom"), "certFilePath triggerBody"),
    (of_trigger("http"), "serverURL"),
    (of_trigger("k8s"), "group version resource"),
    (of_trigger("slack"), "namespace"),
]


@pytest.mark.parametrize(("model", "names"), [(model, names) for model, names in HISTORY if model is not None])
def test_every_field_that_upstream_dropped_is_known_and_is_no_field_of_ours(model: Any, names: str) -> None:
    assert set(model.dropped) == set(names.split())
    own = {info.alias or name for name, info in model.model_fields.items()}
    assert not own & set(model.dropped)
    assert all(text[0].isdigit() and "; " in text for text in model.dropped.values())
