"""A model's refusals become sentences with a place, all of them at once."""

import datetime as dt
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, model_validator

from argosy.manifests.fields import BasicAuth, Duration, Json, Model, TLSConfig
from argosy.manifests.findings import Finding, check, path_text
from argosy.manifests.spelling import did_you_mean, is_slip


class Inner(Model):
    name: str = Field(min_length=1)
    size: int = 0
    share: float = Field(0, le=1)


class Outer(Model):
    host_name: str
    port: str = "80"
    loud: bool = False
    rate: float = 0
    mode: Literal["", "fast", "slow"] = ""
    inner: Inner | None = None
    many: list[Inner] = Field(default_factory=list)
    named: dict[str, Inner] = Field(default_factory=dict)
    either: Inner | str | None = None
    pause: Duration = 0.0
    when: dt.datetime | None = None
    pair: tuple[str, ...] = ()
    free: dict[str, Json] | None = None
    tls: TLSConfig | None = None
    auth: BasicAuth | None = None

    @model_validator(mode="after")
    def _not_both(self) -> "Outer":
        if self.loud and self.mode == "fast":
            raise ValueError("'loud' and mode 'fast' exclude each other")
        return self


def said(raw: Any) -> dict[str, str]:
    made, problems = check(Outer, raw)
    assert (made is None) == bool(problems)
    return {path_text(problem.loc): problem.message for problem in problems}


def test_what_is_right_becomes_the_model() -> None:
    raw = {
        "hostName": "h",
        "rate": 2,
        "pause": "1m30s",
        "when": "2026-01-02T03:04:05Z",
        "pair": ["a"],
        "either": "x",
        "named": {"n": {"name": "a"}},
    }
    made, problems = check(Outer, raw)
    assert problems == []
    assert made is not None
    assert (made.rate, made.pause, made.pair, made.either) == (2.0, 90.0, ("a",), "x")
    assert made.when == dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def test_everything_is_said_at_once() -> None:
    found = said({"port": 12000, "loud": "yes", "inner": {"size": "3"}, "many": [{"name": ""}], "colour": 1})
    assert set(found) == {
        "hostName", "port", "loud", "inner.name", "inner.size", "many[0].name", "colour"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "path", "message"),
    [
        ({"port": 12000}, "port", "'port' must be text, not the number 12000; write it in quotes: \"12000\""),
        ({"port": True}, "port", "'port' must be text, not true; write it in quotes (YAML reads yes,"),
        ({"port": ["a"]}, "port", "'port' must be text, not a list"),
        ({"loud": "true"}, "loud", "'loud' must be true or false, not text; write it without quotes"),
        ({"loud": 1}, "loud", "'loud' must be true or false, not the number 1"),
        ({"rate": "2"}, "rate", "'rate' must be a number, not text; write it without quotes"),
        ({"rate": True}, "rate", "'rate' must be a number, not true"),
        (
            {"inner": {"name": "a", "size": "3"}},
            "inner.size",
            "'size' must be a whole number, not text; write it",
        ),
        (
            {"inner": {"name": "a", "size": 1.5}},
            "inner.size",
            "'size' must be a whole number, not the number 1.5",
        ),
        ({"inner": []}, "inner", "'inner' must be a mapping, not a list"),
        ({"many": {}}, "many", "'many' must be a list, not a mapping"),
        ({"many": [None]}, "many[0]", "'many' must be a mapping, not null"),
        ({"mode": "fsat"}, "mode", "'mode' must be '', 'fast' or 'slow', not 'fsat'; did you mean 'fast'?"),
        ({"inner": {"name": ""}}, "inner.name", "'name' is empty"),
        ({"many": [{"name": "a", "share": 3}]}, "many[0].share", "'share' must be less than or equal to 1"),
        ({"when": "soon"}, "when", "'when' must be a valid datetime"),
        ({"either": 5}, "either", "'either' must be a mapping or text, not the number 5"),
        ({"pause": "soon"}, "pause", "'soon' is not a duration; write for example 10s, 1m30s or 500ms"),
        ({"tls": {}}, "tls", "'tls' needs caCertSecret"),
        ({"loud": True, "mode": "fast"}, "", "'loud' and mode 'fast' exclude each other"),
        ({"prot": "1"}, "prot", "unknown field 'prot'; did you mean 'port'?"),
        ({"host_name": "h"}, "host_name", "unknown field 'host_name'; did you mean 'hostName'?"),
        ({"HostName": "h"}, "HostName", "unknown field 'HostName'; did you mean 'hostName'?"),
        (
            {"many": [{"nmae": "x", "name": "a"}]},
            "many[0].nmae",
            "unknown field 'nmae'; did you mean 'name'?",
        ),
        ({"named": {"x.y": {}}}, 'named["x.y"].name', "'name' is missing"),
        ({"auth": {"username": {"name": "s"}}}, "auth.username.key", "'key' is missing"),
        ({"xyzzy": 1}, "xyzzy", "unknown field 'xyzzy'"),
    ],
)
def test_a_fault_is_one_clear_sentence_at_its_place(raw: dict[str, Any], path: str, message: str) -> None:
    found = said({"hostName": "h", **raw})
    assert path in found
    assert found[path].startswith(message)


