"""What only shows when all manifests are in view, and programs that do not parse."""

import importlib.util
from typing import Any

import pytest

from argosy.manifests.additions import additions
from argosy.manifests.bundle import Bundle, Finding, from_objects

pytestmark = pytest.mark.usefixtures("toys")


def thing(kind: str, name: str, spec: object, namespace: str = "default") -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def source(name: str = "shop", namespace: str = "default", **events: Any) -> dict[str, Any]:
    blocks = events or {"order": {"endpoint": f"/{name}", "port": "1"}}
    return thing("EventSource", name, {"toyHook": blocks}, namespace)


def sensor(
    *,
    dependency: dict[str, Any] | None = None,
    template: dict[str, Any] | None = None,
    send: Any = None,
    **trigger: Any,
) -> dict[str, Any]:
    return thing(
        "Sensor",
        "n",
        {
            "dependencies": [{"name": "d", "eventSourceName": "shop", "eventName": "order", **(dependency or {})}],
            "triggers": [
                {
                    "template": {"name": "t", "toySend": {"url": "u", **(send or {})}, **(template or {})},
                    **trigger,
                }
            ],
        },
    )


def found(*objects: dict[str, Any], code: str) -> list[Finding]:
    return [finding for finding in from_objects(objects).findings if finding.code == code]


def one(*objects: dict[str, Any], code: str) -> Finding:
    (finding,) = found(*objects, code=code)
    return finding


def language(name: str) -> pytest.MarkDecorator:
    there = importlib.util.find_spec(f"argosy.lang.{name}") is not None
    return pytest.mark.skipif(not there, reason=f"argosy.lang.{name} is not part of this build")


def test_a_complete_set_says_nothing() -> None:
    assert from_objects([source(), sensor()]).findings == []


def test_a_source_that_is_not_there_is_a_warning_where_others_are() -> None:
    finding = one(source("other"), sensor(), code="unknown-event-source")
    assert (finding.severity, finding.path) == ("warning", "spec.dependencies[0].eventSourceName")
    # A sensor by itself is only noted: its source is kept elsewhere.
    assert one(sensor(), code="unknown-event-source").severity == "info"


def test_a_source_that_is_nearly_there_is_an_error_and_the_sensor_does_not_run() -> None:
    bundle = from_objects([source(), sensor(dependency={"eventSourceName": "shopp"})])
    (finding,) = bundle.findings
    assert (finding.severity, finding.code) == ("error", "unknown-event-source")
    assert "did you mean 'shop'?" in finding.message
    assert bundle.sensors == []
    assert len(bundle.event_sources) == 1


def test_a_source_of_another_namespace_does_not_count() -> None:
    finding = one(source(namespace="x"), sensor(), code="unknown-event-source")
    assert finding.severity == "warning"
    assert "there is one in namespace 'x'" in finding.message


@pytest.mark.parametrize(("event", "severity"), [("ordre", "error"), ("parcel", "warning")])
def test_an_event_that_the_source_does_not_have_is_named(event: str, severity: str) -> None:
    finding = one(source(), sensor(dependency={"eventName": event}), code="unknown-event")
    assert finding.severity == severity


def test_events_of_a_faulty_source_exist() -> None:
    # Given a source with a fault
    faulty = source(order={"endpoint": 5, "port": "1"})
    bundle = from_objects([faulty, sensor()])
    # Then its sensor is not told that its event does not exist
    assert not {"unknown-event", "unknown-event-source"} & {finding.code for finding in bundle.findings}


def test_a_parameter_of_no_dependency_is_a_warning() -> None:
    stray = [{"src": {"dependencyName": "dd", "dataKey": "a"}, "dest": "url"}]
    finding = one(source(), sensor(send={"parameters": stray}), code="unknown-dependency")
    assert finding.severity == "warning"
    assert finding.path == "spec.triggers[0].template.toySend.parameters[0].src.dependencyName"
    finding = one(source(), sensor(parameters=stray), code="unknown-dependency")
    assert finding.path == "spec.triggers[0].parameters[0].src.dependencyName"


def test_what_the_triggers_own_parameters_replace_is_not_judged() -> None:
    inner = [{"src": {"dependencyName": "REPLACED", "dataKey": "a"}, "dest": "url"}]
    outer = [{"src": {"dependencyName": "d", "dataKey": "a"}, "dest": "toySend.parameters.0.src.dependencyName"}]
    assert from_objects([source(), sensor(send={"parameters": inner}, parameters=outer)]).findings == []


def test_parameters_of_a_dead_letter_trigger_are_checked_too() -> None:
    stray = [{"src": {"dependencyName": "x"}, "dest": "url"}]
    dead = {"template": {"name": "dead", "toySend": {"url": "u", "payload": stray}}}
    finding = one(source(), sensor(dlqTrigger=dead), code="unknown-dependency")
    assert finding.path == "spec.triggers[0].dlqTrigger.template.toySend.payload[0].src.dependencyName"


