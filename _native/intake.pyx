"""A listening socket, served in turns. See intake.pyi for the contract, intake.pxd for the shape."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, errno
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memchr, memcmp, memcpy
from libc.stdlib cimport atoll

from _native.transport cimport Latecomer, Poller, Transport, seconds

import os

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    """

cdef extern from "<string.h>" nogil:
    void* memmem(const void* text, size_t size, const void* part, size_t length)

cdef extern from "<strings.h>" nogil:
    int strncasecmp(const char* one, const char* other, size_t size)

cdef extern from "<sys/epoll.h>" nogil:
    enum:
        EPOLLIN
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL

cdef extern from "<sys/socket.h>" nogil:
    enum:
        AF_INET
        AF_INET6
        MSG_DONTWAIT
        MSG_MORE
        MSG_NOSIGNAL
        SOCK_CLOEXEC
        SOCK_NONBLOCK

    ctypedef unsigned int socklen_t

    cdef struct sockaddr:
        pass

    cdef struct sockaddr_storage:
        unsigned short ss_family

    int accept4(int fd, sockaddr* address, socklen_t* size, int flags)
    ssize_t recv(int fd, void* buffer, size_t size, int flags)
    ssize_t send(int fd, const void* data, size_t size, int flags)
    int getsockopt(int fd, int level, int name, void* value, socklen_t* size)

cdef extern from "<netinet/in.h>" nogil:
    enum:
        IPPROTO_TCP
        INET6_ADDRSTRLEN

    cdef struct sockaddr_in:
        uint16_t sin_port
        unsigned int sin_addr

    cdef struct sockaddr_in6:
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        unsigned char sin6_addr[16]
        uint32_t sin6_scope_id

    uint16_t ntohs(uint16_t number)
    uint32_t ntohl(uint32_t number)

cdef extern from "<netinet/tcp.h>" nogil:
    enum:
        TCP_INFO

    cdef struct tcp_info:
        uint32_t tcpi_unacked

cdef extern from "<time.h>" nogil:
    cdef struct timespec:
        long tv_sec
        long tv_nsec

    enum:
        CLOCK_THREAD_CPUTIME_ID

    int clock_gettime(int clock, timespec* now)

cdef extern from "<arpa/inet.h>" nogil:
    const char* inet_ntop(int family, const void* address, char* text, socklen_t size)

cdef extern from "<unistd.h>" nogil:
    int close(int fd)

cdef enum:
    READ_SIZE = 65536
    LEAST = 4                           # connections taken in a turn of an overload, if as many come
    ID_SIZE = 36

#: The share of a calm turn that new connections may take, however long it is; the seconds within which a queue that is
#: no overload will be empty (4,096 callers who come at once and stay, asking again and again, are all in after 1.3);
#: and the share turned away below which an overload is over: at nine tenths of what can be served bursts alone make it
#: one in fifteen.
cdef double NEW_SHARE = 0.125
cdef double WORKED_OFF = 2.0
cdef double ENOUGH = 0.1


cdef double own_seconds() noexcept:
    """What this thread had of the CPU."""
    cdef timespec spent
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent)
    return spent.tv_sec + spent.tv_nsec * 1e-9


cdef class Pace:

    def __cinit__(
        self, Py_ssize_t ceiling, double slice, double patience, double interval, double bearable
    ):
        self.ceiling = ceiling
        self.slice = slice
        self.patience = patience
        self.interval = interval
        self.bearable = bearable


cdef class Overload:

    def __cinit__(self, double interval, double bearable):
        self.interval = interval
        self.bearable = bearable

    cpdef void note(self, double now, Py_ssize_t taken, Py_ssize_t refused, Py_ssize_t waiting):
        if waiting == 0 and not self.active:
            self.since = 0
            return
        if self.since == 0:
            self._look(now, waiting)
            return
        self.taken += taken
        self.refused += refused
        self.least = min(self.least, waiting)
        if now - self.since >= self.interval:
            if self.active:
                self.active = self.refused > ENOUGH * (self.taken + self.refused)
            else:
                self.active = self._is_too_much(now - self.since, waiting)
            self._look(now, waiting)

    cpdef void rest(self):
        if not self.active:
            self.since = 0

    cdef void _look(self, double now, Py_ssize_t waiting):
        self.since = now
        self.first = self.least = waiting
        self.taken = self.refused = 0

    cdef bint _is_too_much(self, double passed, Py_ssize_t waiting):
        # How long they wait, by Little's law: what waits, over how fast it goes.
        cdef bint unbearable = self.least * passed > self.bearable * max(self.taken, 1)
        cdef bint worked_off = (self.first - waiting) * WORKED_OFF > waiting * passed
        return unbearable and not worked_off


