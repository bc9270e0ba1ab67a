"""The load driver against a stub server whose answers, and view of each client, are known."""

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from loadtest.checker.history import ClientLine, read_lines
from loadtest.driver import Load, draw, run
from loadtest.driver.__main__ import main
from loadtest.driver.answer import Answer
from loadtest.driver.response import Response
from scheduler.clock import SystemClock

TOKENS = ("Zü", "rich", " 水", "!")
ERROR = b'{"error":{"message":"no","type":"server_error","param":null,"code":null}}'


def event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


def delta(text: str) -> bytes:
    return event(json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}, ensure_ascii=False).encode())


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: r1\r\ntransfer-encoding: chunked\r\n\r\n"
EVENTS = [delta(token) for token in TOKENS]
WHOLE = b"".join(EVENTS) + event(b"[DONE]")
JSON = b'{"choices":[{"message":{"content":"hi"}}]}'


def plain(status: bytes, kind: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    return head % (status, kind, len(body)) + body


class Stub:
    """Answers by script: `pieces` with `pause` seconds between them, then closes if `close`."""

    def __init__(self) -> None:
        self.script: list[bytes] | None = None
        self.pause = 0.0
        self.close_after = False
        self.requests: list[tuple[bytes, bytes]] = []
        self.connections = 0
        self.open = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                self.requests.append((head, body))
                for piece in self.script or self.answer(json.loads(body)["stream"]):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(self.pause)
                if self.close_after:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()

    def answer(self, stream: bool) -> list[bytes]:
        if not stream:
            return [b"", plain(b"200 OK", b"application/json", JSON)]
        return [SSE, *map(chunk, EVENTS), chunk(event(b"[DONE]")) + b"0\r\n\r\n"]

    def load(self, **fields: object) -> Load:
        return Load(f"http://127.0.0.1:{self.port}/v1", **{"n": 1, "concurrency": 1} | fields)  # type: ignore[arg-type]


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    stub = Stub()
    server = await asyncio.start_server(stub.serve, "127.0.0.1", 0)
    stub.port = server.sockets[0].getsockname()[1]
    yield stub
    server.close()


async def one(stub: Stub, **fields: object) -> ClientLine:
    (line,) = await run(stub.load(**fields), SystemClock())
    return line


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def test_a_stream_is_recorded(stub: Stub) -> None:
    line = await one(stub, stream_ratio=1.0, key="secret")
    head, body = stub.requests[0]
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"Authorization: Bearer secret\r\n" in head
    assert f"X-Request-Id: {line.tag}\r\n".encode() in head
    sent = json.loads(body)
    assert (sent["tag"], sent["stream"], sent["model"]) == (line.tag, True, "llama")
    assert sent["stream_options"] == {"include_usage": True}
    assert line.body_sha256 == sha256(body)
    assert (line.outcome, line.status, line.id, line.terminal) == ("complete", 200, "r1", True)
    assert line.content == {0: "Zürich 水!"}
    assert (line.events, line.content_bytes, line.content_sha256) == (5, len(WHOLE), sha256(WHOLE))
    assert (line.error, line.after_terminal, line.phase) == (None, 0, None)


async def test_a_plain_answer_is_recorded(stub: Stub) -> None:
    line = await one(stub, stream_ratio=0.0)
    assert (line.outcome, line.status, line.stream, line.terminal) == ("complete", 200, False, False)
    assert (line.content_bytes, line.content_sha256) == (len(JSON), sha256(JSON))
    assert "stream_options" not in json.loads(stub.requests[0][1])


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        (
            [plain(b"503 Busy", b"application/json", ERROR)],
            {"outcome": "error", "status": 503, "error": ERROR.decode()},
        ),
        (
            [SSE, chunk(EVENTS[0]) + chunk(event(ERROR)) + b"0\r\n\r\n"],
            {"outcome": "error", "events": 1, "terminal": True},
        ),
        ([SSE, chunk(EVENTS[0]) + chunk(event(ERROR))], {"outcome": "cut", "error": ERROR.decode()}),
        ([SSE, chunk(EVENTS[0])], {"outcome": "cut", "status": 200, "content": {0: "Zü"}}),
        ([SSE, chunk(EVENTS[0]) + b"0\r\n\r\n"], {"outcome": "cut", "terminal": False}),
        ([SSE, chunk(WHOLE)], {"outcome": "cut", "terminal": True}),
        (
            [SSE, chunk(b": hi\n\n"), chunk(WHOLE) + b"0\r\n\r\n"],
            {"outcome": "complete", "content_sha256": sha256(WHOLE)},
        ),
        ([SSE, chunk(WHOLE + b": more\n\n") + b"0\r\n\r\n"], {"outcome": "complete", "after_terminal": 8}),
        ([SSE, chunk(WHOLE) + b"0\r\n\r\nHTTP/1.1"], {"outcome": "complete", "after_terminal": 8}),
        ([SSE, chunk(event(b"not json"))], {"outcome": "cut"}),
        ([b"garbage\r\n\r\n"], {"outcome": "cut", "status": None}),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", b"123"], {"outcome": "cut", "status": 200}),
        ([b"HTTP/1.1 200 OK\r\n\r\n", b"123"], {"outcome": "complete", "content_sha256": sha256(b"123")}),
        ([b""], {"outcome": "cut", "status": None}),
    ],
)
async def test_outcomes(stub: Stub, script: list[bytes], wanted: dict[str, object]) -> None:
    stub.script, stub.close_after = script, True
    line = await one(stub, stream_ratio=1.0)
    assert {name: getattr(line, name) for name in wanted} == wanted


