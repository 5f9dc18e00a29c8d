"""Peers of the triggers whose object goes to a Kubernetes API: a real API server, and what holds the object where the manifest
does not: buckets, repositories, web servers, files.
"""

from __future__ import annotations

import asyncio
import copy
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from argosy.manifests.fields import Json
from tests.brokers.sources.openssh import OpenSSH
from tests.conformance.trigger import eventually
from tests.corpus.sensor_events import differences
from tests.corpus.sensor_peers import Judge, Scene, peer
from tests.kubernetes import certificates
from tests.peers.moto_server import MotoServer
from tests.unit.triggers.git_server import GitHttp, Repository
from tests.unit.triggers.receivers import Answer, HttpServer

_API = "argoproj.io/v1alpha1"
HELD: Mapping[str, Any] = {
    "apiVersion": _API,
    "kind": "Workflow",
    "metadata": {"generateName": "held-elsewhere-"},
    "spec": {
        "entrypoint": "print-message",
        "templates": [{"name": "print-message", "container": {"image": "busybox", "command": ["echo"]}}],
    },
}
"""The object where an example says only where it is."""
_TEXT = yaml.safe_dump(dict(HELD))


@peer("k8s", "argoWorkflow", needs="apiserver")
async def _object(scene: Scene, trigger: dict[str, Any]) -> AsyncIterator[Judge]:
    cluster = scene.server
    kind = "argoWorkflow" if "argoWorkflow" in trigger["template"] else "k8s"
    block = trigger["template"][kind]
    scene.environment["KUBECONFIG"] = str(cluster.kubeconfig(scene.folder / "kubeconfig"))
    async with AsyncExitStack() as stack:
        source = await _source(scene, block["source"], stack)
        for one in trigger.get("parameters", ()):
            if one["dest"].startswith(f"{kind}.parameters"):
                # A parameter that writes parameters: what they say is in the event.
                where, _, word = one["dest"].removeprefix(f"{kind}.parameters.0.").rpartition(".")
                written = block["parameters"][0] = copy.deepcopy(block["parameters"][0])
                (written[where] if where else written)[word] = scene.given.value(one["src"])
        described = block.get("parameters", [])
        for one in described:
            if one["dest"] == "metadata.namespace":
                cluster.namespace(str(scene.given.value(one["src"])))
        if block.get("operation") == "submit-from":
            source = _from(scene, source)
        if namespace := source["metadata"].get("namespace"):
            cluster.namespace(namespace)
        policy = trigger.get("policy") or trigger["template"].get("policy") or {}  # an example has it in the template
        wanted = (policy.get("k8s") or {}).get("labels", {})
        labelling = asyncio.create_task(_labelled(scene, source, wanted)) if wanted else None

        async def judge(detail: Json) -> list[str]:
            about = {"name": detail["name"], "namespace": detail["namespace"]}
            target = {"apiVersion": detail["apiVersion"], "kind": detail["kind"], "metadata": about}
            made = cluster.request("GET", cluster.path(target))
            assert made["metadata"]["labels"]["events.argoproj.io/trigger"] == trigger["template"]["name"]
            events = json.loads(made["metadata"]["annotations"]["argosy.dev/event-ids"])
            wrong = differences(scene.given, source, described, made)
            known = {event.id for event in scene.given.events.values()}
            return wrong if set(events.values()) <= known else [*wrong, f"it names the events {events}"]

        yield judge
        if labelling is not None:
            await labelling


async def _source(scene: Scene, source: dict[str, Any], stack: AsyncExitStack) -> dict[str, Any]:
    """The object that the source leads to; whoever holds it runs as long as the stack is open."""
    if "resource" in source:
        return dict(copy.deepcopy(source["resource"]))
    ((place, about),) = source.items()
    if place == "configmap":
        scene.secrets.texts[about["name"], about["key"]] = _TEXT
    elif place == "file":
        path = scene.folder / about["path"].lstrip("/")
        path.parent.mkdir(parents=True)
        path.write_text(_TEXT)
        about["path"] = str(path)
    elif place == "url":
        parts = urlsplit(about["path"])
        certificates.authority(scene.folder)
        certificates.server(scene.folder, "web", f"DNS:{parts.hostname}")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(scene.folder / "web.crt", scene.folder / "web.key")
        server = await stack.enter_async_context(HttpServer(context))
        server.answers[parts.path] = Answer(body=_TEXT.encode())
        scene.leads(about["path"], 443, server.port)
    elif place == "s3":
        await asyncio.to_thread(_bucket, scene, about, stack)
    elif place == "git":
        await asyncio.to_thread(_repository, scene, about, stack)
    else:
        raise AssertionError(f"nobody holds objects in {place!r}")
    return dict(HELD)


