"""The pure core: one question of the API server, and what the cluster holds, in; an answer out.

What lint calls an error is refused, what it calls a warning is told. What depends on other objects is free of order: whoever is applied
before what it names is told so and admitted, for what is missing may come. A name that can only be a slip of one that is there is refused;
nothing that can be right is, since tools try whole sets of manifests against a cluster that has none of them yet (dry runs of GitOps).

An update that leaves the spec as it is passes always, so that an object which is not valid can be labelled, let go of and deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from argosy.errors import ArgosyError
from argosy.kubernetes.admission.buses import changes, unusable
from argosy.kubernetes.admission.known import KINDS, Ask, Facts, Known, facts_of
from argosy.kubernetes.admission.others import Remark, beside
from argosy.kubernetes.client import Object
from argosy.kubernetes.names import ours
from argosy.manifests.bundle import Key, from_objects
from argosy.manifests.checks._walk import mapping
from argosy.manifests.checks.rules import rules
from argosy.manifests.eventbus import EventBus, parse_event_bus
from argosy.manifests.eventsource import EventSource, parse_event_source
from argosy.manifests.findings import Problem
from argosy.manifests.sensor import Sensor, parse_sensor

API_VERSION = "admission.k8s.io/v1"
GROUP = "argoproj.io"

_ELSEWHERE = frozenset(("unknown-event-source", "unknown-event", "unknown-event-bus", "other-bus", "duplicate-object"))
"""What lint says of names that lead to other objects, said by ``others`` here."""
_PARSERS: dict[str, Callable[[Object], tuple[EventSource | EventBus | Sensor | None, list[Problem]]]] = {
    "EventBus": parse_event_bus,
    "EventSource": parse_event_source,
    "Sensor": parse_sensor,
}
_MOST_CAUSES, _MOST_WARNINGS, _LONGEST_WARNING, _LONGEST_MESSAGE = 40, 20, 256, 600
_WARNINGS_BYTES = 4096
"""The API server cuts warnings off beyond 256 bytes each and 4 KiB together."""


class Malformed(ArgosyError):
    """What came is no AdmissionReview that can be answered."""


class Verdict(NamedTuple):
    """An answer. ``asks`` are those whose state it rests on: where they were not just asked for, it may be wrong."""

    allowed: bool
    errors: list[Remark]
    warnings: list[Remark]
    asks: list[Ask]
    code: int = 422
    reason: str = "Invalid"


def review(question: Any, known: Known) -> dict[str, Any]:
    """The AdmissionReview that answers ``question``. Raises Malformed."""
    return answer(request_of(question), judge(request_of(question), known))


def request_of(question: Any) -> dict[str, Any]:
    """The request of an AdmissionReview. Raises Malformed."""
    if not isinstance(question, dict) or question.get("kind") != "AdmissionReview":
        raise Malformed("this is no AdmissionReview")
    if question.get("apiVersion") != API_VERSION:
        raise Malformed(f"an AdmissionReview of {API_VERSION} is wanted")
    request = question.get("request")
    if not isinstance(request, dict) or not isinstance(request.get("uid"), str) or not request["uid"]:
        raise Malformed("the AdmissionReview has no request with a uid")
    if not isinstance(request.get("operation"), str):
        raise Malformed("the AdmissionReview says no operation")
    return request


def judge(request: dict[str, Any], known: Known) -> Verdict:
    """What there is to say about a request. Raises Malformed where it lacks the object that its operation has."""
    kind, operation = mapping(request, "kind").get("kind"), request["operation"]
    if not concerns(request):
        return _admitted()
    if operation == "DELETE":
        return _deleted(str(kind), _object(request, "oldObject"), known)
    given = _object(request, "object")
    about = mapping(given, "metadata")
    if not ours({"annotations": mapping(about, "annotations")}):
        return _admitted()
    before = _object(request, "oldObject") if operation == "UPDATE" else None
    if before is not None and _same(before.get("spec"), given.get("spec")):
        return _admitted()
    # What the API server knows counts; a name that it is still to make stands for itself.
    name = about.get("name") or request.get("name") or f"{about.get('generateName') or ''}x"
    metadata = {**about, "name": name, "namespace": known.namespace}
    return _stored(str(kind), {**given, "metadata": metadata}, before, known)


def _same(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except RecursionError:
        return False


def concerns(request: dict[str, Any]) -> bool:
    """Whether the request is about a whole object of ours that comes, changes or goes; all else is admitted."""
    kind = mapping(request, "kind")
    return (
        kind.get("kind") in KINDS
        and kind.get("group") == GROUP
        and not request.get("subResource")
        and request.get("operation") in ("CREATE", "UPDATE", "DELETE")
    )


def _object(request: dict[str, Any], word: str) -> Object:
    value = request.get(word)
    if not isinstance(value, dict):
        raise Malformed(f"the request has no {word!r}")
    return value


def _admitted(warnings: Iterable[Remark] = ()) -> Verdict:
    return Verdict(True, [], list(warnings), [])


def _stored(kind: str, item: Object, before: Object | None, known: Known) -> Verdict:
    key = Key(kind, known.namespace, str(item["metadata"]["name"]))
    facts = facts_of(item)
    # A sensor's filters are compared with what its event sources send.
    named = {source for source, _ in facts.waits}
    sources = [one for one in known.sources if mapping(one, "metadata").get("name") in named]
    bundle = from_objects([*sources, item])
    made, _ = _PARSERS[kind](item)
    remarks = [
        Remark(one.path, one.message, one.severity, one.code)
        for one in bundle.findings
        if one.object in (str(key), kind) and one.severity != "info" and one.code not in _ELSEWHERE
    ]
    remarks = [one for one in remarks if one.code != "duplicate-endpoint" or one.severity == "error"]
    if made is None and not any(one.severity == "error" for one in remarks):
        wrong = item.get("kind") != kind
        text = f"must be {kind}" if wrong else "cannot be read as an object of this kind"
        remarks.append(Remark("kind" if wrong else "", text, "error", "invalid-value"))
    asks: list[Ask] = []
    for remark in beside(item, facts, made, known):
        remarks.append(remark)
        asks += remark.asks
    if kind == "EventBus":
        remarks += unusable(item)
        remarks += changes(before, item) if before is not None else ()
    if kind == "EventSource" and before is not None:
        remarks += _taken_away(facts_of(before), facts, known)
    return _sorted(remarks, asks)


def _sorted(remarks: Iterable[Remark], asks: list[Ask]) -> Verdict:
    told = list(dict.fromkeys(remarks))
    errors = [one for one in told if one.severity == "error"]
    wrong = {one.path for one in errors}
    warnings = [one for one in told if one.severity == "warning" and one.path not in wrong]
    return Verdict(not errors, errors, warnings, list(dict.fromkeys(asks)))


def _refused(errors: list[Remark], asks: Iterable[Ask] = (), *, code: int = 422, reason: str = "Invalid") -> Verdict:
    return Verdict(False, errors, [], list(asks), code, reason)


def _deleted(kind: str, item: Object, known: Known) -> Verdict:
    facts = facts_of({**item, "kind": kind})
    if not ours({"annotations": facts.annotations}):
        return _admitted()
    if kind == "EventSource":
        return _admitted(_taken_away(facts, None, known))
    if kind != "EventBus":
        return _admitted()
    users = [one for one in known.facts if one.kind != "EventBus" and one.bus == facts.name and not one.leaving]
    ending = bool((known.about or {}).get("deletionTimestamp"))
    if not users or ending:
        return _admitted()
    text = f"is the bus of {_list(users)}; delete those first"
    if not known.whole:
        return _admitted([Remark("", text, "warning", "")])
    asks = [("Namespace", known.namespace), *(one.at for one in users[:_MOST_ASKED])]
    return _refused([Remark("", text, "error", "")], asks, code=403, reason="Forbidden")


_MOST_ASKED = 5


def _taken_away(before: Facts, now: Facts | None, known: Known) -> Iterator[Remark]:
    """Events that an event source gives no more although sensors wait for them."""
    others = {pair for one in known.facts if one.at != before.at for pair in one.gives}
    gone = set(before.gives) - set(now.gives if now else ()) - others
    for source, event in sorted(gone):
        waiting = [one for one in known.each("Sensor") if (source, event) in one.waits and not one.leaving]
        if waiting:
            text = (
                f"event '{event}' is taken away, and {_list(waiting)} {'waits' if len(waiting) == 1 else 'wait'} for it"
            )
            yield Remark("", text, "warning", "")


def _list(some: list[Facts]) -> str:
    names = [str(one) for one in some[:3]]
    if len(some) > 3:
        names.append(f"{len(some) - 3} more")
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# The answer


def answer(request: dict[str, Any], verdict: Verdict) -> dict[str, Any]:
    """The verdict as an AdmissionReview."""
    response: dict[str, Any] = {"uid": request["uid"], "allowed": verdict.allowed}
    if warnings := list(_warnings(verdict.warnings)):
        response["warnings"] = warnings
    if not verdict.allowed:
        response["status"] = _status(request, verdict)
    return {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}


def _status(request: dict[str, Any], verdict: Verdict) -> dict[str, Any]:
    kind = str(mapping(request, "kind").get("kind"))
    name = str(request.get("name") or mapping(request, "object", "metadata").get("name") or "")
    shown = verdict.errors[:_MOST_CAUSES]
    lines = [_line(one) for one in shown]
    if len(verdict.errors) > len(shown):
        lines.append(f"… and {len(verdict.errors) - len(shown)} more; argosy lint tells all")
    one_line = len(lines) == 1 and verdict.reason != "Invalid"
    message = f"{kind} {name!r} {lines[0]}" if one_line else "\n".join((f"{kind} {name!r} is not valid:", *lines))
    status: dict[str, Any] = {
        "status": "Failure",
        "code": verdict.code,
        "reason": verdict.reason,
        "message": message,
    }
    if verdict.reason == "Invalid":
        status["details"] = {"name": name, "group": GROUP, "kind": kind, "causes": list(_causes(shown))}
    return status


def _causes(shown: list[Remark]) -> Iterator[dict[str, str]]:
    said: dict[str, int] = {}
    for one in shown:
        text = _plain(_said(one), _LONGEST_MESSAGE)
        said[text] = said.get(text, 0) + 1
        # kubectl shows causes with the same message once only, whatever their fields.
        more = f" (place {said[text]})" if said[text] > 1 else ""
        yield {"reason": "FieldValueInvalid", "field": one.path or "object", "message": text + more}


def _warnings(remarks: list[Remark]) -> Iterator[str]:
    left = _WARNINGS_BYTES
    for index, one in enumerate(remarks):
        rest = len(remarks) - index
        text = _cut(_line(one), _LONGEST_WARNING)
        left -= len(text.encode())
        if (index == _MOST_WARNINGS - 1 and rest > 1) or left < _LONGEST_WARNING:
            yield f"and {rest} more warnings; argosy lint tells all"
            return
        yield text


def _line(one: Remark) -> str:
    text = _said(one)
    return _plain(f"{one.path}: {text}" if one.path else text, _LONGEST_MESSAGE)


def _said(one: Remark) -> str:
    """The message, with the code that ``argosy lint --explain`` knows."""
    return f"{one.message} [{one.code}]" if one.code in rules() else one.message


def _plain(text: str, longest: int) -> str:
    """One line without control characters, and of characters that can be sent."""
    clean = "".join(letter if letter.isprintable() else " " for letter in text)
    return clean.encode(errors="replace").decode() if len(clean) <= longest else f"{clean[: longest - 1]}…"


def _cut(text: str, longest: int) -> str:
    data = text.encode()
    return text if len(data) <= longest else data[: longest - 3].decode(errors="ignore") + "…"
