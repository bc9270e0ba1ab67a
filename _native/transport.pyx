"""Sockets on an epoll of our own. See transport.pyi for the contract, transport.pxd for the shape."""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EBADF, EEXIST, EINTR, errno
from libc.stdint cimport uint32_t

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        void* ptr

    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data

    enum:
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
        EPOLL_CTL_MOD
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP

    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event* event)
    int epoll_wait(int epoll, epoll_event* events, int most, int timeout)

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_NOSIGNAL
        SHUT_WR
        SOL_SOCKET
        SO_ERROR

    ctypedef unsigned int socklen_t

    ssize_t recv(int fd, void* buffer, size_t size, int flags)
    ssize_t send(int fd, const void* data, size_t size, int flags)
    int shutdown(int fd, int how)
    int getsockopt(int fd, int level, int name, void* value, socklen_t* size)

cdef extern from "<sys/uio.h>" nogil:
    cdef struct iovec:
        void* iov_base
        size_t iov_len

    ssize_t writev(int fd, const iovec* pieces, int count)

cdef extern from "<unistd.h>" nogil:
    int close(int fd)

#: Events taken in one turn of the loop; bytes one read takes: a firehose then costs the others a turn of 64 KiB each.
cdef enum:
    MOST_EVENTS = 256
    READ_SIZE = 65536
    MOST_PIECES = 64
    HIGH_WATER = 65536
    CORK_SIZE = 16384


cdef extern from "<time.h>" nogil:
    cdef struct timespec:
        long tv_sec
        long tv_nsec

    enum:
        CLOCK_MONOTONIC

    int clock_gettime(int clock, timespec* now)


