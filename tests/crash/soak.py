"""The soak: many events, and everything that can be killed is killed, for as long as somebody likes. Prints a table; exit code 1 if anything is wrong.

    python -m tests.crash.soak --events 100000 --kills 100 --seed 7

Half of the events go through a run with two workers and the bus inside, half through one process and a nats-server that stands by itself
(``--bus`` chooses one). Then a webhook is flooded while its trigger stalls, and the memory is watched. What is killed, when, and what the receiver
does wrong follows from the seed. ``--minutes`` ends each course early: after its share of them nothing more is published, what was is finished
and judged.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.brokers.rabbitmq import RabbitMQ
from tests.crash.buses import BusInside, BusOutside
from tests.crash.course import Course, Plan, Result, judge
from tests.crash.flood import flood
from tests.crash.receiver import Moods
from tests.crash.rules import EVERYTHING

MOODS = Moods(lost_answers=0.004, resets=0.002, errors=0.004, busy=0.0003, slow=0.002)
WEIGHTS = {
    "argosy": 6,
    "worker": 5,
    "bus": 5,
    "rabbitmq": 3,
    "argosy while the bus is away": 2,
    "argosy while rabbitmq is away": 1,
    "halt argosy": 2,
    "halt worker": 2,
    "halt bus": 2,
    "halt rabbitmq": 2,
}
"""How often each is killed in comparison; ``halt`` is SIGSTOP and, a while later, SIGCONT. A run without workers dies itself instead."""


def kills(count: int, seed: int) -> list[str]:
    """What is killed, in this order: each at least once where ``count`` allows it."""
    chance = random.Random(seed)
    every = chance.sample(list(WEIGHTS), min(count, len(WEIGHTS)))
    rest = chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=count - len(every))
    order = [*every, *rest]
    chance.shuffle(order)
    return order


def play(
    events: int,
    kill_count: int,
    seed: int,
    where: str,
    folder: Path,
    rabbitmq: RabbitMQ,
    *,
    minutes: float = math.inf,
    told: Callable[[str], None] = lambda line: None,
) -> Result:
    """One course, judged: what is wrong is in the result's faults."""
    folder.mkdir()
    bus = BusOutside(folder / "nats") if where == "outside" else BusInside("--workers", "2")
    plan = Plan(
        count=events,
        kills=kills(kill_count, seed),
        seed=seed,
        moods=MOODS,
        patience_seconds=180,
        longest_seconds=minutes * 60,
    )
    result = Course(plan, EVERYTHING, folder, rabbitmq, bus).play(told=told)
    result.faults = judge(result, EVERYTHING)
    return result


def table(results: Sequence[tuple[str, Result]]) -> str:
    """The summary, a column for each course."""
    words = sorted({word for _, result in results for word in result.kills})
    rows: list[tuple[str, list[str]]] = [
        ("events taken from senders", [str(len(result.sent)) for _, result in results]),
        ("events on the log", [str(len(result.log)) for _, result in results]),
        ("effects", [str(sum(map(len, result.effects.values()))) for _, result in results]),
        ("kills and halts", [str(result.kills.total()) for _, result in results]),
        *((f"  {word}", [str(result.kills[word]) for _, result in results]) for word in words),
        ("lost", [str(sum("never" in fault for fault in result.faults)) for _, result in results]),
        ("duplicate effects", [str(sum(" times" in fault for fault in result.faults)) for _, result in results]),
        ("other faults", [str(sum(_other(fault) for fault in result.faults)) for _, result in results]),
        ("duplicate deliveries", [str(result.duplicates) for _, result in results]),
        *(
            (f"receiver: {name.replace('_', ' ')}", [str(result.unwell[name]) for _, result in results])
            for name in Moods._fields
        ),
        ("longest gap (s)", [f"{result.longest_gap_seconds:.1f}" for _, result in results]),
        ("most memory (MB)", [f"{result.most_memory / 2**20:.0f}" for _, result in results]),
        ("seconds", [f"{result.seconds:.0f}" for _, result in results]),
    ]
    lines = ["| | " + " | ".join(name for name, _ in results) + " |", "| --- |" + " --- |" * len(results)]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows)])


def _other(fault: str) -> bool:
    return "never" not in fault and " times" not in fault


def main() -> int:
    """The program; its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--minutes", type=float, default=math.inf, help="end after about so long")
    parser.add_argument("--flood", type=float, default=30, help="seconds of flood at the end")
    parser.add_argument("--bus", choices=["outside", "inside", "both"], default="both")
    wanted = parser.parse_args()
    places = ["inside", "outside"] if wanted.bus == "both" else [wanted.bus]
    print(f"seed {wanted.seed}", flush=True)
    results: list[tuple[str, Result]] = []
    began = time.monotonic()

    def told(line: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {line}", flush=True)

    with tempfile.TemporaryDirectory(prefix="argosy-soak-") as text, RabbitMQ(Path(text) / "rabbitmq") as rabbitmq:
        for number, where in enumerate(places):
            result = play(
                wanted.events // len(places),
                wanted.kills // len(places),
                wanted.seed + number,
                where,
                Path(text) / where,
                rabbitmq,
                minutes=wanted.minutes / len(places),
                told=told,
            )
            results.append((where, result))
        if wanted.flood:
            (Path(text) / "flood").mkdir()
            flooded = flood(wanted.flood, Path(text) / "flood")
            told(flooded.report())
    print(table(results))
    faults = [f"{where}: {fault}" for where, result in results for fault in result.faults]
    faults += [f"flood: {fault}" for fault in flooded.faults] if wanted.flood else []
    print(*faults[:50], f"seed {wanted.seed}: {len(faults)} faults", sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
