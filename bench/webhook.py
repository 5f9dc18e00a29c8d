"""Webhook → event log → sensor → action queue → log trigger, end to end, in real processes.

Events per second (until the last action is done) and the latency of a request (until its event is durable).
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2

MANIFESTS = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: web}}
spec:
  webhook:
    in: {{port: "{port}", endpoint: /in, method: POST}}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: bench}}
spec:
  dependencies:
    - name: in
      eventSourceName: web
      eventName: in
      filters:
        data:
          - {{path: body.kind, type: string, value: ["^order$"]}}
  triggers:
    - template: {{name: log, log: {{}}}}
"""
BODY = json.dumps({"kind": "order", "item": "x" * 400}).encode()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def _done(client: httpx2.AsyncClient, admin: str) -> int:
    for line in (await client.get(f"{admin}/metrics")).text.splitlines():
        if line.startswith("argo_events_action_triggered_total{"):
            return int(float(line.rpartition(" ")[2]))
    return 0


async def _measure(count: int, clients: int, url: str, admin: str) -> dict[str, float]:
    latencies: list[float] = []
    left = iter(range(count))
    async with httpx2.AsyncClient(timeout=60) as asking:
        while True:
            try:
                if (await asking.get(f"{admin}/readyz")).status_code == 200:
                    break
            except httpx2.TransportError:
                pass
            await asyncio.sleep(0.05)
        before = await _done(asking, admin)

        async def send() -> None:
            async with httpx2.AsyncClient(timeout=60) as client:
                for _ in left:
                    began = time.perf_counter()
                    answer = await client.post(url, content=BODY, headers={"Content-Type": "application/json"})
                    answer.raise_for_status()
                    latencies.append(time.perf_counter() - began)

        began = time.perf_counter()
        await asyncio.gather(*(send() for _ in range(clients)))
        sent = time.perf_counter() - began
        while await _done(asking, admin) - before < count:  # noqa: ASYNC110 - another process counts
            await asyncio.sleep(0.02)
        ended = time.perf_counter() - began
    latencies.sort()
    return {
        "accepted per second": count / sent,
        "done per second, end to end": count / ended,
        "request p50 ms": latencies[len(latencies) // 2] * 1000,
        "request p99 ms": latencies[int(len(latencies) * 0.99)] * 1000,
    }


def measure(count: int, clients: int) -> dict[str, dict[str, float]]:
    """By engine of the bus: what ``_measure`` gives."""
    found: dict[str, dict[str, float]] = {}
    for engine in ("memory", "embedded"):
        with tempfile.TemporaryDirectory(prefix="argosy-bench-") as name:
            folder = Path(name)
            port, admin = _free_port(), _free_port()
            (folder / "m.yaml").write_text(MANIFESTS.format(port=port))
            command = [sys.executable, "-m", "argosy.cli.main", "run", str(folder / "m.yaml"), "--bus", engine]
            command += ["--no-reload", "--log-level", "error", "--data", str(folder / "data")]
            command += ["--host", "127.0.0.1", "--admin", f"127.0.0.1:{admin}"]
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            try:
                url = f"http://127.0.0.1:{port}/in"
                found[engine] = asyncio.run(_measure(count, clients, url, f"http://127.0.0.1:{admin}"))
            finally:
                process.terminate()
                process.wait(30)
    return found
