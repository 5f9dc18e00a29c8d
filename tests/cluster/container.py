"""A container of a pod as a process of this machine, in a mount namespace of its own.

Its root is an overlay of this machine's: it sees our programs and writes to memory that goes with it, and volumes are mounted
where the manifest wants them without anything being made outside. ``readOnlyRootFilesystem``, ``runAsUser``, ``runAsGroup`` and
``fsGroup`` hold as in a cluster, and a process that is not root has no capabilities. There is no network namespace: every pod
has an address of its own, but ``0.0.0.0`` is the address of all, so programs are told to bind the pod's (``ARGOSY_HOST``,
``ARGOSY_ADMIN``; ``nats-server`` by its command line).

Images are names here. ``argosy`` is this checkout, ``nats`` the NATS server that tests use, ``process`` whatever the command
names. A container of any other image has no process, and is reported running: the reloader and the exporter beside NATS.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from argosy.bus._embedded_child import find_binary
from tests.cluster.volumes import NotYet

_BIN = Path(sys.executable).parent
_CHECKOUT = Path(__file__).parents[2]
_NATS = """#!/bin/sh
# The server of a pod may only bind that pod's address.
for word in "$@"; do
  case "$word" in
    -sl*|--signal*) exec {server} "$@" ;;
    -c|--config) take=1 ;;
    *) [ -n "$take" ] && config="$word" && take= ;;
  esac
