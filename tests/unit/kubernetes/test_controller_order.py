"""The controller ends in the same objects whatever order news come in, however often, and wherever its process dies."""

from __future__ import annotations

import asyncio
import base64
import copy
import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argosy.clock import VirtualClock, VirtualLoop
from argosy.kubernetes.client import Conflict, Object
from argosy.kubernetes.controller.announcing import Said
from argosy.kubernetes.controller.caches import KEPT
from argosy.kubernetes.controller.conditions import PERMITTED, Condition, holds
from argosy.kubernetes.controller.desk import Desk, NotMade
from argosy.kubernetes.controller.differing import DIGEST
from argosy.kubernetes.controller.reconciling import look, namespace_key, routes
from argosy.kubernetes.names import RUNNER
from argosy.kubernetes.watching import Place
from argosy.manifests.bundle import Key
from tests.unit.kubernetes.store import Crash, Store, View, Where

_SPACE = "shop"
_START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_SERVED = ("EventSource", "Sensor")
_NAMES = {
    "EventBus": ("default",),
    "EventSource": ("hooks",),
    "Sensor": ("tell",),
}


def _specs(kind: str) -> list[Object]:
    """What people may write, one of them wrong."""
    bus = {"jetstream": {"version": "latest", "replicas": 1, "persistence": {}}}
    hook = {"webhook": {"pushed": {"endpoint": "/push", "method": "POST", "port": "12000"}}}
    trigger = {"template": {"name": "say", "log": {}}}
    return {
        "EventBus": [bus, {"jetstreamExotic": {"url": "nats://elsewhere:4222"}}, {"jetstream": {"version": "no"}}],
        "EventSource": [{**hook, "service": {"ports": [{"port": 80}]}}, {**hook, "replicas": 2}, {"webhook": 7}],
        "Sensor": [
            {"dependencies": [{"name": "a", "eventSourceName": "hooks", "eventName": word}], "triggers": [trigger]}
            for word in ("pushed", "pulled")
        ],
    }[kind]


class _Permits:
    async def condition(self, one: Any) -> Condition:
        return holds(PERMITTED, "Granted")


class World:
    """A store, the controller of the moment, and its queue."""

    def __init__(self, clock: VirtualClock) -> None:
        self.store = Store()
        self.clock = clock
        self.waiting: dict[Key, None] = {}
        self.restart()

    def restart(self) -> None:
        """A new process: an empty memory, and everything listed."""
        self.waiting.clear()
        view = View(self.store, self._changed)
        self.desk = Desk(view, _Permits(), clock=self.clock)
        # The runners, where there are any, say that they serve it: what they serve by themselves is not the controller's.
        self.desk.reports.complete = True
        said = {"objects": [{"kind": kind, "name": name, "ready": True} for kind in _SERVED for name in _NAMES[kind]]}
        self.desk.reports.take("pod", _SPACE, RUNNER, said)
        self.view = view
        self.waiting[namespace_key(_SPACE)] = None

    def _changed(self, view: View, kind: str, place: Place, owner: Key | None) -> None:
        for key in routes(view, kind, place, owner):
            self.waiting[key] = None

    def write(self, kind: str, name: str, choice: int | None, annotations: dict[str, str]) -> None:
        """What a person does: apply, or delete."""
        where: Where = (kind, _SPACE, name)
        if choice is None:
            self.store.remove(where)
            return
        live = self.store.objects.get(where)
        if live is not None and live["metadata"].get("deletionTimestamp"):
            return
        item = copy.deepcopy(live) or {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": kind,
            "metadata": {"namespace": _SPACE, "name": name},
        }
        item["spec"] = _specs(kind)[choice % len(_specs(kind))]
        item["metadata"]["annotations"] = annotations
        self.store.put(where, item)

    def take_back(self, kind: str, name: str) -> None:
        """Leave an object to this controller, whoever it was left to."""
        if live := self.store.objects.get((kind, _SPACE, name)):
            item = copy.deepcopy(live)
            item["metadata"]["annotations"] = {}
            self.store.put((kind, _SPACE, name), item)

    def spoil(self, which: int) -> None:
        """What a person does who edits by hand."""
        made = sorted(where for where in self.store.objects if where[0] in ("Deployment", "Service", "StatefulSet"))
        if made:
            item = copy.deepcopy(self.store.objects[made[which % len(made)]])
            item["spec"]["replicas" if "replicas" in item["spec"] else "ports"] = None
            self.store.put(made[which % len(made)], item)

    async def look(self, which: int) -> None:
        """A worker takes one of the keys that wait."""
        key = list(self.waiting)[which % len(self.waiting)]
        del self.waiting[key]
        try:
            await look(self.desk, key)
        except Conflict:
            self.waiting[key] = None

    def work(self) -> None:
        """What Kubernetes' own controllers do: the pods of all Deployments are there."""
        for where, item in list(self.store.objects.items()):
            if where[0] == "Deployment" and not item["metadata"].get("deletionTimestamp"):
                count = item["spec"].get("replicas") or 0
                status = {"availableReplicas": count, "updatedReplicas": count, "observedGeneration": 10**6}
                self.store.put(where, {**copy.deepcopy(item), "status": status})

    async def settle(self) -> int:
        """All news arrive, and all keys are looked at, until nothing happens any more; how many writes that took."""
        before = self.store.writes
        for _ in range(500):
            if any(self.view.deliver(kind) for kind in KEPT):
                continue
            if not self.waiting:
                written = self.store.writes
                self.work()
                if self.store.writes == written:
                    return written - before
                continue
            await self.look(0)
        raise AssertionError("it never comes to rest")

    async def play(self, course: list[Any]) -> None:
        """What people do, and what happens to news and processes."""
        for step in course:
            if len(step) == 3:
                self.write(*step[0], *step[1:])
                continue
            word, what = step
            if word in ("look", "work"):
                # One look, or as many as a quick process does between two things that people do.
                for _ in range(1 if word == "look" else 20):
                    if not self.waiting:
                        break
                    try:
                        await self.look(what)
                    except Crash:
                        self.restart()
                        break
                    if word == "work":
                        any([self.view.deliver(kind) for kind in sorted(KEPT)[:what]])  # noqa: C419 - each of them
            elif word == "news":
                any([self.view.deliver(kind) for kind in sorted(KEPT)[-what:]])  # noqa: C419 - each of them
            elif word == "list":
                self.view.relist(what)
            elif word == "spoil":
                self.spoil(what)
            elif word == "die":
                self.view.dies_after = what
        self.view.dies_after = -1

    def picture(self) -> dict[Where, Object]:
        """All that is there, without what is drawn by chance or counts versions."""
        return {where: _plain(where, item) for where, item in sorted(self.store.objects.items())}


