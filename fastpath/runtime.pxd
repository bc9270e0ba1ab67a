cimport cython

from _native.clock cimport Clock
from fastpath.account.books cimport Books
from fastpath.explain.recorder cimport Recorder
from _native.load cimport Load
from fastpath.observe.budget cimport MemoryBudget
from fastpath.observe.series cimport RequestSeries
from fastpath.running cimport Running
from scheduler.health cimport Health
from scheduler.retry cimport RetryBudget


cdef class RequestIds:
    cdef Clock _clock
    cdef str _pool
    cdef str _head
    cdef Py_ssize_t _at

    cpdef str next(self)


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
