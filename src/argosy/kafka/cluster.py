"""A Kafka cluster that a manifest names: its addresses, who we are there, and failures as sentences.

The client library (aiokafka) is given its settings by ``Cluster.settings`` and then finds the brokers, the leaders and
its way back after a loss by itself. It does not say why a cluster cannot be reached, so ``Cluster.look`` asks first: one
connection to one broker, which says whether it lets us in and what it knows of the topic. ``closing`` ends a
client also while the brokers do not answer.

All connections of the library in this process go where ``--resolve`` leads, the one to the address in the manifest and
those to the brokers that the cluster names. The library has no hook for that, so the function by which it connects is
replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from argosy.addresses import host_and_port
from argosy.connecting import target
from argosy.errors import ArgosyError

PORT = 9092
ANSWER_SECONDS = 30.0
"""How long a broker may take to answer, as sarama's ``Net.ReadTimeout``."""
_END_SECONDS = 0.5


class Broker(NamedTuple):
    """Where a broker listens; as text ``host:port``."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Login(NamedTuple):
    """Who we are, by one of Kafka's SASL mechanisms. ``token`` gives that of OAUTHBEARER for each connection; it is the
    password where there is none."""

    mechanism: str
    user: str
    password: str
    token: Callable[[], Awaitable[str]] | None = None

    def __repr__(self) -> str:
        return f"Login({self.mechanism})"


class Failure(ArgosyError):
    """A cluster did not do what was asked. ``lasting`` if another try cannot help before a person has acted."""

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting


def brokers(url: str) -> tuple[Broker, ...]:
    """The addresses of a comma list, ``host`` or ``host:port`` each. Raises ValueError."""
    return tuple(_broker(text.strip()) for text in url.split(","))


def _broker(text: str) -> Broker:
    try:
        return Broker(*host_and_port(text, PORT))
    except ValueError:
        example = f"kafka.messaging:{PORT},kafka-2.messaging:{PORT}"
        raise ValueError(f"is no list of brokers; write for example {example}") from None


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster, by the secrets as they are now. As text it stands in sentences."""

    brokers: tuple[Broker, ...]
    client_id: str
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    login: Login | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of the library."""

    def __str__(self) -> str:
        return f"{'kafka+ssl' if self.tls else 'kafka'}://{','.join(map(str, self.brokers))}"

    @property
    def settings(self) -> dict[str, Any]:
        """What the library's clients are made with."""
        _prepare()
        settings = {
            "bootstrap_servers": [str(broker) for broker in self.brokers],
            "client_id": self.client_id,
            "request_timeout_ms": round(ANSWER_SECONDS * 1000),
            "security_protocol": f"{'SASL_' if self.login else ''}{'SSL' if self.tls else 'PLAINTEXT'}",
            "ssl_context": self.tls,
        }
        if self.login is not None:
            settings["sasl_mechanism"] = self.login.mechanism
            settings["sasl_plain_username"] = self.login.user
            settings["sasl_plain_password"] = self.login.password
            if self.login.mechanism == "OAUTHBEARER":
                settings["sasl_oauth_token_provider"] = _provider(self.login)
        return settings | dict(self.options)

    async def look(self, topic: str, seconds: float = ANSWER_SECONDS) -> int:
        """How many partitions the topic has, by the first broker that lets us in. Raises Failure, with the reason."""
        failure: Failure | None = None
        for broker in self.brokers:
            try:
                with self.sentences(f"{'kafka+ssl' if self.tls else 'kafka'}://{broker}", seconds):
                    async with asyncio.timeout(seconds):
                        return await self._partitions(broker, topic)
            except Failure as error:
                failure = error
                if error.lasting:
                    break
        assert failure is not None, "there is at least one broker"
        raise failure

    async def _partitions(self, broker: Broker, topic: str) -> int:
        from aiokafka.client import create_conn
        from aiokafka.errors import NoError, for_code
        from aiokafka.protocol.metadata import MetadataRequest

        settings = self.settings
        names = ("client_id", "request_timeout_ms", "ssl_context", "security_protocol")
        chosen = {name: value for name, value in settings.items() if name in names or name.startswith("sasl_")}
        connection = await create_conn(broker.host, broker.port, **chosen)
        try:
            answer = await connection.send(MetadataRequest([topic]))
        finally:
            connection.close()
        ((code, *_, partitions),) = answer.topics
        error = for_code(code)
        if error is not NoError:
            raise error(topic)
        return len(partitions)

    def sentences(self, where: str = "", seconds: float = ANSWER_SECONDS) -> contextlib.AbstractContextManager[None]:
        """Turn the library's exceptions into ``Failure``. ``where`` is the broker, if only one was asked; ``seconds`` is
        how long it had to answer."""
        return _sentences(where or str(self), self, seconds)


