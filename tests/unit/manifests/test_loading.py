"""Files, folders, lists and standard input become one Bundle; what is broken hides nothing else."""

import base64
import io
from pathlib import Path
from typing import Any

import pytest

from argosy.manifests.bundle import Bundle, Finding, from_objects, load, loads

pytestmark = pytest.mark.usefixtures("toys")


def source(name: str, *, namespace: str = "", more: str = "") -> str:
    where = f", namespace: {namespace}" if namespace else ""
    return (
        f"apiVersion: argoproj.io/v1alpha1\nkind: EventSource\nmetadata: {{name: {name}{where}}}\n"
        f'spec:\n  toyHook:\n    e:\n      endpoint: /{name}\n      port: "1"\n{more}'
    )


def sensor(name: str, *, event_source: str = "s", more: str = "") -> str:
    return (
        f"apiVersion: argoproj.io/v1alpha1\nkind: Sensor\nmetadata: {{name: {name}}}\n"
        f"spec:\n  dependencies:\n"
        f"    - {{name: d, eventSourceName: {event_source}, eventName: e}}\n  triggers:\n"
        f"    - template:\n        name: t\n        toySend:\n          url: http://x\n{more}"
    )


def codes(bundle: Bundle) -> list[str]:
    return [finding.code for finding in bundle.findings]


def only(bundle: Bundle) -> Finding:
    (finding,) = bundle.findings
    return finding


def test_a_folder_is_read_with_its_sub_folders(tmp_path: Path) -> None:
    # Given manifests with the three endings, and things that are none
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "a.yaml").write_text(source("a"))
    (tmp_path / "deep" / "b.yml").write_text(source("b"))
    (tmp_path / "deep" / "er" / "c.json").write_text('{"kind": "List", "items": []}')
    (tmp_path / "sensor.test.yaml").write_text("not: [closed")
    (tmp_path / ".hidden" / "d.yaml").write_text("not: [closed")
    (tmp_path / ".e.yaml").write_text("not: [closed")
    (tmp_path / "notes.md").write_text("not: [closed")
    bundle = load([tmp_path])
    assert [Path(file).name for file in bundle.files] == ["a.yaml", "b.yml", "c.json"]
    assert [one.metadata.name for one in bundle.event_sources] == ["a", "b"]
    assert bundle.findings == []


