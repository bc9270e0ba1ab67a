"""The caller's side in compiled code: one HTTP/1.1 connection, one exchange at a time.

    IDLE --first byte--> HEAD --blank line--> ANSWERING --answer and body done--> IDLE (or the next request that waits)
    any --protocol error, deadline, Connection: close--> LINGERING --peer closes, or a second passes--> closed

The request body is read while ANSWERING; an answer may be complete before its request is.
"""

from _native.clock cimport Clock
from _native.http1 cimport RequestParser
from _native.relay cimport Sink, Source


cdef enum Phase:
    IDLE
    HEAD
    ANSWERING
    LINGERING


cdef class CallerConnection:
    cdef object door
    cdef Clock clock                    # the door's
    cdef object begin                   # takes each exchange
    cdef object transport
    cdef RequestParser parser
    cdef CallerExchange exchange        # the running one, None between requests
    cdef Phase phase
    cdef readonly str peer
    cdef readonly bint closed
    cdef bint full                      # the transport asked for a pause
    cdef bint last                      # no request after this one
    cdef double closes_at               # s, monotonic: how long an idle connection has for its last one
    cdef bint reading_paused
    cdef double since                   # s, monotonic: when the phase began, or the body last moved
    cdef bint served                    # at least one request came
    cdef bint doubted                   # its first request may be turned away
    cdef bytes waiting                  # pipelined bytes of later requests
    cdef Py_ssize_t discarded

    cdef void _take(self, bytes data)
    cdef void _begin(self)
    cdef void _answered(self, CallerExchange exchange)
    cdef void _linger(self)
    cdef void _refuse(self, int status, str reason)
    cpdef void sweep(self, double now, double head_limit, double idle_limit)
    cdef void _pause_reading(self)


cdef class Exchange(Sink):
    cdef public str method
    cdef public str path
    cdef public bytes query
    cdef public dict fields
    cdef public bint repeated
    cdef public str peer
    cdef public long long declared_length
    cdef public object on_left

    cpdef list values(self, bytes name)
    cpdef void read(self, long long limit, double seconds, object taker) except *
    cpdef Source read_pieces(self, long long limit, double seconds, object reader)
    cpdef void reply(self, int status, object headers, bytes body) except *
    cpdef Sink stream(self, int status, object headers, Source source)
    cpdef void abort(self) except *


cdef class CallerExchange(Exchange):
    cdef CallerConnection connection
    cdef Source source                  # whose answer is streamed
    cdef object taker                   # waits for the body; None once it has it, or refused it
    cdef object reader                  # takes it piece by piece
    cdef list pieces
    cdef long long limit
    cdef long long received
    cdef double stalled                 # s, monotonic: since when the caller takes nothing, 0 while it does
    cdef double patience
    cdef bint body_done
    cdef bint over
    cdef bint chunked                   # of the answer

    cdef void _start(self, long long limit, double seconds)
    cdef void _deliver(self, bytes data, bint last)
    cdef void _drop(self)
    cdef void _leave(self)
    cdef void _finish(self)
    cdef bytes _head(self, int status, object headers, bytes framing, bytes body)
