"""What the swarm is told and what it tells: the two messages between the judge's process and Locust's.

Owns their shapes. Concurrency: frozen values.
"""

import random

import msgspec

from loadtest.locust.line import Heard
from loadtest.locust.scenarios import SCENARIOS
from loadtest.locust.talk import Talk


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the talks of a scenario on two ways: straight to a model server, and through the gateway."""

    scenario: str
    seconds: float
    """In which talks begin."""
    seed: int
    direct: int
    """Port of the model server."""
    gateway: int
    """Port of the gateway, which has a model server of its own."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an order."""

    wanted: int
    """Turns per way."""
    failures: int
    """As Locust counted them."""
    heard: list[Heard]


def talks_of(order: Order) -> list[Talk]:
    """The same talks for the same order. Raises KeyError when there is no such scenario."""
    return SCENARIOS[order.scenario].shape(order.seconds, random.Random(f"{order.scenario} {order.seed}"))
