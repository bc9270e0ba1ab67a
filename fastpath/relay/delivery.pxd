cimport cython

from _native.rates cimport nano_text
from _native.relay cimport Sink, StreamFilter
from backends.call cimport Call
from backends.dialects.usage cimport Usage, read_usage, usage_at
from fastpath.context cimport RequestContext
from fastpath.guard.label cimport Label
from fastpath.relay.attempt cimport Attempt, AttemptOwner
from fastpath.relay.caller cimport explain, lasting, stored, usage_wanted
from fastpath.relay.fields cimport inbound, outbound
from fastpath.route.asked cimport tokens_to_read
from fastpath.route.choose cimport choose
from fastpath.runtime cimport Runtime
from fastpath.snapshot cimport Route, Target
from scheduler.health cimport Health, Vitals


cdef class Delivery(AttemptOwner):
    cdef object __weakref__
    cdef readonly RequestContext ctx
    cdef Runtime _runtime
    cdef object _make_call
    cdef object _settle
    cdef Route _route
    cdef object _timeouts
    cdef tuple _left
    cdef tuple _chain
    cdef bint _moves
    cdef bint _withheld
    cdef Attempt _attempt
    cdef Sink _sink
    cdef bint _delivered
    cdef bint _passing
    cdef bint _detached
    cdef int _retries
    cdef long long _held
    cdef object _last_failure
    cdef object _retry_after
    cdef object _backoff
    cdef bint _comments
    cdef double _commented_at
    cdef double _marked_at
    cdef bint _asks_usage

    cpdef prepare(self, RequestContext ctx, Runtime runtime, object call, object settle)
    cdef tuple _hold_to(self, tuple left, tuple admitted)
    cpdef start(self)
    cpdef fault(self, object error)
    cpdef _try_next(self, object refusal=*)
    cdef _choose(self)
    cdef _choose_well(self)
    cdef tuple _admitted(self)
    cdef bint _fall_back(self) except -1
    cdef bint _may_fall_back(self) except -1
    cdef _rest(self, double seconds)
    cdef _note_overdue(self, Attempt attempt, double now)
    cdef _note_heard(self, Attempt attempt, double now)
    cdef _dispatch_well(self, Target target, double now)

    @cython.locals(attempt=Attempt)
    cdef bint _dispatch(self, Target target) except -1
    cpdef reported(self, Attempt attempt, bytes load)
    cpdef attempt_failed(self, Attempt attempt, object error)
    cpdef answered(self, Attempt attempt, bytes body, Py_ssize_t start, Py_ssize_t end)
    cpdef refused(self, Attempt attempt, bytes body)
    cdef _reply(self, Attempt attempt, bytes body, str outcome)
    cpdef bint asks_usage(self, Target target)
    cpdef bint hold(self, long long size)
    cpdef StreamFilter stream_filter(self, Attempt attempt)
    cpdef Sink open_stream(self)
    cdef _forget_request(self)
    cdef Sink _open(self)
    cpdef Sink open_body(self, Attempt attempt)
    cpdef passed(self, Attempt attempt)
    cpdef stream_ended(self, Attempt attempt, StreamFilter stream)
    cpdef client_left(self)
    cpdef void pause(self)
    cpdef void resume(self)
    cpdef void cancel(self)
    cpdef end_now(self)
    cpdef refuse(self, object error)
    cpdef sweep(self, double now)
    cdef _note_progress(self, double now)
    cdef bint _may_retry(self, object error) except -1
    cdef _retry(self)
    cdef _time_out(self)
    cdef _give_up(self)
    cdef _conclude(self, object error)
    cdef _end_in_band(self, object error, str code)
    cdef _finish_stream(self, str outcome, str code=*)
    cdef _settle_prompt(self, Attempt attempt)
    cdef double _end_attempt(self, Attempt attempt) except? -1
    cdef _close(self, int status)
    cdef _note_delivered(self, Attempt attempt)
    cdef bint _believe(self, Usage usage) except -1


@cython.locals(call=Call)
cpdef Call make_call(Delivery delivery, Target target)
