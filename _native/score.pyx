"""The five steps and the score. See score.pyi for the contract, score.pxd for the shape."""

from cpython cimport array
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.math cimport INFINITY, exp2, isfinite
from libc.string cimport memset

globals().update({
    "KEPT": KEPT, "TIER": TIER, "REGION": REGION, "PINNED": PINNED, "PATH": PATH, "CONTEXT": CONTEXT,
    "CONTEXT_UNKNOWN": CONTEXT_UNKNOWN, "LACKS": LACKS, "UNDECLARED": UNDECLARED, "FILTERED": FILTERED, "TRIED": TRIED,
    "OUT": OUT, "FULL": FULL, "LATE": LATE, "WAITS": WAITS, "CEILING": CEILING, "NO_PRICE": NO_PRICE,
    "NOT_NEEDED": NOT_NEEDED, "SPARE": SPARE,
})


cdef double HALF_LIFE = 10.0                  # seconds in which the word of a measured first token halves
cdef double LONGEST = 1e9                     # seconds: what a time that is none counts as
cdef double DEAREST = 1e18                    # the same of prices
cdef double ASSUMED_CONTEXT = 32768           # a larger need goes to those that declare it, where some do
cdef double ROOM = 0.75                       # share of a context up to which a need fits it well
cdef double UNSAID = 0.5                      # fit of an endpoint of which nobody says whether it can
cdef double EQUAL = 1e-9                      # totals that differ by no more are equal
cdef int L2 = 2
cdef int IS_OUT = 1
cdef int IS_FULL = 2
cdef int IS_FILTERED = 4
cdef int CAPABILITIES = 6


cdef inline double unit(double value) noexcept:
    """Into [0, 1]; what is no number is 0."""
    if not value > 0:
        return 0
    return 1 if value > 1 else value


cdef inline double bounded(double value, double most) noexcept:
    """Into [0, most]; what is no number, or negative, is the most: it must not look good."""
    return value if 0 <= value <= most else most


cdef class Live:

    def __init__(self, columns, Load load not None):
        self.load = load
        self.in_flight = column(columns, "in_flight", "q")
        self.kv_usage, self.sampled_at = column(columns, "kv_usage", "d"), column(columns, "sampled_at", "d")
        self.ttft, self.ttft_at = column(columns, "ttft", "d"), column(columns, "ttft_at", "d")
        self.ttft_prior, self.out_until = column(columns, "ttft_prior", "d"), column(columns, "out_until", "d")

    cdef double predict(self, int slot, double prompt, double now) noexcept:
        """As `scheduler.predict.predict_ttft`."""
        cdef double queue = self.wait(slot, now) + prompt / self.load.speed(slot) + self.load.beside(slot, now)
        cdef double prior = self.ttft_prior.data.as_doubles[slot]
        cdef double measured = self.ttft.data.as_doubles[slot]
        cdef double at = self.ttft_at.data.as_doubles[slot]
        cdef double trust
        if not prior > 0:
            prior = queue
        if at == 0 or not isfinite(measured):
            return max(queue, prior)
        trust = exp2(-max(0.0, now - at) / HALF_LIFE)
        return max(queue, trust * measured + (1 - trust) * prior)

    cdef double wait(self, int slot, double now) noexcept:
        return self.load.work(slot, now) / self.load.speed(slot)

    def waiting(self, int slot, double now):
        if not 0 <= slot < len(self.out_until):
            raise IndexError("no such slot")
        return bounded(self.wait(slot, now), LONGEST)

    def predicted(self, int slot, double prompt, double now):
        if not 0 <= slot < len(self.out_until):
            raise IndexError("no such slot")
        return bounded(self.predict(slot, prompt, now), LONGEST)


cdef inline array.array column(columns, str name, str code):
    cdef array.array found = columns[name]
    if found.typecode != code:
        raise ValueError(f"column {name} must be an array of {code}")
    return found


