"""An EventBus that is installed, run by real servers: they take its configuration, its clients come in, its data stay."""

from __future__ import annotations

import base64
import datetime as dt
import json
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from argosy.bus._base import Bus
from argosy.bus._embedded_child import find_binary
from argosy.errors import BusError
from argosy.kubernetes.buses import bus_manifest
from argosy.kubernetes.workloads import Credentials, Settings, bus_config, event_bus, kept, made, renewed
from argosy.manifests.bundle import loads
from argosy.manifests.eventbus import EventBus
from argosy.runtime.buses import DECLARED, Buses
from argosy.runtime.secrets import Secrets
from tests.brokers.installed_bus import Installed
from tests.brokers.nats_server import connect
from tests.conformance.bus import PAIR, publish, read_ids
from tests.unit.kubernetes.objects import event_bus_of

NOW = dt.datetime.now(dt.UTC)
ONE = "{jetstream: {version: latest, replicas: 1}}"


def buses(bus: EventBus, url: str, held: Credentials) -> Buses:
    """The bus as a pod opens it: from ``status.config``, with what its two Secrets hold. Only the address is another."""
    config = bus_config(bus, Settings())
    config["jetstream"]["url"] = url
    bundle = loads(json.dumps(bus_manifest("shop", "default", config)))
    assert not bundle.count("error"), bundle.findings
    secrets = Secrets()
    data = [one for one in event_bus(bus, Settings(), held) if one["kind"] == "Secret"]
    values = {("shop", one["metadata"]["name"]): _plain(one["data"]) for one in data}
    # Nobody but the servers sees what is theirs.
    del values["shop", "eventbus-default-js-server"]
    secrets.update(values, {})
    found = Buses(DECLARED, secrets)
    found.update(bundle)
    return found


async def works(opened: Bus, ids: list[int]) -> None:
    """The bus keeps and hands out events."""
    async with opened.subscribe(f"c{ids[0]}", [PAIR]) as subscription:
        await publish(opened, ids)
        assert await read_ids(subscription, len(ids)) == [str(one) for one in ids]


@pytest.mark.parametrize(
    "spec",
    [
        ONE,
        "{jetstream: {version: latest, replicas: 3}}",
        "{jetstream: {version: latest, replicas: 5, maxPayload: 8MB}}",
        "{jetstream: {version: latest, settings: 'max_memory_store: 1GB\nmax_file_store: 2GB\n# end'}}",
        "{nats: {native: {auth: token, maxAge: 72h, maxPayload: 2MB}}}",
    ],
)
def test_the_server_takes_the_configuration(spec: str, tmp_path: Path) -> None:
    bus = event_bus_of(spec.replace("\n", "\\n").replace("'", '"'))
    held = made(bus, NOW)

    for one in (held, replace(held, adopted=True)):
        installed = Installed(tmp_path / str(one.adopted), event_bus(bus, Settings(), one))
        told = subprocess.run(
            [find_binary(), "-t", "-c", str(installed.config(0))],
            env=installed.environment(0),
            capture_output=True,
            text=True,
        )
        assert told.returncode == 0, told.stderr


async def test_a_client_with_the_bus_credentials_comes_in_and_what_it_stores_outlives_the_server(
    tmp_path: Path,
) -> None:
    # Given a single server with TLS
    bus = event_bus_of(ONE)
    held = made(bus, NOW)
    with Installed(tmp_path, event_bus(bus, Settings(), held)) as installed:
        for probe in ("livenessProbe", "readinessProbe"):
            installed.answers(0, probe)
        pods = buses(bus, installed.url, held)

        # When a pod opens the bus by its status and Secrets, and the server is killed meanwhile
        opened = await pods.get("shop", "default")
        await works(opened, [1, 2])
        installed.end(0)
        installed.start(0)

        # Then it goes on, and the first events are still there
        await works(opened, [3])
        client = await raw_client(installed, held)
        info = await client.jetstream().stream_info("default")
        assert (info.state.messages, info.config.num_replicas) == (3, 1)
        await client.close()
        await pods.close()

        # And the store is no plain text
        stored = b"".join(path.read_bytes() for path in (tmp_path / "0" / "data").rglob("*") if path.is_file())
        assert stored and b"specversion" not in stored


