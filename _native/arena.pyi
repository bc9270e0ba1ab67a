"""The arena: the memory that the processes of one node share. Counters, limits, leases and load, without a lock.

All times are nanoseconds of CLOCK_MONOTONIC, injected by the caller; durations of histograms are microseconds. An id is
16 bytes (`digest` makes one); the slot of a row is its SipHash-2-4 under the install secret, and the whole id is
compared. Rows are never removed while a map is in use: a crowded map is rebuilt when it is next opened by one process
alone. Whoever finds a half-written row finishes it, so a process may be killed anywhere. Nothing in the map is trusted:
every index read from it is checked, and a damaged map gives wrong numbers, never a crash.

A handle (Counter, Bucket, ...) stays valid as long as it is referenced; making one costs a hash and a look-up, using
one a few atomic instructions. Handles may be used from any thread; making them belongs to one thread per Arena.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, final

from typing_extensions import Buffer

LAYOUT: int
"""Version of the whole layout. Maps of another one hand over their limits and are then replaced."""

LIMITS_LAYOUT: int
"""Version of the rows that are handed over: workers, buckets, limits, leases and budgets."""

RANGE_US: int
"""Durations at or above this (2**32 us) fall into a histogram's last bin."""

OTHER: str
"""Stands for every label of the series that takes what finds no row."""

class ArenaError(Exception):
    """A map cannot be used; the message says why."""

class Sizes(NamedTuple):
    """Rows of each table: powers of two, except workers (at most 255) and family_limit."""

    workers: int = 64
    families: int = 64
    series: int = 4096
    """Counters and gauges, 256 bytes each."""
    lanes: int = 512
    """Gauges summed over workers: 256 bytes, and 8 per worker."""
    histograms: int = 512
    """14 KB each."""
    buckets: int = 65536
    limits: int = 16384
    leases: int = 32768
    """At most 131072, of 192 bytes each."""
    budgets: int = 8192
    """128 bytes each; a rolling budget takes one for every six of its days."""
    cells: int = 4096
    """EWMAs and words together."""
    samples: int = 1024
    family_limit: int = 1000
    """Label sets per metric family; later ones count as `other`."""

class Series(NamedTuple):
    """One row of /metrics at one moment. A lane is shown as the gauge that its living workers sum up to."""

    family: str
    labels: tuple[str, ...]
    kind: Literal["counter", "gauge", "histogram"]
    value: int | float | HistogramSnapshot

class Refusal(NamedTuple):
    """Why a Gate refused. Nothing was changed."""

    cause: Literal["rate", "slots", "budget", "full", "superseded"]
    """A bucket; a limit; a budget (of a Limiter); a table without room (fails closed); a map that a newer one replaced
    (answer 503, close)."""
    place: int
    """Which of the `rates`, `slots` or `budgets`, in the order given; -1 when none in particular."""
    retry_after: int
    """Nanoseconds until every bucket would let this cost pass; 0: unknown; -1: never, the cost exceeds a burst."""

def digest(*words: str) -> bytes:
    """The 16-byte id of some words (BLAKE2b over their lengths and UTF-8), such as a family and its labels."""

def layout_size(sizes: Sizes) -> int:
    """Bytes of a map. Raises ValueError for sizes that cannot be."""

