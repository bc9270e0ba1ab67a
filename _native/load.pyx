"""Charges, samples and the cost of one more prompt. See load.pyi for the contract."""

from cpython.array cimport array
from cpython.long cimport PyLong_AsSsize_t
from cpython.object cimport Py_SIZE
from libc.math cimport INFINITY, exp, exp2, isfinite, log
from libc.stdlib cimport free, realloc

# Seconds that a full KV cache costs at k = 0.5; k/(1-k) as in the design.
cdef double LAMBDA = 0.15
cdef double FULLEST = 0.999
# Tokens a second of an endpoint of which nothing is known.
cdef double USUAL = 2_000.0
cdef double SLOWEST = 1e-3
cdef double FASTEST = 1e9
# What of a told number is believed.
cdef double MOST = 1e12
# Seconds that each running answer delays the next prompt, where an endpoint does not say how full it is.
cdef double RUNNING = 0.010
# A sample is as good as new for so long; then its word on memory is worth half every so many seconds.
cdef double FRESH = 5.0
# Costs this close are equal: 3 % of KV memory, or ten tokens.
cdef double TIE = 0.005
# Seconds in which the mean of times to the first token falls by 1 - 1/e.
cdef double TAU = 10.0
# Bounded load of hashing: who has this much of its share is passed over.
cdef double BOUND = 1.25
# Turns are stride scheduling: a turn of weight 1 is this long.
cdef long long TURN = 1 << 24


cdef inline double sane(double value, double most) noexcept:
    """Within [0, most]; NaN is 0."""
    if not value > 0.0:
        return 0.0
    return value if value < most else most


cdef inline array column(object columns, str name, str code):
    cdef array found = columns[name]
    if found.typecode != code:
        raise TypeError(f"column {name} must be array({code!r}), not array({found.typecode!r})")
    return found


cdef inline double score(unsigned long long key, unsigned long long identity, long long weight) noexcept:
    """-weight / ln(u), u in (0, 1) from 53 bits of both, mixed by the finaliser of splitmix64."""
    cdef unsigned long long bits = key ^ (identity * <unsigned long long> 0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> 30)) * <unsigned long long> 0xBF58476D1CE4E5B9
    bits = (bits ^ (bits >> 27)) * <unsigned long long> 0x94D049BB133111EB
    bits ^= bits >> 31
    return -<double> weight / log((<double> (bits >> 11) + 0.5) * (1.0 / 9007199254740992.0))


cdef int refuse(Py_ssize_t slot) except -1:
    raise IndexError(f"no endpoint has slot {slot}")


cdef inline int check(Load load, Py_ssize_t slot) except -1:
    """All columns grow together, this one last."""
    if <size_t> slot >= <size_t> Py_SIZE(load.ttft_at):
        refuse(slot)
    return 0


