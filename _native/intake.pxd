"""Takes callers' connections in, and turns them away when more come than can be served.

    CALM --a queue that stands for a while and does not shrink--> OVERLOADED --hardly anyone to turn away--> CALM

    turn, CALM:        takes connections for a slice, or an eighth of what the turn took so far; the rest wait in the
                       kernel
    turn, OVERLOADED:  takes connections until the turn has taken a slice, at least LEAST; when the queue has not been
                       empty for `patience`, turns all others away, for as long as it served at most
"""

from libc.stdint cimport uint32_t, uint64_t

from _native.transport cimport Latecomer, Poller, Transport


cdef class Pace:
    cdef Py_ssize_t ceiling
    cdef double slice                   # s
    cdef double patience                # s
    cdef double interval                # s
    cdef double bearable                # s


cdef class Overload:
    cdef readonly bint active
    cdef readonly double interval       # s
    cdef readonly double bearable       # s
    cdef double since                   # when this look began, 0 while no queue stands
    cdef Py_ssize_t first               # connections that waited then
    cdef Py_ssize_t least               # and at least, since
    cdef Py_ssize_t taken               # since
    cdef Py_ssize_t refused             # since

    cpdef void note(self, double now, Py_ssize_t taken, Py_ssize_t refused, Py_ssize_t waiting)
    cpdef void rest(self)
    cdef void _look(self, double now, Py_ssize_t waiting)
    cdef bint _is_too_much(self, double passed, Py_ssize_t waiting)


cdef enum Taken:
    ONE
    NONE                                # the queue is empty
    STOPPED                             # the owner wants no more, or the kernel has none to give


cdef class Intake(Latecomer):
    cdef Poller poller
    cdef object owner
    cdef object protocol
    cdef readonly Overload overload
    cdef Pace pace
    cdef bint watched
    cdef double standing                # s, monotonic: since when the queue was not empty in an overload, 0 if it was
    cdef Py_ssize_t stale               # of the queue, came before we knew of the overload: turned away, all of them
    cdef double noted                   # s, monotonic: when a queue was last looked at
    cdef double own                     # s of this thread's CPU, then
    cdef Py_ssize_t room
    cdef tuple first                    # beginnings of requests that are never turned away
    cdef tuple answers                  # ((beginning of a request, Refusal), ...), the last for all others
    cdef bytes stem                     # of request ids: all but the digits of `number`
    cdef uint64_t number
    cdef list refused                   # (id, address) of those turned away in this turn

    cdef void _take(self, double until)
    cdef Taken _accept(self, bint admits)
    cdef void _admit(self, int fd, object address, bytes data, bint doubted)
    cdef void _turn_away(self, int fd, object address)
    cdef void _look_out(self, double now)
    cdef Py_ssize_t _waiting(self)
    cdef bint _is_impatient(self, double now)
    cdef void _note(self, double now, Py_ssize_t taken, Py_ssize_t refused, Py_ssize_t waiting)
    cdef bytes _id(self)
    cdef bint _is_first(self, bytes data)
    cdef Refusal _refusal(self, bytes data)


cdef class Refusal:
    cdef bytes text
    cdef Py_ssize_t head                # size of its head
    cdef list places                    # where the id goes

    cdef bytes about(self, bytes id, bint body)