def test_a_models_names_in_python_are_no_names_in_manifests() -> None:
    assert set(said({"host_name": "h"})) == {"hostName", "host_name"}


def test_null_is_the_same_as_nothing_but_inside_free_json() -> None:
    # Given nulls on fields, on fields of inner blocks, and in JSON that is nobody's model
    made, problems = check(
        Outer, {"hostName": "h", "port": None, "many": [{"name": "a", "size": None}], "free": {"x": None}}
    )
    assert problems == []
    assert made is not None
    assert made.port == "80"
    assert made.many[0].size == 0
    assert made.free == {"x": None}


def test_a_required_field_that_is_null_is_missing() -> None:
    assert said({"hostName": None}) == {"hostName": "'hostName' is missing"}


def test_a_text_in_the_wrong_place_is_not_repeated() -> None:
    # Given a password where an object belongs: what the user wrote may be a secret
    found = said({"hostName": "h", "auth": {"password": "hunter2"}})
    assert "hunter2" not in "".join(found.values())


@pytest.mark.parametrize("raw", [None, [], "text", 5])
def test_what_is_no_mapping_is_refused(raw: object) -> None:
    made, (problem,) = check(Outer, raw)
    assert made is None
    assert "must be a mapping" in problem.message


def test_did_you_mean_speaks_only_of_near_words() -> None:
    assert did_you_mean("webhok", ["webhook", "amqp"]) == "; did you mean 'webhook'?"
    assert did_you_mean("openwhisk", ["openWhisk"]) == "; did you mean 'openWhisk'?"
    assert did_you_mean("zzz", ["webhook"]) == ""


@pytest.mark.parametrize(
    ("word", "known", "slip"),
    [
        ("webhok", "webhook", True),
        ("openstack-nvoa", "openstack-nova", True),
        ("Orders", "orders", True),
        ("github", "gitlab", False),
        ("shop-1", "shop-2", False),
        ("shop1", "shop2", False),
        ("shop-eu", "shop-us", False),
        ("orders", "shop-orders", False),
        ("anything", "else", False),
    ],
)
def test_a_slip_is_told_from_a_name_of_its_own(word: str, known: str, slip: bool) -> None:
    assert is_slip(word, ["far", known]) == slip


def test_a_finding_reads_as_editors_and_people_expect() -> None:
    finding = Finding("unknown-field", "error", "unknown field 'x'", "a.yaml", 3, 7, "spec.x", "Sensor default/a")
    assert str(finding) == "a.yaml:3:7: error: unknown field 'x' [unknown-field] (spec.x)"
    assert finding.as_dict()["object"] == "Sensor default/a"


def test_a_finding_without_a_file_is_still_a_sentence() -> None:
    assert str(Finding("c", "warning", "m", path="spec")) == "warning: m [c] (spec)"


class Annotations(Model):
    ports: list[Annotated[Inner, Field()]] = Field(default_factory=list)


def test_annotated_parts_are_looked_into() -> None:
    made, problems = check(Annotations, {"ports": [{"name": "a", "size": None}]})
    assert problems == []
    assert made is not None
    _, (problem,) = check(Annotations, {"ports": [{"name": "a", "sice": 1}]})
    assert problem.message == "unknown field 'sice'; did you mean 'size'?"