cdef double seconds() noexcept:
    """CLOCK_MONOTONIC."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + now.tv_nsec * 1e-9


cdef object _os_error(int number):
    return OSError(number, os.strerror(number))


cdef class Watched:

    def __cinit__(self):
        self.fd = -1

    cdef void _serve(self, uint32_t happened):
        pass


cdef class Latecomer(Watched):

    cdef void _turn(self, double began):
        pass


cdef class Poller:

    def __cinit__(self):
        self.epoll = -1

    def __init__(self, loop):
        self.loop = loop
        self.live = set()
        self.doomed = []
        self.corked = []
        self.latecomers = []
        self.buffer = bytearray(READ_SIZE)
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise _os_error(errno)
        loop.add_reader(self.epoll, self._ready)

    def close(self):
        if self.epoll < 0:
            return
        self.loop.remove_reader(self.epoll)
        left = list(self.live)
        for transport in left:
            if (<Transport> transport).fd >= 0:
                close((<Transport> transport).fd)
                (<Transport> transport).fd = -1
            (<Transport> transport).closing = (<Transport> transport).doomed = True
            (<Transport> transport).protocol = None
        self.live.clear()
        if self.serving:
            self.loop.call_soon(left.clear)  # the running batch still has their addresses
        close(self.epoll)
        self.epoll = -1

    cpdef Transport attach(self, int fd, object protocol, object peer=None):
        cdef Transport transport = Transport.__new__(Transport)
        transport.closing = transport.doomed = False
        transport.poller = self
        transport.protocol = protocol
        transport.peer = peer
        transport.fd = fd
        transport.high = HIGH_WATER
        transport.low = HIGH_WATER // 4
        transport.reading = True
        transport.interest = EPOLLIN
        transport.watched = True
        try:
            self._watch(transport, EPOLLIN, EPOLL_CTL_ADD)
        except OSError as error:
            if error.errno != EBADF and error.errno != EEXIST:
                close(fd)
            raise
        self.live.add(transport)
        try:
            protocol.connection_made(transport)
        except Exception as error:
            self._report(transport, error)
        return transport

    def _ready(self):
        """Our epoll has news."""
        cdef epoll_event events[MOST_EVENTS]
        cdef Watched one
        cdef double began = seconds()
        cdef int i, count = epoll_wait(self.epoll, events, MOST_EVENTS, 0)
        # A transport that an earlier event of this batch closed is still there: `live` holds it until the next turn.
        self.serving = True
        try:
            for i in range(count):
                one = <Watched> events[i].data.ptr
                try:
                    one._serve(events[i].events)
                except Exception as error:
                    self._report(<Transport> one, error)
                if self.corked:
                    self._uncork()
            for latecomer in self.latecomers:
                if (<Latecomer> latecomer).due:
                    (<Latecomer> latecomer)._turn(began)
        finally:
            self.serving = False
            self._uncork()

    cdef void _uncork(self):
        """Sends what the callbacks of one event wrote: the head of an answer and its first chunk go out together."""
        while self.corked:  # again, when pause_writing wrote to another
            corked, self.corked = self.corked, []
            for transport in corked:
                (<Transport> transport)._uncork()

    cdef void _report(self, Transport transport, object error):
        """What a protocol raised closes its own connection, whoever made it run."""
        self.loop.call_exception_handler(
            {"message": "a protocol failed", "exception": error, "protocol": transport.protocol}
        )
        transport._doom(error)

    cdef int _watch(self, Watched one, uint32_t interest, int operation) except -1:
        cdef epoll_event event
        event.events = interest
        event.data.ptr = <void*> one
        if epoll_ctl(self.epoll, operation, one.fd, &event) < 0:
            raise _os_error(errno)
        return 0

    cdef void _doom(self, Transport transport, object reason):
        """The transport is lost, and its protocol hears of it in the next turn: it may be calling us now."""
        if not self.doomed:
            self.loop.call_soon(self._bury)
        self.doomed.append((transport, reason))

    def _bury(self):
        doomed, self.doomed = self.doomed, []
        for transport, reason in doomed:
            (<Transport> transport)._lose(reason)


cdef class Transport:

    def __cinit__(self):
        self.closing = self.doomed = True  # until a poller has it

    cpdef write(self, bytes data):
        if data is None:
            raise TypeError("data must be bytes, not None")
        if self.ending:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self.closing or PyBytes_GET_SIZE(data) == 0:
            return
        if self.size:
            self._queue(data, 0)
        elif self.cork is not None:
            self.cork = self.cork + data
            if PyBytes_GET_SIZE(self.cork) > CORK_SIZE:
                self._uncork()
        elif self.poller.serving and PyBytes_GET_SIZE(data) <= CORK_SIZE:
            self.cork = data
            self.poller.corked.append(self)
        else:
            self._send(data)

    cdef void _uncork(self):
        cdef bytes data = self.cork
        self.cork = None
        if data is not None and not self.doomed:
            self._send(data)

    cdef void _send(self, bytes data):
        cdef ssize_t taken
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        taken = send(self.fd, PyBytes_AS_STRING(data), size, MSG_NOSIGNAL)
        if taken == size:
            return
        if taken < 0:
            if errno != EAGAIN and errno != EINTR:
                self._fail(errno)
                return
            taken = 0
        self._queue(data, taken)

    def writelines(self, list pieces not None):
        cdef bytes piece
        if self.ending:
            raise RuntimeError("Cannot call writelines() after write_eof()")
        self._uncork()
        if self.closing:
            return
        for piece in pieces:
            if piece:
                self._append(piece, 0)
        self._flush()
        self._ask_to_pause()

    def write_eof(self):
        if not self.closing and not self.ending:
            self._uncork()
            self.ending = True
            if not self.size:
                shutdown(self.fd, SHUT_WR)

    def can_write_eof(self):
        return True

    def pause_reading(self):
        self.reading = False
        self._update()

    def resume_reading(self):
        if not self.closing:
            self.reading = True
            self._update()

    def is_reading(self):
        return self.reading

    def set_write_buffer_limits(self, high=None, low=None):
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self.high = high
        self.low = low
        self._ask_to_pause()

    def get_write_buffer_size(self):
        return self.size + (PyBytes_GET_SIZE(self.cork) if self.cork is not None else 0)

    def get_extra_info(self, name, default=None):
        return self.peer if name == "peername" and self.peer is not None else default

    def is_closing(self):
        return self.closing

    def close(self):
        if self.closing:
            return
        self._uncork()
        self.closing = True
        self.reading = False
        if self.size:
            self._update()
        else:
            self._doom(None)

    def abort(self):
        self._doom(None)

    cdef void _doom(self, object reason):
        if self.doomed:
            return
        self.doomed = self.closing = True
        self.reading = False
        self.pending = self.cork = None
        self.size = 0
        self.poller._doom(self, reason)

    cdef void _append(self, bytes data, Py_ssize_t offset):
        if self.pending is None:
            self.pending = []
        if not self.pending:
            self.offset = offset
        self.pending.append(data)
        self.size += PyBytes_GET_SIZE(data) - offset

    cdef void _queue(self, bytes data, Py_ssize_t offset):
        self._append(data, offset)
        self._update()
        self._ask_to_pause()

    cdef void _ask_to_pause(self):
        if self.size > self.high and not self.full:
            self.full = True
            try:
                self.protocol.pause_writing()
            except Exception as error:
                self.poller._report(self, error)

    cdef void _ask_to_resume(self):
        if self.full and self.size <= self.low:
            self.full = False
            try:
                self.protocol.resume_writing()
            except Exception as error:
                self.poller._report(self, error)

    cdef void _serve(self, uint32_t happened):
        """What epoll has to say of this socket."""
        if happened & EPOLLOUT and not self.doomed:
            self._flush()
        if self.doomed:
            return
        if self.reading:
            if happened & (EPOLLIN | EPOLLERR | EPOLLHUP):
                self._read()
        elif happened & EPOLLERR:
            self._fail(0)
        elif happened & EPOLLHUP:
            # The other end is gone, in good order. What it sent may wait for us to read on; epoll would not.
            self.watched = False
            self.poller._watch(self, 0, EPOLL_CTL_DEL)

    cdef void _read(self):
        cdef char* buffer = self.poller.buffer
        cdef ssize_t size = recv(self.fd, buffer, READ_SIZE, 0)
        if size > 0:
            self.protocol.data_received(PyBytes_FromStringAndSize(buffer, size))
        elif size == 0:
            self.reading = False
            if self.protocol.eof_received():
                self._update()
            else:
                self.close()
        elif errno != EAGAIN and errno != EINTR:
            self._fail(errno)

    cdef void _flush(self):
        """Gives the kernel what it takes of what is pending."""
        cdef iovec vector[MOST_PIECES]
        cdef Py_ssize_t count, i, left
        cdef ssize_t taken
        cdef bytes piece
        while self.size:
            count = min(len(self.pending), MOST_PIECES)
            for i in range(count):
                piece = <bytes> self.pending[i]
                left = self.offset if i == 0 else 0
                vector[i].iov_base = PyBytes_AS_STRING(piece) + left
                vector[i].iov_len = PyBytes_GET_SIZE(piece) - left
            taken = writev(self.fd, vector, <int> count)
            if taken < 0:
                if errno == EAGAIN or errno == EINTR:
                    break
                self._fail(errno)
                return
            self.size -= taken
            self.offset += taken
            i = 0
            while i < count and self.offset >= PyBytes_GET_SIZE(<bytes> self.pending[i]):
                self.offset -= PyBytes_GET_SIZE(<bytes> self.pending[i])
                i += 1
            del self.pending[:i]
        self._update()
        self._ask_to_resume()
        if self.size == 0 and not self.doomed:
            if self.closing:
                self._doom(None)
            elif self.ending:
                shutdown(self.fd, SHUT_WR)

    cdef void _update(self):
        """Tells epoll what we want to hear of, when that changed."""
        cdef uint32_t interest = (EPOLLIN if self.reading else 0) | (EPOLLOUT if self.size else 0)
        if interest != self.interest and self.fd >= 0:
            self.interest = interest
            self.poller._watch(self, interest, EPOLL_CTL_MOD if self.watched else EPOLL_CTL_ADD)
            self.watched = True

    cdef void _fail(self, int number):
        """The connection broke. number: errno, 0 to ask the socket for its own."""
        cdef socklen_t size = sizeof(int)
        if number == 0:
            getsockopt(self.fd, SOL_SOCKET, SO_ERROR, &number, &size)
        self._doom(_os_error(number) if number else None)

    cdef void _lose(self, object reason):
        protocol, self.protocol = self.protocol, None
        if self.fd >= 0:
            # Not left to close: while a child process has a copy, epoll would go on reporting what is freed here.
            epoll_ctl(self.poller.epoll, EPOLL_CTL_DEL, self.fd, NULL)
            close(self.fd)
            self.fd = -1
        self.poller.live.discard(self)
        if protocol is not None:
            try:
                protocol.connection_lost(reason)
            except Exception as error:
                self.poller.loop.call_exception_handler(
                    {"message": "a protocol failed", "exception": error, "protocol": protocol}
                )
