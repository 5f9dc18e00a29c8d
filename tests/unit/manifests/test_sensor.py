"""A Sensor's dependencies and triggers, with upstream's rules and as their plug-ins describe them."""

import copy
import datetime as dt
from typing import Any

import pytest

from argosy.errors import ConfigError
from argosy.manifests.findings import Problem, path_text
from argosy.manifests.sensor import Sensor, parse_sensor, resolve_template

pytestmark = pytest.mark.usefixtures("toys")

DEPENDENCY = {"name": "d", "eventSourceName": "s", "eventName": "e"}
TRIGGER: dict[str, Any] = {"template": {"name": "t", "toySend": {"url": "http://x"}}}
SRC = {"dependencyName": "d", "dataKey": "body"}


def parsed(spec: object) -> tuple[Sensor | None, dict[str, Problem]]:
    made, problems = parse_sensor(
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Sensor", "metadata": {"name": "n"}, "spec": spec}
    )
    return made, {path_text(problem.loc).removeprefix("spec."): problem for problem in problems}


def with_dependency(**more: object) -> tuple[Sensor | None, dict[str, Problem]]:
    made, problems = parsed({"dependencies": [{**DEPENDENCY, **more}], "triggers": [TRIGGER]})
    return made, {path.removeprefix("dependencies[0]."): problem for path, problem in problems.items()}


def with_trigger(*triggers: object) -> tuple[Sensor | None, dict[str, Problem]]:
    made, problems = parsed({"dependencies": [DEPENDENCY], "triggers": list(triggers)})
    return made, {path.removeprefix("triggers[0]."): problem for path, problem in problems.items()}


def test_a_sensor_says_what_it_waits_for_and_what_it_does() -> None:
    made, problems = parsed(
        {
            "eventBusName": "b",
            "replicas": 2,
            "revisionHistoryLimit": 1,
            "errorOnFailedRound": True,
            "loggingFields": {"team": "a"},
            "template": {"serviceAccountName": "x", "container": {"image": "kept"}},
            "dependencies": [DEPENDENCY],
            "triggers": [
                {
                    "template": {
                        "name": "t",
                        "conditions": "d",
                        "conditionsReset": [{"byTime": {"cron": "0 0 * * *", "timezone": "Europe/Berlin"}}],
                        "toySend": {"url": "http://x", "parameters": [{"src": SRC, "dest": "url"}]},
                    },
                    "parameters": [{"src": SRC, "dest": "toySend.url", "operation": "append"}],
                    "policy": {"status": {"allow": [200]}, "k8s": {"labels": {"a": "b"}}},
                    "retryStrategy": {"steps": 3, "duration": "3s", "factor": "2", "jitter": 0.5},
                    "rateLimit": {"unit": "Minute", "requestsPerUnit": 30},
                    "atLeastOnce": True,
                    "dlqTrigger": {
                        "template": {"name": "dead", "toySend": {"url": "http://y"}},
                        "atLeastOnce": True,
                    },
                }
            ],
        }
    )
    assert problems == {}
    assert made is not None
    assert made.event_bus_name == "b"
    assert [(one.name, one.event_source_name, one.event_name) for one in made.dependencies] == [("d", "s", "e")]
    (trigger,) = made.triggers
    assert (trigger.name, trigger.kind, trigger.conditions, trigger.at_least_once) == (
        "t",
        "toySend",
        "d",
        True,
    )
    assert trigger.conditions_reset[0].by_time.timezone == "Europe/Berlin"
    assert trigger.config is not None
    assert trigger.config.model_dump()["url"] == "http://x"
    assert trigger.template_raw["toySend"] == trigger.config_raw
    assert trigger.retry_strategy is not None
    assert (trigger.retry_strategy.duration, trigger.retry_strategy.factor) == (3.0, 2.0)
    assert trigger.rate_limit is not None
    assert trigger.rate_limit.per_second == 0.5
    assert trigger.dlq_trigger is not None
    assert trigger.dlq_trigger.name == "dead"


def test_what_a_trigger_does_not_say_is_left_open() -> None:
    made, _ = with_trigger(TRIGGER)
    assert made is not None
    (trigger,) = made.triggers
    assert trigger.at_least_once is None
    assert trigger.retry_strategy is None
    assert trigger.rate_limit is None
    assert trigger.policy is None
    assert trigger.dlq_trigger is None