@pytest.mark.parametrize("text", ["d && other", "d &&", "d or e"])
def test_a_condition_that_cannot_be_read_is_an_error(text: str) -> None:
    finding = one(source(), sensor(template={"conditions": text}), code="bad-conditions")
    assert (finding.severity, finding.path) == ("error", "spec.triggers[0].template.conditions")


def test_a_dependency_that_no_trigger_waits_for_is_told() -> None:
    two = sensor(template={"conditions": "d"})
    two["spec"]["dependencies"].append({"name": "idle", "eventSourceName": "shop", "eventName": "order"})
    finding = one(source(), two, code="unused-dependency")
    assert (finding.severity, finding.path) == ("info", "spec.dependencies[1].name")
    del two["spec"]["triggers"][0]["template"]["conditions"]
    assert from_objects([source(), two]).findings == []


def test_a_reset_without_a_join_has_no_effect() -> None:
    reset = [{"byTime": {"cron": "0 0 * * *"}}]
    assert one(source(), sensor(template={"conditionsReset": reset}), code="no-effect").severity == "warning"


@pytest.mark.parametrize(
    ("dependency", "code"),
    [
        pytest.param({"transform": {"jq": ".a ="}}, "bad-jq", marks=language("jq")),
        pytest.param({"transform": {"script": "return )"}}, "bad-lua", marks=language("lua")),
        pytest.param({"filters": {"script": "if"}}, "bad-lua", marks=language("lua")),
        pytest.param(
            {"filters": {"data": [{"path": "a", "type": "string", "value": ["a", "("]}]}},
            "bad-regex",
            marks=language("regex"),
        ),
        pytest.param(
            {"filters": {"data": [{"path": "a", "type": "string", "value": ["a"], "template": "{{ .x"}]}},
            "bad-gotemplate",
            marks=language("gotemplate"),
        ),
        pytest.param(
            {"filters": {"exprs": [{"expr": "a ==", "fields": [{"path": "a", "name": "a"}]}]}},
            "bad-govaluate",
            marks=language("govaluate"),
        ),
        pytest.param(
            {"filters": {"exprs": [{"expr": "a == b", "fields": [{"path": "a", "name": "a"}]}]}},
            "unknown-name",
            marks=language("govaluate"),
        ),
        ({"filters": {"data": [{"path": "a", "type": "number", "value": ["ten"]}]}}, "invalid-value"),
        ({"filters": {"data": [{"path": "a", "type": "bool", "value": ["yes"]}]}}, "invalid-value"),
    ],
)
def test_a_program_that_does_not_parse_is_found_before_an_event_is(dependency: dict[str, Any], code: str) -> None:
    finding = one(source(), sensor(dependency=dependency), code=code)
    assert finding.severity == "error"
    assert finding.path.startswith("spec.dependencies[0].")


@language("cron")
def test_a_cron_expression_that_does_not_parse_is_found() -> None:
    reset = [{"byTime": {"cron": "61 * * * *"}}]
    finding = one(source(), sensor(template={"conditionsReset": reset}), code="bad-cron")
    assert finding.path == "spec.triggers[0].template.conditionsReset[0].byTime.cron"


@language("gotemplate")
def test_a_parameters_template_that_does_not_parse_is_found() -> None:
    broken = [{"src": {"dependencyName": "d", "dataTemplate": "{{ .x"}, "dest": "url"}]
    finding = one(source(), sensor(send={"payload": broken}), code="bad-gotemplate")
    assert finding.path == "spec.triggers[0].template.toySend.payload[0].src.dataTemplate"


@pytest.mark.parametrize(
    ("clause", "code"),
    [
        ({"type": "string", "value": ["a"], "comparator": ">"}, "never-true"),
        ({"type": "string", "value": ["a", "b"], "comparator": "!="}, "always-true"),
        ({"type": "number", "value": ["1", "2"], "comparator": "!="}, "always-true"),
    ],
)
def test_a_filter_that_cannot_mean_what_it_says_is_a_warning(clause: dict[str, Any], code: str) -> None:
    finding = one(source(), sensor(dependency={"filters": {"data": [{"path": "a", **clause}]}}), code=code)
    assert finding.severity == "warning"


def test_two_events_on_one_address_are_found() -> None:
    # Given two events of one source, and one of another, on one port and path
    twice = source(a={"endpoint": "/x", "port": "1"}, b={"endpoint": "x", "port": "1"})
    other = source("other", c={"endpoint": "/x", "port": "1"}, d={"endpoint": "/x", "port": "2"})
    findings = found(twice, other, code="duplicate-endpoint")
    # Then the one is an error and the other, which pods would hide, a warning
    assert [(one.severity, one.path) for one in findings] == [
        ("error", "spec.toyHook.b"),
        ("warning", "spec.toyHook.c"),
    ]


def secret(name: str, *keys: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": dict.fromkeys(keys, "x"),
    }


