"""What a manifest becomes follows from the manifest alone: not from the order of its keys, nor from what came before."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.kubernetes.workloads import Settings, bus_config, event_bus, event_source, sensor
from argosy.manifests.eventbus import parse_event_bus
from argosy.manifests.eventsource import parse_event_source
from argosy.manifests.sensor import parse_sensor
from tests.unit.kubernetes.objects import BUS, Object, credentials

_names = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
_texts = st.dictionaries(_names, _names, max_size=3)
_reference = st.fixed_dictionaries({"name": _names, "key": _names})
_mounts = st.lists(
    st.fixed_dictionaries({"name": _names, "mountPath": _names.map(lambda name: f"/{name}")}), max_size=2
)
_template = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.fixed_dictionaries({"labels": _texts, "annotations": _texts}),
        "serviceAccountName": _names,
        "nodeSelector": _texts,
        "volumes": st.lists(st.fixed_dictionaries({"name": _names, "emptyDir": st.just({})}), max_size=2),
        "imagePullSecrets": st.lists(st.fixed_dictionaries({"name": _names}), max_size=2),
        "container": st.fixed_dictionaries(
            {},
            optional={
                "volumeMounts": _mounts,
                "env": st.lists(
                    st.fixed_dictionaries({"name": st.sampled_from(["A", "B", "POD_NAME"]), "value": _names})
                ),
                "securityContext": st.fixed_dictionaries({}, optional={"privileged": st.booleans()}),
            },
        ),
    },
)
_hook = st.fixed_dictionaries({"port": st.just("12000"), "endpoint": _names}, optional={"authSecret": _reference})
_about = st.fixed_dictionaries({"name": _names, "namespace": _names, "uid": _names, "labels": _texts})
_source_specs = st.fixed_dictionaries(
    {"webhook": st.dictionaries(_names, _hook, min_size=1, max_size=4), "template": _template},
    optional={
        "replicas": st.integers(-1, 4),
        "service": st.fixed_dictionaries({"ports": st.lists(st.just({"port": 12000}), max_size=2)}),
    },
)
_log = st.fixed_dictionaries({"log": st.just({})})
_slack = st.fixed_dictionaries({"slack": st.fixed_dictionaries({"channel": _names, "slackToken": _reference})})


def _sensor_spec(templates: list[Object], template: Object, replicas: int) -> Object:
    triggers = [{"template": {"name": f"t{number}", **one}} for number, one in enumerate(templates)]
    dependencies = [{"name": "d", "eventSourceName": "s", "eventName": "e"}]
    return {"dependencies": dependencies, "triggers": triggers, "template": template, "replicas": replicas}


_sensor_specs = st.builds(
    _sensor_spec, st.lists(st.one_of(_log, _slack), min_size=1, max_size=3), _template, st.integers(0, 3)
)
_bus_specs = st.fixed_dictionaries(
    {
        "jetstream": st.fixed_dictionaries(
            {"version": st.just("latest")},
            optional={
                "replicas": st.sampled_from([1, 3, 5]),
                "persistence": st.fixed_dictionaries({}, optional={"volumeSize": st.just("1Gi")}),
                "metadata": st.fixed_dictionaries({"labels": _texts, "annotations": _texts}),
                "nodeSelector": _texts,
                "streamConfig": st.sampled_from(["maxAge: 1h", "{replicas: 5, maxmsgs: 3}"]),
            },
        )
    }
)


def _manifest(kind: str, about: Object, spec: Object) -> Object:
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": about, "spec": spec}


_manifests = st.one_of(
    *(
        st.builds(_manifest, st.just(kind), _about, specs)
        for kind, specs in (("EventSource", _source_specs), ("Sensor", _sensor_specs), ("EventBus", _bus_specs))
    )
)


def become(raw: Object) -> list[Object] | None:
    """What a manifest becomes; None if it is not valid."""
    if raw["kind"] == "EventBus":
        bus, _ = parse_event_bus(raw)
        if bus is None:
            return None
        return [*event_bus(bus, Settings(), credentials()), {"config": bus_config(bus, Settings())}]
    if raw["kind"] == "EventSource":
        source, _ = parse_event_source(raw)
        return event_source(source, BUS, Settings()) if source else None
    one, _ = parse_sensor(raw)
    return sensor(one, BUS, Settings()) if one else None


def _shuffled(value: Any, chance: random.Random) -> Any:
    """The same JSON with the keys of every mapping in another order."""
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: _shuffled(value[key], chance) for key in keys}
    return [_shuffled(item, chance) for item in value] if isinstance(value, list) else value


@settings(max_examples=25, deadline=None)
@given(_manifests, st.randoms(use_true_random=False))
def test_the_order_of_keys_decides_nothing_and_nothing_is_changed_or_shared(raw: Object, chance: random.Random) -> None:
    # Given a manifest, and the same one written in another order
    before = copy.deepcopy(raw)
    first = become(raw)
    if first is None:
        return
    text = json.dumps(first)

    # When what it became is changed by whoever has it
    _spoil(first)

    # Then the manifest is as it was, and becomes the same again
    assert raw == before
    assert json.dumps(become(raw)) == text
    assert json.dumps(become(_shuffled(raw, chance)), sort_keys=True) == json.dumps(json.loads(text), sort_keys=True)


@settings(max_examples=25, deadline=None)
@given(_manifests)
def test_no_list_that_the_api_merges_by_a_key_has_it_twice(raw: Object) -> None:
    for one in become(raw) or []:
        template = (one.get("spec") or {}).get("template")
        if not template:
            continue
        spec = template["spec"]
        names = [volume["name"] for volume in spec["volumes"]]
        given = (raw["spec"].get("template") or {}).get("volumes") or []
        if len({volume["name"] for volume in given}) == len(given):
            assert len(names) == len(set(names))
        for container in spec["containers"]:
            variables = [each["name"] for each in container.get("env", ())]
            assert len(variables) == len(set(variables))
            mounted = {each["name"] for each in container.get("volumeMounts", ())}
            ours = mounted - {each["name"] for each in _given_mounts(raw)}
            assert ours <= {*names, *(one["metadata"]["name"] for one in one["spec"].get("volumeClaimTemplates", ()))}


def _given_mounts(raw: Object) -> list[Object]:
    found: list[Object] = ((raw["spec"].get("template") or {}).get("container") or {}).get("volumeMounts") or []
    return found


def _spoil(value: Any) -> None:
    if isinstance(value, dict):
        for item in value.values():
            _spoil(item)
        value["spoilt"] = True
    elif isinstance(value, list):
        for item in value:
            _spoil(item)
        value.append("spoilt")
