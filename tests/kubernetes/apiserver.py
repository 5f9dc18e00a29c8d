"""A real Kubernetes API for tests: etcd and kube-apiserver as child processes on loopback.

``ApiServer`` makes its certificates, starts both servers on free ports with everything they own in one
folder, waits until ``/readyz`` says yes, and ends them by pid. The API server can be killed and started
again on the same ports with its data kept. RBAC is on, so a test can prove that a list of rights is enough:
``service_account`` grants just those.

What is *not* there: the controller manager, a scheduler, a kubelet. So nothing is garbage collected, a
deleted namespace stays ``Terminating``, a Deployment makes no pods and a new namespace has no ``default``
service account. Use a fresh namespace per test (``namespace()``) and delete none.

``tools/servers/install`` brings the binaries.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from tests.kubernetes import certificates

_ROOT = Path(__file__).resolve().parents[2]
_READY_SECONDS = 90.0
_CRDS = Path(__file__).with_name("crds.yaml")


class NotThere(Exception):
    """A server that the tests need is not installed. The message says how to get it."""


class ApiError(Exception):
    """The API server refused a request. ``status`` is the HTTP code, the message its own sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


def find() -> tuple[Path, Path]:
    """The etcd and kube-apiserver binaries. Raises NotThere."""
    installer = [sys.executable, str(_ROOT / "tools/servers/install"), "--where", "etcd", "kube-apiserver"]
    asked = subprocess.run(installer, capture_output=True, text=True)
    if asked.returncode:
        raise NotThere(asked.stderr.strip())
    etcd, apiserver = asked.stdout.split("\n")[:2]
    return Path(etcd), Path(apiserver)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _child(arguments: Sequence[str | Path], log: Path) -> subprocess.Popen[bytes]:
    # setpriv ends the server when the test run is killed: a SIGKILLed pytest cleans up nothing itself.
    wrapper = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    with log.open("ab") as output:
        return subprocess.Popen(
            [*wrapper, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )


def _end(process: subprocess.Popen[bytes] | None, how: signal.Signals = signal.SIGKILL) -> None:
    if process is None:
        return
    if process.poll() is None:
        process.send_signal(how)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class ApiServer:
    """One Kubernetes API, a context manager. ``url`` and ``ca`` tell clients where it is and whom to trust.

    Users that it knows from the start: ``admin`` may do everything, ``nobody`` nothing.
    """

    def __init__(self, folder: Path, *, cluster: bool = False, services: str = "10.0.0.0/24") -> None:
        """Everything the servers write goes to ``folder``. Raises NotThere if a binary is missing.

        ``cluster`` is for a server beside which a controller manager runs: pods get a service account and its token.
        ``services`` are the addresses that Services get.
        """
        self._etcd_binary, self._binary = find()
        self._cluster = cluster
        self._services = services
        self.folder = folder
        self.tokens = {name: secrets.token_hex(16) for name in ("admin", "nobody")}
        self._etcd: subprocess.Popen[bytes] | None = None
        self._api: subprocess.Popen[bytes] | None = None
        self._ports: list[int] = []
        self._made = 0

    def __enter__(self) -> Self:
        certificates.make(self.folder)
        self.ca = self.folder / "ca.crt"
        groups = {"admin": "system:masters", "nobody": "tests:nobody"}
        (self.folder / "tokens.csv").write_text(
            "".join(f'{token},{name},{name},"{groups[name]}"\n' for name, token in self.tokens.items())
        )
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(self.ca))),
        )
        # Between choosing a free port and listening on it somebody else may take it; then others are tried.
        for attempt in range(3):
            self._ports = _free_ports(3)
            try:
                self.start()
                return self
            except ChildProcessError:
                self.__exit__()
                if attempt == 2:
                    raise
        raise AssertionError

    def __exit__(self, *exc: object) -> None:
        _end(self._api)
        _end(self._etcd, signal.SIGTERM)
        self._api = self._etcd = None

    @property
    def url(self) -> str:
        """``https://127.0.0.1:port``; the same after a restart."""
        return f"https://127.0.0.1:{self._ports[2]}"

    def start(self) -> None:
        """Start what does not run, and return when the API is ready. Raises ChildProcessError with the
        log's end. Belongs to the main thread: the servers end with the thread that started them."""
        client, peer, secure = self._ports
        if self._etcd is None:
            self._etcd = _child(
                [
                    self._etcd_binary,
                    f"--data-dir={self.folder / 'etcd'}",
                    f"--listen-client-urls=http://127.0.0.1:{client}",
                    f"--advertise-client-urls=http://127.0.0.1:{client}",
                    f"--listen-peer-urls=http://127.0.0.1:{peer}",
                    f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
                    f"--initial-cluster=default=http://127.0.0.1:{peer}",
                ],
                self.folder / "etcd.log",
            )
        if self._api is None:
            files = {name: self.folder / name for name in ("server.crt", "server.key", "sa.key", "sa.pub")}
            self._api = _child(
                [
                    self._binary,
                    f"--etcd-servers=http://127.0.0.1:{client}",
                    "--bind-address=127.0.0.1",
                    # Else it looks for a way out of this machine, which a network of its own has not.
                    "--advertise-address=127.0.0.1",
                    f"--secure-port={secure}",
                    f"--tls-cert-file={files['server.crt']}",
                    f"--tls-private-key-file={files['server.key']}",
                    f"--client-ca-file={self.ca}",
                    "--service-account-issuer=https://kubernetes.default.svc",
                    f"--service-account-key-file={files['sa.pub']}",
                    f"--service-account-signing-key-file={files['sa.key']}",
                    f"--token-auth-file={self.folder / 'tokens.csv'}",
                    "--authorization-mode=RBAC",
                    f"--service-cluster-ip-range={self._services}",
                    # No controller manager makes the `default` account that this plug-in insists on for pods.
                    *([] if self._cluster else ["--disable-admission-plugins=ServiceAccount"]),
                    # The `kubernetes` Service may not point at loopback, and nobody needs it here.
                    "--endpoint-reconciler-type=none",
                    "--allow-privileged=true",
                    "--profiling=false",
                ],
                self.folder / "kube-apiserver.log",
            )
        self._await_ready()

    def kill(self) -> None:
        """SIGKILL the API server. Its data stays; ``start`` brings it back on the same port."""
        _end(self._api)
        self._api = None

    def restart(self) -> None:
        """Kill the API server and start it again; every watch breaks."""
        self.kill()
        self.start()

    def forget(self) -> None:
        """Let go of all that is past, as a server does every few minutes, and start again without memory of it."""
        self.kill()
        store = f"http://127.0.0.1:{self._ports[0]}/v3/kv"
        found = self._post(f"{store}/range", {"key": "AA=="})
        self._post(f"{store}/compaction", {"revision": found["header"]["revision"], "physical": True})
        self.start()

    def _post(self, url: str, body: object) -> Any:
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with self._opener.open(request, timeout=20) as answer:
            return json.load(answer)

    def _await_ready(self) -> None:
        assert self._api and self._etcd
        end = time.monotonic() + _READY_SECONDS
        answer = "nothing listens"
        while time.monotonic() < end:
            for process, name in ((self._etcd, "etcd"), (self._api, "kube-apiserver")):
                if process.poll() is not None:
                    raise ChildProcessError(f"{name} ended with code {process.returncode}:\n{self._tail(name)}")
            try:
                self.request("GET", "/readyz")
                # `readyz` waits for the roles that the server writes itself, not for its namespaces.
                self.request("GET", "/api/v1/namespaces/default")
                return
            except (ApiError, OSError) as error:
                answer = str(error)
            time.sleep(0.1)
        raise ChildProcessError(f"kube-apiserver is not ready: {answer}\n{self._tail('kube-apiserver')}")

    def _tail(self, name: str) -> str:
        return "\n".join((self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-20:])

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        user: str = "admin",
        content: str = "application/json",
    ) -> Any:
        """One API request as ``user``; the decoded answer. Raises ApiError when refused, OSError when not
        there."""
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {self.tokens[user]}", "Content-Type": content},
        )
        try:
            with self._opener.open(request, timeout=30) as response:
                answer = response.read()
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            try:
                text = json.loads(text)["message"]
            except (ValueError, KeyError, TypeError):
                text = text or error.reason
            raise ApiError(error.code, text) from None
        return json.loads(answer) if answer[:1] in (b"{", b"[") else answer.decode()

    def path(self, manifest: Mapping[str, Any], *, subresource: str = "") -> str:
        """The URL path of the object that ``manifest`` describes. Raises ApiError 404 if its kind is not
        served."""
        version = manifest["apiVersion"]
        base = f"/apis/{version}" if "/" in version else f"/api/{version}"
        for resource in self.request("GET", base)["resources"]:
            if resource["kind"] == manifest["kind"] and "/" not in resource["name"]:
                break
        else:
            raise ApiError(404, f"no resource of kind {manifest['kind']!r} in {version}")
        where = ""
        if resource["namespaced"]:
            where = f"/namespaces/{manifest['metadata'].get('namespace', 'default')}"
        suffix = f"/{subresource}" if subresource else ""
        return f"{base}{where}/{resource['name']}/{manifest['metadata']['name']}{suffix}"

    def apply(self, manifest: Mapping[str, Any]) -> Any:
        """Create or update one object by server-side apply, and return it."""
        return self.request(
            "PATCH",
            self.path(manifest) + "?fieldManager=tests&force=true",
            manifest,
            content="application/apply-patch+yaml",
        )

    def apply_yaml(self, text: str) -> list[Any]:
        """Apply every document of ``text``, and wait until the CRDs among them are served."""
        applied = [self.apply(document) for document in yaml.safe_load_all(text) if document]
        for each in applied:
            if each["kind"] == "CustomResourceDefinition":
                self._await_served(each)
        return applied

    def apply_argo_workflows(self) -> None:
        """Serve the kinds of Argo Workflows that triggers create: Workflow, WorkflowTemplate, CronWorkflow,
        ..."""
        self.apply_yaml(_CRDS.read_text())

    def apply_crd(self, crd: Mapping[str, Any]) -> None:
        """Apply a CustomResourceDefinition, and wait until its kind is served."""
        self.apply(crd)
        self._await_served(crd)

    def _await_served(self, crd: Mapping[str, Any]) -> None:
        spec = crd["spec"]
        groups, plural = [f"/apis/{spec['group']}/{each['name']}" for each in spec["versions"]], spec["names"]["plural"]
        end = time.monotonic() + 30
        while True:
            try:
                for group in groups:
                    self.request("GET", f"{group}/{plural}")
                    # What is served is listed a moment later, and clients go by the list.
                    if plural not in {each["name"] for each in self.request("GET", group)["resources"]}:
                        raise ApiError(404, f"{group} does not list {plural} yet")
                return
            except ApiError as error:
                if error.status != 404 or time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def namespace(self, name: str = "") -> str:
        """Make a new namespace and return its name."""
        self._made += 1
        name = name or f"test-{self._made}-{secrets.token_hex(3)}"
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return name

    def service_account(self, namespace: str, name: str, rules: Sequence[Mapping[str, Any]] = ()) -> str:
        """Make a service account that may do just ``rules`` in its namespace; the user name for
        ``kubeconfig``."""
        metadata = {"namespace": namespace, "name": name}
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata}
        binding = {
            **role,
            "kind": "RoleBinding",
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        }
        for each in (account, {**role, "rules": list(rules)}, binding):
            self.apply(each)
        token = self.request(
            "POST",
            self.path(account, subresource="token"),
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
        )
        user = f"system:serviceaccount:{namespace}:{name}"
        self.tokens[user] = token["status"]["token"]
        return user

    def kubeconfig(self, path: Path, user: str = "admin", *, namespace: str = "default") -> Path:
        """Write a kubeconfig of ``user`` to ``path`` and return the path."""
        context = {"cluster": "tests", "user": user, "namespace": namespace}
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [
                        {
                            "name": "tests",
                            "cluster": {"server": self.url, "certificate-authority": str(self.ca)},
                        }
                    ],
                    "users": [{"name": user, "user": {"token": self.tokens[user]}}],
                    "contexts": [{"name": "tests", "context": context}],
                    "current-context": "tests",
                }
            )
        )
        path.chmod(0o600)
        return path


@contextlib.contextmanager
def running(folder: Path) -> Iterator[ApiServer]:
    """An API server with the kinds of Argo Workflows served."""
    with ApiServer(folder) as server:
        server.apply_argo_workflows()
        yield server
