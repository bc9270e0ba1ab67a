"""The file of open requests: what it keeps, and what becomes of a bad one."""

from pathlib import Path

import pytest

from controlplane.settlement.holders import NAME, Holders
from tests.controlplane.ledger.facts import end, intent, mark, refused, request_id


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_a_request_is_open_from_its_intent_to_its_end_and_over_a_restart(folder: Path) -> None:
    holders = Holders(folder)
    for fact in (intent(1), mark(1), intent(2), end(2), refused(3), mark(4)):
        holders.note_all("a", [fact])
    holders.note_all("b", [intent(5)])
    holders.store()
    again = Holders(folder)
    assert again.held_by("a") == {request_id(1), request_id(4)}
    assert again.held_by("b") == {request_id(5)}
    assert (again.holds(request_id(5)), again.holds(request_id(2))) == (True, False)
    again.drop(["a", "nobody"])
    again.store()
    assert Holders(folder).streams == ["b"]


def test_an_end_whose_intent_was_lost_stays_open_until_its_worker_is_gone(folder: Path) -> None:
    holders = Holders(folder)
    holders.note_all("a", [end(1)])
    assert holders.held_by("a") == {request_id(1)}


def test_nothing_is_written_when_nothing_changed(folder: Path) -> None:
    holders = Holders(folder)
    holders.store()
    assert not (folder / NAME).exists()
    holders.note_all("a", [intent(1)])
    holders.store()
    before = (folder / NAME).stat().st_ino
    holders.store()
    assert (folder / NAME).stat().st_ino == before
    assert (folder / NAME).stat().st_mode & 0o777 == 0o600


def test_what_began_and_ended_in_one_batch_leaves_the_file_alone(folder: Path) -> None:
    holders = Holders(folder)
    holders.note_all("a", [intent(1), intent(2), mark(2), end(1), end(2), refused(3)])
    holders.store()
    assert not (folder / NAME).exists()
    holders.note_all("a", [intent(4), intent(5), end(4)])
    holders.store()
    before = (folder / NAME).stat().st_ino
    holders.note_all("a", [intent(6), end(6)])
    holders.store()
    assert (folder / NAME).stat().st_ino == before
    holders.note_all("a", [end(5)])
    holders.store()
    assert Holders(folder).held_by("a") == frozenset()


def test_a_file_with_any_wrong_byte_is_not_believed(folder: Path) -> None:
    holders = Holders(folder)
    holders.note_all("a", [intent(1)])
    holders.store()
    whole = (folder / NAME).read_bytes()
    bad = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
    for data in (*bad, b"", whole[:-1], whole + b"x"):
        (folder / NAME).write_bytes(data)
        assert Holders(folder).streams == []
