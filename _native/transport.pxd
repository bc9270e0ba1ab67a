"""Plain sockets on one event loop, without a Python call per system call.

    epoll (ours) --readable--> Transport._read --bytes--> protocol.data_received
                 --writable--> Transport._flush --> protocol.resume_writing
    the loop watches our epoll as one descriptor, so a turn of the loop costs the same for one socket or a hundred

    a turn of ours: the events of one epoll_wait, then whoever is `due`: a listening socket, in what time is left

    OPEN --close--> CLOSING (flushes) --> LOST        OPEN or CLOSING --abort, error--> LOST
"""

from libc.stdint cimport uint32_t


cdef class Watched:
    """What our epoll watches."""

    cdef int fd                         # -1 once closed

    cdef void _serve(self, uint32_t happened)


cdef class Latecomer(Watched):
    """Has its turn after the connections' events."""

    cdef bint due

    cdef void _turn(self, double began)


cdef class Poller:
    cdef object loop
    cdef int epoll
    cdef bytearray buffer               # what one read takes at most; shared by all
    cdef set live                       # keeps every transport until its connection_lost
    cdef list doomed                    # (transport, why): lost once the running callbacks are done
    cdef list corked                    # transports written to while one event was served: one send each, after it
    cdef list latecomers
    cdef bint serving

    cpdef Transport attach(self, int fd, object protocol, object peer=*)
    cdef int _watch(self, Watched one, uint32_t interest, int operation) except -1
    cdef void _doom(self, Transport transport, object reason)
    cdef void _uncork(self)
    cdef void _report(self, Transport transport, object error)


cdef class Transport(Watched):
    cdef Poller poller
    cdef object protocol
    cdef object peer
    cdef bytes cork                     # written in this turn and not yet sent, None as a rule
    cdef uint32_t interest              # what epoll was told last
    cdef bint watched                   # epoll knows of it
    cdef list pending                   # pieces not yet taken by the kernel, the first without its first `offset` bytes
    cdef Py_ssize_t offset
    cdef Py_ssize_t size                # of what is pending
    cdef Py_ssize_t high
    cdef Py_ssize_t low
    cdef bint reading
    cdef bint full                      # the protocol was asked to pause
    cdef bint closing                   # no more is read or taken
    cdef bint ending                    # the writing side closes once flushed
    cdef bint doomed

    cpdef write(self, bytes data)
    cdef void _uncork(self)
    cdef void _send(self, bytes data)
    cdef void _queue(self, bytes data, Py_ssize_t offset)
    cdef void _append(self, bytes data, Py_ssize_t offset)
    cdef void _ask_to_pause(self)
    cdef void _ask_to_resume(self)
    cdef void _read(self)
    cdef void _flush(self)
    cdef void _update(self)
    cdef void _fail(self, int number)
    cdef void _doom(self, object reason)
    cdef void _lose(self, object reason)


cdef double seconds() noexcept


cdef inline int give(object transport, bytes data) except -1:
    """transport.write(data), without a Python call where the transport is one of ours: there are others under TLS."""
    if type(transport) is Transport:
        (<Transport> transport).write(data)
    else:
        transport.write(data)
    return 0
