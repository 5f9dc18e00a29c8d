"""A real RabbitMQ for tests: Debian's server as a child on loopback, killed and restarted at will, and a
probe that looks inside.

``RabbitMQ`` puts everything it owns in one folder and listens on free loopback ports only: AMQP, AMQP over
TLS, and what Erlang nodes need among themselves. ``kill`` ends it as a power cut would end the process;
``start`` brings it back on the same ports with what was durable. ``ask`` runs an Erlang expression in the
broker, within milliseconds, through a node of our own (``rabbitmqctl`` takes two seconds for the same):
that is how tests count what is unacknowledged.

Users that it knows from the start: ``argosy`` may do everything in ``/``, ``nobody`` may log in there and
do nothing.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from tests.kubernetes import certificates

_SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
_READY_SECONDS = 90.0
_COOKIE = "argosy-tests"
_HELLO = b"AMQP\x00\x00\x09\x01"

# Reads expressions line by line, evaluates each in the broker's node, and answers in one line.
_PROBE = """
Node = '%s',
Run = fun(Line) ->
    {ok, Tokens, _} = erl_scan:string(Line),
    {ok, Exprs} = erl_parse:parse_exprs(Tokens),
    case rpc:call(Node, erl_eval, exprs, [Exprs, []]) of
        {value, Value, _} -> Value;
        Other -> {failed, Other}
    end
end,
Loop = fun Loop() ->
    case io:get_line("") of
        eof -> halt(0);
        Line ->
            Answer = try Run(Line) catch C:E -> {failed, {C, E}} end,
            io:format("~0p~n", [Answer]),
            Loop()
    end
