"""Actions that wait before their first try, for a delay or a grant, and processes that die meanwhile; in virtual time on a bus in memory."""

from __future__ import annotations

import pytest

from argosy.clock import VirtualClock, run_virtually
from argosy.errors import TriggerError
from argosy.runtime.suspension import Switch, Switchboard, say
from tests.unit.runtime.test_actions import LOG, START, _spec
from tests.unit.runtime.test_actions_side_by_side import _RETRY, _body, _Play, _World


class TestADelay:
    def _delayed(self, words: str, *, at: list[float]) -> list[tuple[float, str]]:
        world = _World()

        async def main(clock: VirtualClock) -> None:
            async with _Play(clock, _spec(LOG + words), world) as play:
                for number, moment in enumerate(at):
                    await play.queue.put(str(number), _body(str(number), START.timestamp() + moment))
                play.start()
                await clock.sleep(7200)
                assert await play.queue.depth() == 0

        run_virtually(START, main)
        return world.began

    @pytest.mark.parametrize(
        "words",
        [
            "queue: {delay: 10m}",
            "queue: {delay: 10m, concurrency: 4}",
            "queue: {delay: 10m, concurrency: 4, key: {dependencyName: d, dataKey: key}}",
        ],
    )
    def test_counts_from_the_moment_when_the_event_was_stored(self, words: str) -> None:
        began = self._delayed(words, at=[-700, -590, -590, -1, -0.5])

        assert began == [(0, "0"), (10, "1"), (10, "2"), (599, "3"), (599.5, "4")]

    def test_of_an_action_of_an_older_version_counts_from_its_coming(self) -> None:
        began = self._delayed("queue: {delay: 10m}", at=[-START.timestamp()])

        assert began == [(600, "0")]

    @pytest.mark.parametrize("concurrency", [1, 3])
    def test_outlives_the_process(self, concurrency: int) -> None:
        world = _World()

        async def main(clock: VirtualClock) -> None:
            spec = _spec(LOG + f"queue: {{delay: 10m, concurrency: {concurrency}}}")
            async with _Play(clock, spec, world) as play:
                await play.queue.put("a", _body(None, START.timestamp()))
                for _ in range(3):
                    play.start()
                    await clock.sleep(100)
                    await play.stop()
                play.start()
                await clock.sleep(1000)

        run_virtually(START, main)

        assert world.began == [(600, "a")]

    @pytest.mark.parametrize("concurrency", [1, 3])
    def test_comes_once_and_is_no_failed_try(self, concurrency: int) -> None:
        world = _World(lambda item, attempt: TriggerError("no") if attempt == 1 else None)
        attempts: list[int] = []
        answers = world.answers

        def answer(item: str, attempt: int) -> Exception | None:
            attempts.append(attempt)
            return answers(item, attempt)

        world.answers = answer
        spec = _spec(LOG + f"queue: {{delay: 10m, concurrency: {concurrency}}}\n" + _RETRY % (3, "5s"))

        async def main(clock: VirtualClock) -> None:
            async with _Play(clock, spec, world) as play:
                await play.queue.put("a", _body(None, START.timestamp()))
                play.start()
                await clock.sleep(3600)

        run_virtually(START, main)

        assert world.began == [(600, "a"), (605, "a")]
        assert attempts == [1, 2]

    @pytest.mark.parametrize("concurrency", [1, 3])
    def test_ends_when_a_person_says_so(self, concurrency: int) -> None:
        world = _World()

        async def main(clock: VirtualClock) -> None:
            spec = _spec(LOG + f"queue: {{delay: 10m, concurrency: {concurrency}}}")
            async with _Play(clock, spec, world) as play:
                await play.queue.put("a", _body(None, START.timestamp()))
                play.start()
                await clock.sleep(60)
                found = await play.queue.find("a")
                assert found is not None
                assert found.state == "resting"
                assert await play.queue.retry_now("a")
                await clock.sleep(60)

        run_virtually(START, main)

        assert world.began == [(60, "a")]

    def test_is_never_longer_than_it_says_whatever_the_record_says(self) -> None:
        assert self._delayed("queue: {delay: 10m}", at=[86400]) == [(600, "0")]


