"""What a node takes and what it refuses: whole, newer, signed, for its pepper, and nothing else."""

import gc
import os
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from _native.keytable import REVOKED, UNKNOWN, Bounds, KeyTable, build
from fastpath.publication import Accepted, PublicationError, Refused, Trust, Verifier, make_signer, share_table
from fastpath.publication.folder import Folder
from fastpath.publication.manifest import Blob, Manifest, Table, blob_hash
from fastpath.publication.sealed import Sealed, seal
from tests.publication.nodes import NOW, PEPPER_ID, Node, Plane, digest, rows
from tests.publication.power import Crash, Disk, Undo


def refused(node: Node) -> str:
    """The reason why the node takes nothing; that it was counted."""
    before = sum(node.verifier.refusals.values())
    with pytest.raises(Refused) as found:
        node.intake.take(again=True)
    assert sum(node.verifier.refusals.values()) == before + 1
    return found.value.reason


def test_a_publication_arrives_as_it_was_made(plane: Plane, node: Node) -> None:
    assert node.take() is None
    manifest = plane.publisher.publish_all(b"settings one", rows(5_000))
    found = node.take()
    assert found is not None
    assert (found.manifest, found.settings) == (manifest, b"settings one")
    lookup = found.lookup(Bounds(4, 0, 0, 3, 0))
    assert [lookup.row(lookup.find(row.digest, NOW)) for row in rows(5_000)] == rows(5_000)
    assert lookup.find(digest(5_000), NOW) == UNKNOWN
    assert node.take() is None


def test_changes_arrive_over_the_same_base(plane: Plane, node: Node) -> None:
    plane.publisher.publish_all(b"one", rows(100))
    first = node.take()
    plane.publisher.publish_changes(b"two", rows(1, 100), [digest(7)])
    second = node.take()
    assert first is not None
    assert second is not None
    assert second.base is first.base
    lookup = second.lookup()
    assert lookup.find(digest(7), NOW) == REVOKED
    assert lookup.row(lookup.find(digest(100), NOW)) == rows(1, 100)[0]
    assert first.lookup().find(digest(7), NOW) >= 0, "a request keeps what it was admitted under"


def test_an_older_publication_is_refused_also_after_a_restart(plane: Plane, node: Node) -> None:
    plane.publisher.publish_all(b"one", rows(10))
    old = plane.folder.envelope()
    assert old is not None
    node.take()
    kept = {path.name: path.read_bytes() for path in plane.path.iterdir() if path.is_file()}
    plane.publisher.publish_changes(b"two", revoked=[digest(3)])
    node.take()
    for name, data in kept.items():
        if name not in ("accepted", "accepted.lock", "writer.lock"):
            (plane.path / name).write_bytes(data)
            (plane.path / name).chmod(0o600)
    assert refused(node) == "rollback"
    restarted = Node(plane.path, plane.trust)
    assert refused(restarted) == "rollback"
    assert restarted.verifier.refusals == {"rollback": 1}


def test_the_same_publication_is_taken_again_after_a_restart(plane: Plane, node: Node) -> None:
    plane.publisher.publish_all(b"one", rows(10))
    node.take()
    found = Node(plane.path, plane.trust).take()
    assert found is not None
    assert found.settings == b"one"


def test_another_publication_of_the_same_version_is_refused(plane: Plane, node: Node, tmp_path: Path) -> None:
    plane.publisher.publish_all(b"one", rows(10))
    node.take()
    twin = Plane(tmp_path / "other", plane.signer)
    twin.publisher.publish_all(b"two", rows(9))
    for path in twin.path.iterdir():
        if path.is_file() and path.name != "writer.lock":
            os.replace(path, plane.path / path.name)
    assert refused(node) == "rollback"
    twin.publisher.close()


def test_versions_below_the_clock_do_not_stop_a_restored_control_plane(plane: Plane, node: Node) -> None:
    """Restored from a backup that knows fewer publications, it would else publish versions that nodes saw already."""
    for _ in range(5):
        plane.publisher.publish_all(b"one", rows(1))
    node.take()
    for path in plane.path.glob("manifest*"):
        path.unlink()
    plane.publisher.close()
    plane.clock.advance(1)
    plane.open()
    plane.publisher.publish_all(b"two", rows(1))
    found = node.take()
    assert found is not None
    assert found.settings == b"two"


def test_a_clock_that_goes_back_does_not_stop_publications(plane: Plane, node: Node) -> None:
    first = plane.publisher.publish_all(b"one", rows(1))
    plane.clock.advance(-86_400)
    second = plane.publisher.publish_all(b"two", rows(1))
    assert (second.version, second.previous) == (first.version + 1, first.version)
    assert node.take() is not None