done
[ -n "$config" ] && grep -qE '^ *cluster *[:{{]' "$config" && set -- "$@" --cluster "nats://{address}:6222"
exec {server} "$@" -a {address}
"""
_IMAGE_USER = {"argosy": 9731}
"""Who the images run as that have a numeric USER."""


def kind_of(image: str) -> str:
    """``argosy``, ``nats``, ``process``, or nothing for an image that has no process here."""
    name = image.rsplit("/", 1)[-1].split(":")[0].split("@")[0]
    return name if name in ("argosy", "nats", "process") else ""


class Container:
    """One container: started, asked, ended."""

    def __init__(self, spec: Mapping[str, Any], pod: Mapping[str, Any], place: Path, log: Path) -> None:
        """``pod`` is the pod's spec; ``place`` a folder that is mounted over, ``log`` where all output goes."""
        self.spec = spec
        self.name: str = spec["name"]
        self.image: str = spec["image"]
        self.kind = kind_of(self.image)
        self.log = log
        self._pod = pod
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None
        self.running = False
        self.code: int | None = None
        """The exit code of the last end."""
        self.restarts = 0
        self.started_at = 0.0
        self.not_before = 0.0
        """Not started again before this moment (monotonic)."""

    @property
    def pid(self) -> int | None:
        """Its process, while there is one."""
        return self._process.pid if self._process is not None and self.running else None

    def start(
        self, environment: Mapping[str, str], mounts: Sequence[tuple[Path, str, bool]], names: Path, address: str
    ) -> None:
        """Start it. ``mounts`` are folders or files, with the place in the container and whether they are only read there; ``names`` is the folder
        with the pod's ``hosts``. Raises NotYet.
        """
        self.running, self.code, self.started_at = True, None, time.monotonic()
        if not self.kind:
            return
        script = [
            "set -e",
            f"mkdir -p {_q(self._place)}",
            f"mount -t tmpfs -o mode=755 tmpfs {_q(self._place)}",
            f"cd {_q(self._place)}",
            "mkdir upper work root",
            "mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root",
            # Who is not root may use the interpreter and the checkout all the same.
            f"chmod a+rx root/root {' '.join(f'root{_q(folder)}' for folder in (_CHECKOUT, *_CHECKOUT.parents))}",
            f"mkdir checkout && mount --bind root{_q(_CHECKOUT)} checkout",
            "for each in proc sys dev; do mount --rbind /$each root/$each; done",
            f"mkdir -p root/run/names && mount --bind {_q(names)} root/run/names",
            "rm -f root/etc/hosts && ln -s /run/names/hosts root/etc/hosts",
            f"mkdir -p root/usr/local/bin && ln -sf {_q(_BIN / 'argosy')} root/usr/local/bin/argosy",
        ]
        if self.kind == "nats":
            wrapper = _NATS.format(server=_q(Path(find_binary()).resolve()), address=address)
            script += [
                f"printf %s {_q(wrapper)} > root/usr/local/bin/nats-server",
                "chmod 755 root/usr/local/bin/nats-server && ln -sf /usr/local/bin/nats-server root/nats-server",
            ]
        # Outer places first, so that one inside another stays seen.
        for source, place, only_read in sorted(mounts, key=lambda each: each[1]):
            # Links of the root lead to places in it, and never out: /var/run is one.
            script += [f"target=root$(chroot root realpath -m {_q(place)})"]
            if source.is_dir():
                script += ['mkdir -p "$target"']
            else:
                script += ['mkdir -p "$(dirname "$target")"', 'touch "$target"']
            script += [f'mount --bind {_q(source)} "$target"']
            if only_read:
                script += ['mount -o remount,bind,ro "$target"']
        if any(_CHECKOUT.is_relative_to(place) for _, place, _ in mounts):
            # A volume hides it: a pod's /tmp, where the checkout is in ours.
            script += [f"mkdir -p root{_q(_CHECKOUT)} && mount --bind checkout root{_q(_CHECKOUT)}"]
        if self._security("readOnlyRootFilesystem"):
            script += ["mount -o remount,ro root"]
        host = _q(environment["HOSTNAME"])
        script += [f"hostname {host}", f"exec chroot root {self._as_user()} {shlex.join(self._command(environment))}"]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                ["unshare", "-m", "-u", "--propagation", "private", "sh", "-c", "\n".join(script)],
                env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    def ended(self) -> bool:
        """Whether its process has ended since it was started."""
        if self.running and self._process is not None and (code := self._process.poll()) is not None:
            self._gone(code)
        return not self.running

    def signal(self, which: signal.Signals) -> None:
        """Send a signal to its first process, as a runtime does; SIGKILL goes to all of them."""
        if self._process is None:
            self.running = False
            return
        if self._process.poll() is not None:
            return
        if which is signal.SIGKILL:
            os.killpg(self._process.pid, which)
            self._gone(self._process.wait())
        else:
            self._process.send_signal(which)

    def run(self, command: Sequence[str], seconds: float) -> int:
        """Run a command inside, beside its process; the exit code. Raises subprocess.TimeoutExpired."""
        if self._process is None:
            return 0
        inside = ["nsenter", "-t", str(self._process.pid), "-m", "-r", "-w", *command]
        with self.log.open("ab") as output:
            return subprocess.run(inside, stdout=output, stderr=output, timeout=seconds).returncode

    def _gone(self, code: int) -> None:
        assert self._process is not None
        # What it left behind has lost its container.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process = None
        self.running = False
        self.code = code if code >= 0 else 128 - code

    def _security(self, name: str) -> Any:
        for block in (self.spec.get("securityContext"), self._pod.get("securityContext")):
            if block and name in block:
                return block[name]
        return None

    def _as_user(self) -> str:
        """The command that gives rights away before the program starts, and ends the program with this test run."""
        user = self._security("runAsUser")
        if user is None:
            user = _IMAGE_USER.get(self.kind)
        if user is None and self._security("runAsNonRoot"):
            raise NotYet("container has runAsNonRoot and image will run as root")
        words = ["setpriv", "--pdeathsig", "KILL"]
        if user:
            group = self._security("runAsGroup")
            more = (self._pod.get("securityContext") or {}).get("fsGroup")
            words += [f"--reuid={user}", f"--regid={group if group is not None else 0}"]
            words += [f"--groups={more}"] if more is not None else ["--clear-groups"]
            words += ["--inh-caps=-all", "--no-new-privs"]
        return shlex.join(words)

    def _command(self, environment: Mapping[str, str]) -> list[str]:
        command, arguments = self.spec.get("command"), list(self.spec.get("args") or ())
        if not command:
            command = {"argosy": ["argosy"], "nats": ["nats-server"]}.get(self.kind, [])
        return [expanded(word, environment) for word in (*command, *arguments)]


def expanded(text: str, environment: Mapping[str, str]) -> str:
    """The text with each ``$(NAME)`` replaced by its value where there is one; ``$$`` is a dollar."""
    done, rest = "", text
    while "$" in rest:
        before, _, rest = rest.partition("$")
        done += before
        if rest.startswith("$"):
            done, rest = done + "$", rest[1:]
        elif rest.startswith("(") and ")" in rest:
            name, _, after = rest[1:].partition(")")
            done, rest = done + environment.get(name, f"$({name})"), after
        else:
            done += "$"
    return done + rest


def here() -> str:
    """Why containers cannot be started on this machine; empty where they can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "the test kubelet needs root on Linux (mount namespaces, addresses for pods)"
    if lacking := [
        name for name in ("ip", "unshare", "nsenter", "setpriv", "mount", "chroot") if not shutil.which(name)
    ]:
        return f"the test kubelet needs {lacking[0]!r} on PATH"
    overlay = "mount -t tmpfs x /mnt && mkdir /mnt/u /mnt/w /mnt/r && mount -t overlay x -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/r"
    tried = subprocess.run(["unshare", "-m", "sh", "-c", overlay], capture_output=True, text=True)
    return f"the test kubelet needs overlay mounts: {tried.stderr.strip()}" if tried.returncode else ""


def _q(value: object) -> str:
    return shlex.quote(str(value))
