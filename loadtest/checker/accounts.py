"""What the books say after a run, for the checker: requests, statements, differences, what is still held.

Owns the shapes, which an extractor fills (`loadtest.ledger.extract`). Does not judge. Request ids are 32 hex digits,
amounts nano-units, times Unix seconds. Concurrency: loaded once, read only.
"""

import msgspec

Where = tuple[str, int]
"""A request's id and the number of its attempt."""


class Account(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One request in the ledger."""

    request: str
    tenant: str = ""
    admitted: float = 0.0
    attempts: int = 0
    """The highest number seen: 0 for one that was refused before its first."""
    outcome: str = ""
    """As in the access log; `abandoned` where a killed worker's last mark was settled."""
    over: bool = True
    """Whether it has its one terminal record."""
    reserved: int = 0
    """What was set aside for it at admission; 0: nothing, and then nothing bounds its charge."""
    charges: dict[int, int] = {}
    """By attempt: what its tenant pays, corrections included."""
    costs: dict[int, int] = {}
    """By attempt: what its provider charged, corrections included."""


class Stated(msgspec.Struct, frozen=True):
    """A line of a provider's statement. `provider`: the endpoint's name."""

    provider: str
    request: str
    attempt: int
    amount: int


class Difference(msgspec.Struct, frozen=True):
    """A line that differed when a statement was compared with the books. `again`: the second time it was compared."""

    provider: str
    request: str
    attempt: int
    verdict: str
    booked: int
    stated: int
    again: bool = False


class Held(msgspec.Struct, kw_only=True):
    """What is still taken once everything is at rest."""

    leases: int = 0
    """Of the arena: places and reservations of requests that run."""
    places: int = 0
    """Under limits of concurrency."""
    reserved: int = 0
    """Under budgets in the arena: nano-units and tokens."""
    open: int = 0
    """Requests that the ledger still has money set aside for."""
    open_reserved: int = 0
    """That money."""


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that a tenant is held to: so many requests per second, and so many at once after a rest."""

    tenant: str
    per_second: float
    burst: int


class Accounts(msgspec.Struct, kw_only=True):
    """All of it. `debits` and `credits`: sums over all entries; `findings`: what the ledger's own check found."""

    requests: list[Account] = []
    stated: list[Stated] = []
    differences: list[Difference] = []
    debits: int = 0
    credits: int = 0
    findings: list[str] = []
    held: Held = msgspec.field(default_factory=Held)
    bounds: list[Bound] = []
