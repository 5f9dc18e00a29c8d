"""The pods of a namespace asked as if they were one run: which of them can answer, and one answer made of several.

A pod of an EventSource or a Sensor knows its own object alone, a runner all those that runners serve; the event log and the action queues belong to
the bus, which all of them reach. So each question goes to those that know enough:

* of a sensor, to the pod that runs it;
* of the log, to one pod of each bus (any can read it) and to a runner;
* of one event or action, to all, for each finds by name only what its own manifests name;
* lists are put together from all, and which pods did not answer is said.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, TypeVar, cast
from urllib.parse import unquote

import click

from argosy.cli._apiserver import Server
from argosy.cli._client import Client, Refused, path
from argosy.cli._page import clean
from argosy.cli._pods import Pod, PodClient, Unreachable, pods, token

_SIDE_BY_SIDE = 16
_PAUSE_SECONDS = 1.0
_REPLACED_SECONDS = 120.0
"""How long nobody may tell what comes until following ends: pods that are replaced take a while."""
_RUNNER = "Runner"
_SHELF = {"dead": "dead", "done": "ended", "discarded": "ended"}
_SHELVES = ("queued", "dead", "ended")

T = TypeVar("T")
Answer = dict[str, Any]


class Cluster(Client):
    """A namespace of a cluster, in the place of one run."""

    def __init__(self, server: Server, namespace: str, found: Sequence[Sequence[Pod]], secret: str) -> None:
        self.namespace = namespace
        self._server, self._secret = server, secret
        self._pods = [PodClient(server, namespace, same, secret) for same in found]
        self._silent: set[str] = set()

    @classmethod
    def find(cls, namespace: str, context: str) -> Cluster:  # type: ignore[override]
        """The pods of this namespace, or of the context's. Raises Refused with what to do."""
        server = Server(context)
        namespace = namespace or server.namespace
        return cls(server, namespace, pods(server, namespace), token(server, namespace))

    # ------------------------------------------------------------------ the questions of commands

    def get(self, path: str, **query: object) -> Any:
        """As that of one run, whose answer is made of those of the pods that know."""
        query["namespace"] = self.namespace
        match _segments(path):
            case ["events"]:
                return self._events(path, query)
            case ["events", _]:
                return self._event(path, query)
            case ["events", _, "story"]:
                return self._story(path, query)
            case ["manifests"]:
                return self._manifests
            case ["sensors"]:
                told = [answer for _, answer in self._all(self._with_sensors, lambda pod: pod.get(path, **query))]
                rows = {(row["namespace"], row["name"]): row for answer in told for row in answer["sensors"]}
                return {"sensors": [rows[place] for place in sorted(rows)]}
            case ["sensors", name, *_]:
                return self._running(name).get(path, **query)
            case ["actions" | "shadow", *_] if query.get("sensor"):
                return self._running(str(query["sensor"])).get(path, **query)
            case ["actions"]:
                return self._actions(query)
            case ["actions", given]:
                return self._action(given, query)[1]
            case ["shadow"]:
                return self._shadow(path, query)
        raise Refused(f"{path} cannot be asked of a cluster")

    def post(self, path: str, body: object = None, **query: object) -> Any:
        """As that of one run: of the pod that it concerns."""
        said = {**cast(Answer, body or {}), "namespace": self.namespace}
        match _segments(path):
            case ["events"]:
                return self._publish(said)
            case ["outcomes"]:
                return self._outcomes(said["actions"])
            case ["sensors", name, *_]:
                return self._running(name).post(path, said, **query)
        raise Refused(f"{path} cannot be asked of a cluster")

    def lines(
        self, method: str, path: str, body: object = None, *, text_of: str = "", **query: object
    ) -> Iterator[Any]:
        """As that of one run."""
        match _segments(path):
            case ["log"]:
                query["namespace"] = self.namespace
                return self._log(text_of, query)
            case ["replay"]:
                said = {**cast(Answer, body), "namespace": self.namespace}
                return self._running(said["sensor"]).lines(method, path, said)
            case ["actions", _]:
                return self._act(path, cast(Answer, body))
        raise Refused(f"{path} cannot be asked of a cluster")

    # ------------------------------------------------------------------ which pods

    @property
    def _with_sensors(self) -> list[PodClient]:
        return [one for one in self._pods if one.pod.kind in ("Sensor", _RUNNER)]

    @property
    def _runners(self) -> list[PodClient]:
        return [one for one in self._pods if one.pod.kind == _RUNNER]

    def _find_pods(self) -> None:
        """Look which pods there are now."""
        found = pods(self._server, self.namespace)
        self._pods = [PodClient(self._server, self.namespace, same, self._secret) for same in found]

    def _dedicated(self, kind: str, name: str) -> PodClient | None:
        return next((one for one in self._pods if (one.pod.kind, one.pod.serves) == (kind, name)), None)

    def _running(self, name: str) -> PodClient:
        """The pod that runs this sensor. Raises Refused."""
        space, _, bare = name.rpartition("/")
        if space not in ("", self.namespace):
            raise Refused(f"sensor '{name}' is of another namespace than '{self.namespace}'; ask there: -n {space}")
        if found := self._dedicated("Sensor", bare):
            return found
        known = {one.pod.serves for one in self._with_sensors if one.pod.kind == "Sensor"}
        for pod, answer in self._all(self._runners, lambda pod: pod.get("/manifests")):
            here = {one["name"] for one in answer["sensors"]}
            if bare in here:
                return pod
            known |= here
        from argosy.manifests.spelling import did_you_mean

        near = did_you_mean(bare, known) or f"; there is {', '.join(sorted(known)) or 'none'}"
        raise Refused(f"no sensor '{bare}' runs in namespace '{self.namespace}'{near}", 404)

    def _of_log(self, source: str = "") -> list[PodClient]:
        """Pods that together reach every bus, or the one of this EventSource."""
        if source and (found := self._dedicated("EventSource", source)) and not found.pod.trouble:
            return [found]
        found_by_bus: dict[str, PodClient] = {}
        for one in self._pods:
            if one.pod.kind != _RUNNER:
                before = found_by_bus.setdefault(one.pod.bus, one)
                if before.pod.trouble or (one.pod.ready and not before.pod.ready):
                    found_by_bus[one.pod.bus] = one
        return [*found_by_bus.values(), *self._runners]

    def _all(self, asked: Iterable[PodClient], question: Callable[[PodClient], T]) -> list[tuple[PodClient, T]]:
        """What each pod answered. Those that do not answer at all are named on standard error; raises Refused where no pod answered, or where
        one says that the question is wrong.
        """
        answered, failed = self._asked(asked, question)
        refused = [
            error for _, error in failed if not isinstance(error, Unreachable) and error.status not in (404, 503)
        ]
        if refused:
            raise refused[0]
        if not answered and failed:
            raise next((error for _, error in failed if error.status == 404), failed[0][1])
        for pod, error in failed:
            if error.status != 404 and pod.pod.name not in self._silent:
                self._silent.add(pod.pod.name)
                click.echo(clean(f"not in this answer: {error.message}"), err=True)
        return answered

    def _asked(
        self, asked: Iterable[PodClient], question: Callable[[PodClient], T]
    ) -> tuple[list[tuple[PodClient, T]], list[tuple[PodClient, Refused]]]:
        def ask(pod: PodClient) -> T | Refused:
            try:
                return question(pod)
            except Refused as error:
                return error

        asked = list(asked)
        if len(asked) == 1:
            answers = [ask(asked[0])]
        else:
            with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
                answers = list(pool.map(ask, asked))
        answered, failed = [], []
        for pod, answer in zip(asked, answers, strict=True):
            if isinstance(answer, Refused):
                failed.append((pod, answer))
            else:
                answered.append((pod, answer))
        return answered, failed

    # ------------------------------------------------------------------ the log

    def _events(self, path: str, query: dict[str, object]) -> Answer:
        asked = self._log_pods(query)
        limit, before = int(str(query.get("limit") or 50)), _cursor(str(query.get("before") or ""))
        told = self._all(asked, lambda pod: pod.get(path, **query))
        rows = {(row["bus"], row["position"]): row for _, answer in told for row in answer["events"]}
        shown = sorted(rows.values(), key=lambda row: (row["storedAt"], row["bus"]), reverse=True)[:limit]
        going_on: dict[str, int] = {}
        for _, answer in told:
            after = _cursor(answer["next"])
            for bus in {row["bus"] for row in answer["events"]} | set(after):
                here = [row["position"] for row in answer["events"] if row["bus"] == bus]
                mine = [row["position"] for row in shown if row["bus"] == bus]
                if len(mine) < len(here):
                    going_on[bus] = mine[-1] if mine else before.get(bus, 0) or here[0] + 1
                elif bus in after:
                    going_on[bus] = after[bus]
        return {"events": shown, "next": ",".join(f"{bus}@{place}" for bus, place in sorted(going_on.items()))}

    def _log_pods(self, query: dict[str, object]) -> list[PodClient]:
        """The pods to ask for a part of the log, each of which shall take the names as they are: it does not know all. Raises Refused for
        one that nobody knows.
        """
        source, name = str(query.get("source") or ""), str(query.get("event") or "")
        if name or (source and self._dedicated("EventSource", source) is None):
            self._check_names(source, name)
        query["anyName"] = True
        return self._of_log(source)

    def _check_names(self, source: str, name: str) -> None:
        from argosy.manifests.spelling import did_you_mean

        pairs = _pairs(self._manifests)
        for wanted, known, what in (
            (source, {pair[0] for pair in pairs}, "event source"),
            (name, {pair[1] for pair in pairs if source in ("", pair[0])}, "event"),
        ):
            if wanted and wanted not in known and (near := did_you_mean(wanted, known)):
                raise Refused(f"no {what} '{wanted}' is known in namespace '{self.namespace}'{near}", 404)

    def _log(self, text_of: str, query: dict[str, object]) -> Iterator[Any]:
        seen: dict[str, int] = {}
        rows = self._following(text_of, query) if query.get("follow") else self._recorded(text_of, query)
        for row in rows:
            # Two pods may read the same bus, and one is asked anew; each tells a bus in order.
            if row["position"] > seen.get(row["bus"], 0):
                seen[row["bus"]] = row["position"]
                yield row

    def _recorded(self, text_of: str, query: dict[str, object]) -> Iterator[Any]:
        for pod in self._log_pods(query):
            yield from pod.lines("GET", "/log", text_of=text_of, **query)

    def _following(self, text_of: str, query: dict[str, object]) -> Iterator[Any]:
        """What comes, for as long as somebody tells it: pods are replaced while one looks. Then others are asked, from where it broke off."""
        began = dt.datetime.now(dt.UTC).isoformat()
        until = time.monotonic() + _REPLACED_SECONDS
        while True:
            try:
                streams = [pod.lines("GET", "/log", text_of=text_of, **query) for pod in self._log_pods(query)]
                for row in _together(streams):
                    began, until = row["storedAt"], time.monotonic() + _REPLACED_SECONDS
                    yield row
                why = "the pod that told what comes has ended"
            except Refused as error:
                if error.status not in (0, 404, 503) or time.monotonic() > until:
                    raise
                why = error.message
            click.echo(clean(f"{why}; another one is looked for"), err=True)
            time.sleep(_PAUSE_SECONDS)
            with contextlib.suppress(Unreachable):
                self._find_pods()
            query.pop("last", None)
            query["since"] = began

    def _event(self, path: str, query: dict[str, object]) -> Answer:
        told = self._all(self._pods, lambda pod: pod.get(path, **query))
        places = {(answer["bus"], answer["position"]): answer for _, answer in told}
        if len(places) > 1:
            several = "; ".join(f"{one['id']} of {one['source']}/{one['subject']}" for one in places.values())
            raise Refused(f"this may be one of several events: {several}. Give more of the id", 409)
        found: Answer = told[0][1]
        listening = {sensor for _, answer in told for sensor in answer["sensors"]}
        return {**found, "sensors": sorted(listening)}

    def _story(self, path: str, query: dict[str, object]) -> Answer:
        sensor = str(query.pop("sensor", ""))
        told: list[tuple[PodClient, Answer]] = []
        if sensor:
            told, failed = self._asked([self._running(sensor)], lambda pod: pod.get(path, sensor=sensor, **query))
            if failed and failed[0][1].status != 404:
                raise failed[0][1]
            query["before"] = "0"
        # Of what the sensor does not listen to its pod knows nothing; it is explained as well that it does not.
        told = told or self._all(self._pods, lambda pod: pod.get(path, **query))
        if len({(answer["bus"], answer["position"]) for _, answer in told}) > 1:
            raise Refused("this may be one of several events; give more of the id ('argosy events list')", 409)
        before = {place: text for _, one in told for place, text in zip(one["positions"], one["before"], strict=True)}
        return {
            **told[0][1],
            "positions": sorted(before),
            "before": [before[place] for place in sorted(before)],
            "more": any(one["more"] for _, one in told),
        }

    @cached_property
    def _manifests(self) -> Answer:
        told = [answer for _, answer in self._all(self._pods, lambda pod: pod.get("/manifests"))]
        merged: Answer = {}
        for kind in ("sensors", "eventSources", "configMaps"):
            merged[kind] = list(
                {(one["namespace"], one["name"]): one for answer in told for one in answer[kind]}.values()
            )
        declared: dict[tuple[str, str], set[str]] = {}
        for one in (each for answer in told for each in answer["declared"]):
            declared.setdefault((one["namespace"], one["name"]), set()).update(one["events"])
        merged["declared"] = [
            {"namespace": space, "name": name, "events": sorted(events)}
            for (space, name), events in sorted(declared.items())
        ]
        return merged

    def _publish(self, order: Answer) -> Answer:
        source, name = str(order.get("source") or ""), ""
        if "cloudEvent" in order:
            try:
                source = str(json.loads(order["cloudEvent"])["source"])
            except (ValueError, KeyError, TypeError):
                source = ""  # the pod says what is wrong with it
        found = self._dedicated("EventSource", source)
        for pod in self._pods if found is None else ():
            # A sensor's pod knows the bus of a source that nobody runs here.
            if pod.pod.trouble or found is not None:
                continue
            answer = pod.get("/manifests")
            if source in {one["name"] for one in answer["eventSources"]} | {pair[0] for pair in _pairs(answer)}:
                found = pod
        if found is None:
            known = sorted({pair[0] for pair in _pairs(self._manifests)})
            there = f"; there is {', '.join(known)}" if known else ""
            raise Refused(
                f"no event source '{source}' runs in namespace '{self.namespace}', and no sensor listens to it{there}",
                404,
            )
        done: Answer = found.post("/events", order)
        source, name = done["source"], done["subject"]
        done["sensors"] = sorted(one["name"] for one in self._manifests["sensors"] if (source, name) in _listens(one))
        return done

    # ------------------------------------------------------------------ actions

    def _actions(self, query: dict[str, object]) -> Answer:
        limit = int(str(query.get("limit") or 50))
        told = self._all(self._with_sensors, lambda pod: pod.get("/actions", **_own(pod, query)))
        rows: dict[tuple[str, str, str], Answer] = {}
        known = {one.pod.serves for one in self._pods if one.pod.kind == "Sensor"}
        for pod, answer in told:
            for row in answer["actions"]:
                # A runner sees the queues of sensors that others run, and does not know their triggers.
                foreign = pod.pod.kind == _RUNNER and row["sensor"] in known
                key = (row["sensor"], row["trigger"], row["id"])
                if not foreign and (key not in rows or row["kind"]):
                    rows[key] = row
        more = {shelf for _, answer in told for shelf in answer["more"]}
        shown = []
        for shelf in _SHELVES:
            found = [row for row in rows.values() if _SHELF.get(row["state"], "queued") == shelf]
            found.sort(key=lambda row: row["at"], reverse=shelf == "ended")
            more |= {shelf} if len(found) > limit else set()
            shown += found[:limit]
        return {"actions": shown, "more": [shelf for shelf in _SHELVES if shelf in more]}

    def _action(self, given: str, query: Mapping[str, object]) -> tuple[PodClient, Answer]:
        told = self._all(self._with_sensors, lambda pod: pod.get(path("actions", given), **_own(pod, query)))
        ids = sorted({answer["id"] for _, answer in told})
        if len(ids) > 1:
            raise Refused(f"{len(ids)} actions begin with '{given}'; give more of the id: {', '.join(ids)}", 409)
        if not told:
            raise Refused(f"no sensor runs in namespace '{self.namespace}'", 404)
        return max(told, key=lambda one: bool(one[1]["kind"]))

    def _act(self, target: str, body: Answer) -> Iterator[Any]:
        body = {**body, "namespace": self.namespace}
        if body.get("sensor"):
            yield from self._running(str(body["sensor"])).lines("POST", target, body)
            return
        of_pod: dict[str, tuple[PodClient, list[str]]] = {}
        for given in body.get("ids") or ():
            try:
                pod, found = self._action(given, {"namespace": self.namespace})
            except Refused as error:
                if len(body["ids"]) == 1:
                    raise
                yield {"id": given, "done": False, "why": error.message}
                continue
            of_pod.setdefault(pod.pod.name, (pod, []))[1].append(found["id"])
        for pod, ids in of_pod.values():
            yield from pod.lines("POST", target, {**body, "ids": ids})

    def _outcomes(self, wanted: Sequence[Answer]) -> Answer:
        groups: dict[str, list[int]] = {}
        for at, one in enumerate(wanted):
            groups.setdefault(one["sensor"], []).append(at)
        answers: list[Any] = [None] * len(wanted)
        for sensor, places in groups.items():
            try:
                told = self._running(sensor).post("/outcomes", {"actions": [wanted[at] for at in places]})["actions"]
            except Refused as error:
                if error.status != 403:
                    raise
                # Who may only look may not ask for this, which takes a body.
                click.echo(clean(f"what became of actions is not told: {error.message}"), err=True)
                told = [{"state": "unknown"}] * len(places)
            for at, answer in zip(places, told, strict=True):
                answers[at] = answer
        return {"actions": answers}

    def _shadow(self, path: str, query: dict[str, object]) -> Answer:
        told = [answer for _, answer in self._all(self._with_sensors, lambda pod: pod.get(path, **query))]
        rows = sorted(
            (row for answer in told for row in answer["actions"]), key=lambda row: str(row["at"]), reverse=True
        )
        return {
            "actions": rows[: int(str(query.get("limit") or 50))],
            "total": sum(answer["total"] for answer in told),
            "remembered": max((answer["remembered"] for answer in told), default=0),
        }


