"""Multipart requests: the model part is found however the body is cut, only it is patched, the rest streams."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.exceptions import MultipartParseError

from backends.mock import Fault
from fastpath.endpoints.upload import NAME_LIMIT, ModelPart
from fastpath.settings import Endpoint, Model
from loadtest.rig import Bench
from loadtest.rig.bench import make_settings
from tests.gateway.forms import BOUNDARY, FILE, JSON, MODEL, PICTURES, clamped, form, number, request


def find(pieces: Sequence[bytes]) -> bytes | None:
    part, body = ModelPart(BOUNDARY), b"".join(pieces)
    for piece in pieces:
        part.push(piece)
    return body[slice(*part.span)] if part.span is not None else None


# -- the model part


@pytest.mark.parametrize("parts", [(MODEL, FILE), (FILE, MODEL), (FILE, MODEL, (b'form-data; name="x"', b"y"))])
def test_the_model_is_found_at_every_cut(parts: Any) -> None:
    body = form(*parts)
    for at in range(len(body)):
        assert find([body[:at], body[at:]]) == b"llama"
    assert find([body[i : i + 1] for i in range(len(body))]) == b"llama"


names = st.binary(min_size=1, max_size=NAME_LIMIT).filter(lambda name: not set(name) & set(b"\r\n"))


@given(names | st.sampled_from([b"--", b"------cut-here", b"------cut-here--"]), st.data())
def test_any_name_is_found_at_any_cuts(name: bytes, data: st.DataObject) -> None:
    body = form(FILE, (b'form-data; name="model"', name), FILE)
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8))), len(body)]
    assert find([body[a:b] for a, b in itertools.pairwise(cuts)]) == name


@pytest.mark.parametrize("name", [b"\rllama", b"llama\r", b"lla\nma", b"\r\n--llama", b"\r\n------cut-her", b"\n"])
def test_a_line_break_in_a_name_is_refused_at_every_cut(name: bytes) -> None:
    body = form((MODEL[0], name), FILE)
    for at in range(len(body)):
        with pytest.raises(MultipartParseError, match="line break"):
            find([body[:at], body[at:]])


def test_twice_or_too_long() -> None:
    part = ModelPart(BOUNDARY)
    with pytest.raises(MultipartParseError, match="twice"):
        part.push(form(MODEL, FILE, MODEL))
    part = ModelPart(BOUNDARY)
    with pytest.raises(MultipartParseError, match="too long"):
        part.push(form((MODEL[0], b"x" * (NAME_LIMIT + 1))))


# -- through the gateway


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (form(FILE), "needs this part"),
        (form(MODEL, FILE, MODEL), "twice"),
        (form((MODEL[0], b"x" * 600)), "too long"),
        (form((MODEL[0], b"")), "empty"),
        (form((MODEL[0], b"\xff")), "UTF-8"),
        (form(MODEL, FILE, end=b""), "closing boundary"),
        (b"no form", "malformed"),
    ],
)
async def test_a_bad_form(bench: Bench, quiet: Any, body: bytes, words: str) -> None:
    upstream = await bench.mock()
    served = await bench.gateway(upstream.url)
    reply = await served.ask(request(body))
    assert (reply.status, reply.error["code"]) == (400, "invalid_request")
    assert words in reply.error["message"]
    assert upstream.asked == 0
    await quiet(served).wait()


async def test_an_empty_name_is_no_name_for_the_wildcard_either(bench: Bench, raw: Any) -> None:
    served = await bench.gateway(raw.url, model="*")
    reply = await served.ask(request(form((MODEL[0], b""))))
    assert reply.status == 400


@pytest.mark.parametrize("slow", [False, True], ids=["at-once", "streamed"])
@pytest.mark.parametrize("rename", [None, "m", "a-much-longer-name"])
async def test_renaming_changes_the_name_and_the_length(
    bench: Bench, raw: Any, quiet: Any, rename: str | None, slow: bool
) -> None:
    raw.answer = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n{"text":"ok"}'
    endpoint = Endpoint(url=raw.url, model=rename, tier="L1")
    served = await bench.serve(make_settings([Model(name="llama", endpoints=(endpoint,))]))
    body = form((b'form-data; name="x"', b"llama"), MODEL, FILE)
    client = await served.open()
    for _ in range(3):  # on a fresh connection, then on a kept one
        if slow:
            client.send(request(body[:200], length=len(body)))
            for at in range(200, len(body), 20):
                await asyncio.sleep(0.002)
                await client.push(body[at : at + 20])
        else:
            client.send(request(body))
        reply = await client.reply()
        assert (reply.status, reply.body) == (200, b'{"text":"ok"}')
        head, _, sent = raw.requests.pop().partition(b"\r\n\r\n")
        name = (rename or "llama").encode()
        assert sent == form((b'form-data; name="x"', b"llama"), (MODEL[0], name), FILE)
        assert b"content-length: %d" % len(sent) in head.split(b"\r\n")
    assert len(raw.peers) == 1
    await quiet(served).wait()
    client.leave()


async def test_a_chunked_upload_is_sent_on_chunked(bench: Bench, raw: Any, quiet: Any) -> None:
    raw.answer = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n{"text":"ok"}'
    served = await bench.gateway(raw.url)
    body = form(MODEL, FILE)
    client = await served.open()
    client.send(request(b"%x\r\n%b\r\n" % (150, body[:150]), length=None))
    await raw.until(lambda: raw.peers and b"llama" in raw.peers[0].received)
    await client.push(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body) - 150, body[150:]))
    assert (await client.reply()).status == 200
    head, _, sent = raw.requests[0].partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    read = b""
    while sent:
        size, _, sent = sent.partition(b"\r\n")
        read, sent = read + sent[: int(size, 16)], sent[int(size, 16) + 2 :]
    assert read == body
    await quiet(served).wait()
    client.leave()


@pytest.mark.parametrize("warm", [False, True], ids=["fresh", "kept"])
async def test_the_file_streams_while_it_arrives(bench: Bench, raw: Any, quiet: Any, warm: bool) -> None:
    """Each piece reaches the model server before the next is sent, in order and once."""
    served = await bench.gateway(raw.url)
    client = await served.open()
    if warm:
        raw.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
        assert (await client.ask(request(form(MODEL)))).status == 200
        raw.answer = None
    content = b"".join(b"%07d " % i for i in range(40_000))
    body = form(MODEL, (FILE[0], content))
    client.send(request(body[:200], length=len(body)))
    for at in range(200, len(body), 16_000):
        await raw.until(lambda at=at: raw.peers and raw.peers[0].received.endswith(body[at - 20 : at]))
        await client.push(body[at : at + 16_000])
    await raw.until(lambda: raw.whole(raw.peers[0].received))
    assert raw.peers[0].received.partition(b"\r\n\r\n")[2] == body
    raw.peers[0].transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    assert (await client.reply()).status == 200
    await quiet(served).wait()
    client.leave()


@pytest.mark.parametrize("model_first", [True, False])
async def test_a_server_that_does_not_read_holds_the_caller_back(
    bench: Bench, raw: Any, quiet: Any, model_first: bool
) -> None:
    served = await bench.gateway(raw.url)
    size = 30 << 20
    head = form(*([MODEL] if model_first else [(FILE[0], b"x" * (8 << 20)), MODEL]), end=b"\r\n")
    rest = b"Content-Disposition: %b\r\n\r\n" % FILE[0]
    client = await served.open()
    client.send(request(head + rest, length=size))
    await raw.until(lambda: raw.peers)
    raw.peers[0].transport.pause_reading()
    sent, piece = len(head + rest), b"x" * (1 << 18)
    try:
        while sent + len(piece) < size - 1000:
            async with asyncio.timeout(0.5):
                await client.push(piece)
            sent += len(piece)
    except TimeoutError:
        pass
    assert sent < len(head) + (12 << 20), "what nobody reads must stay with the caller"
    assert served.gateway.app is not None
    (call,) = next(iter(served.gateway.app._backends.values())).calls
    assert call._connection.transport.get_write_buffer_size() < len(head) + (1 << 20)
    client.leave()
    await quiet(served).wait()


async def test_a_second_model_behind_the_file_is_refused(bench: Bench, raw: Any, quiet: Any) -> None:
    """The key's scope was checked for the first one; some servers would use the last."""
    served = await bench.gateway(raw.url)
    body = form(MODEL, FILE, (MODEL[0], b"forbidden"))
    client = await served.open()
    client.send(request(body[:200], length=len(body)))
    await raw.until(lambda: raw.peers and b"llama" in raw.peers[0].received)
    await client.push(body[200:])
    reply = await client.reply()
    assert (reply.status, reply.error["code"]) == (400, "invalid_request")
    assert "twice" in reply.error["message"]
    await raw.until(lambda: raw.peers[0].ended)
    assert not raw.whole(raw.peers[0].received), "the model server never had a whole request"
    await quiet(served).wait()
    client.leave()


