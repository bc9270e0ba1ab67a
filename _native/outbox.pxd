"""A worker's end of the outbox: segments it has mapped, and the appender that fills them. The bytes are in outbox.h."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "outbox.h" nogil:
    ctypedef struct fpo_key:
        pass


cdef enum Kind:
    PLAIN = 0
    OPENING = 1     # room for one closing record is held from now on
    CLOSING = 2     # takes the room that an opening one holds


@cython.final
cdef class Segment:
    cdef uint8_t* base          # NULL once closed
    cdef readonly int fd
    cdef readonly uint32_t size
    cdef readonly uint32_t sequence
    cdef readonly uint32_t tail         # where the next record goes
    cdef readonly uint32_t count        # records in it
    cdef readonly uint32_t durable      # what is before it was synced
    cdef readonly uint32_t durable_count
    cdef readonly bint bad              # a sync failed: what is behind `durable` may never reach the disk
    cdef readonly bint sealed
    cdef uint32_t reached       # pages before it were made writable once
    cdef fpo_key key

    cdef void put(self, uint32_t kind, const void* data, uint32_t size) noexcept nogil
    cdef void end(self, uint32_t end, bint last) noexcept nogil
    cdef int reach(self, uint32_t tail) noexcept nogil
    cdef int populate(self, uint32_t start, uint32_t end) noexcept nogil


@cython.final
cdef class Appender:
    cdef readonly Segment active        # records go here
    cdef readonly Segment ready         # and then here
    cdef readonly Segment retired       # full; waits to be synced
    cdef list left                      # bad ones, given up
    cdef readonly uint32_t hold         # bytes held for the closing record of each opening one
    cdef readonly int64_t held          # opening records whose closing one has not come
    cdef readonly uint64_t appended     # records
    cdef readonly uint64_t refused      # records that found no room
    cdef readonly uint64_t moved        # records written once more, because the sync of their segment failed
    cdef readonly uint64_t stranded     # records that should have been, but were too many

    # 1: the record survives the death of this process. 0: it found no room; nothing was written. Never blocks.
    cdef int append(self, const char* data, Py_ssize_t size) noexcept
    cdef int append_opening(self, const char* data, Py_ssize_t size) noexcept
    cdef int append_closing(self, const char* data, Py_ssize_t size) noexcept
    cpdef void let_go(self) noexcept

    cdef int _put(self, Kind kind, const char* data, Py_ssize_t size) noexcept
    cdef Segment _choose(self, uint32_t need, int64_t held)
    cdef void _rotate(self) noexcept
    cdef int _move(self) except -1
    cdef void _copy(self, Segment source) noexcept


cpdef bytes id_bytes(str id)
