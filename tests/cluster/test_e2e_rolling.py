"""Everything is replaced while events come in: controllers, pods, and the servers of the bus; nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import rabbitmq as brokers
from tests.cli.running import http
from tests.cluster.site import BROKER, Site
from tests.cluster.whole import Cluster

pytestmark = pytest.mark.timeout(400)

RATE = 200
MANIFESTS = Path(__file__).with_name("relay")


class Load:
    """The process that sends and takes: ``tests.cluster.steady``."""

    def __init__(self, rabbitmq: brokers.RabbitMQ | None) -> None:
        about = {"rate": RATE, "amqp": f"{rabbitmq.url}/relay" if rabbitmq else "", "exchange": "relay"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.steady", json.dumps(about)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        self.port: int = self._read()["port"]

    def begin(self, host: str, port: int = 12000) -> None:
        self._write({"webhook": [host, port, "/taken"]})

    def end(self, seconds: float) -> dict[str, Any]:
        self._write({"seconds": seconds})
        return self._read()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def _write(self, value: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()


def test_the_judge_names_what_is_lost_and_what_comes_twice() -> None:
    # Given a load, and somebody who passes on all but one request, and one twice
    load = Load(None)
    seen: set[str] = set()

    class PassesOn(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            number = json.loads(body)["number"]
            seen.add(number)
            times = {"http-3-5": 0, "http-2-5": 2}.get(number, 1)
            for _ in range(times):
                http(f"http://127.0.0.1:{load.port}/", body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), PassesOn) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            # When it has run for a while
            load.begin("127.0.0.1", server.server_port)
            while not {f"http-{one}-9" for one in range(8)} <= seen:
                time.sleep(0.05)
            result = load.end(0.5)
        finally:
            load.kill()
            server.shutdown()
    # Then just these are told
    assert (result["lost"], result["twice"], result["repeated"]) == (["http-3-5"], 1, 0)
    assert result["sent"] >= 8 * 9


@pytest.mark.parametrize("mode", ["dedicated", "shared"])
def test_no_event_is_lost_while_every_process_is_replaced(
    cluster: Cluster, rabbitmq: brokers.RabbitMQ, sites: list[Site], mode: str, record_property: Any
) -> None:
    # Given a namespace that passes on what comes in
    site = Site(cluster, rabbitmq, mode=mode)
    sites.append(site)
    load = Load(rabbitmq)
    try:
        site.install()
        site.lend_broker("relay")
        cluster.kubelet.more["ARGOSY_RESOLVE"] = (
            f"{BROKER}=127.0.0.1:{rabbitmq.port} receiver.workshop.example:8000=127.0.0.1:{load.port}"
        )
        site.apply(*MANIFESTS.glob("*.yaml"))
        site.until_ready()
        path = f"/api/v1/namespaces/{site.namespace}/services/requests-eventsource-svc"
        load.begin(cluster.server.request("GET", path)["spec"]["clusterIP"])
        before = set(cluster.kubelet.processes(site.namespace)) | set(cluster.kubelet.processes(site.controllers))

        # When the next version is installed, which replaces the controllers, and they all pods of ours
        site.install("--image", "argosy:two")

        def replaced() -> bool:
            pods = [*cluster.kubelet.pods(site.namespace), *cluster.kubelet.pods(site.controllers)]
            images = {each["spec"]["containers"][0]["image"] for each in pods}
            return "argosy:one" not in images and "argosy:two" in images

        site.until(replaced, "all pods are of the next version", seconds=120)
        site.until_ready()
        # And the servers of the bus are started anew, one after the other
        cluster.kubectl("rollout", "restart", "statefulset/eventbus-default-js", "-n", site.namespace)

        def restarted() -> bool:
            found = cluster.server.request(
                "GET", f"/apis/apps/v1/namespaces/{site.namespace}/statefulsets/eventbus-default-js"
            )
            status = found["status"]
            seen = status.get("observedGeneration") == found["metadata"]["generation"]
            new = status["currentRevision"] == status["updateRevision"] and status.get("updatedReplicas") == 3
            return seen and new and status.get("readyReplicas") == 3

        site.until(restarted, "the bus is restarted", seconds=180)
        after = set(cluster.kubelet.processes(site.namespace)) | set(cluster.kubelet.processes(site.controllers))
        same = {name for name in before & after if "eventbus-default-js" not in name}
        assert same == set()

        # Then every event that was sent has come out
        result = load.end(60)
    finally:
        load.kill()
    told = {key: value for key, value in result.items() if key != "lost"}
    record_property("load", json.dumps(told))
    print(f"{mode}: {told}")
    assert result["lost"] == [], f"{len(result['lost'])} are lost; {told}; {result['lost'][:20]}"
    assert result["sent"] > 10 * RATE, told
