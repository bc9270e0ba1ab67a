"""The arena's memory and its file: what is kept, replaced, refused; damage anywhere gives wrong numbers at worst."""

import mmap
import os
import random
import re
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from _native.arena import Arena, ArenaError, Gate, Lease, Refusal, Sizes, digest, layout_size
from fastpath import arena as opening
from fastpath.arena import arena_folder, boot_name, install_secret, join_arena, open_arena

SECRET = bytes(range(16))
BOOT = b"this very boot.."
SMALL = Sizes(
    workers=4, families=8, series=64, lanes=16, histograms=16, buckets=32, limits=16, leases=8, cells=16, samples=16,
    budgets=16,
)  # fmt: skip
SECOND = 1_000_000_000
NOW, FAR = 1_000 * SECOND, 1 << 60
LAYOUT_AT, SIZE_AT, REGIONS_AT = 8, 16, 56


def formatted(sizes: Sizes = SMALL) -> tuple[mmap.mmap, Arena]:
    memory = mmap.mmap(-1, layout_size(sizes))
    return memory, Arena.format(memory, SECRET, sizes, BOOT)


def always(pid: int, start: int) -> bool:
    return True


# -- the map


@pytest.mark.parametrize(
    ("secret", "boot", "reason"),
    [
        (SECRET, BOOT[::-1], "another boot"),
        (SECRET[::-1], BOOT, "another install secret"),
    ],
)
def test_a_map_of_elsewhere_is_refused(secret: bytes, boot: bytes, reason: str) -> None:
    memory, _ = formatted()
    with pytest.raises(ArenaError, match=reason):
        Arena.attach(memory, secret, boot)


@pytest.mark.parametrize(
    ("at", "bytes_", "reason"),
    [
        (0, b"\xff" * 8, "not an arena"),
        (LAYOUT_AT, b"\x63", "another layout"),
        (SIZE_AT, b"\xff" * 7, "cut short"),
        (SIZE_AT, struct.pack("<Q", 4096), "damaged"),
        (REGIONS_AT + 24 * 3, b"\x07", "damaged"),
        (REGIONS_AT + 24 * 3 + 16, struct.pack("<Q", 1 << 60), "damaged"),
        (REGIONS_AT + 24 * 3 + 16, struct.pack("<Q", 48), "damaged"),
        (REGIONS_AT + 16, struct.pack("<Q", 0), "damaged"),
    ],
)
def test_a_damaged_header_is_refused(at: int, bytes_: bytes, reason: str) -> None:
    memory, _ = formatted()
    memory[at : at + len(bytes_)] = bytes_
    with pytest.raises(ArenaError, match=reason):
        Arena.attach(memory, SECRET, BOOT)


def test_no_cut_of_the_header_is_read_past_its_end() -> None:
    memory, _ = formatted()
    for size in (64, 4095, 4096, 8192):
        short = mmap.mmap(-1, size)
        short[:] = memory[:size]
        with pytest.raises(ArenaError):
            Arena.attach(short, SECRET, BOOT)
        with pytest.raises(ArenaError):
            formatted()[1].adopt_limits(short, SECRET, BOOT, NOW, always)


def test_memory_that_cannot_serve_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        Arena.format(mmap.mmap(-1, 4096), SECRET, SMALL, BOOT)
    with pytest.raises(ValueError, match="written"):
        Arena.attach(bytes(8192), SECRET, BOOT)
    with pytest.raises(ValueError, match="aligned"):
        Arena.attach(memoryview(mmap.mmap(-1, 8192))[8:], SECRET, BOOT)
    for sizes in (SMALL._replace(series=48), SMALL._replace(workers=256), SMALL._replace(leases=1 << 18)):
        with pytest.raises(ValueError):
            layout_size(sizes)
    with pytest.raises(ValueError, match="16 bytes"):
        Arena.anonymous(b"short")


