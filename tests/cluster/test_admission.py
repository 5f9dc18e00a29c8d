"""A real API server asks a real webhook over TLS: what people read, what gets through, and what never stands still."""

from __future__ import annotations

import base64
import contextlib
import copy
import datetime as dt
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from argosy.kubernetes.admission.certificates import renewed
from argosy.kubernetes.admission.configuration import NAME, PATH, SECRET
from argosy.kubernetes.crds import definitions
from tests.cluster.webhooks import Webhook, account, asked, free_port, not_asked, path_of, running
from tests.examples import snippets
from tests.examples.snippets import ROOT
from tests.kubernetes.apiserver import ApiError, ApiServer
from tests.missing import missing
from tests.unit.kubernetes.asking import BUS, SENSOR, SOURCE, Object, of, question
from tests.unit.kubernetes.test_admission_corpus import CORPUS, REFUSED, needs_corpus, ours

_KUBECTL = Path(sys.executable).with_name("kubectl")
_CONFIGURATION = path_of()


def until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not come true"
        time.sleep(0.05)


class Place(NamedTuple):
    """A namespace whose objects are judged, and the process that does."""

    server: ApiServer
    namespace: str
    webhook: Webhook
    kubeconfig: Path
    """Of the webhook's account."""
    folder: Path

    def kubectl(self, *words: str, given: Object | None = None) -> tuple[int, str, str]:
        """Exit code, output and what it complains of, of the real kubectl as an administrator."""
        if not _KUBECTL.exists():
            missing("kubectl is not installed; make test-cluster brings it")
        config = self.server.kubeconfig(self.folder / "administrator", namespace=self.namespace)
        done = subprocess.run(
            [_KUBECTL, f"--kubeconfig={config}", *words],
            input="" if given is None else json.dumps(self.here(given)),
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout, done.stderr

    def here(self, item: Object) -> Object:
        """The object, in this namespace."""
        made = copy.deepcopy(item)
        made["metadata"]["namespace"] = self.namespace
        return made

    def apply(self, item: Object, query: str = "") -> Any:
        """Create or change the object. Raises ApiError."""
        made = self.here(item)
        path = self.server.path(made) + f"?fieldManager=tests&force=true{query}"
        return self.server.request("PATCH", path, made, content="application/apply-patch+yaml")

    def delete(self, item: Object, query: str = "") -> None:
        self.server.request("DELETE", self.server.path(self.here(item)) + query)

    def there(self, item: Object) -> bool:
        """Whether the API server has it."""
        try:
            self.server.request("GET", self.server.path(self.here(item)))
        except ApiError as error:
            assert error.status == 404, error
            return False
        return True

    def judged(self) -> bool:
        """Whether the API server asks the webhook, and gets an answer."""
        try:
            self.apply(of("EventBus probe\nnothing: right"), "&dryRun=All")
        except ApiError as error:
            return "is not valid" in str(error)
        return False


@pytest.fixture(scope="module")
def place(apiserver: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The webhook of a namespace, as installed: with its rights, a certificate of its own, and judging."""
    for one in definitions():
        apiserver.apply_yaml(json.dumps(one))
    with _judged(apiserver, tmp_path_factory.mktemp("admission")) as place:
        yield place


@contextlib.contextmanager
def _judged(server: ApiServer, folder: Path, *words: str, name: str = NAME) -> Iterator[Place]:
    namespace = server.namespace()
    kubeconfig = server.kubeconfig(folder / "kubeconfig", account(server, namespace, name), namespace=namespace)
    port = free_port()
    asked(server, namespace, port, name)
    try:
        with running(kubeconfig, namespace, folder, *words, "--configuration", name, port=port) as webhook:
            place = Place(server, namespace, webhook, kubeconfig, folder)
            until(webhook.ready, "the webhook is ready")
            until(place.judged, "the API server asks the webhook")
            yield place
    finally:
        not_asked(server, name)


@pytest.fixture
def clean(place: Place) -> Iterator[Place]:
    """The namespace without objects of ours before and after."""
    yield place
    for item in (SENSOR, SOURCE, BUS):
        if place.there(item):
            place.delete(item)
    until(lambda: not any(place.there(item) for item in (SENSOR, SOURCE, BUS)), "all is gone")


# What people read


def test_kubectl_shows_what_is_wrong_and_what_was_meant(clean: Place) -> None:
    clean.apply(BUS)
    clean.apply(SOURCE)
    # When a sensor is applied that names its source, a field and a kind of trigger wrongly
    wrong = copy.deepcopy(SENSOR)
    wrong["spec"]["dependencies"][0] |= {"eventSourceName": "ordres", "filter": {}}
    code, _, said = clean.kubectl("apply", "-f", "-", given=wrong)
    assert code == 1
    assert any(line.startswith('The Sensor "billing" is invalid: ') for line in said.splitlines())
    assert "spec.dependencies[0].filter: unknown field 'filter'; did you mean 'filters'? [unknown-field]" in said
    # And with that mended
    del wrong["spec"]["dependencies"][0]["filter"]
    code, _, said = clean.kubectl("apply", "-f", "-", given=wrong)
    assert (code, said.splitlines()[-1]) == (
        1,
        'The Sensor "billing" is invalid: spec.dependencies[0].eventSourceName: there is no EventSource'
        f" 'ordres' in namespace '{clean.namespace}'; did you mean 'orders'? [unknown-event-source]",
    )
    assert not clean.there(SENSOR)


def test_kubectl_shows_warnings_and_the_order_does_not_matter(clean: Place) -> None:
    # Given a sensor before its bus, its source and its account
    code, said, warned = clean.kubectl("apply", "-f", "-", given=SENSOR)
    assert (code, said) == (0, "sensor.argoproj.io/billing created\n")
    lines = warned.splitlines()
    assert all(line.startswith("Warning: spec.") for line in lines)
    for text in ("no EventBus 'default'", "no EventSource 'orders'", "no ServiceAccount 'sensors'"):
        assert sum(text in line for line in lines) == 1, warned
    # When the rest comes
    clean.server.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sensors", "namespace": clean.namespace}}
    )
    for item in (SOURCE, BUS):
        assert clean.kubectl("apply", "-f", "-", given=item)[0] == 0
    # Then there is nothing left to say, at once
    labelled = copy.deepcopy(SENSOR)
    labelled["spec"]["triggers"][0]["template"]["http"]["method"] = "PUT"
    assert clean.kubectl("apply", "-f", "-", given=labelled)[1:] == ("sensor.argoproj.io/billing configured\n", "")


def test_a_dry_run_is_judged_and_leaves_nothing(clean: Place) -> None:
    wrong = copy.deepcopy(SOURCE)
    wrong["spec"]["webhook"]["created"]["prot"] = "1"
    assert clean.kubectl("create", "--dry-run=server", "-f", "-", given=wrong)[0] == 1
    assert clean.kubectl("create", "--dry-run=server", "-f", "-", given=SOURCE)[0] == 0
    assert not clean.there(SOURCE)


def test_a_bus_in_use_stays_and_who_takes_an_event_away_is_told(clean: Place) -> None:
    for item in (BUS, SOURCE, SENSOR):
        clean.apply(item)
    code, _, said = clean.kubectl("delete", "eventbus", "default")
    assert code == 1
    assert said.startswith(
        'Error from server (Forbidden): admission webhook "objects.admission.argosy.dev" denied the request: '
    )
    for one in ("EventSource 'orders'", "Sensor 'billing'"):
        assert one in said
    code, _, said = clean.kubectl("delete", "eventsource", "orders")
    assert (code, said) == (0, "Warning: event 'created' is taken away, and Sensor 'billing' waits for it\n")
    assert clean.kubectl("delete", "sensor", "billing")[0] == 0
    # And nobody uses it any more, whatever the webhook has heard of that so far
    assert clean.kubectl("delete", "eventbus", "default")[0] == 0


def test_the_page_shows_what_is_shown(clean: Place, tmp_path: Path) -> None:
    # Given a reader of the page, with its files
    page = ROOT / "docs" / "how-to" / "admission.md"
    for name, text in snippets.files(page).items():
        (tmp_path / name).write_text(text)
    clean.kubectl("version")
    config = clean.folder / "administrator"
    path = os.pathsep.join([str(_KUBECTL.parent), os.environ["PATH"]])
    environment = {**os.environ, "KUBECONFIG": str(config), "PATH": path}
    steps = [step for one in snippets.read(page) if one.mark == "on a cluster" for step in snippets.steps(one)]
    assert len(steps) == 4
    for step in steps:
        # When a command is typed, then it prints what the page shows
        done = subprocess.run(
            ["bash", "-c", step.command],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        line = snippets.missing(step.shows, done.stdout)
        assert line is None, f"{step.command} does not print {line!r}:\n{done.stdout}"


# What gets through


def test_an_object_that_was_there_before_can_be_labelled_reported_on_and_let_go_of(clean: Place) -> None:
    # Given an object that is not valid, from before there was a webhook
    not_asked(clean.server)
    broken = of("EventSource orders\nnothing: {is: right}")
    broken["metadata"]["finalizers"] = ["tests/keep"]
    until(lambda: not clean.judged(), "nobody is asked")
    clean.apply(broken)
    asked(clean.server, clean.namespace, clean.webhook.port)
    until(clean.judged, "the webhook is asked again", seconds=40)
    # When it is labelled, its status is written, it is deleted and let go of
    path = clean.server.path(clean.here(broken))
    merge = "application/merge-patch+json"
    clean.server.request("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, content=merge)
    clean.server.request("PATCH", f"{path}/status", {"status": {"events": 1}}, content=merge)
    with pytest.raises(ApiError, match="unknown field"):
        clean.server.request("PATCH", path, {"spec": {"more": 1}}, content=merge)
    clean.server.request("DELETE", path)
    assert clean.there(broken)
    clean.server.request("PATCH", path, {"metadata": {"finalizers": None}}, content=merge)
    # Then it is gone
    assert not clean.there(broken)


@needs_corpus
def test_every_example_of_upstream_is_created(clean: Place) -> None:
    found = ours(CORPUS / "argo-events-examples")
    refused = set()
    for file, item in found:
        made = clean.here(item)
        made["metadata"].pop("generateName", None)
        try:
            clean.server.request("POST", clean.server.path(made).rpartition("/")[0] + "?dryRun=All", made)
        except ApiError as error:
            assert "is not valid" in str(error) or "Required value" in str(error), error
            refused.add(file)
    assert len(found) >= 120
    assert refused == set(REFUSED)


def test_what_belongs_to_another_controller_and_other_kinds_pass(clean: Place) -> None:
    theirs = of("EventSource orders\nnothing: {is: right}")
    theirs["metadata"]["annotations"] = {"argosy.dev/controller": "argo-events"}
    clean.apply(theirs)
    before = clean.webhook.get("/metrics")[1].count("\n")
    clean.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}})
    workflow = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "w"}, "spec": {}}
    clean.apply(workflow)
    # And the webhook was not even asked
    assert clean.webhook.get("/metrics")[1].count("\n") == before
    assert 'kind="Workflow"' not in clean.webhook.get("/metrics")[1]


def test_while_the_webhook_is_away_only_specs_of_ours_are_refused(
    apiserver: ApiServer, place: Place, tmp_path: Path
) -> None:
    # Given a webhook that ended, and an object from before
    place.apply(SOURCE)
    asked(apiserver, place.namespace, free_port())
    other = copy.deepcopy(SOURCE)
    other["metadata"]["name"] = "others"
    try:

        def refused() -> bool:
            try:
                place.apply(other, "&dryRun=All")
            except ApiError as error:
                return "failed calling webhook" in str(error)
            return False

        until(refused, "nobody answers")
        # Then other kinds come and go, ours are labelled, and an event source may go
        place.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "d"}, "data": {"a": "b"}})
        labelled = copy.deepcopy(SOURCE)
        labelled["metadata"]["labels"] = {"a": "b"}
        assert place.apply(labelled)["metadata"]["labels"] == {"a": "b"}
        place.delete(SOURCE)
    finally:
        asked(apiserver, place.namespace, place.webhook.port)
        until(lambda: _trusted(apiserver), "the webhook is trusted again")
        until(place.judged, "the webhook is asked again")


def _trusted(server: ApiServer) -> bool:
    webhooks = server.request("GET", _CONFIGURATION)["webhooks"]
    return all(one["clientConfig"].get("caBundle") for one in webhooks)


# What never stands still


class Steady:
    """Dry runs without a pause, in a thread, until it is ended. ``failed`` are those that were not answered."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.failed: list[str] = []
        self.done = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                self._place.apply(SOURCE, "&dryRun=All")
            except (ApiError, OSError) as error:
                self.failed.append(str(error))
            self.done += 1

    def __enter__(self) -> Steady:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        self._thread.join(30)


def shown(port: int) -> str:
    """The certificate that is shown at this port now."""
    return ssl.get_server_certificate(("127.0.0.1", port))


def test_certificates_and_authorities_change_under_requests_and_none_fails(
    apiserver: ApiServer, tmp_path: Path
) -> None:
    # Given certificates that live a few seconds, and two replicas that share them
    days = 1 / 86400
    words = ("--certificate-days", str(6 * days), "--authority-days", str(30 * days))
    name = "argosy-rotating"
    with _judged(apiserver, tmp_path, *words, name=name) as place:
        with running(place.kubeconfig, place.namespace, tmp_path, *words, "--configuration", name) as second:
            until(second.ready, "the second replica is ready")
            assert shown(second.port) == shown(place.webhook.port)
            certificates, bundles = {shown(place.webhook.port)}, set()
            # When the API server asks all the time, while both change
            with Steady(place) as steady:

                def changed() -> bool:
                    certificates.add(shown(place.webhook.port))
                    webhooks = apiserver.request("GET", path_of(name))["webhooks"]
                    bundles.add(webhooks[0]["clientConfig"]["caBundle"])
                    return len(certificates) >= 5 and len(bundles) >= 2

                until(changed, "the certificate changed four times and the authority once", seconds=60)
                asked_until = steady.done
                until(lambda: steady.done > asked_until + 20, "more is asked after that")
            # Then all was answered
            assert steady.failed == []
            assert steady.done > 50
            until(lambda: shown(second.port) == shown(place.webhook.port), "both replicas show the same")
            assert any(base64.b64decode(one).count(b"BEGIN") == 2 for one in bundles)
            for each in (place.webhook, second):
                assert "PRIVATE" not in each.log


def test_a_replica_takes_over_while_the_other_ends_and_answers_what_it_was_asked(place: Place) -> None:
    # Given two replicas, of which the API server asks one
    with running(place.kubeconfig, place.namespace, place.folder) as second:
        until(second.ready, "the second replica is ready")
        bundle = place.server.request("GET", _CONFIGURATION)["webhooks"][0]["clientConfig"]["caBundle"]
        try:
            with Steady(place) as steady:
                until(lambda: steady.done > 5, "some are answered")
                # When it is sent to the other one, and the second ends
                for port in (second.port, place.webhook.port):
                    _send_to(place, port, bundle)
                    done = steady.done
                    until(lambda done=done: steady.done > done + 10, "more is asked")
                assert second.end(signal.SIGTERM) == 0
            # Then nothing was left unanswered
            assert steady.failed == []
            assert "drained" in second.log
        finally:
            _send_to(place, place.webhook.port, bundle)


def _send_to(place: Place, port: int, bundle: str) -> None:
    client = {"url": f"https://127.0.0.1:{port}{PATH}", "caBundle": bundle}
    names = [one["name"] for one in place.server.request("GET", _CONFIGURATION)["webhooks"]]
    webhooks = [{"name": name, "clientConfig": client} for name in names]
    content = "application/strategic-merge-patch+json"
    place.server.request("PATCH", _CONFIGURATION, {"webhooks": webhooks}, content=content)


# What an attacker, or an accident, sends


def post(place: Place, body: bytes, *, media: str = "application/json", query: str = "?timeout=10s") -> tuple[int, Any]:
    """What the webhook answers to a request that is not the API server's."""
    secret = place.server.request("GET", f"/api/v1/namespaces/{place.namespace}/secrets/{SECRET}")
    trusted = ssl.create_default_context(cadata=base64.b64decode(secret["data"]["ca.crt"]).decode())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted))
    url = f"https://127.0.0.1:{place.webhook.port}{PATH}{query}"
    request = urllib.request.Request(url, body, {"Content-Type": media})
    try:
        with opener.open(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_what_is_no_question_gets_a_status_that_says_so(place: Place) -> None:
    assert post(place, b"{}", media="text/plain")[0] == 415
    assert post(place, b"nonsense")[0] == 400
    assert post(place, b"{}") == (400, "this is no AdmissionReview")
    assert post(place, b"[" * 100_000)[0] == 400
    assert post(place, b" " * (8 * 1024 * 1024 + 1))[0] == 413


def test_an_object_cannot_hold_the_webhook(place: Place) -> None:
    # Given an object whose check takes longer than there is time, and one that is nested without end
    dependencies = [
        {"name": f"d{number}", "eventSourceName": f"source-{number}", "eventName": "e"} for number in range(60_000)
    ]
    heavy = copy.deepcopy(SENSOR)
    heavy["spec"]["dependencies"] = dependencies
    status, answer = post(place, json.dumps(question(heavy)).encode(), query="?timeout=3s")
    assert status == 200
    assert answer["response"]["allowed"] is False
    deep = json.dumps(question(SENSOR)).replace('"http":', f'"deep": {"[" * 900}{"]" * 900}, "http":')
    status, answer = post(place, deep.encode())
    assert status == 200
    assert answer["response"]["allowed"] is False
    # Then others are judged as ever
    until(place.judged, "others are judged")
    assert place.webhook.get("/readyz")[0] == 200


# What the webhook does not see


def test_without_the_api_server_the_object_itself_is_judged_still(apiserver: ApiServer, place: Place) -> None:
    # Given a webhook that knows the cluster, and then loses sight of it
    place.apply(SOURCE)
    until(lambda: post(place, json.dumps(question(SENSOR, namespace=place.namespace)).encode())[1], "it answers")
    slip = copy.deepcopy(SENSOR)
    slip["spec"]["dependencies"][0]["eventSourceName"] = "ordres"
    body = json.dumps(question(slip, namespace=place.namespace)).encode()
    until(lambda: not post(place, body)[1]["response"]["allowed"], "a misspelt source is refused")
    wrong = json.dumps(question(of("EventBus x\nnothing: right"), namespace=place.namespace)).encode()
    secret = place.server.request("GET", f"/api/v1/namespaces/{place.namespace}/secrets/{SECRET}")
    try:
        apiserver.kill()
        answers = [_straight(place, secret, each) for each in (body, wrong)]
    finally:
        apiserver.start()
    # Then what rests on others is only told, and what is wrong in itself refused
    assert answers[0]["response"]["allowed"] is True
    assert any("did you mean 'orders'?" in one for one in answers[0]["response"]["warnings"])
    assert answers[1]["response"]["allowed"] is False
    # And once the API server is there again, all is as before
    until(lambda: not post(place, body)[1]["response"]["allowed"], "a misspelt source is refused again")
    place.delete(SOURCE)


def _straight(place: Place, secret: Object, body: bytes) -> Any:
    trusted = ssl.create_default_context(cadata=base64.b64decode(secret["data"]["ca.crt"]).decode())
    handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted))
    url = f"https://127.0.0.1:{place.webhook.port}{PATH}?timeout=10s"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.build_opener(*handlers).open(request, timeout=30) as answer:
        return json.loads(answer.read())


