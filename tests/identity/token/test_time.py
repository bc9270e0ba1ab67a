"""Clocks that disagree, jump and drift: no crowd of callers is refused for it (fault row F39)."""

from collections.abc import Callable

import pytest

from fastpath.identity.token.identity import Claims
from fastpath.identity.token.steady import HOLD, SMALL, SteadyClock
from fastpath.identity.token.verifier import TokenVerifier
from tests.identity.token.conftest import NOW, Shelf, claims_of
from tests.idp.signer import SigningKey

HOUR, DAY = 3600.0, 86400.0


class Machine:
    """A machine's two clocks, and what happens to them."""

    def __init__(self) -> None:
        self.up = 1_000.0
        self.wall = NOW

    def pass_time(self, seconds: float, rate: float = 1.0) -> None:
        """rate: how much faster the wall clock goes (slewing is at most 0.05 % off)."""
        self.up += seconds
        self.wall += seconds * rate


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def clock(machine: Machine) -> SteadyClock:
    return SteadyClock(lambda: machine.up, lambda: machine.wall)


@pytest.fixture
def accepted(verifier: TokenVerifier, key: SigningKey) -> Callable[[float, float], bool]:
    """Whether a token is believed that the provider made at `made`, for five minutes, by a worker at `now`."""

    def judge(made: float, now: float) -> bool:
        found = verifier.verify(key.token(claims_of(iat=made, nbf=made, exp=made + 300)), now)
        return isinstance(found, Claims)

    return judge


@pytest.mark.parametrize("off", [-60, -59.9, -5, 0, 5, 59.9])
def test_F39_a_worker_within_a_minute_believes_a_fresh_token(
    off: float, accepted: Callable[[float, float], bool]
) -> None:
    assert accepted(NOW, NOW + off)


@pytest.mark.parametrize(("off", "believed"), [(-60.5, False), (-60, True), (359.5, True), (360, False)])
def test_beyond_a_minute_it_is_not(off: float, believed: bool, accepted: Callable[[float, float], bool]) -> None:
    assert accepted(NOW, NOW + off) is believed


def test_F39_workers_that_differ_by_five_seconds_agree(shelf: Shelf, key: SigningKey) -> None:
    workers = [TokenVerifier([shelf]) for _ in range(4)]
    for age in range(-50, 350, 10):
        token = key.token(claims_of(iat=NOW - age, exp=NOW - age + 300))
        found = {
            isinstance(worker.verify(token, NOW + off), Claims)
            for worker, off in zip(workers, (-5, -2, 2, 5), strict=True)
        }
        assert len(found) == 1, age


@pytest.mark.parametrize("step", [HOUR, -HOUR, DAY, -DAY])
def test_F39_a_step_refuses_nobody_and_is_believed_when_it_lasts(
    step: float, machine: Machine, clock: SteadyClock, accepted: Callable[[float, float], bool]
) -> None:
    true = machine.wall
    machine.wall += step
    for _ in range(int(HOLD / 30)):
        assert accepted(true - 100, clock.now())
        assert clock.stepped
        machine.pass_time(30)
        true += 30
    assert clock.now() == machine.wall
    assert not clock.stepped


def test_F39_a_step_that_is_taken_back_was_never_seen(machine: Machine, clock: SteadyClock) -> None:
    machine.wall += HOUR
    assert clock.now() == NOW
    machine.pass_time(HOLD / 2)
    assert clock.now() == NOW + HOLD / 2
    machine.wall -= HOUR
    assert clock.now() == machine.wall
    machine.wall += HOUR
    machine.pass_time(HOLD / 2 + 1)  # the hold begins anew
    assert clock.now() == NOW + HOLD + 1


def test_F39_slewing_and_a_leap_second_pass_through(machine: Machine, clock: SteadyClock) -> None:
    for _ in range(1000):
        machine.pass_time(10, rate=1.0005)
        assert clock.now() == machine.wall
    machine.wall -= 1
    assert clock.now() == machine.wall
    assert SMALL > 1