def use_everything(arena: Arena, now: int) -> None:
    """Every read and every change there is, whatever they say."""
    for i in range(6):
        name = str(i)
        gate = Gate(arena, [(arena.bucket(digest(name)), SECOND, 3)], [(arena.limit(digest(name)), 2)])
        admitted = gate.admit(now, now + 1 if i & 1 else FAR)
        if isinstance(admitted, Lease) and i & 2:
            admitted.renew(FAR)
            admitted.release()
        arena.counter("f", (name,)).add()
        arena.histogram("h", (name,)).record(1 << i)
        arena.lane("l", (name,)).add(1)
        arena.word(digest(name)).set(1)
        arena.ewma(digest("e" + name)).update(now, 1.0, SECOND)
        arena.sample(digest(name)).write(1, (1.0,))
        arena.sample(digest(name)).read()
        del admitted
    for row in arena.series():
        assert isinstance(row.family, str)
    arena.reap(now, lambda pid, start: pid % 3 != 0)
    assert set(arena.rows_used) == set(arena.refusals)
    arena.workers()


def test_damage_anywhere_crashes_nothing() -> None:
    """Thousands of random bytes, everywhere but in the header, while the map is in use; then everywhere."""
    chance = random.Random(3)
    for turn in range(45):
        memory, arena = formatted()
        arena.join(pid=1, start=1)
        use_everything(arena, NOW)
        for _ in range(8):
            damage(memory, chance, 4096, 1 + 400 * (turn % 3))
            with suppress(ValueError):  # a series whose kind was damaged
                use_everything(arena, NOW)
        newer = formatted()[1]
        newer.adopt_limits(memory, SECRET, BOOT, NOW, always)
        damage(memory, chance, 0, 300)
        with suppress(ArenaError):
            Arena.attach(memory, SECRET, BOOT)
        with suppress(ArenaError):
            newer.adopt_limits(memory, SECRET, BOOT, NOW)


def damage(memory: mmap.mmap, chance: random.Random, start: int, times: int) -> None:
    """Random bytes where the rows are: the memory is mostly empty, so half of them go to bytes in use."""
    data = memory[:]
    used = [found.start() for found in re.finditer(rb"[^\0]", data[start:])]
    for _ in range(times):
        in_use = used and chance.random() < 0.5
        memory[start + chance.choice(used) if in_use else chance.randrange(start, len(data))] = chance.randrange(256)


def test_a_damaged_bucket_heals() -> None:
    memory, arena = formatted()
    bucket = arena.bucket(digest("b"))
    bucket.take(NOW, 1, SECOND, 5)
    at = memory.find(struct.pack("<Q", NOW + SECOND))
    memory[at : at + 8] = b"\xff" * 7 + b"\x7f"
    wait = bucket.take(NOW, 1, SECOND, 5)[1]
    assert 0 < wait < 40 * 3600 * SECOND


# -- handing over


def held_map(sizes: Sizes) -> tuple[mmap.mmap, Arena, list[Lease | Refusal]]:
    """A map whose bucket is spent and whose limit of 3 is held twice by worker 7 and once by worker 8."""
    memory, arena = formatted(sizes)
    leases = []
    for pid, times in ((7, 2), (8, 1)):
        worker = Arena.attach(memory, SECRET, BOOT)
        worker.join(pid=pid, start=pid)
        gate = Gate(worker, [(worker.bucket(digest("b")), SECOND, 3)], [(worker.limit(digest("l")), 3)])
        leases += [gate.admit(NOW, FAR) for _ in range(times)]
    assert all(isinstance(lease, Lease) for lease in leases)
    return memory, arena, leases


@pytest.mark.parametrize("sizes", [SMALL, SMALL._replace(buckets=256, limits=64, leases=64, series=256, workers=9)])
def test_another_layout_hands_its_limits_over(sizes: Sizes) -> None:
    memory, old, leases = held_map(SMALL)
    memory[LAYOUT_AT] = 9  # a layout that nobody knows, whose limits are as ours
    new = formatted(sizes)[1]
    assert new.adopt_limits(memory, SECRET, BOOT, NOW, always) == (1, 3)
    new.join(pid=9, start=9)
    gate = Gate(new, [], [(new.limit(digest("l")), 3)])
    assert gate.admit(NOW, FAR) == Refusal("slots", 0, 0)
    assert new.bucket(digest("b")).take(NOW, 1, SECOND, 3) == (False, SECOND, 0)
    assert new.reap(NOW, lambda pid, start: pid != 7) == (1, 2)
    assert new.limit(digest("l")).in_use == 1
    assert isinstance(gate.admit(NOW, FAR), Lease)
    assert [isinstance(lease, Lease) and lease.release() for lease in leases] == [True] * 3
    assert old.limit(digest("l")).in_use == 0


