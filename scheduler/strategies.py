"""A strategy as numbers: what `_native.score` weighs by. Owns the shape that decisions are written down with. Pure."""

from math import inf

import msgspec

from _native.score import Plan


class Strategy(msgspec.Struct, frozen=True, array_like=True):
    """weights: safety, capability, latency, cost; table: nine scores of P0 at L0, L1, L2, of P1, of P2; ceiling: None:
    any price. Times in seconds."""

    name: str
    weights: tuple[float, float, float, float]
    table: tuple[float, ...]
    slo: float
    deadline: float
    ceiling: float | None = None
    saturation: float = 1.0
    stale: float = 5.0
    local_first: bool = False
    overflow_wait: float = 0.0
    overflow_back: float = 0.0

    def plan(self) -> Plan:
        """The same for the kernel."""
        return Plan(
            self.weights,
            self.table,
            self.slo,
            self.deadline,
            inf if self.ceiling is None else self.ceiling,
            self.saturation,
            self.stale,
            self.local_first,
            self.overflow_wait,
            self.overflow_back,
        )
