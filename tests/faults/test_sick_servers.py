"""Model servers that cannot be reached, fail, ask for rest, flap, or meet callers that retry (F04, F07, F08, F42, F49).

Every test builds a gateway in this process before mocks, and counts what reaches them. With real processes that are
killed, stopped and slowed: `test_moving`.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from backends.mock import Fault
from fastpath.settings import Endpoint, Health, Model, Retries
from loadtest.ports import free_port
from loadtest.rig import Bench, assert_complete, assert_refused, chat
from loadtest.rig.bench import Served, Upstream, make_settings

both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
#: Out for longer than any test runs, and no slow start: what is counted here is who is asked.
LONG = Health(out=300.0, out_max=300.0, slow_start=0.0)
#: The retries of the settings' own defaults, without their waits.
RETRIES = Retries(backoff=0.001, backoff_max=0.002)


async def serve(bench: Bench, *urls: str, health: Health = LONG, retries: Retries = RETRIES, **more: Any) -> Served:
    """Equal endpoints."""
    endpoints = tuple(Endpoint(url=url, name=f"e{i}", tier="L1") for i, url in enumerate(urls))
    model = Model(name="llama", endpoints=endpoints)
    return await bench.serve(make_settings([model], health=health, retries=retries, **more))


def refusing() -> str:
    """A URL at which nobody listens."""
    return f"http://127.0.0.1:{free_port()}/v1"


@contextmanager
def silent() -> Iterator[str]:
    """A URL that takes no connection, as one behind a blackhole route: its queue is full."""
    with ExitStack() as stack:
        listener, *callers = [stack.enter_context(socket.socket()) for _ in range(3)]
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


async def ask(served: Served, times: int, **more: Any) -> list[Any]:
    """One after the other."""
    return [await served.ask(chat(**more)) for _ in range(times)]


def counters(served: Served, name: str) -> dict[Any, int]:
    return served.gateway.metrics.snapshot().counters.get(name, {})


# -- F04 it cannot be reached


@both
async def test_F04_a_refused_connection_is_invisible_and_opens_the_breaker_after_five(
    bench: Bench, stream: bool
) -> None:
    sound = [await bench.mock() for _ in range(2)]
    served = await serve(
        bench, refusing(), *(one.url for one in sound), retries=Retries(budget_min=1000, backoff=0.001)
    )
    for reply in await ask(served, 30, stream=stream):
        assert_complete(reply, stream)
    assert counters(served, "ai_inference_upstream_errors_total") == {("e0", "connect"): 5}
    assert counters(served, "fastpath_breaker_transitions_total") == {("e0", "open"): 1}
    assert sum(one.asked for one in sound) == 30


async def test_F04_a_blackhole_costs_the_connect_time_out_and_then_nothing(bench: Bench) -> None:
    sound = await bench.mock()
    with silent() as url:
        served = await serve(
            bench, url, sound.url, timeouts={"connect": 0.1}, retries=Retries(budget_min=1000, backoff=0.001)
        )
        for reply in await ask(served, 20):
            assert_complete(reply, stream=False)
    assert counters(served, "ai_inference_upstream_errors_total") == {("e0", "connect_timeout"): 5}


async def test_F04_nobody_pays_for_attempts_that_failed(bench: Bench) -> None:
    sound = await bench.mock()
    served = await serve(bench, refusing(), sound.url, retries=Retries(budget_min=1000, backoff=0.001))
    replies = await ask(served, 10)
    records = await served.records.wait(10)
    assert {record.endpoint for record in records} == {"e1"}
    assert [record.output_tokens for record in records] == [
        reply.json["usage"]["completion_tokens"] for reply in replies
    ]


async def test_F04_it_comes_back_by_itself(bench: Bench) -> None:
    sound = await bench.mock()
    url = refusing()
    health = Health(out=0.1, out_max=0.1, slow_start=0.0)
    served = await serve(bench, url, sound.url, health=health, retries=Retries(budget_min=1000, backoff=0.001))
    await ask(served, 12)
    late = await bench.mock(port=int(url.split(":")[2].removesuffix("/v1")))
    async with asyncio.timeout(30):
        while late.asked < 10:
            (reply,) = await ask(served, 1)
            assert_complete(reply, stream=False)
    assert counters(served, "fastpath_breaker_transitions_total")[("e0", "closed")] == 1


async def test_F04_the_only_endpoint_is_always_tried(bench: Bench) -> None:
    url = refusing()
    served = await serve(bench, url)
    for reply in await ask(served, 20):
        assert_refused(reply, 502, "upstream_error")
    upstream = await bench.mock(port=int(url.split(":")[2].removesuffix("/v1")))
    assert_complete((await ask(served, 1))[0], stream=False)
    assert upstream.asked == 1


# -- F07 it answers 500, 502, 503, 529


@both
@pytest.mark.parametrize("status", [500, 502, 503, 504, 529])
async def test_F07_five_errors_of_ten_and_it_is_out(bench: Bench, status: int, stream: bool) -> None:
    sick, sound = await bench.mock(), await bench.mock()
    sick.script(Fault(status=status))
    served = await serve(bench, sick.url, sound.url, retries=Retries(budget_min=1000, backoff=0.001))
    for reply in await ask(served, 30, stream=stream):
        assert_complete(reply, stream)
    assert (sick.asked, sound.asked) == (5, 30)
    assert counters(served, "fastpath_ejections_total") == {("e0", "failures"): 1}


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
async def test_F07_a_callers_own_mistakes_change_nothing(bench: Bench, status: int) -> None:
    first, second = await bench.mock(), await bench.mock()
    for one in (first, second):
        one.script(Fault(status=status))
    served = await serve(bench, first.url, second.url)
    assert {reply.status for reply in await ask(served, 40)} == {status}
    assert (first.asked, second.asked) == (20, 20), "not retried, and nobody out"
    assert counters(served, "fastpath_breaker_transitions_total") == {}


@pytest.mark.parametrize("status", [401, 403])
async def test_F07_who_does_not_take_our_key_is_out(bench: Bench, status: int) -> None:
    sick, sound = await bench.mock(), await bench.mock()
    sick.script(Fault(status=status))
    served = await serve(bench, sick.url, sound.url, retries=Retries(budget_min=1000, backoff=0.001))
    assert {reply.status for reply in await ask(served, 20)} == {200}
    assert sick.asked == 5


async def test_F07_all_out_is_panic_and_the_error_is_theirs(bench: Bench) -> None:
    mocks = [await bench.mock() for _ in range(2)]
    for mock in mocks:
        mock.script(Fault(status=500))
    served = await serve(bench, *(mock.url for mock in mocks))
    for reply in await ask(served, 20):
        assert_refused(reply, 502, "upstream_error")
    assert counters(served, "fastpath_panic_total")[()] > 0
    for mock in mocks:
        mock.script()
    assert_complete((await ask(served, 1))[0], stream=False)


# -- F08 it asks to be left alone


async def test_F08_who_asks_for_rest_has_it_and_others_serve(bench: Bench) -> None:
    busy, sound = await bench.mock(), await bench.mock()
    busy.script(Fault(status=429, retry_after=20))
    served = await serve(bench, busy.url, sound.url)
    for reply in await ask(served, 50):
        assert_complete(reply, stream=False)
    assert (busy.asked, sound.asked) == (1, 50)
    assert counters(served, "fastpath_ejections_total") == {("e0", "rest"): 1}


async def test_F08_when_all_are_limited_the_smallest_wait_is_told_and_nobody_is_asked(bench: Bench) -> None:
    """At most 1.1 upstream calls for each of the callers': the storm stays outside."""
    mocks = [await bench.mock() for _ in range(3)]
    for wait, mock in zip((30, 20, 40), mocks, strict=True):
        mock.script(Fault(status=429, retry_after=wait))
    served = await serve(bench, *(mock.url for mock in mocks))
    replies = await ask(served, 100)
    for reply in replies:
        assert_refused(reply, 503, "overloaded")
    assert sum(mock.asked for mock in mocks) == 3
    assert {15 <= int(reply.header("retry-after") or 0) <= 20 for reply in replies[3:]} == {True}


