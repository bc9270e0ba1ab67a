"""One pass over JSON text without building it: is it valid, and where are the few parts a gateway must know.

    text --scan_frame--> valid? + FrameFacts     one data payload of a stream, about 200 bytes, on the relay's path
    text --Fields------> byte spans              one request body: the decision fields of its top-level object

Offsets are bytes. Nothing here allocates, recurses or raises on the C side, so it runs without the interpreter lock.
"""

from libc.stdint cimport uint64_t

cpdef enum:
    FRAME_USAGE = 1  # top-level "usage" present and not null
    FRAME_ERROR = 2  # top-level "error" present, neither null nor false
    FRAME_NO_CHOICES = 4  # top-level "choices" is an empty array
    FRAME_FINISHED = 8  # some choices[i].finish_reason is not null
    FRAME_CONTENT = 16  # top-level "choices" is a non-empty array


cdef struct FrameFacts:
    int flags
    Py_ssize_t type_start  # content of the top-level string "type", without its quotes; -1 when there is none
    Py_ssize_t type_end
    Py_ssize_t usage_start  # value of the top-level "usage"; -1 when there is none or it is null
    Py_ssize_t usage_end


# Returns -1 when the bytes are one valid JSON value with only whitespace around it, else the offset of the first
# offending byte (`size` when the text ends too early); the facts then cover only what came before.
cdef Py_ssize_t scan_frame(const unsigned char* p, Py_ssize_t size, FrameFacts* facts) noexcept nogil


cdef struct Found:
    unsigned int seen  # bit i: field i occurred in some spelling
    unsigned int exact  # bit i: it occurred in its own spelling, with its value at [start, end)
    int duplicate  # the first field that occurred twice, -1 when none
    int misspelt  # the first field in another letter case or with escapes, -1 when none
    bint plain  # the dialogue is an array of objects, each with one string `role` and one string `content`
    Py_ssize_t duplicate_at
    Py_ssize_t misspelt_at
    Py_ssize_t start[26]
    Py_ssize_t end[26]


cdef class Fields:
    cdef tuple names
    cdef tuple spelt  # keeps the bytes alive that `name` points into
    cdef dict index
    cdef const unsigned char* name[26]
    cdef Py_ssize_t length[26]
    cdef int count
    cdef int dialogue
    cdef unsigned int bulky
    cdef uint64_t lengths[2]  # bit n: some name is n bytes long

    cdef int find(self, const unsigned char* key, Py_ssize_t length) noexcept nogil
    cdef void note(self, const unsigned char* p, Py_ssize_t start, Py_ssize_t end, Py_ssize_t value,
                   Py_ssize_t value_end, Found* found) noexcept nogil
    cdef Py_ssize_t walk(self, const unsigned char* p, Py_ssize_t pos, Py_ssize_t size, Found* found) noexcept nogil
    cpdef Members read(self, bytes body)


cdef class Members:
    cdef Found found
    cdef Fields fields
    cdef bytes body
    cdef readonly Py_ssize_t opening

    cdef int index(self, str name) except -2
    cpdef tuple span(self, str name)
    cpdef int first(self, str name) except -2
    cpdef bytes text(self, str name)
    cpdef bytes small(self)


cpdef tuple frame_facts(bytes data)


cdef class Numbers:
    cdef tuple outer  # the bytes of each path's first name
    cdef tuple inner  # of its second, b"" when it has none
    cdef bytes foreign  # how no name may begin
    cdef int count
    cdef int told  # of them, those whose numbers are wanted: of the others none may count anything

    cdef Py_ssize_t walk(self, const unsigned char* p, Py_ssize_t pos, Py_ssize_t size, bytes parent,
                         long long* values) except -2
    cpdef tuple read(self, bytes text)
