"""Mistakes planted in real manifests that nobody in this project wrote: each is found at its line, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from argosy.manifests.bundle import load

CORPUS = Path(__file__).parents[4] / "shared" / "corpus" / "understack" / "manifests"
pytestmark = pytest.mark.skipif(
    not CORPUS.is_dir(), reason="the corpus of real manifests is not there (../shared/corpus beside the checkout)"
)

Said = tuple[str, str, str, int]


def said(folder: Path) -> set[Said]:
    return {(one.code, one.severity, Path(one.file).name, one.line) for one in load([folder]).findings}


@pytest.fixture(scope="module")
def before() -> set[Said]:
    return said(CORPUS)


def test_the_manifests_as_they_are_get_notes_and_the_end_of_life_of_their_bus(before: set[Said]) -> None:
    assert {(code, severity) for code, severity, _, _ in before if severity != "info"} == {("nats-native", "warning")}


# Each mistake: the file, what is written, what stands there instead, and what is found. The line is the one that changed.
MISTAKES = {
    "a misspelt event source": (
        "sensor.nova-oslo-event", "eventSourceName: openstack-nova", "eventSourceName: openstack-nvoa",
        ("unknown-event-source", "error"),
    ),
    "a misspelt event": (
        "sensor.cinder-oslo-event", "- eventName: notifications", "- eventName: notificatons",
        ("unknown-event", "error"),
    ),
    "a wrong namespace": (
        "sensor.nova-oslo-event", "  namespace: openstack", "  namespace: argo-events",
        ("unknown-event-source", "warning"),
    ),
    "an argument that differs from the template": (
        "sensor.keystone-event-project", "- name: project_uuid", "- name: project_id",
        ("unknown-parameter", "warning"),
    ),
    "an argument of another name": (
        "sensor.ironic-node-update", "- name: event-json", "- name: notification",
        ("unknown-parameter", "warning"),
    ),
    "a template that is not there": (
        "sensor.neutron-event-network-segment-range",
        "                  name: neutron-event-network-segment-range",
        "                  name: neutron-segment-range",
        ("unknown-workflow-template", "warning"),
    ),
    "an unknown field": (
        "eventsource.openstack-cinder", "routingKey:", "rootingKey:", ("unknown-field", "error"),
    ),
    "a jq program that does not parse": (
        "sensor.keystone-event-project", "| fromjson\"", "| fromjson(\"", ("bad-jq", "error"),
    ),
    "a pattern that does not parse": (
        "sensor.ironic-node-reclean", '- "clean failed"', '- "^clean (failed$"', ("bad-regex", "error"),
    ),
    "an index beyond the arguments": (
        "sensor.keystone-event-project", "dest: spec.arguments.parameters.1.value",
        "dest: spec.arguments.parameters.4.value", ("destination-beyond-end", "warning"),
    ),
    "a field of the Workflow with a slip": (
        "sensor.alertmanager-webhook-sensor", "dest: spec.arguments.parameters.2.value",
        "dest: spec.argumets.parameters.2.value", ("unknown-destination", "warning"),
    ),
    "a service account that is not there": (
        "sensor.nova-oslo-event", "    serviceAccountName: sensor-submit-workflow",
        "    serviceAccountName: sensor-submit-workflows", ("unknown-service-account", "warning"),
    ),
    "a parameter of no dependency": (
        "sensor.cinder-oslo-event", "dependencyName: oslo-event-type", "dependencyName: oslo-event",
        ("unknown-dependency", "warning"),
    ),
    "a comparison that text never passes": (
        "sensor.neutron-event-network-segment-range",
        '        - path: "payload.network_segment_range.network_type"',
        '        - {path: "event_type", type: number, comparator: ">", value: ["1"]}\n'
        '        - {path: "event_type", type: number, value: ["1"]}\n'
        '        - path: "payload.network_segment_range.network_type"',
        ("never-true", "warning"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_planted_in_real_manifests_is_found_where_it_is(
    mistake: str, before: set[Said], tmp_path: Path
) -> None:
    stem, right, wrong, (code, severity) = MISTAKES[mistake]
    # Given the manifests with one mistake
    shutil.copytree(CORPUS, tmp_path, dirs_exist_ok=True)
    (file,) = tmp_path.glob(f"*.{stem}.yaml")
    text = file.read_text()
    line = text[: text.index(right)].count("\n") + 1 + wrong.count("\n", 0, wrong.rfind("value"))
    file.write_text(text.replace(right, wrong, 1))
    # When they are read
    after = {one for one in said(tmp_path) if one[1] != "info"}
    # Then there is one finding more, at the line of the mistake
    assert {one[:2] for one in after - before} == {(code, severity)}
    assert [one[2] for one in after - before] == [file.name]
    if wrong.count("\n") == 0 and "namespace" not in wrong:
        assert [one[3] for one in after - before] == [line]
