"""Everything about alerts in a control process, opened and closed as one.

Owns the tasks of sending and of removing what is old. Does not own any of the parts.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from msgspec import Struct

from controlplane.alerts.courier import Courier, Patience
from controlplane.alerts.destinations import Destinations
from controlplane.alerts.register import Register
from controlplane.audit.trail import Trail
from controlplane.secrets.vault import Vault
from controlplane.store.database import Database
from controlplane.store.errors import StoreError
from fastpath.identity.token.fetch import Caps, GuardedFetch, resolve_by_system
from fastpath.settings.control import Webhook

#: From resolving to the status of the answer, s; and bytes of its head. Its body is not read.
SECONDS: Final = 10.0
TIDY_EVERY: Final = 3_600.0

_log = logging.getLogger("fastpath.alerts")


class Alerting(Struct, frozen=True):
    """The parts."""

    register: Register
    destinations: Destinations
    courier: Courier


@asynccontextmanager
async def open_alerting(
    database: Database,
    trail: Trail,
    vault: Vault,
    now: Callable[[], float],
    allowed: Sequence[str] = (),
    of_file: Sequence[Webhook] | None = None,
    patience: Patience | None = None,
) -> AsyncIterator[Alerting]:
    """Sends alerts while the block runs. now: Unix seconds; allowed: hosts that may be private or loopback.

    of_file: destinations of the settings file, which become these; None: they stay as they are.
    """
    destinations = Destinations(database, trail, vault, allowed)
    if of_file is not None:
        await destinations.take_file(of_file)
    caps = Caps(seconds=SECONDS)
    fetch, wary = (GuardedFetch(resolve_by_system, hosts, caps=caps) for hosts in (frozenset(allowed), frozenset()))
    courier = Courier(database, destinations, fetch, wary, now, random.SystemRandom().random, patience)
    register = Register(database, trail, now, courier.wake)
    chores = [
        asyncio.create_task(courier.run(), name="alerts"),
        asyncio.create_task(_tidy(register), name="old alerts"),
    ]
    try:
        yield Alerting(register, destinations, courier)
    finally:
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)


async def _tidy(register: Register) -> None:
    """Removes old alerts, at the start and every hour."""
    while True:
        try:
            while await register.prune():
                continue
        except StoreError as error:
            _log.warning("old alerts stay for now: %s", error)
        await asyncio.sleep(TIDY_EVERY)
