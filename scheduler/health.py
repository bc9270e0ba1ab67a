"""Who is well: what each endpoint's answers say of it, who is left out for it, and whom that leaves.

Two judgements. **Failures** move the endpoint's breaker (`breaker`), which all workers of the node share. **Slowness**
is each worker's own: an endpoint whose answers mostly begin late, beside its peers and its own past, keeps a tenth of
its traffic until they do not. Whoever comes back gets its share little by little. Every exclusion ends by itself.

Does not own whose turn it is among those that are usable (`picker`), nor what an error means (`Blame` is told). One
worker's loop. Times: monotonic seconds.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol, TypeVar

from _native.arena import digest
from scheduler.breaker import WINDOW, Action, Change, SharedBreaker, Signal, State
from scheduler.endpoint import EndpointTable

if TYPE_CHECKING:

    class Placed(Protocol):
        """Whoever has vitals: `fastpath.snapshot.Target`."""

        @property
        def vitals(self) -> "Vitals": ...

    P = TypeVar("P", bound=Placed)

#: Share of its traffic that a slow endpoint keeps: enough to see that it is well again.
TRICKLE = 0.1
#: Of the last ten answers, so many slow ones make an endpoint slow, and so many quick ones in a row end it.
SLOW_ENOUGH, QUICK_ENOUGH = 7, 3
#: Answers of an endpoint, and of a peer, before they are compared.
OWN_LEAST, PEER_LEAST = 10, 5
#: Seconds. What is quicker than this is never slow; a slow endpoint that says nothing more is no longer held to be.
NEVER_SLOW, SLOW_FOR = 0.05, 15.0
#: Many requests wait too long and nothing at all is heard for long: that is a failure, not slowness.
SILENT_REQUESTS, SILENT_FOR = 5, 2.0
#: Weights of the means by which endpoints are compared.
RECENT, USUAL = 0.1, 0.02
#: Seconds for which the success of others shows that a caller's errors are its own.
CLEARED_FOR = 10.0
_BITS = (1 << WINDOW) - 1
_QUICK = (1 << QUICK_ENOUGH) - 1


class Blame(IntEnum):
    """What a failed attempt says of the endpoint."""

    NONE = 0  # nothing: it is the caller's matter, or ours
    FAULT = 1  # it cannot be reached, is silent, or does not take our key
    ANSWER = 2  # it answered wrongly, as it may to one request alone
    BUSY = 3  # it asks to be left alone for a while


class Pace:
    """When answers count as slow, and how endpoints come back: what the settings say. Seconds, but for the factors."""

    def __init__(self, slow_factor: float = 3.0, slow_start: float = 10.0, panic: float = 1.0) -> None:
        self.slow_factor = slow_factor
        self.slow_start = slow_start
        self.panic = panic


class Vitals:
    """What one worker knows of one endpoint. Its fields change with every answer; `Health` reads them every tick."""

    def __init__(self, slot: int, name: str, breaker: SharedBreaker) -> None:
        self.slot = slot
        self.name = name
        self.breaker = breaker
        self.alone = False  # there is nobody to take its place: failures change nothing
        self.wary = False  # its breaker has something to forget: it wants to know of successes
        self.out_until = 0.0
        self.state = 0  # of its breaker, a tick ago
        self.share = 1.0  # of the traffic that it would have
        self.credit = 0.0
        self.ramp_from = 0.0
        self.recent = self.usual = 0.0
        self.count = 0  # answers so far
        self.heard_at = 0.0
        self.patience = 0.0  # beyond it an answer is slow; 0: nobody to compare it with
        self.verdicts = 0  # of the last ten answers, 1 a slow one
        self.still_slow = False  # the latest answer was, and that was not looked at yet
        self.slow_until = 0.0  # 0: it is not slow
        self.overdue = 0  # requests that have waited longer than `patience`
        self.word = 0
        self.suspect: Hashable = None  # whose errors it was that were counted last
        self.cleared_at = 0.0  # when somebody else was answered well since

    def heard(self, waited: float, now: float, late: bool) -> None:
        """An answer began after `waited` seconds. late: it was noted as overdue before."""
        self.heard_at = now
        self.count += 1
        if self.count == 1:
            self.recent = self.usual = waited
            return
        self.recent += (waited - self.recent) * RECENT
        if late:
            return
        slow = self.patience > 0.0 and waited > self.patience
        if self.patience > 0.0:
            self.verdicts = (self.verdicts << 1 | slow) & _BITS
            self.still_slow = slow
        if not slow and self.slow_until == 0.0:
            self.usual += (waited - self.usual) * (USUAL if self.count > OWN_LEAST else 1.0 / self.count)

    def is_overdue(self, waited: float) -> bool:
        """Whether a request has waited longer than its endpoint usually takes."""
        return self.patience > 0.0 and waited > self.patience

    def note_overdue(self) -> None:
        """A request waits longer than that; noted once for each."""
        self.overdue += 1
        self.verdicts = (self.verdicts << 1 | 1) & _BITS
        self.still_slow = True


class Health:
    """The vitals of one worker's endpoints. `troubled`: somebody is out, slow or coming back; else nobody is asked.

    on_change is told of every change of a breaker's state that this worker made; on_panic of each choice among
    endpoints of which none should be used.
    """

    def __init__(
        self,
        table: EndpointTable,
        on_change: Callable[[Vitals, Change], None],
        on_slow: Callable[[Vitals, bool], None],
        on_panic: Callable[[str], None],
    ) -> None:
        self.troubled = False
        self.pace = Pace()
        self._table = table
        self._on_change = on_change
        self._on_slow = on_slow
        self._on_panic = on_panic
        self._groups: list[list[Vitals]] = []
        self._all: list[Vitals] = []

    def watch(self, groups: Iterable[Sequence[Vitals]], pace: Pace, now: float) -> None:
        """Whom to look at from now on. groups: peers, who do the same work in the same kind of place."""
        self.pace = pace
        self._groups = [list(group) for group in groups]
        found = {id(vitals): vitals for group in self._groups for vitals in group}
        self._all = list(found.values())
        self.look(now)

    # -- once a tick

    def look(self, now: float) -> None:
        """Takes in what other workers know, and judges slowness anew."""
        for group in self._groups:
            if len(group) > 1:
                self._compare(group)
        troubled = False
        for vitals in self._all:
            self._refresh(vitals, now)
            if vitals.state != State.CLOSED or vitals.share < 1.0 or vitals.out_until > now:
                troubled = True
        self.troubled = troubled

    def _refresh(self, vitals: Vitals, now: float) -> None:
        table, slot = self._table, vitals.slot
        if vitals.breaker.word != vitals.word:
            self._adopt(vitals, now)
        elif table.out_until[slot] != vitals.out_until:
            vitals.out_until = table.out_until[slot]  # which probes lengthen and shorten
        vitals.ramp_from = max(vitals.ramp_from, table.ramp_from[slot])
        silent = now - vitals.heard_at > max(SILENT_FOR, 2 * vitals.patience)
        if vitals.overdue >= SILENT_REQUESTS and silent and vitals.state == State.CLOSED and not vitals.alone:
            self._tell(vitals, Signal.BAD, now)
        self._judge_pace(vitals, now)

    def _adopt(self, vitals: Vitals, now: float) -> None:
        """Makes the breaker's word this worker's own view."""
        word = vitals.breaker.word
        breaker = vitals.breaker.read(now)
        if breaker.state is State.CLOSED and vitals.state != State.CLOSED:
            vitals.ramp_from = now
            vitals.verdicts = 0
            vitals.slow_until = 0.0
        vitals.word, vitals.state = word, breaker.state
        vitals.wary = breaker.state is not State.CLOSED or breaker.tally != 0
        vitals.out_until = breaker.until if breaker.state in (State.OPEN, State.RESTING) else 0.0
        self._table.out_until[vitals.slot] = vitals.out_until
        self._table.ramp_from[vitals.slot] = vitals.ramp_from

    def _compare(self, group: list[Vitals]) -> None:
        """Sets each one's patience by what its peers take and by its own past."""
        factor = self.pace.slow_factor
        told = sorted([vitals.recent for vitals in group if vitals.count >= PEER_LEAST])
        for vitals in group:
            known = vitals.count >= OWN_LEAST
            peers = len(told) - 1 if known else len(told)
            if not known or peers < 1:
                vitals.patience = 0.0
                continue
            middle = _median_without(told, vitals.recent)
            vitals.patience = max(NEVER_SLOW, factor * max(middle, vitals.usual))

    def _judge_pace(self, vitals: Vitals, now: float) -> None:
        if vitals.slow_until == 0.0:
            if not vitals.alone and bin(vitals.verdicts).count("1") >= SLOW_ENOUGH:
                vitals.slow_until = now + SLOW_FOR
                vitals.verdicts = _QUICK
                self._on_slow(vitals, True)
        elif vitals.verdicts & _QUICK == 0 or now >= vitals.slow_until:
            vitals.slow_until = 0.0
            vitals.verdicts = 0
            vitals.ramp_from = now
            self._table.ramp_from[vitals.slot] = now
            self._on_slow(vitals, False)
        elif vitals.still_slow:
            vitals.slow_until = now + SLOW_FOR
        vitals.still_slow = False
        vitals.share = self._share(vitals, now)

    def _share(self, vitals: Vitals, now: float) -> float:
        if vitals.slow_until:
            return TRICKLE
        if vitals.ramp_from == 0.0:
            return 1.0
        ramp = self.pace.slow_start
        grown = (now - vitals.ramp_from) / ramp if ramp > 0.0 else 1.0
        if grown >= 1.0:
            vitals.ramp_from = 0.0
            self._table.ramp_from[vitals.slot] = 0.0
            return 1.0
        return max(TRICKLE, grown)

    # -- what attempts say

    def good(self, vitals: Vitals, caller: Hashable, now: float) -> None:
        """A wary endpoint answered well."""
        if vitals.suspect is not None and caller != vitals.suspect:
            vitals.cleared_at = now
        self._tell(vitals, Signal.GOOD, now)

    def failed(self, vitals: Vitals, blame: Blame, caller: Hashable, now: float, rest: float = 0.0) -> None:
        """An attempt failed. rest: seconds for which a BUSY one asks to be left alone."""
        if blame is Blame.BUSY:
            self._tell(vitals, Signal.BUSY, now, rest)
        elif blame is not Blame.NONE and not vitals.alone:
            if blame is Blame.ANSWER and self._is_callers_own(vitals, caller, now):
                return
            self._tell(vitals, Signal.BAD, now)

    def overdue(self, vitals: Vitals, now: float) -> None:
        """A request waits too long for its answer's beginning. Told once for each."""
        vitals.note_overdue()
        if vitals.state == State.HALF_OPEN and not vitals.alone:
            self._tell(vitals, Signal.BAD, now)  # a probe

    def _is_callers_own(self, vitals: Vitals, caller: Hashable, now: float) -> bool:
        """Whether the error is most likely of the caller's making: others are served well meanwhile."""
        if caller is not None and caller == vitals.suspect and now - vitals.cleared_at < CLEARED_FOR:
            return True
        if caller != vitals.suspect:
            vitals.suspect, vitals.cleared_at = caller, -CLEARED_FOR
        return False

    def _tell(self, vitals: Vitals, signal: Signal, now: float, rest: float = 0.0) -> Action:
        change = vitals.breaker.tell(signal, now, rest)
        self._adopt(vitals, now)
        if vitals.state != State.CLOSED:
            self.troubled = True
        if change.before.state is not change.after.state:
            self._on_change(vitals, change)
        return change.action

    # -- who is left

    def usable(self, left: "Sequence[P]", now: float) -> "tuple[P, ...]":
        """Those of `left` to choose among; all that failed when that is all there are; none when all of them rest."""
        well: list[P] = []
        held: list[P] = []
        failing: list[P] = []
        for one in left:
            vitals = one.vitals
            if vitals.out_until > now:
                if vitals.state != State.RESTING:
                    failing.append(one)
            elif vitals.share >= 1.0:
                well.append(one)
            else:
                vitals.credit += vitals.share
                if vitals.credit >= 1.0:
                    vitals.credit -= 1.0
                    well.append(one)
                else:
                    held.append(one)
        if failing and len(failing) > self.pace.panic * len(left):
            well.extend(failing)
        if well or held:
            return tuple(well or held)
        if failing and len(left) > 1:
            self._on_panic(failing[0].vitals.name)
        return tuple(failing)

    def any_open(self, left: "Sequence[Placed]", now: float) -> bool:
        """Whether anybody of `left` is neither out nor resting."""
        return any([one.vitals.out_until <= now for one in left])  # noqa: C419  compiled methods have no closures

    def may_send(self, vitals: Vitals, now: float) -> bool:
        """Whether a request may go there now. False: enough others try whether it is well; it is out for this one."""
        if vitals.state == State.CLOSED or vitals.out_until > now:
            return True  # well, or chosen although it is out
        if self._tell(vitals, Signal.ASK, now) is not Action.REFUSE:
            return True
        vitals.out_until = vitals.breaker.read(now).until
        return False

    def unsent(self, vitals: Vitals, now: float) -> None:
        """What `may_send` let go there was not sent: another request may find out whether it is well."""
        if vitals.state == State.HALF_OPEN and vitals.out_until <= now:  # else it was chosen although it is out
            self._tell(vitals, Signal.UNSENT, now)

    def rests_for(self, left: "Sequence[Placed]", now: float) -> float:
        """Seconds until the first of them may be asked again."""
        return max(0.0, min([one.vitals.out_until for one in left], default=now) - now)


def breaker_id(model: str, label: str, url: str, secret: str | None) -> bytes:
    """The name in the arena of an endpoint's breaker. One that was moved or got another key begins anew."""
    return digest("endpoint breaker", model, label, url, secret or "")


def _median_without(values: list[float], one: float) -> float:
    """The lower median of sorted values, less one of them (which may not be there)."""
    rest = list(values)
    if one in rest:
        rest.remove(one)
    return rest[(len(rest) - 1) // 2]
