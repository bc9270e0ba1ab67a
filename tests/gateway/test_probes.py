"""Who finds out whether a server is well again: only requests that were sent there."""

from typing import Any

import pytest

import fastpath.relay.delivery as relay
from fastpath.account.books import Books
from fastpath.guard.egress import EgressViolation
from fastpath.settings import Endpoint, Model, ModelClamp
from loadtest.rig import Bench, chat
from loadtest.rig.bench import Served, make_settings
from scheduler.breaker import Signal, State
from tests.gateway.forms import BY_PIECE, FILE, MODEL, PICTURES, form, number, pictures, request
from tests.gateway.shifted import ShiftedClock


class Ward:
    """A gateway before one server that it knows as two, both of which were out and may be tried."""

    def __init__(self, served: Served, clock: ShiftedClock) -> None:
        assert served.gateway.app is not None
        self.served = served
        self.runtime = served.gateway.app._runtime
        self._clock = clock
        assert self.runtime.present is not None
        self._breakers = [target.vitals.breaker for target in self.runtime.present.routes["llama"].targets]
        for breaker in self._breakers:
            for _ in range(breaker.rules.failures):
                breaker.tell(Signal.BAD, clock.monotonic())
        clock.passed += 1.5
        self.runtime.health.look(clock.monotonic())

    def assert_untried(self) -> None:
        found = [breaker.read(self._clock.monotonic()) for breaker in self._breakers]
        assert [(one.state, one.taken) for one in found] == [(State.HALF_OPEN, 0)] * 2


@pytest.fixture
async def ward(bench: Bench, raw: Any) -> Ward:
    raw.answer = pictures(1)
    endpoints = tuple(Endpoint(url=raw.url, name=name, tier="L1") for name in "ab")
    clock = ShiftedClock()
    model = Model(name="llama", endpoints=endpoints, price=BY_PIECE, clamp=ModelClamp(n=1))
    return Ward(await bench.serve(make_settings([model]), clock), clock)


async def test_a_form_that_is_refused_is_none(ward: Ward, raw: Any, quiet: Any) -> None:
    for _ in range(5):
        assert (await ward.served.ask(request(form(MODEL, number(b"2"), FILE), PICTURES))).status == 400
    ward.assert_untried()
    assert (await ward.served.ask(request(form(MODEL, number(b"1"), FILE), PICTURES))).status == 200
    assert len(raw.requests) == 1
    await quiet(ward.served).wait()


async def test_what_cannot_be_written_down_is_none(ward: Ward, raw: Any, quiet: Any) -> None:
    class Full:
        """An outbox without room."""

        def put(self, record: bytes) -> bool:
            return False

        put_opening = put_closing = put

    ward.runtime.books = Books(Full())
    for _ in range(5):
        assert (await ward.served.ask(chat())).status == 503
    ward.assert_untried()
    ward.runtime.books = None
    assert (await ward.served.ask(chat())).status == 200
    assert len(raw.requests) == 1
    await quiet(ward.served).wait()


@pytest.mark.parametrize(
    ("error", "status"), [(EgressViolation("P0", "L2", "a", "it may not"), 503), (ValueError(), 500)]
)
async def test_what_is_stopped_on_its_way_is_none(
    ward: Ward, raw: Any, quiet: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def stop(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(relay, "egress", stop)
        ward.runtime.loop.set_exception_handler(lambda loop, context: None)
        for _ in range(5):
            assert (await ward.served.ask(chat())).status == status
    ward.assert_untried()
    assert raw.requests == []
    await quiet(ward.served).wait()
