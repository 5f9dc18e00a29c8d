"""The pods of ours in a namespace: which of them can answer a question, and several asked side by side.

A pod of an EventSource or a Sensor knows its own object alone, a runner all those that runners serve; the event log and the action queues belong to
the bus, which all of them reach. So each question goes to those that know enough:

* of a sensor, to the pod that runs it;
* of the log, to one pod of each bus (any can read it) and to a runner;
* of one event or action, to all, for each finds by name only what its own manifests name;
* lists are put together from all, and which pods did not answer is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, TypeVar

import click

from argosy.cli._apiserver import Server
from argosy.cli._client import Refused
from argosy.cli._page import clean
from argosy.cli._pods import Pod, PodClient, pods, token

RUNNER = "Runner"
_SIDE_BY_SIDE = 16

T = TypeVar("T")
Answer = dict[str, Any]


class PodSet:
    """The pods of one namespace. Those that do the same are one of ``all``."""

    def __init__(self, server: Server, namespace: str) -> None:
        """Raises Refused, with what to do, where there are none or they cannot be asked."""
        self.namespace = namespace
        self._server = server
        self._silent: set[str] = set()
        self._found = pods(server, namespace)
        self._token = token(server, namespace)
        self.all = self._clients()

    def find_anew(self) -> None:
        """Look which pods there are now."""
        self._found = pods(self._server, self.namespace)
        self.all = self._clients()

    def _clients(self) -> list[PodClient]:
        return [self._client(same) for same in self._found]

    def _client(self, same: list[Pod]) -> PodClient:
        return PodClient(self._server, self.namespace, same, self._token)

    @property
    def with_sensors(self) -> list[PodClient]:
        """Those that run sensors."""
        return [one for one in self.all if one.pod.kind in ("Sensor", RUNNER)]

    def dedicated(self, kind: str, name: str) -> PodClient | None:
        """The pod that an EventSource or Sensor has of its own."""
        return next((one for one in self.all if (one.pod.kind, one.pod.serves) == (kind, name)), None)

    def running(self, name: str) -> PodClient:
        """The pod that runs this sensor. Raises Refused."""
        space, _, bare = name.rpartition("/")
        if space not in ("", self.namespace):
            raise Refused(f"sensor '{name}' is of another namespace than '{self.namespace}'; ask there: -n {space}")
        if found := self.dedicated("Sensor", bare):
            return found
        known = {one.pod.serves for one in self.with_sensors if one.pod.kind == "Sensor"}
        runners = [one for one in self.all if one.pod.kind == RUNNER]
        for pod, answer in self.ask(runners, lambda pod: pod.get("/manifests")):
            here = {one["name"] for one in answer["sensors"]}
            if bare in here:
                return pod
            known |= here
        from argosy.manifests.spelling import did_you_mean

        near = did_you_mean(bare, known) or f"; there is {', '.join(sorted(known)) or 'none'}"
        raise Refused(f"no sensor '{bare}' runs in namespace '{self.namespace}'{near}", 404)

    def of_log(self, source: str = "") -> list[PodClient]:
        """Pods that together reach every bus, or that of this EventSource. Where one does not answer, another of its bus does."""
        own = next((same for same in self._found if (same[0].kind, same[0].serves) == ("EventSource", source)), None)
        runners = [self._client(same) for same in self._found if same[0].kind == RUNNER]
        by_bus: dict[str, list[Pod]] = {}
        for same in self._found:
            if same[0].kind != RUNNER:
                by_bus.setdefault(same[0].bus, []).extend(same)
        for found in by_bus.values():
            found.sort(key=lambda one: (one not in (own or ()), bool(one.trouble), not one.ready))
        if own is not None:
            return [self._client(by_bus[own[0].bus])]
        return [*map(self._client, by_bus.values()), *runners]

    def ask(self, asked: Iterable[PodClient], question: Callable[[PodClient], T]) -> list[tuple[PodClient, T]]:
        """What each pod answered. Those that do not answer at all are named on standard error; raises Refused where no pod answered, where one
        says that the question may mean several things, or who asks may not.

        What is wrong for one pod need not be for all: an expression may fail on all that this one has.
        """
        answered, failed = self.tried(asked, question)
        errors = [error for _, error in failed]
        if several := [error for error in errors if error.status in (403, 409)]:
            raise several[0]
        for pod, error in failed:
            if error.status not in (400, 404) and pod.pod.name not in self._silent:
                self._silent.add(pod.pod.name)
                if answered or len(failed) > 1:
                    click.echo(clean(f"not in this answer: {error.message}"), err=True)
        if not answered and failed:
            first = (400, 404)
            raise min(errors, key=lambda error: first.index(error.status) if error.status in first else len(first))
        return answered

    def tried(
        self, asked: Iterable[PodClient], question: Callable[[PodClient], T]
    ) -> tuple[list[tuple[PodClient, T]], list[tuple[PodClient, Refused]]]:
        """What each pod answered, and why the others did not."""

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

    @cached_property
    def manifests(self) -> Answer:
        """What all of them run, as one of them tells it of itself."""
        told = [answer for _, answer in self.ask(self.all, lambda pod: pod.get("/manifests"))]
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

    def check_names(self, source: str, name: str) -> None:
        """Raises Refused for a source or event that nobody names and that is probably a slip."""
        from argosy.manifests.spelling import did_you_mean

        known_pairs = pairs(self.manifests)
        for wanted, known, what in (
            (source, {pair[0] for pair in known_pairs}, "event source"),
            (name, {pair[1] for pair in known_pairs if source in ("", pair[0])}, "event"),
        ):
            if wanted and wanted not in known and (near := did_you_mean(wanted, known)):
                raise Refused(f"no {what} '{wanted}' is known in namespace '{self.namespace}'{near}", 404)


def pairs(manifests: Answer) -> set[tuple[str, str]]:
    """Source and event of all that manifests name."""
    declared = {(one["name"], event) for one in manifests["declared"] for event in one["events"]}
    return declared.union(*(listens(one) for one in manifests["sensors"]))


def listens(sensor: Answer) -> set[tuple[str, str]]:
    """Source and event of what a sensor waits for."""
    spec = sensor["object"].get("spec") or {}
    return {(one.get("eventSourceName"), one.get("eventName")) for one in spec.get("dependencies") or ()}
