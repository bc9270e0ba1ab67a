"""What one worker knows of its endpoints at this moment, as plain data that another process can decide by.

Owns which columns of the table are facts about load and health, and which of them are moments: those are told as
seconds from now, since clocks of two machines have nothing in common. Does not own how it travels. Pure.
"""

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from fastpath.snapshot import Snapshot
    from scheduler.endpoint import EndpointTable

#: Columns of `scheduler.endpoint`; the others are configured.
AMOUNTS: Final = (
    "in_flight", "in_flight_elsewhere", "tokens", "tokens_elsewhere", "since", "queued", "kv_usage", "throughput",
    "ttft",
)  # fmt: skip
MOMENTS: Final = ("counted_at", "sampled_at", "out_until", "ramp_from", "ttft_at")
_COUNTS: Final = frozenset(("in_flight", "in_flight_elsewhere"))
_MOST: Final = 1e12


class LiveEndpoint(msgspec.Struct, frozen=True):
    """One endpoint of one model. amounts, moments: by column; a moment that never was is left out, the others are
    seconds from now, negative for what is past."""

    model: str
    endpoint: str
    amounts: dict[str, float]
    moments: dict[str, float]


def read_live(snapshot: "Snapshot", table: "EndpointTable", now: float) -> list[LiveEndpoint]:
    """What the table says of every endpoint. now: monotonic seconds."""
    columns = table.columns
    found = {(route.name, target.name): target.slot for route in snapshot.routes.values() for target in route.targets}
    return [
        LiveEndpoint(
            model,
            endpoint,
            {name: float(columns[name][slot]) for name in AMOUNTS},
            {name: columns[name][slot] - now for name in MOMENTS if columns[name][slot]},
        )
        for (model, endpoint), slot in found.items()
    ]


def write_live(live: list[LiveEndpoint], snapshot: "Snapshot", table: "EndpointTable", now: float) -> int:
    """Makes a table say the same of those endpoints that the snapshot has too; gives their number."""
    columns, known = table.columns, {(one.model, one.endpoint): one for one in live}
    taken = 0
    for route in snapshot.routes.values():
        for target in route.targets:
            one = known.pop((route.name, target.name), None)
            if one is None:
                continue
            taken += 1
            for name in AMOUNTS:
                amount = one.amounts.get(name, 0.0)
                columns[name][target.slot] = int(min(max(amount, 0.0), _MOST)) if name in _COUNTS else amount
            for name in MOMENTS:
                columns[name][target.slot] = now + one.moments[name] if name in one.moments else 0.0
    return taken