def test_a_superseded_map_admits_nobody() -> None:
    memory, old, leases = held_map(SMALL)
    assert not old.superseded
    formatted()[1].adopt_limits(memory, SECRET, BOOT, NOW, always)
    assert old.superseded
    later = NOW + 99 * SECOND
    assert old.bucket(digest("b")).take(later, 1, SECOND, 3) == (False, 0, 0)
    assert Gate(old, [(old.bucket(digest("c")), SECOND, 3)]).admit(later, FAR) == Refusal("superseded", -1, 0)
    old.counter("f").add()
    assert isinstance(leases[0], Lease)
    assert leases[0].release()


def test_only_what_still_counts_is_handed_over() -> None:
    memory, _, _ = held_map(SMALL)
    later = NOW + 3600 * SECOND
    new = formatted()[1]
    assert new.adopt_limits(memory, SECRET, BOOT, later, lambda pid, start: pid == 8) == (0, 1)
    assert [pid for _, pid, _ in new.workers()] == [8]
    with pytest.raises(ArenaError, match="another boot"):
        new.adopt_limits(memory, SECRET, bytes(16), later, always)
    memory[LAYOUT_AT + 4] = 9
    with pytest.raises(ArenaError, match="limits have another layout"):
        new.adopt_limits(memory, SECRET, BOOT, later, always)


# -- the file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "arena-of-the-test"


@pytest.fixture
def said() -> list[str]:
    return []


def test_a_new_arena_is_private_and_whole(folder: Path, said: list[str]) -> None:
    open_arena(folder, SECRET, SMALL, now=NOW, say=said.append)
    found = (folder / "arena").stat()
    assert found.st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert found.st_size == layout_size(SMALL)
    assert found.st_blocks * 512 >= layout_size(SMALL)  # no page is missing, so no write can fail
    assert os.listdir(folder) == ["arena"]
    assert said == []


def test_opening_again_keeps_what_was_counted(folder: Path, said: list[str]) -> None:
    open_arena(folder, SECRET, SMALL, now=NOW, say=said.append).counter("f").add(3)
    worker = join_arena(folder, SECRET)
    worker.counter("f").add(4)
    again = open_arena(folder, SECRET, SMALL, now=NOW, say=said.append)
    assert {row.family: row.value for row in again.series()} == {"f": 7}
    assert [pid for _, pid, _ in again.workers()] == [os.getpid()]
    assert said == []


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\0" * 9_000, b"hello " * 3_000], ids=["empty", "byte", "zeros", "text"]
)
def test_what_is_no_arena_is_discarded(folder: Path, said: list[str], content: bytes) -> None:
    folder.mkdir(mode=0o700)
    (folder / "arena").write_bytes(content)
    (folder / "arena").chmod(0o600)
    arena = open_arena(folder, SECRET, SMALL, now=NOW, say=said.append)
    assert arena.sizes == SMALL
    assert said == ([f"{folder}/arena was discarded: it is not an arena"] if content else [])


