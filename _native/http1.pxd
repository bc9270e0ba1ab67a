"""An HTTP/1.1 response parser without I/O: bytes in, body bytes out, the head as attributes.

    HEAD --blank line--> BODY_LENGTH | BODY_CHUNK_SIZE | BODY_UNTIL_EOF | DONE
    BODY_CHUNK_SIZE -> BODY_CHUNK_DATA -> BODY_CHUNK_END -> BODY_CHUNK_SIZE ... -> TRAILERS -> DONE
"""


cdef enum ParserState:
    HEAD
    BODY_LENGTH
    BODY_UNTIL_EOF
    BODY_CHUNK_SIZE
    BODY_CHUNK_DATA
    BODY_CHUNK_END
    TRAILERS
    DONE


cdef class ResponseParser:
    cdef readonly int status
    cdef readonly list headers          # [(lower-case name, value)] in order of arrival
    cdef readonly bint head_done
    cdef readonly bint done
    cdef readonly bint keep_alive       # the connection may carry another exchange once `done`
    cdef readonly long long length      # declared Content-Length, -1 when there is none
    cdef readonly Py_ssize_t excess     # bytes after the end of the message
    cdef ParserState state
    cdef bytearray held                 # an unfinished line or head
    cdef Py_ssize_t scanned             # how far `held` was searched
    cdef long long remaining            # body or chunk bytes still to come
    cdef Py_ssize_t trailer_bytes
    cdef int interim
    cdef bint http10

    cpdef bytes feed(self, bytes data)
    cpdef bint eof(self) except -1

    # process: one step of the table above; returns the new position in the input
    cdef Py_ssize_t _process_head(self, bytes data, const unsigned char* p, Py_ssize_t at, Py_ssize_t size) except -1
    cdef Py_ssize_t _process_line(self, bytes data, const unsigned char* p, Py_ssize_t at, Py_ssize_t size) except -1

    # parse: a complete piece
    cdef int _parse_head(self, const unsigned char* p, Py_ssize_t size) except -1
    cdef int _parse_status(self, const unsigned char* p, Py_ssize_t size) except -1
    cdef int _parse_field(self, const unsigned char* p, Py_ssize_t size) except -1
    cdef int _parse_chunk_size(self, const unsigned char* p, Py_ssize_t size) except -1
    cdef int _choose_framing(self) except -1
