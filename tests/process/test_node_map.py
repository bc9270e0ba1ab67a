"""Which arena a node has: named when a restart must find it again, else memory without a name; gone when it can be."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fastpath.arena
from _native.arena import Arena, ArenaError, digest
from fastpath.arena import boot_name, join_arena
from fastpath.process.node_map import NodeMap, attach_map, open_map, sizes_for
from fastpath.settings.pepper import make_pepper

SECOND = 1_000_000_000
ADDRESS = "127.0.0.1:8340"
BUCKET = digest("key", "k1")

Open = Callable[..., NodeMap]


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of named arenas."""
    folder = tmp_path / "shm"
    folder.mkdir()
    monkeypatch.setattr(fastpath.arena, "SHARED_MEMORY", folder)
    return folder


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with a pepper."""
    make_pepper(tmp_path / "state")
    return tmp_path / "state"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def node(shared: Path, state: Path, said: list[str]) -> Iterator[Open]:
    """Starts nodes; those that a test did not close are closed at its end."""
    nodes: list[NodeMap] = []

    def start(address: str | None = ADDRESS, folder: Path = state) -> NodeMap:
        nodes.append(open_map(folder, address, sizes_for(1), now=SECOND, say=said.append))
        return nodes[-1]

    yield start
    for one in nodes:
        if one.arena.slot >= 0:
            one.close()


def spend(arena: Arena, cost: int) -> bool:
    """Takes units that need an hour each to come back, of ten."""
    return arena.bucket(BUCKET).take(SECOND, cost, 3600 * SECOND, 10)[0]


def join(node: NodeMap) -> Arena:
    """As a worker does."""
    if node.folder is not None:
        return join_arena(node.folder, node.secret)
    return attach_map(os.dup(node.fd), node.secret)


@pytest.mark.parametrize("address", [ADDRESS, None, "/run/fastpath/callers.sock"])
def test_a_worker_counts_in_the_arena_of_its_supervisor(node: Open, address: str | None) -> None:
    one = node(address)
    worker = join(one)
    worker.counter("n_total").add(3)
    worker.lane("load").add(2)
    assert one.arena.counter("n_total").value == 3
    assert {row.family: row.value for row in one.arena.series()}["load"] == 2
    worker.leave()


def test_without_an_address_or_a_pepper_it_has_no_name(node: Open, shared: Path, tmp_path: Path) -> None:
    for one in (node(None), node(ADDRESS, tmp_path / "no state")):
        assert one.folder is None
        assert one.fd >= 0
        assert not os.get_inheritable(one.fd)
    assert list(shared.iterdir()) == []


def test_every_address_and_state_folder_has_its_own(node: Open, tmp_path: Path) -> None:
    make_pepper(tmp_path / "other")
    nodes = [node(), node("127.0.0.1:8350"), node("[::1]:8340"), node(ADDRESS, tmp_path / "other")]
    assert len({one.folder for one in nodes}) == 4


def test_a_named_one_is_its_owners_alone_and_gone_with_the_node(node: Open, shared: Path) -> None:
    one = node()
    assert one.folder is not None
    assert one.folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in one.folder.iterdir()] == [0o600]
    one.close()
    assert list(shared.iterdir()) == []


def test_limits_outlive_the_node(node: Open) -> None:
    one = node()
    assert spend(one.arena, cost=10)
    one.close()
    assert not spend(node().arena, cost=1)


def test_after_a_crash_the_counters_go_on(node: Open, state: Path, said: list[str]) -> None:
    node().arena.counter("n_total").add(3)  # and it is not closed
    assert node().arena.counter("n_total").value == 3
    assert said == []


def test_a_successor_goes_on_with_it_and_the_node_before_does_not_take_it_away(node: Open) -> None:
    first = node()
    second = node()
    worker = join(second)
    first.close()
    worker.counter("n_total").add(1)
    assert join(second).counter("n_total").value == 1
    assert second.folder is not None
    assert second.folder.exists()


def test_a_folder_that_others_can_use_is_not_used_and_the_node_starts(
    node: Open, shared: Path, said: list[str]
) -> None:
    one = node()
    assert one.folder is not None
    spend(one.arena, cost=1)
    one.close()
    one.folder.chmod(0o755)
    two = node()
    assert two.folder is None
    assert spend(two.arena, cost=10)
    assert "limits will not outlive this process" in said[0]
    one.folder.chmod(0o700)


def test_foreign_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign"
    path.write_bytes(bytes(4096))
    with pytest.raises(ArenaError):
        attach_map(os.open(path, os.O_RDWR), b"s" * 16)


def test_another_secret_does_not_open_it(node: Open) -> None:
    with pytest.raises(ArenaError):
        attach_map(os.dup(node(None).fd), b"s" * 16)


def test_a_boot_has_one_name() -> None:
    assert boot_name() == boot_name()
