"""What of an EventBus would not run, and what cannot be changed once it is there, because what it keeps would be lost or left behind.

What cannot change are upstream's rules (``pkg/reconciler/eventbus``, ``validator/eventbus.go``): the engine stays, in every direction; so do ``native`` or
``exotic``, how clients of NATS Streaming say who they are, and the limits of an installed JetStream's stream. One more is Kubernetes': the volumes
of an installation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from argosy.bus._jetstream_settings import STREAM_KEYS
from argosy.kubernetes.admission.others import Remark
from argosy.kubernetes.client import Object
from argosy.kubernetes.workloads import claimed
from argosy.manifests._yaml import Document, documents
from argosy.manifests.checks._walk import mapping
from argosy.manifests.eventbus import stream_remarks

_ENGINES = ("nats", "jetstream", "kafka", "jetstreamExotic")
_LIMITS = {key.lower() for key in STREAM_KEYS}
_NONSENSE = object()
_ADVICE = "make a new EventBus and move to it"


def unusable(item: Object) -> Iterator[Remark]:
    """What cannot be run, although it is valid."""
    if _engine(mapping(item, "spec")) == "kafka":
        text = "Kafka is not run as a bus by this version, so whatever uses this bus waits; use jetstream"
        yield Remark("spec.kafka", text, "warning", "")


def changes(before: Object, now: Object) -> Iterator[Remark]:
    """Every change that is not possible."""
    old, new = mapping(before, "spec"), mapping(now, "spec")
    had, has = _engine(old), _engine(new)
    if not had or not has:
        return  # what was not valid had nothing to lose; what is not is said elsewhere
    if had != has:
        yield _fixed(f"spec.{has}", f"a bus cannot change from '{had}' to '{has}'; {_ADVICE}")
        return
    if had == "nats":
        ways = [
            [word for word in ("native", "exotic") if mapping(spec, "nats").get(word) is not None]
            for spec in (old, new)
        ]
        if ways[0] and ways[1] and ways[0] != ways[1]:
            yield _fixed(f"spec.nats.{ways[1][0]}", f"cannot change from '{ways[0][0]}' to '{ways[1][0]}'; {_ADVICE}")
            return
        for word in ways[1]:
            auths = [mapping(spec, "nats", word).get("auth") or "none" for spec in (old, new)]
            if auths[0] != auths[1]:
                yield _fixed(f"spec.nats.{word}.auth", f"'auth' cannot change from {auths[0]} to {auths[1]}; {_ADVICE}")
    if had == "jetstream":
        was, wanted = (_settings(mapping(spec, "jetstream").get("streamConfig")) for spec in (old, new))
        if was != wanted and was is not _NONSENSE:
            yield _fixed("spec.jetstream.streamConfig", f"'streamConfig' cannot change; {_ADVICE}")
    for path in (("jetstream",), ("nats", "native")):
        claims = [_claimed(mapping(spec, *path).get("persistence")) for spec in (old, new)]
        if claims[0] != claims[1]:
            yield _fixed(f"spec.{'.'.join(path)}.persistence", f"'persistence' cannot change; {_ADVICE}")


def _claimed(persistence: Any) -> Object | None:
    return claimed(persistence) if isinstance(persistence, dict) else None


def _engine(spec: dict[str, Any]) -> str:
    return next((word for word in _ENGINES if spec.get(word) is not None), "")


def _settings(text: Any) -> Any:
    """What the text sets: how it is written does not matter, nor what has no effect. What is not valid never made a stream."""
    if text is None or text == "":
        return None
    if not isinstance(text, str) or any(one.severity == "error" for one in stream_remarks(text)):
        return _NONSENSE
    given: Object = next((one.value for one in documents(text) if isinstance(one, Document)), {})
    return {key.lower(): value for key, value in given.items() if key.lower() in _LIMITS}


def _fixed(path: str, message: str) -> Remark:
    return Remark(path, message, "error", "")