def test_a_certificate_of_somebody_else_is_taken_up_when_it_changes(place: Place, tmp_path: Path) -> None:
    # Given a folder that somebody else keeps, as cert-manager's Secrets are mounted
    secret = place.server.request("GET", f"/api/v1/namespaces/{place.namespace}/secrets/{SECRET}")
    write(tmp_path, secret["data"]["tls.crt"], secret["data"]["tls.key"])
    with running(place.kubeconfig, place.namespace, tmp_path, "--cert-dir", str(tmp_path)) as other:
        until(other.ready, "it is ready")
        first = shown(other.port)
        # When another pair is put there
        made = renewed(None, ["127.0.0.1"], dt.datetime.now(dt.UTC))
        write(tmp_path, *(base64.b64encode(text.encode()).decode() for text in (made.certificate, made.key)))
        # Then it is shown, and whom the API server trusts is left alone
        until(lambda: shown(other.port) != first, "the other certificate is shown")
        bundle = place.server.request("GET", _CONFIGURATION)["webhooks"][0]["clientConfig"]["caBundle"]
        assert base64.b64decode(bundle).decode() != made.authorities


def write(folder: Path, certificate: str, key: str) -> None:
    (folder / "tls.key").write_bytes(base64.b64decode(key))
    (folder / "tls.crt").write_bytes(base64.b64decode(certificate))
