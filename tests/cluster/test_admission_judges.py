"""The processes that judge: an object takes no more than one of them, and that one is replaced."""

from __future__ import annotations

import asyncio
import copy

import pytest

from argosy.kubernetes.admission.judges import Busy, Failed, Judges, TooLong
from argosy.kubernetes.admission.known import Known
from argosy.kubernetes.admission.review import Malformed
from tests.unit.kubernetes.asking import SENSOR, SOURCE, Object, cluster, question


def _many() -> Known:
    items = [copy.deepcopy(SOURCE) for _ in range(500)]
    for number, item in enumerate(items):
        item["metadata"]["name"] = f"another-{number}"
    return cluster(*items)


MANY = _many()


def endless() -> Object:
    """A request whose object takes minutes to check, in ``MANY``: each of its names is compared with each that is there."""
    item = copy.deepcopy(SENSOR)
    item["spec"]["dependencies"] = [
        {"name": f"d{number}", "eventSourceName": f"sources-{number}", "eventName": "e"} for number in range(5000)
    ]
    request = question(item)["request"]
    assert isinstance(request, dict)
    return request


def fine() -> Object:
    """A request that is admitted."""
    request = question(SENSOR)["request"]
    assert isinstance(request, dict)
    return request


async def admitted(judges: Judges) -> bool:
    answer = await judges.judge(fine(), cluster(SOURCE), 60)
    return answer.review["response"] == {"uid": "1f2e", "allowed": True}


async def test_an_object_that_takes_too_long_ends_its_judge_and_no_other_question() -> None:
    async with Judges(1, seconds=1.0) as judges:
        assert await admitted(judges)
        with pytest.raises(TooLong, match="could not be checked within 1 s"):
            await judges.judge(endless(), MANY, 30)
        assert await admitted(judges)
        assert judges.ready


async def test_who_finds_all_judges_busy_is_told_so_in_time() -> None:
    async with Judges(1, seconds=5.0) as judges:
        first = asyncio.create_task(judges.judge(endless(), MANY, 5))
        await asyncio.sleep(0)  # it takes the judge
        with pytest.raises(Busy, match="try again"):
            await judges.judge(fine(), cluster(SOURCE), 0.5)
        with pytest.raises(TooLong):
            await first


async def test_who_waited_is_told_so_while_there_is_time_to_judge_and_ends_no_judge_for_being_late() -> None:
    async with Judges(1, seconds=1.0) as judges:
        # Given a judge that is free again when almost no time is left
        judge = await judges._idle.get()
        asyncio.get_running_loop().call_later(1.9, judges._idle.put_nowait, judge)
        with pytest.raises(Busy):
            await judges.judge(endless(), MANY, 2.0)
        assert await admitted(judges)
        assert judges._all == {judge}


async def test_an_object_that_takes_too_much_memory_is_refused() -> None:
    # Given an object of some megabytes that is much more when it was read
    item = copy.deepcopy(SENSOR)
    resource = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": [{"b": {}} for _ in range(700_000)]}}
    item["spec"]["triggers"] = [{"template": {"name": "t", "k8s": {"source": {"resource": resource}}}}]
    async with Judges(1, seconds=30.0) as judges:
        with pytest.raises(Failed, match="memory|MB"):
            await judges.judge(question(item)["request"], cluster(), 30)
        assert await admitted(judges)


async def test_a_judge_that_was_killed_is_replaced_and_its_object_refused() -> None:
    async with Judges(1) as judges:
        (judge,) = judges._all
        asked = asyncio.create_task(judges.judge(endless(), MANY, 30))
        await asyncio.sleep(0.2)
        judge.process.kill()
        with pytest.raises(Failed):
            await asked
        assert await admitted(judges)


async def test_what_cannot_be_understood_is_said_and_costs_no_judge() -> None:
    async with Judges(1) as judges:
        before = set(judges._all)
        with pytest.raises(Malformed):
            await judges.judge({**fine(), "object": None}, cluster(), 30)
        assert await admitted(judges)
        assert judges._all == before


async def test_programs_that_are_checked_in_processes_of_their_own_are_checked_there() -> None:
    # Given a sensor with programs of each language
    item = copy.deepcopy(SENSOR)
    item["spec"]["dependencies"][0] |= {
        "transform": {"jq": ".body.total *= 2"},
        "filters": {
            "script": "return event.body.total > 1",
            "data": [{"path": "body.a", "type": "string", "value": ["^a"]}],
        },
    }
    async with Judges(1) as judges:
        answer = await judges.judge(question(item)["request"], cluster(SOURCE), 60)
        assert answer.review["response"]["allowed"], answer
        item["spec"]["dependencies"][0]["transform"]["jq"] = ".body.total *="
        answer = await judges.judge(question(item)["request"], cluster(SOURCE), 60)
        (cause,) = answer.review["response"]["status"]["details"]["causes"]
        assert cause["field"] == "spec.dependencies[0].transform.jq"
        assert "does not parse" in cause["message"]
        assert "ended" not in cause["message"]