async def test_a_streamed_form_must_be_whole_too(bench: Bench, raw: Any, quiet: Any) -> None:
    served = await bench.gateway(raw.url)
    body = form(MODEL, FILE, end=b"")
    client = await served.open()
    client.send(request(body[:200], length=len(body)))
    await raw.until(lambda: raw.peers and b"llama" in raw.peers[0].received)
    await client.push(body[200:])
    assert (await client.reply()).status == 400
    await raw.until(lambda: raw.peers[0].ended)
    await quiet(served).wait()
    client.leave()


async def test_an_upload_that_is_too_large_while_it_streams(bench: Bench, raw: Any, quiet: Any) -> None:
    served = await bench.gateway(raw.url, limits={"upload_body": 10_000})
    client = await served.open()
    body = form(MODEL, (FILE[0], b"x" * 20_000))
    client.send(request(b"%x\r\n%b\r\n" % (150, body[:150]), length=None))
    await raw.until(lambda: raw.peers and b"llama" in raw.peers[0].received)
    await client.push(b"%x\r\n%b\r\n" % (len(body) - 150, body[150:]))
    reply = await client.reply()
    assert (reply.status, reply.error["code"]) == (413, "request_too_large")
    await raw.until(lambda: raw.peers[0].ended)
    await quiet(served).wait()
    client.leave()


