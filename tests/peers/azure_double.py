"""A double of Azure Service Bus and Event Hubs: AMQP 1.0 by Apache Qpid Proton, with the parts of Azure's contract on top
that a reader and a sender need. Run as a child: ``python -m tests.peers.azure_double PORT CONTROL-PORT FILE``.

What it plays, from Microsoft's "AMQP 1.0 in Azure Service Bus and Event Hubs protocol guide": ``$cbs`` put-token with
checked signatures, and no link without a token for it; queues, topics with subscriptions, locks that end, dispositions,
``com.microsoft:renew-lock``; hubs with partitions, selectors by sequence number and offset, ``READ`` of hub and partition,
batches of events. What it holds stands in FILE before anybody is told that it is kept, so a SIGKILL loses nothing.
It is no Azure: limits, sessions, and throttling are missing. One file of more than 400 lines, since it is one service:
what a link may, what it reads, and what the control port shows are the same few lists.

The control port answers HTTP POSTs of JSON: ``{"do": "put" | "look" | "set" | "release", ...}``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import os
import pickle
import queue
import re
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

from proton import UNDESCRIBED, Array, Condition, Data, Delivery, Described, Endpoint, Message, symbol, timestamp, ulong
from proton.handlers import IncomingMessageHandler, MessagingHandler, OutgoingMessageHandler
from proton.reactor import Container

_CREDIT = 100
_SELECTOR = re.compile(r"amqp\.annotation\.x-opt-(sequence-number|offset) (>=?) '([^']*)'")


@dataclass
class Entry:
    """A message that is kept."""

    number: int
    raw: bytes
    id: str
    enqueued: float
    deliveries: int = 0
    lock: bytes = b""
    until: float = 0.0


@dataclass
class Kept:
    """What outlives a kill."""

    queues: dict[str, list[Entry]] = field(default_factory=dict)
    dead: dict[str, list[str]] = field(default_factory=dict)
    accepted: dict[str, int] = field(default_factory=dict)
    hubs: dict[str, list[list[Entry]]] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)


class Double(MessagingHandler):  # type: ignore[misc]
    """The reactor's side; every attribute belongs to its thread."""

    def __init__(self, port: int, file: Path, commands: queue.Queue[Any]) -> None:
        super().__init__(prefetch=0)
        # Deliveries are handled as they are: a batch is no message that the usual handler could decode.
        usual = (IncomingMessageHandler, OutgoingMessageHandler)
        self.handlers = [each for each in self.handlers if not isinstance(each, usual)]
        self._port = port
        self._file = file
        self._commands = commands
        self.kept: Kept = pickle.loads(file.read_bytes()) if file.exists() else Kept()
        self.settings: dict[str, Any] = {
            "keys": {"root": "a-key-of-nobody+/="},
            "jwt": "",
            "lock_seconds": 30.0,
            "answer": "",
            "hold": False,
        }
        self._tokens: dict[Any, set[str]] = {}
        self._readers: dict[Any, dict[str, Any]] = {}
        self._held: list[tuple[Any, Any]] = []
        self._ending: list[tuple[Any, Any]] = []
        self.connections = 0
        self.renewed = 0
        self.credit = 0

    # The reactor's events

    def on_start(self, event: Any) -> None:
        self._container = event.container
        self._acceptor = event.container.listen(f"amqp://127.0.0.1:{self._port}")
        event.container.schedule(0.01, self)

    def on_timer_task(self, event: Any) -> None:
        event.container.schedule(0.01, self)
        while not self._commands.empty():
            command, answer = self._commands.get()
            try:
                answer.put(getattr(self, f"_do_{command.pop('do')}")(**command))
            except Exception as error:
                answer.put({"error": repr(error)})
        ending, self._ending = self._ending, []
        for link, link.condition in ending:
            link.close()
        for link in list(self._readers):
            self._serve(link)

    def on_connection_opened(self, event: Any) -> None:
        self.connections += 1
        self._tokens[event.connection] = set()

    def on_connection_opening(self, event: Any) -> None:
        event.connection.container = "azure-double"

    def on_disconnected(self, event: Any) -> None:
        self._readers = {link: reader for link, reader in self._readers.items() if link.connection != event.connection}

    def on_link_opening(self, event: Any) -> None:
        link = event.link
        link.source.copy(link.remote_source)
        link.target.copy(link.remote_target)
        link.max_message_size = ulong(1024 * 1024)  # a limit of the standard tier
        address = (link.remote_source if link.is_sender else link.remote_target).address or ""
        if address.endswith(("$cbs", "$management")):
            if link.is_receiver:
                link.flow(_CREDIT)
            return
        path = re.sub(r"^amqps?://[^/]*/", "", address)
        if not self._allowed(event.connection, path):
            self._end(
                link, "amqp:unauthorized-access", f"Unauthorized access. 'Listen' claim(s) are required for {path}"
            )
        elif self._place(path) is None:
            self._end(link, "amqp:not-found", f"The messaging entity '{path}' could not be found.")
        elif link.is_sender:
            self._readers[link] = {"path": path, "after": self._after(link, path), "out": {}}
        else:
            # Who is not let in gets no credit either.
            link.flow(_CREDIT)

    def on_link_closing(self, event: Any) -> None:
        self._readers.pop(event.link, None)

    def on_session_closing(self, event: Any) -> None:
        self._readers = {link: reader for link, reader in self._readers.items() if link.session != event.session}

    def on_link_flow(self, event: Any) -> None:
        link = event.link
        if link in self._readers:
            self.credit = max(self.credit, link.credit)
            self._serve(link)
            if link.drain_mode:
                link.drained()

    def on_delivery(self, event: Any) -> None:
        delivery, link = event.delivery, event.link
        if link.is_sender:
            if delivery.updated:
                self._outcome(delivery)
                delivery.update(delivery.remote_state)
                delivery.settle()
            return
        if not delivery.readable or delivery.partial:
            return
        raw = link.recv(delivery.pending)
        link.advance()
        link.flow(1)
        address = link.remote_target.address or ""
        if not address.endswith(("$cbs", "$management")):
            self._judge(delivery, re.sub(r"^amqps?://[^/]*/", "", address), raw)
            return
        event.message = Message()
        event.message.decode(raw)
        if address.endswith("$cbs"):
            self._put_token(event)
        else:
            self._manage(event)

    def _unbatched(self, raw: bytes) -> list[bytes]:
        """The messages of a batch, or the one that it is."""
        found, data = [], Data()
        rest = raw
        while rest:
            size = data.decode(rest)
            rest = rest[size:]
            data.rewind()
            data.next()
            section = data.get_object()
            if isinstance(section, Described) and section.descriptor == 0x75:
                found.append(bytes(section.value))
            data.clear()
        inner = [each for each in found if each[:2] == b"\x00\x53" and each[2:3] and 0x70 <= each[2] <= 0x78]
        return inner if inner and len(inner) == len(found) else [raw]

    # Senders

    def _judge(self, delivery: Any, path: str, raw: bytes) -> None:
        if self.settings["hold"]:
            self._held.append((delivery, (path, raw)))
            return
        if self._place(path) is None or not self._allowed(delivery.link.connection, path):
            return  # its link is about to end
        condition = self.settings["answer"]
        if condition == "drop":
            delivery.link.connection.transport.close_tail()
            delivery.link.connection.close()
        elif condition:
            delivery.local.condition = _condition(condition, f"the double says {condition}")
            delivery.update(Delivery.REJECTED)
            delivery.settle()
        else:
            for each in self._unbatched(raw):
                self._put(path, each)
            self._save()
            delivery.update(Delivery.ACCEPTED)
            delivery.settle()

    def _put(self, path: str, raw: bytes) -> int:
        message = Message()
        message.decode(raw)
        name, _, partition = path.partition("/Partitions/")
        number = self.kept.numbers[path] = self.kept.numbers.get(path, 0) + 1
        entry = Entry(number, raw, str(message.id or ""), time.time())
        if name in self.kept.hubs:
            partitions = self.kept.hubs[name]
            key = (message.annotations or {}).get("x-opt-partition-key", "")
            chosen = int(partition) if partition else sum(str(key).encode()) % len(partitions)
            number = self.kept.numbers[f"{name}/{chosen}"] = self.kept.numbers.get(f"{name}/{chosen}", -1) + 1
            entry.number = number
            partitions[chosen].append(entry)
            return number
        fans = [place for place in self.kept.queues if place.lower().startswith(f"{path.lower()}/subscriptions/")]
        for place in fans or [self._place(path) or path]:
            self.kept.queues[place].append(Entry(number, raw, entry.id, entry.enqueued))
        return number

    # Readers

    def _serve(self, link: Any) -> None:
        if not link.state & Endpoint.REMOTE_ACTIVE or self.settings["hold"]:
            return
        reader = self._readers[link]
        entries = self._of(reader["path"])
        hub = "/Partitions/" in reader["path"]
        changed = False
        for entry in entries:
            if link.credit <= 0:
                break
            if hub:
                if entry.number <= reader["after"]:
                    continue
                reader["after"] = entry.number
            elif entry.until > time.time():
                continue
            message = Message()
            message.decode(entry.raw)
            own = dict(message.annotations or {})
            own[symbol("x-opt-sequence-number")] = entry.number
            own[symbol("x-opt-enqueued-time")] = timestamp(int(entry.enqueued * 1000))
            if hub:
                own[symbol("x-opt-offset")] = str(entry.number * 100)
                tag = _new_tag()
            else:
                tag = entry.lock = _new_tag()
                entry.until = time.time() + self.settings["lock_seconds"]
                entry.deliveries += 1
                own[symbol("x-opt-locked-until")] = timestamp(int(entry.until * 1000))
                message.delivery_count = entry.deliveries - 1
                reader["out"][tag] = entry
                changed = True
            message.annotations = own
            delivery = link.delivery(tag.decode())
            link.stream(message.encode())
            link.advance()
            if hub or link.remote_snd_settle_mode == 1:
                delivery.settle()
        if changed:
            self._save()

    def _outcome(self, delivery: Any) -> None:
        reader = self._readers.get(delivery.link)
        if reader is None or "/Partitions/" in reader["path"]:
            return
        entry = reader["out"].pop(_tag(delivery), None)
        if entry is None or entry.lock != _tag(delivery):
            return
        entries, state = self._of(reader["path"]), delivery.remote_state
        entry.until = 0.0
        if state == Delivery.ACCEPTED:
            entries.remove(entry)
            self.kept.accepted[reader["path"]] = self.kept.accepted.get(reader["path"], 0) + 1
        elif state == Delivery.REJECTED:
            entries.remove(entry)
            self.kept.dead.setdefault(reader["path"], []).append(entry.id)
        self._save()

    def _after(self, link: Any, path: str) -> int:
        if "/Partitions/" not in path:
            return -1
        found = link.remote_source.filter
        found.rewind()
        text = str(found.get_object() if found.next() else "")
        match = _SELECTOR.search(text)
        if not match:
            return -1
        kind, operator, value = match.groups()
        entries = self._of(path)
        if value == "@latest":
            return entries[-1].number if entries else -1
        number = int(value) if kind == "sequence-number" else int(value) // 100 if int(value) >= 0 else -1
        return number - 1 if operator == ">=" else number

    def _place(self, path: str) -> str | None:
        """The name by which the entity is kept; Azure does not mind upper and lower case."""
        name = re.sub(r"/ConsumerGroups/[^/]*/", "/", path)
        hub, _, partition = name.partition("/Partitions/")
        if hub in self.kept.hubs:
            return name if not partition or int(partition) < len(self.kept.hubs[hub]) else None
        for place in self.kept.queues:
            if place.lower() == name.lower():
                return place
        if any(place.lower().startswith(f"{name.lower()}/subscriptions/") for place in self.kept.queues):
            return name
        return None

    def _of(self, path: str) -> list[Entry]:
        place = self._place(path) or path
        hub, _, partition = place.partition("/Partitions/")
        return self.kept.hubs[hub][int(partition)] if partition else self.kept.queues[place]

    # $cbs and $management

    def _put_token(self, event: Any) -> None:
        asked = event.message
        audience, token = asked.properties["name"], str(asked.body)
        # The type says "jwt" of either: what it is tells the token itself.
        shared = token.startswith("SharedAccessSignature ")
        good = self._signed(token, audience) if shared else bool(token) and token == self.settings["jwt"]
        if good:
            self._tokens[event.connection].add(re.sub(r"^[a-z]+://[^/]*/?", "", audience))
        said = {"status-code": 202, "status-description": "Accepted"}
        if not good:
            said = {"status-code": 401, "status-description": "InvalidSignature: The token has an invalid signature."}
        self._reply(event, said, None)

    def _signed(self, token: str, audience: str) -> bool:
        parts = {name: values[0] for name, values in parse_qs(token.removeprefix("SharedAccessSignature ")).items()}
        key = self.settings["keys"].get(parts.get("skn", ""))
        if key is None or float(parts["se"]) < time.time():
            return False
        text = f"{quote(parts['sr'], safe='')}\n{parts['se']}".encode()
        wanted = base64.b64encode(hmac.digest(key.encode(), text, hashlib.sha256)).decode()
        return hmac.compare_digest(wanted, parts["sig"]) and parts["sr"].rstrip("/") == audience.rstrip("/")

    def _allowed(self, connection: Any, path: str) -> bool:
        return any(path.lower().startswith(token.rstrip("/").lower()) for token in self._tokens.get(connection, ()))

    def _manage(self, event: Any) -> None:
        asked = event.message
        operation = asked.properties["operation"]
        if operation == "READ":
            self._read(event, asked)
            return
        if operation == "com.microsoft:peek-message":
            self._reply(event, {"statusCode": 204, "statusDescription": "No Content"}, None)
            return
        if operation == "com.microsoft:renew-lock":
            tokens = {
                each.bytes_le if hasattr(each, "bytes_le") else each for each in _items(asked.body["lock-tokens"])
            }
            entries = [entry for place in self.kept.queues.values() for entry in place]
            until = time.time() + self.settings["lock_seconds"]
            mine = [entry for entry in entries if entry.lock in tokens and entry.until > time.time()]
            for entry in mine:
                entry.until = until
            self.renewed += len(mine)
            if len(mine) == len(tokens):
                times = Array(UNDESCRIBED, Data.TIMESTAMP, *(timestamp(int(until * 1000)) for _ in mine))
                self._reply(event, {"statusCode": 200, "statusDescription": "OK"}, {"expirations": times})
                return
        said = {"statusCode": 410, "statusDescription": "The lock supplied is invalid."}
        self._reply(event, said | {"errorCondition": symbol("com.microsoft:message-lock-lost")}, None)

    def _read(self, event: Any, asked: Any) -> None:
        name = asked.properties["name"]
        hub = self.kept.hubs.get(name)
        if hub is None:
            said = {"status-code": 404, "status-description": f"The messaging entity '{name}' could not be found."}
            self._reply(event, said | {"error-condition": symbol("amqp:not-found")}, None)
            return
        said = {"status-code": 200, "status-description": "OK"}
        partition = asked.properties.get("partition")
        if partition is None:
            names = Array(UNDESCRIBED, Data.STRING, *(str(number) for number in range(len(hub))))
            body = {"name": name, "created_at": timestamp(0), "partition_count": len(hub), "partition_ids": names}
        else:
            entries = hub[int(partition)]
            last = entries[-1] if entries else None
            body = {
                "name": name, "partition": partition, "is_partition_empty": not entries,
                "begin_sequence_number": entries[0].number if entries else 0,
                "last_enqueued_sequence_number": last.number if last else -1,
                "last_enqueued_offset": str(last.number * 100 if last else -1),
                "last_enqueued_time_utc": timestamp(int((last.enqueued if last else 0) * 1000)),
            }  # fmt: skip
        self._reply(event, said, body)

    def _reply(self, event: Any, properties: dict[str, Any], body: Any) -> None:
        address = event.link.remote_target.address
        link = event.session.connection.link_head(0)
        while link is not None:
            if link.is_sender and link.session == event.session and (link.remote_source.address or "") == address:
                link.send(Message(body=body, properties=properties, correlation_id=event.message.id))
                event.delivery.update(Delivery.ACCEPTED)
                event.delivery.settle()
                return
            link = link.next(0)

    def _end(self, link: Any, name: str, description: str) -> None:
        # Attached first and then detached with the reason; Proton wants a turn in between.
        self._ending.append((link, _condition(name, description)))

    # The control port

    def _do_put(self, address: str, body: str, **fields: Any) -> Any:
        annotations = {symbol(name): value for name, value in fields.pop("annotations", {}).items()}
        message = Message(body=base64.b64decode(body), inferred=True, annotations=annotations or None, **fields)
        number = self._put(address, message.encode())
        self._save()
        return {"number": number}

    def _do_set(self, queues: list[str] = [], hubs: dict[str, int] = {}, **settings: Any) -> Any:  # noqa: B006
        for name in queues:
            self.kept.queues.setdefault(name, [])
        for name, count in hubs.items():
            partitions = self.kept.hubs.setdefault(name, [])
            partitions += [[] for _ in range(count - len(partitions))]
        self.settings |= settings
        if settings.get("hold") is False:
            held, self._held = self._held, []
            for delivery, (path, raw) in held:
                self._judge(delivery, path, raw)
        self._save()
        return {}

    def _do_look(self, address: str = "") -> Any:
        base = {
            "connections": self.connections,
            "renewed": self.renewed,
            "held": len(self._held),
            "credit": self.credit,
        }
        if not address:
            return base
        hub = self.kept.hubs.get(address)
        entries = [entry for partition in hub for entry in partition] if hub else self.kept.queues[address]
        return base | {
            "accepted": self.kept.accepted.get(address, 0),
            "dead": self.kept.dead.get(address, []),
            "locked": sum(entry.until > time.time() for entry in entries),
            "messages": [_shown(entry.raw) for entry in entries],
        }

    def _save(self) -> None:
        beside = self._file.with_suffix(".new")
        beside.write_bytes(pickle.dumps(self.kept))
        os.replace(beside, self._file)


