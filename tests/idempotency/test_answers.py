"""Kept answers: what is written is read by its own request alone, damaged or not, and old ones go."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.idempotency.answers import LARGEST_FILE, Answer, Answers, Bounds
from fastpath.idempotency.moment import SECOND, Moment, take_moment
from fastpath.idempotency.segment import list_segments
from fastpath.idempotency.slot import Mark, Place
from scheduler.clock import ManualClock

SECRET = b"s" * 32
MARK = Mark(b"k" * 16, b"b" * 16)
ANSWER = Answer(200, ((b"content-type", b"application/json"),), b'{"text": "canary-77aa"}', False)
BOUNDS = Bounds(disk=1 << 30, ttl=86_400 * SECOND)
CLOCK = ManualClock()
NOW = take_moment(CLOCK, b"boot-one")


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    return Answers(tmp_path, SECRET)


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def later(seconds: float) -> Moment:
    return NOW._replace(monotonic=NOW.monotonic + int(seconds * SECOND))


def test_what_is_written_is_read_by_another_writer(answers: Answers, tmp_path: Path) -> None:
    first = answers.write(MARK, ANSWER, NOW, BOUNDS)
    second = answers.write(MARK, Answer(422, (), b"no", True), NOW, BOUNDS)
    other = Answers(tmp_path, SECRET)
    assert other.read(MARK, first) == ANSWER
    assert other.read(MARK, second) == Answer(422, (), b"no", True)
    assert only_file(tmp_path).stat().st_mode & 0o777 == 0o600


def test_nothing_of_an_answer_is_in_the_file(answers: Answers, tmp_path: Path) -> None:
    answers.write(MARK, ANSWER, NOW, BOUNDS)
    answers.write(MARK, ANSWER, NOW, BOUNDS)
    data = only_file(tmp_path).read_bytes()
    assert b"canary" not in data
    assert b"content-type" not in data
    assert data[: len(data) // 2] != data[len(data) // 2 :]  # each has a nonce of its own


@pytest.mark.parametrize("other", [Mark(b"x" * 16, b"b" * 16), Mark(b"k" * 16, b"x" * 16)], ids=["key", "body"])
def test_an_answer_opens_for_its_own_request_alone(answers: Answers, other: Mark) -> None:
    assert answers.read(other, answers.write(MARK, ANSWER, NOW, BOUNDS)) is None


def test_an_answer_opens_under_its_own_secret_alone(answers: Answers, tmp_path: Path) -> None:
    place = answers.write(MARK, ANSWER, NOW, BOUNDS)
    assert Answers(tmp_path, b"t" * 32).read(MARK, place) is None


@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_a_damaged_answer_is_none(tmp_path_factory: pytest.TempPathFactory, at: int, flip: int) -> None:
    folder = tmp_path_factory.mktemp("answers")
    place = Answers(folder, SECRET).write(MARK, ANSWER, NOW, BOUNDS)
    path = only_file(folder)
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= flip
    path.write_bytes(data)
    assert Answers(folder, SECRET).read(MARK, place) is None


def test_a_place_that_is_none_gives_nothing(answers: Answers, tmp_path: Path) -> None:
    place = answers.write(MARK, ANSWER, NOW, BOUNDS)
    for wrong in (
        Place(bytes(8), 0, 50),
        Place(place.token, place.offset + 1, place.length),
        Place(place.token, place.offset, 3),
        Place(place.token, 1 << 30, place.length),
    ):
        assert answers.read(MARK, wrong) is None
    only_file(tmp_path).unlink()
    assert answers.read(MARK, place) is None


def test_old_files_go_with_time_and_whatever_the_wall_clock_says(answers: Answers, tmp_path: Path) -> None:
    place = answers.write(MARK, ANSWER, NOW, BOUNDS)
    (tmp_path / "other.txt").write_text("not ours")
    answers.tidy(later(86_400)._replace(wall=NOW.wall * 2), BOUNDS)
    assert answers.read(MARK, place) == ANSWER
    answers.tidy(later(86_400 + 3_601), BOUNDS)
    assert answers.read(MARK, place) is None
    assert os.listdir(tmp_path) == ["other.txt"]


def test_a_file_takes_answers_for_an_hour_or_until_it_is_large(answers: Answers, tmp_path: Path) -> None:
    answers.write(MARK, ANSWER, NOW, BOUNDS)
    answers.write(MARK, ANSWER, later(3_000), BOUNDS)
    assert len(list_segments(tmp_path)) == 1
    answers.write(MARK, ANSWER, later(3_601), BOUNDS)
    assert len(list_segments(tmp_path)) == 2
    answers.write(MARK, Answer(200, (), bytes(LARGEST_FILE), False), later(3_602), BOUNDS)
    assert len(list_segments(tmp_path)) == 3


def test_beyond_the_room_there_is_the_oldest_go(answers: Answers, tmp_path: Path) -> None:
    bounds = Bounds(disk=32 << 20, ttl=BOUNDS.ttl)
    large = Answer(200, (), bytes(LARGEST_FILE - 1_000), False)
    places = [answers.write(MARK, large, later(i), bounds) for i in range(6)]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= bounds.disk
    found = [answers.read(MARK, place) is not None for place in places]
    assert found == [False, False, True, True, True, True]


def test_a_full_disk_is_said_and_nothing_is_put_behind_half_an_answer(
    answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = answers.write(MARK, ANSWER, NOW, BOUNDS)
    real = os.pwrite

    def full(descriptor: int, data: memoryview, offset: int) -> int:
        if len(data) > 20:
            return real(descriptor, data[:20], offset)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space"):
            answers.write(MARK, ANSWER, NOW, BOUNDS)
    assert answers.read(MARK, kept) == ANSWER
    assert answers.read(MARK, answers.write(MARK, ANSWER, NOW, BOUNDS)) == ANSWER
