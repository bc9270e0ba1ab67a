cimport cython

from _native.clock cimport Clock
from _native.ids cimport RequestIds
from fastpath.account.books cimport Books
from fastpath.explain.recorder cimport Recorder
from _native.load cimport Load
from fastpath.observe.budget cimport MemoryBudget
from fastpath.observe.series cimport RequestSeries
from fastpath.running cimport Running
from scheduler.health cimport Health
from scheduler.retry cimport RetryBudget


cdef class Runtime:
    cdef public object loop
    cdef public Clock clock
    cdef public object metrics
    cdef public RequestSeries series
    cdef public object records
    cdef public MemoryBudget budget
    cdef public object table
    cdef readonly Load load
    cdef readonly Health health
    cdef public RetryBudget retries
    cdef public object random
    cdef public RequestIds ids
    cdef public set deliveries
    cdef public dict running
    cdef public bint draining
    cdef public object idempotency
    cdef public bint degraded
    cdef public Books books
    cdef public Recorder decisions
    cdef public object marks
    cdef public object present

    @cython.locals(running=Running)
    cpdef Running enter(self, str model)
