"""The outbox kernel against its twin, and its C by itself: every step, every damaged bit, under sanitizers."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from _native import outbox as native
from _native.reference import outbox as twin

HERE = Path(__file__).parent
KERNELS = HERE.parents[1] / "_native"
#: The program brings its own sanitizers: one that is preloaded for the tests would get in its way.
ENVIRON = {name: text for name, text in os.environ.items() if name != "LD_PRELOAD"}
TOKEN = 0x0123_4567_89AB_CDEF
SIZE = 8192


@contextmanager
def backed(size: int = SIZE, token: int = TOKEN, sequence: int = 1) -> Iterator[tuple[native.Segment, int]]:
    """A segment over unnamed memory, and a descriptor to read it by."""
    descriptor = os.memfd_create("segment")
    os.ftruncate(descriptor, size)
    segment = native.Segment(os.dup(descriptor), size, token, sequence)
    try:
        yield segment, descriptor
    finally:
        segment.close()
        os.close(descriptor)


def bytes_of(descriptor: int, size: int = SIZE) -> bytes:
    return os.pread(descriptor, size, 0)


# -- the C by itself ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    program = tmp_path_factory.mktemp("outbox") / "outbox_torture"
    strict = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-O1", "-g"]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = ["gcc", *strict, *sanitizers, f"-I{KERNELS}", HERE / "outbox_torture.c", "-o", program]
    subprocess.run(command, env=ENVIRON, check=True)
    return program


@pytest.mark.parametrize(
    ("what", "said"),
    [("steps", "steps: 120\n"), ("damage", "damage: neighbours whole\n"), ("checksum", "checksum: agrees\n")],
)
def test_the_c_by_itself(torture: Path, what: str, said: str) -> None:
    done = subprocess.run([torture, what], env=ENVIRON, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, said), done.stdout + done.stderr


# -- checksums and records ---------------------------------------------------------------------------------------------


def test_the_checksum_is_castagnolis() -> None:
    for one in (native.crc32c, native.crc32c_plain, twin.crc32c):
        assert one(b"123456789") == 0xE3069283  # the check value of the catalogue of CRCs
        assert one(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
        assert one(b"6789", one(b"12345")) == 0xE3069283
        assert one(b"") == 0


@given(st.binary(max_size=300), st.integers(0, 2**32 - 1))
def test_checksums_are_the_twins(data: bytes, value: int) -> None:
    assert native.crc32c(data, value) == native.crc32c_plain(data, value) == twin.crc32c(data, value)


PAYLOADS = st.lists(st.binary(min_size=1, max_size=90), min_size=1, max_size=8)


@settings(max_examples=60)
@given(PAYLOADS, st.data())
def test_parse_and_find_are_the_twins(payloads: list[bytes], data: st.DataObject) -> None:
    segment = twin.Segment(2048, TOKEN, 3)
    for payload in payloads:
        segment.put(twin.PLAIN, payload)
    memory = segment.memory[twin.FIRST : segment.tail + 64]
    for _ in range(data.draw(st.integers(0, 3))):
        memory[data.draw(st.integers(0, len(memory) - 1))] ^= data.draw(st.integers(1, 255))
    most = data.draw(st.integers(1, 9))
    cut = data.draw(st.integers(0, len(memory)))
    start = data.draw(st.integers(0, len(memory) // 8)) * 8
    for part, offset in ((bytes(memory[:cut]), twin.FIRST), (bytes(memory[start:]), twin.FIRST + start)):
        assert native.parse(part, offset, TOKEN, 3, most) == twin.parse(part, offset, TOKEN, 3, most)
        assert native.find(part, offset, TOKEN, 3) == twin.find(part, offset, TOKEN, 3)


def test_a_record_is_one_only_where_it_was_written() -> None:
    record = twin.record(TOKEN, 1, 128, 1, b"payload")
    assert native.parse(record, 128, TOKEN, 1, 9)[0] == [(1, b"payload", 152)]
    assert native.parse(record, 136, TOKEN, 1, 9) == ([], -2)
    assert native.parse(record, 128, TOKEN, 2, 9) == ([], -2)
    assert native.parse(record, 128, TOKEN ^ 1, 1, 9) == ([], -2)


def test_a_payload_that_looks_like_a_record_is_none() -> None:
    """What a caller sends cannot become a record when the one around it is damaged: he does not know the token."""
    forged = twin.record(TOKEN ^ 1 << 40, 1, 128 + 16, 2, b"a gift")
    around = bytearray(twin.record(TOKEN, 1, 128, 1, forged))
    around[4] ^= 1
    assert native.find(bytes(around), 128, TOKEN, 1) == -1


@given(st.integers(0, 2**64 - 1))
def test_no_word_is_a_seal_by_itself(word: int) -> None:
    assert native.unseal(word, TOKEN, 1) == twin.unseal(word, TOKEN, 1) is None


@pytest.mark.parametrize("last", [False, True])
def test_a_seal_says_where_the_records_end(last: bool) -> None:
    with backed() as (segment, descriptor):
        appender = native.Appender()
        appender.offer(segment)
        assert appender.put(b"x")
        segment.seal(last)
        word = int.from_bytes(bytes_of(descriptor)[native.SEAL : native.FIRST], "little")
        assert native.unseal(word, TOKEN, 1) == twin.unseal(word, TOKEN, 1) == (152, last)


# -- the appender ------------------------------------------------------------------------------------------------------

STEPS = st.one_of(
    st.tuples(st.sampled_from(["put", "put_opening", "put_closing"]), st.integers(0, 900)),
    st.tuples(
        st.sampled_from(["offer", "offer", "offer", "sync", "sync", "fail", "fail_old", "let_go", "take"]), st.none()
    ),
)


class Pair:
    """A kernel's appender and its twin, with their segments."""

    def __init__(self) -> None:
        self.ours, self.pure = native.Appender(200), twin.Appender(200)
        self.segments: list[tuple[native.Segment, twin.Segment, int]] = []
        self.sent: list[bytes] = []

    def offer(self) -> None:
        sequence = len(self.segments) + 1
        descriptor = os.memfd_create("segment")
        os.ftruncate(descriptor, SIZE)
        segment = native.Segment(os.dup(descriptor), SIZE, TOKEN, sequence)
        self.segments.append((segment, twin.Segment(SIZE, TOKEN, sequence), descriptor))
        said = []
        for appender, one in ((self.ours, segment), (self.pure, self.segments[-1][1])):
            try:
                appender.offer(one)  # type: ignore[arg-type]  # each takes its own kind
                said.append(True)
            except ValueError:
                said.append(False)
        assert said[0] == said[1]

    def sync(self) -> None:
        for ours, pure in ((self.ours.retired, self.pure.retired), (self.ours.active, self.pure.active)):
            if ours is not None and pure is not None and not ours.bad:
                ours.sync()
                pure.synced()

    def fail(self) -> None:
        self._fail(self.ours.active, self.pure.active)

    def fail_old(self) -> None:
        self._fail(self.ours.retired, self.pure.retired)

    def _fail(self, ours: native.Segment | None, pure: twin.Segment | None) -> None:
        """As when nothing of it was synced so far and the sync failed."""
        if ours is not None and pure is not None:
            ours.condemn()
            pure.condemn()
            self.ours.mend()
            self.pure.mend()

    def take(self) -> None:
        ours, pure = self.ours.take_retired(), self.pure.take_retired()
        assert (ours and ours.sequence) == (pure and pure.sequence)

    def step(self, name: str, size: int | None = None) -> None:
        if size is not None:
            payload = (b"%04d" % len(self.sent)).ljust(size, b".") if size else b""
            done = getattr(self.ours, name)(payload)
            assert done == getattr(self.pure, name)(payload)
            self.sent += [payload] * done
        elif name == "let_go":
            self.ours.let_go()
            self.pure.let_go()
        else:
            getattr(self, name)()

    def check(self) -> None:
        for name in ("held", "appended", "refused", "moved", "stranded", "roomy"):
            assert getattr(self.ours, name) == getattr(self.pure, name), name
        for ours, pure, descriptor in self.segments:
            assert (ours.tail, ours.count, ours.bad) == (pure.tail, pure.count, pure.bad)
            assert bytes_of(descriptor) == pure.memory
        assert self.read() == self.sent

    def read(self) -> list[bytes]:
        """What a reader finds that comes late: up to each segment's seal."""
        found: list[bytes] = []
        for ours, _, descriptor in self.segments:
            data = bytes_of(descriptor)
            seal = native.unseal(int.from_bytes(data[native.SEAL : native.FIRST], "little"), TOKEN, ours.sequence)
            records, _ = native.parse(data[native.FIRST : seal[0] if seal else SIZE], 128, TOKEN, ours.sequence, 999)
            found += [payload for _, payload, _ in records]
        return found

    def close(self) -> None:
        for segment, _, descriptor in self.segments:
            segment.close()
            os.close(descriptor)


