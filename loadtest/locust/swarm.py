"""`python -m loadtest.locust.swarm`: one scenario in one Locust process; an Order comes on stdin, Answers go to stdout.

Owns the Locust environment of a headless run and its end. Locust patches the standard library when it is imported: no
other module of the project may import this one. Concurrency: gevent.
"""

import sys
import time

import gevent  # type: ignore[import-untyped]  # it ships none
import msgspec
from locust.env import Environment
from locust.log import setup_logging

from loadtest.locust.line import Heard
from loadtest.locust.order import Order, Report, talks_of
from loadtest.locust.user import Docket, callers

CALLERS = 64
"""Per way: enough that no talk has to wait for a free one."""
APART = 0.5
"""Seconds between a talk on the direct way and the same talk through the gateway."""
GRACE = 20.0
"""Seconds after the last talk was due in which all must have ended."""


def run(order: Order) -> Report:
    """Holds all talks of an order on both ways. What was not over in time is not in the report."""
    talks = talks_of(order)
    dockets = [
        Docket("direct", ("127.0.0.1", order.direct), talks, 0.0),
        Docket("gateway", ("127.0.0.1", order.gateway), talks, APART),
    ]
    environment = Environment(user_classes=[callers(docket, CALLERS) for docket in dockets])
    heard = _collect(environment)
    runner = environment.create_local_runner()
    _begin(dockets)
    runner.start(2 * CALLERS, spawn_rate=10 * CALLERS)
    limit = time.monotonic() + order.seconds + APART + GRACE
    wanted = sum(docket.turns for docket in dockets)
    while len(heard) < wanted and time.monotonic() < limit:
        gevent.sleep(0.05)
    runner.quit()
    return Report(wanted=wanted // 2, failures=environment.stats.total.num_failures, heard=heard)


def _begin(dockets: list[Docket]) -> None:
    for docket in dockets:
        docket.start = time.monotonic() + 0.5  # by then all callers are spawned


def _collect(environment: Environment) -> list[Heard]:
    """The list to which every finished turn will be added."""
    heard: list[Heard] = []

    def note(context: dict[str, Heard], **_: object) -> None:
        heard.append(context["heard"])

    environment.events.request.add_listener(note)  # type: ignore[no-untyped-call]  # Locust has no types here.
    return heard


def main() -> int:
    setup_logging("ERROR")  # type: ignore[no-untyped-call]  # Locust has no types here.
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    sys.stdout.buffer.write(msgspec.json.encode(run(order)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
