"""Reads facts, and gives what repeats in them as one object. See recall.pyi for the contract."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

cdef int DEEPEST = 12
cdef int64_t NO_NUMBER = -1
cdef Py_ssize_t LONGEST = 2048   # bytes of what is remembered: texts of facts that are booked are shorter

cdef enum:
    INTENT_HEAD = 0x9F   # an array of 15: the tag and the fields of an Intent
    END_HEAD = 0x99
    ONE = 0x91
    ATTEMPT_HEAD = 0x96
    USAGE_HEAD = 0x99
    NIL = 0xC0
    FALSE = 0xC2
    TRUE = 0xC3
    DOUBLE = 0xCB
    ID_SIZE = 16


cdef uint64_t big_endian(const uint8_t* at, int size) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    for i in range(size):
        value = value << 8 | at[i]
    return value


cdef bint skip(Place* place, int depth) noexcept nogil:
    """Goes over one value. False: it ends too early, is nested too deep, or is of a kind that facts do not have."""
    cdef uint64_t left = place.end - place.at
    cdef uint64_t size = 1
    cdef uint64_t items = 0
    cdef uint8_t head
    if left == 0 or depth == 0:
        return False
    head = place.at[0]
    if head <= 0x7F or head >= 0xE0 or head == NIL or head == FALSE or head == TRUE:
        pass
    elif 0xA0 <= head <= 0xBF:
        size += head & 0x1F
    elif 0x90 <= head <= 0x9F:
        items = head & 0x0F
    elif 0xCA <= head <= 0xD3:  # numbers
        size += 4 << (head - 0xCA) if head <= DOUBLE else 1 << (head & 3)
    elif 0xD9 <= head <= 0xDB:
        size += 1 << (head - 0xD9)
        if left < size:
            return False
        size += big_endian(place.at + 1, 1 << (head - 0xD9))
    else:
        return False
    if left < size:
        return False
    place.at += size
    while items:
        if not skip(place, depth - 1):
            return False
        items -= 1
    return True


cdef bint skip_many(Place* place, int count) noexcept nogil:
    cdef int _i
    for _i in range(count):
        if not skip(place, DEEPEST):
            return False
    return True


cdef int64_t take_number(Place* place) noexcept nogil:
    """A whole number from 0 on; NO_NUMBER for anything else, and for what int64 does not hold."""
    cdef uint8_t head
    cdef int size
    cdef uint64_t value
    if place.at >= place.end:
        return NO_NUMBER
    head = place.at[0]
    if head <= 0x7F:
        place.at += 1
        return head
    if not 0xCC <= head <= 0xCF:
        return NO_NUMBER
    size = 1 << (head - 0xCC)
    if place.end - place.at <= size:
        return NO_NUMBER
    value = big_endian(place.at + 1, size)
    place.at += 1 + size
    return <int64_t> value if value <= <uint64_t> 0x7FFFFFFFFFFFFFFF else NO_NUMBER


cdef bint take_double(Place* place, double* value) noexcept nogil:
    cdef uint64_t bits
    if place.end - place.at < 9 or place.at[0] != DOUBLE:
        return False
    bits = big_endian(place.at + 1, 8)
    memcpy(value, &bits, 8)
    place.at += 9
    return True


cdef int take_bool(Place* place) noexcept nogil:
    """-1: it is none."""
    if place.at >= place.end or not (place.at[0] == TRUE or place.at[0] == FALSE):
        return -1
    place.at += 1
    return (place.at - 1)[0] == TRUE


cdef inline bytes joined(const uint8_t* one, Py_ssize_t first, const uint8_t* two, Py_ssize_t second):
    cdef bytes whole = PyBytes_FromStringAndSize(NULL, first + second)
    memcpy(PyBytes_AS_STRING(whole), one, first)
    memcpy(PyBytes_AS_STRING(whole) + first, two, second)
    return whole


@cython.final
cdef class Recall:

    def __init__(self, decode, kinds, Py_ssize_t most=4096):
        self.decode = decode
        self.intent, self.closing, self.attempt, self.usage = kinds
        self.most = most
        self.intents, self.ends, self.same = {}, {}, {}

    cpdef object read(self, bytes data):
        cdef Place place
        cdef object found = None
        if data is None:
            raise TypeError("a record is bytes")
        place.at = <const uint8_t*> PyBytes_AS_STRING(data)
        place.end = place.at + PyBytes_GET_SIZE(data)
        if place.end - place.at > 20 and place.at[2] == 0xC4 and place.at[3] == ID_SIZE:
            if place.at[0] == INTENT_HEAD and place.at[1] == 1:
                found = self.read_intent(&place, data)
            elif place.at[0] == END_HEAD and place.at[1] == 3:
                found = self.read_end(&place, data)
        return self.decode(data) if found is None else found

    cpdef tuple read_all(self, list found, object apart):
        cdef list facts = [], payloads = [], others = []
        cdef bytes payload
        for entry in found:
            payload = (<tuple?> entry)[1]
            try:
                message = self.read(payload)
            except (ValueError, RecursionError):
                message = None
            if message is None or type(message) is apart:
                others.append((payload, message))
            else:
                facts.append(message)
                payloads.append(payload)
        return facts, payloads, others

    cdef object read_intent(self, Place* place, bytes data):
        """None: it is not written as we write it, so it is decoded as whatever it is."""
        cdef const uint8_t* request = place.at + 4
        cdef const uint8_t* shared
        cdef Py_ssize_t size
        cdef double ts
        cdef bytes key
        cdef tuple known
        cdef int64_t attempt, reserved, estimate, most
        place.at += 4 + ID_SIZE
        attempt = take_number(place)
        if attempt < 0 or not take_double(place, &ts):
            return None
        shared = place.at
        if not skip_many(place, 5):
            return None
        size = place.at - shared
        reserved, estimate, most = take_number(place), take_number(place), take_number(place)
        if reserved < 0 or estimate < 0 or most < 0:
            return None
        key = joined(shared, size, place.at, place.end - place.at)
        found = self.intents.get(key)
        if found is None:
            fact = self.decode(data)
            if PyBytes_GET_SIZE(key) > LONGEST:
                return fact
            found = self.keep(
                self.intents, key,
                (self.one(fact.payer), self.one(fact.model), self.one(fact.endpoint), self.one(fact.price),
                 fact.markup_ppm, self.one(fact.charge), self.one(fact.currency), self.one(fact.rate)),
            )
        known = <tuple> found
        return self.intent(
            PyBytes_FromStringAndSize(<const char*> request, ID_SIZE), attempt, ts, known[0], known[1], known[2],
            known[3], known[4], reserved, estimate, most, known[5], known[6], known[7],
        )

    cdef object read_end(self, Place* place, bytes data):
        """As `read_intent`; one attempt whose usage is known."""
        cdef const uint8_t* request = place.at + 4
        cdef const uint8_t* payer
        cdef const uint8_t* endpoint
        cdef Py_ssize_t size, length
        cdef double ts
        cdef bytes key
        cdef tuple known
        cdef int64_t parts[9]
        cdef int64_t number
        cdef int i, estimated, disputed, delivered
        place.at += 4 + ID_SIZE
        if not take_double(place, &ts):
            return None
        payer = place.at
        if not skip(place, DEEPEST) or place.end - place.at < 2 or place.at[0] != ONE or place.at[1] != ATTEMPT_HEAD:
            return None
        size = place.at - payer
        place.at += 2
        number = take_number(place)
        endpoint = place.at
        if number < 0 or not skip(place, DEEPEST) or place.at >= place.end or place.at[0] != USAGE_HEAD:
            return None
        length = place.at - endpoint
        place.at += 1
        for i in range(9):
            parts[i] = take_number(place)
            if parts[i] < 0:
                return None
        estimated, disputed, delivered = take_bool(place), take_bool(place), take_bool(place)
        if estimated < 0 or disputed < 0 or delivered < 0:
            return None
        key = joined(payer, size, endpoint, length) + place.at[:place.end - place.at]
        found = self.ends.get(key)
        if found is None:
            fact = self.decode(data)
            if PyBytes_GET_SIZE(key) > LONGEST:
                return fact
            found = self.keep(
                self.ends, key,
                (self.one(fact.payer), self.one(fact.attempts[0].endpoint), fact.status, self.one(fact.outcome),
                 self.one(fact.model), self.one(fact.path)),
            )
        known = <tuple> found
        usage = self.usage(
            parts[0], parts[1], parts[2], parts[3], parts[4], parts[5], parts[6], parts[7], parts[8]
        )
        attempt = self.attempt(number, known[1], usage, estimated != 0, disputed != 0, delivered != 0)
        return self.closing(
            PyBytes_FromStringAndSize(<const char*> request, ID_SIZE), ts, known[0], (attempt,), known[2], known[3],
            known[4], known[5],
        )

    cdef object one(self, object value):
        """The first that was equal to it: what is the same in records that differ elsewhere is one object, too."""
        return self.same.setdefault(value, value)

    cdef tuple keep(self, dict known, bytes key, tuple shared):
        """Remembers what was decoded, and gives it; forgets all when there is too much of it."""
        if len(known) >= self.most:
            known.clear()
            self.same.clear()
        known[key] = shared
        return shared