def _condition(name: str, description: str) -> Any:
    # With all three fields, as Azure's: the libraries count on the last one.
    return Condition(name, description, {symbol("tracking-id"): "0"})


def _new_tag() -> bytes:
    # Sixteen bytes, as Azure's, of which the client makes a UUID; Proton wants text.
    return uuid.uuid4().hex[:16].encode()


def _tag(delivery: Any) -> bytes:
    tag = delivery.tag
    return tag if isinstance(tag, bytes) else tag.encode("latin-1")


def _items(value: Any) -> list[Any]:
    return (
        list(value.elements)
        if isinstance(value, Array)
        else list(value)
        if isinstance(value, list | tuple)
        else [value]
    )


def _shown(raw: bytes) -> dict[str, Any]:
    message = Message()
    message.decode(raw)
    body = message.body
    return {
        "id": message.id,
        "body": bytes(body).decode() if isinstance(body, bytes | memoryview) else body,
        "contentType": None if str(message.content_type) == "None" else str(message.content_type),
        "subject": message.subject,
        "properties": {str(name): str(value) for name, value in (message.properties or {}).items()},
        "key": str((message.annotations or {}).get("x-opt-partition-key", "")),
    }


def main() -> None:
    port, control, file = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    commands: queue.Queue[Any] = queue.Queue()

    class Control(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            command = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer: queue.Queue[Any] = queue.Queue()
            commands.put((command, answer))
            text = json.dumps(answer.get(timeout=20)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", control), Control)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Container(Double(port, file, commands)).run()


if __name__ == "__main__":
    main()
