"""TLS over a transport of ours. See tls.pyi for the contract, tls.pxd for the shape."""

from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from _native.transport cimport Transport

from ssl import MemoryBIO, SSLError, SSLWantReadError

#: The most plaintext that a record carries, bytes (RFC 8446, 5.1): given less room, OpenSSL keeps what is left of one.
#: Also how much a BIO is given at once: it keeps the room it once had, four thirds of that, for as long as it lives.
cdef enum:
    RECORD = 16384


cdef class Secure:

    def __cinit__(self):
        self.closing = True  # until the handshake is done

    def __init__(self, context, str name not None, protocol, established):
        self.protocol = protocol
        self.established = established
        self.incoming = MemoryBIO()
        self.outgoing = MemoryBIO()
        self.session = context.wrap_bio(self.incoming, self.outgoing, server_side=False, server_hostname=name)
        # What SSLObject wraps, if it says so: its own read is a frame of Python, 660 of the 10,470 instructions that
        # reading a record of 210 bytes takes.
        inner = getattr(self.session, "_sslobj", self.session)
        self.feed = self.incoming.write
        self.decrypt = inner.read
        self.encrypt = inner.write

    # -- from the transport

    def connection_made(self, Transport transport not None):
        self.transport = transport
        self.data_received(b"")

    def data_received(self, bytes data not None):
        cdef Py_ssize_t at, size = PyBytes_GET_SIZE(data)
        cdef list plain = []
        if self.transport is None:
            raise RuntimeError("no transport has it")
        if size <= RECORD:
            self._take(data, plain)
        else:
            for at in range(0, size, RECORD):
                self._take(data[at:at + RECORD], plain)
        self._say()
        if plain and not self.closing:
            self.protocol.data_received(plain[0] if len(plain) == 1 else b"".join(plain))
        if self.failure is not None:
            self._give_up(self.failure)
        elif self.ended and not self.closing:
            self.protocol.eof_received()
            self.close()

    def eof_received(self):
        """The connection ended below TLS: anyone on the way can do that."""
        if self.established is not None:
            self._give_up(ConnectionResetError("the connection was closed during the TLS handshake"))
        elif not self.closing:
            self.protocol.eof_received()  # which returns true in vain
            self._give_up(ConnectionAbortedError("the connection ended without a close_notify"))
        return False

    def connection_lost(self, exc):
        cdef object reason = self.failure if self.failure is not None else exc
        if self.ended and isinstance(exc, OSError):
            reason = None  # all that they had to say is here
        protocol, established = self.protocol, self.established
        self.closing = True
        self.protocol = self.established = None
        # Whoever still knows of this need not keep OpenSSL's tens of kilobytes.
        self.session = self.incoming = self.outgoing = self.feed = self.decrypt = self.encrypt = None
        if established is None:
            protocol.connection_lost(reason)
        elif not established.done():
            established.set_exception(reason or ConnectionResetError("the connection was lost in the TLS handshake"))

    def pause_writing(self):
        self.full = True
        if self.established is None:
            self.protocol.pause_writing()

    def resume_writing(self):
        self.full = False
        if self.muted:
            self.muted = False
            if not self.paused:
                self.transport.resume_reading()
        if self.established is None:
            self.protocol.resume_writing()

    # -- from the protocol

    cpdef write(self, bytes data):
        cdef list records
        if data is None:
            raise TypeError("data must be bytes, not None")
        if self.closing or PyBytes_GET_SIZE(data) == 0:
            return
        records = []
        if self._write_records(data, records):
            if len(records) == 1:
                self.transport.write(records[0])
            else:
                self.transport.writelines(records)

    def writelines(self, list pieces not None):
        cdef list records = []
        cdef bytes piece
        if self.closing:
            return
        for piece in pieces:
            if piece and not self._write_records(piece, records):
                return
        self.transport.writelines(records)

    def can_write_eof(self):
        return False

    def pause_reading(self):
        self.paused = True
        self.transport.pause_reading()

    def resume_reading(self):
        self.paused = False
        if not self.muted:
            self.transport.resume_reading()

    def is_reading(self):
        return self.transport.is_reading()

    def set_write_buffer_limits(self, high=None, low=None):
        self.transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self):
        return self.transport.get_write_buffer_size()

    def get_extra_info(self, name, default=None):
        if name == "ssl_object" and self.session is not None:
            return self.session
        return self.transport.get_extra_info(name, default)

    def is_closing(self):
        return self.closing

    def close(self):
        if self.closing:
            return
        self.closing = True
        try:
            self.session.unwrap()
        except SSLError:
            pass  # ours is said; whether theirs came makes no difference
        self._say()
        self.transport.close()

    def abort(self):
        self.closing = True
        if self.transport is not None:
            self.transport.abort()

    # -- records

    cdef int _take(self, bytes data, list plain) except -1:
        """Decrypts what came, as far as it is whole."""
        if self.failure is not None or self.ended:
            return 0
        self.feed(data)
        try:
            if self.established is not None:
                self._shake()
            self._read_records(plain)
        except SSLWantReadError:
            pass
        except SSLError as error:
            self.failure = error
        return 0

    cdef int _read_records(self, list plain) except -1:
        """One call per record; none after the last, when the read ended with it, which is the common case: to raise
        SSLWantReadError takes 1.7 us, as long as to decrypt 210 bytes."""
        cdef bytearray buffer = self.transport.poller.buffer  # free: what was read into it was copied
        cdef Py_ssize_t size
        while True:
            size = self.decrypt(RECORD, buffer)
            if size == 0:
                self.ended = True
                break
            plain.append(PyBytes_FromStringAndSize(<char*> buffer, size))
            if not self.incoming.pending:
                break
        return 0

    cdef int _shake(self) except -1:
        """Goes on with the handshake. Raises SSLWantReadError when it is their turn."""
        self.session.do_handshake()
        established, self.established = self.established, None
        self.closing = False
        self._say()
        self.protocol.connection_made(self)
        if not established.done():
            established.set_result(None)
        return 0

    cdef int _say(self) except -1:
        """Sends what TLS itself has to say: handshake, alert, answer to a key update."""
        if self.outgoing.pending:
            self.transport.write(self.outgoing.read())
            if self.full and not self.muted:
                self.muted = True  # else a peer that asks and never reads fills our memory with answers
                self.transport.pause_reading()
        return 0

    cdef int _write_records(self, bytes data, list records) except -1:
        """Encrypts data, record by record; false when the connection had to be given up."""
        cdef Py_ssize_t at = 0, size = PyBytes_GET_SIZE(data)
        try:
            while at < size:
                at += <Py_ssize_t> self.encrypt(data if size <= RECORD else data[at:at + RECORD])
                records.append(self.outgoing.read())
        except SSLError as error:
            self._give_up(error)
            return 0
        return 1

    cdef int _give_up(self, object failure) except -1:
        """What follows cannot be trusted. An alert about it goes out if the kernel takes it."""
        self.failure = failure
        self.closing = True
        self.transport._uncork()
        self.transport._doom(failure)
        return 0
