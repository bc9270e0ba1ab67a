"""One pass over JSON text without building it: is it valid, and where are the few parts a gateway must know.

    text --scan_frame--> valid? + FrameFacts     one data payload of a stream, about 200 bytes, on the relay's path
    text --Fields------> byte spans              one request body: the decision fields of its top-level object

Offsets are bytes. Nothing here allocates, recurses or raises on the C side, so it runs without the interpreter lock.
"""

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
