"""A real HDFS: Hadoop's own mini cluster, one NameNode and one DataNode in one process."""

from __future__ import annotations

from hdfs_native import AsyncClient, WriteOptions

from tests.brokers.sources.server import Server, built, program


class Hadoop(Server):
    """One cluster. ``port`` is the NameNode's for RPC; whoever says that he is the user who started it may do everything."""

    def ports(self) -> list[int]:
        return [self.port]

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        data = self.folder / "data"
        fresh = [] if data.exists() else ["-format"]
        return [
            program("java", "hadoop"), "-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-cp", f"{built('hadoop')}/*", "org.apache.hadoop.test.MiniDFSClusterManager",
            *fresh, "-datanodes", "1", "-nnport", str(self.port), "-httpport", str(self.tls_port),
            "-D", f"hdfs.minidfs.basedir={data}", "-D", "dfs.replication=1",
            "-D", "dfs.namenode.safemode.threshold-pct=0", "-D", "dfs.ls.limit=5",
            "-D", "dfs.namenode.redundancy.considerLoad=false",
        ]  # fmt: skip

    def set_password(self, password: str) -> None:
        raise NotImplementedError("HDFS without Kerberos has none")


class Files:
    """Changes files by a client of others, as the user who started the cluster."""

    def __init__(self, server: Hadoop) -> None:
        self._client = AsyncClient(f"hdfs://{server.address}")

    async def make(self, path: str) -> None:
        """A directory."""
        await self._client.mkdirs(path, create_parent=True)

    async def write(self, path: str, content: bytes = b"content") -> None:
        """A file, anew where it is there."""
        for attempt in range(3):
            try:
                async with await self._client.create(path, WriteOptions(overwrite=True, replication=1)) as file:
                    if content:
                        await file.write(content)
                return
            except RuntimeError as error:
                # The client gives the only DataNode up when the machine is slow for a moment.
                if "could only be written to" not in str(error) or attempt == 2:
                    raise

    async def append(self, path: str, content: bytes) -> None:
        async with await self._client.append(path) as file:
            await file.write(content)

    async def move(self, path: str, there: str) -> None:
        await self._client.rename(path, there)

    async def remove(self, path: str) -> None:
        await self._client.delete(path, recursive=True)

    async def mode(self, path: str, octal: str) -> None:
        await self._client.set_permission(path, int(octal, 8))
