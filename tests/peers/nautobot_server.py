"""A real Nautobot with its own PostgreSQL and Redis, and three users: ``admin`` may do all, ``reader`` may look at locations, ``nobody`` nothing.

Making its database takes minutes, so it is made once for each version and kept, as SQL, beside the installed Nautobot.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from tests.brokers.sources.postgresql import PostgreSQL
from tests.brokers.sources.redis_server import RedisServer
from tests.brokers.sources.server import Server, built, program

TOKEN = "7a1c0ffee5ec2e7000000000000000000000ad31"
READER = "7a1c0ffee5ec2e70000000000000000000002eae"
NOBODY = "7a1c0ffee5ec2e700000000000000000000b0d1e"

_CONFIG = """\
from nautobot.core.settings import *
SECRET_KEY = "of the tests, which keep no secrets in it"
ALLOWED_HOSTS = ["*"]
INSTALLATION_METRICS_ENABLED = False
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES["default"] |= {database}
DATABASES["default"]["CONN_MAX_AGE"] = 0
CACHES["default"]["LOCATION"] = "{redis}/1"
CELERY_BROKER_URL = "{redis}/0"
"""
_USERS = f"""\
from django.contrib.contenttypes.models import ContentType
from nautobot.dcim.models import Location
from nautobot.users.models import ObjectPermission, Token, User
admin = User.objects.create_superuser("admin", "admin@example.com", "admin")
reader, nobody = User.objects.create_user("reader"), User.objects.create_user("nobody")
for user, key in ((admin, "{TOKEN}"), (reader, "{READER}"), (nobody, "{NOBODY}")):
    Token.objects.create(user=user, key=key)
look = ObjectPermission.objects.create(name="look", actions=["view"], constraints=dict(description="for all"))
look.object_types.add(ContentType.objects.get_for_model(Location))
look.users.add(reader)
"""


class NautobotServer(Server):
    """One server. Nothing but its users is in it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._python = built("nautobot")
        self._postgresql = PostgreSQL(folder / "postgresql")
        self._redis = RedisServer(folder / "redis")
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as held:
            held.enter_context(self._postgresql)
            held.enter_context(self._redis)
            self.folder.mkdir(parents=True, exist_ok=True)
            user = f"argosy:{quote(self._redis.password, safe='')}"
            database = {
                "NAME": "nautobot",
                "USER": "argosy",
                "PASSWORD": self._postgresql.password,
                "HOST": "127.0.0.1",
                "PORT": str(self._postgresql.port),
            }
            config = _CONFIG.format(database=database, redis=f"redis://{user}@{self._redis.address}")
            (self.folder / "nautobot_config.py").write_text(config)
            self._fill()
            super().__enter__()
            self._held = held.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self._held.close()

    def command(self) -> list[str]:
        return self._nautobot("runserver", "--noreload", f"127.0.0.1:{self.port}")

    def ports(self) -> list[int]:
        return [self.port]

    def set_password(self, password: str) -> None:
        raise NotImplementedError("Nautobot is reached by tokens")

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """What its API answers to ``admin``. Raises AssertionError if it refuses."""
        headers = {"Authorization": f"Token {TOKEN}", "Content-Type": "application/json", "Accept": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from error

    def changes(self, id: str) -> list[tuple[str, Any]]:
        """What was done to an object, the first first: ``create``, ``update`` or ``delete``, and what it was like then."""
        found = self.api("GET", f"extras/object-changes/?changed_object_id={id}&limit=100")["results"]
        return [(each["action"]["value"], each["object_data"]) for each in sorted(found, key=lambda each: each["time"])]

    def _nautobot(self, *arguments: str) -> list[str]:
        return ["env", f"NAUTOBOT_ROOT={self.folder}", self._python, "-m", "nautobot.core.cli", *arguments]

    def _fill(self) -> None:
        """Make the database, out of what was kept of it if it was made before."""
        self._postgresql.sql("CREATE DATABASE nautobot OWNER argosy", database="postgres")
        what = hashlib.sha256(_USERS.encode()).hexdigest()[:8]
        kept = Path(self._python).parents[1] / f"database-{what}.sql"
        where = ["-h", str(self._postgresql.home), "-p", str(self._postgresql.port), "-U", "argosy", "-d", "nautobot"]
        with kept.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                self._run(self._nautobot("migrate", "--no-input"))
                self._run(self._nautobot("shell"), _USERS)
                unfinished = kept.with_suffix(".unfinished")
                dump = [program("pg_dump", "postgresql"), *where, "--no-owner", "--no-privileges"]
                self._run([*dump, "-f", str(unfinished)])
                unfinished.rename(kept)
                return
        restore = ["-Xq", "-v", "ON_ERROR_STOP=1", "--single-transaction", "-f", str(kept)]
        self._run([program("psql", "postgresql"), *where, *restore])

    def _run(self, command: list[str], given: str = "") -> None:
        done = subprocess.run(command, input=given, capture_output=True, text=True, cwd=self.folder)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stdout[-1000:]} {done.stderr[-3000:]}")