def process_start(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when it is gone or only waits to be reaped."""

def pack_breaker(state: int, count: int, until_ms: int) -> int:
    """A breaker's whole state as one word: 2, 14 and 48 bits. Raises ValueError for what does not fit."""

def unpack_breaker(word: int) -> tuple[int, int, int]:
    """State, count and until_ms of `pack_breaker`."""

@final
class Arena:
    """One map, seen by one process."""

    @staticmethod
    def anonymous(secret: bytes, sizes: Sizes = ...) -> Arena:
        """A map of this process alone (shared with what it forks), for a gateway embedded in a program."""

    @staticmethod
    def format(memory: Buffer, secret: bytes, sizes: Sizes, boot: bytes) -> Arena:
        """Lays a new map out over zeroed memory of `layout_size(sizes)` bytes. `boot`: 16 bytes naming this boot.

        Raises ValueError when the memory is read-only, too small or not aligned to 64 bytes.
        """

    @staticmethod
    def attach(memory: Buffer, secret: bytes, boot: bytes) -> Arena:
        """A map that is already laid out. Raises ArenaError when it is damaged, of another boot, layout or secret."""

    def adopt_limits(
        self, memory: Buffer, secret: bytes, boot: bytes, now: int, alive: Callable[[int, int], bool] | None = None
    ) -> tuple[int, int]:
        """Copies buckets in debt, held leases of living owners and budgets out of an older map, and marks that as
        superseded. What requests of that map have reserved counts as spent here.

        From then on its users are refused, so nothing is admitted twice. Gives the buckets and leases copied. Any
        layout with the same LIMITS_LAYOUT, boot and secret will do. Raises ArenaError for any other. `alive` answers
        for a pid and its start (default: /proc).
        """

    @property
    def sizes(self) -> Sizes: ...
    @property
    def memory(self) -> Any:
        """The object that the map lies in."""

    @property
    def superseded(self) -> bool:
        """A newer map took the limits over: no request passes a Gate here any more."""

    @property
    def refusals(self) -> dict[str, int]:
        """How often a table had no room, for all processes: families, series, buckets, limits, leases, cells, ..."""

    @property
    def rows_used(self) -> dict[str, int]:
        """Rows in use of each table. Reads every row."""

    @property
    def slot(self) -> int:
        """This process's worker slot, -1 before `join`."""

    def join(self, pid: int | None = None, start: int | None = None) -> int:
        """Takes a worker slot, needed for lanes and leases (default: this process). Its lanes start at zero.

        Raises ArenaError when all slots are held by living processes.
        """

    def leave(self) -> None:
        """Gives this process's leases and its slot back. Its lanes no longer count and must not be used any more."""

    def workers(self) -> list[tuple[int, int, int]]:
        """Slot, pid and start of each worker that joined and was not reaped."""

    def reap(self, now: int, alive: Callable[[int, int], bool] | None = None) -> tuple[int, int]:
        """Ends what dead workers left: frees their slots, gives their leases back, and those that expired by `now`.

        Gives the workers and leases ended. To be called by the supervisor every second and on a worker's death; any
        number of processes may do it at once, and each lease comes back exactly once. `alive` answers for a pid and
        its start (default: /proc).
        """

    def counter(self, family: str, labels: Sequence[str] = ()) -> Counter:
        """A counter's series, made when new. Only label values are kept; their names belong to the family's table.

        Without room for it (table, family_limit, or more than 192 bytes of text) this is the family's `other` series.
        Raises ValueError when the series exists as another kind.
        """

    def gauge(self, family: str, labels: Sequence[str] = ()) -> Gauge:
        """A number that is set. See `counter`."""

    def lane(self, family: str, labels: Sequence[str] = ()) -> Lane:
        """This worker's part of a gauge that readers sum and that dies with its worker. See `counter`.

        Raises RuntimeError before `join`.
        """

    def histogram(self, family: str, labels: Sequence[str] = ()) -> Histogram:
        """Durations. See `counter`."""

    def series(self) -> Iterator[Series]:
        """Every series, in no order. Each number is read once; numbers of one row may be some nanoseconds apart."""

    def bucket(self, id: bytes) -> Bucket:
        """A rate limit's bucket. Without room for it, one that refuses everything."""

    def limit(self, id: bytes) -> Limit:
        """A concurrency limit's count. Without room for it, one that refuses everything."""

    def ewma(self, id: bytes) -> Ewma:
        """An id names one EWMA or one word, not both. Without room for it, one that this process does not share."""

    def word(self, id: bytes) -> Word:
        """Without room for it, one that this process does not share."""

    def pair(self, id: bytes) -> Pair:
        """An id names one of an EWMA, a word and a pair. Without room for it, one that this process does not share."""

    def sample(self, id: bytes) -> Sample:
        """Without room for it, one that this process does not share."""

@final
class Counter:
    """A count that only grows and outlives its workers. In Cython: `tick(n)`, without the interpreter lock."""

    def add(self, n: int = 1) -> None:
        """Raises OverflowError for a negative number."""

    @property
    def value(self) -> int: ...

@final
class Gauge:
    """A float that any process sets. In Cython: `put(value)` and `shift(delta)`."""

    def set(self, value: float) -> None: ...
    def add(self, delta: float) -> None: ...
    @property
    def value(self) -> float: ...

@final
class Lane:
    """One worker's part of a sum. In Cython: `shift(delta)`."""

    def add(self, delta: int) -> None: ...
    @property
    def value(self) -> int:
        """This worker's part."""

@final
class Histogram:
    """Log-linear bins (as HdrHistogram's): 64 per octave, so at most 0.8 % off. In Cython: `put(value_us)`."""

    def record(self, value_us: int) -> None:
        """Counts one duration in microseconds. Raises OverflowError for a negative one."""

    def snapshot(self) -> HistogramSnapshot: ...

@final
class HistogramSnapshot:
    """A copy of a histogram's bins."""

    @property
    def count(self) -> int: ...
    @property
    def sum_us(self) -> int: ...
    def quantile(self, q: float) -> float:
        """The duration in microseconds that a share `q` of all does not exceed; 0.0 when nothing was recorded.

        Raises ValueError unless 0 <= q <= 1.
        """

    def cumulative(self, bounds_us: Sequence[float]) -> list[int]:
        """How many durations were at most each bound; bounds ascend. A bin counts by its middle."""

@final
class Bucket:
    """A rate limit by GCRA (ITU-T I.371): one time, before which the bucket is in debt, moved by one CAS."""

    def take(self, now: int, cost: int, period: int, burst: int) -> tuple[bool, int, int]:
        """Charges `cost` units if the bucket has them: one comes back every `period` ns, it holds `burst` of them.

        Gives whether it did, the nanoseconds until this cost would pass (-1: never; 0 when it did, or for a table
        without room or a superseded map), and the units left. Raises ValueError for a negative cost, a period below
        1 ns or a burst below 1.
        """

    def correct(self, now: int, cost: int, period: int) -> None:
        """Charges what an estimate missed, or gives back (negative) what it took too much. Never refuses."""

    @property
    def full(self) -> bool:
        """The table had no room: everything is refused."""

@final
class Limit:
    """How many leases are held under one concurrency limit."""

    @property
    def in_use(self) -> int: ...
    @property
    def full(self) -> bool:
        """The table had no room: everything is refused."""

@final
class Gate:
    """All limits that one caller's requests must pass together: all or nothing.

    rates: bucket, period in ns, burst; slots: limit and how many may hold it; at most 8 of each. Slots are taken in the
    order of their rows, and given back on a refusal. In Cython: `enter` and `leave`.
    """

    def __init__(
        self,
        arena: Arena,
        rates: Sequence[tuple[Bucket, int, int]] = (),
        slots: Sequence[tuple[Limit, int]] = (),
    ) -> None: ...
    def admit(self, now: int, expires: int, costs: Sequence[int] = ()) -> Lease | Refusal:
        """Admits one request that costs `costs[i]` units of `rates[i]` (those left out: 1) and ends by `expires`.

        A refusal changes nothing. Raises RuntimeError when there are slots and the process did not `join`.
        """

@final
class Lease:
    """A place under every slot of a Gate, until `release`, `expires`, or the death of its worker."""

    def release(self) -> bool:
        """Gives the places back; False when they were no longer held. Dropping the lease does the same."""

    def renew(self, expires: int) -> bool:
        """Moves the end; False when the lease is no longer held."""

    @property
    def held(self) -> bool: ...

@final
class Ewma:
    """A peak EWMA: rises to a higher sample at once, falls by exp(-dt/tau). In Cython: `observe(now, sample, tau)`."""

    def update(self, now: int, sample: float, tau: int) -> float:
        """Adds a sample taken at `now`, with the time constant `tau` in ns; gives the new mean."""

    @property
    def value(self) -> float:
        """The mean at its last sample; 0.0 before the first."""

    @property
    def stamp(self) -> int:
        """When the last sample was taken; 0 before the first."""

@final
class Word:
    """64 bits that change whole: a breaker's state, say. In Cython: `get`, `put` and `swap`."""

    @property
    def value(self) -> int: ...
    def set(self, value: int) -> None: ...
    def compare_and_set(self, expected: int, value: int) -> bool:
        """Sets `value` if the word still is `expected`; says whether."""

@final
class Pair:
    """64 bits that belong to a stamp (a cap and its period), or two counts. Set by one process, read by all."""

    def read(self) -> tuple[int, int]:
        """Stamp and value."""

    def set(self, stamp: int, value: int) -> None:
        """Replaces both: who reads meanwhile finds the old ones, the new ones, or the value 0."""

    @property
    def full(self) -> bool:
        """There was no room: nobody else sees it."""

@final
class Sample:
    """Up to five numbers with the time they were taken at, written by one process, read by all."""

    def write(self, stamp: int, values: Sequence[float]) -> None:
        """Replaces the sample; values left out are 0. Raises ValueError for more than five."""

    def read(self) -> tuple[int, tuple[float, float, float, float, float]] | None:
        """Stamp and values; None before the first write, or when writes came faster than four readings."""
