"""A register, destinations and a courier over both databases, in virtual time, with a receiver on loopback."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from controlplane.access.principal import Principal
from controlplane.access.roles import Role
from controlplane.alerts.courier import Courier, Patience
from controlplane.alerts.destinations import Destinations
from controlplane.alerts.register import Register
from controlplane.alerts.shapes import AlertView, DestinationDraft
from controlplane.alerts.tables import DESTINATIONS
from controlplane.audit.trail import Trail
from controlplane.paging import Page
from controlplane.secrets.seal import Keyring, MasterKey
from controlplane.secrets.vault import Vault
from controlplane.store.database import Database
from fastpath.identity.token.fetch import Caps, Fetch, GuardedFetch
from fastpath.outbox.facts import Alert
from tests.controlplane.alerts.receiver import Receiver
from tests.controlplane.ledger.conftest import cluster, database, migrated, migrated_file, now, url
from tests.controlplane.ledger.facts import Now

__all__ = ["cluster", "database", "migrated", "migrated_file", "now", "url"]

ADMIN = Principal("0" * 32, "root", Role.ADMIN)
PATIENCE = Patience(tries=4, first=10.0, factor=3.0, claim=60.0, look_every=0.05)


def alert(**given: Any) -> Alert:
    fields: dict[str, Any] = {
        "ts": 1_790_000_000.0,
        "tenant": "acme",
        "scope": "team",
        "owner": ("acme", "search"),
        "budget": "monthly",
        "kind": "money",
        "currency": "EUR",
        "percent": 80,
        "action": "warn",
        "spent": 8_123_456_789,
        "whole": 10_000_000_000,
        "span": "month",
        "days": 1,
        "period": 20_697,
    }
    return Alert(**(fields | given))


class Office:
    """All of it, on one database."""

    def __init__(self, database: Database, now: Now) -> None:
        self.database = database
        self.now = now
        self.trail = Trail(database, now)
        keyring = Keyring([MasterKey(os.urandom(32))])
        self.vault = Vault(database, self.trail, keyring, lambda: keyring, (DESTINATIONS,))
        self.destinations = self.destinations_for()
        self.register = Register(database, self.trail, now)

    def destinations_for(self, *allowed: str) -> Destinations:
        return Destinations(self.database, self.trail, self.vault, allowed or ("127.0.0.1",))

    def courier(self, fetch: Fetch | None = None, *allowed: str) -> Courier:
        caps = Caps(seconds=5.0)
        guarded = GuardedFetch(_itself, frozenset(allowed or ("127.0.0.1",)), caps=caps)
        wary = GuardedFetch(_itself, caps=caps)
        return Courier(self.database, self.destinations, fetch or guarded, wary, self.now, lambda: 1.0, PATIENCE)

    async def send_to(self, url: str, name: str = "pager") -> str:
        """A new destination; its secret."""
        return (await self.destinations.create(ADMIN, DestinationDraft(name=name, url=url))).secret

    async def alerts(self, who: Principal = ADMIN) -> list[AlertView]:
        return (await self.register.list(who, Page(), None)).data


async def _itself(host: str) -> list[str]:
    return [host]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
async def office(database: Database, now: Now) -> Office:
    return Office(database, now)
