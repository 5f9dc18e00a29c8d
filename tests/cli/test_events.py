"""``argosy events`` over a real run: what came can be listed, followed, shown, captured, and put there again."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.asking import Said, ask, call
from tests.cli.running import Run, free_port, http

MANIFESTS = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: shop}}
spec:
  webhook:
    orders: {{port: "{port}", endpoint: /orders, method: POST}}
    refunds: {{port: "{port}", endpoint: /refunds, method: POST}}
---
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: bell}}
spec:
  webhook:
    rings: {{port: "{port}", endpoint: /rings, method: POST}}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: ship}}
spec:
  dependencies:
    - {{name: order, eventSourceName: shop, eventName: orders}}
  triggers:
    - template: {{name: note, log: {{}}}}
"""


class System:
    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.run = Run(folder, *options)
        self.run.write("all.yaml", MANIFESTS.format(port=self.port))
        self.run.start()
        self.run.until_ready()

    def post(self, event: str, **body: Any) -> None:
        assert http(f"http://127.0.0.1:{self.port}/{event}", json.dumps(body).encode())[0] == 200

    def argosy(self, *words: str, given: str = "", code: int = 0) -> Said:
        return ask(self.run, *words, given=given, code=code)

    def listed(self, *words: str) -> list[Any]:
        """The events that are listed, whole, newest first."""
        return self.argosy("events", "list", "-o", "json", *words).lines

    def api(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run.folder / "data" / "api.json").read_text())
        return found


@pytest.fixture(scope="module", params=["one process", "two workers", "memory"])
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    options = {"two workers": ["--workers", "2"], "memory": ["--bus", "memory"]}.get(request.param, [])
    system = System(tmp_path_factory.mktemp("run"), *options)
    yield system
    system.run.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = System(tmp_path_factory.mktemp("run"))
    yield system
    system.run.end(signal.SIGKILL)


@pytest.fixture
def mark() -> str:
    """A word that is in no other test's events."""
    return f"m{time.monotonic_ns()}"


def _numbers(rows: list[Any]) -> list[int]:
    return [row["event"]["data"]["body"]["n"] for row in rows]


def test_what_came_is_listed_newest_first_and_can_be_chosen(system: System, mark: str) -> None:
    # Given events of two sources and three names
    for n in range(4):
        system.post("orders", n=n, mark=mark)
    system.post("refunds", n=10, mark=mark)
    system.post("rings", n=11, mark=mark)
    mine = f"data.body.mark == '{mark}'"

    # Then they are listed from the newest on, whole, or by source, name, content, number
    assert _numbers(system.listed("--where", mine)) == [11, 10, 3, 2, 1, 0]
    assert _numbers(system.listed("--where", mine, "--source", "shop")) == [10, 3, 2, 1, 0]
    assert _numbers(system.listed("--where", mine, "--event", "orders", "--limit", "2")) == [3, 2]
    assert _numbers(
        system.listed("--source", "shop", "--event", "orders", "--where", f"{mine} && data.body.n > 1")
    ) == [
        3,
        2,
    ]
    assert system.listed("--where", f"{mine} && data.no.such.thing > 1") == []


def test_the_time_bounds_what_is_listed(plain: System, mark: str) -> None:
    for n in range(3):
        plain.post("orders", n=n, mark=mark)
    rows = plain.listed("--where", f"data.body.mark == '{mark}'")
    middle = rows[1]["storedAt"]

    assert _numbers(plain.listed("--where", f"data.body.mark == '{mark}'", "--since", middle)) == [2, 1]
    assert _numbers(plain.listed("--where", f"data.body.mark == '{mark}'", "--until", middle)) == [1, 0]
    assert _numbers(plain.listed("--where", f"data.body.mark == '{mark}'", "--since", "1h", "--limit", "1")) == [2]
    assert plain.listed("--until", "1h") == []


def test_pages_are_put_together_without_a_gap(plain: System, mark: str) -> None:
    for n in range(9):
        plain.post("orders" if n % 2 else "rings", n=n, mark=mark)
    api = plain.api()
    found: list[int] = []
    before = ""
    for _ in range(20):
        where = f"data.body.mark%20==%20'{mark}'"
        url = f"{api['url']}/api/v1/events?limit=2&whole=true&where={where}&before={before}"
        status, text = http(url, headers={"Authorization": f"Bearer {api['token']}"})
        assert status == 200
        page = json.loads(text)
        found += _numbers(page["events"])
        before = page["next"]
        if not before:
            break
    assert found == list(range(8, -1, -1))


