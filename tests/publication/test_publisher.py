"""What a publisher writes: little for a little change, a new base when the changes grow, and never half of it."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from _native.keytable import DISABLED, REVOKED, UNKNOWN, Row
from fastpath.publication import (
    FolderWriter,
    Manifest,
    Publication,
    PublicationError,
    Publisher,
    Refused,
    SettingsSeal,
    settings_key,
)
from fastpath.publication.publisher import MOST_DELTA
from tests.publication.nodes import NOW, PEPPER_ID, Node, Plane, digest, rows
from tests.publication.power import Crash, Disk, Undo


def sizes(plane: Plane) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in plane.path.iterdir() if path.is_file()}


def test_one_changed_key_among_100_000_writes_a_small_delta(plane: Plane, node: Node) -> None:
    first = plane.publisher.publish_all(b"settings", rows(100_000))
    node.take()
    before = sizes(plane)
    second = plane.publisher.publish_changes(b"settings", [rows(1)[0]._replace(flags=DISABLED)])
    new = {name: size for name, size in sizes(plane).items() if name not in before}
    assert second.delta is not None
    assert (second.base, second.settings) == (first.base, first.settings)
    assert new.keys() == {second.delta.name, "manifest.previous"}
    assert sum(new.values()) < 1000
    assert node.take() is not None


def test_a_grown_delta_becomes_part_of_a_new_base(plane: Plane, node: Node) -> None:
    first = plane.publisher.publish_all(b"settings", rows(100))
    plane.publisher.publish_changes(b"settings", revoked=[digest(0)])
    second = plane.publisher.publish_changes(b"settings", rows(MOST_DELTA - 2, 1000))
    assert second.delta is not None
    third = plane.publisher.publish_changes(b"settings", rows(1, 5000))
    assert (third.delta, third.base != first.base) == (None, True)
    found = node.take()
    assert found is not None
    lookup = found.lookup()
    assert len(lookup) == 100 - 1 + MOST_DELTA - 2 + 1
    assert lookup.find(digest(0), NOW) == UNKNOWN
    assert lookup.row(lookup.find(digest(5000), NOW)) == rows(1, 5000)[0]


def test_what_is_as_in_the_base_again_leaves_the_delta(plane: Plane) -> None:
    plane.publisher.publish_all(b"settings", rows(100))
    changed = plane.publisher.publish_changes(b"settings", [rows(1)[0]._replace(flags=DISABLED)], [digest(777)])
    assert changed.delta is not None
    assert plane.publisher.publish_changes(b"settings", rows(1)).delta is None


def test_nothing_is_changed_before_anything_was_published(plane: Plane) -> None:
    with pytest.raises(PublicationError, match="publish all keys first"):
        plane.publisher.publish_changes(b"settings", rows(1))


def test_a_restarted_publisher_goes_on(plane: Plane, node: Node) -> None:
    assert plane.publisher.resume(plane.trust) is None
    plane.publisher.publish_all(b"one", rows(10))
    last = plane.publisher.publish_changes(b"one", rows(1, 50), [digest(3)])
    plane.publisher.close()
    plane.open()
    assert plane.publisher.resume(plane.trust) == last
    following = plane.publisher.publish_changes(b"one", rows(1, 51))
    assert (following.version, following.base, following.settings) == (last.version + 1, last.base, last.settings)
    found = node.take()
    assert found is not None
    assert [found.lookup().find(digest(n), NOW) >= 0 for n in (2, 3, 50, 51)] == [True, False, True, True]


def test_a_publisher_does_not_go_on_from_what_is_damaged(plane: Plane, node: Node) -> None:
    last = plane.publisher.publish_all(b"one", rows(10))
    node.take()
    plane.publisher.close()
    os.truncate(plane.path / last.base.name, 200)
    plane.open()
    with pytest.raises(Refused):
        plane.publisher.resume(plane.trust)
    with pytest.raises(PublicationError, match="publish all keys first"):
        plane.publisher.publish_changes(b"one")
    assert plane.publisher.publish_all(b"two", rows(10)).version == last.version + 1
    assert node.take() is not None


def test_a_base_that_vanished_is_told(plane: Plane) -> None:
    manifest = plane.publisher.publish_all(b"one", rows(10))
    (plane.path / manifest.base.name).unlink()
    with pytest.raises(PublicationError, match="gone from the folder"):
        plane.publisher.publish_changes(b"one", rows(1, 50))
    plane.publisher.publish_all(b"one", rows(10))


def test_one_writer_at_a_time(plane: Plane) -> None:
    with pytest.raises(PublicationError, match="another process"):
        FolderWriter(plane.folder)
    plane.publisher.close()
    FolderWriter(plane.folder).close()


def test_files_are_private_and_old_ones_go(plane: Plane) -> None:
    for number in range(5):
        plane.publisher.publish_all(b"%d" % number, rows(number + 1))
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in plane.path.iterdir())
    assert stat.S_IMODE(plane.path.stat().st_mode) == 0o700
    names = sorted(name.partition("-")[0] for name in sizes(plane))
    assert names == ["keys", "keys", "manifest", "manifest.previous", "settings", "settings", "writer.lock"]


def test_settings_lie_there_sealed(plane: Plane) -> None:
    plane.publisher.publish_all(b"sk-canary-provider-key", rows(3))
    assert not any(b"canary" in path.read_bytes() for path in plane.path.iterdir() if path.is_file())


# --- a crash between any two file operations --------------------------------------------------------------------------


def steps(plane: Plane) -> Iterator[Callable[[Publisher], Manifest]]:
    """A publication of each kind."""
    yield lambda publisher: publisher.publish_all(b"all", rows(30, 100))
    yield lambda publisher: publisher.publish_changes(b"one", rows(1, 50), [digest(3)])
    yield lambda publisher: publisher.publish_changes(b"grown", rows(MOST_DELTA, 1000))


def ends(tmp_path: Path, step: int, die_at: int, undo: Undo) -> tuple[bool, bytes]:
    """Publishes until the crash; whether there was one, and the settings that a node finds afterwards."""
    plane = Plane(tmp_path)
    node = Node(plane.path, plane.trust)
    plane.publisher.publish_all(b"zero", rows(30))
    first = node.take()
    assert first is not None
    lock = plane.publisher._writer._lock
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, die_at, undo)
        try:
            list(steps(plane))[step](plane.publisher)
            crashed = False
        except Crash:
            crashed = True
    disk.lose_power(plane.path)
    os.close(lock)
    found = Node(plane.path, plane.trust).take()
    assert found is not None, "there is always a whole publication"
    check_goes_on(plane, found)
    return crashed, found.settings


def check_goes_on(plane: Plane, found: Publication) -> None:
    """The next publisher takes over, and leaves no drafts."""
    plane.open()
    resumed = plane.publisher.resume(plane.trust)
    assert resumed == found.manifest
    following = plane.publisher.publish_changes(b"after", rows(1, 9000))
    assert following.version > found.manifest.version
    after = Node(plane.path, plane.trust).take()
    assert after is not None
    assert after.lookup().find(digest(9000), NOW) >= 0
    assert not [path for path in plane.path.iterdir() if path.name.endswith(".draft")]
    plane.publisher.close()


@pytest.mark.parametrize("undo", ["none", "all", "pieces"])
@pytest.mark.parametrize(("step", "settings_after"), [(0, b"all"), (1, b"one"), (2, b"grown")])
def test_a_crash_anywhere_leaves_a_whole_publication(
    tmp_path: Path, step: int, settings_after: bytes, undo: Undo
) -> None:
    seen = []
    for die_at in range(1, 200):
        crashed, settings = ends(tmp_path / str(die_at), step, die_at, undo)
        assert settings in (b"zero", settings_after)
        seen.append(settings)
        if not crashed:
            break
    assert len(seen) > 15
    assert seen == sorted(seen, key=lambda found: found != b"zero"), "the old one up to some call, then the new one"
    assert (seen[0], seen[-1]) == (b"zero", settings_after)


# --- any sequence of publications is a dictionary of keys -------------------------------------------------------------

changes = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 30), st.sampled_from([0, DISABLED])), max_size=4),
        st.lists(st.integers(0, 30), max_size=3),
        st.sampled_from(["changes", "all", "restart"]),
    ),
    max_size=8,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes)
def test_any_sequence_of_publications_is_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, sequence: list[tuple[list[tuple[int, int]], list[int], str]]
) -> None:
    plane = Plane(tmp_path_factory.mktemp("plane"))
    node = Node(plane.path, plane.trust)
    known: dict[int, Row] = dict(enumerate(rows(10)))
    plane.publisher.publish_all(b"s", known.values())
    for changed, revoked, how in sequence:
        new = {n: rows(1, n)[0]._replace(flags=flags) for n, flags in changed}
        known = {n: row for n, row in {**known, **new}.items() if n not in revoked}
        if how == "restart":
            plane.publisher.close()
            plane.open()
            plane.publisher.resume(plane.trust)
        if how == "all":
            plane.publisher.publish_all(b"s", known.values())
        else:
            plane.publisher.publish_changes(b"s", new.values(), map(digest, revoked))
        check_known(node.take(), known)
    plane.publisher.close()


def check_known(found: Publication | None, known: dict[int, Row]) -> None:
    assert found is not None
    lookup = found.lookup()
    for number in range(32):
        row = known.get(number)
        at = lookup.find(digest(number), NOW)
        if row is None:
            assert at in (UNKNOWN, REVOKED)
        else:
            assert at == -3 if row.flags & DISABLED else lookup.row(at) == row


def test_another_pepper_is_not_gone_on_from(plane: Plane) -> None:
    plane.publisher.publish_all(b"one", rows(1))
    plane.publisher.close()
    writer = FolderWriter(plane.folder)
    other = Publisher(writer, plane.signer, SettingsSeal(settings_key(b"x" * 32)), "ffffffff", plane.clock)
    assert PEPPER_ID != "ffffffff"
    with pytest.raises(Refused, match="another pepper"):
        other.resume(plane.trust)
    other.close()
