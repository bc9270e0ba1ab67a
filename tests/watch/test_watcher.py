"""Real questions to real sockets: what comes of them in the arena and in reports."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from msgspec.structs import replace

from _native.arena import unpack_breaker
from backends.watch.condition import CODES
from backends.watch.plan import COLD, Polling, Watched, fact_id
from backends.watch.report import State
from tests.watch.conftest import Server, Watch, http, polled, probed
from tests.watch.pages import VLLM

Serve = Callable[[bytes], Awaitable[Server]]
MODELS = http(b'{"object": "list", "data": []}')

GARBAGE = {
    "no HTTP": b"\x16\x03\x01 garbage\r\n\r\n",
    "a page": http(b"<html>It works!</html>"),
    "an error": http(b'{"error": {}}', "500 Internal Server Error"),
    "a redirect": b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    "half a body": b'HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{"data": [',
    "too much": b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n" + b"[" + b" " * 8_999_998 + b"]",
    "zipped": b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n" + gzip.compress(b"{}"),
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200_000,
    "nothing": b"",
}


@pytest.mark.parametrize("kind", GARBAGE)
async def test_a_server_that_accepts_and_answers_garbage_is_out_in_three_probes(
    watching: Watch, serve: Serve, kind: str
) -> None:
    server = await serve(GARBAGE[kind])
    await watching.watcher.use([probed(server.url)])
    await watching.until(lambda: watching.report("one").state is State.FAILED)
    assert watching.counts["one", "probe", "bad"] == 3
    assert watching.report("one").message
    state, _, until_ms = unpack_breaker(watching.arena.word(fact_id("m", "one", "probe")).value)
    assert state == CODES[State.FAILED]
    assert until_ms > 0


async def test_two_good_answers_bring_it_back(watching: Watch, serve: Serve) -> None:
    server = await serve(GARBAGE["a page"])
    await watching.watcher.use([probed(server.url)])
    await watching.until(lambda: watching.report("one").state is State.FAILED)
    server.answer = MODELS
    await watching.until(lambda: watching.report("one").state is State.RUNNING)
    assert watching.counts["one", "probe", "good"] == 2
    assert watching.report("one").message == ""
    assert unpack_breaker(watching.arena.word(fact_id("m", "one", "probe")).value)[2] == 0


async def test_nobody_listening_is_told_as_such(watching: Watch, serve: Serve) -> None:
    server = await serve(MODELS)
    server.close()
    await watching.watcher.use([probed(server.url)])
    await watching.until(lambda: watching.report("one").state is State.FAILED)
    assert watching.report("one").message.startswith("it cannot be connected to")


async def test_a_refused_key_is_told_at_once_and_a_mended_one_too(watching: Watch, serve: Serve) -> None:
    server = await serve(http(b"{}", "401 Unauthorized"))
    await watching.watcher.use([probed(server.url, key="wrong", interval=60.0)])
    await watching.until(lambda: watching.report("one").state is State.FAILED)
    assert len(server.asked) == 1
    assert "`api_key` is not accepted" in watching.report("one").message
    assert "wrong" not in watching.report("one").message
    server.answer = MODELS
    await watching.watcher.use([probed(server.url, key="right", interval=60.0)])
    await watching.until(lambda: watching.report("one").state is State.RUNNING)
    assert b"authorization: Bearer right\r\n" in server.asked[-1]
    assert len(server.asked) <= 3
    assert unpack_breaker(watching.arena.word(fact_id("m", "one", "probe")).value)[2] == 0


async def test_a_probe_costs_no_tokens(watching: Watch, serve: Serve) -> None:
    server = await serve(MODELS)
    await watching.watcher.use([probed(server.url)])
    await watching.until(lambda: len(server.asked) >= 2)
    assert {asked.split(b"\r\n")[0] for asked in server.asked} == {b"GET /v1/models HTTP/1.1"}
    assert b"user-agent: fastpath-watch\r\n" in server.asked[0]


async def test_a_server_without_that_path_is_not_judged(watching: Watch, serve: Serve) -> None:
    server = await serve(http(b"{}", "404 Not Found"))
    await watching.watcher.use([probed(server.url, optional=True)])
    await watching.until(lambda: watching.counts["one", "probe", "silent"] >= 4)
    assert watching.report("one").state is State.UNKNOWN
    assert "not known" in watching.report("one").message


async def test_those_that_stay_are_not_asked_anew_and_those_that_go_are_let_in(watching: Watch, serve: Serve) -> None:
    bad, good = await serve(GARBAGE["a page"]), await serve(MODELS)
    await watching.watcher.use([probed(bad.url, "bad"), probed(good.url, "good", interval=60.0)])
    await watching.until(lambda: watching.report("bad").state is State.FAILED)
    await watching.until(lambda: watching.report("good").state is State.RUNNING)
    await watching.watcher.use([probed(good.url, "good", interval=60.0)])
    assert watching.arena.word(fact_id("m", "bad", "probe")).value == 0
    assert [one.endpoint for one in watching.watcher.reports()] == ["good"]
    assert watching.report("good").state is State.RUNNING
    assert len(good.asked) == 1


async def test_when_watching_ends_the_exclusion_stays_until_its_end(watching: Watch, serve: Serve) -> None:
    server = await serve(GARBAGE["a page"])
    await watching.watcher.use([probed(server.url)])
    await watching.until(lambda: watching.report("one").state is State.FAILED)
    await watching.watcher.close()
    _, _, until_ms = unpack_breaker(watching.arena.word(fact_id("m", "one", "probe")).value)
    assert 0 < until_ms / 1000 - asyncio.get_running_loop().time() < 20


async def test_who_watches_next_lets_nobody_in_before_it_knows_better(watching: Watch, serve: Serve) -> None:
    server = await serve(GARBAGE["a page"])
    await watching.watcher.use([probed(server.url)])
    await watching.until(lambda: watching.report("one").state is State.FAILED)
    await watching.watcher.close()
    word = watching.arena.word(fact_id("m", "one", "probe"))
    before = watching.counts["one", "probe", "bad"]
    await watching.watcher.use([probed(server.url)])
    await watching.until(lambda: watching.counts["one", "probe", "bad"] > before)
    assert watching.report("one").state is State.UNKNOWN
    assert unpack_breaker(word.value)[0] == CODES[State.FAILED]
    server.answer = MODELS
    await watching.until(lambda: watching.report("one").state is State.RUNNING)
    assert unpack_breaker(word.value)[0] == CODES[State.RUNNING]


async def test_load_is_read_into_the_sample(watching: Watch, serve: Serve) -> None:
    server = await serve(http(VLLM))
    await watching.watcher.use([polled(server.url, key="sk")])
    await watching.until(lambda: watching.counts["one", "poll", "ok"] >= 2)
    found = watching.arena.sample(fact_id("m", "one")).read()
    assert found is not None
    assert found[1] == (3 * 1000, 0.5, 0, 12, 3)
    assert b"GET /metrics HTTP/1.1\r\n" in server.asked[0]
    assert b"Bearer sk" in server.asked[0]


async def test_a_page_elsewhere_does_not_get_the_key(watching: Watch, serve: Serve) -> None:
    server, exporter = await serve(MODELS), await serve(http(VLLM))
    await watching.watcher.use([polled(server.url, exporter.url.removesuffix("/v1") + "/load?of=all", key="sk-secret")])
    await watching.until(lambda: exporter.asked)
    assert b"GET /load?of=all HTTP/1.1\r\n" in exporter.asked[0]
    assert b"sk-secret" not in exporter.asked[0]


PAGES = {
    "another page": (http(b"<html/>"), "neither vllm:num_requests_waiting"),
    "an error": (http(b"", "503 Service Unavailable"), "answers 503"),
    "without end": (b"HTTP/1.1 200 OK\r\n\r\n" + b"vllm:num_requests_waiting 1\n" * 200_000, "more than"),
    "no answer": (b"", "no whole answer"),
}


@pytest.mark.parametrize("kind", PAGES)
async def test_a_page_that_cannot_be_read_leaves_the_sample_as_it_was(watching: Watch, serve: Serve, kind: str) -> None:
    server = await serve(http(VLLM))
    await watching.watcher.use([polled(server.url)])
    await watching.until(lambda: watching.counts["one", "poll", "ok"])
    server.answer, words = PAGES[kind]
    await watching.until(lambda: watching.counts["one", "poll", "failed"] >= 2)
    found = watching.arena.sample(fact_id("m", "one")).read()
    assert found is not None
    assert found[1][4] == 3
    assert words in watching.report("one").problem
    server.answer = http(VLLM)
    before = watching.counts["one", "poll", "ok"]
    await watching.until(lambda: watching.counts["one", "poll", "ok"] > before)
    assert watching.report("one").problem == ""


async def test_busy_endpoints_are_asked_oftener(watching: Watch, serve: Serve) -> None:
    idle, busy = await serve(http(VLLM.replace(b" 7.0", b" 0").replace(b" 5.0", b" 0").replace(b" 3.0", b" 0"))), None
    busy = await serve(http(VLLM))
    one, two = polled(idle.url), polled(busy.url)
    two = type(two)("m", "two", two.url, polling=two.polling)
    await watching.watcher.use([one, two])
    await watching.until(lambda: watching.counts["two", "poll", "ok"] >= 20)
    assert watching.counts["one", "poll", "ok"] <= 14  # half as often, and some


async def test_a_bug_in_a_task_is_told_and_the_endpoint_watched_on(
    watching: Watch, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve(http(VLLM))

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr("backends.watch.poller.Trend.sample", fail)
        await watching.watcher.use([polled(server.url)])
        async with asyncio.timeout(30):
            while not watching.bugs:
                await asyncio.sleep(0.01)
                watching.watcher.heal()
    assert isinstance(watching.bugs.pop(), ZeroDivisionError)
    await watching.until(lambda: watching.counts["one", "poll", "ok"])


async def test_models_that_share_a_server_are_one_question_and_each_has_the_fact(watching: Watch, serve: Serve) -> None:
    server = await serve(GARBAGE["a page"])
    one = probed(server.url)
    two = replace(one, model="n", endpoint="two", serves="other", throughput=9.0)
    await watching.watcher.use([one, two])
    await watching.until(lambda: watching.report("one").state is State.FAILED)
    assert watching.report("two").state is State.FAILED
    assert watching.report("two").message == watching.report("one").message
    assert len(server.asked) == 3, "as often as one"
    words = {watching.arena.word(fact_id(*each.name, "probe")).value for each in (one, two)}
    assert len(words) == 1
    assert unpack_breaker(words.pop())[0] == CODES[State.FAILED]


async def test_one_that_comes_later_has_the_fact_at_once_and_one_that_goes_leaves_the_other_its(
    watching: Watch, serve: Serve
) -> None:
    server = await serve(GARBAGE["a page"])
    one = probed(server.url)
    two = replace(one, model="n", endpoint="two")
    await watching.watcher.use([one])
    await watching.until(lambda: watching.report("one").state is State.FAILED)
    asked = len(server.asked)
    await watching.watcher.use([one, two])
    assert watching.report("two").state is State.FAILED
    assert unpack_breaker(watching.arena.word(fact_id(*two.name, "probe")).value)[0] == CODES[State.FAILED]
    await watching.watcher.use([two])
    assert len(server.asked) <= asked + 1
    assert watching.arena.word(fact_id(*one.name, "probe")).value == 0
    assert watching.report("two").state is State.FAILED
    server.answer = MODELS
    await watching.until(lambda: watching.report("two").state is State.RUNNING)
    assert watching.arena.word(fact_id(*one.name, "probe")).value == 0, "nobody speaks of it any more"


@pytest.mark.parametrize("change", [{"api_key": "other"}, {"ca_file": "/ca.pem"}, {"networks": ("127.0.0.0/8",)}])
async def test_another_key_or_another_way_there_is_another_question(
    watching: Watch, serve: Serve, change: dict[str, str]
) -> None:
    server = await serve(http(b"{}", "401 Unauthorized"))
    one = probed(server.url, key="sk", interval=60.0)
    await watching.watcher.use([one, replace(one, model="n", endpoint="two", **change)])
    await watching.until(lambda: watching.counts["one", "probe", "refused"] and probes_of(watching, "two"))


def probes_of(watching: Watch, endpoint: str) -> int:
    return sum(count for (name, kind, _), count in watching.counts.items() if (name, kind) == (endpoint, "probe"))


async def test_a_changed_key_of_one_leaves_the_other_as_it_is(watching: Watch, serve: Serve) -> None:
    server = await serve(MODELS)
    one = probed(server.url, key="sk", interval=60.0)
    two = replace(one, model="n", endpoint="two")
    await watching.watcher.use([one, two])
    await watching.until(lambda: watching.report("two").state is State.RUNNING)
    server.answer = http(b"{}", "401 Unauthorized")
    await watching.watcher.use([one, replace(two, api_key="wrong")])
    await watching.until(lambda: watching.report("two").state is State.FAILED)
    assert watching.report("one").state is State.RUNNING


async def test_one_page_of_load_tells_of_each_model_that_it_names(watching: Watch, serve: Serve) -> None:
    models = [{"name": "small", "model": "small"}, {"name": "large", "model": "large"}]
    server = await serve(http(msgspec.json.encode({"models": models[:1]})))
    polling = Polling("ollama", server.url.removesuffix("/v1") + "/api/ps", 0.1, 0.05, 0.3)
    small = Watched("m", "one", server.url, serves="small", throughput=100.0, polling=polling)
    large = replace(small, model="n", endpoint="two", serves="large", throughput=1000.0)
    await watching.watcher.use([small, large])
    await watching.until(lambda: watching.counts["one", "poll", "ok"] >= 2)
    waiting = [found[1][0] for one in (small, large) if (found := watching.arena.sample(fact_id(*one.name)).read())]
    assert waiting == [0.0, COLD * 1000.0], "one is in memory and one would have to be read"
    assert len(server.asked) == watching.counts["one", "poll", "ok"]
    assert watching.counts["two", "poll", "ok"] == 0


async def test_after_a_bug_all_that_shared_the_question_are_asked_about_anew(
    watching: Watch, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve(MODELS)
    one = probed(server.url)
    with monkeypatch.context() as broken:
        broken.setattr("backends.watch.prober.judge", lambda *_, **__: 1 / 0)
        await watching.watcher.use([one, replace(one, model="n", endpoint="two")])
        async with asyncio.timeout(5):
            while not watching.bugs:
                await asyncio.sleep(0.01)
                watching.watcher.heal()
    assert len(watching.bugs) == 1
    assert isinstance(watching.bugs.pop(), ZeroDivisionError)
    await watching.until(lambda: watching.report("two").state is State.RUNNING)
    assert watching.report("one").state is State.RUNNING
