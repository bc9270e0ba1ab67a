"""Limits that are a share of what a model's endpoints can serve: measured, halved, never talked down by themselves."""

import random

import pytest

from _native.arena import Arena
from fastpath.limits.admission import Ticket
from fastpath.limits.capacity import ArenaCapacity, CapacityMeter, CapacityWatch, Counts, has_shares
from fastpath.observe.metrics import Metrics
from fastpath.settings.file import load
from scheduler.clock import ManualClock
from tests.limits.conftest import Gate

KEYS = "keys: [{name: k, hash: HASH, limits: [{count: requests, share: 0.5, per: second, most: 1000}]}]\n"
MODELS = """
models:
  - name: llama
    endpoints: [{url: "http://127.0.0.1:9001/v1"}, {url: "http://127.0.0.1:9002/v1"}]
"""
ENDPOINTS = ("127.0.0.1:9001", "127.0.0.1:9002")


class Servers:
    """Two servers that run at most so many requests each, at so many tokens per second of each."""

    def __init__(self, arena: Arena, clock: ManualClock) -> None:
        self.metrics = Metrics(arena)
        self.clock = clock
        self.speed = 100.0
        self.places = 10
        self.down: set[int] = set()
        self.running: list[list[float]] = []

    def step(self, seconds: float) -> int:
        """Requests that ended meanwhile."""
        now, ended = self.clock.monotonic(), 0
        for number, one in enumerate(list(self.running)):
            if number < self.places * (2 - len(self.down)):
                one[1] -= self.speed * seconds
            if one[1] <= 0:
                self.running.remove(one)
                ended += 1
                endpoint = ENDPOINTS[next(iter({0, 1} - self.down))] if self.down else ENDPOINTS[ended % 2]
                self.metrics.count("ai_inference_answers_total", ("llama", endpoint))
                self.metrics.count("ai_inference_tokens_total", ("llama", "output"), 20)
                self.metrics.count("ai_inference_tokens_total", ("llama", "input"), 60)
                self.metrics.observe("ai_inference_latency_seconds", ("llama",), now - one[0])
        for number in self.down:
            self.metrics.count("ai_inference_upstream_errors_total", (ENDPOINTS[number], "connect"))
        return ended


class Scene:
    def __init__(self, arena: Arena, clock: ManualClock) -> None:
        self.clock = clock
        text = KEYS + MODELS
        self.gate = Gate(text, arena, clock, ArenaCapacity(arena))
        settings = load(text.replace("HASH", f"b2:01234567:{0:064x}"), {})
        assert has_shares(settings)
        self.watch = CapacityWatch(arena, clock, settings)
        self.servers = Servers(arena, clock)
        self.chance = random.Random(0)

    def run(self, seconds: float, limited: float, free: float = 0.0) -> float:
        """Requests per second that the limit admitted, of so many that were asked; `free` ones are not limited."""
        admitted, step = 0, 0.02
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            self.servers.step(step)
            for _ in range(self.arrivals(limited * step)):
                ticket = self.gate.ask()
                if isinstance(ticket, Ticket):
                    admitted += 1
                    self.begin()
            for _ in range(self.arrivals(free * step)):
                self.begin()
            self.watch.look()
        return admitted / seconds

    def begin(self) -> None:
        self.servers.running.append([self.clock.monotonic(), 20.0])

    def arrivals(self, mean: float) -> int:
        return int(mean) + (self.chance.random() < mean % 1)


@pytest.fixture
def scene(arena: Arena, clock: ManualClock) -> Scene:
    return Scene(arena, clock)


def test_half_of_what_is_served_and_half_of_that_when_the_servers_are_half_as_fast(scene: Scene) -> None:
    """Others keep the servers near what they can do (100 requests per second); the limit lets half of that pass."""
    scene.run(10, limited=0, free=80)
    before = scene.run(5, limited=200, free=30)
    assert before == pytest.approx(45, rel=0.25)
    scene.servers.speed /= 2
    scene.run(5, limited=200)
    after = scene.run(5, limited=200)
    assert after == pytest.approx(before / 2, rel=0.25)
    scene.servers.speed *= 2
    scene.run(5, limited=200)
    assert scene.run(5, limited=200) == pytest.approx(before, rel=0.25)


def test_half_of_the_endpoints_gone_is_half_the_capacity(scene: Scene) -> None:
    scene.run(10, limited=0, free=80)
    before = scene.run(5, limited=200)
    scene.servers.down = {1}
    scene.run(5, limited=200)
    assert scene.run(5, limited=200) == pytest.approx(before / 2, rel=0.25)


def test_a_limit_does_not_talk_itself_down(scene: Scene) -> None:
    """What passes is half of the capacity, and so what is served falls: the capacity does not."""
    scene.run(10, limited=0, free=80)
    first = scene.run(5, limited=200)
    scene.run(60, limited=200)
    assert scene.run(5, limited=200) == pytest.approx(first, rel=0.15)


def test_nothing_is_measured_before_there_is_something_to_measure(scene: Scene, arena: Arena) -> None:
    scene.run(3, limited=0)
    assert ArenaCapacity(arena).per_second("llama", "requests") is None
    assert scene.run(2, limited=1_500) > 900  # `most`, until something was measured


def test_one_request_at_a_time_is_measured_by_the_time_that_it_took() -> None:
    meter, found = CapacityMeter(), None
    for second in range(60):
        count = second * 5
        found = meter.observe(float(second), Counts(count, count * 10, count * 10, count * 0.05), 1)
    assert found is not None
    assert found.requests == pytest.approx(20.0)


def test_settings_without_shares_are_not_measured(arena: Arena, clock: ManualClock) -> None:
    watch = CapacityWatch(arena, clock, load(MODELS, {}))
    watch._measure = lambda now, rows: pytest.fail("nobody asked for it")  # type: ignore[method-assign]
    watch.look()
