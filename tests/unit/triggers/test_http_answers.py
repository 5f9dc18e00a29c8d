"""What the ``http`` trigger makes of answers: JSON that is kept, ``policy.response``, redirects that are not followed, and servers that
stall, reset or lie.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest

from argosy.errors import Rejected, RetryAfter, TriggerError
from argosy.manifests.fields import Json
from tests.unit.triggers.receivers import Answer, HttpServer
from tests.unit.triggers.test_http import SECRETS, Stage, fire, server

__all__ = ["fire", "server"]

JSON = {"Content-Type": "application/json; charset=utf-8"}


def _says(document: Json, **more: Any) -> Answer:
    return Answer(headers=JSON, body=json.dumps(document).encode(), **more)


class TestKept:
    async def test_an_answer_in_json_is_kept_as_it_is(self, server: HttpServer, fire: Any) -> None:
        server.default = _says({"id": 7, "tags": ["a"]})

        assert (await fire({})).detail["json"] == {"id": 7, "tags": ["a"]}

    @pytest.mark.parametrize(
        "answer",
        [
            Answer(body=b'{"id":7}'),
            Answer(headers={"Content-Type": "text/html"}, body=b"<p>"),
            Answer(headers=JSON, body=b"{"),
            Answer(headers=JSON, body=b"NaN"),
            Answer(headers=JSON, body=b"[" * 100_000),
        ],
    )
    async def test_what_is_no_json_is_not(self, server: HttpServer, fire: Any, answer: Answer) -> None:
        server.default = answer

        assert "json" not in (await fire({"maxResponseBytes": 200_000})).detail

    async def test_one_that_is_too_large_is_not_and_the_action_is_done(self, server: HttpServer, fire: Any) -> None:
        server.default = _says("x" * 200)

        outcome = await fire({"maxResponseBytes": 100})

        assert "json" not in outcome.detail
        assert outcome.detail["body"] == '"' + "x" * 99

    async def test_no_secret_of_the_request_is_kept_in_it(self, server: HttpServer) -> None:
        server.default = _says({"you said": "Bearer s3cr3t-t0ken", "nested": [{"t": "s3cr3t-t0ken"}]})
        stage = Stage("http", secrets=SECRETS)
        auth = {"bearer": {"tokenSecret": {"name": "http", "key": "token"}}}
        async with stage.open() as trigger:
            outcome = await stage.fire(trigger, {"url": server.url, "auth": auth})

        assert "s3cr3t" not in json.dumps(outcome.detail)
        assert outcome.detail["json"]["nested"] == [{"t": "***"}]


class TestResponsePolicy:
    MATCH: ClassVar[dict[str, Json]] = {
        "response": {"match": [{"path": "$.state", "value": "done"}, {"path": "$.errors", "value": []}]}
    }

    async def test_an_answer_that_says_what_is_wanted_is_a_success(self, server: HttpServer, fire: Any) -> None:
        server.default = _says({"errors": [], "state": "done", "more": 1})

        assert (await fire({}, policy=self.MATCH)).detail["status"] == 200

    @pytest.mark.parametrize(
        ("document", "words"),
        [
            ({"state": "failed", "errors": []}, '$.state is "failed", not "done"'),
            ({"state": "done", "errors": [1]}, r"$.errors is [1.0], not []"),
            ({"errors": []}, "the JSONPath '$.state' fails"),
            ([], "the JSONPath '$.state' fails"),
        ],
    )
    async def test_another_answer_is_tried_again_and_says_what_was_there(
        self, server: HttpServer, fire: Any, document: Json, words: str
    ) -> None:
        server.default = _says(document)

        with pytest.raises(TriggerError) as raised:
            await fire({}, policy=self.MATCH)

        assert type(raised.value) is TriggerError
        assert "answered 200 Because, and policy.response is not met: " in str(raised.value)
        assert words in str(raised.value)

    async def test_or_rejected_where_the_policy_says_so(self, server: HttpServer, fire: Any) -> None:
        server.default = _says({"ok": False})
        policy = {"response": {"match": [{"path": "$.ok", "value": True}], "otherwise": "reject"}}

        with pytest.raises(Rejected, match=r"\$\.ok is false, not true"):
            await fire({}, policy=policy)

    @pytest.mark.parametrize(
        ("found", "wanted", "same"), [(1, 1.0, True), (1, True, False), ("1", 1, False), (None, None, True)]
    )
    async def test_values_are_compared_as_json_has_them(
        self, server: HttpServer, fire: Any, found: Json, wanted: Json, same: bool
    ) -> None:
        server.default = _says({"v": found})
        policy = {"response": {"match": [{"path": "$.v", "value": wanted}]}}

        if same:
            await fire({}, policy=policy)
        else:
            with pytest.raises(TriggerError):
                await fire({}, policy=policy)

    async def test_the_status_is_judged_first(self, server: HttpServer, fire: Any) -> None:
        server.default = Answer(409, JSON, b'{"state":"done","errors":[]}')

        with pytest.raises(Rejected, match="answered 409"):
            await fire({}, policy=self.MATCH)
        await fire({}, policy={**self.MATCH, "status": {"allow": [409]}})

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (Answer(body=b'{"state":"done","errors":[]}'), "no JSON with a Content-Type"),
            (_says({"state": "done", "errors": [], "long": "x" * 70_000}), "larger than maxResponseBytes"),
            (_says({"state": "done", "errors": []}, cut=10), "broke off"),
        ],
    )
    async def test_what_cannot_be_read_meets_nothing(
        self, server: HttpServer, fire: Any, answer: Answer, words: str
    ) -> None:
        server.default = answer

        with pytest.raises(TriggerError, match=words):
            await fire({}, policy=self.MATCH)


class TestRedirectsThatAreNotFollowed:
    async def test_none_is_a_failure_that_says_where_it_leads(self, server: HttpServer, fire: Any) -> None:
        server.answers["/act"] = Answer(307, {"Location": "/other?token=x"})

        with pytest.raises(Rejected, match=r"answered 307 Because, a redirect to /other that is not followed$"):
            await fire({"redirects": {"follow": "none"}})

        assert [request.target for request in server.requests] == ["/act"]
        await fire({"redirects": {"follow": "none"}}, policy={"status": {"allow": [307]}})

    async def test_only_within_one_origin(self, server: HttpServer, fire: Any) -> None:
        async with HttpServer() as elsewhere:
            server.answers["/act"] = Answer(307, {"Location": "/same"})
            server.answers["/same"] = Answer(307, {"Location": f"{elsewhere.url}/there"})

            with pytest.raises(Rejected, match="a redirect to http"):
                await fire({"redirects": {"follow": "sameOrigin"}})

            assert [request.target for request in server.requests] == ["/act", "/same"]
            assert elsewhere.requests == []

    async def test_as_many_as_allowed(self, server: HttpServer, fire: Any) -> None:
        server.answers["/act"] = Answer(307, {"Location": "/act"})

        with pytest.raises(Rejected, match="more than 2 redirects"):
            await fire({"redirects": {"most": 2}})

        assert len(server.requests) == 3


class TestServersThatMisbehave:
    async def test_a_reset_is_tried_again(self, server: HttpServer, fire: Any) -> None:
        server.default = Answer(reset=True)

        with pytest.raises(TriggerError, match=r"POST http://127\.0\.0\.1:\d+/act: ") as raised:
            await fire({})

        assert not isinstance(raised.value, Rejected)

    async def test_a_body_that_stalls_changes_nothing_where_nobody_needs_it(
        self, server: HttpServer, fire: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("argosy.triggers.http._BODY_SECONDS", 0.1)
        server.default = Answer(headers=JSON, body=b'{"id":7}', stall=True)

        outcome = await fire({})

        assert outcome.detail == {"status": 200, "body": '{"id'}

    async def test_a_body_that_stalls_fails_where_its_words_count(self, server: HttpServer, fire: Any) -> None:
        server.default = Answer(headers=JSON, body=b'{"ok":true}', stall=True)

        with pytest.raises(TriggerError, match="broke off"):
            await fire({"timeout": 1}, policy={"response": {"match": [{"path": "$.ok", "value": True}]}})

    @pytest.mark.parametrize("length", ["1000", "2"])
    async def test_a_length_that_is_a_lie_is_no_failure_and_spoils_no_later_request(
        self, server: HttpServer, fire: Any, length: str
    ) -> None:
        server.queue = [Answer(headers={"Content-Length": length}, body=b"abcdef", cut=6)]

        assert (await fire({})).detail["status"] == 200
        assert (await fire({})).detail["status"] == 200

    async def test_429_says_when_to_come_back(self, server: HttpServer, fire: Any) -> None:
        server.default = Answer(429, {"Retry-After": "120", **JSON}, b'{"error":"slow down"}')

        with pytest.raises(RetryAfter, match="answered 429 Because: .*slow down") as raised:
            await fire({})

        assert raised.value.seconds == 120
