"""Two processes that run one exclusive source elect by Lease at a real API server: one receives, the other stands by.

Whatever becomes of the one, the other goes on, and never do both receive. Each has a log of its own, so what a process received is what its
log holds.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from argosy.kubernetes.leases import lease_name
from argosy.kubernetes.rbac import manifests, plan
from argosy.manifests.bundle import load
from argosy.manifests.checks._needs import kinds_of
from tests.cli.running import Run, http
from tests.kubernetes.apiserver import ApiServer

UID = "6e0f5b9e-3c0f-4a52-9a35-0d6b4f1f2a10"
LEASE = lease_name("reports", "arrived")


class _Pod(Run):
    """A process with the name of a pod, which watches the folder that all of them watch."""

    def __init__(self, folder: Path, name: str, watched: Path, namespace: str) -> None:
        folder.mkdir()
        super().__init__(folder)
        self.name = name
        block = {
            "eventType": "CREATE",
            "watchPathConfig": {"directory": str(watched), "pathRegexp": "."},
            "polling": True,
        }
        about = {"name": "reports", "namespace": namespace, "uid": UID}
        source = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "EventSource",
            "metadata": about,
            "spec": {"replicas": 2, "template": {"serviceAccountName": "reports"}, "file": {"arrived": block}},
        }
        self.write("source.yaml", yaml.safe_dump(source))

    def received(self) -> float:
        return self.metric("argo_events_events_sent_total", eventsource_name="reports")

    def receives(self) -> bool:
        return self.metric("argo_events_event_service_running_total", eventsource_name="reports") == 1

    def stands_by(self) -> bool:
        return self.metric("argosy_sources_standing_by", eventsource_name="reports") == 1

    def status(self) -> dict[str, Any]:
        """What the API tells of the source."""
        api = json.loads((self.folder / "data" / "api.json").read_text())
        code, body = http(f"{api['url']}/api/v1/status", headers={"X-Argosy-Token": api["token"]})
        assert code == 200, body
        (found,) = json.loads(body)["objects"]
        return dict(found)


class _Site:
    """The pods of one source, and the folder that they watch."""

    def __init__(self, folder: Path, apiserver: ApiServer, namespace: str) -> None:
        self.apiserver = apiserver
        self.namespace = namespace
        self.watched = folder / "watched"
        self.watched.mkdir()
        self.pods = [_Pod(folder / name, name, self.watched, namespace) for name in ("pod-a", "pod-b")]
        # No rights but those that argosy rbac grants for it.
        user = apiserver.service_account(namespace, "reports")
        self.grant()
        self._kubeconfig = str(apiserver.kubeconfig(folder / "kubeconfig", user, namespace=namespace))
        self._files = 0

    def grant(self) -> None:
        """Apply what ``argosy rbac`` prints for the source."""
        bundle = load((str(self.pods[0].manifests),))
        for each in manifests(plan(bundle, kinds_of(bundle))):
            self.apiserver.apply(each)

    def start(self, pod: _Pod, **environment: str) -> None:
        pod.start({"KUBECONFIG": self._kubeconfig, "ARGOSY_ELECT": "lease", "POD_NAME": pod.name, **environment})

    def start_both(self, **environment: str) -> tuple[_Pod, _Pod]:
        """The first receives, the second stands by."""
        first, second = self.pods
        self.start(first, **environment)
        first.until(lambda: _asked(first.receives), "the first receives")
        self.start(second, **environment)
        second.until(lambda: _asked(second.stands_by), "the second stands by")
        return first, second

    def file(self) -> None:
        self._files += 1
        (self.watched / f"report-{self._files}").write_text("x")

    def lease(self) -> dict[str, Any]:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/{LEASE}"
        return dict(self.apiserver.request("GET", path))


def _asked(question: Callable[[], Any]) -> Any:
    """The answer, or nothing while nobody answers."""
    try:
        return question()
    except OSError:
        return None


@pytest.fixture
def site(tmp_path: Path, apiserver: ApiServer, namespace: str) -> Iterator[_Site]:
    site = _Site(tmp_path, apiserver, namespace)
    try:
        yield site
    finally:
        for pod in site.pods:
            pod.__exit__()


def test_one_receives_the_other_is_ready_and_takes_over_when_the_first_is_killed(site: _Site) -> None:
    # Given two processes of one source
    first, second = site.start_both()
    # Then the first receives, and the second is ready and says that it stands by
    site.file()
    first.until(lambda: first.received() == 1)
    assert second.waiting_for() == []
    told = second.status()
    assert told["ready"] is True
    assert told["waitingFor"] == "source 'reports/arrived' stands by: 'pod-a' receives"
    assert "lastEvent" not in told
    assert first.status()["waitingFor"] is None
    assert first.status()["lastEvent"]
    lease = site.lease()
    assert lease["spec"]["holderIdentity"] == "pod-a"
    assert lease["metadata"]["labels"]["eventsource-name"] == "reports"
    (owner,) = lease["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("EventSource", "reports", UID)
    # When the first is killed
    first.end(signal.SIGKILL)
    # Then the second receives, and has received nothing before
    second.until(second.receives, "the second takes over")
    assert not second.stands_by()
    assert second.received() == 0
    site.file()
    second.until(lambda: second.received() == 1)
    assert site.lease()["spec"]["leaseTransitions"] == 1
    # And the first, when it comes back, stands by
    site.start(first)
    first.until(lambda: _asked(first.stands_by), "the first stands by")
    site.file()
    second.until(lambda: second.received() == 2)
    assert first.received() == 0


def test_a_process_that_was_frozen_receives_nothing_more_when_it_wakes(site: _Site) -> None:
    # Given a process that stands still while the other takes over
    first, second = site.start_both()
    os.kill(first.pid, signal.SIGSTOP)
    try:
        second.until(second.receives, "the second takes over")
        for _ in range(5):
            site.file()
        second.until(lambda: second.received() == 5)
    finally:
        os.kill(first.pid, signal.SIGCONT)
    # When it goes on, then it stands by, and has received nothing of what came
    first.until(first.stands_by, "the first stands by")
    assert first.received() == 0
    assert second.receives()


def test_who_drains_hands_over_and_does_not_wait_for_the_lease_to_end(site: _Site) -> None:
    # Given a lease that would last for an hour
    hour = {
        "LEADER_ELECTION_LEASE_DURATION": "1h",
        "LEADER_ELECTION_RENEW_DEADLINE": "30m",
        "LEADER_ELECTION_RETRY_PERIOD": "200ms",
    }
    first, second = site.start_both(**hour)
    # When the holder drains
    assert first.end() == 0
    # Then nobody has to wait for that
    second.until(second.receives, "the second takes over", seconds=20)
    assert site.lease()["spec"]["holderIdentity"] == "pod-b"
    site.file()
    second.until(lambda: second.received() == 1)


def test_a_source_whose_turn_cannot_be_renewed_stops_and_the_process_goes_on(site: _Site) -> None:
    # Given two processes
    first, second = site.start_both()
    try:
        # When the API server goes away
        site.apiserver.kill()
        # Then nobody receives, and both live and say what they wait for
        first.until(lambda: not first.receives(), "the first stops")
        assert first.said("its turn is lost", "could not be renewed")
        assert first.get("/healthz") == (200, "ok")
        first.until(lambda: first.waiting_for() == ["source 'reports/arrived'"])
        assert "cannot be reached" in str(first.status()["waitingFor"])
        second.until(lambda: second.waiting_for() == ["source 'reports/arrived'"])
        assert not second.receives()
    finally:
        site.apiserver.start()
    # And when it is back one of them receives again
    first.until(lambda: [first.receives(), second.receives()].count(True) == 1, "one receives again")
    first.until(lambda: [first.stands_by(), second.stands_by()].count(True) == 1, "one stands by again")
    site.file()
    first.until(lambda: first.received() + second.received() == 1)


def test_whose_lease_is_given_to_another_stops_and_stands_by(site: _Site) -> None:
    first = site.pods[0]
    site.start(first)
    first.until(lambda: _asked(first.receives), "the first receives")
    # When somebody else is written into the lease, and goes on writing
    path = f"/apis/coordination.k8s.io/v1/namespaces/{site.namespace}/leases/{LEASE}"

    def take(number: int) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{number:06d}Z"
        spec = {"holderIdentity": "somebody", "renewTime": now}
        site.apiserver.request("PATCH", path, {"spec": spec}, content="application/merge-patch+json")

    take(1)
    # Then it stops
    first.until(lambda: not first.receives(), "the first stops")
    first.until(lambda: first.said("'somebody' has it now"))
    first.until(first.stands_by)
    assert "'somebody' receives" in first.status()["waitingFor"]
    # And has it again when that one is seen no more
    first.until(first.receives, "the first receives again")


def test_a_process_without_the_right_says_what_to_grant_and_begins_when_it_has_it(site: _Site) -> None:
    role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{site.namespace}/roles/argosy.{site.namespace}.reports"
    site.apiserver.request("DELETE", role)
    first = site.pods[0]
    site.start(first)
    first.until(lambda: _asked(first.waiting_for) == ["source 'reports/arrived'"])
    first.until(lambda: first.said("waits for its turn to receive", "--verb=get --resource=leases.coordination.k8s.io"))
    site.grant()
    first.until(first.receives, "it receives")


def test_a_run_that_is_not_asked_to_elect_needs_no_cluster(site: _Site) -> None:
    first = site.pods[0]
    first.start({"KUBECONFIG": "/nowhere"})
    first.until(lambda: _asked(first.receives), "it receives")
    assert first.metric("argosy_sources_standing_by") == 0