async def test_an_upload_that_is_whole_may_be_retried(bench: Bench, quiet: Any) -> None:
    first, second = await bench.mock(), await bench.mock()
    first.script(Fault(status=500))
    served = await bench.gateway(first.url, second.url)
    assert (await served.ask(request(form(MODEL, FILE)))).status == 200
    await quiet(served).wait()


async def test_an_upload_that_streams_may_only_be_retried_unsent(bench: Bench, raw: Any, quiet: Any) -> None:
    raw.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    served = await bench.gateway("http://127.0.0.1:1/v1", raw.url)
    body = form(MODEL, FILE)
    client = await served.open()
    client.send(request(body[:200], length=len(body)))
    await raw.until(lambda: raw.peers and b"llama" in raw.peers[0].received)
    await client.push(body[200:])
    assert (await client.reply()).status == 200
    assert raw.requests[0].endswith(body)
    await quiet(served).wait()
    client.leave()


async def test_a_failed_upload_is_not_sent_again(bench: Bench, raw: Any, quiet: Any) -> None:
    second = await bench.mock()
    served = await bench.gateway(raw.url, second.url)
    body = form(MODEL, FILE)
    client = await served.open()
    client.send(request(body[:200], length=len(body)))
    await raw.until(lambda: raw.peers and b"llama" in raw.peers[0].received)
    raw.peers[0].transport.abort()
    assert (await client.reply()).status == 502
    assert second.asked == 0
    await quiet(served).wait()


