"""The machine's clocks. See clock.pyi for the contract."""

from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, clockid_t, timespec


cdef double read(clockid_t which) except? -1:
    cdef timespec moment
    if clock_gettime(which, &moment) != 0:
        raise OSError("the kernel has no such clock")
    return <double> moment.tv_sec + <double> moment.tv_nsec * 1e-9


cdef class Clock:
    cpdef double monotonic(self) except? -1:
        raise NotImplementedError

    cpdef double now(self) except? -1:
        raise NotImplementedError


cdef class SystemClock(Clock):
    cpdef double monotonic(self) except? -1:
        return read(CLOCK_MONOTONIC)

    cpdef double now(self) except? -1:
        return read(CLOCK_REALTIME)
