"""HTTP/1.1 messages without I/O: bytes in, body bytes out, the head as attributes. One machine for both directions.

    HEAD --blank line--> BODY_LENGTH | BODY_CHUNK_SIZE | BODY_UNTIL_EOF | DONE
    BODY_CHUNK_SIZE -> BODY_CHUNK_DATA -> BODY_CHUNK_END -> BODY_CHUNK_SIZE ... -> TRAILERS -> DONE
"""


from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy


cdef enum ParserState:
    HEAD
    BODY_LENGTH
    BODY_UNTIL_EOF
    BODY_CHUNK_SIZE
    BODY_CHUNK_DATA
    BODY_CHUNK_END
    TRAILERS
    DONE


cdef enum:
    MOST_LINES = 64


cdef struct Lines:
    int count
    Py_ssize_t ends[MOST_LINES]     # of the first lines of a head, line ends included
    uint64_t known                  # bit n: line n is what it was in the head before


cpdef bytes length_field(long long size)
cpdef bytes write_request(bytes fixed, bytes fields, long long length, bytes body)
cpdef bytes write_fields(bytes name, bytes value, dict fields, tuple names)

cdef inline char* put(char* out, bytes piece) noexcept:
    memcpy(out, PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))
    return out + PyBytes_GET_SIZE(piece)


cdef class FieldNames:
    cdef tuple names                    # those that HTTP itself reads before the others
    cdef uint64_t lengths               # bit n: some name has n bytes
    cdef short first[64]                # chains of names that share a slot; -1 ends one
    cdef short next[69]

    cdef bytes find(self, const unsigned char* name, Py_ssize_t size)


cdef class MessageParser:
    cdef FieldNames known               # names that are kept
    cdef bint keeps_all                 # and every other field too
    cdef readonly bint head_done
    cdef readonly bint done
    cdef readonly bint keep_alive       # the connection may carry another exchange once `done`
    cdef readonly long long length      # declared Content-Length, -1 when there is none
    cdef ParserState state
    cdef bytearray held                 # an unfinished line or head, None when there is none
    cdef Py_ssize_t scanned             # how far `held` was searched
    cdef long long remaining            # body or chunk bytes still to come
    cdef Py_ssize_t trailer_bytes
    cdef Py_ssize_t extension_bytes     # of all chunk-size lines
    cdef bint http10
    cdef bytes coding                   # Transfer-Encoding, lower case
    cdef bytes connection               # Connection, lower case, values joined
    # The head before this one. Whoever uses a connection again mostly sends the same lines again, so a line is first
    # compared with the one that stood in its place: of 19 lines of an SDK's request two differ as a rule.
    cdef bytes head                     # its start line and field lines as they came, b"" when there is none
    cdef bint keeps_head                # it is asked for, too
    cdef list said                      # (name, value) of each line, None: nothing that is kept
    cdef int n_lines                    # of it, at most MOST_LINES
    cdef unsigned short ends[MOST_LINES]

    cpdef bytes feed(self, bytes data)

    # process: one step of the table above; returns the new position in the input
    cdef Py_ssize_t _process_head(self, bytes data, const unsigned char* p, Py_ssize_t at, Py_ssize_t size) except -1
    cdef Py_ssize_t _process_line(self, bytes data, const unsigned char* p, Py_ssize_t at, Py_ssize_t size) except -1
    cdef Py_ssize_t _process_excess(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1

    cdef int _check_prefix(self) except -1

    # what the head before this one has in common with it
    cdef int _remember(self, Py_ssize_t size, const Lines* lines) except -1
    cdef void _forget(self) noexcept

    # parse: a complete piece
    cdef int _parse_head(self, const unsigned char* p, Py_ssize_t size, const Lines* lines) except -1
    cdef int _parse_start(self, const unsigned char* p, Py_ssize_t size, bint known) except -1
    cdef int _parse_line(self, int line, const unsigned char* p, Py_ssize_t size) except -1
    cdef tuple _parse_field(self, const unsigned char* p, Py_ssize_t size)
    cdef int _parse_chunk_size(self, const unsigned char* p, Py_ssize_t size) except -1

    # take: what a complete piece means
    cdef int _begin_fields(self, bint alike) except -1
    cdef int _take_field(self, tuple field, bint known) except -1
    cdef int _replace_field(self, int line, tuple field) except -1
    cdef int _note_framing(self, bytes name, bytes value) except -1
    cdef int _take_head(self) except -1
    cdef int _choose_persistence(self) except -1
    cdef int _begin_body(self) except -1


cdef class ResponseParser(MessageParser):
    cdef readonly int status
    cdef readonly list headers          # [(lower-case name, value)] in order of arrival
    cdef readonly Py_ssize_t excess     # bytes after the end of the message
    cdef int interim

    cpdef void reset(self)
    cpdef bint eof(self) except -1


cdef class RequestParser(MessageParser):
    cdef readonly bytes method
    cdef readonly bytes target          # path and query as sent, in origin form
    cdef readonly dict fields           # lower-case name -> last value
    cdef readonly bint repeated         # some name occurs twice
    cdef readonly bint expects_continue
    cdef readonly bytes rest            # what followed the message: the next request
    cdef bint resolved                  # the target is not as it was sent
    cdef bint repeated_before           # as `repeated`, of the head before
    cdef bint patches                   # `fields` are those of the head before, with other values

    cpdef list values(self, bytes name)
    cpdef void reset(self)
    cdef int _put(self, tuple field) except -1
    cdef int _resolve_target(self) except -1
