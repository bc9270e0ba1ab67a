"""What the processes of a node know of endpoints, between the arena and one worker's columns. See facts.pyi."""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from _native.arena cimport Arena, fp_atomic, fp_cell, fp_sample


ctypedef struct fp_fact:
    uint32_t slot            # of the worker's table
    uint64_t low, high       # of the id, from which the parts of workers have theirs
    double throughput        # as configured
    fp_sample* sample
    fp_atomic* probe
    fp_atomic* ttft
    fp_atomic* ttft_at
    fp_cell* mine            # this worker's part; NULL: no room, and then nobody else sees it
    double until             # the exclusion that a probe brought into the column, 0.0 for none
    double under             # what the column held before


@cython.final
cdef class Facts:
    cdef Arena arena
    cdef list handles        # what the pointers below belong to
    cdef fp_fact* rows
    cdef fp_cell** others    # for each row the parts of the other workers; NULL: not there
    cdef uint32_t count
    cdef uint32_t workers    # other workers
    cdef double last
