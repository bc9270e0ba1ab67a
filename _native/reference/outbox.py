"""Pure twin of the outbox kernel: the bytes of segments and where records go, without files, maps or crashes.

Owns: the layout of records and seals, the checksum bit by bit, the rule by which an Appender finds room. A sync is
whatever the caller says it was: `synced` and `condemn` play it.
"""

import struct

FIRST, SEAL, HEAD, ALIGN, MOST = 128, 120, 16, 8, 65536
NOTHING, CUT, DAMAGED = 0, -1, -2
PLAIN, OPENING, CLOSING = 0, 1, 2
NUMBERS = 0xFFFFFF
CASTAGNOLI = 0x82F63B78
Found = tuple[int, bytes, int]


def crc32c(data: bytes, value: int = 0) -> int:
    crc = ~value & 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (CASTAGNOLI if crc & 1 else 0)
    return ~crc & 0xFFFFFFFF


def padded(size: int) -> int:
    """Bytes that a record with a payload of `size` takes."""
    return -(-(size + HEAD) // ALIGN) * ALIGN


def marker(token: int) -> int:
    return token >> 32 | 1


def record(token: int, sequence: int, offset: int, word: int, payload: bytes) -> bytes:
    """A record as it lies at `offset`, without padding."""
    length = len(payload) + HEAD
    crc = crc32c(struct.pack("<QQQII", token, sequence, offset, length, word) + payload)
    return struct.pack("<IIII", length, crc, marker(token), word) + payload


def seal_word(token: int, sequence: int, end: int, last: bool) -> int:
    return crc32c(struct.pack("<QQQ", token, sequence, end | last)) << 32 | end | last


def unseal(word: int, token: int, sequence: int) -> tuple[int, bool] | None:
    end, last = word & 0xFFFFFFF8, bool(word & 1)
    return (end, last) if word == seal_word(token, sequence, end, last) else None


def check(data: bytes, offset: int, token: int, sequence: int) -> tuple[int, bytes] | int:
    """Word and payload of the record that `data` begins with, or why there is none."""
    if len(data) < HEAD:
        return CUT
    length, _, mark, word = struct.unpack_from("<IIII", data)
    if length == 0:
        return NOTHING
    if not HEAD < length <= HEAD + MOST or mark != marker(token):
        return DAMAGED
    if length > len(data):
        return CUT
    payload = data[HEAD:length]
    return (word, payload) if record(token, sequence, offset, word, payload) == data[:length] else DAMAGED


def parse(data: bytes, offset: int, token: int, sequence: int, most: int) -> tuple[list[Found], int]:
    found: list[Found] = []
    at = 0
    while at < len(data) and len(found) < most:
        one = check(data[at:], offset + at, token, sequence)
        if isinstance(one, int):
            return found, one
        at += padded(len(one[1]))
        found.append((one[0] & NUMBERS, one[1], offset + at))
    return found, CUT


def find(data: bytes, offset: int, token: int, sequence: int) -> int:
    for at in range(0, len(data), ALIGN):
        if not isinstance(check(data[at:], offset + at, token, sequence), int):
            return offset + at
    return -1


class Segment:
    def __init__(self, size: int, token: int, sequence: int) -> None:
        self.memory = bytearray(size)
        self.size = size
        self.token = token
        self.sequence = sequence
        self.tail = self.durable = FIRST
        self.count = self.durable_count = 0
        self.bad = False

    def put(self, kind: int, payload: bytes) -> None:
        self.count += 1
        word = kind << 24 | self.count & NUMBERS
        data = record(self.token, self.sequence, self.tail, word, payload)
        self.memory[self.tail : self.tail + len(data)] = data
        self.tail += padded(len(payload))

    def seal(self, end: int, last: bool = False) -> None:
        word = seal_word(self.token, self.sequence, end, last)
        self.memory[SEAL:FIRST] = word.to_bytes(8, "little")

    def synced(self) -> None:
        self.durable, self.durable_count = self.tail, self.count

    def condemn(self) -> None:
        self.bad = True
        self.durable, self.durable_count = FIRST, 0

    def unsynced(self) -> list[tuple[int, bytes]]:
        """Kind and payload of what was not synced."""
        data = bytes(self.memory[self.durable : self.tail])
        found, _ = parse(data, self.durable, self.token, self.sequence, self.count)
        starts = [self.durable, *(end for _, _, end in found)]
        return [(self.memory[at + HEAD - 1], payload) for at, (_, payload, _) in zip(starts, found, strict=False)]


class Appender:
    def __init__(self, hold: int = 512) -> None:
        self.hold = padded(max(hold, HEAD) - HEAD)
        self.held = self.appended = self.refused = self.moved = self.stranded = 0
        self.left: list[Segment] = []
        self.retired: Segment | None = None
        self.active: Segment | None = None
        self.ready: Segment | None = None

    def put(self, payload: bytes, kind: int = PLAIN) -> bool:
        held = max(0, self.held + {PLAIN: 0, OPENING: 1, CLOSING: -1}[kind])
        segment = self.choose(padded(len(payload)), held) if 0 < len(payload) <= MOST else None
        if segment is None:
            self.refused += 1
            return False
        if segment is self.ready:
            self.rotate()
        segment.put(kind, payload)
        self.held += kind == OPENING
        self.appended += 1
        return True

    def put_opening(self, payload: bytes) -> bool:
        return self.put(payload, OPENING)

    def put_closing(self, payload: bytes) -> bool:
        done = self.put(payload, CLOSING)
        self.let_go()
        return done

    def let_go(self) -> None:
        self.held = max(0, self.held - 1)

    @property
    def roomy(self) -> bool:
        return self.choose(self.hold, self.held + 1) is not None

    def choose(self, need: int, held: int) -> Segment | None:
        """Where `need` bytes go so that `held` holds are left: of two segments, one hold may go to waste."""
        here = self.active.size - self.active.tail if self.active else 0
        there = self.ready.size - FIRST if self.ready else 0
        if need <= here:
            return self.active if (held + bool(self.ready)) * self.hold <= here - need + there else None
        return self.ready if need + held * self.hold <= there else None

    def rotate(self) -> None:
        if self.active:
            self.active.seal(self.active.tail)
        self.retired, self.active, self.ready = self.active, self.ready, None

    def offer(self, segment: Segment) -> None:
        if self.ready or (self.retired and not self.retired.bad):
            raise ValueError("a segment is ready, or one waits to be synced")
        self.ready = segment
        if not self.active:
            self.rotate()
        self.mend()

    def mend(self) -> None:
        if self.retired and self.retired.bad and self.active:
            self.active.condemn()
        if self.active and self.active.bad and self.ready:
            self.move()

    def move(self) -> None:
        bad = [segment for segment in (self.retired, self.active) if segment]
        need = sum(segment.tail - segment.durable for segment in bad)
        self.rotate()
        self.retired = None
        self.left.extend(bad)
        for segment in bad:
            self.save(segment, need)

    def save(self, segment: Segment, need: int) -> None:
        assert self.active is not None
        if need > self.active.size - FIRST:
            self.stranded += segment.count - segment.durable_count
            return
        for kind, payload in segment.unsynced():
            self.active.put(kind, payload)
            self.moved += 1
        segment.seal(segment.durable)

    def take_retired(self) -> Segment | None:
        if self.left:
            return self.left.pop(0)
        if not self.retired or self.retired.bad or self.retired.durable < self.retired.tail:
            return None
        taken, self.retired = self.retired, None
        return taken