end,
Loop().
"""


class NotThere(Exception):
    """RabbitMQ is not installed. The message says how to get it."""


class Depth(NamedTuple):
    """What a queue holds: messages that wait, and messages that a consumer has and did not acknowledge."""

    ready: int
    unacknowledged: int


class Consumer(NamedTuple):
    """A consumer as the broker sees it."""

    tag: str
    acknowledges: bool
    prefetch: int


def installed() -> None:
    """Return if RabbitMQ can be started here. Raises NotThere."""
    if not (Path(_SERVER).exists() and shutil.which("erl") and shutil.which("epmd")):
        raise NotThere("RabbitMQ is not installed; get it with: apt-get install rabbitmq-server")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _password_hash(password: str) -> str:
    salt = b"salt"
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


class RabbitMQ:
    """One broker, a context manager. ``url`` and ``tls_url`` carry the credentials of the user ``argosy``."""

    def __init__(self, folder: Path) -> None:
        """Everything the broker writes goes to ``folder``. Raises NotThere if it is not installed."""
        installed()
        self.folder = folder
        self.passwords = {"argosy": "only for tests", "nobody": "p@ss/w:rd%41"}
        self._broker: subprocess.Popen[bytes] | None = None
        self._names: subprocess.Popen[bytes] | None = None
        self._probe: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        certificates.authority(self.folder)
        certificates.server(self.folder, "server")
        certificates.server(self.folder, "client")
        self.ca = self.folder / "ca.crt"
        # Between choosing a free port and listening on it somebody else may take it; then others are tried.
        for attempt in range(3):
            self.port, self.tls_port, self._names_port, self._node_port = _free_ports(4)
            self._node = f"argosy-{self.port}@localhost"
            self._configure()
            try:
                self.start()
                return self
            except ChildProcessError:
                self.__exit__()
                if attempt == 2:
                    raise
        raise AssertionError

    def __exit__(self, *exc: object) -> None:
        for child in (self._probe, self._broker, self._names):
            if child is not None:
                child.kill()
                child.wait()
                for stream in (child.stdin, child.stdout):
                    if stream is not None:
                        stream.close()
        self._probe = self._broker = self._names = None

    @property
    def url(self) -> str:
        """``amqp://user:password@127.0.0.1:port``; the same after a restart."""
        return f"amqp://argosy:only%20for%20tests@127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        """The same over TLS; ``ca`` signed the server's certificate."""
        return f"amqps://argosy:only%20for%20tests@127.0.0.1:{self.tls_port}"

    def start(self) -> None:
        """Return once the broker speaks AMQP. Raises ChildProcessError, with the end of its log, if it does
        not.

        Call it in the main thread: the broker ends with the thread that started it.
        """
        for _ in self._starting():
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL to the broker's whole process group; it is gone on return."""
        assert self._broker is not None
        os.killpg(self._broker.pid, signal.SIGKILL)
        self._broker.wait()
        self._broker = None

    def signal(self, which: signal.Signals) -> None:
        """Send a signal to the broker's whole process group."""
        assert self._broker is not None
        os.killpg(self._broker.pid, which)

    async def restart(self) -> None:
        """Kill and start again, on the same ports, with what was durable. The event loop goes on meanwhile."""
        self.kill()
        for _ in self._starting():
            await asyncio.sleep(0.05)

    def _starting(self) -> Iterator[None]:
        if self._names is None:
            # Our own, in the foreground: the one that Erlang starts by itself outlives everything.
            self._names = self._child(["epmd"])
        self._broker = self._child([_SERVER, "-noinput"])
        deadline = time.monotonic() + _READY_SECONDS
        while not self._speaks():
            if self._broker.poll() is not None or time.monotonic() > deadline:
                raise ChildProcessError(f"RabbitMQ did not start: {self._output()[-3000:]}")
            yield

    # Looking inside

    def ask(self, expression: str) -> str:
        """What an Erlang expression (ending with a full stop) yields in the broker, as a term in one line."""
        if self._probe is None:
            self._probe = subprocess.Popen(
                [
                    *(
                        "erl",
                        "-noshell",
                        "-start_epmd",
                        "false",
                        "-hidden",
                        "-sname",
                        f"probe-{self.port}@localhost",
                    ),
                    *("-setcookie", _COOKIE, "-kernel", "inet_dist_use_interface", "{127,0,0,1}"),
                    *("-eval", _PROBE % self._node),
                ],
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        assert self._probe.stdin is not None and self._probe.stdout is not None
        self._probe.stdin.write(" ".join(expression.split()) + "\n")
        self._probe.stdin.flush()
        answer = self._probe.stdout.readline().strip()
        if not answer or answer.startswith("{failed,"):
            raise RuntimeError(f"the broker answers {answer!r} to {expression!r}")
        return answer

    def depth(self, queue: str, vhost: str = "/") -> Depth:
        """What the queue holds now. Raises LookupError if there is none of this name."""
        answer = self.ask(
            f"case rabbit_amqqueue:lookup(rabbit_misc:r({_binary(vhost)}, queue, {_binary(queue)})) of"
            " {ok, Q} -> [V || {_, V} <- rabbit_amqqueue:info(Q, [messages_ready, messages_unacknowledged])];"
            " Missing -> Missing end."
        )
        counts = re.fullmatch(r"\[(\d+),(\d+)\]", answer)
        if counts is None:
            raise LookupError(f"queue {queue!r}: {answer}")
        return Depth(int(counts[1]), int(counts[2]))

    def consumers(self, queue: str, vhost: str = "/") -> list[Consumer]:
        """Who consumes from the queue; nobody where there is no such queue."""
        answer = self.ask(
            "[{proplists:get_value(consumer_tag, C), proplists:get_value(ack_required, C),"
            f" proplists:get_value(prefetch_count, C)}} || C <- rabbit_amqqueue:consumers_all({_binary(vhost)}),"
            f" element(4, proplists:get_value(queue_name, C)) =:= {_binary(queue)}]."
        )
        found = re.findall(r'\{<<"(.*?)">>,(true|false),(\d+)\}', answer)
        return [Consumer(tag, acknowledges == "true", int(prefetch)) for tag, acknowledges, prefetch in found]

    def connections(self) -> int:
        """How many clients are connected."""
        return int(self.ask("length(rabbit_networking:connections())."))

    def add_user(self, name: str, password: str) -> None:
        """Make a user without any rights; ``add_vhost`` gives them."""
        self.ask(f'rabbit_auth_backend_internal:add_user({_binary(name)}, {_binary(password)}, <<"tests">>).')

    def set_password(self, name: str, password: str) -> None:
        """Give a user another password, who is made if there is none of this name."""
        there = f"rabbit_auth_backend_internal:exists({_binary(name)})"
        given = f'{_binary(name)}, {_binary(password)}, <<"tests">>'
        change, add = (f"rabbit_auth_backend_internal:{call}({given})" for call in ("change_password", "add_user"))
        self.ask(f"case {there} of true -> {change}; false -> {add} end.")

    def end_connections(self) -> None:
        """End all connections, as an administrator does; who is not known any more cannot come back."""
        self.ask('[rabbit_networking:close_connection(Pid, "tests") || Pid <- rabbit_networking:connections()].')

    def add_vhost(self, name: str, users: Sequence[str] = ("argosy",)) -> None:
        """Make a virtual host in which these users may do everything."""
        self.ask(f'rabbit_vhost:add({_binary(name)}, <<"tests">>).')
        for user in users:
            everything = ", ".join(['<<".*">>'] * 3)
            self.ask(
                f"rabbit_auth_backend_internal:set_permissions({_binary(user)}, {_binary(name)},"
                f' {everything}, <<"tests">>).'
            )

    # The child processes

    def _configure(self) -> None:
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        nothing = {"configure": "^$", "write": "^$", "read": "^$"}
        definitions = {
            "users": [
                {
                    "name": name,
                    "password_hash": _password_hash(password),
                    "hashing_algorithm": "rabbit_password_hashing_sha256",
                    "tags": "",
                }
                for name, password in self.passwords.items()
            ],
            "vhosts": [{"name": "/"}],
            "permissions": [
                {"user": "argosy", "vhost": "/", **everything},
                {"user": "nobody", "vhost": "/", **nothing},
            ],
        }
        self._write("definitions.json", json.dumps(definitions))
        self._write("enabled_plugins", "[].\n")
        self._write("rabbitmq-env.conf", "")
        self._write(
            "rabbitmq.conf",
            f"""\
listeners.tcp.1 = 127.0.0.1:{self.port}
listeners.ssl.1 = 127.0.0.1:{self.tls_port}
ssl_options.cacertfile = {self.folder}/ca.crt
ssl_options.certfile = {self.folder}/server.crt
ssl_options.keyfile = {self.folder}/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
load_definitions = {self.folder}/definitions.json
disk_free_limit.absolute = 10MB
log.file.level = info
""",
        )
        cookie = self.folder / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text(_COOKIE)
            cookie.chmod(0o400)

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def _environment(self) -> Mapping[str, str]:
        mine = {
            "HOME": str(self.folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._names_port),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "config"),
            # The flag that starts no epmd, and a broker that is the child itself, not the child of a shell.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1} +S 2:2"
            ),
            "RABBITMQ_ALLOW_INPUT": "1",
        }
        return {key: text for key, text in os.environ.items() if not key.startswith("RABBITMQ_")} | mine

    def _child(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        # setpriv ends the server when the test run is killed: a SIGKILLed pytest cleans up nothing itself.
        wrapper = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with (self.folder / "output.log").open("ab") as output:
            return subprocess.Popen(
                [*wrapper, *arguments],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _speaks(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(_HELLO)
                return bool(connection.recv(1))
        except OSError:
            return False

    def _output(self) -> str:
        return (self.folder / "output.log").read_text(errors="replace")


def _binary(text: str) -> str:
    """A text as an Erlang binary."""
    return "<<" + ",".join(str(byte) for byte in text.encode()) + ">>"