def test_another_boot_is_discarded(folder: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    open_arena(folder, SECRET, SMALL, now=NOW, say=said.append).counter("f").add()
    monkeypatch.setattr(opening, "boot_name", lambda: BOOT)
    with pytest.raises(ArenaError, match="another boot"):
        join_arena(folder, SECRET)
    assert not list(open_arena(folder, SECRET, SMALL, now=NOW, say=said.append).series())
    assert said == [f"{folder}/arena was discarded: it is from another boot"]


def test_other_sizes_keep_the_limits(folder: Path, said: list[str]) -> None:
    open_arena(folder, SECRET, SMALL, now=NOW, say=said.append)
    old = join_arena(folder, SECRET)
    Gate(old, [], [(old.limit(digest("l")), 3)])
    lease = Gate(old, [(old.bucket(digest("b")), SECOND, 1)], [(old.limit(digest("l")), 1)]).admit(NOW, FAR)
    assert isinstance(lease, Lease)
    new = open_arena(folder, SECRET, SMALL._replace(series=128), now=NOW, say=said.append)
    assert said == [f"{folder}/arena was replaced: it has other sizes; taken over: 1 buckets, 1 leases"]
    assert new.limit(digest("l")).in_use == 1
    assert old.superseded
    assert not join_arena(folder, SECRET).superseded


def test_a_crowded_arena_without_workers_starts_afresh(folder: Path, said: list[str]) -> None:
    arena = open_arena(folder, SECRET, SMALL, now=NOW, say=said.append)
    for i in range(30):
        arena.bucket(digest(str(i)))
    arena.bucket(digest("3")).take(NOW, 1, SECOND, 9)
    arena.join()
    assert open_arena(folder, SECRET, SMALL, now=NOW, say=said.append).rows_used["buckets"] == 30
    arena.leave()
    assert open_arena(folder, SECRET, SMALL, now=NOW, say=said.append).rows_used["buckets"] == 1
    assert said == [f"{folder}/arena was replaced: it is crowded; taken over: 1 buckets, 0 leases"]


def test_links_and_strangers_are_refused(folder: Path, tmp_path: Path, said: list[str]) -> None:
    def refused(reason: str) -> None:
        with pytest.raises(ArenaError, match=reason):
            open_arena(folder, SECRET, SMALL, now=NOW, say=said.append)

    target = tmp_path / "target"
    target.write_bytes(b"precious")
    target.chmod(0o600)
    folder.mkdir(mode=0o700)
    path = folder / "arena"
    path.symlink_to(target)
    refused("symbolic links")
    path.unlink()
    os.link(target, path)
    refused("one name")
    path.unlink()
    os.mkfifo(path, 0o600)
    refused("not a plain file")
    path.unlink()
    path.write_bytes(b"")
    path.chmod(0o640)
    refused("used by others")
    path.unlink()
    folder.chmod(0o770)
    refused("used by others")
    folder.rmdir()
    folder.symlink_to(tmp_path, target_is_directory=True)
    refused("cannot hold the arena")
    assert target.read_bytes() == b"precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_folder_is_refused(folder: Path, said: list[str]) -> None:
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    with pytest.raises(ArenaError, match="another user"):
        open_arena(folder, SECRET, SMALL, now=NOW, say=said.append)


def test_no_room_is_said_and_leaves_nothing(folder: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ArenaError, match=r"no room for an arena of .* bytes: No space left"):
        open_arena(folder, SECRET, SMALL, now=NOW, say=said.append)
    assert os.listdir(folder) == []


def test_leftovers_of_a_killed_opener_go(folder: Path, said: list[str]) -> None:
    folder.mkdir(mode=0o700)
    (folder / "arena.deadbeef").write_bytes(b"half")
    open_arena(folder, SECRET, SMALL, now=NOW, say=said.append)
    assert os.listdir(folder) == ["arena"]


def test_a_worker_finds_no_arena(tmp_path: Path) -> None:
    with pytest.raises(ArenaError, match="has no arena"):
        join_arena(tmp_path, SECRET)


def test_openers_take_turns(folder: Path) -> None:
    """Several at once, of different sizes, end with one whole arena and no drafts."""
    code = (
        "import sys, pathlib; from fastpath.arena import open_arena; from _native.arena import Sizes\n"
        "sizes = Sizes(series=64, histograms=16, buckets=64, limits=64, leases=64, cells=int(sys.argv[2]))\n"
        "open_arena(pathlib.Path(sys.argv[1]), bytes(range(16)), sizes, now=1, say=print)"
    )
    openers = [subprocess.Popen([sys.executable, "-c", code, str(folder), str(64 << i % 2)]) for i in range(4)]
    assert [opener.wait(60) for opener in openers] == [0] * 4
    assert os.listdir(folder) == ["arena"]
    assert join_arena(folder, SECRET).sizes.series == 64


def test_names_are_stable_and_apart(tmp_path: Path) -> None:
    assert boot_name() == boot_name()
    assert len(install_secret(b"p" * 32)) == 16
    assert install_secret(b"p" * 32) != install_secret(b"q" * 32)
    assert arena_folder(tmp_path) != arena_folder(tmp_path / "other")
    assert arena_folder(tmp_path).parent == Path("/dev/shm")