async def test_F08_the_only_endpoint_has_its_rest_too(bench: Bench) -> None:
    busy = await bench.mock()
    busy.script(Fault(status=429, retry_after=20))
    served = await serve(bench, busy.url)
    for reply in await ask(served, 20):
        assert_refused(reply, 503, "overloaded")
    assert busy.asked == 1


async def test_F08_a_rest_is_capped_and_ends(bench: Bench) -> None:
    busy, sound = await bench.mock(), await bench.mock()
    busy.script(Fault(status=503, retry_after=86_000), times=1)
    served = await serve(bench, busy.url, sound.url, health=Health(rest_max=0.2, slow_start=0.0))
    async with asyncio.timeout(30):
        while busy.asked < 5:
            assert_complete((await ask(served, 1))[0], stream=False)
            await asyncio.sleep(0.005)


async def test_F08_429_without_a_time_is_retried_elsewhere_and_nobody_is_out(bench: Bench) -> None:
    busy, sound = await bench.mock(), await bench.mock()
    busy.script(Fault(status=429))
    served = await serve(bench, busy.url, sound.url, retries=Retries(budget_min=1000, backoff=0.001))
    assert {reply.status for reply in await ask(served, 20)} == {200}
    assert counters(served, "fastpath_breaker_transitions_total") == {}


