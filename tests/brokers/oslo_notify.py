"""Publishes notifications as OpenStack's services do: with the real ``oslo.messaging`` notifier. Run as a program.

It is a process of its own because oslo.messaging brings threads, loggers and global settings. Notification ``n``
carries ``{"port": {"id": "port-n", …}}``; its ``message_id`` is oslo.messaging's own.

    python -m tests.brokers.oslo_notify amqp://… --exchange neutron --count 3

With ``--paced`` it publishes as far as its standard input says (a number a line: up to this one), tries each
notification until the broker has it, and prints ``sent N ID`` for it. ``unsure N ID`` is one that
oslo.messaging gave up, which may have arrived or not; ``N`` is published again then, with another id.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


async def notify(
    url: str,
    *,
    exchange: str = "neutron",
    count: int = 1,
    driver: str = "messagingv2",
    topic: str = "notifications",
) -> None:
    """Run this file as a program; return once every notification is with the broker.

    Raises RuntimeError, with what oslo.messaging logged, if one is not.
    """
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.brokers.oslo_notify", url),
        *("--exchange", exchange, "--count", str(count), "--driver", driver, "--topic", topic),
        cwd=_ROOT,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await child.communicate()
    if child.returncode:
        raise RuntimeError(f"oslo_notify ended with {child.returncode}: {said.decode()[-2000:]}")


class _Failures(logging.Handler):
    """Oslo.messaging logs what it cannot send and goes on; here that is a failure."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1
        print(self.format(record), file=sys.stderr)


class _Ids(logging.Handler):
    """The ``message_id`` of the newest notification, as oslo.messaging's own driver ``log`` tells it."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.newest = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.newest = json.loads(record.getMessage())["message_id"]


def main() -> int:
    """The program; its exit code."""
    import oslo_messaging
    from oslo_config import cfg

    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--exchange", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--driver", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--paced", action="store_true")
    wanted = parser.parse_args()

    failures = _Failures()
    logging.getLogger("oslo_messaging").addHandler(failures)
    conf = cfg.ConfigOpts()
    conf([], project="notify", default_config_files=[])
    oslo_messaging.set_transport_defaults(wanted.exchange)
    url = wanted.url.replace("amqp://", "rabbit://")
    transport = oslo_messaging.get_notification_transport(conf, url=url)
    # As every deployment that survives a restart of its broker: durable exchanges and queues.
    conf.set_override("amqp_durable_queues", True, group="oslo_messaging_rabbit")
    conf.set_override("driver", [wanted.driver, *(["log"] if wanted.paced else [])], "oslo_messaging_notifications")
    notifier = oslo_messaging.Notifier(
        transport,
        publisher_id="network.host-1",
        topics=[wanted.topic],
        retry=None if wanted.paced else 3,
    )

    def publish(number: int) -> None:
        port = {"id": f"port-{number}", "binding:vnic_type": "baremetal", "name": "größe <b> & co"}
        notifier.info({"request_id": f"req-{number}"}, "port.create.end", {"port": port})

    if wanted.paced:
        _publish_paced(publish, wanted.count, failures)
        failures.count = 0  # each was tried until it succeeded
    else:
        for number in range(wanted.count):
            publish(number)
    transport.cleanup()
    return 1 if failures.count else 0


def _publish_paced(publish: Callable[[int], None], count: int, failures: _Failures) -> None:
    ids = _Ids()
    logger = logging.getLogger("oslo.messaging.notification")
    logger.setLevel(logging.INFO)
    logger.addHandler(ids)
    number = 0
    while number < count and (line := sys.stdin.readline()):
        while number < min(int(line), count):
            before = failures.count
            publish(number)
            given_up = failures.count > before
            print("unsure" if given_up else "sent", number, ids.newest, flush=True)
            number += not given_up


if __name__ == "__main__":
    sys.exit(main())
