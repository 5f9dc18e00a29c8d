"""What becomes different for an object of Argo Events once Argosy serves it: a row for each difference, with the condition under which it
concerns an object.

A row looks at one block as it is written: an EventBus's spec, an event source's event (``source KIND``), a trigger's block (``trigger
KIND``), a trigger as a whole (``trigger``), a Sensor's or EventSource's spec. ``docs/reference/differences.md`` has all differences; here are
those of which a manifest tells that they matter. Rows of weight ``act`` want something from a person before the switch; ``changes`` are to be known.
Over the usual length for its rows alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Block = Mapping[str, Any]
Weight = Literal["act", "changes"]


@dataclass(frozen=True)
class Change:
    """One difference. ``where`` says which blocks it may concern, ``when`` which of them it does."""

    code: str
    weight: Weight
    where: str
    text: str
    when: Callable[[Block], Any] = lambda block: True


def _at(block: Block, *path: str) -> Any:
    found: Any = block
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _has(*path: str) -> Callable[[Block], Any]:
    return lambda block: _at(block, *path) not in (None, "", [], {}, False)


def _lacks(*path: str) -> Callable[[Block], Any]:
    return lambda block: not _at(block, *path)


def _both(*conditions: Callable[[Block], Any]) -> Callable[[Block], Any]:
    return lambda block: all(condition(block) for condition in conditions)


def _matches(pattern: str, *path: str) -> Callable[[Block], Any]:
    compiled = re.compile(pattern)
    return lambda block: isinstance(text := _at(block, *path), str) and compiled.search(text)


def _one_of_several(spec: Block) -> bool:
    return isinstance(count := spec.get("replicas"), int) and count > 1


def _volumes_of_the_node(spec: Block) -> bool:
    volumes = _at(spec, "template", "volumes")
    return isinstance(volumes, list) and any(
        isinstance(one, Mapping) and ({"hostPath", "persistentVolumeClaim"} & one.keys()) for one in volumes
    )


def _by_time_without_zone(trigger: Block) -> bool:
    resets = _at(trigger, "template", "conditionsReset")
    times = [_at(one, "byTime") for one in resets if isinstance(one, Mapping)] if isinstance(resets, list) else []
    return any(isinstance(one, Mapping) and not one.get("timezone") for one in times)


def _old_server(spec: Block) -> bool:
    found = re.match(r"(\d+)\.(\d+)", str(_at(spec, "jetstream", "version") or ""))
    return bool(found) and (int(found[1]), int(found[2])) < (2, 10)  # type: ignore[index]


def _with_generated_name(block: Block) -> bool:
    about = _at(block, "source", "resource", "metadata")
    random = _at(about or {}, "annotations", "argosy.dev/random-name")
    return bool(_at(about or {}, "generateName")) and not _at(about or {}, "name") and random != "true"


_TLS = _both(_has("tls"), lambda block: _at(block, "tls", "insecureSkipVerify") is not True)
_VERIFIED = "the certificate is verified now, which Argo Events does not do: give the authority that signed it, unless the public ones did"

_DRAWN = (
    "the name is made of the action instead of drawn, so that a repeated try makes no second object; annotate the object"
    ' argosy.dev/random-name: "true" for a drawn one'
)

CHANGES: tuple[Change, ...] = (
    # Buses
    Change("nats-streaming", "act", "EventBus", "NATS Streaming is not installed any more: this bus becomes a JetStream of its own. What waits in the old one is not carried over, so let sensors settle it before, and remove its StatefulSet afterwards", lambda spec: _at(spec, "nats", "native") is not None),
    Change("nats-exotic", "act", "EventBus", "a NATS Streaming server of somebody else cannot be used; move to jetstreamExotic or jetstream", lambda spec: _at(spec, "nats", "exotic") is not None),
    Change("nats-version", "changes", "EventBus", "NATS before 2.10 is not served: the version of this name runs 2.10.29, which reads what the old server has stored and cannot be taken back", _old_server),
    Change("bus-taken-over", "changes", "EventBus", "the StatefulSet, its volumes and credentials are taken over, and its pods are replaced one by one; what is stored stays", _has("jetstream")),
    Change("bus-closed", "changes", "EventBus", "its servers can be reached by pods of EventSources and Sensors alone, and by those with the label argosy.dev/event-bus", _has("jetstream")),
    Change("bus-certificate", "act", "EventBus", f"TLS is spoken where the server asks for it, and {_VERIFIED} (jetstreamExotic.tls.caCertSecret)", _both(_has("jetstreamExotic"), _lacks("jetstreamExotic", "tls"))),
    Change("sensor-position", "changes", "EventBus", "sensors read the log by positions of their own; those of Argo Events are not read, and can be removed with the old pods"),
    # Objects as a whole
    Change("pod-user", "act", "template", "pods run as user 9731 on a read-only root: see that the files of these volumes may be read and written by that user, or set template.securityContext", _volumes_of_the_node),
    Change("standing-by", "changes", "EventSource", "of several replicas one receives, by a Lease, and the others stand by; a lost Lease no longer ends the process. The service account needs leases", _one_of_several),
    Change("pull-policy", "changes", "template", "template.container.imagePullPolicy counts", _has("template", "container", "imagePullPolicy")),
    # Triggers, whatever they do
    Change("at-least-once", "changes", "trigger", "its actions are done at least once; Argo Events does them at most once where nothing is said. Write atLeastOnce: false to keep that", lambda trigger: "atLeastOnce" not in trigger),
    Change("tries", "changes", "trigger", "an action that fails is tried eight times over two minutes, and becomes a dead letter then; Argo Events tries once and forgets", _both(_lacks("retryStrategy"), lambda trigger: trigger.get("atLeastOnce") is not False)),
    Change("tries-count", "changes", "trigger", "retryStrategy is followed; Argo Events does not do so without atLeastOnce: true", _both(_has("retryStrategy"), lambda trigger: trigger.get("atLeastOnce") is not True)),
    Change("rate-limit", "changes", "trigger", "rateLimit spaces actions evenly, over restarts, and lets no burst through unless burst says so", _has("rateLimit")),
    Change("dead-letter-trigger", "changes", "trigger", "what dlqTrigger is told about is kept as a dead letter besides, and can be redriven", _has("dlqTrigger")),
    Change("reset-zone", "changes", "trigger", "conditionsReset without timezone means UTC, not the zone of the pod", _by_time_without_zone),
    Change("template-certificate", "act", "template-source", f"the trigger's template comes from a server over HTTPS: {_VERIFIED} (or write verifyCert: false)", _both(_matches("^https:", "url", "path"), lambda source: _at(source, "url", "verifyCert") is None)),
    Change("half-a-template", "changes", "template-source", "a template above 512 KiB is refused, and no longer cut", _has("url")),
    # Triggers by kind
    Change("http-status", "changes", "trigger http", "4xx is a dead letter, and 408, 425, 429 and 5xx are tried again; Argo Events takes any status for a success where policy.status says nothing", lambda block: True),
    Change("link-local", "act", "trigger http", "link-local and metadata addresses are refused; write allowLinkLocal: true if it is meant", _matches(r"//(169\.254\.|\[fe80:|metadata[./:]|metadata\.google)", "url")),
    Change("object-name", "changes", "trigger k8s", _DRAWN, _with_generated_name),
    Change("object-name", "changes", "trigger argoWorkflow", _DRAWN, _with_generated_name),
    Change("workflow-api", "act", "trigger argoWorkflow", "no argo program is run: its operation is done through the Kubernetes API, for which the account may need other verbs; args are not passed on to a program", lambda block: _at(block, "operation") not in (None, "", "submit")),
    Change("kafka-certificate", "act", "trigger kafka", f"{_VERIFIED} (tls.caCertSecret)", _TLS),
    Change("kafka-flush", "changes", "trigger kafka", "flushFrequency counts milliseconds, not nanoseconds", _has("flushFrequency")),
    Change("kafka-answer", "changes", "trigger kafka", "an action is done once the brokers have answered for it"),
    Change("nats-answer", "changes", "trigger nats", "an action is done once the server has the message; a tls block demands TLS"),
    Change("pulsar-host", "act", "trigger pulsar", "the host of the certificate is checked; write tlsValidateHostname: false for a certificate of another host", _both(_matches(r"^pulsar\+ssl:", "url"), lambda block: block.get("tlsValidateHostname") is None)),
    Change("lambda-error", "changes", "trigger awsLambda", "a function that raises fails the action, which is tried again"),
    Change("openwhisk-payload", "act", "trigger openWhisk", "the payload is sent as the JSON object that it is, not as its Base64 in a string"),
    Change("custom-policy", "changes", "trigger custom", "a server whose ApplyPolicy says no fails the action"),
    Change("log-interval", "changes", "trigger log", "intervalSeconds counts", _has("intervalSeconds")),
    Change("email-parameters", "changes", "trigger email", "parameters of the block are set", _has("parameters")),
    # Event sources
    Change("webhook-method", "changes", "source webhook", "without method it receives POST; Argo Events answers 400 to everything", _lacks("method")),
    Change("secret-checked", "changes", "source gitlab", "the secret is checked for every request, also where no webhook is registered: see that the sender has it", _has("secretToken")),
    Change("secret-checked", "changes", "source bitbucketserver", "the secret is checked for every request, also where no webhook is registered: see that the sender has it", _has("webhookSecret")),
    Change("slack-shape", "act", "source slack", "events and interactions stand in the event as Slack sent them, and not in the shape of a Go library: look at the paths of the sensors that use them"),
    Change("sns-signature", "changes", "source sns", "validateSignature works", _has("validateSignature")),
    Change("sqs-visibility", "changes", "source sqs", "a message is kept from other readers while it is stored, else for 30 seconds instead of 120"),
    Change("role-with-keys", "changes", "source sqs", "the keys take the role", _both(_has("roleARN"), _has("accessKey"))),
    Change("role-with-keys", "changes", "source sns", "the keys take the role", _both(_has("roleARN"), _has("accessKey"))),
    Change("minio-events", "changes", "source minio", "without events it tells of all that creates or removes objects; Argo Events of nothing", _lacks("events")),
    Change("storagegrid-records", "changes", "source storageGrid", "filter looks at each record, and not at the first alone", _has("filter")),
    Change("stripe-filter", "changes", "source stripe", "what eventFilter leaves out is answered 200 instead of 400", _has("eventFilter")),
    Change("amqp-ack", "changes", "source amqp", "a message is acknowledged after its event is stored, whatever autoAck says"),
    Change("calendar-state", "changes", "source calendar", "what was due last is kept on the bus; the ConfigMap of persistence is not read, so what is due during the switch is made up for only from then on", _has("persistence")),
    Change("calendar-zone", "changes", "source calendar", "without timezone it means UTC, not the zone of the pod", _both(_has("schedule"), _lacks("timezone"))),
    Change("file-slash", "changes", "source file", "path matches also where directory has no slash at its end: there may be events now", lambda block: not str(_at(block, "watchPathConfig", "directory") or "/").endswith("/") and _at(block, "watchPathConfig", "path")),
    Change("sftp-poll", "changes", "source sftp", "pollIntervalDuration is followed, where Argo Events looks every ten seconds", _has("pollIntervalDuration")),
    Change("sftp-host", "changes", "source sftp", "the key that the server shows first is wanted from then on; name it in hostKeys", _has("password")),
    Change("resource-start", "changes", "source resource", "the first start tells of all objects, later ones of what changed since"),
    Change("generic-tls", "act", "source generic", "TLS is spoken; write insecure: true for a server without", _lacks("insecure")),
    Change("mqtt-session", "changes", "source mqtt", "subscribes with QoS 1 in a session that the broker keeps for clientId; qos: 0 for the old way", lambda block: _at(block, "qos") is None),
    Change("mqtt-scheme", "act", "source mqtt", "ws://, wss:// and unix:// are not served; use tcp:// or ssl://", _matches("^(ws|wss|unix)://", "url")),
    Change("kafka-partition", "changes", "source kafka", "one partition without a group goes on where it stopped, and no longer with the newest message at every start", _both(_lacks("consumerGroup"), _has("partition"))),
    Change("kafka-limit", "changes", "source kafka", "limitEventsPerSecond counts for the event source as a whole, not for each partition", _has("limitEventsPerSecond")),
    Change("kafka-config", "act", "source kafka", "config holds settings of another client library: those without a counterpart are named by argosy lint and have no effect", _has("config")),
    Change("registry-certificate", "act", "source kafka", f"schema registry: {_VERIFIED}", _matches("^https:", "schemaRegistry", "url")),
    Change("hdfs-kerberos", "act", "source hdfs", "Kerberos is not built: this event source cannot run", lambda block: _has("krbCCacheSecret")(block) or _has("krbKeytabSecret")(block)),
    Change("eventhub-position", "changes", "source azureEventsHub", "goes on where it stood, and no longer begins with the latest event at every start"),
    Change("servicebus-json", "changes", "source azureServiceBus", "a message that is no JSON is dead-lettered by Azure at once", _has("jsonBody")),
    Change("mns-json", "act", "source mns", "jsonBody has an effect: the body stands in the event as JSON, look at the paths of the sensors that use it", _has("jsonBody")),
    Change("pulsar-type", "changes", "source pulsar", "without type the subscription is exclusive", _lacks("type")),
    Change("pulsar-host", "act", "source pulsar", "the host of the certificate is checked; write tlsValidateHostname: false for a certificate of another host", _both(_matches(r"^pulsar\+ssl:", "url"), lambda block: block.get("tlsValidateHostname") is None)),
)  # fmt: skip