@pytest.mark.parametrize("which", ["settings", "base", "delta"])
@pytest.mark.parametrize("how", ["flip", "cut", "grow", "gone", "link", "others"])
def test_a_piece_that_is_not_what_was_signed_is_refused(plane: Plane, node: Node, which: str, how: str) -> None:
    plane.publisher.publish_all(b"one", rows(700))
    manifest = plane.publisher.publish_changes(b"one", rows(3, 800))
    path = plane.path / getattr(manifest, which).name
    data = path.read_bytes()
    if how == "flip":
        at = random.Random(1).randrange(len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
    elif how == "cut":
        os.truncate(path, len(data) - 1)
    elif how == "grow":
        path.write_bytes(data + b"\0")
    elif how == "gone":
        path.unlink()
    elif how == "link":
        path.rename(plane.path / "elsewhere")
        path.symlink_to(plane.path / "elsewhere")
    else:
        path.chmod(0o604)
    if how in ("link", "others"):
        with pytest.raises(PublicationError):
            node.intake.take()
    else:
        assert refused(node) == ("missing" if how == "gone" else "damaged")
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    path.chmod(0o600)
    assert node.intake.take(again=True) is not None, "mended, it is taken"


def test_every_edit_of_a_row_is_refused(plane: Plane, node: Node) -> None:
    manifest = plane.publisher.publish_all(b"one", rows(2))
    path = plane.path / manifest.base.name
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x80]) + data[at + 1 :])
        assert refused(node) == "damaged", at


def test_a_refused_one_is_not_judged_at_every_look(plane: Plane, node: Node) -> None:
    manifest = plane.publisher.publish_all(b"one", rows(2))
    os.truncate(plane.path / manifest.base.name, 10)
    assert refused(node) == "damaged"
    assert node.intake.take() is None
    assert node.verifier.refusals == {"damaged": 1}


def test_a_missing_piece_is_waited_for(plane: Plane, node: Node) -> None:
    manifest = plane.publisher.publish_all(b"one", rows(2))
    (plane.path / manifest.base.name).rename(plane.path / "later")
    for _ in range(2):
        with pytest.raises(Refused, match="not there"):
            node.intake.take()
    (plane.path / "later").rename(plane.path / manifest.base.name)
    assert node.take() is not None


def publish_by_hand(plane: Plane, base: bytes, delta: bytes | None, pepper_id: str = PEPPER_ID) -> None:
    """Signed as it should be, with tables that no publisher would put together."""
    sealed = plane.seal.close(b"settings")
    pieces: dict[Blob | Table, bytes] = {Blob(blob_hash(sealed), len(sealed)): sealed}
    tables = [Table(KeyTable.open(data).root, len(data)) for data in (base, delta) if data is not None]
    pieces.update(zip(tables, [data for data in (base, delta) if data is not None], strict=True))
    for piece, data in pieces.items():
        plane.publisher._writer.put(piece, (data,))
    blob = Blob(blob_hash(sealed), len(sealed))
    manifest = Manifest(1, NOW, 0, NOW, pepper_id, blob, tables[0], tables[1] if delta else None)
    plane.publisher._writer.commit(plane.signer.seal(manifest))


def test_tables_that_do_not_belong_together_are_refused(plane: Plane, node: Node) -> None:
    base = build(rows(3), PEPPER_ID)
    publish_by_hand(plane, base, build(rows(1, 9), PEPPER_ID, b"x" * 32))
    assert refused(node) == "damaged"
    publish_by_hand(plane, build(rows(3), "ffffffff"), None)
    assert refused(node) == "pepper"
    publish_by_hand(plane, base, None, "ffffffff")
    assert refused(node) == "pepper"
    publish_by_hand(plane, base, None)
    assert node.take() is not None


def test_a_foreign_control_plane_is_refused(plane: Plane, tmp_path: Path) -> None:
    plane.publisher.publish_all(b"one", rows(2))
    stranger = Node(plane.path, Trust([make_signer(tmp_path / "others").public]))
    assert refused(stranger) == "signature"


def test_keys_rotate_while_nodes_follow(plane: Plane, node: Node, tmp_path: Path) -> None:
    plane.publisher.publish_all(b"one", rows(2))
    node.take()
    following = make_signer(tmp_path / "next")
    node.verifier.trust = Trust([plane.signer.public, following.public])
    plane.publisher.publish_changes(b"two")
    assert node.take() is not None
    plane.publisher.signer = following
    plane.publisher.publish_changes(b"three")
    found = node.take()
    assert found is not None
    node.verifier.trust = Trust([following.public])
    plane.publisher.signer = plane.signer
    plane.publisher.publish_changes(b"four")
    assert refused(node) == "signature"


def test_an_unfit_one_leaves_the_one_before_to_start_from(plane: Plane, node: Node) -> None:
    plane.publisher.publish_all(b"good", rows(2))
    node.take()
    plane.publisher.publish_changes(b"bad", rows(1, 5))
    found = node.intake.take()
    assert found is not None
    node.intake.decline(found, Refused("unfit", "a setting of a newer version"))
    assert node.verifier.refusals == {"unfit": 1}
    assert found.delta is not None
    assert (found.delta.sealed.descriptor, found.base.sealed.descriptor >= 0) == (-1, True)
    restarted = Node(plane.path, plane.trust)
    before = restarted.intake.take_previous()
    assert before is not None
    assert before.settings == b"good"
    accepted = restarted.intake.take()
    assert accepted is not None
    restarted.intake.accept(accepted)
    with pytest.raises(Refused, match="was taken"):
        restarted.intake.take_previous()