@settings(max_examples=150)
@given(st.lists(STEPS, max_size=60))
def test_the_appender_is_the_twins(steps: list[tuple[str, int | None]]) -> None:
    """And whatever fails, a reader that comes afterwards finds every record once, in order."""
    pair = Pair()
    try:
        pair.offer()
        for step in steps:
            pair.step(*step)
        pair.check()
    finally:
        pair.close()


@settings(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from(["put", "open", "close", "offer"]), st.integers(1, 700)), max_size=80))
@example([("put", 200)] * 40 + [("offer", 1), ("put", 200), ("open", 1)])
def test_an_end_always_finds_the_room_held_for_it(steps: list[tuple[str, int]]) -> None:
    pair = Pair()
    appender = pair.ours
    try:
        pair.offer()
        for what, size in steps:
            if what == "put":
                appender.put(bytes([1]) * size)
            elif what == "open":
                appender.put_opening(bytes([2]) * size)
            elif what == "offer" and appender.ready is None and appender.retired is None:
                pair.offer()
            elif what == "close" and appender.held:
                assert appender.put_closing(bytes([3]) * (appender.hold - native.HEAD))
            if appender.retired is not None:
                appender.retired.sync()  # (`pair.sync` goes by its twin, which stands still here)
                assert appender.take_retired() is not None
        for _ in range(appender.held):
            assert appender.put_closing(bytes([3]) * (appender.hold - native.HEAD))
    finally:
        pair.close()