def _bucket(scene: Scene, about: dict[str, Any], stack: AsyncExitStack) -> None:
    moto = MotoServer(scene.folder / "moto")
    stack.enter_context(moto)
    scene.leads(about["endpoint"], 80, moto.port)
    client = moto.client("s3")
    # An example that takes these from the event gets them as its event has them.
    client.create_bucket(Bucket="workflows")
    client.put_object(Bucket="workflows", Key="hello-world.yaml", Body=_TEXT.encode())
    client.close()


def _repository(scene: Scene, about: dict[str, Any], stack: AsyncExitStack) -> None:
    """GitHub's repository by its name, on a server here: what asks for it is a program that knows no ``--resolve``."""
    over_ssh = about["url"].startswith("git@")
    name = about["url"].partition(":")[2] if over_ssh else urlsplit(about["url"]).path.strip("/")
    root = scene.folder / "served"
    folder = root / name
    if not folder.exists():
        repository = Repository(folder)
        repository.commit({"examples/hello-world.yaml": _TEXT})
        for ref in ("main", "v2.4.0"):
            repository.git("tag" if ref[0] == "v" else "branch", ref)
    if over_ssh:
        server = stack.enter_context(OpenSSH(scene.folder / "ssh"))
        known = scene.folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
        scene.environment["SSH_KNOWN_HOSTS"] = str(known)
        about["url"] = f"ssh://{server.user}@127.0.0.1:{server.port}{folder}"
        if key := about.get("sshKeySecret"):
            scene.secrets.given[key["name"], key["key"]] = server.private_key
    else:
        creds = about.get("creds")
        if creds:
            scene.secrets.given[creds["username"]["name"], creds["username"]["key"]] = "robot"
        password = scene.secrets.of(creds["password"]) if creds else ""
        app = about.get("githubApp")
        served = stack.enter_context(GitHttp(root, "t0ken", "x-access-token") if app else GitHttp(root, password))
        if app:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
            scene.secrets.given[app["privateKey"]["name"], app["privateKey"]["key"]] = pem
            where = f"/api/v3/app/installations/{app['installationID']}/access_tokens"
            served.made[where] = b'{"token": "t0ken", "expires_at": "2099-01-01T00:00:00Z"}'
        about["url"] = f"{served.url}/{name}"
    about["cloneDirectory"] = str(scene.folder / about["cloneDirectory"].lstrip("/"))


def _from(scene: Scene, source: dict[str, Any]) -> dict[str, Any]:
    """Make what a Workflow is submitted from; what the Workflow should be."""
    about = {"name": source["metadata"]["name"], "namespace": scene.namespace}
    spec = dict(HELD["spec"])
    whole = {"schedule": "0 0 * * *", "workflowSpec": spec} if source["kind"] == "CronWorkflow" else spec
    scene.server.apply({"apiVersion": _API, "kind": source["kind"], "metadata": about, "spec": whole})
    wanted: dict[str, Any] = {"kind": "Workflow", "metadata": {"generateName": f"{about['name']}-"}}
    return {**wanted, "spec": spec} if source["kind"] == "CronWorkflow" else wanted


async def _labelled(scene: Scene, source: dict[str, Any], labels: Mapping[str, str]) -> None:
    """Label what is made, as the controller of its kind would when it is ready."""
    cluster = scene.server
    placed = {**source, "metadata": {"name": "x", "namespace": scene.namespace}}
    where = (await asyncio.to_thread(cluster.path, placed)).removesuffix("/x")
    items: list[Any] = []

    async def made() -> bool:
        items[:] = (await asyncio.to_thread(cluster.request, "GET", where))["items"]
        return bool(items)

    await eventually(made, "the object is there")
    path, patch = f"{where}/{items[0]['metadata']['name']}", {"metadata": {"labels": dict(labels)}}
    await asyncio.to_thread(cluster.request, "PATCH", path, patch, content="application/merge-patch+json")