def test_the_text_list_names_events_as_the_other_commands_take_them(plain: System, mark: str) -> None:
    plain.post("orders", n=1, mark=mark)
    [line] = plain.argosy("events", "list", "--where", f"data.body.mark == '{mark}'").text.splitlines()
    id = line.split()[2]

    shown = plain.argosy("events", "show", id).text

    assert len(id) == 8
    assert mark in shown
    assert "default/ship" in shown


def test_an_event_is_shown_by_the_beginning_of_its_id(system: System) -> None:
    text = json.dumps({"source": "shop", "subject": "orders", "id": f"{system.port}-aaaa-1", "data": {"n": 1}})
    other = text.replace("aaaa-1", "aaaa-2")
    system.argosy("events", "publish", "-", given=f"{text}\n{other}\n")

    shown = system.argosy("events", "show", f"{system.port}-aaaa-1", "-o", "json").json
    ambiguous = system.argosy("events", "show", f"{system.port}-aaaa", code=1).errors

    assert shown["id"] == f"{system.port}-aaaa-1"
    assert shown["data"] == {"n": 1}
    assert f"{system.port}-aaaa-1" in ambiguous
    assert f"{system.port}-aaaa-2" in ambiguous


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "0123456789"], "no event with an id '0123456789' is on the log"),
        (["show", "short"], "'short' is too short"),
        (["list", "--source", "shopp"], "did you mean 'shop'?"),
        (["list", "--event", "order"], "did you mean 'orders'?"),
        (["list", "--since", "yesterday"], "'yesterday' is neither a time"),
        (["list", "--where", "data.x =="], "where: "),
        (["publish", "-", "--source", "shop"], "several events: orders, refunds"),
        (["publish", "-", "--source", "shob", "--event", "orders"], "did you mean 'shop'?"),
        (["publish", "-"], "needs 'source'"),
    ],
)
def test_a_wrong_question_is_answered_with_a_sentence(plain: System, words: list[str], said: str) -> None:
    answer = plain.argosy("events", *words, given="{}", code=1)
    assert said in answer.errors
    assert answer.text == ""


def test_published_data_become_an_event_that_a_sensor_acts_on(system: System, mark: str) -> None:
    said = system.argosy(
        "events", "publish", "-", "--source", "shop", "--event", "orders", given=json.dumps({"mark": mark})
    ).text

    assert "→ ship" in said
    [row] = system.listed("--where", f"data.mark == '{mark}'")
    assert row["id"] in said
    assert row["type"] == "webhook"
    system.run.until(lambda: system.run.said(mark), "the sensor did not act")


def test_a_cloudevent_is_published_as_it_stands_and_once(plain: System, mark: str) -> None:
    # Given an event whose numbers are spelled as only its sender spells them
    text = (
        f'{{"specversion":"1.0","id":"{mark}","source":"shop","subject":"refunds","type":"x","time":"2026-01-01T00:00:00Z",'
        f'"traceparent":"00-1","data":{{"price": 1.00, "big": 12345678901234567890123, "mark": "{mark}"}}}}'
    )

    # When it is published twice
    plain.argosy("events", "publish", "-", given=f"{text}\n{text}\n")

    # Then it is there once, and a capture has every digit of it
    said = plain.argosy("events", "capture", "-o", "-", "--where", f"data.mark == '{mark}'")
    [line] = said.text.splitlines()
    assert '{"price": 1.00, "big": 12345678901234567890123, "mark":' in line
    assert json.loads(line)["time"] == "2026-01-01T00:00:00Z"
    assert json.loads(line)["traceparent"] == "00-1"
    assert "1 events captured" in said.errors


def test_a_capture_is_explained_tested_and_published_again(plain: System, mark: str, tmp_path: Path) -> None:
    # Given captured events, oldest first
    for n in range(3):
        plain.post("orders", n=n, mark=mark)
    file = tmp_path / "captured.jsonl"
    plain.argosy("events", "capture", "-o", str(file), "--where", f"data.body.mark == '{mark}'", "--since", "1h")
    captured = [json.loads(line) for line in file.read_text().splitlines()]
    assert [event["data"]["body"]["n"] for event in captured] == [0, 1, 2]

    # Then the commands that read events read it
    explained = call("explain", str(plain.run.manifests), "--event", str(file), "-o", "json")
    assert explained.code == 0
    assert explained.json["fires"]

    (tmp_path / "all.yaml").write_text(MANIFESTS.format(port=12000))
    (tmp_path / "all.test.yaml").write_text(
        "tests: [{name: captured, event: {cloudEventFile: captured.jsonl}, fires: [note, note, note]}]"
    )
    tested = call("test", str(tmp_path))
    assert tested.code == 0, tested.text + tested.errors

    # And published with ids of their own they are new events
    plain.argosy("events", "publish", str(file), "--fresh-ids")
    assert _numbers(plain.listed("--where", f"data.body.mark == '{mark}'")) == [2, 1, 0, 2, 1, 0]

    # And a file that is there is not written over by accident
    again = plain.argosy("events", "capture", "-o", str(file), code=2)
    assert "--force writes over it" in again.errors