def break_sync(segment: native.Segment) -> None:
    """Its next sync fails, as nothing but a file can be synced."""
    reading, writing = os.pipe()
    os.dup2(reading, segment.fd)
    os.close(reading)
    os.close(writing)


def test_what_follows_a_bad_segment_is_written_again_behind_it() -> None:
    """A full segment's last sync fails when the next one is in use: both go to a third one, in order."""
    appender = native.Appender()
    with backed() as (first, one), backed(sequence=2) as (second, _), backed(sequence=3) as (third, three):
        appender.offer(first)
        appender.offer(second)
        assert appender.put(b"synced")
        first.sync()
        assert appender.put(b"not synced")
        assert appender.put(bytes(7_990))
        assert appender.put(b"later")
        assert appender.retired is first
        break_sync(first)
        with pytest.raises(OSError, match="Invalid argument"):
            first.sync()
        with pytest.raises(ValueError, match="bad"):
            first.sync()
        appender.mend()
        assert second.bad
        assert appender.take_retired() is None
        appender.offer(third)
        assert (appender.take_retired(), appender.take_retired()) == (first, second)
        assert (appender.moved, appender.stranded, appender.active) == (3, 0, third)
        found, _ = native.parse(bytes_of(three)[native.FIRST :], native.FIRST, TOKEN, 3, 9)
        assert [payload for _, payload, _ in found] == [b"not synced", bytes(7_990), b"later"]
        seal = int.from_bytes(bytes_of(one)[native.SEAL : native.FIRST], "little")
        assert native.unseal(seal, TOKEN, 1) == (first.durable, False)


def test_nothing_is_appended_where_there_is_no_room() -> None:
    appender = native.Appender()
    assert not appender.put(b"no segment")
    with backed() as (segment, descriptor):
        appender.offer(segment)
        assert not appender.put(b"")
        assert not appender.put(bytes(native.MOST + 1))
        assert not appender.put(bytes(native.MOST))
        before = bytes_of(descriptor)
        assert not appender.put(bytes(SIZE - native.FIRST - native.HEAD + 1))
        assert bytes_of(descriptor) == before
        assert appender.put(bytes(SIZE - native.FIRST - native.HEAD))
        assert not appender.put(b"x")
        assert (appender.appended, appender.refused) == (1, 6)
        assert appender.detach() == [segment]
        assert not appender.put(b"x")


def test_the_longest_record_is_read_again() -> None:
    with backed(1 << 17) as (segment, descriptor):
        appender = native.Appender()
        appender.offer(segment)
        payload = os.urandom(native.MOST)
        assert appender.put(payload)
        data = bytes_of(descriptor, 1 << 17)[native.FIRST :]
        assert [found[1] for found in native.parse(data, native.FIRST, TOKEN, 1, 9)[0]] == [payload]


def test_pages_may_be_larger_than_4_kib(tmp_path: Path) -> None:
    """As those of some kernels on ARM are, which sync from the beginning of a page only."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    library = tmp_path / "larger_pages.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", HERE / "larger_pages.c", "-o", library], env=ENVIRON, check=True)
    preloaded = ":".join([*filter(None, [os.environ.get("LD_PRELOAD")]), str(library)])
    environ = os.environ | {"LD_PRELOAD": preloaded, "PYTHONPATH": str(KERNELS.parent)}
    done = subprocess.run(
        [sys.executable, HERE / "syncing.py"], env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "104\n"), done.stderr


def test_a_segment_refuses_what_it_cannot_be() -> None:
    with tempfile.TemporaryFile() as file:
        for size in (0, 4096, 8192 + 1, native.LARGEST + 4096):
            with pytest.raises(ValueError, match="no segment has"):
                native.Segment(file.fileno(), size, TOKEN, 1)
        os.fstat(file.fileno())  # still ours
    with backed() as (segment, _):
        segment.condemn()
        with pytest.raises(ValueError, match="bad"):
            segment.sync()
    assert segment.closed


@given(raw=st.binary(min_size=16, max_size=16), upper=st.booleans())
def test_an_id_is_sixteen_bytes(raw: bytes, upper: bool) -> None:
    assert native.id_bytes("req_" + (raw.hex().upper() if upper else raw.hex())) == raw


@pytest.mark.parametrize("digits", ["", "0" * 31, "0" * 33, "0g" * 16, "\u0660" * 32])
@pytest.mark.parametrize("lead", ["req_", "abc_"])
def test_what_is_no_id_has_no_bytes(lead: str, digits: str) -> None:
    with pytest.raises(ValueError, match="not the id of a request"):
        native.id_bytes(lead + digits)
