cdef double RECENT
cdef double USUAL
cdef long long OWN_LEAST
cdef int _BITS


cdef class Pace:
    cdef readonly double slow_factor
    cdef readonly double slow_start
    cdef readonly double panic


cdef class Vitals:
    cdef readonly int slot
    cdef readonly str name
    cdef readonly object breaker
    cdef public bint alone
    cdef public bint wary
    cdef public double out_until
    cdef public int state
    cdef public double share
    cdef public double credit
    cdef public double ramp_from
    cdef public double recent
    cdef public double usual
    cdef public long long count
    cdef public double heard_at
    cdef public double patience
    cdef public int verdicts
    cdef public bint still_slow
    cdef public double slow_until
    cdef public int overdue
    cdef public object word
    cdef public object suspect
    cdef public double cleared_at

    cpdef heard(self, double waited, double now, bint late)
    cpdef bint is_overdue(self, double waited)
    cpdef note_overdue(self)


cdef class Health:
    cdef readonly bint troubled
    cdef readonly Pace pace
    cdef object _table
    cdef object _on_change
    cdef object _on_slow
    cdef object _on_panic
    cdef list _groups
    cdef list _all

    cpdef watch(self, object groups, Pace pace, double now)
    cpdef look(self, double now)
    cdef _refresh(self, Vitals vitals, double now)
    cdef _adopt(self, Vitals vitals, double now)
    cdef _compare(self, list group)
    cdef _judge_pace(self, Vitals vitals, double now)
    cdef double _share(self, Vitals vitals, double now)
    cpdef good(self, Vitals vitals, object caller, double now)
    cpdef failed(self, Vitals vitals, object blame, object caller, double now, double rest=*)
    cpdef overdue(self, Vitals vitals, double now)
    cdef bint _is_callers_own(self, Vitals vitals, object caller, double now) except -1
    cdef object _tell(self, Vitals vitals, object signal, double now, double rest=*)
    cpdef tuple usable(self, object left, double now)
    cpdef bint any_open(self, object left, double now) except -1
    cpdef bint may_send(self, Vitals vitals, double now) except -1
    cpdef unsent(self, Vitals vitals, double now)
    cpdef double rests_for(self, object left, double now)
