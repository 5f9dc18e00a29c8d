"""A namespace of a cluster asked as if it were one run: each question goes to the pods that know, and one answer is made of theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import unquote

import click

from argosy.cli._apiserver import Server
from argosy.cli._client import Client, Refused, path
from argosy.cli._cluster_log import Log
from argosy.cli._page import clean
from argosy.cli._pods import PodClient
from argosy.cli._podset import Answer, PodSet

_SHELF = {"dead": "dead", "done": "ended", "discarded": "ended"}
_SHELVES = ("queued", "dead", "ended")


class Cluster(Client):
    """A namespace of a cluster, in the place of one run."""

    def __init__(self, pods: PodSet) -> None:
        self._pods = pods
        self._log = Log(pods)

    @classmethod
    def find(cls, namespace: str, context: str) -> Cluster:  # type: ignore[override]
        """The pods of this namespace, or of the context's. Raises Refused with what to do."""
        server = Server(context)
        return cls(PodSet(server, namespace or server.namespace))

    # ------------------------------------------------------------------ the questions of commands

    def get(self, path: str, **query: object) -> Any:
        """As that of one run, whose answer is made of those of the pods that know."""
        query["namespace"] = self._pods.namespace
        match _segments(path):
            case ["events"]:
                return self._log.listed(path, query)
            case ["events", _]:
                return self._log.one(path, query)
            case ["events", _, "story"]:
                return self._log.story(path, query)
            case ["manifests"]:
                return self._pods.manifests
            case ["sensors"]:
                told = [
                    answer for _, answer in self._pods.ask(self._pods.with_sensors, lambda pod: pod.get(path, **query))
                ]
                rows = {(row["namespace"], row["name"]): row for answer in told for row in answer["sensors"]}
                return {"sensors": [rows[place] for place in sorted(rows)]}
            case ["sensors", name, *_]:
                return self._pods.running(name).get(path, **query)
            case ["actions"]:
                return self._actions(query)
            case ["actions", given]:
                return self._action(given, query)[1]
            case ["shadow"] if query.get("sensor"):
                return self._pods.running(str(query["sensor"])).get(path, **query)
            case ["shadow"]:
                return self._shadow(path, query)
        raise Refused(f"{path} cannot be asked of a cluster")

    def post(self, path: str, body: object = None, **query: object) -> Any:
        """As that of one run: of the pod that it concerns."""
        said = {**cast(Answer, body or {}), "namespace": self._pods.namespace}
        match _segments(path):
            case ["events"]:
                return self._log.publish(said)
            case ["outcomes"]:
                return self._outcomes(said["actions"])
            case ["sensors", name, *_]:
                return self._pods.running(name).post(path, said, **query)
        raise Refused(f"{path} cannot be asked of a cluster")

    def lines(
        self, method: str, path: str, body: object = None, *, text_of: str = "", **query: object
    ) -> Iterator[Any]:
        """As that of one run."""
        match _segments(path):
            case ["log"]:
                query["namespace"] = self._pods.namespace
                return self._log.told(text_of, query)
            case ["replay"]:
                said = {**cast(Answer, body), "namespace": self._pods.namespace}
                return self._pods.running(said["sensor"]).lines(method, path, said)
            case ["actions", _]:
                return self._act(path, cast(Answer, body))
        raise Refused(f"{path} cannot be asked of a cluster")

    # ------------------------------------------------------------------ actions

    def _asked(self, path: str, query: Mapping[str, object]) -> list[tuple[PodClient, Answer]]:
        """What the pods answer that have the actions of a sensor, or of all. Those of a sensor that no pod runs (any more) are on its bus all
        the same: a pod that reads that bus tells them.
        """
        sensor = str(query.get("sensor") or "")
        own = [one for one in self._pods.all if one.pod.kind == "Sensor" and not one.pod.trouble]
        known = ",".join(sorted(one.pod.serves for one in own))
        asked: dict[PodClient, Mapping[str, object]] = {}
        try:
            asked |= (
                {self._pods.running(sensor): query}
                if sensor
                else {one: {**query, "sensor": one.pod.serves} for one in own}
            )
            unknown = None
        except Refused as error:
            if error.status != 404:
                raise
            unknown = error
        if not asked or not sensor:
            asked |= {one: {**query, "without": known} for one in self._pods.of_log()}
        try:
            told = self._pods.ask(asked, lambda pod: pod.get(path, **asked[pod]))
        except Refused as error:
            raise (unknown if unknown is not None and error.status == 404 else error) from None
        if unknown is not None and not any(answer.get("actions", True) for _, answer in told):
            raise unknown
        return told

    def _actions(self, query: dict[str, object]) -> Answer:
        limit = int(str(query.get("limit") or 50))
        told = [answer for _, answer in self._asked("/actions", query)]
        rows: dict[tuple[str, str, str], Answer] = {}
        for row in (row for answer in told for row in answer["actions"]):
            # Who does not run the sensor does not know the kind of its triggers.
            key = (row["sensor"], row["trigger"], row["id"])
            if key not in rows or row["kind"]:
                rows[key] = row
        more = {shelf for answer in told for shelf in answer["more"]}
        shown = []
        for shelf in _SHELVES:
            found = [row for row in rows.values() if _SHELF.get(row["state"], "queued") == shelf]
            found.sort(key=lambda row: row["at"], reverse=shelf == "ended")
            more |= {shelf} if len(found) > limit else set()
            shown += found[:limit]
        return {"actions": shown, "more": [shelf for shelf in _SHELVES if shelf in more]}

    def _action(self, given: str, query: Mapping[str, object]) -> tuple[PodClient, Answer]:
        told = self._asked(path("actions", given), query)
        ids = sorted({answer["id"] for _, answer in told})
        if len(ids) > 1:
            raise Refused(f"{len(ids)} actions begin with '{given}'; give more of the id: {', '.join(ids)}", 409)
        return max(told, key=lambda one: bool(one[1]["kind"]))

    def _act(self, target: str, body: Answer) -> Iterator[Any]:
        body = {**body, "namespace": self._pods.namespace}
        if body.get("all"):
            yield from self._pods.running(str(body["sensor"])).lines("POST", target, body)
            return
        place = {name: body[name] for name in ("namespace", "sensor", "trigger") if body.get(name)}
        of_pod: dict[PodClient, list[str]] = {}
        for given in body.get("ids") or ():
            try:
                pod, found = self._action(given, place)
            except Refused as error:
                if len(body["ids"]) == 1:
                    raise
                yield {"id": given, "done": False, "why": error.message}
                continue
            of_pod.setdefault(next((one for one in of_pod if one.pod == pod.pod), pod), []).append(found["id"])
        for pod, ids in of_pod.items():
            yield from pod.lines("POST", target, {**body, "ids": ids})

    def _outcomes(self, wanted: Sequence[Answer]) -> Answer:
        groups: dict[str, list[int]] = {}
        for at, one in enumerate(wanted):
            groups.setdefault(one["sensor"], []).append(at)
        answers: list[Any] = [None] * len(wanted)
        for sensor, places in groups.items():
            try:
                told = self._pods.running(sensor).post("/outcomes", {"actions": [wanted[at] for at in places]})[
                    "actions"
                ]
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
        told = [answer for _, answer in self._pods.ask(self._pods.with_sensors, lambda pod: pod.get(path, **query))]
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
