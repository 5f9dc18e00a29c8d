"""What the ``amqp`` source's user must be allowed in RabbitMQ, by what it declares, binds and reads.

RabbitMQ asks (documentation, "Authorisation: How Permissions Work"): ``configure`` to declare an exchange or queue that is
not only looked at (``passive``); ``write`` on the queue and ``read`` on the exchange to bind them; ``read`` on the queue to
consume; for a queue with a dead-letter exchange, ``read`` on it and ``write`` on that exchange to declare it.
"""

from __future__ import annotations

import re

from argosy.kubernetes.rights import BrokerRight
from argosy.sources._amqp_config import AmqpConfig, arguments_of
from argosy.sources._amqp_connection import parse

_SERVER_NAMED = r"amq\.gen-.*"
"""What the broker calls queues that it names itself."""


def broker_right(config: AmqpConfig) -> BrokerRight:
    """The permissions of one event's user in its virtual host; that is empty where the URL stands in a Secret."""
    exchange, declared = config.exchange_name, config.queue_declare
    queue = _pattern(declared.name) if declared.name else _SERVER_NAMED
    configure, write, read = set[str](), set[str](), {queue}
    if not declared.passive:
        configure.add(queue)
        dead_letters = (arguments_of(declared.arguments) or {}).get("x-dead-letter-exchange")
        if isinstance(dead_letters, str) and dead_letters:
            write.add(_pattern(dead_letters))
    if exchange:
        if not config.exchange_declare.passive:
            configure.add(_pattern(exchange))
        write.add(queue)
        read.add(_pattern(exchange))
    broker = parse(config.url) if config.url else None
    secret = config.url_secret or (config.auth.username if config.auth else None)
    return BrokerRight(
        vhost=broker.vhost if broker else "",
        user=broker.user if broker and not secret else "",
        secret=secret.name if secret else "",
        configure=frozenset(configure),
        write=frozenset(write),
        read=frozenset(read),
    )


def _pattern(name: str) -> str:
    # As little is escaped as Erlang's expressions (PCRE) want, so that patterns stay readable: "-" and "_" stand as they are.
    return re.sub(r"([\\.^$|?*+()\[\]{}])", r"\\\1", name)
