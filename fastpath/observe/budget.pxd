cdef class MemoryBudget:
    cdef long long _limit
    cdef readonly long long _used
    cdef long long _relayed
    cdef long long _large_mark
    cdef long long _all_mark

    cpdef bint admits(self, long long size)
    cpdef bint reserve(self, long long n)
    cpdef release(self, long long n)