def test_following_shows_what_comes(system: System, mark: str) -> None:
    # Given somebody who follows the events of one name
    command = [sys.executable, "-m", "argosy.cli.main", "events", "tail", "-f", "--last", "1", "-o", "json"]
    command += ["--where", f"data.body.mark == '{mark}'", "--data", str(system.run.folder / "data")]
    system.post("orders", n=0, mark=mark)
    system.post("orders", n=1, mark=mark)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        # Then the newest that was there comes first
        assert _numbers([json.loads(process.stdout.readline())]) == [1]

        # And then what comes
        system.post("orders", n=2, mark=mark)
        system.post("rings", n=3, mark=mark)
        assert _numbers([json.loads(process.stdout.readline()) for _ in range(2)]) == [2, 3]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130


def test_a_capture_that_follows_begins_in_the_past(plain: System, mark: str, tmp_path: Path) -> None:
    file = tmp_path / "captured.jsonl"
    command = [sys.executable, "-m", "argosy.cli.main", "events", "capture", "-f", "--since", "1h", "-o", str(file)]
    command += ["--where", f"data.body.mark == '{mark}'", "--data", str(plain.run.folder / "data")]
    plain.post("orders", n=0, mark=mark)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:

        def captured() -> list[int]:
            lines = file.read_text().splitlines() if file.exists() else []
            return [json.loads(line)["data"]["body"]["n"] for line in lines]

        plain.run.until(lambda: captured() == [0], "the one that was there")
        plain.post("orders", n=1, mark=mark)
        plain.run.until(lambda: captured() == [0, 1], "the one that came")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert process.stderr is not None
        assert "2 events captured" in process.stderr.read()


def test_who_follows_is_told_when_the_run_ends(tmp_path: Path) -> None:
    system = System(tmp_path)
    command = [sys.executable, "-m", "argosy.cli.main", "events", "tail", "-f"]
    system.post("orders", n=0)
    with subprocess.Popen(
        [*command, "--data", str(tmp_path / "data")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        system.run.end()
        assert process.wait(timeout=30) == 0
        assert "the run has ended" in process.stderr.read()
    assert not (tmp_path / "data" / "api.json").exists()


# ---------------------------------------------------------------------- the API itself


def test_only_the_owner_can_read_the_token(plain: System) -> None:
    mode = (plain.run.folder / "data" / "api.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert plain.api()["token"] not in plain.run.log.read_text()


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer x"}, {"Authorization": "Bearer "}, {"Authorization": "é"}]
)
@pytest.mark.parametrize("path", ["/api/v1/events", "/api/v1", "/api/v1/nothing"])
def test_without_the_token_there_is_nothing_to_see(plain: System, headers: dict[str, str], path: str) -> None:
    status, text = http(
        plain.api()["url"] + path, headers={name: value.encode().decode("latin-1") for name, value in headers.items()}
    )
    assert status == 401
    assert "api.json" in json.loads(text)["error"]


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/nothing", None, 404, "there is no /api/v1/nothing"),
        ("/log", b"{}", 405, "it wants GET"),
        ("/events", b"{", 400, "the body is not JSON"),
        ("/events", b"[1]", 400, "must be a JSON object"),
        ("/events", b'{"cloudEvent": 3}', 400, "no JSON object"),
        ("/events", b'{"source": "shop", "event": "orders", "base64": "*"}', 400, "base64"),
        ("/events?limit=x", None, 400, "no whole number"),
        ("/events?before=x", None, 400, "'next' of a page"),
        ("/events/%2e%2e%2fetc%2fpasswd", None, 404, "no event with an id"),
        ("/replay", b"{}", 400, "say through which sensor"),
        ("/events", b" " * (17 * 1024 * 1024), 413, "larger than 16 MiB"),
    ],
)
def test_the_api_answers_errors_as_sentences(
    plain: System, path: str, body: bytes | None, status: int, said: str
) -> None:
    api = plain.api()
    answer = http(f"{api['url']}/api/v1{path}", body, {"Authorization": f"Bearer {api['token']}"})
    assert answer[0] == status
    assert said in json.loads(answer[1])["error"]