@pytest.mark.parametrize("concurrency", [1, 2])
def test_an_action_that_is_to_run_at_most_once_and_waits_for_its_turn_outlives_the_process(concurrency: int) -> None:
    world = _World()
    words = (
        f"atLeastOnce: false\nrateLimit: {{unit: Minute, requestsPerUnit: 1}}\nqueue: {{concurrency: {concurrency}}}"
    )

    async def main(clock: VirtualClock) -> None:
        async with _Play(clock, _spec(LOG + words), world) as play:
            for item in "ab":
                await play.queue.put(item, _body(None))
            play.start()
            await clock.sleep(30)
            await play.stop()
            play.start()
            await clock.sleep(120)

    run_virtually(START, main)

    assert world.began == [(0, "a"), (pytest.approx(60, abs=1), "b")]


def test_a_rate_limited_backlog_survives_a_restart() -> None:
    """In Argo Events what waits for the limiter is acknowledged and in memory: it is lost with the process."""
    world = _World()

    async def main(clock: VirtualClock) -> None:
        spec = _spec(LOG + "rateLimit: {unit: Minute, requestsPerUnit: 3}")
        async with _Play(clock, spec, world) as play:
            for number in range(9):
                await play.queue.put(str(number), _body(None))
            for _ in range(8):
                play.start()
                await clock.sleep(15)
                await play.stop()
            play.start()
            await clock.sleep(3600)
            assert await play.queue.depth() == 0

    run_virtually(START, main)

    assert [item for _, item in world.began] == [str(number) for number in range(9)]
    times = [when for when, _ in world.began]
    assert all(later - first >= 60 - 1e-6 for first, later in zip(times, times[3:], strict=False))


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_trigger_that_is_suspended_while_an_action_waits_for_a_grant_does_not_fire(concurrency: int) -> None:
    world = _World()
    words = f"rateLimit: {{unit: Minute, requestsPerUnit: 1}}\nqueue: {{concurrency: {concurrency}}}"

    async def main(clock: VirtualClock) -> None:
        async with _Play(clock, _spec(LOG + words), world) as play, Switchboard(play.bus, clock).kept() as board:
            for item in "ab":
                await play.queue.put(item, _body(None))
            play.start(Switch(board, "q"))
            await clock.sleep(30)
            await say(play.bus, {"q": ("queue", "run")})
            await clock.sleep(300)
            await say(play.bus, {"q": ("run", "run")})
            await clock.sleep(300)

    run_virtually(START, main)

    (first, second) = world.began
    assert first == (0, "a")
    assert second[0] >= 330


@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_suspended_trigger_finishes_what_is_under_way_and_holds_nothing_else(concurrency: int) -> None:
    world = _World(lambda item, attempt: TriggerError("no") if item == "a" and attempt == 1 else None)
    world.takes = lambda item: 0.0 if item == "a" else 100.0
    words = _RETRY % (5, "1h") + f"queue: {{concurrency: {concurrency}}}"
    states: dict[str, str] = {}

    async def main(clock: VirtualClock) -> None:
        async with _Play(clock, _spec(LOG + words), world) as play, Switchboard(play.bus, clock).kept() as board:
            for item in "abc" if concurrency > 1 else "bca":
                await play.queue.put(item, _body(None))
            play.start(Switch(board, "q"))
            await clock.sleep(10)
            await say(play.bus, {"q": ("queue", "run")})
            await clock.sleep(200)
            for item in "abc":
                found = await play.queue.find(item)
                assert found is not None
                states[item] = found.state
            assert await play.queue.discard("c", "not wanted", "somebody") == (concurrency == 1)
            await say(play.bus, {"q": ("run", "run")})
            await clock.sleep(7200)
            assert await play.queue.depth() == 0

    run_virtually(START, main)

    if concurrency == 1:
        assert states == {"b": "done", "c": "waiting", "a": "waiting"}
        assert [item for _, item in world.began] == ["b", "a", "a"]
    else:  # b and c were both under way
        assert states == {"a": "resting", "b": "done", "c": "done"}
        assert [item for _, item in world.began] == ["a", "b", "c", "a"]


def test_a_process_that_stops_while_a_suspended_trigger_finishes_waits_for_nobody() -> None:
    world = _World()
    world.takes = lambda item: 1e6

    async def main(clock: VirtualClock) -> None:
        async with _Play(clock, _spec(LOG), world) as play, Switchboard(play.bus, clock).kept() as board:
            await play.queue.put("a", _body(None))
            play.start(Switch(board, "q"))
            await clock.sleep(10)
            await say(play.bus, {"q": ("queue", "run")})
            await clock.sleep(10)
            await play.stop()
            assert clock.monotonic() < 100
            found = await play.queue.find("a")
            assert found is not None
            assert found.state == "waiting"

    run_virtually(START, main)
