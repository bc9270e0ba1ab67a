"""TLS towards a model server: between a Transport (ciphertext) and a protocol (plaintext), it is each one's other.

    Transport --data_received--> Secure --plaintext, once a read--> protocol
    Transport <--write, writelines-- Secure <--write, writelines-- protocol

    SHAKING --Finished--> OPEN --close, their close_notify--> CLOSING --> LOST
    SHAKING, OPEN --abort, error, an end without close_notify--> LOST

`established` is there while SHAKING; the protocol knows of nothing until OPEN.
"""

from _native.transport cimport Transport


cdef class Secure:
    cdef object protocol
    cdef Transport transport
    cdef object session                 # ssl.SSLObject
    cdef object incoming                # ssl.MemoryBIO: ciphertext received; empty, or part of one record
    cdef object outgoing                # ssl.MemoryBIO: ciphertext to send; empty between calls
    cdef object feed                    # bound methods of the three, looked up once
    cdef object decrypt
    cdef object encrypt
    cdef object established             # the future of the handshake, None after it
    cdef object failure                 # why the connection is given up, None as a rule
    cdef bint ended                     # their close_notify came
    cdef bint closing                   # nothing is delivered or taken: not yet, or no more
    cdef bint paused                    # reading, by the protocol
    cdef bint muted                     # reading, because they do not read what they make us say
    cdef bint full                      # the transport asked to pause writing

    cpdef write(self, bytes data)
    cdef int _take(self, bytes data, list plain) except -1
    cdef int _read_records(self, list plain) except -1
    cdef int _shake(self) except -1
    cdef int _say(self) except -1
    cdef int _write_records(self, bytes data, list records) except -1
    cdef int _give_up(self, object failure) except -1
