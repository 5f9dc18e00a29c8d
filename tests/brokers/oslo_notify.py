"""Publishes notifications as OpenStack's services do: with the real ``oslo.messaging`` notifier. Run as a program.

It is a process of its own because oslo.messaging brings threads, loggers and global settings. Notification ``n``
carries ``{"port": {"id": "port-n", …}}``; its ``message_id`` is oslo.messaging's own.

    python -m tests.brokers.oslo_notify amqp://… --exchange neutron --count 3
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
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
    notifier = oslo_messaging.Notifier(
        transport, publisher_id="network.host-1", driver=wanted.driver, topics=[wanted.topic], retry=3
    )
    for number in range(wanted.count):
        port = {"id": f"port-{number}", "binding:vnic_type": "baremetal", "name": "größe <b> & co"}
        notifier.info({"request_id": f"req-{number}"}, "port.create.end", {"port": port})
    transport.cleanup()
    return 1 if failures.count else 0


if __name__ == "__main__":
    sys.exit(main())