def test_a_link_that_leads_back_does_not_run_for_ever(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(source("a"))
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    assert len(load([tmp_path]).files) == 1


def test_a_named_file_may_have_any_ending(tmp_path: Path) -> None:
    file = tmp_path / "a.test.yaml"
    file.write_text(source("a"))
    assert len(load([file]).event_sources) == 1


def test_standard_input_is_a_file_too() -> None:
    bundle = load(["-"], stdin=io.BytesIO(source("a").encode()))
    assert bundle.files == ["<stdin>"]
    assert bundle.event_source("default", "a") is not None


def test_a_missing_file_is_a_finding(tmp_path: Path) -> None:
    assert only(load([tmp_path / "nothing.yaml"])).code == "no-file"


def test_a_broken_file_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(source("a") + "---\nkey: [never closed\n---\n" + source("b"))
    (tmp_path / "b.yaml").write_bytes(b"kind: \xff\xfe\n")
    (tmp_path / "c.yaml").write_text(source("c"))
    bundle = load([tmp_path])
    assert [one.metadata.name for one in bundle.event_sources] == ["a", "b", "c"]
    assert [(Path(one.file).name, one.code) for one in bundle.findings] == [
        ("a.yaml", "yaml"),
        ("b.yaml", "encoding"),
    ]
    assert (bundle.findings[1].line, bundle.findings[1].column) == (1, 7)


def test_a_faulty_object_is_left_out_and_the_others_stay() -> None:
    # Given two objects, one with a fault
    text = source("good") + "---\n" + source("bad", more="      prot: 1\n")
    bundle = loads(text, "f.yaml")
    # Then one remains, and the fault is told with its place in the file
    assert [one.metadata.name for one in bundle.event_sources] == ["good"]
    finding = only(bundle)
    assert str(finding) == (
        "f.yaml:18:7: error: unknown field 'prot'; did you mean 'port'? [unknown-field] (spec.toyHook.e.prot)"
    )
    assert finding.object == "EventSource default/bad"


def test_a_missing_field_points_at_the_block_that_lacks_it() -> None:
    text = source("a").replace('      port: "1"\n', "")
    finding = only(loads(text))
    assert (finding.code, finding.line, finding.column) == ("missing-field", 7, 7)


def test_lists_are_unpacked_with_places() -> None:
    # Given a list as kubectl prints it, the second item faulty
    items = [source("a"), source("b", more="      prot: 1\n")]
    text = "apiVersion: v1\nkind: List\nitems:\n" + "".join(
        "- " + one.rstrip("\n").replace("\n", "\n  ") + "\n" for one in items
    )
    bundle = loads(text)
    assert [one.metadata.name for one in bundle.event_sources] == ["a"]
    assert text.splitlines()[only(bundle).line - 1].strip() == "prot: 1"


def test_lists_of_our_kinds_and_lists_in_lists_are_unpacked() -> None:
    inner = {
        "kind": "EventSourceList",
        "apiVersion": "argoproj.io/v1alpha1",
        "items": [loads(source("a")).event_sources[0].raw],
    }
    assert len(from_objects([{"kind": "List", "apiVersion": "v1", "items": [inner]}]).event_sources) == 1


def test_other_kinds_are_counted_and_left_alone() -> None:
    text = "\n---\n".join(
        [
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: x}",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b}",
            "apiVersion: sources.knative.dev/v1\nkind: Sensor\nmetadata: {name: c}",
            "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {name: d}",
        ]
    )
    bundle = loads(text)
    assert bundle.findings == []
    assert bundle.ignored == {"Deployment": 2, "Sensor": 1, "Workflow": 1}


def test_a_kind_that_is_nearly_ours_is_asked_about() -> None:
    finding = only(loads(source("a").replace("kind: EventSource", "kind: Eventsource")))
    assert (finding.code, finding.severity) == ("unknown-kind", "warning")
    assert "did you mean 'EventSource'?" in finding.message


def test_a_document_that_is_no_object_matters_only_where_it_was_named(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("replicas: 3\n")
    assert load([tmp_path]).findings == []
    assert only(load([tmp_path / "values.yaml"])).code == "no-object"


def test_of_two_objects_with_one_name_the_later_counts() -> None:
    bundle = loads(source("a") + "---\n" + source("a").replace("/a", "/later"), "f.yaml")
    (one,) = bundle.event_sources
    assert one.events[0].config.model_dump()["endpoint"] == "/later"
    finding = only(bundle)
    assert (finding.code, finding.severity) == ("duplicate-object", "warning")
    assert "f.yaml:1" in finding.message


def test_namespaces_keep_names_apart() -> None:
    bundle = loads(source("a", namespace="x") + "---\n" + source("a", namespace="z"))
    assert "duplicate-object" not in codes(bundle)
    assert bundle.event_source("z", "a") is not None
    assert bundle.event_source("default", "a") is None


def secret(**members: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "x"}, **members}


def test_secrets_and_config_maps_are_kept_decoded() -> None:
    bundle = from_objects(
        [
            secret(data={"a": base64.b64encode(b"one\n").decode()}, stringData={"b": "two"}),
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "c"},
                "data": {"k": "v"},
                "binaryData": {"w": "aGk="},
            },
        ]
    )
    assert bundle.secrets["x", "s"] == {"a": "one\n", "b": "two"}
    assert bundle.config_maps["default", "c"] == {"k": "v", "w": "hi"}