def _segments(path: str) -> list[str]:
    return [unquote(one) for one in path.strip("/").split("/")]


def _own(pod: PodClient, query: Mapping[str, object]) -> dict[str, object]:
    """The question narrowed to the sensor of a pod that runs one alone."""
    return {**query, "sensor": pod.pod.serves} if pod.pod.kind == "Sensor" else dict(query)


def _pairs(manifests: Answer) -> set[tuple[str, str]]:
    """Source and event of all that manifests name."""
    declared = {(one["name"], event) for one in manifests["declared"] for event in one["events"]}
    return declared.union(*(_listens(one) for one in manifests["sensors"]))


def _listens(sensor: Answer) -> set[tuple[str, str]]:
    spec = sensor["object"].get("spec") or {}
    return {(one.get("eventSourceName"), one.get("eventName")) for one in spec.get("dependencies") or ()}


def _cursor(text: str) -> dict[str, int]:
    parts = (part.rpartition("@") for part in text.split(",") if part)
    return {bus: int(place) for bus, _, place in parts}


def _together(streams: Sequence[Iterator[Any]]) -> Iterator[Any]:
    """The rows of several streams as they come; raises what one of them raises."""
    coming: queue.SimpleQueue[Any] = queue.SimpleQueue()
    ended = object()

    def read(stream: Iterator[Any]) -> None:
        try:
            for row in stream:
                coming.put(row)
            coming.put(ended)
        except Refused as error:
            coming.put(error)

    for one in streams:
        threading.Thread(target=read, args=(one,), daemon=True).start()
    open_ones = len(streams)
    while open_ones:
        row = coming.get()
        if row is ended:
            open_ones -= 1
        elif isinstance(row, Refused):
            raise row
        else:
            yield row
