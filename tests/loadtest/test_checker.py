"""The checker: a clean history passes, and each planted violation is found and named."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadtest.checker import INVARIANTS
from loadtest.checker.history import AccessLine, Allowance, ClientLine, History, MockLine, Sample
from loadtest.faultd import ConnectionRecord, FlowRecord

ROOT = Path(__file__).parents[2]
ERROR = '{"error":{"message":"no such model","type":"invalid_request_error","param":null,"code":"model_not_found"}}'
IN_BAND = '{"error":{"message":"the upstream left","type":"server_error","code":"upstream_disconnected"}}'


def client(tag: str, /, **fields: Any) -> ClientLine:
    line = ClientLine(tag=tag, stream=True, started=1.0, ended=2.0, outcome="complete", status=200, terminal=True)
    line.body_sha256, line.content, line.content_sha256 = f"body-{tag}", {0: "one two"}, f"bytes-{tag}"
    return msgspec.structs.replace(line, **fields)


def access(tag: str, /, **fields: Any) -> AccessLine:
    line = AccessLine(id=f"id-{tag}", label=tag, status=200, attempts=1, outcome="complete")
    return msgspec.structs.replace(line, **fields)


def attempt(number: int, tag: str, /, **fields: Any) -> MockLine:
    line = MockLine(id=number, tag=tag, sha256=f"body-{tag}", received=1.5, status=200, content={0: "one two"})
    line.sha256_sent, line.closed_by, line.stream = f"bytes-{tag}", "done", True
    return msgspec.structs.replace(line, **fields)


def sample(at: float, **fields: Any) -> Sample:
    return msgspec.structs.replace(
        Sample(process="worker", at=at, fds=40, tasks=4, connections=2, rss=100_000_000), **fields
    )


def clean() -> History:
    """The kinds of request that a healthy gateway may leave behind."""
    refused = {"outcome": "error", "terminal": False, "content": {}, "content_type": "application/json"}
    broken = {"outcome": "error", "content": {0: "one"}, "error": IN_BAND}
    return History(
        clients=[
            client("whole"),
            client("json", stream=False, content={}, terminal=False),
            client("refused", status=404, error=ERROR, **refused),
            client("broken", **broken),
            client("gone-midway", outcome="cancelled", phase="streaming", terminal=False, content={0: "on"}),
            client("gone-early", outcome="cancelled", phase="sent", status=None, terminal=False, content={}),
            client("retried"),
            client("unread", id="id-unread", status=400, error=ERROR, **refused),
        ],
        access=[
            access("whole"),
            access("json"),
            access("refused", status=404, attempts=0, outcome="error", error="model_not_found"),
            access("broken", outcome="error", error="upstream_disconnected"),
            access("gone-midway", status=499, outcome="client_left"),
            access("retried", attempts=2),
            AccessLine(id="id-unread", status=400, outcome="refused"),
            AccessLine(id="probe", method="GET", path="/v1/models", status=200, outcome="complete"),
        ],
        mock=[
            attempt(1, "whole"),
            attempt(2, "json", stream=False, content={}),
            attempt(3, "broken", closed_by="server"),
            attempt(4, "gone-midway", closed_by="client", content={0: "one"}),
            attempt(5, "retried", status=500, content={}, sha256_sent="other"),
            attempt(6, "", tag=None, sha256="body-retried", sha256_sent="bytes-retried"),
            MockLine(id=7, method="GET", path="/v1/models", status=200),
            MockLine(id=8, sha256="half", closed_by="client"),
        ],
        proxy=[ConnectionRecord(id=1, opened=1.0, closed=2.0, client="h:1", up=FlowRecord(), down=FlowRecord())],
        before=[sample(0.0)],
        after=[sample(10.0, fds=90), sample(40.0, fds=41, rss=60_000_000)],
    )


Plant = Callable[[History], None]


def put(log: str, number: int, **fields: Any) -> Plant:
    """Changes fields of a line."""

    def plant(history: History) -> None:
        lines = getattr(history, log)
        lines[number] = msgspec.structs.replace(lines[number], **fields)

    return plant


def drop(log: str, number: int) -> Plant:
    return lambda history: getattr(history, log).pop(number)


def add(log: str, line: msgspec.Struct) -> Plant:
    return lambda history: getattr(history, log).append(line)


def twice(log: str, number: int) -> Plant:
    return lambda history: getattr(history, log).append(copy.deepcopy(getattr(history, log)[number]))


PLANTED = {
    "no access record": ("J2", drop("access", 0), "client whole", "0 access records"),
    "no record of an answer left midway": ("J2", drop("access", 4), "client gone-midway", "0 access records"),
    "no record of a refusal unread": (
        "J2",
        put("access", 6, id="id-other"),
        "client unread",
        "0 access records",
    ),
    "no record of what went upstream": ("J2", add("mock", attempt(9, "gone-early")), "mock 9", "no request"),
    "two access records": ("J2", add("access", access("whole", id="other")), "client whole", "2 access records"),
    "an access record twice": ("J2", twice("access", 7), "access id probe", "2 records"),
    "a tag twice": ("J2", twice("clients", 5), "client tag gone-early", "2 records"),
    "a record of nobody": ("J2", add("access", access("ghost")), "access id-ghost", "no client request"),
    "a record without an outcome": ("J2", put("access", 7, outcome=""), "access probe", "no terminal outcome: none"),
    "a record still open": ("J2", put("access", 7, outcome="open"), "access probe", "no terminal outcome: open"),
    "another outcome": ("J2", put("access", 1, outcome="client_left"), "client json", "says client_left"),
    "another status": ("J2", put("access", 0, status=201), "client whole", "status 200"),
    "an attempt of nobody": ("J2", add("mock", attempt(9, "ghost")), "mock 9", "belongs to no request"),
    "an untagged attempt of nobody": ("J2", put("mock", 5, sha256="unknown"), "mock 6", "belongs to no request"),
    "an attempt too many": ("J2", put("access", 5, attempts=1), "access id-retried", "the mock saw 2"),
    "another body": ("J2", put("mock", 0, sha256="changed"), "mock 1", "body differs"),
    "no response": ("J7", put("clients", 0, outcome="cut", status=None, content={}), "client whole", "no response"),
    "no connection": ("J7", put("clients", 5, outcome="unreachable"), "client gone-early", "no connection"),
    "no end": ("J7", put("clients", 0, outcome="timeout"), "client whole", "no end of the response within 1.0 s"),
    "a stream cut": ("J7", put("clients", 0, outcome="cut", terminal=False), "client whole", "the stream ended"),
    "an answer cut": ("J7", put("clients", 1, outcome="cut"), "client json", "the response ended"),
    "no terminal event": ("J7", put("clients", 0, terminal=False), "client whole", "without a terminal event"),
    "bytes behind the end": ("J7", put("clients", 0, after_terminal=3), "client whole", "3 bytes after"),
    "foreign content": ("J7", put("clients", 3, content={0: "two"}), "client broken", "no prefix"),
    "more than was sent": ("J7", put("clients", 4, content={0: "one two"}), "client gone-midway", "no prefix"),
    "a foreign choice": ("J7", put("clients", 3, content={0: "one", 1: "x"}), "client broken", "no prefix"),
    "less than was sent": ("J7", put("clients", 0, content={0: "one"}), "client whole", "differs"),
    "other bytes": ("J7", put("clients", 1, content_sha256="changed"), "client json", "differs"),
    "an answer from nowhere": ("J7", drop("mock", 0), "client whole", "no upstream sent"),
    "a descriptor leak": ("J8", put("after", 1, fds=43), "process worker", "fds: 40 before, 43 after"),
    "a lost task": ("J8", lambda h: [put("after", n, tasks=3)(h) for n in (0, 1)] and None, "process worker", "tasks"),
    "a connection leak": (
        "J8",
        lambda h: [put("after", n, connections=3)(h) for n in (0, 1)] and None,
        "process worker",
        "connections: 2 before, 3 after",
    ),
    "a memory leak": (
        "J8",
        lambda h: [put("after", n, rss=106_000_000)(h) for n in (0, 1)] and None,
        "process worker",
        "rss",
    ),
    "back too late": ("J8", put("after", 1, at=71.0), "process worker", "fds"),
    "an unmeasured gauge": ("J8", put("after", 1, fds=None), "process worker", "fds"),
    "a vanished process": ("J8", lambda h: h.after.clear(), "process worker", "no sample"),
    "an open connection": ("J8", put("proxy", 0, closed=None), "proxy 1", "still open"),
    "a 500": ("J10", put("access", 0, status=500), "access id-whole", "status 500"),
    "a 502 at the client": ("J10", put("clients", 2, status=502), "client refused", "status 502"),
    "no error body": ("J10", put("clients", 2, error=None), "client refused", "error body"),
    "HTML": ("J10", put("clients", 2, content_type="text/html"), "client refused", "text/html"),
    "no param": ("J10", put("clients", 2, error=IN_BAND), "client refused", "param"),
    "a text as error": ("J10", put("clients", 3, error='{"error":"boom"}'), "client broken", "error body"),
    "an empty message": (
        "J10",
        put("clients", 3, error=IN_BAND.replace("the upstream left", "")),
        "client broken",
        "empty",
    ),
    "a stack trace": (
        "J10",
        put("clients", 3, error=IN_BAND.replace("the upstream", "Traceback (most recent call last)")),
        "client broken",
        "stack trace",
    ),
}


def violations(history: History) -> dict[str, list[tuple[str, str]]]:
    return {each.name: [(v.record, v.reason) for v in each.check(history)] for each in INVARIANTS}


def test_a_clean_history_passes() -> None:
    assert violations(clean()) == {each.name: [] for each in INVARIANTS}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_violation_is_flagged(name: str) -> None:
    invariant, plant, record, reason = PLANTED[name]
    history = clean()
    plant(history)
    found = violations(history)[invariant]
    assert [seen for seen, why in found if reason in why] == [record], found


def test_every_invariant_has_planted_violations() -> None:
    """Those of the books are in `test_accounts`."""
    assert {invariant for invariant, *_ in PLANTED.values()} | {"J1", "J3", "J9"} == {each.name for each in INVARIANTS}


@pytest.mark.parametrize(
    ("name", "allowance"),
    [
        ("a 500", Allowance(statuses=frozenset({500}))),
        ("a stream cut", Allowance(cuts=True)),
        ("no connection", Allowance(cuts=True)),
        ("another body", Allowance(patched_bodies=True)),
    ],
)
def test_what_the_row_allows_is_no_violation(name: str, allowance: Allowance) -> None:
    invariant, plant, *_ = PLANTED[name]
    history = clean()
    plant(history)
    history.allowance = allowance
    found = violations(history)[invariant]
    assert name == "a 500" or not found
    assert not [why for _, why in found if why.startswith("status 500 (")]


def write(path: Path, lines: list[Any]) -> str:
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return str(path)


def run_checker(folder: Path, history: History, *more: str) -> subprocess.CompletedProcess[str]:
    logs = {"client": history.clients, "gateway": history.access, "mock": history.mock, "proxy": history.proxy}
    logs |= {"baseline": history.before, "after": history.after}
    arguments = [word for name, lines in logs.items() for word in (f"--{name}", write(folder / name, lines))]
    command = [sys.executable, "-m", "loadtest.checker", *arguments, *more]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_command_passes_a_clean_history(tmp_path: Path) -> None:
    done = run_checker(tmp_path, clean())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("lines: 8 clients, 8 access, 8 mock, 1 proxy, 1 before, 2 after\n")
    assert done.stdout.count(" held  ") == 4


def test_command_names_the_first_violating_records(tmp_path: Path) -> None:
    history = clean()
    history.clients += [client(f"lost-{number}") for number in range(7)]
    done = run_checker(tmp_path, history)
    assert done.returncode == 1
    assert "J2       7 violations" in done.stdout
    assert "client lost-4: 0 access records, expected 1" in done.stdout
    assert "lost-5" not in done.stdout.split("J7")[0]


def test_command_allows_a_status(tmp_path: Path) -> None:
    history = clean()
    put("access", 2, status=503)(history)
    put("clients", 2, status=503)(history)
    assert run_checker(tmp_path, history).returncode == 1
    assert run_checker(tmp_path, history, "--allow", "503").returncode == 0


def test_command_says_what_it_could_not_check(tmp_path: Path) -> None:
    log = write(tmp_path / "mock", clean().mock)
    command = [sys.executable, "-m", "loadtest.checker", "--mock", log]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.count("not checked") == 7


def test_command_refuses_a_broken_log(tmp_path: Path) -> None:
    (tmp_path / "mock").write_text(json.dumps({"id": 1}) + "\n{\n")
    command = [sys.executable, "-m", "loadtest.checker", "--mock", str(tmp_path / "mock")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "mock:2:" in done.stderr