def test_every_filter_of_upstream_is_read() -> None:
    made, problems = with_dependency(
        filtersLogicalOperator="or",
        transform={"jq": ".a", "script": ""},
        filters={
            "exprs": [{"expr": "x == 1", "fields": [{"path": "a.b", "name": "x"}]}],
            "exprLogicalOperator": "and",
            "data": [
                {
                    "path": "p",
                    "type": "number",
                    "value": ["1"],
                    "comparator": ">=",
                    "template": "{{ .Input }}",
                }
            ],
            "dataLogicalOperator": "or",
            "context": {"type": "webhook", "id": "", "specversion": "1.0"},
            "time": {"start": "09:00:00", "stop": "7:30:01", "timezone": "Asia/Tokyo"},
            "script": "return true",
        },
    )
    assert problems == {}
    assert made is not None
    filters = made.dependencies[0].filters
    assert filters is not None
    assert filters.exprs[0].fields[0].name == "x"
    assert filters.data[0].comparator == ">="
    assert filters.context is not None
    assert filters.context.type == "webhook"
    assert filters.time is not None
    assert (filters.time.start_time, filters.time.stop_time) == (dt.time(9), dt.time(7, 30, 1))


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"name": ""}, "name"),
        ({"eventSourceName": ""}, "eventSourceName"),
        ({"eventName": None}, "eventName"),
        ({"filtersLogicalOperator": "xor"}, "filtersLogicalOperator"),
        (
            {"filters": {"exprs": [{"expr": "", "fields": [{"path": "a", "name": "b"}]}]}},
            "filters.exprs[0].expr",
        ),
        ({"filters": {"exprs": [{"expr": "a", "fields": []}]}}, "filters.exprs[0].fields"),
        (
            {"filters": {"exprs": [{"expr": "a", "fields": [{"path": "", "name": "b"}]}]}},
            "filters.exprs[0].fields[0].path",
        ),
        ({"filters": {"exprLogicalOperator": "AND"}}, "filters.exprLogicalOperator"),
        ({"filters": {"data": [{"path": "a", "type": "string", "value": []}]}}, "filters.data[0].value"),
        ({"filters": {"data": [{"path": "a", "type": "string", "value": [""]}]}}, "filters.data[0].value"),
        ({"filters": {"data": [{"path": "a", "type": "string", "value": [1]}]}}, "filters.data[0].value[0]"),
        ({"filters": {"data": [{"path": "a", "type": "text", "value": ["x"]}]}}, "filters.data[0].type"),
        ({"filters": {"data": [{"path": "", "type": "bool", "value": ["x"]}]}}, "filters.data[0].path"),
        (
            {"filters": {"data": [{"path": "a", "type": "bool", "value": ["x"], "comparator": "=="}]}},
            "filters.data[0].comparator",
        ),
        ({"filters": {"context": {}}}, "filters.context"),
        ({"filters": {"context": {"id": "x", "specversion": "1.0"}}}, "filters.context"),
        ({"filters": {"time": {"start": "09:00", "stop": "10:00:00"}}}, "filters.time.start"),
        ({"filters": {"time": {"start": "24:00:00", "stop": "10:00:00"}}}, "filters.time.start"),
        ({"filters": {"time": {"start": "10:00:00", "stop": "10:00:00"}}}, "filters.time"),
        (
            {"filters": {"time": {"start": "10:00:00", "stop": "11:00:00", "timezone": "Mars/Base"}}},
            "filters.time.timezone",
        ),
        ({"filters": {"time": {"start": "10:00:00"}}}, "filters.time.stop"),
        ({"transform": {"jg": "."}}, "transform.jg"),
        ({"filter": {}}, "filter"),
    ],
)
def test_upstreams_rules_for_dependencies_hold(more: dict[str, Any], path: str) -> None:
    made, problems = with_dependency(**more)
    assert made is None
    assert problems[path].severity == "error"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"template": None}, "template"),
        ({"template": {"toySend": {"url": "u"}}}, "template.name"),
        ({"template": {"name": "", "toySend": {"url": "u"}}}, "template.name"),
        ({"template": {"name": "t"}}, "template"),
        ({"template": {"name": "t", "toySend": None}}, "template"),
        ({"template": {"name": "t", "toySend": []}}, "template.toySend"),
        ({"template": {"name": "t", "toySend": {}}}, "template.toySend.url"),
        ({"template": {"name": "t", "toySend": {"url": "u", "method": "get"}}}, "template.toySend.method"),
        ({"template": {"name": "t", "toySned": {"url": "u"}}}, "template.toySned"),
        (
            {"template": {**TRIGGER["template"], "conditionsReset": [{}]}},
            "template.conditionsReset[0].byTime",
        ),
        (
            {
                "template": {
                    **TRIGGER["template"],
                    "conditionsReset": [{"byTime": {"cron": "* * * * *", "timezone": "X"}}],
                }
            },
            "template.conditionsReset[0].byTime.timezone",
        ),
        ({"policy": {"k8s": {}}}, "policy.k8s"),
        ({"policy": {"status": {}}}, "policy.status.allow"),
        ({"retryStrategy": {"duration": "3"}}, None),
        ({"retryStrategy": {"duration": "3 s"}}, "retryStrategy.duration"),
        ({"retryStrategy": {"steps": "3"}}, "retryStrategy.steps"),
        ({"rateLimit": {"unit": "second", "requestsPerUnit": 1}}, "rateLimit.unit"),
        ({"rateLimit": {"unit": "Second", "requestsPerUnit": 0}}, "rateLimit.requestsPerUnit"),
        ({"atLeastOnce": "true"}, "atLeastOnce"),
        ({"parameters": [{"dest": "x"}]}, "parameters[0].src"),
        ({"parameters": [{"src": {"dataKey": "a"}, "dest": "x"}]}, "parameters[0].src.dependencyName"),
        ({"parameters": [{"src": SRC}]}, "parameters[0].dest"),
        ({"parameters": [{"src": SRC, "dest": "x", "operation": "replace"}]}, "parameters[0].operation"),
        ({"conditions": "d"}, "conditions"),
    ],
)
def test_upstreams_rules_for_triggers_hold(change: dict[str, Any], path: str | None) -> None:
    made, problems = with_trigger({**copy.deepcopy(TRIGGER), **change})
    if path is None:
        assert made is not None
    else:
        assert made is None
        assert problems[path].severity == "error"


