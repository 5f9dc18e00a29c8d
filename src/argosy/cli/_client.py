"""Asking a run that goes on: finding its API, one question, an answer or lines that come one by one.

The run is found by ``ARGOSY_API`` and ``ARGOSY_TOKEN``, else by ``api.json`` in its data folder (``--data``). Only the standard library is used,
so that a command answers fast. On a cluster the pods of a namespace are asked in its place: ``argosy.cli._cluster``.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import click

SECONDS = 90.0
_LINE_SECONDS = 30.0
"""The API sends a line, if only an empty one, more often than this."""
_ROOT = "/api/v1"

C = TypeVar("C", bound=Callable[..., Any])


class Refused(click.ClickException):
    """The run answered with an error, or nothing answers. Exit code 1; ``status`` is 0 where nothing answered."""

    def __init__(self, sentence: str, status: int = 0) -> None:
        super().__init__(sentence)
        self.status = status


KUBECTL = "kubectl argosy"
"""What the program is called where it is a plug-in of kubectl; then it is always a cluster that is asked."""


def on_cluster(command: C) -> C:
    """The options that say which cluster: ``context`` and ``cluster``."""
    for option in (
        click.option(
            "--context", default="", metavar="NAME", help="The context of the kubeconfig to use, on a cluster."
        ),
        click.option(
            "--cluster",
            is_flag=True,
            help="Ask the pods of a namespace of a cluster (-n, or the context's), as KUBECONFIG says. -n alone says so, too, where no run of"
            " this machine is meant.",
        ),
    ):
        command = option(command)
    return command


def connected(command: C) -> C:
    """A command with ``--data``, ``--cluster`` and ``--context`` that gets the ``Client`` to ask as its first argument."""
    has_namespace = any(each.name == "namespace" for each in getattr(command, "__click_params__", ()))

    @click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path(".argosy"),
        show_default=True,
        help="Data folder of the run to ask (its --data). ARGOSY_API and ARGOSY_TOKEN name another.",
    )
    @on_cluster
    @functools.wraps(command)
    def asking(*args: Any, data: Path, context: str, cluster: bool, **kwargs: Any) -> Any:
        namespace = kwargs["namespace"] if has_namespace else kwargs.pop("namespace")
        return command(find(data, namespace, context, cluster=cluster), *args, **kwargs)

    if not has_namespace:
        asking = click.option("-n", "--namespace", default="", metavar="NAME", help="The namespace of a cluster.")(
            asking
        )
    return asking  # type: ignore[return-value]


def find(data: Path, namespace: str, context: str, *, cluster: bool) -> Client:
    """Whom the words of the command mean: the pods of a namespace, or a run of this machine. Raises Refused."""
    ctx = click.get_current_context()
    said = ctx.get_parameter_source("data") is click.core.ParameterSource.COMMANDLINE
    run_meant = said or "ARGOSY_API" in os.environ or (data / "api.json").exists()
    if cluster or context or ctx.find_root().info_name == KUBECTL or (namespace and not run_meant):
        from argosy.cli._cluster import Cluster

        return Cluster.find(namespace, context)
    return Client.find(data)


class Client:
    """One run. Paths are below ``/api/v1``; make those that hold ids with ``path``."""

    def __init__(self, url: str, token: str, *, known_by: str) -> None:
        self._url = urlsplit(url)
        self._token = token
        self._known_by = known_by
        if self._url.scheme not in ("http", "https") or not self._url.hostname:
            raise Refused(f"{known_by} names no address such as http://127.0.0.1:7777")

    @classmethod
    def find(cls, data: Path) -> Client:
        """The run of this data folder, or of the environment. Raises Refused with what to do if there is none."""
        if url := os.environ.get("ARGOSY_API"):
            token = os.environ.get("ARGOSY_TOKEN", "")
            if not token:
                raise Refused(
                    "ARGOSY_API is set and ARGOSY_TOKEN is not; the token stands in api.json in the run's data folder"
                )
            return cls(url, token, known_by="ARGOSY_API")
        file = data / "api.json"
        try:
            said = json.loads(file.read_text())
            return cls(said["url"], said["token"], known_by=str(file))
        except FileNotFoundError:
            raise Refused(
                f"nothing runs with the data folder '{data}' (there is no {file}). Start it with 'argosy run PATH',"
                " give the folder of the run with --data, or set ARGOSY_API and ARGOSY_TOKEN; to ask a cluster give -n NAMESPACE"
            ) from None
        except PermissionError:
            raise Refused(
                f"{file} belongs to another user; ask as the one who started the run,"
                " or set ARGOSY_API and ARGOSY_TOKEN"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Refused(f"{file} is not what a run writes there: {error}") from None

    def get(self, path: str, **query: object) -> Any:
        """The answer to a question. Words of the query that are None, empty or False are left out."""
        return self._answer("GET", path, query, None)

    def post(self, path: str, body: object = None, **query: object) -> Any:
        """The answer to an order; ``body`` is sent as JSON."""
        return self._answer("POST", path, query, body)

    def lines(
        self, method: str, path: str, body: object = None, *, text_of: str = "", **query: object
    ) -> Iterator[Any]:
        """The values of an answer in lines, as they come. Raises Refused if the last one is an error or they break off.

        The member ``text_of`` is left as its JSON text: every digit of it is the sender's.
        """
        connection, answer = self._ask(method, path, query, body, _LINE_SECONDS)
        try:
            while line := answer.readline():
                if not line.strip():
                    continue
                value = json.loads(line)
                if text_of and isinstance(value, dict) and text_of in value:
                    value[text_of] = _member(line, text_of)
                if isinstance(value, dict) and set(value) == {"error"}:
                    raise Refused(str(value["error"]), answer.status)
                yield value
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Refused(f"{self._named} is gone in the middle of its answer") from error
        finally:
            connection.close()

    @property
    def _named(self) -> str:
        return f"the run at {self._shown}"

    @property
    def _shown(self) -> str:
        return f"{self._url.scheme}://{self._url.hostname}:{self._url.port or ''}".rstrip(":")

    def _answer(self, method: str, path: str, query: dict[str, object], body: object) -> Any:
        connection, answer = self._ask(method, path, query, body, SECONDS)
        try:
            return json.loads(answer.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Refused(f"{self._named} broke off its answer") from error
        finally:
            connection.close()

    def _ask(
        self, method: str, path: str, query: dict[str, object], body: object, seconds: float
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        make = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
        assert self._url.hostname is not None
        connection = make(self._url.hostname, self._url.port, timeout=seconds)
        target = f"{self._url.path.rstrip('/')}{target_of(path, query)}"
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        sent = None
        if body is not None:
            sent, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        try:
            connection.request(method, target, sent, headers)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Refused(
                f"nothing answers at {self._shown}, which {self._known_by} names ({error or type(error).__name__});"
                " the run has ended, or listens elsewhere now. Start it with 'argosy run PATH'"
            ) from None
        except UnicodeError:
            connection.close()
            raise Refused(f"the token of {self._known_by} cannot be a token") from None
        if answer.status >= 400:
            raise self._refusal(connection, answer)
        return connection, answer

    def _refusal(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> Refused:
        try:
            sentence = str(json.loads(answer.read())["error"])
        except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
            return Refused(f"{self._shown} is no API of Argosy (it answers {answer.status})", answer.status)
        finally:
            connection.close()
        if answer.status == 401:
            sentence = f"the run at {self._shown} does not accept the token of {self._known_by}: {sentence}"
        return Refused(sentence, answer.status)


def _member(line: bytes, name: str) -> str:
    import msgspec

    return bytes(msgspec.json.decode(line, type=dict[str, msgspec.Raw])[name]).decode()


def path(*segments: str) -> str:
    """A path of these segments, each spelled so that it stays one: ``path("events", id)``."""
    return "".join("/" + quote(segment, safe="") for segment in segments)


def target_of(path: str, query: Mapping[str, object]) -> str:
    """The path of the API with its query."""
    words = {
        name: "true" if value is True else str(value) for name, value in query.items() if value not in (None, "", False)
    }
    return f"{_ROOT}{path}{'?' + urlencode(words) if words else ''}"
