"""Test files: short forms, and every mistake named with file, line and column before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from argosy.testing.loading import Loader
from tests.unit.testing.bench import WEB, Bench, dependency, sensor

HEAD = "tests:\n  - name: it\n    event: {from: web/order}\n"


@pytest.fixture
def shop(bench: Bench) -> Bench:
    """A folder with one sensor ``shop`` that has one trigger ``ship``."""
    return bench.manifests(sensor())


def test_the_short_form_is_five_lines(shop: Bench) -> None:
    loaded = shop.load(HEAD + "    fires:\n      - ship\n")

    assert not loaded.findings
    (trial,) = loaded.trials
    assert (trial.name, trial.line, [one.at for one in trial.arrivals]) == ("it", 2, [0.0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            HEAD + "    fiers: [ship]\n    fires: []\n",
            "it.test.yaml:4:5: error: unknown field 'fiers'; did you mean 'fires'? [unknown-field] (tests[0].fiers)",
        ),
        (
            HEAD + "    fires:\n      - {trigger: ship, contians: {payload: 1}}\n",
            "it.test.yaml:5:25: error: unknown field 'contians'; did you mean 'contains'? [unknown-field]"
            " (tests[0].fires[0].contians)",
        ),
        (
            HEAD + "    fires: [shop/shpi]\n",
            "it.test.yaml:4:13: error: no sensor here has a trigger 'shop/shpi'; did you mean 'shop/ship'?"
            " [unknown-trigger] (tests[0].fires[0])",
        ),
        (
            HEAD + "    fires: []\n    answers:\n      shp: ok\n",
            "it.test.yaml:6:7: error: no sensor here has a trigger 'shp'; did you mean 'ship'?"
            " [unknown-trigger] (tests[0].answers.shp)",
        ),
        (
            "tests:\n  - name: it\n    event: {from: web/ordre}\n    fires: []\n",
            "it.test.yaml:3:19: error: no event source here has an event 'web/ordre' and no sensor waits for it;"
            " did you mean 'web/order'? [unknown-event] (tests[0].event.from)",
        ),
        (
            HEAD + "    fires: []\n    sensors: [shpo]\n",
            "it.test.yaml:5:15: error: the manifests have no sensor 'shpo'; did you mean 'shop'?"
            " [unknown-sensor] (tests[0].sensors[0])",
        ),
        (
            HEAD + "    fires: []\n    namespace: other\n",
            "it.test.yaml:2:11: error: the manifests have no sensor in namespace 'other' [no-sensors] (tests[0].name)",
        ),
        (
            "manifests: [gone]\n" + HEAD + "    fires: []\n",
            "it.test.yaml:1:13: error: there is no file or folder 'gone' [no-file] (manifests[0])",
        ),
        (
            HEAD + "    fires: []\n  - name: it\n    event: {from: web/order}\n    fires: []\n",
            "it.test.yaml:5:11: error: test 'it' stands twice [duplicate-name] (tests[1].name)",
        ),
        (
            "tests:\n  - name: it\n    event: {from: web/order, at: 5x}\n    fires: []\n",
            "it.test.yaml:3:34: error: 'at' is not a moment; write a duration since the start such as 90s or 1h30m, or a"
            " time such as 2026-01-01T12:00:00Z [invalid-value] (tests[0].event.at)",
        ),
        (
            "tests:\n  - name: it\n    events:\n      - {from: web/order, at: 5s}\n      - {from: web/order, at: 4s}\n"
            "    fires: []\n",
            "it.test.yaml:5:31: error: 'at' is before the event above it; write them in the order of time"
            " [invalid-value] (tests[0].events[1].at)",
        ),
        (
            "tests:\n  - name: it\n    event: {from: web/order, at: 2025-12-31T23:59:59Z}\n    fires: []\n",
            "it.test.yaml:3:34: error: 'at' is before the start [invalid-value] (tests[0].event.at)",
        ),
        (
            "tests:\n  - name: it\n    event: {from: web/order, at: 5s}\n    until: 4s\n    fires: []\n",
            "it.test.yaml:4:12: error: 'until' is before the last event [invalid-value] (tests[0].until)",
        ),
        (
            "tests:\n  - name: it\n    event: {from: web/order, data: 1, raw: 2}\n    fires: []\n",
            "it.test.yaml:3:12: error: 'event' has several contents; give one of raw, rawFile, data, dataFile,"
            " cloudEvent, cloudEventFile [invalid-value] (tests[0].event)",
        ),
        (
            "tests:\n  - name: it\n    event: {from: web/order, rawFile: gone.json}\n    fires: []\n",
            "gone.json' cannot be read: No such file or directory [no-file] (tests[0].event.rawFile)",
        ),
        (
            "tests:\n  - name: it\n    event: {data: 1}\n    fires: []\n",
            "it.test.yaml:3:12: error: 'event' needs 'from': the eventSource/event that a dependency waits for"
            " [invalid-value] (tests[0].event)",
        ),
        (
            "tests:\n  - name: it\n    event: {cloudEvent: {id: x}}\n    fires: []\n",
            "it.test.yaml:3:25: error: 'cloudEvent' holds a CloudEvent without source and type [invalid-value]"
            " (tests[0].event.cloudEvent)",
        ),
        (
            HEAD,
            "it.test.yaml:2:5: error: 'tests' needs an expectation: fires, notFires, deadLetters or pending"
            " [invalid-value] (tests[0])",
        ),
        (
            HEAD + "    fires: [ship]\n    because: x\n",
            "it.test.yaml:2:5: error: 'tests' has 'because' without 'fires: []'; write it into an entry of notFires or"
            " deadLetters [invalid-value] (tests[0])",
        ),
        (
            HEAD + "    fires: []\n    answers: {ship: {fails: x, ok: z}}\n",
            "needs one of ok, fails, rejected, retryAfter, denied and unanswered [invalid-value] (tests[0].answers.ship)",
        ),
        (
            "start: 9999-12-31T23:59:59Z\n" + HEAD + "    fires: []\n",
            "it.test.yaml:1:8: error: 'start' is not between 1970",
        ),
        ("start: tomorrow\n" + HEAD + "    fires: []\n", "it.test.yaml:1:8: error: 'start' is not a time; write for"),
        ("start: 5\n" + HEAD + "    fires: []\n", "it.test.yaml:1:8: error: 'start' is not a time; write for"),
        ("tests: []\n", "it.test.yaml:1:8: error: 'tests' needs at least 1 entry [invalid-value] (tests)"),
        ("", "it.test.yaml: error: is empty; it needs 'tests' [no-tests]"),
        ("tests: [\n", "error: not YAML"),
        ("- a\n", "it.test.yaml:1:1: error: must be a mapping, not a list [wrong-type]"),
        (HEAD + "    fires: []\n    fires: []\n", "it.test.yaml:5:5: error: 'fires' stands twice"),
    ],
)
def test_a_mistake_is_named_with_its_place(shop: Bench, text: str, said: str) -> None:
    loaded = shop.load(text)

    assert any(said in line.replace(f"{shop.folder}/", "") for line in map(str, loaded.errors)), loaded.findings


@pytest.mark.parametrize(
    ("key", "content", "said"),
    [
        ("dataFile", "[" * 2000 + "]" * 2000, "'.events/it.json' is not JSON: depth limit exceeded"),
        ("dataFile", "{", "'.events/it.json' is not JSON: "),
        ("cloudEventFile", "{}", "'cloudEventFile' holds a CloudEvent without id and source and type"),
        (
            "cloudEventFile",
            '{"id":"x","source":"web","subject":"order","type":"t","data":' + "[" * 2000 + "]" * 2000 + "}",
            "'cloudEventFile' holds not a CloudEvent in structured JSON: maximum recursion depth exceeded",
        ),
    ],
)
def test_a_file_that_holds_no_event_is_named(shop: Bench, key: str, content: str, said: str) -> None:
    (shop.folder / ".events").mkdir()  # a hidden folder is not read as manifests
    (shop.folder / ".events" / "it.json").write_text(content)

    (line,) = shop.said(HEAD.replace("order}", f"order, {key}: .events/it.json}}") + "    fires: []\n")

    assert said in line
    assert line.endswith(f"(tests[0].event.{key})")


def test_a_file_with_a_mistake_keeps_its_other_tests_and_its_error(shop: Bench) -> None:
    loaded = shop.load(HEAD + "    fires: []\n  - name: other\n    event: {from: web/gone}\n    fires: []\n")

    assert [trial.name for trial in loaded.trials] == ["it"]
    assert loaded.errors


def test_a_trigger_that_several_sensors_have_needs_its_sensor(bench: Bench) -> None:
    bench.manifests(sensor(), sensor(name="branch"))

    assert bench.said(HEAD + "    fires: [ship]\n") == [
        "it.test.yaml:4:13: error: several sensors have a trigger 'ship'; write 'shop/ship' or 'branch/ship'"
        " [unknown-trigger] (tests[0].fires[0])"
    ]
    assert bench.said(HEAD + "    fires: [shop/ship, branch/ship]\n") == []
    assert bench.said(HEAD + "    fires: [ship]\n    sensors: [branch]\n") == []


def test_manifests_with_an_error_are_an_error_of_the_test(bench: Bench) -> None:
    wrong = sensor(dependencies=[dependency("order", filters={"time": {"start": "1", "stop": "2"}})])
    bench.manifests(wrong)

    said = bench.said(HEAD + "    fires: []\n" + HEAD.partition("\n")[2].replace("it", "other") + "    fires: []\n")

    assert len(said) == 2  # two wrong times, each told once
    assert all(line.startswith("manifests.yaml:") for line in said)


def test_an_event_for_sensors_of_two_namespaces_needs_a_word(bench: Bench) -> None:
    bench.manifests(sensor(namespace="one"), sensor(namespace="two", name="other"), more=WEB.replace("web", "wob", 1))

    (said,) = bench.said(HEAD + "    fires: []\n")
    assert "'namespace' must say which one is meant: one, two" in said
    assert bench.said(HEAD.replace("order}", "order, namespace: two}") + "    fires: []\n") == []
    assert bench.said(HEAD + "    fires: []\n    namespace: two\n") == []


def test_raw_needs_the_event_source(bench: Bench) -> None:
    bench.manifests(sensor(), more="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n")

    (said,) = bench.said(HEAD.replace("order}", "order, raw: 1}") + "    fires: []\n")

    assert (
        "event 'web/order' is not among the manifests, so nobody knows how to wrap 'raw'; give 'data' instead" in said
    )


def test_what_holds_for_a_file_holds_for_its_tests_unless_they_say_otherwise(bench: Bench, tmp_path: Path) -> None:
    bench.manifests(sensor(), sensor(name="branch"))
    text = "start: 2026-06-01T00:00:00Z\nsensors: [branch]\n" + HEAD + "    notFires: []\n"
    own = "  - name: own\n    event: {from: web/order}\n    notFires: []\n    sensors: [shop]\n    start: 2027-01-01T00:00:00Z\n"

    one, other = bench.load(text + own).trials

    assert ([each.metadata.name for each in one.sensors], one.start.year) == (["branch"], 2026)
    assert ([each.metadata.name for each in other.sensors], other.start.year) == (["shop"], 2027)


def test_manifests_are_seen_from_the_test_file(bench: Bench) -> None:
    bench.manifests(sensor())
    deep = bench.folder / "tests" / "deep"
    deep.mkdir(parents=True)
    (deep / "it.test.yaml").write_text("manifests: [../../manifests.yaml]\n" + HEAD + "    fires: [ship]\n")

    loaded = Loader().load([bench.folder])

    assert (len(loaded.trials), loaded.findings) == (1, [])


def test_a_folder_is_searched_for_test_files_only(bench: Bench) -> None:
    bench.manifests(sensor())
    (bench.folder / ".hidden").mkdir()
    for name in ("a.test.yaml", "b.test.yml", "c.yaml", ".hidden/d.test.yaml"):
        (bench.folder / name).write_text(HEAD + "    fires: [ship]\n")

    loaded = Loader().load([bench.folder])

    assert [Path(file).name for file in loaded.files] == ["a.test.yaml", "b.test.yml"]


def test_a_file_of_another_name_is_no_test_file(bench: Bench) -> None:
    bench.manifests(sensor())

    (finding,) = Loader().load([bench.folder / "manifests.yaml"]).errors

    assert "is no test file; its name must end with .test.yaml" in str(finding)
