"""Keys over workers that die at any step, against a model: no request runs beside another, none is charged twice."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from fastpath.idempotency.moment import SECOND, take_moment
from fastpath.idempotency.slot import Mark, Place, Reason, State
from fastpath.idempotency.table import BUCKET, Table
from fastpath.idempotency.verdict import Conflict, Full, Kept, Lost, Running, Taken, Verdict
from scheduler.clock import ManualClock

TTL = 100.0
WORKERS = 3
KEYS = st.integers(0, 90)  # more than a bucket holds
BODIES = st.sampled_from([b"a" * 16, b"b" * 16])


@dataclass
class Known:
    """What the model knows of a key. worker: who runs it, -1 when it is over."""

    body: bytes
    born: float
    worker: int
    taken: Taken
    charged: bool = False
    kept: bool = False


class Keys(RuleBasedStateMachine):
    """Three workers over one table."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = ManualClock()
        self.tables = [self._open() for _ in range(WORKERS)]
        self.known: dict[int, Known] = {}

    def _open(self) -> Table:
        return Table.open(Path(self.folder.name) / "keys", BUCKET, bytes(32))

    def teardown(self) -> None:
        for table in self.tables:
            table.close()
        self.folder.cleanup()

    @property
    def now(self) -> float:
        return self.clock.monotonic()

    def _take(self, worker: int, key: int, body: bytes) -> Verdict:
        mark = Mark(key.to_bytes(16, "little"), body)
        moment = take_moment(self.clock, b"boot-one")
        return self.tables[worker].take(mark, bytes(16), moment, int(TTL * SECOND), Reason.NONE)

    def _live(self, known: Known | None) -> Known | None:
        """What is still remembered of a key."""
        if known is None or (known.worker < 0 and self.now - known.born >= TTL):
            return None
        return known

    @rule(worker=st.integers(0, WORKERS - 1), key=KEYS, body=BODIES)
    def ask(self, worker: int, key: int, body: bytes) -> None:
        found = self._take(worker, key, body)
        known = self._live(self.known.get(key))
        if known is None:
            assert isinstance(found, (Taken, Full))
            if isinstance(found, Taken):
                self.known[key] = Known(body, self.now, worker, found)
            else:
                live = [one for one in self.known.values() if self._live(one) is not None]
                assert len(live) >= BUCKET
        elif known.body != body:
            assert found == Conflict()
        elif known.worker >= 0:
            assert isinstance(found, Running)
        elif known.kept:
            assert isinstance(found, Kept)
            assert found.slot.place.offset == key
        else:
            assert isinstance(found, Lost)

    @rule(worker=st.integers(0, WORKERS - 1))
    def ask_for_more_than_there_is_room_for(self, worker: int) -> None:
        for key in range(70):
            self.ask(worker, key, b"a" * 16)

    def _running(self, key: int) -> Known | None:
        known = self.known.get(key)
        return known if known is not None and known.worker >= 0 else None

    @rule(key=KEYS)
    def charge(self, key: int) -> None:
        if (known := self._running(key)) is not None:
            known.charged = True
            self.tables[known.worker].note(known.taken.index, replace(known.taken.slot, state=State.CHARGED))

    @rule(key=KEYS, kept=st.booleans())
    def end(self, key: int, kept: bool) -> None:
        if (known := self._running(key)) is None:
            return
        table, index, slot = self.tables[known.worker], known.taken.index, known.taken.slot
        if not known.charged and not kept:
            table.forget(index)
            del self.known[key]
            return
        place = Place(b"segment0", key, 1)
        table.note(index, replace(slot, state=State.KEPT if kept else State.LOST, place=place))
        known.worker, known.kept = -1, kept

    @rule(worker=st.integers(0, WORKERS - 1))
    def die(self, worker: int) -> None:
        self.tables[worker].close()
        self.tables[worker] = self._open()
        for key, known in list(self.known.items()):
            if known.worker == worker and known.charged:
                known.worker = -1
            elif known.worker == worker:
                del self.known[key]

    @rule(seconds=st.sampled_from([1.0, 30.0, TTL]), jump=st.sampled_from([0.0, -1e6, 1e6]))
    def wait(self, seconds: float, jump: float) -> None:
        self.clock.advance(seconds)
        self.clock._now += jump

    @precondition(lambda self: self.known)
    @invariant()
    def nobody_takes_what_is_remembered(self) -> None:
        key, known = next(iter(self.known.items()))
        if self._live(known) is not None:
            assert not isinstance(self._take(0, key, known.body), (Taken, Full))


TestKeys = Keys.TestCase
TestKeys.settings = settings(max_examples=60, stateful_step_count=80)