cdef class Refusal:

    def __cinit__(self, bytes text, bytes place):
        cdef Py_ssize_t at = text.find(place)
        if len(place) != ID_SIZE or at < 0 or b"\r\n\r\n" not in text:
            raise ValueError("an answer has a head and a place for the request's id")
        self.text = text
        self.head = text.find(b"\r\n\r\n") + 4
        self.places = []
        while at >= 0:
            self.places.append(at)
            at = text.find(place, at + 1)

    cdef bytes about(self, bytes id, bint body):
        cdef bytes text = PyBytes_FromStringAndSize(
            PyBytes_AS_STRING(self.text), PyBytes_GET_SIZE(self.text) if body else self.head
        )
        cdef Py_ssize_t at
        for at in self.places:
            if at < PyBytes_GET_SIZE(text):
                memcpy(PyBytes_AS_STRING(text) + at, PyBytes_AS_STRING(id), ID_SIZE)
        return text


cdef class Intake(Latecomer):

    def __cinit__(self, Poller poller, int fd, object protocol, object owner, Pace pace):
        self.poller = poller
        self.fd = fd
        self.protocol = protocol
        self.owner = owner
        self.pace = pace
        self.overload = Overload(pace.interval, pace.bearable)
        self.refused = []
        self.first = ()
        self.answers = ()
        self.stem = b"req_" + os.urandom(8).hex().encode()
        poller.latecomers.append(self)

    def set_answers(self, tuple first not None, tuple answers not None):
        self.first = first
        self.answers = answers

    def resume(self):
        if not self.watched:
            self.poller._watch(self, EPOLLIN, EPOLL_CTL_ADD)
            self.watched = True

    def pause(self):
        self.due = False
        self.overload.rest()
        if self.watched:
            self.watched = False
            self.poller._watch(self, 0, EPOLL_CTL_DEL)

    def take_all(self):
        self.room = self.owner.room()
        while self._accept(True) == ONE:
            pass

    def close(self):
        self.pause()
        self.fd = -1
        self.poller.loop.call_soon(self.poller.latecomers.remove, self)

    def ease(self):
        if self.overload.active:
            self._note(seconds(), 0, 0, 0)

    def judge(self, bytes data not None):
        if not self.overload.active or self._is_first(data):
            return None
        id = self._id()
        self._note(seconds(), 0, 1, 0)
        return id.decode(), self._refusal(data).about(id, not data.startswith(b"HEAD "))

    cdef void _serve(self, uint32_t happened):
        self.due = self.watched

    cdef void _turn(self, double began):
        try:
            self.room = self.owner.room()
            if self.room <= 0:
                self.owner.pause()
                return
            self._take(began)
        except Exception as error:
            self.poller.loop.call_exception_handler({"message": "accepting failed", "exception": error})
        if self.refused:
            refused, self.refused = self.refused, []
            self.owner.turned_away(refused)

    cdef void _take(self, double began):
        cdef bint overloaded = self.overload.active
        cdef double now = seconds(), until
        cdef Py_ssize_t taken = 0, refused = 0, waiting = 0, least = LEAST if overloaded else 1
        cdef Taken what = ONE
        until = began + self.pace.slice if overloaded else now + max(self.pace.slice, (now - began) * NEW_SHARE)
        while what == ONE and self.stale <= 0 and (taken < least or now < until):
            what = self._accept(True)
            taken += what == ONE
            now = seconds()
        if overloaded and what == ONE and self.stale <= 0 and not self._is_impatient(now):
            overloaded = False
        # As long as has been served: half of the time is the most that turning away may take.
        until = now + max(self.pace.slice, now - began)
        while what == ONE and overloaded and now < until:
            what = self._accept(False)
            refused += what == ONE
            self.stale -= 1
            now = seconds()
        if what == STOPPED:
            return
        if what == NONE:
            self.due = False
            self.standing = self.stale = 0
        elif self.answers:
            waiting = self._waiting()
        self._note(now, taken, refused, waiting)

    cdef bint _is_impatient(self, double now):
        """Whether the queue stands for so long that those in it are turned away. Sooner would be too soon: well below
        what can be served bursts make it stand for a turn or two."""
        if self.standing == 0:
            self.standing = now
        return now - self.standing >= self.pace.patience

    cdef void _note(self, double now, Py_ssize_t taken, Py_ssize_t refused, Py_ssize_t waiting):
        cdef Overload overload = self.overload
        cdef bint was = overload.active
        if overload.since != 0 or waiting:
            self._look_out(now)
        overload.note(now, taken, refused, waiting)
        if overload.active and not was:
            self.stale = waiting
        elif was and not overload.active:
            self.stale = 0

    cdef void _look_out(self, double now):
        """A queue that grew while others had the CPU says nothing yet: it may be worked off."""
        cdef double own = own_seconds()
        if (now - self.noted) - (own - self.own) > self.pace.bearable:
            self.overload.rest()
        self.noted = now
        self.own = own

    cdef Py_ssize_t _waiting(self):
        """Connections in the kernel's queue; 0 where it does not say (Unix sockets): it is never an overload then."""
        cdef tcp_info info
        cdef socklen_t size = sizeof(info)
        info.tcpi_unacked = 0
        if getsockopt(self.fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0:
            return 0
        return info.tcpi_unacked

    cdef Taken _accept(self, bint admits):
        cdef sockaddr_storage address
        cdef socklen_t size = sizeof(address)
        cdef int fd
        if self.room <= 0:
            self.owner.pause()
            return STOPPED
        fd = accept4(self.fd, <sockaddr*> &address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd < 0:
            if errno == EAGAIN:
                return NONE
            if errno == ECONNABORTED or errno == EINTR:
                return ONE
            self.owner.wait(os.strerror(errno))
            return STOPPED
        if admits:
            self._admit(fd, _address(&address), None, False)
        else:
            self._turn_away(fd, _address(&address))
        if fd >= self.pace.ceiling:
            self.owner.wait("few descriptors are left; raise the limit of open files")
            return STOPPED
        return ONE

    cdef void _admit(self, int fd, object address, bytes data, bint doubted):
        """data: what was read already, None: nothing. doubted: what comes first on it may be turned away."""
        cdef Transport transport
        self.room -= 1
        protocol = self.protocol()
        transport = self.poller.attach(fd, protocol, address)
        if transport.doomed:
            return
        try:
            if doubted:
                protocol.doubt()
            if data is not None:
                protocol.data_received(data)
            elif not doubted:
                transport._serve(EPOLLIN)  # its request is here as a rule
        except Exception as error:
            self.poller._report(transport, error)
        if self.poller.corked:
            self.poller._uncork()

    cdef void _turn_away(self, int fd, object address):
        cdef char* buffer = self.poller.buffer
        cdef ssize_t size = recv(fd, buffer, READ_SIZE, MSG_DONTWAIT)
        cdef bytes data, id, answer
        if size <= 0:
            if size < 0 and errno == EAGAIN:
                self._admit(fd, address, None, True)
            else:
                close(fd)  # it left
            return
        data = PyBytes_FromStringAndSize(buffer, min(size, 64))
        if self._is_first(data) or not _is_whole(buffer, size):
            # Who is still sending must be listened to for a while, else he never reads his answer.
            self._admit(fd, address, PyBytes_FromStringAndSize(buffer, size), True)
            return
        id = self._id()
        answer = self._refusal(data).about(id, not data.startswith(b"HEAD "))
        # The end of the connection goes out in the same packet.
        send(fd, PyBytes_AS_STRING(answer), PyBytes_GET_SIZE(answer), MSG_NOSIGNAL | MSG_MORE)
        close(fd)
        self.refused.append((id.decode(), address))

    cdef bint _is_first(self, bytes data):
        for beginning in self.first:
            if data.startswith(beginning):
                return True
        return False

    cdef Refusal _refusal(self, bytes data):
        for beginning, refusal in self.answers:
            if data.startswith(beginning):
                return refusal
        raise RuntimeError("there is no answer for those who are turned away")

    cdef bytes _id(self):
        self.number += 1
        return self.stem + b"%016x" % self.number


cdef object _address(const sockaddr_storage* address):
    """As the socket module gives it; None for a Unix socket's."""
    cdef char text[INET6_ADDRSTRLEN]
    cdef const sockaddr_in* four = <const sockaddr_in*> address
    cdef const sockaddr_in6* six = <const sockaddr_in6*> address
    cdef int family = address.ss_family
    if family == AF_INET:
        inet_ntop(AF_INET, &four.sin_addr, text, INET6_ADDRSTRLEN)
        return text.decode("ascii"), ntohs(four.sin_port)
    if family == AF_INET6:
        inet_ntop(AF_INET6, &six.sin6_addr, text, INET6_ADDRSTRLEN)
        return text.decode("ascii"), ntohs(six.sin6_port), ntohl(six.sin6_flowinfo), six.sin6_scope_id
    return None


cdef bint _is_whole(const char* data, Py_ssize_t size):
    """Whether this is a request with all of its body. Only a hint: a wrong one costs the caller his answer."""
    cdef const char* end = <const char*> memmem(data, size, b"\r\n\r\n", 4)
    cdef const char* line = data
    cdef long long length = 0
    if end == NULL:
        return False
    while True:
        line = <const char*> memchr(line, 10, end - line)
        if line == NULL:
            break
        line += 1
        if (line[0] | 32) == 99 and end - line > 15 and strncasecmp(line, "content-length:", 15) == 0:
            length = atoll(line + 15)
        elif (line[0] | 32) == 116 and end - line > 18 and strncasecmp(line, "transfer-encoding:", 18) == 0:
            return size >= 5 and memcmp(data + size - 5, b"0\r\n\r\n", 5) == 0
    return data + size - end - 4 >= length