cdef class Plan:

    def __init__(self, weights, table, double slo, double deadline, double ceiling=INFINITY, double saturation=1.0,
                 double stale=5.0, bint local_first=False, double overflow_wait=INFINITY,
                 double overflow_back=INFINITY):
        cdef int index
        if len(weights) != 4 or len(table) != 9:
            raise ValueError("four weights and nine scores of safety make a plan")
        self.safety_weight, self.capability_weight, self.latency_weight, self.cost_weight = weights
        if not all(isfinite(weight) and weight >= 0 for weight in weights) or not slo > 0:
            raise ValueError("a weight is at least 0, an slo above it")
        for index in range(9):
            self.table[index] = unit(table[index])
        self.slo, self.deadline, self.ceiling, self.saturation, self.stale = slo, deadline, ceiling, saturation, stale
        self.local_first, self.overflow_wait, self.overflow_back = local_first, overflow_wait, overflow_back


cdef class Ask:

    def __init__(self, int data_class, double prompt, double answer, double need):
        if not 0 <= data_class <= 2:
            raise ValueError("there are three data classes")
        self.data_class = data_class
        self.prompt, self.answer, self.need = bounded(prompt, 1e12), bounded(answer, 1e12), bounded(need, 1e12)


cdef class View:

    def __dealloc__(self):
        PyMem_Free(self.order)
        PyMem_Free(self.fits)

    def places(self):
        return [self.order[at] for at in range(self.count)]