def test_a_field_of_the_template_beside_it_is_sent_inside() -> None:
    _, problems = with_trigger({**TRIGGER, "conditions": "d", "toySend": {"url": "u"}})
    assert problems["conditions"].message == "'conditions' belongs inside 'template'"
    assert problems["toySend"].message == "'toySend' belongs inside 'template'"


@pytest.mark.parametrize("spec", [{}, {"dependencies": [], "triggers": []}, {"dependencies": None, "triggers": None}])
def test_a_sensor_needs_a_dependency_and_a_trigger(spec: dict[str, Any]) -> None:
    made, problems = parsed(spec)
    assert made is None
    assert set(problems) == {"dependencies", "triggers"}


def test_all_faults_are_said_at_once_wherever_they_are() -> None:
    _, problems = parsed(
        {
            "replicas": "1",
            "dependencies": [{"name": "d"}],
            "triggers": [
                5,
                {"template": {"name": "t", "toySend": {"method": "x"}}, "retryStrategy": {"steps": "a"}},
                {"template": {"name": "u", "toySend": {"url": 1}}},
            ],
        }
    )
    assert set(problems) == {
        "replicas",
        "dependencies[0].eventSourceName",
        "dependencies[0].eventName",
        "triggers[0]",
        "triggers[1].template.toySend.method",
        "triggers[1].template.toySend.url",
        "triggers[1].retryStrategy.steps",
        "triggers[2].template.toySend.url",
    }


def test_names_that_must_differ_are_named() -> None:
    made, problems = parsed({"dependencies": [DEPENDENCY, DEPENDENCY], "triggers": [TRIGGER, TRIGGER]})
    assert made is None
    assert problems["dependencies[1].name"].code == "duplicate-name"
    assert problems["triggers[1].template.name"].code == "duplicate-name"


def test_of_several_kinds_the_first_in_upstreams_order_counts() -> None:
    # Given a template with a kind of upstream and one of ours
    kafka = {"url": "k:9092", "topic": "t", "payload": [{"src": SRC, "dest": "x"}]}
    slack = {"slackToken": {"name": "s", "key": "k"}, "channel": "c", "message": "m"}
    made, problems = with_trigger({"template": {"name": "t", "toySend": {"url": "u"}, "slack": slack, "kafka": kafka}})
    # Then upstream's choice is ours, with a warning
    assert made is not None
    assert [trigger.kind for trigger in made.triggers] == ["kafka"]
    assert problems["template.slack"].code == "several-kinds"
    assert "'kafka' counts, 'slack' and 'toySend' not" in problems["template.slack"].message


def test_fields_that_upstreams_examples_misplace_are_honoured_with_a_warning() -> None:
    # Given retry, rate, policy and delivery inside the template
    inside = {
        "policy": {"k8s": {"labels": {"a": "b"}, "backoff": {"duration": "1s"}}},
        "retryStrategy": {"steps": 4},
        "rateLimit": {"requestsPerUnit": 2},
        "atLeastOnce": False,
    }
    made, problems = with_trigger({"template": {**TRIGGER["template"], **inside}})
    # Then they count, and each is sent to where it belongs
    assert {path: one.severity for path, one in problems.items()} == {f"template.{name}": "warning" for name in inside}
    assert made is not None
    (trigger,) = made.triggers
    assert trigger.at_least_once is False
    assert trigger.retry_strategy is not None
    assert trigger.retry_strategy.steps == 4
    assert trigger.rate_limit is not None
    assert trigger.policy is not None
    assert set(trigger.template_raw) == {"name", "toySend"}


