"""What a process says of its readiness, to who starts it and to who sends it requests."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request

import pytest

from argosy.runtime import admin


class _Process:
    def __init__(self) -> None:
        self.late: list[str] = []

    async def waiting_for(self) -> list[str]:
        return self.late

    async def metrics(self) -> bytes:
        return b""


async def _asked(url: str) -> int:
    def ask() -> int:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    return await asyncio.to_thread(ask)


async def test_who_sends_requests_is_not_turned_away_again_for_one_thing_that_is_late() -> None:
    # Given a process of which something has not begun yet
    process = _Process()
    process.late = ["source 'a/b'"]
    async with admin.admin("127.0.0.1:0", process.waiting_for, process.metrics, None) as base:
        assert (await _asked(f"{base}/readyz"), await _asked(f"{base}/readyz/once")) == (503, 503)

        # When all works, then it is ready
        process.late = []
        assert (await _asked(f"{base}/readyz"), await _asked(f"{base}/readyz/once")) == (200, 200)

        # And when something fails later, the others still get their requests
        process.late = ["source 'c/d'"]
        assert (await _asked(f"{base}/readyz"), await _asked(f"{base}/readyz/once")) == (503, 200)


async def test_what_never_comes_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "_SETTLING_SECONDS", 0.0)
    process = _Process()
    process.late = ["source 'a/b'"]

    async with admin.admin("127.0.0.1:0", process.waiting_for, process.metrics, None) as base:
        assert (await _asked(f"{base}/readyz"), await _asked(f"{base}/readyz/once")) == (503, 200)