def test_an_older_one_cannot_become_the_last_one(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "published").path
    one, other = Accepted(folder), Accepted(folder)
    one.advance(5, "a" * 64)
    other.advance(5, "a" * 64)
    for version, mark in ((4, "a" * 64), (5, "b" * 64)):
        with pytest.raises(Refused):
            other.advance(version, mark)
    assert one.last() == other.last() == (5, "a" * 64)


@pytest.mark.parametrize("undo", ["none", "all"])
def test_a_crash_while_accepting_leaves_the_one_or_the_other(tmp_path: Path, undo: Undo) -> None:
    for die_at in range(1, 30):
        plane = Plane(tmp_path / str(die_at))
        plane.publisher.publish_all(b"one", rows(2))
        Node(plane.path, plane.trust).take()
        plane.publisher.publish_changes(b"two")
        node = Node(plane.path, plane.trust)
        found = node.intake.take()
        assert found is not None
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, die_at, undo)
            with suppress(Crash):
                node.intake.accept(found)
        disk.lose_power(plane.path)
        plane.publisher.close()
        last, _ = Accepted(plane.path).last()
        assert last in (found.manifest.version, found.manifest.previous)
        assert Node(plane.path, plane.trust).take() is not None
        if disk.count < die_at:
            break
    assert die_at > 5


@pytest.mark.parametrize("text", ["", "5", "x " + "a" * 64, "5 " + "a" * 63, "9" * 500])
def test_a_damaged_record_of_the_last_one_is_told(plane: Plane, node: Node, text: str) -> None:
    plane.publisher.publish_all(b"one", rows(1))
    node.take()
    (plane.path / "accepted").write_text(text)
    with pytest.raises(PublicationError, match="remove it"):
        Node(plane.path, plane.trust).take()


def test_what_was_verified_outlives_its_file(plane: Plane, node: Node) -> None:
    """A map of the file itself would kill this process at the first look after the cut (SIGBUS)."""
    manifest = plane.publisher.publish_all(b"one", rows(5_000))
    found = node.take()
    assert found is not None
    path = plane.path / manifest.base.name
    os.truncate(path, 0)
    path.unlink()
    assert [found.lookup().find(row.digest, NOW) >= 0 for row in rows(5_000)] == [True] * 5_000


def test_a_verified_table_is_shared_but_never_written(plane: Plane, node: Node) -> None:
    plane.publisher.publish_all(b"one", rows(50))
    found = node.take()
    assert found is not None
    handed = os.dup(found.base.sealed.descriptor)
    shared = share_table(handed)
    assert shared.table.root == found.base.table.root
    for change in (lambda: os.pwrite(handed, b"x", 200), lambda: os.ftruncate(handed, 10)):
        with pytest.raises(PermissionError):
            change()
    shared.close()
    assert shared.table.index_of(digest(3)) >= 0, "the table outlives its descriptor"


def test_memory_that_could_still_change_is_not_shared() -> None:
    descriptor = os.memfd_create("open", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(descriptor, build(rows(1), PEPPER_ID))
    with pytest.raises(ValueError, match="not sealed"):
        Sealed(descriptor)
    os.close(descriptor)


def open_descriptors() -> int:
    gc.collect()  # pytest.raises keeps the frames of what it caught
    return len(os.listdir("/proc/self/fd"))


def test_no_descriptor_is_left_behind(plane: Plane, node: Node) -> None:
    plane.publisher.publish_all(b"one", rows(5))
    node.take()
    node.taken.clear()
    before = open_descriptors()
    for number in range(5):
        plane.publisher.publish_all(b"%d" % number, rows(5 + number))
        node.take()
        node.taken.clear()
        manifest = plane.publisher.publish_changes(b"%d" % number, rows(1, 50 + number))
        assert manifest.delta is not None
        os.truncate(plane.path / manifest.delta.name, 130)
        refused(node)
    plane.publisher.publish_all(b"end", rows(5))
    node.take()
    node.taken.clear()
    assert open_descriptors() <= before
    with pytest.raises(RuntimeError):
        seal(failing(), "x")
    assert open_descriptors() <= before


def failing() -> Iterator[bytes]:
    yield b"x"
    raise RuntimeError


def test_a_verifier_counts_by_reason(plane: Plane) -> None:
    verifier = Verifier(plane.trust, PEPPER_ID, Accepted(plane.path))
    for reason in ("missing", "rollback", "missing"):
        verifier.count(Refused(reason, ""))
    assert verifier.refusals == {"missing": 2, "rollback": 1}