def test_what_stands_where_it_belongs_counts_before_what_does_not() -> None:
    made, problems = with_trigger({"template": {**TRIGGER["template"], "atLeastOnce": False}, "atLeastOnce": True})
    assert made is not None
    assert made.triggers[0].at_least_once is True
    assert "the one beside 'template' counts" in problems["template.atLeastOnce"].message


def test_a_fault_in_a_misplaced_field_has_the_place_where_it_stands() -> None:
    _, problems = with_trigger({"template": {**TRIGGER["template"], "retryStrategy": {"steps": "4"}}})
    assert problems["template.retryStrategy.steps"].code == "wrong-type"


@pytest.mark.parametrize("dest", ["toySend.url", "toySend", "toySend.token.key"])
def test_what_the_triggers_own_parameters_write_is_judged_later(dest: str) -> None:
    # Given a block that lacks what its own parameters bring
    block = {"url": "u", "token": {"name": "s"}} if dest.endswith("key") else {}
    made, problems = with_trigger(
        {"template": {"name": "t", "toySend": block}, "parameters": [{"src": SRC, "dest": dest}]}
    )
    # Then it is no fault, and there is no configuration yet
    assert problems == {}
    assert made is not None
    (trigger,) = made.triggers
    assert trigger.config is None
    assert trigger.config_raw == block
    assert trigger.writes(("toySend", "url")) == (dest != "toySend.token.key")


def test_parameters_that_write_elsewhere_excuse_nothing() -> None:
    made, problems = with_trigger(
        {
            "template": {"name": "t", "toySend": {"mehtod": "GET"}},
            "parameters": [{"src": SRC, "dest": "toySend.timeout"}],
        }
    )
    assert made is None
    assert set(problems) == {"template.toySend.url", "template.toySend.mehtod"}


@pytest.mark.parametrize("dest", ["toySend", "toySend.mehtod"])
def test_parameters_that_write_there_do_not_make_an_unknown_field_known(dest: str) -> None:
    block = {"url": "u", "mehtod": "GET"}
    made, problems = with_trigger(
        {"template": {"name": "t", "toySend": block}, "parameters": [{"src": SRC, "dest": dest}]}
    )
    assert made is None
    assert set(problems) == {"template.toySend.mehtod"}


def test_a_template_with_its_parameters_applied_is_read_again() -> None:
    kind, config = resolve_template({"name": "t", "toySend": {"url": "http://x", "timeout": 5}})
    assert kind == "toySend"
    assert config.model_dump()["timeout"] == 5


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ({"name": "t", "toySend": {"url": ""}}, "template.toySend.url: 'url' is empty"),
        (
            {"name": "t", "toySend": {"url": "u", "timeout": "5"}},
            "'timeout' must be a whole number, not text",
        ),
        ({"name": "t"}, "names no kind"),
    ],
)
def test_a_template_that_its_parameters_spoilt_is_refused(template: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_template(template)
    assert words in str(caught.value)


def test_parameters_of_a_kinds_block_need_their_names() -> None:
    block = {
        "url": "u",
        "parameters": [{"src": {"dataKey": "a"}, "dest": "url"}, {"src": SRC}],
        "payload": [{"src": SRC}, {"src": {"dataKey": "a"}, "dest": "x"}],
    }
    _, problems = with_trigger({"template": {"name": "t", "toySend": block}})
    assert set(problems) == {
        "template.toySend.parameters[0].src.dependencyName",
        "template.toySend.parameters[1].dest",
        "template.toySend.payload[1].src.dependencyName",
    }


@pytest.mark.parametrize(
    ("above", "below", "path"),
    [
        (False, None, "atLeastOnce"),
        (None, False, "dlqTrigger.atLeastOnce"),
        (True, True, None),
        (None, None, None),
    ],
)
def test_a_dead_letter_trigger_needs_at_least_once(above: bool | None, below: bool | None, path: str | None) -> None:
    dead = {"template": {"name": "dead", "toySend": {"url": "u"}}, "atLeastOnce": below}
    made, problems = with_trigger({**TRIGGER, "atLeastOnce": above, "dlqTrigger": dead})
    assert (made is None) == (path is not None)
    assert list(problems) == ([path] if path else [])


def test_a_fault_in_a_dead_letter_trigger_is_found() -> None:
    _, problems = with_trigger({**TRIGGER, "dlqTrigger": {"template": {"name": "dead", "toySend": {}}}})
    assert list(problems) == ["dlqTrigger.template.toySend.url"]


def test_the_digest_is_of_the_spec_alone() -> None:
    one, _ = with_trigger(TRIGGER)
    two, _ = with_trigger(copy.deepcopy(TRIGGER))
    three, _ = with_trigger({"template": {"name": "t", "toySend": {"url": "http://y"}}})
    assert one and two and three
    assert one.digest == two.digest != three.digest
