"""The real controller manager beside the test API server: what makes pods of Deployments, and nothing of what lost its owner.

Of its controllers those run that a cluster of Argosy's objects needs: Deployments, StatefulSets, garbage collection,
namespaces, service accounts and their tokens, the ConfigMap with the cluster's authority, endpoints of Services, disruption
budgets, and the protection of PersistentVolumeClaims. Nodes are not watched over and Jobs are not run.

Apply CustomResourceDefinitions before it starts: the garbage collector asks only every half a minute which kinds there are.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from tests.kubernetes.apiserver import ApiError, ApiServer, NotThere, _child, _end

_ROOT = Path(__file__).resolve().parents[2]
_READY_SECONDS = 60.0
_CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "disruption-controller",
    "persistentvolumeclaim-protection-controller",
)


def find() -> Path:
    """The controller manager's binary. Raises NotThere."""
    installer = [sys.executable, str(_ROOT / "tools/servers/install"), "--where", "kube-controller-manager"]
    asked = subprocess.run(installer, capture_output=True, text=True)
    if asked.returncode:
        raise NotThere(asked.stderr.strip())
    return Path(asked.stdout.strip())


class Manager:
    """The controller manager of one API server, a context manager. Everything it writes goes to that server's folder."""

    def __init__(self, server: ApiServer) -> None:
        """Raises NotThere if the binary is missing."""
        self._binary = find()
        self._server = server
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        folder = self._server.folder
        self._log = folder / "kube-controller-manager.log"
        kubeconfig = self._server.kubeconfig(folder / "kube-controller-manager.kubeconfig")
        self._process = _child(
            [
                self._binary,
                f"--kubeconfig={kubeconfig}",
                f"--controllers={','.join(_CONTROLLERS)}",
                f"--root-ca-file={self._server.ca}",
                f"--service-account-private-key-file={folder / 'sa.key'}",
                "--leader-elect=false",
                # It serves nothing to anybody here.
                "--secure-port=0",
                "--kube-api-qps=200",
                "--kube-api-burst=400",
                "--kube-api-content-type=application/json",
            ],
            self._log,
        )
        self._await_ready()
        return self

    def __exit__(self, *exc: object) -> None:
        _end(self._process)
        self._process = None

    def _await_ready(self) -> None:
        """Return once it works: the account and the authority of the namespace ``default`` are made by it."""
        assert self._process
        end = time.monotonic() + _READY_SECONDS
        while True:
            try:
                self._server.request("GET", "/api/v1/namespaces/default/serviceaccounts/default")
                self._server.request("GET", "/api/v1/namespaces/default/configmaps/kube-root-ca.crt")
                return
            except (ApiError, OSError) as error:
                if self._process.poll() is not None or time.monotonic() > end:
                    tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
                    raise ChildProcessError(f"kube-controller-manager does not work: {error}\n{tail}") from None
            time.sleep(0.1)

    def namespace(self, name: str = "") -> str:
        """Make a new namespace in which pods can be made at once; its name."""
        name = self._server.namespace(name)
        end = time.monotonic() + _READY_SECONDS
        for path in ("serviceaccounts/default", "configmaps/kube-root-ca.crt"):
            while True:
                try:
                    self._server.request("GET", f"/api/v1/namespaces/{name}/{path}")
                    break
                except ApiError as error:
                    if error.status != 404 or time.monotonic() > end:
                        raise
                time.sleep(0.05)
        return name