# -- F42 callers retry at once


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(status=503), Fault(die="pre")], ids=["500", "503", "dead"])
async def test_F42_a_storm_of_retries_is_not_multiplied(bench: Bench, fault: Fault) -> None:
    """Everything fails, and each caller asks three times again: what reaches the servers is no more than a tenth above
    what callers send."""
    mocks = [await bench.mock() for _ in range(3)]
    for mock in mocks:
        mock.script(fault)
    served = await serve(bench, *(mock.url for mock in mocks))
    sent = Counter[int]()

    async def insist() -> None:
        for _ in range(4):
            sent[(await served.ask(chat())).status] += 1

    for _ in range(10):
        await asyncio.gather(*(insist() for _ in range(10)))
    assert sent.total() == 400
    assert sum(mock.asked for mock in mocks) <= 1.1 * sent.total() + 3


# -- F49 it flaps


async def test_F49_a_flapping_server_costs_callers_nothing_and_is_asked_less_and_less(bench: Bench) -> None:
    """It works and fails by turns. Each time it is out longer; whoever is well serves."""
    flapping, sound = await bench.mock(), await bench.mock()
    health = Health(out=0.05, out_max=10.0, slow_start=0.0)
    served = await serve(bench, flapping.url, sound.url, health=health, retries=Retries(budget_min=1000, backoff=0.001))
    asked = []
    for _ in range(6):
        flapping.script(Fault(status=500))
        before = flapping.asked
        await keep_asking(served, 0.4)
        asked.append(flapping.asked - before)
        flapping.script()
        await keep_asking(served, 0.1)
    assert asked[-1] < asked[0]
    assert asked[-1] <= 5
    assert counters(served, "fastpath_breaker_transitions_total")[("e0", "open")] >= 2


async def keep_asking(served: Served, seconds: float) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        assert_complete(await served.ask(chat()), stream=False)


async def test_F49_one_good_answer_does_not_bring_it_back(bench: Bench) -> None:
    """Two must go well: hysteresis."""
    flapping, sound = await bench.mock(), await bench.mock()
    flapping.script(*[Fault(status=500)] * 5, Fault(), Fault(status=500))
    health = Health(out=0.1, out_max=10.0, slow_start=0.0)
    served = await serve(bench, flapping.url, sound.url, health=health, retries=Retries(budget_min=1000, backoff=0.001))
    await keep_asking(served, 0.6)
    moves = counters(served, "fastpath_breaker_transitions_total")
    assert ("e0", "closed") not in moves
    assert moves[("e0", "open")] >= 2


# -- what each wait of an attempt costs its endpoint, and who serves instead


@pytest.mark.parametrize(
    ("fault", "timeouts", "cause"),
    [
        (Fault(stall_after="head"), {"first_byte": 0.15}, "first_byte_timeout"),
        (Fault(stall_after=0, early_head=True), {"first_byte": 0.15}, "first_byte_timeout"),
        (Fault(cut_at_byte=120, how="stall"), {"idle": 0.15, "first_byte": 0.3}, None),
    ],
    ids=["silence", "only a head", "half a head"],
)
async def test_each_time_out_falls_back_to_another(
    bench: Bench, fault: Fault, timeouts: dict[str, float], cause: str | None
) -> None:
    sick, sound = await bench.mock(), await bench.mock()
    sick.script(fault)
    served = await serve(bench, sick.url, sound.url, timeouts=timeouts)
    for reply in await ask(served, 2, stream=True):
        assert_complete(reply, stream=True)
    (found,) = counters(served, "ai_inference_upstream_errors_total")
    assert found[0] == "e0"
    assert cause is None or found[1] == cause
    assert sick.asked == 1


async def test_the_total_time_is_over_for_retries_too(bench: Bench) -> None:
    mocks: list[Upstream] = [await bench.mock() for _ in range(3)]
    for mock in mocks:
        mock.script(Fault(stall_after="head"))
    served = await serve(bench, *(mock.url for mock in mocks), timeouts={"first_byte": 0.3, "total": 0.5})
    assert_refused((await ask(served, 1))[0], 504, "upstream_timeout")
    assert sum(mock.asked for mock in mocks) == 2
