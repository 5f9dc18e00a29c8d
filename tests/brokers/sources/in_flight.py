"""What the sources with bounded work under way (``argosy.sources._in_flight``) have in common, said once."""

from __future__ import annotations

from tests.conformance.source import Stage, Upstream, eventually


async def wait_beyond_64(upstream: Upstream, stage: Stage, count: int) -> None:
    """While the bus does not answer 64 messages are under way and the rest waits; then all arrive once, in order."""
    # Given a bus that does not answer
    await stage.start()
    stage.close_gate()
    # When more messages come
    texts = [f"{number:03}" for number in range(count)]
    for text in texts:
        await upstream.send(text)
    await eventually(lambda: stage.under_way == 64)
    await upstream.settle()
    # Then 64 are under way
    assert stage.under_way == 64
    # And all arrive once, in the order of sending
    stage.open_gate()
    await stage.events(count)
    assert [upstream.text_of(event.data) for event in stage.offered] == texts
