"""``argosy migrate`` without a cluster: every difference that it knows is found where it is and nowhere else, and said once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from argosy import registry
from argosy.cli.main import main
from argosy.kubernetes.install.changes import CHANGES
from argosy.kubernetes.install.migration import report
from argosy.manifests.bundle import from_objects

Object = dict[str, Any]
API = "argoproj.io/v1alpha1"
PACK = {"name": "t", "log": {}}


def thing(kind: str, name: str, spec: Object, **about: Any) -> Object:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name, "namespace": "shop", **about}, "spec": spec}


def source(kind: str, **block: Any) -> Object:
    return thing("EventSource", "web", {kind: {"order": block}})


def sensor(kind: str = "log", _trigger: Object | None = None, _spec: Object | None = None, **block: Any) -> Object:
    trigger = {"atLeastOnce": False, "template": {"name": "t", kind: block}, **(_trigger or {})}
    dependencies = [{"name": "d", "eventSourceName": "web", "eventName": "order"}]
    return thing("Sensor", "orders", {"dependencies": dependencies, "triggers": [trigger], **(_spec or {})})


def bus(**spec: Any) -> Object:
    return thing("EventBus", "default", spec)


TLS = {"caCertSecret": {"name": "ca", "key": "ca.crt"}}
DRAWN = {"resource": {"metadata": {"generateName": "w-"}}}
CHOSEN = {"resource": {"metadata": {"generateName": "w-", "annotations": {"argosy.dev/random-name": "true"}}}}
HTTPS = {"url": {"path": "https://templates.example/w.yaml"}}
VERIFIED = {"url": {"path": "https://templates.example/w.yaml", "verifyCert": True}}
VOLUME = {"template": {"volumes": [{"name": "v", "hostPath": {"path": "/data"}}]}}
EMPTY = {"template": {"volumes": [{"name": "v", "emptyDir": {}}]}}
RESET = {"template": {**PACK, "conditionsReset": [{"byTime": {"cron": "0 0 * * *"}}]}}
ZONED = {"template": {**PACK, "conditionsReset": [{"byTime": {"cron": "0 0 * * *", "timezone": "Europe/Berlin"}}]}}
CASES: dict[tuple[str, str], tuple[Object, Object | None]] = {
    ("nats-streaming", "EventBus"): (bus(nats={"native": {"replicas": 3}}), bus(jetstream={"version": "latest"})),
    ("nats-exotic", "EventBus"): (bus(nats={"exotic": {"url": "nats://n:4222", "clusterID": "c"}}), bus(nats={"native": {}})),
    ("nats-version", "EventBus"): (bus(jetstream={"version": "2.9.16"}), bus(jetstream={"version": "2.10.29"})),
    ("bus-closed", "EventBus"): (bus(jetstream={"version": "latest"}), bus(jetstreamExotic={"url": "nats://n:4222"})),
    ("bus-taken-over", "EventBus"): (bus(jetstream={"version": "latest"}), bus(jetstreamExotic={"url": "nats://n:4222"})),
    ("bus-certificate", "EventBus"): (bus(jetstreamExotic={"url": "nats://n:4222"}), bus(jetstreamExotic={"url": "nats://n:4222", "tls": TLS})),
    ("sensor-position", "EventBus"): (bus(kafka={"url": "k:9092"}), None),
    ("pod-user", "template"): (sensor(_spec=VOLUME), sensor(_spec=EMPTY)),
    ("standing-by", "EventSource"): (thing("EventSource", "web", {"replicas": 2}), thing("EventSource", "web", {"replicas": 1})),
    ("pull-policy", "template"): (sensor(_spec={"template": {"container": {"imagePullPolicy": "Never"}}}), sensor()),
    ("at-least-once", "trigger"): (thing("Sensor", "orders", {"triggers": [{"template": PACK}]}), sensor()),
    ("tries", "trigger"): (sensor(_trigger={"atLeastOnce": True}), sensor(_trigger={"atLeastOnce": True, "retryStrategy": {"steps": 3}})),
    ("tries-count", "trigger"): (sensor(_trigger={"retryStrategy": {"steps": 3}}), sensor(_trigger={"atLeastOnce": True, "retryStrategy": {"steps": 3}})),
    ("rate-limit", "trigger"): (sensor(_trigger={"rateLimit": {"requestsPerUnit": 1}}), sensor()),
    ("dead-letter-trigger", "trigger"): (sensor(_trigger={"dlqTrigger": {"template": PACK}}), sensor()),
    ("reset-zone", "trigger"): (sensor(_trigger=RESET), sensor(_trigger=ZONED)),
    ("template-certificate", "template-source"): (sensor("k8s", source=HTTPS), sensor("k8s", source=VERIFIED)),
    ("half-a-template", "template-source"): (sensor("k8s", source=HTTPS), sensor("k8s", source=DRAWN)),
    ("http-status", "trigger http"): (sensor("http", url="https://shop.example"), sensor()),
    ("link-local", "trigger http"): (sensor("http", url="http://169.254.169.254/latest"), sensor("http", url="http://shop.example/169.254.1.1")),
    ("object-name", "trigger k8s"): (sensor("k8s", source=DRAWN), sensor("k8s", source=CHOSEN)),
    ("object-name", "trigger argoWorkflow"): (sensor("argoWorkflow", source=DRAWN), sensor("argoWorkflow", source=CHOSEN)),
    ("workflow-api", "trigger argoWorkflow"): (sensor("argoWorkflow", operation="resume"), sensor("argoWorkflow", operation="submit")),
    ("kafka-certificate", "trigger kafka"): (sensor("kafka", tls=TLS), sensor("kafka", tls={"insecureSkipVerify": True})),
    ("kafka-flush", "trigger kafka"): (sensor("kafka", flushFrequency=500), sensor("kafka")),
    ("kafka-answer", "trigger kafka"): (sensor("kafka"), sensor()),
    ("nats-answer", "trigger nats"): (sensor("nats"), sensor()),
    ("pulsar-host", "trigger pulsar"): (sensor("pulsar", url="pulsar+ssl://p:6651"), sensor("pulsar", url="pulsar://p:6650")),
    ("lambda-error", "trigger awsLambda"): (sensor("awsLambda"), sensor()),
    ("openwhisk-payload", "trigger openWhisk"): (sensor("openWhisk"), sensor()),
    ("custom-policy", "trigger custom"): (sensor("custom"), sensor()),
    ("log-interval", "trigger log"): (sensor(intervalSeconds=10), sensor()),
    ("email-parameters", "trigger email"): (sensor("email", parameters=[{"dest": "to.0"}]), sensor("email")),
    ("webhook-method", "source webhook"): (source("webhook", port="1"), source("webhook", port="1", method="POST")),
    ("secret-checked", "source gitlab"): (source("gitlab", secretToken={"name": "s", "key": "k"}), source("gitlab")),
    ("secret-checked", "source bitbucketserver"): (source("bitbucketserver", webhookSecret={"name": "s", "key": "k"}), source("bitbucketserver")),
    ("slack-shape", "source slack"): (source("slack"), source("webhook")),
    ("sns-signature", "source sns"): (source("sns", validateSignature=True), source("sns", validateSignature=False)),
    ("sqs-visibility", "source sqs"): (source("sqs"), source("sns")),
    ("role-with-keys", "source sqs"): (source("sqs", roleARN="arn:r", accessKey={"name": "s"}), source("sqs", roleARN="arn:r")),
    ("role-with-keys", "source sns"): (source("sns", roleARN="arn:r", accessKey={"name": "s"}), source("sns", roleARN="arn:r")),
    ("minio-events", "source minio"): (source("minio"), source("minio", events=["s3:ObjectCreated:Put"])),
    ("storagegrid-records", "source storageGrid"): (source("storageGrid", filter={"prefix": "a"}), source("storageGrid")),
    ("stripe-filter", "source stripe"): (source("stripe", eventFilter=["charge"]), source("stripe")),
    ("amqp-ack", "source amqp"): (source("amqp"), source("webhook")),
    ("calendar-state", "source calendar"): (source("calendar", persistence={"catchup": {"enabled": True}}), source("calendar", schedule="* * * * *")),
    ("calendar-zone", "source calendar"): (source("calendar", schedule="* * * * *"), source("calendar", interval="10s")),
    ("file-slash", "source file"): (source("file", watchPathConfig={"directory": "/d", "path": "x"}), source("file", watchPathConfig={"directory": "/d/", "path": "x"})),
    ("sftp-poll", "source sftp"): (source("sftp", pollIntervalDuration="1m"), source("sftp")),
    ("sftp-host", "source sftp"): (source("sftp", password={"name": "s"}), source("sftp")),
    ("resource-start", "source resource"): (source("resource"), source("webhook")),
    ("generic-tls", "source generic"): (source("generic"), source("generic", insecure=True)),
    ("mqtt-session", "source mqtt"): (source("mqtt"), source("mqtt", qos=0)),
    ("mqtt-scheme", "source mqtt"): (source("mqtt", url="wss://m"), source("mqtt", url="ssl://m")),
    ("kafka-partition", "source kafka"): (source("kafka", partition="0"), source("kafka", partition="0", consumerGroup={"groupName": "g"})),
    ("kafka-limit", "source kafka"): (source("kafka", limitEventsPerSecond=5), source("kafka")),
    ("kafka-config", "source kafka"): (source("kafka", config="a: b"), source("kafka")),
    ("registry-certificate", "source kafka"): (source("kafka", schemaRegistry={"url": "https://r"}), source("kafka", schemaRegistry={"url": "http://r"})),
    ("hdfs-kerberos", "source hdfs"): (source("hdfs", krbKeytabSecret={"name": "s"}), source("hdfs", hdfsUser="hdfs")),
    ("eventhub-position", "source azureEventsHub"): (source("azureEventsHub"), source("webhook")),
    ("servicebus-json", "source azureServiceBus"): (source("azureServiceBus", jsonBody=True), source("azureServiceBus")),
    ("mns-json", "source mns"): (source("mns", jsonBody=True), source("mns")),
    ("pulsar-type", "source pulsar"): (source("pulsar"), source("pulsar", type="shared")),
    ("pulsar-host", "source pulsar"): (source("pulsar", url="pulsar+ssl://p:6651"), source("pulsar", url="pulsar+ssl://p:6651", tlsValidateHostname=True)),
}  # fmt: skip
"""For every row an object that it is about, and one that it is not about."""


def codes(one: Object) -> set[str]:
    """What the rows say of an object."""
    (moved,) = report([one], from_objects([])).objects
    return {point.code for point in moved.points}


def test_every_row_has_a_case() -> None:
    # Given the rows, then each has an object that shows it, and one for each kind of block
    assert {(change.code, change.where) for change in CHANGES} == CASES.keys()


@pytest.mark.parametrize(("row", "case"), CASES.items(), ids=[f"{code} {where}" for code, where in CASES])
def test_a_row_finds_what_it_is_about(row: tuple[str, str], case: tuple[Object, Object | None]) -> None:
    # Given an object that a row is about, and another
    about, other = case
    # Then it is named for the one, and not for the other
    assert row[0] in codes(about)
    assert other is None or row[0] not in codes(other)


def test_rows_are_about_kinds_that_there_are() -> None:
    # Given the kinds of blocks
    for change in CHANGES:
        word, _, kind = change.where.partition(" ")
        # Then each is one that manifests have
        if word == "source":
            assert kind in registry.source_kinds()
        elif kind:
            assert kind in registry.trigger_kinds()
        else:
            assert word in ("EventBus", "EventSource", "template", "trigger", "template-source")


def test_a_trigger_inside_a_trigger_is_looked_at_too() -> None:
    # Given a dlqTrigger of a kind that changes
    one = sensor(_trigger={"dlqTrigger": {"atLeastOnce": False, "template": {"name": "d", "openWhisk": {}}}})
    # Then it is named with its path
    (moved,) = report([one], from_objects([])).objects
    (point,) = (point for point in moved.points if point.code == "openwhisk-payload")
    assert point.paths == ("spec.triggers[0].dlqTrigger.template.openWhisk",)


# What runs


def deployment(name: str, args: list[str], labels: Object | None = None, **env: str) -> Object:
    container = {"args": args, "env": [{"name": key, "value": text} for key, text in env.items()]}
    spec = {"replicas": 1, "template": {"spec": {"containers": [container]}}}
    about = {"name": name, "namespace": "argo-events", "labels": labels or {}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": about, "spec": spec}


@pytest.mark.parametrize(
    ("args", "scope"),
    [
        (["controller"], "serves all namespaces"),
        (["controller", "--namespaced"], "serves namespace argo-events"),
        (["controller", "--namespaced", "--managed-namespace", "shop"], "serves namespace shop"),
        (["controller", "--namespaced", "--managed-namespace=shop"], "serves namespace shop"),
    ],
)
def test_a_controller_of_argo_events_is_told_with_what_it_serves(args: list[str], scope: str) -> None:
    # Given a cluster in which it runs, beside ours
    theirs = deployment("controller-manager", args, ARGO_EVENTS_IMAGE="argo-events:v1.9")
    mine = deployment("argosy-controller", args, ARGOSY_IMAGE="argosy:1")
    # Then it alone is named, with the namespaces that it serves
    (point,) = report([], from_objects([]), [theirs, mine], live=True).cluster
    assert (point.code, point.weight) == ("upstream-controller", "act")
    assert scope in point.text
    # And one that was scaled to 0 is not in the way
    theirs["spec"]["replicas"] = 0
    assert not report([], from_objects([]), [theirs, mine], live=True).cluster


def test_what_its_controller_made_gives_way_to_what() -> None:
    # Given pods of its making, and of ours
    labels = {"controller": "sensor-controller", "owner-name": "orders"}
    theirs = deployment("orders-sensor-x7k2p", ["sensor-service"], labels)
    mine = deployment("orders-sensor", ["sensor-service"], {**labels, "app.kubernetes.io/managed-by": "argosy"})
    for one in (theirs, mine):
        one["metadata"]["namespace"] = "shop"
    # Then both are named, old and new
    (moved,) = report([sensor()], from_objects([]), [theirs, mine], live=True).objects
    (text,) = (point.text for point in moved.points if point.code == "old-pods")
    assert "orders-sensor-x7k2p gives way to Deployment orders-sensor," in text


# The command


def migrate(tmp_path: Path, *objects: Object, words: tuple[str, ...] = ()) -> Result:
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    return CliRunner().invoke(main, ["migrate", str(path), *words])


WEB = thing("EventSource", "web", {"webhook": {"order": {"port": "12000", "endpoint": "/order", "method": "POST"}}})


def test_what_only_changes_is_said_and_ends_well(tmp_path: Path) -> None:
    # When there is nothing to do
    done = migrate(
        tmp_path, bus(jetstream={"version": "latest"}), WEB, sensor(_trigger={"rateLimit": {"requestsPerUnit": 1}})
    )
    # Then each object has its codes, each code is said once, and the exit code is 0
    assert done.exit_code == 0, done.output
    assert "EventSource shop/web: nothing changes\n" in done.output
    assert "  changes  rate-limit: spec.triggers[0]\n" in done.output
    assert done.output.count("spaces actions evenly") == 1
    assert done.output.endswith("3 objects; refused: 0, to do: 0, to know: 4\n")


def test_what_cannot_run_is_refused_with_lints_words(tmp_path: Path) -> None:
    # Given a field that Argo Events passes over
    done = migrate(tmp_path, WEB, sensor(_spec={"dependancies": []}))
    # Then the report says so, and the exit code too
    assert done.exit_code == 1
    assert "  refused  unknown-field: spec.dependancies" in done.output
    assert "refused: 1," in done.output


def test_what_lint_says_is_said_with_each_object(tmp_path: Path) -> None:
    # Given fields that older versions had, one in each of two objects
    typed = {**WEB, "spec": {**WEB["spec"], "type": "webhook"}}
    spaced = thing(
        "EventSource", "pay", {"stripe": {"paid": {"webhook": {"port": "1", "endpoint": "/"}, "namespace": "x"}}}
    )
    done = migrate(tmp_path, typed, spaced)
    # Then each is said where it is, in its own words
    lines = [line for line in done.output.splitlines() if "dropped-field" in line]
    assert len(lines) == 2
    assert "spec.stripe.paid.namespace: 'namespace' has no effect" in lines[0]
    assert "spec.type: 'type' has no effect" in lines[1]


def test_what_wants_something_makes_the_exit_code_1(tmp_path: Path) -> None:
    # Given a bus of NATS Streaming
    done = migrate(tmp_path, bus(nats={"native": {}}))
    # Then it is to be done
    assert done.exit_code == 1
    assert "  act      nats-streaming: spec\n" in done.output


def test_rights_are_compared_where_there_are_roles(tmp_path: Path) -> None:
    # Given a sensor whose account may list Workflows, and not create them
    body = {"apiVersion": API, "kind": "Workflow", "metadata": {"name": "w"}, "spec": {"entrypoint": "main"}}
    one = sensor(
        "argoWorkflow",
        source={"resource": body},
        operation="submit",
        _spec={"template": {"serviceAccountName": "packer"}},
    )
    rbac = "rbac.authorization.k8s.io"
    about = {"name": "packer", "namespace": "shop"}
    role = {
        "apiVersion": f"{rbac}/v1",
        "kind": "Role",
        "metadata": about,
        "rules": [{"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["list"]}],
    }
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "RoleBinding",
        "metadata": about,
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "packer"},
        "subjects": [{"kind": "ServiceAccount", **about}],
    }
    # When there are no roles among the manifests, then what is needed is said
    alone = json.loads(migrate(tmp_path, WEB, one, words=("-o", "json")).output)
    assert _point(alone, "orders", "rights-needed")["weight"] == "changes"
    # And where there are, what is missing
    compared = json.loads(migrate(tmp_path, WEB, one, role, binding, words=("-o", "json")).output)
    point = _point(compared, "orders", "rights-missing")
    assert point["weight"] == "act"
    assert "create workflows.argoproj.io" in point["text"]


def _point(said: Object, name: str, code: str) -> Object:
    (found,) = (
        point for one in said["objects"] if one["name"] == name for point in one["points"] if point["code"] == code
    )
    assert isinstance(found, dict)
    return found


def test_an_object_that_is_left_alone_is_marked(tmp_path: Path) -> None:
    # Given an annotation that leaves it to Argo Events
    one = thing("EventSource", "web", WEB["spec"], annotations={"argosy.dev/controller": "argo-events"})
    # Then the report says so
    done = migrate(tmp_path, one)
    assert "EventSource shop/web (left to its own controller by annotation)\n" in done.output


def test_lists_are_unpacked_and_standard_input_is_read() -> None:
    # When what kubectl printed comes in
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [WEB, bus(nats={"native": {}})]})
    done = CliRunner().invoke(main, ["migrate", "-", "-o", "json"], input=text)
    # Then its objects are there
    said = json.loads(done.output)
    assert [(one["kind"], one["name"]) for one in said["objects"]] == [("EventBus", "default"), ("EventSource", "web")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Give either PATH... or --live."),
        (("--live", "."), "Give either PATH... or --live."),
        ((".", "-n", "shop"), "go with --live"),
        (("--live", "-A", "-n", "shop"), "are two things"),
    ],
)
def test_what_makes_no_sense_is_refused(words: tuple[str, ...], said: str) -> None:
    # When the call is wrong
    done = CliRunner().invoke(main, ["migrate", *words])
    # Then it says how
    assert done.exit_code == 2
    assert said in done.stderr
