"""A real Kafka in KRaft mode: one broker, with logins, TLS with client certificates, and rights.

``argosy`` may do everything; ``reader`` may look at topics and read them, in no group; ``nobody`` may do nothing.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from tests.brokers.sources.server import Server, built, program
from tests.cli.running import free_port

PASSWORD = "p@ss/w:rd%41"
_CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw"
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")


class KafkaServer(Server):
    """One broker. ``port`` wants a login, ``tls_port`` a login and a certificate, ``open_port`` nothing."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.password = PASSWORD
        self.open_port = self.certified_port = self._tried = 0
        self.advertised = "127.0.0.1"
        """The host by which the broker calls itself to those who come by TLS."""

    def ports(self) -> list[int]:
        return [self.port, self.tls_port, self.open_port, self.certified_port]

    def command(self) -> list[str]:
        jars = built("kafka")
        java = [
            program("java", "kafka"), "-Xms96m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-Xshare:auto", "-cp", f"{jars}/*",
        ]  # fmt: skip
        properties = self.folder / "server.properties"
        if self._tried != self.port:  # The other ports were tried and are not free, or this is the first try.
            self._tried, self.open_port, self.certified_port = self.port, free_port(), free_port()
        properties.write_text(self._properties(free_port()))
        if not (self.folder / "data").exists():
            pem = (self.folder / "server.key").read_text() + (self.folder / "server.crt").read_text()
            (self.folder / "server.pem").write_text(pem)
            scram = [f"{mechanism}=[name=argosy,password={self.password}]" for mechanism in _MECHANISMS[1:3]]
            done = subprocess.run(
                [*java, "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(properties)]
                + [part for text in scram for part in ("--add-scram", text)],
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stdout + done.stderr
        return [*java, "kafka.Kafka", str(properties)]

    def set_password(self, password: str) -> None:
        self.password = password

    def client(self) -> dict[str, Any]:
        """What the library's clients need to come in by the open port."""
        return {"bootstrap_servers": f"127.0.0.1:{self.open_port}", "request_timeout_ms": 20_000}

    def _properties(self, controller: int) -> str:
        listeners = {
            "LOGIN": ("SASL_PLAINTEXT", self.port, "127.0.0.1"),
            "SECURED": ("SASL_SSL", self.tls_port, self.advertised),
            "CERTIFIED": ("SSL", self.certified_port, "127.0.0.1"),
            "OPEN": ("PLAINTEXT", self.open_port, "127.0.0.1"),
            "CONTROLLER": ("PLAINTEXT", controller, ""),
        }
        listens = ",".join(f"{name}://127.0.0.1:{port}" for name, (_, port, _) in listeners.items())
        advertised = ",".join(f"{name}://{host}:{port}" for name, (_, port, host) in listeners.items() if host)
        lines = [
            "process.roles=broker,controller",
            "node.id=1",
            f"controller.quorum.voters=1@127.0.0.1:{controller}",
            f"listeners={listens}",
            f"advertised.listeners={advertised}",
            f"listener.security.protocol.map={','.join(f'{name}:{kind}' for name, (kind, _, _) in listeners.items())}",
            "controller.listener.names=CONTROLLER",
            "inter.broker.listener.name=OPEN",
            f"log.dirs={self.folder}/data",
            "offsets.topic.replication.factor=1",
            "offsets.topic.num.partitions=1",
            "transaction.state.log.replication.factor=1",
            "transaction.state.log.min.isr=1",
            "transaction.state.log.num.partitions=1",
            "broker.session.timeout.ms=1000",  # so long a killed broker is waited for when it starts again
            "broker.heartbeat.interval.ms=200",
            "group.initial.rebalance.delay.ms=0",
            "group.min.session.timeout.ms=500",
            "auto.create.topics.enable=false",
            "log.cleaner.enable=false",
            "message.max.bytes=200000",
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users=User:argosy;User:ANONYMOUS;User:CN=client",
            f"sasl.enabled.mechanisms={','.join(_MECHANISMS)}",
            "ssl.keystore.type=PEM",
            f"ssl.keystore.location={self.folder}/server.pem",
            "ssl.truststore.type=PEM",
            f"ssl.truststore.location={self.folder}/ca.crt",
            "ssl.client.auth=required",
            "listener.name.secured.ssl.client.auth=required",
            "listener.name.certified.ssl.client.auth=required",
        ]
        users = "".join(f' user_{user}="{self.password}"' for user in ("argosy", "reader", "nobody"))
        security = "org.apache.kafka.common.security"
        for name in ("login", "secured"):
            prefix = f"listener.name.{name}"
            unsecured = "oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"
            lines += [
                f"{prefix}.plain.sasl.jaas.config={security}.plain.PlainLoginModule required{users};",
                f"{prefix}.scram-sha-256.sasl.jaas.config={security}.scram.ScramLoginModule required;",
                f"{prefix}.scram-sha-512.sasl.jaas.config={security}.scram.ScramLoginModule required;",
                f"{prefix}.oauthbearer.sasl.jaas.config={security}.oauthbearer.OAuthBearerLoginModule required"
                ' unsecuredLoginStringClaim_sub="broker";',
                f"{prefix}.oauthbearer.sasl.server.callback.handler.class={security}.{unsecured}",
            ]
        return "\n".join(lines) + "\n"