async def test_an_early_refusal_reaches_who_still_uploads(bench: Bench, raw: Any, quiet: Any) -> None:
    served = await bench.gateway(raw.url)
    body = form(MODEL, FILE)
    client = await served.open()
    client.send(request(body[:200], length=len(body)))
    await raw.until(lambda: raw.peers and b"llama" in raw.peers[0].received)
    raw.peers[0].transport.write(b"HTTP/1.1 422 No\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
    assert (await client.reply()).status == 422
    await raw.until(lambda: raw.peers[0].ended)
    await quiet(served).wait()
    client.leave()


async def test_nothing_goes_wrong_unseen(bench: Bench, raw: Any, quiet: Any) -> None:
    """A form refused in the middle leaves no exception behind in a callback."""
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    served = await bench.gateway(raw.url)
    body = form(MODEL, MODEL, FILE)
    client = await served.open()
    client.send(request(body[:240], length=len(body)))
    assert (await client.reply()).status == 400
    await quiet(served).wait()
    client.leave()
    assert not reported


async def test_what_waits_for_its_model_is_counted_in_memory(bench: Bench, raw: Any, quiet: Any) -> None:
    served = await bench.gateway(raw.url)
    body = form((FILE[0], b"x" * 1_000_000), MODEL)
    client = await served.open()
    client.send(request(body[:900_000], length=len(body)))
    async with asyncio.timeout(30):
        while quiet(served).facts()["memory"] < 800_000:
            await asyncio.sleep(0.001)
    client.leave()
    await quiet(served).wait()


# -- what a form asks for


def counted(*parts: tuple[bytes, bytes]) -> int | None:
    found = []
    body = form(*parts)
    for size in (1, 7, len(body)):
        part = ModelPart(BOUNDARY)
        for at in range(0, len(body), size):
            part.push(body[at : at + size])
        found.append(part.count)
    assert len({*found}) == 1, "it depends on the cuts"
    return found[0]


def test_the_number_of_pictures_is_found_at_any_cut() -> None:
    assert counted(MODEL, FILE) is None
    assert counted(MODEL, number(b"3"), FILE) == 3
    assert counted(number(b"2"), MODEL, FILE, number(b" 7 ")) == 7
    for odd in (b"", b"three", b"-1", b"1.5", b"9" * 32, b"1\r\n2", "\u0663".encode()):
        assert counted(MODEL, number(odd), number(b"1")) == -1, odd


@pytest.mark.parametrize("mode", ["lower", "refuse"])
@pytest.mark.parametrize("asked", [b"3", b"many"])
async def test_a_form_that_asks_for_too_many_pictures_is_refused_before_it_is_sent(
    bench: Bench, raw: Any, quiet: Any, mode: str, asked: bytes
) -> None:
    served = await clamped(bench, raw.url, n=2, mode=mode)
    for parts in ((MODEL, number(asked), FILE), (number(asked), FILE, MODEL)):
        reply = await served.ask(request(form(*parts), PICTURES))
        assert (reply.status, reply.error["param"]) == (400, "n")
        assert "2 for this model" in reply.error["message"]
    assert raw.requests == []
    await quiet(served).wait()


async def test_one_that_says_so_behind_its_file_is_cut_off(bench: Bench, raw: Any, quiet: Any) -> None:
    served = await clamped(bench, raw.url, n=2)
    body = form(MODEL, FILE, number(b"3"))
    client = await served.open()
    client.send(request(body[:150], PICTURES, length=len(body)))
    await raw.until(lambda: raw.peers and b"llama" in raw.peers[0].received)
    await client.push(body[150:])
    assert (await client.reply()).status == 400
    assert raw.requests == [], "the model server had it whole"
    await quiet(served).wait()
    client.leave()


async def test_pictures_of_a_form_are_billed_by_the_piece_within_what_may_be_asked(
    bench: Bench, raw: Any, quiet: Any
) -> None:
    served = await clamped(bench, raw.url, n=2)
    for came in (1, 2, 9):
        body = b'{"data": [%b]}' % b", ".join([b"{}"] * came)
        raw.answer = JSON % (len(body), body)
        assert (await served.ask(request(form(MODEL, number(b"2"), FILE), PICTURES))).status == 200
    records = await served.records.wait(3)
    assert [record.cost_nano for record in records] == [40_000_000, 80_000_000, 80_000_000]
    await quiet(served).wait()


async def test_sound_has_no_number_of_answers(bench: Bench, raw: Any, quiet: Any) -> None:
    raw.answer = JSON % (2, b"{}")
    served = await clamped(bench, raw.url, n=2)
    assert (await served.ask(request(form(MODEL, number(b"3"), FILE)))).status == 200
    await quiet(served).wait()