@contextlib.contextmanager
def _sentences(where: str, cluster: Cluster, seconds: float) -> Any:
    from aiokafka.errors import KafkaError

    try:
        yield
    except TimeoutError as error:
        raise Failure(f"{where} has not answered for {seconds:.0f} s") from error
    except (OSError, EOFError) as error:
        raise Failure(_unreachable(where, cluster, error)) from error
    except KafkaError as error:
        cause = error.__cause__
        if isinstance(cause, OSError | EOFError) and not isinstance(cause, TimeoutError):
            raise Failure(_unreachable(where, cluster, cause)) from error
        text, lasting = _explained(cluster, error)
        raise Failure(f"{where} {text}", lasting=lasting) from error


def _unreachable(where: str, cluster: Cluster, error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {where} is not trusted: {error.verify_message}; check tls.caCertSecret"
    if isinstance(error, ssl.SSLError):
        return f"{where} does not take our TLS ({error.reason or type(error).__name__}); is it a TLS port?"
    if isinstance(error, socket.gaierror):
        return f"no host of {where} is known"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {where}; is the broker running, is the port right?"
    if isinstance(error, ConnectionError | EOFError):
        ask = "is it a TLS port, does it want a certificate (tls.clientCertSecret)"
        ask = ask if cluster.tls else "does it want TLS (block 'tls')"
        return f"{where} hung up; {ask}" + ("?" if cluster.login else " or a login (block 'sasl')?")
    return f"{where} cannot be reached: {getattr(error, 'strerror', None) or error}"


def _explained(cluster: Cluster, error: Exception) -> tuple[str, bool]:
    """What an answer means, as the end of a sentence, and whether it will last."""
    from aiokafka import errors

    login, said = cluster.login, str(error)
    if login is not None and login.password:
        said = said.replace(login.password, "…")
    if (refused := _refused_login(login, error)) is not None:
        return refused, False
    for kinds, text, lasting in (
        ((errors.UnknownTopicOrPartitionError,), "has no such topic, or hides it from us", True),
        ((errors.InvalidTopicError,), "does not allow a topic of this name", True),
        ((errors.TopicAuthorizationFailedError,), "does not let us use the topic; grant it to our user", True),
        ((errors.GroupAuthorizationFailedError,), "does not let us use the group; grant it to our user", True),
        ((errors.ClusterAuthorizationFailedError,), "does not let us do that; grant it to our user", True),
        ((errors.MessageSizeTooLargeError, errors.RecordListTooLargeError), "takes no message of this size", True),
        ((errors.UnsupportedSaslMechanismError,), f"does not know the login {said}", False),
        ((errors.IllegalSaslStateError,), "wants no login; leave out the block 'sasl'", False),
        ((errors.LeaderNotAvailableError,), "has no leader for the topic now", False),
        ((errors.KafkaTimeoutError, errors.RequestTimedOutError), "did not answer in time", False),
        ((errors.NotEnoughReplicasError, errors.NotEnoughReplicasAfterAppendError), "has too few replicas now", False),
    ):
        if isinstance(error, kinds):
            return text, lasting
    if isinstance(error.__cause__, ArgosyError):
        return f"cannot be logged in to: {error.__cause__}", False
    if isinstance(error, errors.KafkaConnectionError):
        return "cannot be reached, or hung up", False
    return f"answers {type(error).__name__}: {said}", False


def _refused_login(login: Login | None, error: Exception) -> str | None:
    from aiokafka import errors

    # 58 is SASL_AUTHENTICATION_FAILED; a SCRAM that the server cannot prove fails in the library itself.
    refused = getattr(error, "errno", None) == 58 or isinstance(error, errors.AuthenticationFailedError)
    if login is not None and login.mechanism == "OAUTHBEARER":
        # The library does not hear that a token is refused, and asks on.
        if not refused and not isinstance(error, errors.IllegalSaslStateError):
            return None
        if login.token is not None:
            return "refuses the role; let it connect (kafka-cluster:Connect), or correct 'region'"
        return "refuses the token; correct 'passwordSecret'"
    return "refuses the user or the password; correct 'userSecret' and 'passwordSecret'" if refused else None


_PIECES = (
    "_coordinator._stop_heartbeat_task",
    "_coordinator._stop_commit_offsets_refresh_task",
    "_fetcher.close",
    "_sender.close",
    "_client.close",
    "client.close",
)
"""What of the library's consumers and producers has tasks or connections, and how it ends."""


@contextlib.asynccontextmanager
async def closing(client: Any) -> AsyncIterator[None]:
    """A consumer or producer of the library, stopped at the end, whether its brokers answer or not."""
    try:
        yield
    finally:
        if (waiting := getattr(client, "_message_accumulator", None)) is not None:
            _give_up(waiting)
        if not await _within(client.stop):
            # It waits for an answer, and then for the next. What it waited in was cancelled; the rest ends piece by piece.
            inner = getattr(client, "_client", None) or client.client
            transports = [each._writer.transport for each in inner._conns.values() if each._writer is not None]
            pieces = [path.split(".") for path in _PIECES]
            owners = [(getattr(client, owner, None), name) for owner, name in pieces]
            await asyncio.gather(*(_within(getattr(owner, name)) for owner, name in owners if hasattr(owner, name)))
            for transport in transports:
                transport.abort()


class _Gone(set[Any]):
    """Batches of a producer that ends; the library takes some of them out twice."""

    def remove(self, element: Any) -> None:
        self.discard(element)


def _give_up(waiting: Any) -> None:
    """Fail what a producer still has to send: whoever gave it these messages has given up on them."""
    from aiokafka.errors import ProducerClosed

    waiting._pending_batches = _Gone(waiting._pending_batches)
    waiting.fail_all(ProducerClosed())


async def _within(end: Callable[[], Awaitable[None]]) -> bool:
    try:
        async with asyncio.timeout(_END_SECONDS):
            await end()
    except Exception:  # noqa: BLE001 - the library raises what an earlier task of it has met, and it is ending
        return False
    return True


class _Led:
    """The event loop as a connection of the library sees it: connecting goes where ``--resolve`` leads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(self, factory: Any, host: str, port: int, *, ssl: ssl.SSLContext | None) -> Any:
        # The certificate is that of the host in the manifest, wherever the connection goes.
        secured: dict[str, Any] = {"ssl": ssl, "server_hostname": host} if ssl is not None else {}
        return await self._loop.create_connection(factory, *target(host, port), **secured)


async def _connected(host: str, port: int, **settings: Any) -> Any:
    from aiokafka.conn import AIOKafkaConnection

    connection = AIOKafkaConnection(host, port, **settings)
    connection._loop = _Led(connection._loop)
    await connection.connect()
    return connection


def _prepare() -> None:
    """Make the library follow ``--resolve``, and leave saying what happened to us."""
    import aiokafka.client

    aiokafka.client.create_conn = _connected
    log = logging.getLogger("aiokafka")
    if log.level == logging.NOTSET:
        # It writes an error for each of its own tries, ten a second, and the user's name.
        log.setLevel(logging.CRITICAL)


def _provider(login: Login) -> Any:
    from aiokafka.abc import AbstractTokenProvider
    from aiokafka.errors import KafkaError

    class Provider(AbstractTokenProvider):  # type: ignore[misc]
        async def token(self) -> str:
            if login.token is None:
                return login.password
            try:
                return await login.token()
            except ArgosyError as error:
                # The library goes on with its own exceptions only.
                raise KafkaError(str(error)) from error

    return Provider()
