"""The event logs of a namespace, read through its pods as if they were one."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import click

from argosy.cli._client import Refused
from argosy.cli._page import clean
from argosy.cli._pods import PodClient
from argosy.cli._podset import Answer, PodSet, listens, pairs

_PAUSE_SECONDS = 1.0
_OPEN_SECONDS = 5.0
"""What lasted so long was told, even if nothing came."""
_REPLACED_SECONDS = 120.0
"""How long nobody may tell what comes until following ends: pods that are replaced take a while."""


class Log:
    """The logs of all buses of a namespace."""

    def __init__(self, pods: PodSet) -> None:
        self._pods = pods

    def listed(self, path: str, query: dict[str, object]) -> Answer:
        """A page of events, newest first."""
        asked = self._log_pods(query)
        limit, before = int(str(query.get("limit") or 50)), _cursor(str(query.get("before") or ""))
        told = self._pods.ask(asked, lambda pod: pod.get(path, **query))
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
        if name or (source and self._pods.dedicated("EventSource", source) is None):
            self._pods.check_names(source, name)
        query["anyName"] = True
        return self._pods.of_log(source)

    def told(self, text_of: str, query: dict[str, object]) -> Iterator[Any]:
        """Whole entries, as they stand or as they come."""
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
        asked = self._log_pods(query)
        start, newest, lost_at = time.monotonic(), "", 0.0
        while True:
            began, failed = time.monotonic(), None
            try:
                if lost_at:
                    self._pods.find_anew()
                    asked = self._pods.of_log(str(query.get("source") or ""))
                for row in _together([pod.lines("GET", "/log", text_of=text_of, **query) for pod in asked]):
                    newest, lost_at = row["storedAt"], 0.0
                    yield row
                why = "the pod that told what comes has ended"
            except Refused as error:
                if error.status not in (0, 404, 503):
                    raise
                why, failed = error.message, error
            now = time.monotonic()
            if not lost_at or now - began > _OPEN_SECONDS:
                lost_at = now
                click.echo(clean(f"{why}; another one is looked for"), err=True)
            elif failed is not None and now - lost_at > _REPLACED_SECONDS:
                raise failed
            time.sleep(_PAUSE_SECONDS)
            query.pop("last", None)
            # So long ago by the clock of the pods: that of this machine may differ.
            query["since"] = newest or f"{time.monotonic() - start:.3f}s"

    def one(self, path: str, query: dict[str, object]) -> Answer:
        """One event, and all sensors that listen to it."""
        told = self._pods.ask(self._pods.all, lambda pod: pod.get(path, **query))
        places = {(answer["bus"], answer["position"]): answer for _, answer in told}
        if len(places) > 1:
            several = "; ".join(f"{one['id']} of {one['source']}/{one['subject']}" for one in places.values())
            raise Refused(f"this may be one of several events: {several}. Give more of the id", 409)
        found: Answer = told[0][1]
        listening = {sensor for _, answer in told for sensor in answer["sensors"]}
        return {**found, "sensors": sorted(listening)}

    def story(self, path: str, query: dict[str, object]) -> Answer:
        """An event with what came before it for the conditions of all sensors, or of one."""
        sensor = str(query.pop("sensor", ""))
        told: list[tuple[PodClient, Answer]] = []
        if sensor:
            told, failed = self._pods.tried(
                [self._pods.running(sensor)], lambda pod: pod.get(path, sensor=sensor, **query)
            )
            if failed and failed[0][1].status != 404:
                raise failed[0][1]
            query["before"] = "0"
        # Of what the sensor does not listen to its pod knows nothing; it is explained as well that it does not.
        told = told or self._pods.ask(self._pods.all, lambda pod: pod.get(path, **query))
        if len({(answer["bus"], answer["position"]) for _, answer in told}) > 1:
            raise Refused("this may be one of several events; give more of the id ('argosy events list')", 409)
        before = {place: text for _, one in told for place, text in zip(one["positions"], one["before"], strict=True)}
        return {
            **told[0][1],
            "positions": sorted(before),
            "before": [before[place] for place in sorted(before)],
            "more": any(one["more"] for _, one in told),
        }

    def publish(self, order: Answer) -> Answer:
        """Put an event on the log that its source writes to."""
        source = str(order.get("source") or "")
        if "cloudEvent" in order:
            try:
                source = str(json.loads(order["cloudEvent"])["source"])
            except (ValueError, KeyError, TypeError):
                source = ""  # the pod says what is wrong with it
        found = self._pods.dedicated("EventSource", source)
        if found is None:
            # A sensor's pod knows the bus of a source that nobody runs here.
            asked = [one for one in self._pods.all if not one.pod.trouble]
            told = self._pods.ask(asked, lambda pod: pod.get("/manifests"))
            found = next((pod for pod, answer in told if source in _sources(answer)), None)
        if found is None:
            known = sorted({pair[0] for pair in pairs(self._pods.manifests)})
            there = f"; there is {', '.join(known)}" if known else ""
            raise Refused(
                f"no event source '{source}' runs in namespace '{self._pods.namespace}', and no sensor listens to it{there}",
                404,
            )
        done: Answer = found.post("/events", order)
        source, name = done["source"], done["subject"]
        done["sensors"] = sorted(
            one["name"] for one in self._pods.manifests["sensors"] if (source, name) in listens(one)
        )
        return done


def _sources(manifests: Answer) -> set[str]:
    """The event sources that a pod runs or listens to."""
    return {one["name"] for one in manifests["eventSources"]} | {pair[0] for pair in pairs(manifests)}


def _cursor(text: str) -> dict[str, int]:
    parts = (part.rpartition("@") for part in text.split(",") if part)
    return {bus: int(place) for bus, _, place in parts}


def _together(streams: Sequence[Iterator[Any]]) -> Iterator[Any]:
    """The rows of several streams as they come, until one of them ends; raises what that one raises."""
    coming: queue.SimpleQueue[Any] = queue.SimpleQueue()
    ended, over = object(), threading.Event()

    def read(stream: Iterator[Any]) -> None:
        try:
            for row in stream:
                if over.is_set():
                    return
                coming.put(row)
            coming.put(ended)
        except Refused as error:
            coming.put(error)

    for one in streams:
        threading.Thread(target=read, args=(one,), daemon=True).start()
    last: Any = None
    try:
        while last is None or not coming.empty():
            row = coming.get()
            if row is ended or isinstance(row, Refused):
                last = last or row
            else:
                yield row
    finally:
        over.set()
    if isinstance(last, Refused):
        raise last