def _plain(where: Where, item: Object) -> Object:
    item = copy.deepcopy(item)
    about = item["metadata"]
    for field in ("resourceVersion", "generation"):
        about.pop(field, None)
    (item.get("status") or {}).pop("observedGeneration", None)
    about.pop("uid", None)
    for owner in about.get("ownerReferences") or ():
        owner.pop("uid")
    if where[0] == "Secret":
        item.pop("data", None)
        item.pop("stringData", None)
        about.get("annotations", {}).pop(DIGEST, None)
    elif owners := about.get("ownerReferences"):
        del owners
        about.get("annotations", {}).pop(DIGEST, None)
    if where[0] == "Deployment":
        for one in item["spec"]["template"]["spec"]["containers"][0]["env"]:
            if one["name"] in ("EVENTSOURCE_OBJECT", "SENSOR_OBJECT"):
                one["value"] = json.loads(base64.b64decode(one["value"]))
                one["value"]["metadata"].pop("uid", None)
    for one in (item.get("status") or {}).get("conditions") or ():
        one.pop("lastTransitionTime")
    return item


_MODES: list[dict[str, str]] = [{}, {"argosy.dev/mode": "shared"}]
_people = st.one_of(
    *(
        st.tuples(
            st.just((kind, name)),
            # A bus that is to go stays as long as it is used: it would be another world afterwards.
            st.integers(0, 2) if kind == "EventBus" else st.one_of(st.none(), st.integers(0, 2), st.integers(0, 1)),
            st.sampled_from([*_MODES, *_MODES, {"argosy.dev/controller": "argo-events"}]),
        )
        for kind, names in _NAMES.items()
        for name in names
    )
)
_chance = st.one_of(
    st.tuples(st.just("look"), st.integers(0, 9)),
    st.tuples(st.just("news"), st.integers(1, 9)),
    st.tuples(st.just("list"), st.sampled_from(sorted(KEPT))),
    st.tuples(st.just("die"), st.integers(0, 5)),
    st.tuples(st.just("spoil"), st.integers(0, 9)),
    st.tuples(st.just("work"), st.integers(1, 9)),
)
_course = st.lists(st.one_of(_people, _chance), min_size=5, max_size=25)
_course_of_chance = st.lists(_chance, max_size=15)


def _possible(steps: tuple[Any, ...]) -> list[Any]:
    """The bus goes only with all that use it."""
    used = any(choice is not None for (kind, _), choice, _ in steps if kind != "EventBus")
    return [
        (at, 0 if at[0] == "EventBus" and used and choice is None else choice, notes) for at, choice, notes in steps
    ]


