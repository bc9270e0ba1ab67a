"""The limiter as Python sees it. See limiter.pyi for the contract, arena_budgets.h for everything that is subtle."""

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from _native.arena cimport (
    FP_ADMITTED,
    FP_NO_ROW,
    FP_RATE,
    FP_SLOTS,
    Arena,
    Bucket,
    Limit,
    Pair,
    fp_map,
    fp_rate,
    fp_slot,
    fp_add,
    fp_verdict,
)

from typing import NamedTuple

from _native.arena import Refusal

cdef extern from "Python.h":
    ctypedef struct PyTypeObject:
        void* tp_new
        void* tp_vectorcall
        PyObject* tp_dict

    void PyType_Modified(type made)

cdef extern from "arena.h" nogil:
    ctypedef bint fp_bool "bool"

    ctypedef struct fp_bucket:
        uint64_t time

    ctypedef struct fp_marks "fp_atomic":
        pass

    ctypedef struct fp_budget:
        fp_marks marks

    ctypedef struct fp_lease:
        fp_marks word

    ctypedef struct fp_taken:
        fp_bool admitted
        int64_t retry_after
        int64_t left

    ctypedef struct fp_wants:
        const fp_rate* rates
        const int64_t* costs
        const fp_slot* slots
        const fp_allowance* budgets
        int n_rates
        int n_slots
        int n_budgets
        int64_t amounts[2]

    enum:
        FP_BUDGETS
        FP_BUCKETS
        FP_LIMITS
        FP_LEASES
        FP_TOKENS
        FP_MONEY
        FP_HELD
        FP_DAYS
        FP_STALE
        FP_MOST
        FP_BUDGET
        FP_ANY_PERIOD

    const uint32_t FP_MOST_DAYS
    const int64_t FP_PERIODS
    const int64_t FP_FAR

    void* fp_at(fp_map* map, int region, uint32_t row)
    uint64_t fp_load(fp_marks* word)
    uint32_t fp_phase(uint64_t word)
    uint32_t fp_use(uint64_t word)
    bint fp_is_superseded(fp_map* map)
    void fp_halves(const uint8_t* id, uint64_t* low, uint64_t* high)
    uint32_t fp_insert(fp_map* map, int region, uint64_t low, uint64_t high, fp_bool* made)
    fp_taken fp_take(fp_bucket* bucket, fp_rate rate, int64_t now, int64_t cost, fp_bool look)
    void fp_correct(fp_bucket* bucket, int64_t now, int64_t cost, fp_rate rate)
    int64_t fp_owed(fp_bucket* bucket, fp_rate rate, int64_t now)
    int64_t fp_times(int64_t a, int64_t b)
    int64_t fp_plus(int64_t a, int64_t b)
    void fp_admit(fp_map* map, uint64_t me, const fp_wants* wants, int64_t now, int64_t expires, fp_verdict* verdict)
    bint fp_release(fp_map* map, uint32_t row, uint32_t use, uint32_t phases)
    bint fp_mark(fp_map* map, uint32_t row, uint32_t use, const int64_t* spent)
    bint fp_sees_budget(fp_map* map, const fp_allowance* budget)
    int64_t fp_committed(fp_map* map, const fp_allowance* budget, int64_t* newest)
    int64_t fp_reserved(fp_map* map, const fp_allowance* budget)
    void fp_spend(fp_map* map, const fp_allowance* budget, int64_t amount)
    void fp_seed(fp_map* map, const fp_allowance* budget, int64_t period, int64_t spent)
    uint32_t fp_cross(fp_marks* marks, int64_t period, uint32_t crossed, uint32_t days)

cdef extern from *:
    """
    #if defined(__GNUC__)
    #define fp_fetch(row) __builtin_prefetch(row, 1)
    #else
    #define fp_fetch(row) ((void) (row))
    #endif
    """
    void fp_fetch(const void* row) noexcept nogil

MOST_RATES = 32
MOST_SLOTS = FP_MOST
MOST_BUDGETS = FP_MOST
MOST_DAYS = FP_MOST_DAYS
NO_BOUND = INT64_MAX
ANY_PERIOD = FP_ANY_PERIOD

