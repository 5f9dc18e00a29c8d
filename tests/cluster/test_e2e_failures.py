"""What goes wrong on a cluster while events come in: processes are killed, passwords change. Nothing is lost, nothing has to be restarted by hand."""

from __future__ import annotations

import os
import random
import secrets
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.brokers import rabbitmq as brokers
from tests.cluster.site import BROKER, WORKSHOP, Site, argosy
from tests.cluster.test_e2e_rolling import MANIFESTS, RATE, Load
from tests.cluster.test_e2e_workshop import started
from tests.cluster.whole import Cluster

pytestmark = pytest.mark.timeout(400)


def of_two(site: Site, folder: Path) -> Path:
    """The manifests of the relay, but that two pods of the event source of messages elect who receives, as an account of their own."""
    documents = list(yaml.safe_load_all((MANIFESTS / "all.yaml").read_text()))
    for each in documents:
        each["metadata"]["namespace"] = site.namespace
        if each["kind"] == "EventSource" and "amqp" in each["spec"]:
            each["spec"] |= {"replicas": 2, "template": {"serviceAccountName": "receiver"}}
    path = folder / "all.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return path


@pytest.mark.parametrize("mode", ["dedicated", "shared"])
def test_no_event_is_lost_while_every_process_is_killed(
    cluster: Cluster, rabbitmq: brokers.RabbitMQ, sites: list[Site], mode: str, tmp_path: Path, record_property: Any
) -> None:
    # Given a namespace that passes on what comes in, with just the rights that `argosy rbac` prints
    site = Site(cluster, rabbitmq, mode=mode)
    sites.append(site)
    load = Load(rabbitmq)
    try:
        site.install()
        site.lend_broker("relay")
        cluster.kubelet.more["ARGOSY_RESOLVE"] = (
            f"{BROKER}=127.0.0.1:{rabbitmq.port} receiver.workshop.example:8000=127.0.0.1:{load.port}"
        )
        manifests = of_two(site, tmp_path)
        cluster.kubectl("apply", "--server-side", "-f", "-", stdin=argosy("rbac", "-o", "yaml", str(manifests)))
        site.apply(manifests)
        site.until_ready()
        path = f"/api/v1/namespaces/{site.namespace}/services/requests-eventsource-svc"
        load.begin(cluster.server.request("GET", path)["spec"]["clusterIP"])

        # When every process is killed once, in any order, the next as soon as all are ready again
        first = cluster.kubelet.processes(site.namespace) | cluster.kubelet.processes(site.controllers)
        names = sorted(first)
        random.Random(7).shuffle(names)
        assert len(names) == 2 + 3 + (1 if mode == "shared" else 5)

        def recovered() -> bool:
            now = cluster.kubelet.processes(site.namespace) | cluster.kubelet.processes(site.controllers)
            ready = len(cluster.ready(site.namespace)) + len(cluster.ready(site.controllers))
            return now.keys() == first.keys() and ready == len(names)

        for name in names:
            before = (cluster.kubelet.processes(site.namespace) | cluster.kubelet.processes(site.controllers))[name]
            os.kill(before, signal.SIGKILL)
            site.until(
                lambda name=name, before=before: (
                    recovered()  # type: ignore[misc]
                    and (cluster.kubelet.processes(site.namespace) | cluster.kubelet.processes(site.controllers))[name]
                    != before
                ),
                f"{name} is back",
            )
        site.until_ready()

        # Then every event that was sent has come out
        result = load.end(60)
    finally:
        load.kill()
    told = {key: value for key, value in result.items() if key != "lost"}
    record_property("load", str(told))
    print(f"{mode}: {told}")
    assert result["lost"] == [], f"{len(result['lost'])} are lost; {told}; {result['lost'][:20]}"
    assert result["sent"] > 10 * RATE, told


@pytest.mark.parametrize("mode", ["dedicated", "shared"])
def test_a_password_that_changes_reaches_what_runs(
    cluster: Cluster, rabbitmq: brokers.RabbitMQ, sites: list[Site], mode: str
) -> None:
    # Given event sources that receive with the password of a Secret
    site = Site(cluster, rabbitmq, mode=mode)
    sites.append(site)
    site.install()
    site.lend_broker("machines")
    site.apply(*sorted(WORKSHOP.glob("*.yaml")))
    site.until_ready()
    report, wanted = started("lathe")
    site.report(report)
    site.until(lambda: site.made() == {wanted: 1}, "the first report is taken")

    # When the broker and the Secret get another one, and everybody has to log in again
    password = secrets.token_hex(8)
    rabbitmq.set_password("argo-machines", password)
    metadata = {"name": "machines-broker", "namespace": site.namespace}
    data = {"username": "argo-machines", "password": password}
    cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})
    rabbitmq.end_connections()
    report, again = started("press")
    site.report(report)

    # Then what runs goes on with the new one, and no container was started anew
    site.until(lambda: site.made() == {wanted: 1, again: 1}, "the second report is taken")
    restarts = [
        one["restartCount"]
        for each in cluster.kubelet.pods(site.namespace)
        for one in each["status"]["containerStatuses"]
    ]
    assert not any(restarts)
    # And nobody's log has told it
    assert password not in cluster.kubelet.log(site.namespace)
