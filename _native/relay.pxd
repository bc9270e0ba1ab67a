"""The seam between the two sides of an answer: whoever produces bytes is a Source, whoever takes them is a Sink.

Doors subclass Sink (the caller's connection), backends subclass Source (the model server's connection), and whatever
sits between is both to its neighbours. All calls are synchronous and happen on one event loop's thread.

    Source --head--> Sink --pause--> Source
           --write->      --resume->
           --finish or fail, exactly once
"""

from _native.http1 cimport ResponseParser


cdef class Sink:
    cpdef Sink head(self, int status, list headers)
    cpdef void write(self, bytes data)
    cpdef void finish(self)
    cpdef void fail(self, object error)


cdef class Source:
    cpdef void pause(self)
    cpdef void resume(self)
    cpdef void cancel(self)


cdef enum Dialect:
    CHAT = 0            # chat completions and completions: ends with [DONE]
    RESPONSES = 1       # typed events, ends with response.completed | incomplete | failed | error
    MESSAGES = 2        # typed events, ends with message_stop | error
    OTHER = 3           # frames are checked, any clean end is the end


cdef enum Verdict:
    KEEP
    DROP
    STOP_KEEP           # the terminal frame: forward it and nothing after it
    STOP                # nothing of this frame or after it is forwarded


cdef class StreamFilter:
    cdef readonly int dialect
    cdef readonly bint strip_usage
    cdef readonly Py_ssize_t limit
    cdef readonly Py_ssize_t frames         # content frames let through
    cdef readonly bint terminal             # the dialect's last frame was seen
    cdef readonly bint finished             # a finish_reason was seen
    cdef readonly bytes usage               # data of the last frame that carries usage
    cdef readonly bytes usage_head          # data of message_start, which carries the input side of usage
    cdef readonly bytes error               # data of an in-band error frame
    cdef readonly str broken                # why the stream cannot go on
    cdef bytes held
    cdef Py_ssize_t scanned
    cdef int scan_state
    cdef bint begun
    cdef bint after_cr                      # the last frame ended in a CR, and so did the read
    cdef bint last_kept                     # the last frame was forwarded

    cpdef bytes push(self, bytes data)
    cpdef bytes end(self)
    cdef int _judge(self, const unsigned char* p, Py_ssize_t size) except -1
    cdef int _judge_data(self, const unsigned char* p, Py_ssize_t size, bint named_error) except -1
    cdef int _judge_typed(self, const unsigned char* p, Py_ssize_t size, Py_ssize_t start, Py_ssize_t end) except -1


cdef class Relay(Sink):
    cdef public Sink out                    # the caller's side; None until the first frame opened it
    cdef readonly StreamFilter filter
    cdef readonly long long written         # bytes given to `out`
    cdef object owner
    cdef bint over

    cdef void _close(self)


cdef class Connection(Source):
    cdef readonly object transport
    cdef public object call                 # whose exchange is on the wire; None when idle
    cdef readonly object pool
    cdef public double idle_since           # s, monotonic, set by the pool
    cdef readonly int exchanges             # exchanges begun on this connection
    cdef readonly long long received        # bytes of the running exchange
    cdef readonly bint closed
    cdef readonly bint paused
    cdef bint sent                          # the whole request was handed to the transport
    cdef Sink sink
    cdef ResponseParser parser

    cpdef void begin(self, object call, Sink sink, bytes data, bytes body, bint complete)
    cdef void _complete(self)
    cdef void _break(self, str cause, object detail)
