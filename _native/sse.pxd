"""Server-sent events (WHATWG HTML 9.2) as bytes: where a frame ends, and where its data is.

    stream --frame_end--> whole frames --frame_data--> the span of one data line, or "join it yourself"

A frame is everything up to and including the blank line that ends it; a line ends in LF, CRLF or CR. Frames put end to
end are the stream, byte for byte.
"""


# Index just past the first blank line in [start, size) that ends a frame, or -1 when none does.
# `state` belongs to one stream: 0 at its start, carried from call to call whether the bytes between calls are moved,
# copied or in another buffer; only [start, size) is looked at. When a CR is the last byte of the buffer its line ends
# there, and an LF that opens the next call belongs to it: it never ends a frame of its own, so it may be the first byte
# of the next frame.
cdef Py_ssize_t frame_end(const unsigned char* p, Py_ssize_t start, Py_ssize_t size, int* state) noexcept nogil

# What one whole frame carries: 0 no data field, 1 one data line, whose value is [start, end) (one leading space
# removed), 2 several data lines, of which the span is the first (join_data joins them). `event_is_error` says whether
# an event field has the value "error". A blank line before the fields is skipped; a byte order mark is the caller's.
cdef int frame_data(const unsigned char* p, Py_ssize_t size, Py_ssize_t* start, Py_ssize_t* end,
                    int* event_is_error) noexcept nogil