@pytest.mark.parametrize(
    ("secrets", "severity", "path"),
    [
        ([], "info", "spec.toyHook.e.token"),
        ([secret("other", "k")], "warning", "spec.toyHook.e.token"),
        ([secret("mine", "other")], "warning", "spec.toyHook.e.token.key"),
    ],
)
def test_a_secret_that_is_missing_is_told_as_loud_as_the_set_is_complete(
    secrets: list[dict[str, Any]], severity: str, path: str
) -> None:
    wants = source(e={"endpoint": "/x", "port": "1", "token": {"name": "mine", "key": "k"}})
    finding = one(wants, *secrets, code="unknown-reference")
    assert (finding.severity, finding.path) == (severity, path)


def test_secrets_that_are_there_or_optional_are_no_matter() -> None:
    hook = {
        "endpoint": "/x",
        "port": "1",
        "token": {"name": "gone", "key": "k", "optional": True},
        "auth": {"username": {"name": "mine", "key": "k"}, "password": {"name": "mine", "key": "k"}},
    }
    assert from_objects([source(e=hook), secret("mine", "k")]).findings == []


def test_secrets_of_triggers_are_checked() -> None:
    finding = one(source(), sensor(send={"token": {"name": "mine", "key": "k"}}), code="unknown-reference")
    assert finding.path == "spec.triggers[0].template.toySend.token"


def test_a_bus_that_is_not_there_is_a_warning_where_others_are() -> None:
    bus = thing("EventBus", "default", {"jetstream": {"version": "latest"}})
    wants = thing("EventSource", "x", {"eventBusName": "defalt", "toyPoll": {"e": {}}})
    finding = one(bus, wants, code="unknown-event-bus")
    assert finding.severity == "warning"
    assert "did you mean 'default'?" in finding.message
    assert found(wants, code="unknown-event-bus") == []


@pytest.mark.parametrize("name", ["a.b", "a b", "a*", "a>"])
def test_names_that_upstream_cannot_route_are_told(name: str) -> None:
    events: dict[str, Any] = {name: {"endpoint": "/x", "port": "1"}}
    finding = one(source(**events), code="routing-name")
    assert finding.severity == "info"


def workflow_sensor(template: str) -> dict[str, Any]:
    resource = {"kind": "Workflow", "spec": {"workflowTemplateRef": {"name": template}}}
    return sensor(template={"toySend": None, "k8s": {"operation": "create", "source": {"resource": resource}}})


def test_a_workflow_template_that_is_not_there_is_a_warning_where_others_are() -> None:
    there = thing("WorkflowTemplate", "build", {})
    finding = one(source(), there, workflow_sensor("biuld"), code="unknown-workflow-template")
    assert "did you mean 'build'?" in finding.message
    assert found(source(), there, workflow_sensor("build"), code="unknown-workflow-template") == []
    assert found(source(), workflow_sensor("biuld"), code="unknown-workflow-template") == []


def ours(bundle: Bundle) -> set[str]:
    return {f"{finding.path}: {finding.message.split(';')[0]}" for finding in additions(bundle)}


def test_what_only_argosy_understands_is_named() -> None:
    # Given kinds and a field of ours, and a dead-letter trigger that leans on our default
    hook = source(order={"endpoint": "/x", "port": "1", "quick": True})
    dead = {"template": {"name": "dead", "log": {}}}
    bundle = from_objects([hook, sensor(dlqTrigger=dead)])
    assert ours(bundle) == {
        "spec.toyHook: kind 'toyHook' is Argosy's own",
        "spec.toyHook.order.quick: field 'quick' is Argosy's own",
        "spec.triggers[0].template.toySend: kind 'toySend' is Argosy's own",
        "spec.triggers[0].dlqTrigger: upstream wants atLeastOnce: true written out, here and in 'dlqTrigger'",
    }


def test_what_upstream_does_not_follow_is_named() -> None:
    hook = thing("EventSource", "shop", {"webhook": {"order": {"endpoint": "/x", "port": "1", "method": "POST"}}})
    limited = {"template": {"name": "dead", "log": {}}, "atLeastOnce": True, "rateLimit": {"requestsPerUnit": 1}}
    first = sensor(template={"toySend": None, "log": {}}, retryStrategy={"steps": 2})
    second = sensor(template={"toySend": None, "log": {}}, atLeastOnce=True, dlqTrigger=limited)
    assert ours(from_objects([hook, first])) == {
        "spec.triggers[0].retryStrategy: 'retryStrategy' is followed by upstream only where atLeastOnce: true is written"
    }
    assert ours(from_objects([hook, second])) == {
        "spec.triggers[0].dlqTrigger.rateLimit: upstream does not limit the rate of a dead-letter trigger"
    }


def test_a_portable_manifest_has_no_additions() -> None:
    hook = thing("EventSource", "shop", {"webhook": {"order": {"endpoint": "/x", "port": "1", "method": "POST"}}})
    plain = sensor(template={"toySend": None, "log": {}}, atLeastOnce=True)
    bundle = from_objects([hook, plain])
    assert bundle.count("error") == 0
    assert ours(bundle) == set()
