"""Somebody sets the machine's clock, an hour ahead and two hours back, while actions wait for their next try: each is done, once, in order.

The clock is that of the process: what its code and libraries read is moved by a file, which leaves the bus with the right time, so the two disagree
as well. (libfaketime would have to be installed, and would move what uvloop reads of the monotonic clock.)
"""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.cli.running import Run, free_port, http
from tests.crash.flood import MANIFESTS
from tests.crash.receiver import Moods, Receiver

_MOVED = """
import datetime, pathlib, time
told, right = pathlib.Path({file!r}), time.time
time.time = lambda: right() + float(told.read_text())
time.time_ns = lambda: int(time.time() * 1e9)
import argosy.clock
argosy.clock.SystemClock.now = lambda self: datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
from argosy.cli.main import main
main()
"""


def test_when_the_clock_is_set_every_action_is_done_once_and_in_order(tmp_path: Path) -> None:
    clock, port, sent = tmp_path / "clock", free_port(), list[str]()
    run = Run(tmp_path)
    run.program = ["-c", _MOVED.format(file=str(clock))]

    def set_clock(seconds: int) -> None:
        new = clock.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(clock)

    def post(count: int) -> None:
        for _ in range(count):
            sent.append(f"post {len(sent)}")
            assert http(f"http://127.0.0.1:{port}/in", json.dumps({"id": sent[-1]}).encode())[0] == 200

    with Receiver(seed=3, moods=Moods(errors=0.4)) as receiver:
        run.write("all.yaml", MANIFESTS.format(port=port, receiver=receiver.url))

        def all_done() -> bool:
            return receiver.count("/post") >= len(sent)

        try:
            # Given a run with actions that fail now and then
            set_clock(0)
            run.start()
            run.until_ready()
            post(10)

            # When the clock jumps ahead and back, under way and over a death
            set_clock(3600)
            post(10)
            run.until(all_done)
            post(10)
            set_clock(-3600)
            post(10)
            run.until(all_done)
            post(10)
            run.end(signal.SIGKILL)
            set_clock(3600)
            run.start()
            run.until_ready()
            post(10)
            run.end(signal.SIGKILL)
            set_clock(-3600)
            run.start()
            run.until_ready()
            post(10)

            # Then all is done, once, in order
            run.until(all_done)
            assert [effect.body["id"] for effect in receiver.at("/post")] == sent
            assert receiver.unwell["errors"] > 0
            assert receiver.faults == []
            assert run.end() == 0
        finally:
            run.end(signal.SIGKILL)
