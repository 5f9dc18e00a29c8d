"""Sends given notifications with the real ``oslo.messaging`` notifier. Run as a program, for it brings threads and loggers.

Standard input holds one notification a line, as JSON: ``publisher_id``, ``event_type``, ``payload`` and ``context``.
Everything else (``message_id``, ``timestamp``, the envelope, the message's properties) is oslo.messaging's.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]


def replay(url: str, exchange: str, notifications: Iterable[Mapping[str, Any]]) -> None:
    """Run this file as a program; return once the broker has every notification. Raises RuntimeError otherwise."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.oslo_replay", url, exchange],
        input="".join(json.dumps(one) + "\n" for one in notifications),
        text=True,
        cwd=_ROOT,
        capture_output=True,
        timeout=60,
    )
    if done.returncode:
        raise RuntimeError(f"oslo_replay ended with {done.returncode}: {done.stderr[-2000:]}")


class _Failures(logging.Handler):
    """Oslo.messaging logs what it cannot send and goes on; here that ends the program."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.exit(self.format(record))


def main() -> None:
    """The program."""
    import oslo_messaging
    from oslo_config import cfg

    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("exchange")
    wanted = parser.parse_args()

    logging.getLogger("oslo_messaging").addHandler(_Failures(logging.ERROR))
    conf = cfg.ConfigOpts()
    conf([], project="replay", default_config_files=[])
    oslo_messaging.set_transport_defaults(wanted.exchange)
    transport = oslo_messaging.get_notification_transport(conf, url=wanted.url.replace("amqp://", "rabbit://"))
    conf.set_override("amqp_durable_queues", True, group="oslo_messaging_rabbit")
    for line in sys.stdin:
        one = json.loads(line)
        notifier = oslo_messaging.Notifier(
            transport, publisher_id=one["publisher_id"], driver="messagingv2", topics=["notifications"], retry=3
        )
        notifier.info(one["context"], one["event_type"], one["payload"])
    transport.cleanup()


if __name__ == "__main__":
    main()