async def test_no_listener_is_unreachable(stub: Stub) -> None:
    load = stub.load(stream_ratio=1.0)
    server = await asyncio.start_server(stub.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    (line,) = await run(Load(f"http://127.0.0.1:{port}/v1", load.n), SystemClock())
    assert line.outcome == "unreachable"


async def test_a_silent_server_is_a_timeout(stub: Stub) -> None:
    stub.script, stub.pause = [SSE], 30.0
    line = await one(stub, stream_ratio=1.0, timeout_s=2.0)
    assert (line.outcome, line.status) == ("timeout", 200)


async def test_connections_are_reused_while_answers_complete(stub: Stub) -> None:
    lines = await run(stub.load(n=40, concurrency=4), SystemClock())
    assert {line.outcome for line in lines} == {"complete"}
    assert stub.connections == 4
    assert len({line.tag for line in lines}) == 40


async def test_the_deadline_stops_new_requests(stub: Stub) -> None:
    stub.pause = 0.02
    started = time.monotonic()
    lines = await run(stub.load(n=10_000, stream_ratio=1.0, deadline_s=0.3), SystemClock())
    assert 0 < len(lines) < 100
    assert time.monotonic() - started < 5


async def test_cancels_come_in_every_phase_and_close_the_connection(stub: Stub) -> None:
    stub.pause = 0.01
    load = stub.load(n=120, concurrency=8, cancel_ratio=0.8, seed=5, cancel_wait_s=0.004)
    lines = await run(load, SystemClock())
    phases = Counter(line.phase for line in lines if line.outcome == "cancelled")
    assert set(phases) == {"sent", "waiting", "streaming", "buffered"}
    assert {line.outcome for line in lines} == {"complete", "cancelled"}
    for line in lines:
        assert line.phase != "streaming" or 0 < line.events < 5
        assert line.phase not in ("waiting", "sent") or line.events == 0
    async with asyncio.timeout(30):
        while stub.open:
            await asyncio.sleep(0.005)


async def test_clients_leave_by_fin_and_by_rst_as_planned() -> None:
    ends: asyncio.Queue[str] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
            ends.put_nowait("fin")
        except ConnectionResetError:
            ends.put_nowait("rst")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    load = Load(f"http://127.0.0.1:{port}/v1", 60, cancel_ratio=1.0, stream_ratio=0.0)
    assert {line.outcome for line in await run(load, SystemClock())} == {"cancelled"}
    assert Counter([await ends.get() for _ in range(60)]) == Counter(draw(load, number).close for number in range(60))
    server.close()


def test_plans_repeat_and_follow_the_ratios() -> None:
    load = Load("http://127.0.0.1:1/v1", 1000, seed=9, cancel_ratio=0.3, stream_ratio=0.8)
    plans = [draw(load, number) for number in range(1000)]
    assert plans == [draw(load, number) for number in range(1000)]
    assert len({plan.tag for plan in plans}) == 1000
    assert 250 < sum(plan.phase is not None for plan in plans) < 350
    assert 750 < sum(plan.stream for plan in plans) < 850
    assert all(plan.phase not in ("waiting", "streaming") for plan in plans if not plan.stream)
    assert {plan.close for plan in plans} == {"fin", "rst"}


@pytest.mark.parametrize("target", ["https://127.0.0.1/v1", "127.0.0.1:80"])
async def test_a_target_that_is_no_http_url_is_refused(target: str) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await run(Load(target, 1), SystemClock())
    assert caught.group_contains(ValueError, match="not an http URL")


MESSAGE = b"HTTP/1.1 100 Continue\r\n\r\n" + SSE + b"3;ext=1\r\nabc\r\n" + chunk(b"de\r\n") + b"0\r\nTrailer: x\r\n\r\n"


@pytest.mark.parametrize("size", range(1, len(MESSAGE) + 1))
def test_a_response_is_read_however_it_is_split(size: int) -> None:
    response, payload = Response(), b""
    for at in range(0, len(MESSAGE), size):
        assert not response.complete
        payload += response.feed(MESSAGE[at : at + size])
    assert (payload, response.complete, response.status, response.surplus) == (b"abcde\r\n", True, 200, 0)
    assert response.reusable


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10_000])
def test_events_are_read_however_they_are_split(size: int) -> None:
    answer = Answer(200, "text/event-stream; charset=utf-8")
    for at in range(0, len(WHOLE), size):
        answer.feed(WHOLE[at : at + size])
    assert answer.content == {0: "".join(TOKENS)}
    assert (answer.events, answer.terminal, answer.sha256) == (5, True, sha256(WHOLE))


async def test_the_command_writes_the_log(
    stub: Stub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIVER_KEY", "from-the-environment")
    log = tmp_path / "client.jsonl"
    arguments = ["--target", f"http://127.0.0.1:{stub.port}/v1", "--n", "12", "--concurrency", "3", "--seed", "4"]
    more = ["--log", str(log), "--key-env", "DRIVER_KEY"]
    assert await asyncio.to_thread(main, [*arguments, *more]) == 0
    lines = read_lines(log, ClientLine)
    assert len(lines) == 12
    assert capsys.readouterr().out == "      12 complete\n"
    assert all(b"Bearer from-the-environment" in head for head, _ in stub.requests)
