"""The arena as one process sees it: a limit asked, a request admitted and let go, a mean kept, a quantile read.

The twin has neither shared memory nor races: what the kernel gives besides is not in these factors.
"""

from _native import arena as native
from _native.reference import arena as twin
from bench.micro.conftest import Contest

SECOND = 10**9
RATE = SECOND // 1_000, 100
ID = native.digest("key", "caller-7")


def make_arenas() -> tuple[native.Arena, twin.Arena]:
    sizes = native.Sizes(workers=1, buckets=1024, limits=256, leases=1024)
    ours, pure = native.Arena.anonymous(bytes(16), sizes), twin.Arena(sizes)
    ours.join()
    pure.join(1, 1)
    return ours, pure


def test_bucket(against_twin: Contest) -> None:
    ours, pure = make_arenas()
    bucket, other = ours.bucket(ID), pure.bucket(ID)
    against_twin(
        "arena bucket", lambda: bucket.take(SECOND, 0, *RATE), lambda: other.take(SECOND, 0, *RATE)
    )  # a cost of 0: the same answer however often it is asked


def test_gate(against_twin: Contest) -> None:
    ours, pure = make_arenas()
    gate = native.Gate(ours, [(ours.bucket(ID), *RATE)], [(ours.limit(ID), 8)])
    other = twin.Gate(pure, [(pure.bucket(ID), *RATE)], [(pure.limit(ID), 8)])

    def admit(gate: native.Gate | twin.Gate) -> bool:
        lease = gate.admit(SECOND, 2 * SECOND, (0,))
        assert not isinstance(lease, native.Refusal)
        return lease.release()

    against_twin("arena gate", lambda: admit(gate), lambda: admit(other))


def test_ewma(against_twin: Contest) -> None:
    ours, _ = make_arenas()
    mean, other = ours.ewma(ID), twin.Ewma()
    against_twin("arena ewma", lambda: mean.update(SECOND, 20.0, SECOND), lambda: other.update(SECOND, 20.0, SECOND))


def test_quantile(against_twin: Contest) -> None:
    ours, _ = make_arenas()
    histogram, other = ours.histogram("micro"), twin.Histogram()
    for number in range(1_000):
        histogram.record(number * 37 % 1_009)
        other.record(number * 37 % 1_009)
    against_twin("arena p99 of 1,000", lambda: histogram.snapshot().quantile(0.99), lambda: other.quantile(0.99))