async def test_nobody_comes_in_without_the_password_or_to_a_server_of_somebody_else(tmp_path: Path) -> None:
    bus = event_bus_of(ONE)
    held, other = made(bus, NOW), made(bus, NOW)
    with Installed(tmp_path, event_bus(bus, Settings(), held)) as installed:
        stranger = buses(bus, installed.url, replace(held, password="wrong"))._make("shop", "default")
        with pytest.raises(BusError, match="does not accept our credentials"):
            await stranger.__aenter__()
        deceived = replace(other, user=held.user, password=held.password)
        with pytest.raises(ssl.SSLCertVerificationError):
            await raw_client(installed, deceived)


async def test_a_renewed_certificate_is_taken_without_a_restart_and_trusted_by_who_has_the_old_secret(
    tmp_path: Path,
) -> None:
    # Given a server whose certificate ends in two months
    bus = event_bus_of(ONE)
    old = made(bus, NOW - dt.timedelta(days=300))
    with Installed(tmp_path, event_bus(bus, Settings(), old)) as installed:
        # When it is renewed, and the kubelet and the reloader have done their work
        new = renewed(old, bus, NOW)
        assert new.server_certificate != old.server_certificate
        installed.apply(event_bus(bus, Settings(), new))
        installed.reload(0)

        # Then clients with the former Secret come in
        for held in (old, new):
            pods = buses(bus, installed.url, held)
            await works(await pods.get("shop", "default"), [len(held.authorities) + (held is new)])
            await pods.close()
        assert "Reloaded: tls" in installed.log(0)


async def test_a_store_that_upstreams_installation_encrypted_is_taken_over(tmp_path: Path) -> None:
    # Given a server as upstream configures it: the variable of the key in quotes
    bus = event_bus_of(ONE)
    theirs = made(bus, NOW)
    objects = as_upstream(event_bus(bus, Settings(), theirs))
    with Installed(tmp_path, objects) as installed:
        pods = buses(bus, installed.url, theirs)
        await works(await pods.get("shop", "default"), [1])
        await pods.close()
        installed.end(0)

        # When we take over with the Secrets that it left
        found = kept(*objects[:2])
        assert found
        held = renewed(found, bus, NOW)
        installed.apply(event_bus(bus, Settings(), held))
        installed.start(0)
        installed.answers(0, "startupProbe")

        # Then the events are there, for the same user
        pods = buses(bus, installed.url, held)
        opened = await pods.get("shop", "default")
        client_now = await raw_client(installed, held)
        assert (await client_now.jetstream().stream_info("default")).state.messages == 1
        await client_now.close()
        await works(opened, [2])
        await pods.close()


def as_upstream(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The objects as upstream's controller would have written them: the variable of the key in quotes, no key of an authority, no label
    of ours.
    """
    ours = ("authority-private-key", "next-authority-private-key")
    for one in objects:
        del one["metadata"]["labels"]["app.kubernetes.io/managed-by"]
        if one["kind"] == "Secret":
            one["data"] = {key: text for key, text in one["data"].items() if key not in ours}
        elif one["kind"] == "ConfigMap":
            text = one["data"]["nats-js"]
            assert "encryption_key: $JS_KEY" in text
            one["data"]["nats-js"] = text.replace("encryption_key: $JS_KEY", 'key: "$JS_KEY"')
    return objects


def _plain(data: dict[str, str]) -> dict[str, str]:
    return {key: base64.b64decode(text).decode() for key, text in data.items()}


async def raw_client(installed: Installed, held: Credentials) -> Any:
    """A plain client of the bus."""
    context = ssl.create_default_context(cadata=held.authorities)
    return await connect(installed.url.split(","), user=held.user, password=held.password, tls=context)
