"""Time as a passed-in object: what a request reads a dozen times costs a call through a table, not a lookup by name.

Nothing is kept: every call asks the kernel (through the vDSO, without a system call).
"""


cdef class Clock:
    cpdef double monotonic(self) except? -1
    cpdef double now(self) except? -1


cdef class SystemClock(Clock):
    pass
