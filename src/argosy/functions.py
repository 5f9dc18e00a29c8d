"""Functions of Python that manifests name (``handler: package.module:function``): found, and called in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import importlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from argosy.errors import ConfigError

Handler = Callable[..., Any]


def two_names(handler: str) -> str:
    """``handler``, if it names a module and a function. Raises ValueError."""
    module, _, function = handler.partition(":")
    if not all(part.isidentifier() for name in (module, function) for part in name.split(".")):
        raise ValueError("names no function; write package.module:function")
    return handler


def load(handler: str, path: str) -> Handler:
    """Import the handler, looking in the folder ``path`` first if there is one. Raises ConfigError, naming module and
    function, if it cannot be had; good for lint too.

    Runs the module's own code. A folder of ``path`` stays on ``sys.path``, so that the module finds its
    neighbours.
    """
    module_name, _, names = handler.partition(":")
    what = f"handler {handler!r}"
    folder = Path(path).resolve() if path else None
    if folder is not None:
        if not folder.is_dir():
            raise ConfigError(f"{what}: path {path!r} is no folder")
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
            importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = "" if error.name == module_name else f" (it imports {error.name!r})"
        raise ConfigError(f"{what}: there is no module {error.name!r}{missing}; install it, or give path") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{what}: module {module_name!r} cannot be imported: {told(error)}") from error
    if folder is not None and not _is_in(folder, module):
        raise ConfigError(
            f"{what}: module {module_name!r} is not the one in {path!r}, another of this name was"
            f" loaded from {getattr(module, '__file__', None)!r}; give it a name of its own"
        )
    found: Any = module
    for name in names.split("."):
        if not hasattr(found, name):
            raise ConfigError(f"{what}: module {module_name!r} has no {names!r}")
        found = getattr(found, name)
    if not callable(found):
        raise ConfigError(f"{what}: {names!r} of module {module_name!r} is a {type(found).__name__}, not a function")
    function: Handler = found
    return function


def _is_in(folder: Path, module: Any) -> bool:
    places = [getattr(module, "__file__", None) or "", *getattr(module, "__path__", ())]
    # A file that Kubernetes mounted is a link; where the link stands counts.
    return any(
        place and (Path(place).is_relative_to(folder) or Path(place).resolve().is_relative_to(folder))
        for place in places
    )


def told(error: BaseException) -> str:
    """An exception in words, as a traceback ends."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def in_thread(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """What ``call`` returned or raised, in a thread of its own: one that never ends holds up neither others
    nor the process's end.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def settle(answer: Any, error: BaseException | None) -> None:
        if not ended.done():  # else it was cancelled or timed out, and nobody listens
            ended.set_result((answer, error))

    def run() -> None:
        answer: Any = None
        failure: BaseException | None = None
        try:
            answer = context.run(call)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited, SystemExit too
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is at its end
            loop.call_soon_threadsafe(settle, answer, failure)

    threading.Thread(target=run, name="argosy-handler", daemon=True).start()
    return await ended
