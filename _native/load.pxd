"""The endpoint table's columns as numbers in memory: charges, samples, and the cost of one more prompt.

No column is copied or exported as a buffer, so that arrays may grow: each access reads the array's present address,
behind one check of its length. `tokens` is what was sent and not read; `since` what of it was sent after the last
sample, for which `counted_at` remembers the sample. A sample restarts `since` whoever wrote it, so that nothing is
counted twice: in its queue and here.
"""

from cpython.array cimport array


cdef class Load:
    cdef array in_flight
    cdef array weight
    cdef array turn
    cdef array identity
    cdef array elsewhere        # in_flight_elsewhere
    cdef array tokens
    cdef array tokens_elsewhere
    cdef array since
    cdef array counted_at
    cdef array queued
    cdef array kv_usage
    cdef array throughput
    cdef array sampled_at
    cdef array ttft
    cdef array ttft_at
    cdef double* costs          # of the candidates, while `least` runs
    cdef Py_ssize_t room

    cpdef double send(self, Py_ssize_t slot, long long tokens) except? -1
    cpdef int settle(self, Py_ssize_t slot, long long tokens, double mark) except -1
    cpdef int end(self, Py_ssize_t slot) except -1
    cpdef int observe(self, Py_ssize_t slot, double seconds, double now) except -1
    cpdef bint observe_most(self, Py_ssize_t slot, double seconds, double now) except -1
    cpdef bint note(self, Py_ssize_t slot, double stamp, double queued, double kv_usage, double throughput) except -1
    cpdef double waiting(self, Py_ssize_t slot, double now) except? -1
    cpdef double seconds(self, Py_ssize_t slot, long long tokens, double now) except? -1
    cpdef Py_ssize_t least(self, list slots, long long tokens, double now) except -1
    cpdef Py_ssize_t fewest(self, list slots) except -1
    cpdef Py_ssize_t home(self, list slots, unsigned long long key) except -1
    cdef long long heaviest(self, list slots) except -1
    cdef double running(self, Py_ssize_t slot) noexcept
    cdef int make_room(self, Py_ssize_t count) except -1
    cdef double speed(self, Py_ssize_t slot) noexcept
    cdef double work(self, Py_ssize_t slot, double now) noexcept
    cdef double beside(self, Py_ssize_t slot, double now) noexcept
    cdef Py_ssize_t next_of(self, list slots, double most, bint spares) noexcept