def test_an_event_that_is_too_large_for_the_bus_is_refused(plain: System) -> None:
    said = plain.argosy(
        "events", "publish", "-", "--source", "shop", "--event", "orders", given=json.dumps("x" * 9_000_000), code=1
    )
    assert "the bus accepts" in said.errors


def test_without_a_run_the_command_says_how_to_get_one(tmp_path: Path) -> None:
    said = call("events", "list", "--data", str(tmp_path))
    assert said.code == 1
    assert "nothing runs with the data folder" in said.errors
    assert "argosy run" in said.errors


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not what a run writes there"),
        ("[]", "is not what a run writes there"),
        ('{"url": "http://127.0.0.1:1"}', "is not what a run writes there"),
        ('{"url": "nowhere", "token": "t"}', "names no address"),
        ('{"url": "http://127.0.0.1:1", "token": "t"}', "nothing answers at http://127.0.0.1:1"),
    ],
)
def test_a_file_that_leads_nowhere_is_named(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "api.json").write_text(content)
    answer = call("events", "list", "--data", str(tmp_path))
    assert answer.code == 1
    assert said in answer.errors


def test_a_killed_run_leaves_a_file_that_says_so(tmp_path: Path) -> None:
    system = System(tmp_path)
    system.run.end(signal.SIGKILL)
    assert (tmp_path / "data" / "api.json").exists()

    said = system.argosy("events", "list", code=1)

    assert "the run has ended" in said.errors


def test_the_environment_names_a_run(plain: System, tmp_path: Path) -> None:
    api = plain.api()
    nowhere = ["--data", str(tmp_path)]

    good = call("events", "list", *nowhere, env={"ARGOSY_API": api["url"], "ARGOSY_TOKEN": api["token"]})
    wrong = call("events", "list", *nowhere, env={"ARGOSY_API": api["url"], "ARGOSY_TOKEN": "guess"})
    without = call("events", "list", *nowhere, env={"ARGOSY_API": api["url"]})

    assert good.code == 0
    assert wrong.code == 1
    assert "does not accept the token of ARGOSY_API" in wrong.errors
    assert "ARGOSY_TOKEN is not" in without.errors


def test_another_server_is_told_apart(plain: System, tmp_path: Path) -> None:
    said = call(
        "events",
        "list",
        "--data",
        str(tmp_path),
        env={"ARGOSY_API": f"http://127.0.0.1:{plain.port}", "ARGOSY_TOKEN": "t"},
    )
    assert said.code == 1
    assert "is no API of Argosy" in said.errors


def test_large_events_are_listed_page_by_page(plain: System, mark: str) -> None:
    # Given more data than one answer holds
    for ten in range(0, 40, 10):
        lines = [
            json.dumps({"source": "bell", "subject": "rings", "data": {"mark": mark, "n": n, "text": "x" * 900_000}})
            for n in range(ten, ten + 10)
        ]
        plain.argosy("events", "publish", "-", given="\n".join(lines))

    # Then a listing is whole all the same, and so are a capture and the small ones before
    where = f"data.mark == '{mark}'"
    rows = plain.listed("--where", where, "--limit", "40")
    assert [row["event"]["data"]["n"] for row in rows] == list(range(39, -1, -1))
    captured = plain.argosy("events", "capture", "-o", "-", "--where", where).text.splitlines()
    assert [json.loads(line)["data"]["n"] for line in captured] == list(range(40))


def test_a_run_whose_folder_cannot_be_written_goes_on_and_says_so(tmp_path: Path) -> None:
    run = Run(tmp_path, "--bus", "memory")
    (tmp_path / "data" / "api.json").mkdir(parents=True)
    run.write("all.yaml", MANIFESTS.format(port=free_port()))
    run.start()
    try:
        run.until_ready()
        assert run.said("api.json cannot be written", "--data")
        assert [path.name for path in (tmp_path / "data").iterdir()] == ["api.json"]
    finally:
        run.end(signal.SIGKILL)


def test_without_an_admin_address_there_is_no_api(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    run = Run(folder, "--admin", "off")
    port = free_port()
    run.write("all.yaml", MANIFESTS.format(port=port))
    run.start()
    try:
        run.until_said("receives from", "/rings")
        assert "nothing runs" in ask(run, "events", "list", code=1).errors
    finally:
        os.kill(run.pid, signal.SIGKILL)
        run.end()