_CAUSES = ("", "rate", "slots", "full", "superseded", "budget")
_KINDS = {"tokens": FP_TOKENS, "money": FP_MONEY}


class Rate(NamedTuple):
    bucket: object
    period: int
    burst: int
    per: int = 1
    request: int = 1
    input: int = 0
    output: int = 0
    family: int = 0
    scale: int = 1
    depth: int = 0
    meter: object = None


class Allowance(NamedTuple):
    budget: object
    kind: str
    whole: int
    limit: int
    stop: int
    carry: int = 0
    ahead: int = 2
    caps: object = None


@cython.final
cdef class Budget:

    def __init__(self, Arena arena not None, bytes id not None, int days=1):
        cdef uint64_t low, high
        cdef fp_bool made
        cdef uint32_t part
        if not 1 <= days <= <int> FP_MOST_DAYS or len(id) != 16:
            raise ValueError(f"no budget has an id of {len(id)} bytes and {days} days (16, and at most {MOST_DAYS})")
        self.arena = arena
        self.rows.days = days
        for part in range((<uint32_t> days + FP_DAYS - 1) // FP_DAYS):
            fp_halves(id, &low, &high)
            self.rows.rows[part] = fp_insert(arena.map, FP_BUDGETS, low ^ (<uint64_t> part << 32), high, &made)

    def seed(self, int64_t period, int64_t spent):
        cdef fp_allowance own = self.rows
        if not 1 <= period <= FP_PERIODS or spent < 0:
            raise ValueError(f"no budget has spent {spent} in period {period}")
        own.period, own.ahead = period, FP_STALE
        if fp_sees_budget(self.arena.map, &own):
            fp_seed(self.arena.map, &own, period, spent)

    @property
    def full(self):
        return not fp_sees_budget(self.arena.map, &self.rows)


cdef list in_row_order(list rows, int most):
    """Places of the caller's order, sorted by row. Raises ValueError for one row twice."""
    known = [row for row in rows if row != FP_NO_ROW]
    if len(set(known)) < len(known) or len(rows) > most:
        raise ValueError(f"a limiter takes at most {MOST_RATES} rates, {MOST_SLOTS} slots and {MOST_BUDGETS} budgets, "
                         "each of them once")
    return sorted(range(len(rows)), key=rows.__getitem__)


cdef int check(bint sound, object what) except -1:
    if not sound:
        raise ValueError(f"no limiter takes {what}")
    return 0


cdef int allocate(Limiter self, size_t rates, size_t slots, size_t budgets) except -1:
    """Room for so many of each, those of eight bytes before those of four."""
    cdef size_t of_rate = sizeof(fp_rate) + sizeof(weights) + sizeof(int64_t) + 2 * sizeof(int)
    cdef size_t of_slot = sizeof(fp_slot) + sizeof(int)
    cdef size_t of_budget = sizeof(fp_allowance) + sizeof(int64_t)
    self.rates = <fp_rate*> PyMem_Calloc(1, rates * of_rate + slots * of_slot + budgets * of_budget)
    if self.rates == NULL:
        raise MemoryError
    self.units = <weights*> (self.rates + rates)
    self.scales = <int64_t*> (self.units + rates)
    self.budgets = <fp_allowance*> (self.scales + rates)
    self.notices = <int64_t*> (self.budgets + budgets)
    self.slots = <fp_slot*> (self.notices + budgets)
    self.slot_order = <int*> (self.slots + slots)
    self.families = self.slot_order + slots
    self.rate_order = self.families + rates
    return 0


cdef int set_rate(Limiter self, int i, int place, object rate) except -1:
    check(min(rate.period, rate.burst, rate.per, rate.scale) > 0, rate)
    check(min(rate.request, rate.input, rate.output, rate.depth) >= 0, rate)
    self.rates[i].row = (<Bucket> rate.bucket).row
    self.rates[i].period, self.rates[i].burst, self.rates[i].per = rate.period, rate.burst, rate.per
    self.rates[i].depth, self.rates[i].meter = rate.depth, NULL
    if rate.meter is not None:
        self.pairs.append(rate.meter)
        self.rates[i].meter = (<Pair?> rate.meter).cell
    self.units[i].request, self.units[i].input, self.units[i].output = rate.request, rate.input, rate.output
    self.families[i], self.scales[i], self.rate_order[i] = rate.family, rate.scale, place
    return 0


cdef int set_budget(Limiter self, int i, object allowance) except -1:
    check(min(allowance.whole, allowance.limit, allowance.stop, allowance.carry, allowance.ahead) >= 0, allowance)
    self.budgets[i] = (<Budget> allowance.budget).rows
    self.budgets[i].kind = _KINDS[allowance.kind]
    self.budgets[i].whole, self.budgets[i].carry = allowance.whole, allowance.carry
    self.budgets[i].limit, self.budgets[i].stop = allowance.limit, allowance.stop
    self.budgets[i].ahead = allowance.ahead
    self.budgets[i].caps[0] = self.budgets[i].caps[1] = NULL
    if allowance.caps is not None:
        first, second = allowance.caps
        self.pairs += (first, second)
        self.budgets[i].caps[0], self.budgets[i].caps[1] = (<Pair?> first).cell, (<Pair?> second).cell
    self.notices[i] = INT64_MAX
    return 0


cdef object refusal(Limiter self, fp_verdict* verdict):
    place = verdict.index
    if verdict.outcome == FP_RATE:
        place = self.rate_order[verdict.index]
    elif verdict.outcome == FP_SLOTS:
        place = self.slot_order[verdict.index]
    return Refusal(_CAUSES[verdict.outcome], place, verdict.retry_after)


cdef fp_allowance* budget_at(Limiter self, int place) except NULL:
    check(0 <= place < self.n_budgets, f"a budget at {place}")
    return &self.budgets[place]


@cython.final
cdef class Limiter:

    def __init__(self, Arena arena not None, rates=(), slots=(), budgets=()):
        cdef int i
        rate_order = in_row_order([(<Bucket?> rate.bucket).row for rate in rates], MOST_RATES)
        slot_order = in_row_order([(<Limit?> limit).row for limit, _ in slots], FP_MOST)
        in_row_order([(<Budget?> allowance.budget).rows.rows[0] for allowance in budgets], FP_MOST)
        if self.rates != NULL:
            raise RuntimeError("a limiter is made once")
        allocate(self, len(rates), len(slots), len(budgets))
        self.arena, self.pairs = arena, []
        for i, place in enumerate(rate_order):
            set_rate(self, i, place, rates[place])
        self.n_rates = len(rates)
        for i, place in enumerate(slot_order):
            limit, self.slots[i].most = slots[place]
            self.slots[i].row = (<Limit> limit).row
            self.slot_order[i] = place
        self.n_slots = len(slots)
        for i, allowance in enumerate(budgets):
            set_budget(self, i, allowance)
        self.n_budgets = len(budgets)

    def __dealloc__(self):
        PyMem_Free(self.rates)

    def turn(self, int place, int64_t period, int64_t previous):
        check(0 <= place < self.n_budgets and 0 <= previous < period <= FP_PERIODS, f"the period {period} at {place}")
        self.budgets[place].period, self.budgets[place].previous = period, previous

    def pace(self, int place, int64_t period, int64_t burst, int64_t per, int64_t depth=0):
        cdef int i
        sound = 0 <= place < self.n_rates and min(period, burst, per) > 0 and depth >= 0
        check(sound, f"{burst} in {period} / {per} ns at {place}")
        for i in range(self.n_rates):
            if self.rate_order[i] == place:
                self.rates[i].period, self.rates[i].burst, self.rates[i].per = period, burst, per
                self.rates[i].depth = depth

    def widen(self, int place, uint32_t most):
        cdef int i
        check(0 <= place < self.n_slots, f"a slot at {place}")
        for i in range(self.n_slots):
            if self.slot_order[i] == place:
                self.slots[i].most = most

    cpdef void fetch(self) noexcept:
        cdef int i
        for i in range(self.n_rates):
            if self.rates[i].row != FP_NO_ROW:
                fp_fetch(fp_at(self.arena.map, FP_BUCKETS, self.rates[i].row))
        for i in range(self.n_slots):
            if self.slots[i].row != FP_NO_ROW:
                fp_fetch(fp_at(self.arena.map, FP_LIMITS, self.slots[i].row))

    cdef void charge(self, int64_t* costs, int64_t input, int64_t output) noexcept nogil:
        cdef int i
        for i in range(self.n_rates):
            costs[i] = fp_plus(self.units[i].request, fp_plus(fp_times(self.units[i].input, input),
                                                              fp_times(self.units[i].output, output)))

    cpdef object admit(self, int64_t now, int64_t expires, int64_t input, int64_t output, int64_t money):
        cdef int64_t costs[32]
        cdef fp_verdict verdict
        cdef fp_wants wants
        cdef Ticket ticket
        if input < 0 or output < 0 or money < 0:
            raise ValueError(f"no request costs {input} and {output} tokens and {money}")
        if self.arena.slot < 0 and (self.n_slots or self.n_budgets):
            raise RuntimeError("join the arena first")
        self.charge(costs, input, output)
        wants.rates, wants.costs, wants.slots, wants.budgets = self.rates, costs, self.slots, self.budgets
        wants.n_rates, wants.n_slots, wants.n_budgets = self.n_rates, self.n_slots, self.n_budgets
        wants.amounts[FP_TOKENS], wants.amounts[FP_MONEY] = fp_plus(input, output), money
        fp_admit(self.arena.map, self.arena.me, &wants, now, expires, &verdict)
        if verdict.outcome != FP_ADMITTED:
            return refusal(self, &verdict)
        ticket = Ticket.__new__(Ticket)
        ticket.limiter, ticket.row, ticket.use = self, verdict.lease, verdict.use
        ticket.input, ticket.output = input, output
        return ticket

    cpdef (int, int64_t, int64_t) nearest(self, int64_t now, int family) noexcept:
        cdef int i
        cdef int found = -1
        cdef int64_t left
        cdef int64_t fewest = INT64_MAX
        cdef fp_bucket* bucket
        for i in range(self.n_rates):
            if self.families[i] != family or self.rates[i].row == FP_NO_ROW:
                continue
            bucket = <fp_bucket*> fp_at(self.arena.map, FP_BUCKETS, self.rates[i].row)
            left = fp_take(bucket, self.rates[i], now, 0, True).left // self.scales[i]
            if left < fewest:
                found, fewest = i, left
        if found < 0:
            return -1, 0, 0
        bucket = <fp_bucket*> fp_at(self.arena.map, FP_BUCKETS, self.rates[found].row)
        return self.rate_order[found], fewest, fp_owed(bucket, self.rates[found], now)

    def tightest(self, int64_t now, int family):
        place, left, wait = self.nearest(now, family)
        return (place, left, wait) if place >= 0 else None

    def committed(self, int place):
        cdef int64_t newest
        cdef int64_t sum
        cdef fp_allowance* budget = budget_at(self, place)
        if not fp_sees_budget(self.arena.map, budget):
            return 0, 0, budget.period
        sum = fp_committed(self.arena.map, budget, &newest)
        return sum, fp_reserved(self.arena.map, budget), newest

    def notice(self, int place, int64_t amount):
        budget_at(self, place)
        self.notices[place] = amount

    def cross(self, int place, int64_t period, uint32_t thresholds):
        cdef fp_allowance* budget = budget_at(self, place)
        if not fp_sees_budget(self.arena.map, budget):
            return 0
        return fp_cross(&(<fp_budget*> fp_at(self.arena.map, FP_BUDGETS, budget.rows[0])).marks, period, thresholds,
                        budget.days)


cdef void charge_late(Ticket self, const int64_t* before) noexcept:
    """Its lease expired, and budgets were charged what it had marked: the rest is due."""
    cdef int i
    cdef fp_allowance* budget
    for i in range(self.limiter.n_budgets):
        budget = &self.limiter.budgets[i]
        fp_spend(self.limiter.arena.map, budget, self.spent[budget.kind] - before[budget.kind])


cdef void correct(Ticket self, int64_t now, const int64_t* due) noexcept:
    """Charges what the estimate missed, or gives it back."""
    cdef int64_t charged[32]
    cdef int i
    cdef Limiter limiter = self.limiter
    limiter.charge(charged, self.input, self.output)
    for i in range(limiter.n_rates):
        if due[i] != charged[i]:
            fp_correct(<fp_bucket*> fp_at(limiter.arena.map, FP_BUCKETS, limiter.rates[i].row), now,
                       due[i] - charged[i], limiter.rates[i])
            if limiter.rates[i].meter != NULL:
                fp_add(&limiter.rates[i].meter.value, <uint64_t> (due[i] - charged[i]))


cdef int reached(Ticket self) noexcept:
    """A bit for each budget that spent as much as its notice says."""
    cdef int i
    cdef int found = 0
    cdef int64_t sum, newest, notice
    cdef Limiter limiter = self.limiter
    for i in range(limiter.n_budgets):
        notice = limiter.notices[i]
        if notice == INT64_MAX:
            continue
        sum = fp_committed(limiter.arena.map, &limiter.budgets[i], &newest)
        if sum >= notice and sum - fp_reserved(limiter.arena.map, &limiter.budgets[i]) >= notice:
            found |= 1 << i
    return found


# Not a part of any cycle, so that `__dealloc__` still finds the limiter.
@cython.no_gc
@cython.final
cdef class Ticket:

    def __dealloc__(self):
        if self.limiter is not None:
            self.end()

    cdef bint end(self) noexcept nogil:
        """Whether what it holds came back by this call."""
        if self.ended:
            return False
        self.ended = True
        return self.row != FP_NO_ROW and fp_release(self.limiter.arena.map, self.row, self.use, 1 << FP_HELD)

    cpdef int64_t settle(self, int64_t now, int64_t input, int64_t output, int64_t money) except? -2:
        cdef int64_t before[2]
        cdef int64_t due[32]
        cdef Limiter limiter = self.limiter
        if self.ended:
            return -1
        if input < 0 or output < 0 or money < 0:
            raise ValueError(f"no request cost {input} and {output} tokens and {money}")
        memcpy(before, self.spent, sizeof(before))
        self.spent[FP_TOKENS], self.spent[FP_MONEY] = fp_plus(input, output), money
        if self.row != FP_NO_ROW:
            fp_mark(limiter.arena.map, self.row, self.use, self.spent)
        if not self.end() and self.row != FP_NO_ROW:
            charge_late(self, before)
        limiter.charge(due, input, output)
        correct(self, now, due)
        return reached(self)

    cpdef bint void(self, int64_t now):
        cdef int64_t nothing[32]
        if self.ended:
            return False
        memset(nothing, 0, sizeof(nothing))
        if self.row != FP_NO_ROW:
            fp_mark(self.limiter.arena.map, self.row, self.use, nothing)
        self.end()
        correct(self, now, nothing)
        return True

    cpdef bint mark(self, int64_t tokens, int64_t money) except? -1:
        cdef int64_t spent[2]
        if self.ended or self.row == FP_NO_ROW:
            return False
        if tokens < 0 or money < 0:
            raise ValueError(f"no request spent {tokens} tokens and {money}")
        spent[FP_TOKENS], spent[FP_MONEY] = tokens, money
        if not fp_mark(self.limiter.arena.map, self.row, self.use, spent):
            return False
        memcpy(self.spent, spent, sizeof(spent))
        return True

    @property
    def held(self):
        cdef uint64_t word
        if self.ended or self.row == FP_NO_ROW:
            return False
        word = fp_load(&(<fp_lease*> fp_at(self.limiter.arena.map, FP_LEASES, self.row)).word)
        return fp_use(word) == self.use and fp_phase(word) == FP_HELD


# What only a limiter makes: one made by its name would point nowhere.
(<PyTypeObject*> Ticket).tp_new = NULL
(<PyTypeObject*> Ticket).tp_vectorcall = NULL
(<dict> (<PyTypeObject*> Ticket).tp_dict).pop("__new__", None)
PyType_Modified(Ticket)