cdef class Load:

    def __init__(self, columns):
        self.in_flight = column(columns, "in_flight", "q")
        self.weight = column(columns, "weight", "q")
        self.turn = column(columns, "turn", "q")
        self.identity = column(columns, "identity", "Q")
        self.elsewhere = column(columns, "in_flight_elsewhere", "q")
        self.tokens = column(columns, "tokens", "d")
        self.tokens_elsewhere = column(columns, "tokens_elsewhere", "d")
        self.since = column(columns, "since", "d")
        self.counted_at = column(columns, "counted_at", "d")
        self.queued = column(columns, "queued", "d")
        self.kv_usage = column(columns, "kv_usage", "d")
        self.throughput = column(columns, "throughput", "d")
        self.sampled_at = column(columns, "sampled_at", "d")
        self.ttft = column(columns, "ttft", "d")
        self.ttft_at = column(columns, "ttft_at", "d")
        if len({len(columns[name]) for name in columns}) > 1:
            raise ValueError("columns of different lengths")

    def __dealloc__(self):
        free(self.costs)

    cpdef double send(self, Py_ssize_t slot, long long tokens) except? -1:
        check(self, slot)
        cdef double told = self.sampled_at.data.as_doubles[slot]
        self.in_flight.data.as_longlongs[slot] += 1
        self.tokens.data.as_doubles[slot] += <double> tokens
        if self.counted_at.data.as_doubles[slot] != told:
            self.counted_at.data.as_doubles[slot] = told
            self.since.data.as_doubles[slot] = 0.0
        self.since.data.as_doubles[slot] += <double> tokens
        return told

    cpdef int settle(self, Py_ssize_t slot, long long tokens, double mark) except -1:
        check(self, slot)
        self.tokens.data.as_doubles[slot] -= <double> tokens
        if mark == self.counted_at.data.as_doubles[slot]:
            self.since.data.as_doubles[slot] -= <double> tokens
        return 0

    cpdef int end(self, Py_ssize_t slot) except -1:
        check(self, slot)
        self.in_flight.data.as_longlongs[slot] -= 1
        return 0

    cpdef int observe(self, Py_ssize_t slot, double seconds, double now) except -1:
        check(self, slot)
        if not (seconds >= 0.0 and isfinite(seconds)):
            return 0
        cdef double mean = self.ttft.data.as_doubles[slot]
        cdef double age = now - self.ttft_at.data.as_doubles[slot]
        cdef double keep
        if mean > seconds:
            keep = exp(-age / TAU) if age > 0.0 else 1.0
            seconds = mean * keep + seconds * (1.0 - keep)
        self.ttft.data.as_doubles[slot] = seconds
        self.ttft_at.data.as_doubles[slot] = now
        return 0

    cpdef bint observe_most(self, Py_ssize_t slot, double seconds, double now) except -1:
        check(self, slot)
        if not seconds < self.ttft.data.as_doubles[slot]:
            return False
        self.observe(slot, seconds, now)
        return True

    cpdef bint note(self, Py_ssize_t slot, double stamp, double queued, double kv_usage, double throughput) except -1:
        check(self, slot)
        if not (isfinite(stamp) and stamp > self.sampled_at.data.as_doubles[slot]):
            return False
        if not (0.0 <= queued <= MOST and 0.0 <= kv_usage <= 1.0 and 0.0 <= throughput <= FASTEST):
            return False
        self.queued.data.as_doubles[slot] = queued
        self.kv_usage.data.as_doubles[slot] = kv_usage
        if throughput >= 1.0:
            self.throughput.data.as_doubles[slot] = throughput
        self.sampled_at.data.as_doubles[slot] = stamp
        return True

    cpdef double waiting(self, Py_ssize_t slot, double now) except? -1:
        check(self, slot)
        return self.work(slot, now)

    cpdef double seconds(self, Py_ssize_t slot, long long tokens, double now) except? -1:
        check(self, slot)
        return (self.work(slot, now) + <double> tokens) / self.speed(slot) + self.beside(slot, now)

    cpdef Py_ssize_t least(self, list slots, long long tokens, double now) except -1:
        cdef Py_ssize_t count = len(slots), i, slot
        cdef long long heaviest = self.heaviest(slots), weight
        cdef double cost, lowest = INFINITY
        self.make_room(count)
        for i in range(count):
            slot = PyLong_AsSsize_t(slots[i])
            weight = self.weight.data.as_longlongs[slot]
            if heaviest > 0 and weight <= 0:
                self.costs[i] = INFINITY
                continue
            cost = self.work(slot, now) / self.speed(slot) + self.beside(slot, now)
            if weight < heaviest:
                cost = cost * <double> heaviest / <double> weight
            cost = self.costs[i] = cost + <double> tokens / self.speed(slot)
            if cost < lowest:
                lowest = cost
        i = self.next_of(slots, lowest + TIE, heaviest <= 0)
        return PyLong_AsSsize_t(slots[i])

    cpdef Py_ssize_t fewest(self, list slots) except -1:
        cdef long long heaviest = self.heaviest(slots), weight, latest = 0, turn, earliest = 0
        cdef double load, lowest = INFINITY
        cdef Py_ssize_t i, slot, best = -1
        for i in range(len(slots)):
            slot = PyLong_AsSsize_t(slots[i])
            turn, weight = self.turn.data.as_longlongs[slot], self.weight.data.as_longlongs[slot]
            latest = max(latest, turn)
            if heaviest > 0 and weight <= 0:
                continue
            load = (self.running(slot) + 1.0) / <double> (weight if weight > 0 else 1)
            if best < 0 or load < lowest or (load == lowest and turn < earliest):
                best, lowest, earliest = slot, load, turn
        self.turn.data.as_longlongs[best] = latest + 1
        return best

    cpdef Py_ssize_t home(self, list slots, unsigned long long key) except -1:
        cdef long long heaviest = self.heaviest(slots), weight
        cdef double total = 0.0, weights = 0.0, found, highest = -INFINITY, any_highest = -INFINITY, each
        cdef Py_ssize_t i, slot, best = -1, anyone = -1
        for i in range(len(slots)):
            slot = PyLong_AsSsize_t(slots[i])
            weight = self.weight.data.as_longlongs[slot] if heaviest > 0 else 1
            weights += <double> weight
            total += self.running(slot) if weight > 0 else 0.0
        each = BOUND * (total + 1.0) / weights
        for i in range(len(slots)):
            slot = PyLong_AsSsize_t(slots[i])
            weight = self.weight.data.as_longlongs[slot] if heaviest > 0 else 1
            if weight <= 0:
                continue
            found = score(key, self.identity.data.as_ulonglongs[slot], weight)
            if anyone < 0 or found > any_highest:
                anyone, any_highest = slot, found
            if self.running(slot) < each * <double> weight and (best < 0 or found > highest):
                best, highest = slot, found
        return best if best >= 0 else anyone

    cdef long long heaviest(self, list slots) except -1:
        """The most that any of them weighs; checks them all."""
        cdef long long most = 0
        cdef Py_ssize_t i, slot
        if len(slots) == 0:
            raise ValueError("no endpoint to choose from")
        for i in range(len(slots)):
            slot = PyLong_AsSsize_t(slots[i])
            check(self, slot)
            most = max(most, self.weight.data.as_longlongs[slot])
        return most

    cdef double running(self, Py_ssize_t slot) noexcept:
        cdef long long count = self.in_flight.data.as_longlongs[slot] + self.elsewhere.data.as_longlongs[slot]
        return sane(<double> count, MOST)

    cdef Py_ssize_t next_of(self, list slots, double most, bint spares) noexcept:
        """Whose turn it is among those that cost at most so much, by start-time fair queueing: `turn` is when an
        endpoint's last turn ends. Who was not among them comes back as if it had just had its turn, so that nobody
        catches up."""
        cdef Py_ssize_t i, slot, best = 0
        cdef long long now = -TURN, begins, earliest = 0, stride, ends, oldest = 0
        cdef bint found = False
        for i in range(len(slots)):
            slot = PyLong_AsSsize_t(slots[i])
            if self.costs[i] == INFINITY:
                continue
            stride = TURN if spares else TURN // self.weight.data.as_longlongs[slot]
            now = max(now, self.turn.data.as_longlongs[slot] - stride)
        for i in range(len(slots)):
            if self.costs[i] > most:
                continue
            ends = self.turn.data.as_longlongs[PyLong_AsSsize_t(slots[i])]
            begins = ends if ends > now else now
            if not found or begins < earliest or (begins == earliest and ends < oldest):
                found, best, earliest, oldest = True, i, begins, ends
        slot = PyLong_AsSsize_t(slots[best])
        stride = TURN if spares else TURN // self.weight.data.as_longlongs[slot]
        self.turn.data.as_longlongs[slot] = earliest + stride
        return best

    cdef int make_room(self, Py_ssize_t count) except -1:
        cdef double* found
        if count > self.room:
            found = <double*> realloc(self.costs, count * sizeof(double))
            if found == NULL:
                raise MemoryError
            self.costs, self.room = found, count
        return 0

    cdef double speed(self, Py_ssize_t slot) noexcept:
        cdef double told = sane(self.throughput.data.as_doubles[slot], FASTEST)
        return told if told >= SLOWEST else USUAL

    cdef double work(self, Py_ssize_t slot, double now) noexcept:
        """What was sent from here and is not read, or what the endpoint said waits there (less what it has read since)
        and what was sent since, whichever is more: a sample knows of other senders, but not of what is being read."""
        cdef double ours = self.tokens.data.as_doubles[slot] + self.tokens_elsewhere.data.as_doubles[slot]
        cdef double at = self.sampled_at.data.as_doubles[slot]
        cdef double told
        ours = sane(ours, MOST)
        if not at > 0.0:
            return ours
        told = sane(self.queued.data.as_doubles[slot], MOST)
        if now > at:
            told = sane(told - self.speed(slot) * (now - at), MOST)
        if self.counted_at.data.as_doubles[slot] == at:
            told += sane(self.since.data.as_doubles[slot], MOST)
        return told if told > ours else ours

    cdef double beside(self, Py_ssize_t slot, double now) noexcept:
        """Seconds for what runs there: by its KV cache, or by the answers that run where its word is old."""
        cdef double at = self.sampled_at.data.as_doubles[slot]
        cdef double running = self.running(slot) * RUNNING
        cdef double told, trust = 1.0
        if not at > 0.0:
            return running
        if now - at > FRESH:
            trust = exp2((FRESH - (now - at)) / FRESH)
        told = sane(self.kv_usage.data.as_doubles[slot], FULLEST)
        return trust * LAMBDA * told / (1.0 - told) + (1.0 - trust) * running
