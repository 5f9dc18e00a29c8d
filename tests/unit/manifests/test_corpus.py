"""Real manifests that nobody in this project wrote load; what does not run is named, file by file."""

from pathlib import Path

import pytest

from argosy.manifests.bundle import Bundle, load

CORPUS = Path(__file__).parents[4] / "shared" / "corpus"
pytestmark = pytest.mark.skipif(
    not CORPUS.is_dir(),
    reason="the corpus of real manifests is not there (../shared/corpus beside the checkout)",
)

EXAMPLES = CORPUS / "argo-events-examples"
UNDERSTACK = CORPUS / "understack" / "manifests"

REFUSED = {
    # Upstream's controller refuses these too: the field that they give has been called 'url' since 0.14.
    "tutorials/09-http-trigger/sensor-01.yaml": ["'url' is missing"],
    "tutorials/09-http-trigger/sensor-02.yaml": ["'url' is missing"],
}


def errors(bundle: Bundle) -> list[str]:
    return [str(finding) for finding in bundle.findings if finding.severity == "error"]


def test_every_example_of_upstream_loads() -> None:
    # Given every example by itself
    files = sorted(path for path in EXAMPLES.rglob("*.y*ml"))
    assert files
    refused: dict[str, list[str]] = {}
    for file in files:
        bundle = load([file])
        assert bundle.ignored or bundle.origins, file
        faults = [finding for finding in bundle.findings if finding.severity == "error"]
        assert all(finding.line for finding in bundle.findings), bundle.findings
        if faults:
            refused[str(file.relative_to(EXAMPLES))] = [one.message for one in faults]
    # Then all are there, but for those that nobody runs
    assert refused == REFUSED


def test_the_understack_manifests_load_whole() -> None:
    bundle = load([UNDERSTACK])
    assert errors(bundle) == []
    assert (len(bundle.event_sources), len(bundle.sensors), len(bundle.event_buses)) == (8, 14, 2)
    # And what is to be said is that NATS Streaming is served by JetStream, once for each bus
    assert [one.code for one in bundle.findings if one.severity == "warning"] == ["nats-native"] * 2


def test_what_a_sensor_waits_for_is_there() -> None:
    bundle = load([UNDERSTACK])
    for sensor in bundle.sensors:
        for dependency in sensor.dependencies:
            source = bundle.event_source(sensor.metadata.namespace, dependency.event_source_name)
            assert source is not None
            assert dependency.event_name in source.event_names