cdef class Pool:

    def __cinit__(self, facts, bint overflowing=False):
        cdef int count = len(facts)
        self.facts = <Fact *> PyMem_Malloc(max(1, count) * sizeof(Fact))
        self.marks = <Mark *> PyMem_Malloc(max(1, count) * sizeof(Mark))
        self.bests = <double *> PyMem_Malloc(max(1, count) * sizeof(double))
        if self.facts is NULL or self.marks is NULL or self.bests is NULL:
            raise MemoryError
        memset(self.marks, 0, max(1, count) * sizeof(Mark))
        self.count = count
        self.overflowing = overflowing

    def __init__(self, facts, bint overflowing=False):
        cdef Fact *fact
        for at, row in enumerate(facts):
            fact = &self.facts[at]
            (fact.slot, fact.kind, fact.tier, fact.supports, fact.quality, fact.context, fact.connections) = row[:7]
            if fact.slot < 0 or not 0 <= fact.kind < self.count or not 0 <= fact.tier <= L2:
                raise ValueError("a slot, kind or tier that is none")
            fact.quality = unit(fact.quality)
            fact.context = bounded(fact.context, 1e12)
            self.reprice(at, row[7:])

    def __dealloc__(self):
        PyMem_Free(self.facts)
        PyMem_Free(self.marks)
        PyMem_Free(self.bests)

    def reprice(self, int place, prices):
        if not 0 <= place < self.count:
            raise IndexError("no such endpoint")
        cdef Fact *fact = &self.facts[place]
        (fact.input, fact.output, fact.request, fact.long_from, fact.long_input, fact.long_output) = prices

    # -- what never changes

    cpdef View narrow(self, bytes codes, int wants, double need, bytes fits):
        if PyBytes_GET_SIZE(codes) != self.count or PyBytes_GET_SIZE(fits) != self.count:
            raise ValueError("a code and a fit for each endpoint")
        cdef bytearray found = bytearray(codes)
        cdef bint roomy = False
        cdef bint told = False
        cdef int at
        cdef Fact *fact
        for at in range(self.count):
            roomy = roomy or (found[at] == KEPT and self.facts[at].context >= need and self.facts[at].context > 0)
        for at in range(self.count):
            fact = &self.facts[at]
            if found[at] != KEPT:
                continue
            if fact.context > 0 and need > fact.context:
                found[at] = <int> CONTEXT
            elif fact.context == 0 and need > ASSUMED_CONTEXT and roomy:
                found[at] = <int> CONTEXT_UNKNOWN
            elif fact.supports >= 0 and wants & ~fact.supports:
                found[at] = <int> LACKS + lowest_bit(wants & ~fact.supports)
            elif fact.supports >= 0:
                told = True
        if told and wants:
            for at in range(self.count):
                if found[at] == KEPT and self.facts[at].supports < 0:
                    found[at] = <int> UNDECLARED
        return self._view(bytes(found), wants, fits)

    def _view(self, bytes dropped, int wants, bytes fits):
        cdef View view = View()
        cdef int at
        view.dropped = dropped
        view.order = <int *> PyMem_Malloc(max(1, self.count) * sizeof(int))
        view.fits = <double *> PyMem_Malloc(max(1, self.count) * sizeof(double))
        if view.order is NULL or view.fits is NULL:
            raise MemoryError
        for at in range(self.count):
            if dropped[at] == KEPT:
                view.order[view.count] = at
                view.fits[view.count] = fits[at] / 100.0
                if wants and self.facts[at].supports < 0:
                    view.fits[view.count] *= UNSAID
                view.count += 1
        return view

    # -- what is true now

    cpdef gather(self, View view, Live live, Plan plan, Ask ask, double now):
        cdef Py_ssize_t columns = len(live.out_until)
        cdef int at, slot, flags
        cdef Mark *mark
        cdef Fact *fact
        for at in range(view.count):
            fact = &self.facts[view.order[at]]
            mark = &self.marks[view.order[at]]
            slot = fact.slot
            if slot >= columns:
                raise IndexError("a slot that the table has not")
            mark.ttft = bounded(live.predict(slot, ask.prompt, now), LONGEST)
            mark.wait = bounded(live.wait(slot, now), LONGEST)
            flags = IS_OUT if live.out_until.data.as_doubles[slot] > now else 0
            if live.in_flight.data.as_longlongs[slot] >= fact.connections or (
                live.kv_usage.data.as_doubles[slot] >= plan.saturation
                and live.sampled_at.data.as_doubles[slot] > 0
                and now - live.sampled_at.data.as_doubles[slot] <= plan.stale
            ):
                flags |= IS_FULL
            mark.flags = flags
        self.looked_at += view.count

    cpdef load(self, View view, bytes columns):
        if PyBytes_GET_SIZE(columns) != view.count * 3 * <Py_ssize_t> sizeof(double):
            raise ValueError("three columns for each endpoint of the view")
        cdef double *values = <double *> PyBytes_AS_STRING(columns)
        cdef int at
        for at in range(view.count):
            self.marks[view.order[at]].ttft = bounded(values[3 * at], LONGEST)
            self.marks[view.order[at]].wait = bounded(values[3 * at + 1], LONGEST)
            self.marks[view.order[at]].flags = bounded(values[3 * at + 2], 7)

    cpdef bytes columns(self, View view):
        cdef bytes made = PyBytes_FromStringAndSize(NULL, view.count * 3 * <Py_ssize_t> sizeof(double))
        cdef double *values = <double *> PyBytes_AS_STRING(made)
        cdef int at
        for at in range(view.count):
            values[3 * at] = self.marks[view.order[at]].ttft
            values[3 * at + 1] = self.marks[view.order[at]].wait
            values[3 * at + 2] = self.marks[view.order[at]].flags
        return made

    cpdef filter(self, View view, bytes taken):
        cdef int at
        if PyBytes_GET_SIZE(taken) != view.count:
            raise ValueError("a byte for each endpoint of the view")
        for at in range(view.count):
            if taken[at]:
                self.marks[view.order[at]].flags = <int> self.marks[view.order[at]].flags | IS_FILTERED

    # -- the decision

    cpdef int judge(self, View view, Plan plan, Ask ask, long long turn, object extra=None) except -2:
        cdef array.array more
        cdef double *added = NULL
        if extra is not None:
            more = extra
            if more.typecode != "d" or len(more) != view.count:
                raise ValueError("a double for each endpoint of the view")
            added = more.data.as_doubles
        self.degraded = 0
        self._steps(view, plan, ask)
        if plan.local_first:
            self._local_first(view, plan)
        if not self.kept:
            self._degrade(view)
        if not self.kept:
            return -1
        self._weigh(view, plan, ask, added)
        return self._best(view, turn)

    cdef void _steps(self, View view, Plan plan, Ask ask) noexcept:
        """The steps that are about now: performance and cost."""
        cdef int at, flags
        cdef Mark *mark
        cdef Fact *fact
        cdef double price
        self.kept = 0
        for at in range(view.count):
            fact = &self.facts[view.order[at]]
            mark = &self.marks[view.order[at]]
            flags = <int> mark.flags
            price = price_of(fact, ask)
            mark.price = price
            mark.dear = KEPT
            if plan.ceiling < INFINITY and price < 0 and fact.tier == L2:
                mark.dear = NO_PRICE
            elif price > plan.ceiling:
                mark.dear = CEILING
            if flags & IS_FILTERED:
                mark.code = FILTERED
            elif flags & IS_OUT:
                mark.code = OUT
            elif flags & IS_FULL:
                mark.code = FULL
            elif mark.ttft > plan.deadline:
                mark.code = LATE
            else:
                mark.code = mark.dear
                self.kept += mark.dear == KEPT

    cdef void _local_first(self, View view, Plan plan) noexcept:
        """Who waits too long at home is left alone while anybody else can; the cloud, while home has room."""
        cdef double limit = plan.overflow_back if self.overflowing else plan.overflow_wait
        cdef bint calm = False
        cdef bint cloud = False
        cdef int at, tier
        cdef Mark *mark
        for at in range(view.count):
            mark = &self.marks[view.order[at]]
            if mark.code == KEPT:
                tier = self.facts[view.order[at]].tier
                calm = calm or (tier < L2 and mark.wait <= limit)
                cloud = cloud or tier == L2
        self.overflowing = not calm and (cloud or self.overflowing)
        if not (calm or cloud):
            return
        for at in range(view.count):
            mark = &self.marks[view.order[at]]
            if mark.code != KEPT:
                continue
            tier = self.facts[view.order[at]].tier
            if calm and tier == L2:
                mark.code = NOT_NEEDED
                self.kept -= 1
            elif tier < L2 and mark.wait > limit:
                mark.code = WAITS
                self.kept -= 1

    cdef void _degrade(self, View view) noexcept:
        """Rather late than full, rather full than out: the least of these that anybody has is forgiven."""
        cdef int code, at
        cdef Mark *mark
        for code in (LATE, FULL, OUT):
            for at in range(view.count):
                mark = &self.marks[view.order[at]]
                if mark.code == code and mark.dear == KEPT:
                    mark.code = KEPT
                    self.kept += 1
            if self.kept:
                self.degraded = code
                return

    cdef void _weigh(self, View view, Plan plan, Ask ask, double *extra) noexcept:
        cdef int at
        cdef Mark *mark
        cdef Fact *fact
        self._weigh_costs(view)
        for at in range(view.count):
            mark = &self.marks[view.order[at]]
            if mark.code != KEPT:
                continue
            fact = &self.facts[view.order[at]]
            mark.safety = plan.table[3 * ask.data_class + fact.tier]
            mark.capability = fact.quality * view.fits[at] * headroom(fact.context, ask.need)
            mark.latency = 1 / (1 + mark.ttft / plan.slo)
            mark.total = (plan.safety_weight * mark.safety + plan.capability_weight * mark.capability
                          + plan.latency_weight * mark.latency + plan.cost_weight * mark.cost)
            if extra is not NULL and isfinite(extra[at]):
                mark.total += extra[at]

    cdef void _weigh_costs(self, View view) noexcept:
        cdef double dearest = 0
        cdef double cheapest = DEAREST
        cdef double least = DEAREST     # of those that cost something
        cdef int at
        cdef Mark *mark
        for at in range(view.count):
            mark = &self.marks[view.order[at]]
            if mark.code != KEPT:
                continue
            if mark.price < 0 and self.facts[view.order[at]].tier < L2:
                mark.price = 0
            if mark.price > dearest:
                dearest = mark.price
        for at in range(view.count):
            mark = &self.marks[view.order[at]]
            if mark.code != KEPT:
                continue
            if mark.price < 0:
                mark.price = dearest if dearest > 0 else 1
            cheapest = min(cheapest, mark.price)
            if mark.price > 0:
                least = min(least, mark.price)
        for at in range(view.count):
            mark = &self.marks[view.order[at]]
            if mark.code == KEPT:
                mark.cost = cheapest / mark.price if cheapest > 0 else least / (mark.price + least)

    cdef int _best(self, View view, long long turn) noexcept:
        """The kind of the best; of equals, the one whose turn it is."""
        cdef double best = -INFINITY
        cdef int at, kind
        cdef int equals = 0
        cdef Mark *mark
        for at in range(view.count):
            self.bests[self.facts[view.order[at]].kind] = -INFINITY
        for at in range(view.count):
            mark = &self.marks[view.order[at]]
            if mark.code == KEPT:
                kind = self.facts[view.order[at]].kind
                self.bests[kind] = max(self.bests[kind], mark.total)
                best = max(best, mark.total)
        for at in range(view.count):
            kind = self.facts[view.order[at]].kind
            if best - EQUAL <= self.bests[kind] < INFINITY:
                self.bests[kind] = INFINITY    # one of the equals, counted
                equals += 1
        turn = (turn % equals + equals) % equals
        for at in range(view.count):
            kind = self.facts[view.order[at]].kind
            if self.bests[kind] == INFINITY:
                if not turn:
                    return kind
                self.bests[kind] = -INFINITY
                turn -= 1
        return -1

    # -- what it found

    cpdef list slots(self, View view, int kind):
        cdef list found = []
        cdef int at
        for at in range(view.count):
            if self.marks[view.order[at]].code == KEPT and self.facts[view.order[at]].kind == kind:
                found.append(self.facts[view.order[at]].slot)
        return found

    cpdef bytes codes(self, View view):
        cdef bytearray found = bytearray(view.dropped)
        cdef int at
        for at in range(view.count):
            found[view.order[at]] = self.marks[view.order[at]].code
        return bytes(found)

    cpdef list scores(self, View view):
        cdef list found = []
        cdef int at
        cdef Mark *mark
        for at in range(view.count):
            mark = &self.marks[view.order[at]]
            if mark.code == KEPT:
                found.append((view.order[at], mark.safety, mark.capability, mark.latency, mark.cost, mark.total))
        return found


cdef inline int lowest_bit(int bits) noexcept:
    cdef int number = 0
    while number < CAPABILITIES - 1 and not bits >> number & 1:
        number += 1
    return number


cdef inline double headroom(double context, double need) noexcept:
    """1 while a need takes up to three quarters of the context, down to 0.5 where it takes it all."""
    if context <= 0 or need <= ROOM * context:
        return 1
    return max(0.5, 1 - 0.5 * (need / context - ROOM) / (1 - ROOM))


cdef inline double price_of(Fact *fact, Ask ask) noexcept:
    """What the request is expected to cost there; below 0: nobody says."""
    if not fact.input >= 0:
        return -1
    if fact.long_from > 0 and ask.prompt > fact.long_from:
        return bounded(ask.prompt * fact.long_input + ask.answer * fact.long_output + fact.request, DEAREST)
    return bounded(ask.prompt * fact.input + ask.answer * fact.output + fact.request, DEAREST)
