"""The outbox as its writer and its readers see it. See outbox.pyi for the contract, outbox.h for the bytes.

Concurrency: everything here holds the interpreter lock but for the sync, the mapping and the first touch of pages, so
an append and what the sync thread does to an Appender never overlap inside one process.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_SetFromErrno
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.errno cimport EINVAL, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.unistd cimport _SC_PAGESIZE, close, fdatasync, pwrite, sysconf

cdef extern from "<sys/mman.h>" nogil:
    int MS_SYNC
    int madvise(void* start, size_t size, int advice)
    int msync(void* start, size_t size, int flags)

cdef extern from "outbox.h" nogil:
    ctypedef struct fpo_record:
        const uint8_t* payload
        uint32_t size
        uint32_t word

    enum:
        FPO_SEAL
        FPO_FIRST
        FPO_HEAD
        FPO_ALIGN
        FPO_MOST
        FPO_LARGEST
        FPO_NUMBERS
        FPO_NOTHING
        FPO_CUT
        FPO_DAMAGED

    uint32_t fpo_crc(uint32_t crc, const void* data, size_t size)
    uint32_t fpo_crc_plain(uint32_t crc, const uint8_t* data, size_t size)
    fpo_key fpo_key_of(uint64_t token, uint32_t sequence)
    uint32_t fpo_padded(uint32_t size)
    void fpo_put(uint8_t* base, uint32_t offset, fpo_key key, uint32_t word, const void* data, uint32_t size)
    int64_t fpo_check(const uint8_t* data, size_t size, uint64_t offset, fpo_key key, fpo_record* record)
    size_t fpo_find(const uint8_t* data, size_t size, uint64_t offset, fpo_key key)
    void fpo_seal(uint8_t* base, fpo_key key, uint32_t end, bint last)
    bint fpo_unseal(uint64_t word, fpo_key key, uint32_t* end, bint* last)

cdef extern from *:
    """
    #include <stdbool.h>
    static inline int fpo_read_seal(uint64_t word, fpo_key key, uint32_t *end, int *last) {
        bool is_last;
        bool whole = fpo_unseal(word, key, end, &is_last);
        *last = is_last;
        return whole;
    }
    """
    bint fpo_read_seal(uint64_t word, fpo_key key, uint32_t* end, int* last) nogil

LAYOUT = 1
SEAL = FPO_SEAL
FIRST = FPO_FIRST
HEAD = FPO_HEAD
ALIGN = FPO_ALIGN
MOST = FPO_MOST
LARGEST = FPO_LARGEST

cdef enum:
    PAGE = 4096             # of files: segments are whole ones, zeros come in them
    POPULATE_WRITE = 23     # MADV_POPULATE_WRITE, Linux 5.14
    NEAR = 1 << 16          # bytes behind the tail that are seen to be writable after each sync
    AHEAD = 1 << 19         # and how far, once less than half of it is left: 20 ms of 13 MB/s then fit

#: Where the kernel syncs and populates memory from: 4, 16 or 64 KiB, a power of two.
cdef uint32_t MEMORY_PAGE = <uint32_t> sysconf(_SC_PAGESIZE)


cdef inline uint32_t page_start(uint32_t offset) noexcept nogil:
    return offset & ~(MEMORY_PAGE - 1)


def crc32c(const uint8_t[::1] data not None, uint32_t value=0):
    return <uint32_t> ~fpo_crc(~value, &data[0], data.shape[0]) if data.shape[0] else value


def crc32c_plain(const uint8_t[::1] data not None, uint32_t value=0):
    return <uint32_t> ~fpo_crc_plain(~value, &data[0], data.shape[0]) if data.shape[0] else value


def parse(const uint8_t[::1] data not None, uint64_t offset, uint64_t token, uint32_t sequence, Py_ssize_t most):
    cdef fpo_key key = fpo_key_of(token, sequence)
    cdef fpo_record record
    cdef int64_t step = FPO_CUT
    cdef size_t size = data.shape[0]
    cdef size_t at = 0
    cdef list found = []
    while at < size and len(found) < most:
        step = fpo_check(&data[at], size - at, offset + at, key, &record)
        if step <= 0:
            break
        at += <size_t> step
        payload = PyBytes_FromStringAndSize(<const char*> record.payload, record.size)
        found.append((record.word & FPO_NUMBERS, payload, offset + at))
    return found, (FPO_CUT if step > 0 else step)


def find(const uint8_t[::1] data not None, uint64_t offset, uint64_t token, uint32_t sequence):
    cdef size_t size = data.shape[0]
    cdef size_t at = fpo_find(&data[0], size, offset, fpo_key_of(token, sequence)) if size else 0
    return offset + at if at < size else -1


def unseal(uint64_t word, uint64_t token, uint32_t sequence):
    cdef uint32_t end
    cdef int last
    return (end, last != 0) if fpo_read_seal(word, fpo_key_of(token, sequence), &end, &last) else None


cdef uint8_t[PAGE] ZEROS


def write_zeros(int fd, uint32_t start, uint32_t end):
    cdef uint32_t at = start
    cdef ssize_t done = 0
    with nogil:
        while at < end and done >= 0:
            # The kernel keeps what one write brought in one piece if it can, of up to 2 MiB, and a sync writes such a
            # piece whole and protects all of its pages: so a page at a time.
            done = pwrite(fd, ZEROS, min(end - at, PAGE - at % PAGE), at)
            at += <uint32_t> max(done, 0)
    if done < 0:
        PyErr_SetFromErrno(OSError)
    return at


cdef class Segment:
    def __init__(self, int fd, uint32_t size, uint64_t token, uint32_t sequence):
        cdef void* base
        if self.base != NULL:
            raise ValueError("a segment is mapped once")
        self.fd = -1
        if size < 2 * PAGE or size % PAGE or size > FPO_LARGEST:
            raise ValueError(f"no segment has {size} bytes")
        with nogil:
            base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
        if base == MAP_FAILED:
            PyErr_SetFromErrno(OSError)
        self.base = <uint8_t*> base
        self.size = size
        self.sequence = sequence
        self.tail = self.durable = FPO_FIRST
        self.key = fpo_key_of(token, sequence)
        with nogil:
            failed = self.reach(0)
        if failed:
            PyErr_SetFromErrno(OSError)
        self.fd = fd

    def __dealloc__(self):
        self.close()

    def close(self):
        cdef uint8_t* base = self.base
        cdef int fd = self.fd
        self.base = NULL
        self.fd = -1
        if base != NULL:
            with nogil:
                munmap(base, self.size)
                if fd >= 0:
                    close(fd)

    @property
    def closed(self):
        return self.base == NULL

    def sync(self):
        cdef uint32_t start = page_start(self.durable)
        cdef uint32_t tail = self.tail
        cdef uint32_t count = self.count
        cdef bint sealed = self.sealed
        if self.bad or self.base == NULL:
            raise ValueError("a segment that is bad or closed cannot be synced")
        with nogil:
            # The sync of a file writes every page that a store was let in to, and lets none in again without a fault.
            # So only what was appended is synced, which leaves the pages ahead as they are; and, once, the seal too.
            failed = fdatasync(self.fd) if sealed else msync(self.base + start, tail - start, MS_SYNC)
        if failed:
            self.bad = True
            PyErr_SetFromErrno(OSError)
        self.durable = tail
        self.durable_count = count
        if not sealed:
            with nogil:
                self.reach(tail)

    def condemn(self):
        self.bad = True
        self.durable = FPO_FIRST
        self.durable_count = 0

    def seal(self, bint last=False):
        if self.base != NULL and not self.sealed:
            self.end(self.tail, last)

    cdef void put(self, uint32_t kind, const void* data, uint32_t size) noexcept nogil:
        """One record more. The caller saw that it fits."""
        self.count += 1
        fpo_put(self.base, self.tail, self.key, kind << 24 | self.count & FPO_NUMBERS, data, size)
        self.tail += fpo_padded(size)

    cdef void end(self, uint32_t end, bint last) noexcept nogil:
        self.sealed = True
        fpo_seal(self.base, self.key, end, last)

    cdef int reach(self, uint32_t tail) noexcept nogil:
        """Takes the faults of the pages that are written next, so that the event loop does not. 0, or -1 with errno.

        What is appended while a sync runs still costs the loop one, and so does what the kernel wrote out by itself.
        """
        cdef uint64_t end = <uint64_t> tail + NEAR
        if self.reached < <uint64_t> tail + AHEAD // 2:
            end = <uint64_t> tail + AHEAD
            self.reached = <uint32_t> min(end, self.size)
        return self.populate(tail, <uint32_t> min(end, self.size))

    cdef int populate(self, uint32_t start, uint32_t end) noexcept nogil:
        """Makes pages writable before they are written. 0, or -1 with errno."""
        cdef uint32_t at = page_start(start)
        cdef volatile uint8_t* byte
        if at >= end or madvise(self.base + at, end - at, POPULATE_WRITE) == 0:
            return 0
        if errno != EINVAL:
            return -1
        if self.fd < 0:  # a kernel older than that, and nobody else knows these pages yet: all of them, now
            while at < self.size:
                byte = self.base + at
                byte[0] = byte[0]
                at += PAGE
        return 0


cdef class Appender:
    def __init__(self, uint32_t hold=512):
        self.hold = fpo_padded(max(hold, <uint32_t> FPO_HEAD) - FPO_HEAD)
        self.left = []

    cdef int append(self, const char* data, Py_ssize_t size) noexcept:
        return self._put(PLAIN, data, size)

    cdef int append_opening(self, const char* data, Py_ssize_t size) noexcept:
        return self._put(OPENING, data, size)

    cdef int append_closing(self, const char* data, Py_ssize_t size) noexcept:
        cdef int done = self._put(CLOSING, data, size)
        self.let_go()
        return done

    cpdef void let_go(self) noexcept:
        if self.held > 0:
            self.held -= 1

    def put(self, bytes data not None):
        return self.append(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)) == 1

    def put_opening(self, bytes data not None):
        return self.append_opening(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)) == 1

    def put_closing(self, bytes data not None):
        return self.append_closing(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)) == 1

    @property
    def roomy(self):
        return self._choose(self.hold, self.held + 1) is not None

    def offer(self, Segment segment not None):
        if self.ready is not None or (self.retired is not None and not self.retired.bad):
            raise ValueError("a segment is ready, or one waits to be synced")
        self.ready = segment
        if self.active is None:
            self._rotate()
        self.mend()

    def mend(self):
        if self.retired is not None and self.retired.bad and self.active is not None:
            self.active.condemn()
        if self.active is not None and self.active.bad and self.ready is not None:
            self._move()

    def take_retired(self):
        cdef Segment taken = None
        if self.left:
            return self.left.pop(0)
        if self.retired is not None and not self.retired.bad and self.retired.durable == self.retired.tail:
            taken = self.retired
            self.retired = None
        return taken

    def detach(self):
        cdef list found = [*self.left, self.retired, self.active, self.ready]
        self.left.clear()
        self.retired = self.active = self.ready = None
        return [segment for segment in found if segment is not None]

    cdef int _put(self, Kind kind, const char* data, Py_ssize_t size) noexcept:
        cdef Segment segment = None
        cdef int64_t held = self.held
        if kind == OPENING:
            held += 1
        elif kind == CLOSING and held > 0:
            held -= 1
        if 0 < size <= FPO_MOST:
            segment = self._choose(fpo_padded(<uint32_t> size), held)
        if segment is None:
            self.refused += 1
            return 0
        if segment is self.ready:
            self._rotate()
        segment.put(kind, data, <uint32_t> size)
        self.held += kind == OPENING
        self.appended += 1
        return 1

    cdef Segment _choose(self, uint32_t need, int64_t held):
        """Where a record of `need` bytes goes, so that `held` closing ones still fit afterwards; None: nowhere.

        A record lies in one segment, so what is left of the active one may go to waste, which is less than one hold.
        """
        cdef Segment active = self.active
        cdef Segment ready = self.ready
        cdef int64_t promised = held * self.hold
        cdef int64_t here = 0 if active is None else active.size - active.tail
        cdef int64_t there = 0 if ready is None else ready.size - FPO_FIRST
        if need <= here:
            if ready is not None:
                promised += self.hold
            return active if promised <= here - need + there else None
        return ready if need + promised <= there else None

    cdef void _rotate(self) noexcept:
        """The ready segment becomes the active one. The old one is sealed before the new one has its first record."""
        if self.active is not None:
            self.active.end(self.active.tail, False)
        self.retired = self.active
        self.active = self.ready
        self.ready = None

    cdef int _move(self) except -1:
        """Goes on in the ready segment, with what bad ones hold beyond their last sync, in its order.

        More than fits stays where it is: whole for readers until the power or the page cache is lost.
        """
        cdef list bad = [segment for segment in (self.retired, self.active) if segment is not None]
        cdef Segment source
        cdef uint64_t need = 0
        for source in bad:
            need += source.tail - source.durable
        self._rotate()
        self.retired = None
        self.left.extend(bad)
        for source in bad:
            if need > self.active.size - FPO_FIRST:
                self.stranded += source.count - source.durable_count
            else:
                self._copy(source)
        return 0

    cdef void _copy(self, Segment source) noexcept:
        """Writes what was not synced of a segment once more, into the active one, and ends it before that."""
        cdef fpo_record record
        cdef uint32_t at = source.durable
        cdef int64_t step
        while at < source.tail:
            step = fpo_check(source.base + at, source.tail - at, at, source.key, &record)
            if step <= 0 or step > self.active.size - self.active.tail:
                break
            self.active.put(record.word >> 24, record.payload, record.size)
            self.moved += 1
            at += <uint32_t> step
        source.end(source.durable if at == source.tail else source.tail, False)


cdef enum:
    NO_NIBBLE = 0x80

#: What a hexadecimal digit stands for, NO_NIBBLE for anything else.
cdef uint8_t[256] NIBBLES = [int(chr(c), 16) if chr(c) in "0123456789abcdefABCDEF" else NO_NIBBLE for c in range(256)]


cpdef bytes id_bytes(str id):
    cdef uint8_t[16] raw
    cdef int i
    cdef uint8_t high, low, wrong = 0
    cdef Py_ssize_t size = 0
    cdef const char* text = PyUnicode_AsUTF8AndSize(id, &size) if id is not None else NULL
    if size != 36 or memcmp(text, b"req_", 4):
        raise ValueError(f"not the id of a request: {id!r}")
    for i in range(16):
        high, low = NIBBLES[<uint8_t> text[4 + 2 * i]], NIBBLES[<uint8_t> text[5 + 2 * i]]
        wrong |= high | low
        raw[i] = high << 4 | low
    if wrong & NO_NIBBLE:
        raise ValueError(f"not the id of a request: {id!r}")
    return <bytes> (<char*> raw)[:16]