def test_secrets_never_show() -> None:
    bundle = from_objects([secret(stringData={"a": "hunter2"})])
    assert "hunter2" not in repr(bundle)
    assert "hunter2" not in repr(bundle.secrets)
    assert "hunter2" not in str(bundle.secrets["x", "s"])


@pytest.mark.parametrize("value", ["hunter2!", 12345])
def test_a_secret_that_is_not_base64_is_named_without_its_value(value: object) -> None:
    finding = only(from_objects([secret(data={"key": value})]))
    assert finding.path == "data.key"
    assert str(value) not in str(finding)


def test_workflow_templates_are_kept() -> None:
    text = "apiVersion: argoproj.io/v1alpha1\nkind: {}\nmetadata: {{name: w, namespace: one}}\nspec: {{}}\n"
    bundle = loads(text.format("WorkflowTemplate") + "---\n" + text.format("ClusterWorkflowTemplate"))
    assert bundle.workflow_template("one", "w") is not None
    assert bundle.workflow_template("two", "w") is None
    assert bundle.workflow_template("two", "w", "ClusterWorkflowTemplate") is not None


def test_equal_keys_are_a_warning_with_the_place_of_the_second() -> None:
    finding = only(loads(source("a", more='      port: "2"\n')))
    assert (finding.code, finding.severity, finding.line) == ("duplicate-key", "warning", 9)


def test_objects_from_a_cluster_need_no_file() -> None:
    raw = loads(source("a")).event_sources[0].raw
    broken = {**raw, "spec": {"toyHook": {"e": {"port": 5}}}}
    bundle = from_objects([broken])
    assert {(one.file, one.line) for one in bundle.findings} == {("", 0)}
    assert bundle.count("error") == 2


def test_too_large_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("argosy.manifests.loading.MAX_FILE_BYTES", 1000)
    (tmp_path / "a.yaml").write_text("# " + "x" * 1000)
    assert only(load([tmp_path])).code == "too-large"


@pytest.mark.parametrize(
    "broken",
    [
        'spec: {toyHook: {e: {endpoint: 5, port: "1"}}}',
        "spec: [",
        "spec: {toyHook: {e: *nobody}}",
    ],
)
def test_a_reload_keeps_what_ran_while_its_text_is_broken(broken: str) -> None:
    # Given two objects that ran
    before = loads(source("a") + "---\n" + source("b"), "f.yaml")
    # When one of them is broken, so that it may not even be seen
    head = "apiVersion: argoproj.io/v1alpha1\nkind: EventSource\nmetadata: {name: a}\n"
    now = loads(head + broken + "\n---\n" + source("b").replace("/b", "/new"), "f.yaml")
    kept = now.keeping(before)
    # Then it runs on as it was, the other as it is now, and the fault is there to read
    assert kept.event_source("default", "a") == before.event_source("default", "a")
    b = kept.event_source("default", "b")
    assert b is not None
    assert b.events[0].config.model_dump()["endpoint"] == "/new"
    assert kept.count("error") == 1


def test_a_reload_drops_what_is_gone() -> None:
    before = loads(source("a") + "---\n" + source("b"), "f.yaml")
    kept = loads(source("b"), "f.yaml").keeping(before)
    assert [one.metadata.name for one in kept.event_sources] == ["b"]


def test_a_reload_of_the_same_text_is_the_same() -> None:
    before = loads(source("s") + "---\n" + sensor("x"), "f.yaml")
    assert loads(source("s") + "---\n" + sensor("x"), "f.yaml").keeping(before) == before
    assert (
        loads(source("s") + "---\n" + sensor("x", more="        conditions: d\n"), "f.yaml").keeping(before) != before
    )


def test_a_second_reload_still_keeps_it() -> None:
    first = loads(source("a"), "f.yaml")
    second = loads("spec: [", "f.yaml").keeping(first)
    third = loads("spec: [[", "f.yaml").keeping(second)
    assert third.event_source("default", "a") is not None
