"""The five steps and the score, over the endpoints of one model in contiguous memory.

    Pool     what is known of each endpoint once and for all (Fact), and room to decide in (Mark)
    View     those that are left for requests of one kind after the steps that never change; made once, used often
    Live     the columns of the endpoint table that change while requests run
    Plan     a strategy: weights, safety table, bounds. Ask: one request

`gather` turns live facts into three numbers an endpoint; `judge` is a function of those, the facts, the plan and the
ask alone, so that a decision can be repeated from what was written down. One thread at a time; nothing is allocated
in a decision. Policy stays in Python: which endpoints are allowed at all comes in as one code for each.
"""

from cpython cimport array

from _native.load cimport Load


cdef enum Code:
    KEPT = 0
    # safety
    TIER = 1
    REGION = 2
    PINNED = 3
    # capability
    PATH = 10
    CONTEXT = 11
    CONTEXT_UNKNOWN = 12
    LACKS = 13           # + the number of the capability, 0 to 5
    UNDECLARED = 19
    FILTERED = 20        # by an extension
    # performance
    TRIED = 30
    OUT = 31
    FULL = 32
    LATE = 33
    WAITS = 34           # local first: more waits there than the limit
    # cost
    CEILING = 40
    NO_PRICE = 41
    NOT_NEEDED = 42      # local first: somebody local has room
    SPARE = 43           # of weight 0, and others are left


cdef struct Fact:
    int slot
    int kind
    int tier             # 0 to 2
    int supports         # bits of capabilities, -1: nobody says
    double quality
    double context       # tokens, 0: nobody says
    double connections   # attempts of this worker at most
    double input         # price of a prompt token, of an answer's, of a request; input < 0: nobody says
    double output
    double request
    double long_from     # from so many prompt tokens on the others hold; 0: never
    double long_input
    double long_output


cdef struct Mark:
    double ttft          # predicted, seconds
    double wait          # what waits there, seconds
    double flags         # 1: out, 2: full, 4: taken away by an extension
    double price
    double safety
    double capability
    double latency
    double cost
    double total
    int code             # why it was dropped
    int dear             # why the cost step drops it, whatever those before it say


cdef class Live:
    cdef Load load
    cdef array.array in_flight
    cdef array.array kv_usage
    cdef array.array sampled_at
    cdef array.array ttft
    cdef array.array ttft_at
    cdef array.array ttft_prior
    cdef array.array out_until

    cdef double predict(self, int slot, double prompt, double now) noexcept
    cdef double wait(self, int slot, double now) noexcept


cdef class Plan:
    cdef readonly double safety_weight, capability_weight, latency_weight, cost_weight
    cdef readonly double slo, deadline, ceiling, saturation, stale
    cdef readonly double overflow_wait, overflow_back
    cdef readonly bint local_first
    cdef double table[9]


cdef class Ask:
    cdef readonly int data_class
    cdef readonly double prompt, answer, need


cdef class View:
    cdef readonly int count
    cdef readonly bytes dropped
    cdef int *order
    cdef double *fits


cdef class Pool:
    cdef readonly int count
    cdef readonly int kept
    cdef readonly int degraded
    cdef public bint overflowing
    cdef readonly long long looked_at
    cdef Fact *facts
    cdef Mark *marks
    cdef double *bests          # of each kind

    cpdef View narrow(self, bytes codes, int wants, double need, bytes fits)
    cpdef gather(self, View view, Live live, Plan plan, Ask ask, double now)
    cpdef load(self, View view, bytes columns)
    cpdef bytes columns(self, View view)
    cpdef filter(self, View view, bytes taken)
    cpdef int judge(self, View view, Plan plan, Ask ask, long long turn, object extra=*) except -2
    cpdef list slots(self, View view, int kind)
    cpdef bytes codes(self, View view)
    cpdef list scores(self, View view)
    cdef void _steps(self, View view, Plan plan, Ask ask) noexcept
    cdef void _local_first(self, View view, Plan plan) noexcept
    cdef void _degrade(self, View view) noexcept
    cdef void _weigh(self, View view, Plan plan, Ask ask, double *extra) noexcept
    cdef void _weigh_costs(self, View view) noexcept
    cdef int _best(self, View view, long long turn) noexcept
