"""Services on one machine: names for pods, and a small proxy behind every cluster address.

Names are a ``hosts`` file that every pod sees: a Service with an address by that, one without by the addresses of its ready
pods, which have names of their own where they have a hostname. Which pods are ready is what the real endpoint controller says.
A port of a Service goes to one of those pods, chosen anew for each connection; a pod that refuses is refused to the caller, as
with kube-proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.watched import Object, Watched
from tests.kubernetes.apiserver import ApiServer

_Place = tuple[str, int]


class Services:
    """Follows Services and EndpointSlices from ``start`` to ``end``."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        """``folder`` will hold the folders ``names/<namespace>`` with the file ``hosts``."""
        self._folder = folder
        self._changed = threading.Event()
        self._ended = threading.Event()
        self._services = Watched(server, "/api/v1/services", self._changed.set)
        self._slices = Watched(server, "/apis/discovery.k8s.io/v1/endpointslices", self._changed.set)
        self._behind: dict[_Place, list[_Place]] = {}
        self._turns: dict[_Place, Iterator[int]] = defaultdict(itertools.count)
        self._listening: dict[_Place, asyncio.Server] = {}
        self._thread = threading.Thread(target=self._run, name="services", daemon=True)

    def start(self) -> None:
        """Return once it follows."""
        self._services.start()
        self._slices.start()
        self._thread.start()

    def end(self) -> None:
        """Return once nothing listens."""
        self._ended.set()
        self._changed.set()
        self._services.end()
        self._slices.end()
        self._thread.join(20)

    def names(self, namespace: str) -> Path:
        """The folder with the ``hosts`` of pods in this namespace."""
        place = self._folder / "names" / namespace
        if not place.exists():
            place.mkdir(parents=True)
            self._write(namespace, self._lines(namespace))
        return place

    # ------------------------------------------------------------------ names

    def _ends(self, service: Object) -> Iterator[tuple[Object, Object]]:
        """The slice and the endpoint of every pod that the Service leads to."""
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        for each in self._slices.all():
            labels = each["metadata"].get("labels") or {}
            if each["metadata"]["namespace"] == namespace and labels.get("kubernetes.io/service-name") == name:
                for endpoint in each.get("endpoints") or ():
                    if (endpoint.get("conditions") or {}).get("ready", True):
                        yield each, endpoint

    def _lines(self, namespace: str) -> list[str]:
        lines = ["127.0.0.1 localhost"]
        for service in self._services.all():
            home, name = service["metadata"]["namespace"], service["metadata"]["name"]
            stems = [name] if home == namespace else []
            stems += [f"{name}.{home}", f"{name}.{home}.svc", f"{name}.{home}.svc.cluster.local"]
            address = service["spec"].get("clusterIP")
            if address and address != "None":
                lines.append(f"{address} {' '.join(stems)}")
                continue
            for _, endpoint in self._ends(service):
                own = endpoint.get("hostname")
                for address in endpoint["addresses"]:
                    lines.append(f"{address} {' '.join(stems)}")
                    if own:
                        lines.append(f"{address} {' '.join(f'{own}.{stem}' for stem in stems)}")
        return lines

    def _write(self, namespace: str, lines: list[str]) -> None:
        file = self._folder / "names" / namespace / "hosts"
        text = "\n".join(lines) + "\n"
        if not file.exists() or file.read_text() != text:
            fresh = file.with_name("hosts.new")
            fresh.write_text(text)
            fresh.rename(file)

    # ------------------------------------------------------------------ the proxy

    def _run(self) -> None:
        asyncio.run(self._follow())

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._ended.is_set():
            for place in sorted((self._folder / "names").glob("*")):
                self._write(place.name, self._lines(place.name))
            self._behind = dict(self._routes())
            for gone in self._listening.keys() - self._behind.keys():
                self._listening.pop(gone).close()
            for fresh in self._behind.keys() - self._listening.keys():
                # Somebody may have the port on all addresses of this machine: it is tried again with the next change.
                with contextlib.suppress(OSError):
                    await self._listen(fresh)
            await loop.run_in_executor(None, self._changed.wait)
            self._changed.clear()
        for listening in self._listening.values():
            listening.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    def _routes(self) -> Iterator[tuple[_Place, list[_Place]]]:
        for service in self._services.all():
            address = service["spec"].get("clusterIP")
            if not address or address == "None" or service["metadata"]["name"] == "kubernetes":
                continue
            for port in service["spec"].get("ports") or ():
                found = []
                for each, endpoint in self._ends(service):
                    for known in each.get("ports") or ():
                        if (known.get("name") or "") == (port.get("name") or ""):
                            found += [(one, known["port"]) for one in endpoint["addresses"]]
                yield (address, port["port"]), found

    async def _listen(self, place: _Place) -> None:
        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            behind = self._behind.get(place) or []
            try:
                if not behind:
                    raise ConnectionRefusedError
                chosen = behind[next(self._turns[place]) % len(behind)]
                theirs, back = await asyncio.open_connection(*chosen)
            except OSError:
                writer.transport.abort()  # Reset, as the kernel answers for a Service without pods.
                return
            await asyncio.gather(_pump(reader, back), _pump(theirs, writer))

        self._listening[place] = await asyncio.start_server(forward, *place)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.CancelledError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.close()
