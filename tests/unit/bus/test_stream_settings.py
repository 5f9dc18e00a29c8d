"""``streamConfig`` is read as upstream reads it, and what is wrong in it is named."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.bus._jetstream_settings import Connection, StreamSettings, server_urls, shown_url
from argosy.errors import BusError


def test_without_a_word_the_controllers_defaults_count() -> None:
    assert StreamSettings.parse(None) == StreamSettings.parse("") == StreamSettings()
    assert StreamSettings().config(clustered=False) == {
        "name": "default", "subjects": ["default.*.*"], "retention": "limits", "storage": "file",
        "discard": "old",
        "max_msgs": 50_000, "max_bytes": -1, "max_age": 168 * 3600 * 10**9, "num_replicas": 1,
        "duplicate_window": 300 * 10**9,
    }  # fmt: skip


@pytest.mark.parametrize("spell", [str, str.lower, str.upper])
def test_keys_are_read_in_any_case(spell: Any) -> None:
    names = ("retention", "discard", "maxMsgs", "maxAge", "maxBytes", "replicas", "duplicates")
    values = (0, 1, 7, "72h", 1000, 5, "1m")
    assert StreamSettings.parse({spell(name): value for name, value in zip(names, values, strict=True)}) == (
        StreamSettings(
            discard="new",
            max_messages=7,
            max_age_seconds=72 * 3600,
            max_bytes=1000,
            replicas=5,
            duplicates_seconds=60,
        )
    )


def test_text_is_yaml_as_the_controller_stores_it() -> None:
    text = "discard: 0\nduplicates: 300s\nmaxage: 168h\nmaxbytes: -1\nmaxmsgs: 50000\nreplicas: 3\nretention: 0\n"
    assert StreamSettings.parse(text) == StreamSettings(replicas=3)


def test_replicas_are_lowered_where_the_server_is_alone() -> None:
    assert StreamSettings(replicas=3).replicas_on(clustered=False) == 1
    assert StreamSettings(replicas=5).replicas_on(clustered=True) == 5
    assert StreamSettings().replicas_on(clustered=True) == 3


def test_no_limit_is_written_as_the_server_wants_it() -> None:
    config = StreamSettings.parse({"maxMsgs": 0, "maxBytes": 0, "maxAge": 0}).config(clustered=False)
    assert (config["max_msgs"], config["max_bytes"], config["max_age"]) == (-1, -1, 0)


def test_a_bare_number_is_nanoseconds() -> None:
    assert StreamSettings.parse({"maxAge": 3_600_000_000_000}).max_age_seconds == 3600
    assert StreamSettings.parse({"maxAge": "3600000000000"}).max_age_seconds == 3600


def test_a_short_age_shortens_the_duplicate_window_that_nobody_asked_for() -> None:
    assert StreamSettings.parse({"maxAge": "1m"}).duplicates_seconds == 60


def test_a_key_that_is_unknown_has_no_effect() -> None:
    assert StreamSettings.parse("{colour: red, 7: x, maxMsg: 1, maxAge: 72h}") == StreamSettings.parse("maxAge: 72h")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("maxMsgs: many", "'maxMsgs' is 'many'; write a whole number from -1 on"),
        ("maxMsgs: 1.5", "'maxMsgs' is 1.5"),
        ("maxMsgs: true", "'maxMsgs' is True"),
        ("retention: 3", "'retention' is 3; write a whole number from 0 to 2"),
        ("discard: old", "'discard' is 'old'; write a whole number from 0 to 1"),
        ("maxAge: 7d", "'maxAge' is '7d'; write a duration such as 168h"),
        ("maxAge: -1h", "'maxAge' is '-1h'.*cannot be negative"),
        ("replicas: 9", "'replicas' is 9; write a whole number from 0 to 5"),
        ("{maxAge: 1m, duplicates: 2m}", "'duplicates' is longer than 'maxAge'"),
        ("[1]", "not a mapping"),
        ("a: [", "not YAML"),
    ],
)
def test_what_is_wrong_is_named(config: str, sentence: str) -> None:
    with pytest.raises(BusError, match=sentence):
        StreamSettings.parse(config)


def test_an_address_is_shown_without_its_secrets() -> None:
    assert shown_url("nats://u:p@a:4222,tls://t@b") == "nats://a:4222,tls://b"
    assert shown_url("u:p@ss@a:4222") == "a:4222"
    assert server_urls("a:4222, nats://b") == ["a:4222", "nats://b"]


def test_a_connection_prints_no_secret() -> None:
    assert "hidden" not in repr(Connection(user="u", password="hidden", token="hidden", credentials="hidden"))