_last = st.tuples(
    *(
        st.tuples(st.just((kind, name)), st.one_of(st.none(), st.integers(0, 1)), st.sampled_from(_MODES))
        for kind, names in _NAMES.items()
        for name in names
    )
).map(_possible)
"""What people write last is right, and left to us: of what is wrong, or somebody else's, the state before is kept."""


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_course, _last, _course_of_chance)
def test_any_order_and_repetition_of_news_and_any_death_ends_in_the_same_objects(
    course: list[Any], last: list[Any], chance: list[Any]
) -> None:
    """What counts is what people wrote last: a controller that has seen nothing else makes the same of it."""

    async def play() -> None:
        clock = VirtualClock(_START, asyncio.get_running_loop())
        # Given a world in which much has happened, and one in which nothing has
        tried, calm = World(clock), World(clock)
        await tried.play(course)
        # When both come to say the same, and the first one has bad luck once more
        for world in (tried, calm):
            for (kind, name), choice, notes in last:
                world.take_back(kind, name)
                world.write(kind, name, choice, notes)
        await tried.play(chance)
        # Then both end the same
        await tried.settle()
        await calm.settle()
        assert tried.picture() == calm.picture()
        # And a controller that begins anew finds nothing to write
        tried.restart()
        assert await tried.settle() == 0

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())


def test_an_object_is_not_ready_while_its_pod_says_that_it_waits_though_the_cluster_counts_the_pod() -> None:
    def ready(world: World) -> Object:
        (one,) = (
            each
            for each in world.store.objects["EventSource", _SPACE, "hooks"]["status"]["conditions"]
            if each["type"] == "Ready"
        )
        return one

    async def play() -> None:
        # Given an event source whose pod is available
        world = World(VirtualClock(_START, asyncio.get_running_loop()))
        world.write("EventBus", "default", 1, {})
        world.write("EventSource", "hooks", 0, {})
        await world.settle()
        assert ready(world)["status"] == "True"
        # When the pod says what it waits for
        said = {"kind": "EventSource", "name": "hooks", "ready": False, "waitingFor": "it waits for Secret 'late'"}
        for key in world.desk.reports.take("pod", _SPACE, "eventsource-controller", {"objects": [said]}):
            world.waiting[key] = None
        await world.settle()
        # Then its status says so, and no longer when it has it
        assert ready(world).items() >= {"status": "False", "reason": "Waiting", "message": said["waitingFor"]}.items()
        for key in world.desk.reports.take("pod", _SPACE, "eventsource-controller", {"objects": []}):
            world.waiting[key] = None
        await world.settle()
        assert ready(world)["status"] == "True"

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())


def test_no_new_key_is_drawn_for_a_bus_whose_volumes_hold_what_only_the_lost_one_opens() -> None:
    async def play() -> None:
        # Given a bus with a volume, as its StatefulSet makes it
        world = World(VirtualClock(_START, asyncio.get_running_loop()))
        bus, server = Key("EventBus", _SPACE, "default"), ("Secret", _SPACE, "eventbus-default-js-server")
        claim = ("PersistentVolumeClaim", _SPACE, "eventbus-default-js-vol-eventbus-default-js-0")
        labels = {"controller": "eventbus-controller", "eventbus-name": "default"}
        world.write("EventBus", "default", 0, {})
        await world.settle()
        held = copy.deepcopy(world.store.objects[server])
        world.store.put(claim, {"metadata": {"name": claim[2], "namespace": _SPACE, "labels": labels}})
        # When somebody deletes its Secret
        world.store.remove(server)
        with pytest.raises(NotMade, match=r"'eventbus-default-js-server' .*eventbus-default-js-0 is gone; put it back"):
            await look(world.desk, bus)
        # Then none is made in its place, and the status says what to do
        assert server not in world.store.objects
        said = {one["type"]: one for one in world.store.objects[tuple(bus)]["status"]["conditions"]}
        assert said["Deployed"]["reason"] == "JetStreamAuthSecretsFailed" and said["Configured"]["status"] == "True"
        assert "put it back" in said["Ready"]["message"]
        # And with the Secret, or without the volume, it goes on
        world.store.put(server, held)
        await look(world.desk, bus)
        assert world.store.objects[server]["data"]["encryption"] == held["data"]["encryption"]
        world.store.remove(server)
        world.store.remove(claim)
        await look(world.desk, bus)
        assert world.store.objects[server]["data"]["encryption"] != held["data"]["encryption"]

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())


def test_of_what_objects_wait_for_people_are_told_once_it_lasts() -> None:
    async def play() -> None:
        # Given a sensor whose bus and event source are not there yet
        world, said = World(VirtualClock(_START, asyncio.get_running_loop())), list[Said]()
        world.desk.announce = said.append
        world.write("Sensor", "tell", 0, {})
        await world.settle()
        # When a moment has passed, nobody is told
        await asyncio.sleep(20)
        world.waiting[Key("Sensor", _SPACE, "tell")] = None
        await world.settle()
        assert said == []
        # Then, when it lasts, they are
        await asyncio.sleep(20)
        world.waiting[Key("Sensor", _SPACE, "tell")] = None
        await world.settle()
        assert {(one.kind, one.reason) for one in said} == {
            ("Warning", "EventBusNotFound"),
            ("Warning", "UnknownEventSource"),
        }

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())
