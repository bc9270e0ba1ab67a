"""The pepper is made once, whole, and for its owner's eyes only."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fastpath.settings.pepper import PEPPER_SIZE, PepperError, make_pepper, read_pepper


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "state"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_call_makes_it_and_the_next_finds_it(folder: Path) -> None:
    assert read_pepper(folder) is None
    pepper = make_pepper(folder)
    assert len(pepper) == PEPPER_SIZE
    assert make_pepper(folder) == read_pepper(folder) == pepper
    assert (mode_of(folder), mode_of(folder / "pepper")) == (0o700, 0o600)
    assert [path.name for path in folder.iterdir()] == ["pepper"]


def test_a_loose_umask_changes_nothing(folder: Path) -> None:
    before = os.umask(0)
    try:
        make_pepper(folder)
    finally:
        os.umask(before)
    assert (mode_of(folder), mode_of(folder / "pepper")) == (0o700, 0o600)


def test_many_at_once_agree_on_one(folder: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        made = set(pool.map(lambda _: make_pepper(folder), range(64)))
    assert made == {read_pepper(folder)}
    assert [path.name for path in folder.iterdir()] == ["pepper"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622, 0o644])
def test_a_pepper_that_others_may_use_is_refused(folder: Path, mode: int) -> None:
    make_pepper(folder)
    (folder / "pepper").chmod(mode)
    for use in (read_pepper, make_pepper):
        with pytest.raises(PepperError, match=r"chmod 600 .*pepper"):
            use(folder)


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o755])
def test_a_folder_that_others_may_enter_is_refused(folder: Path, mode: int) -> None:
    make_pepper(folder)
    folder.chmod(mode)
    with pytest.raises(PepperError, match=r"chmod 700 .*state"):
        make_pepper(folder)


def test_a_folder_with_wrong_permissions_gets_no_pepper(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    with pytest.raises(PepperError, match="chmod 700"):
        make_pepper(folder)
    assert list(folder.iterdir()) == []


def test_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(parents=True, mode=0o700)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(bytes(32))
    (folder / "pepper").symlink_to(elsewhere)
    with pytest.raises(PepperError, match="cannot be opened"):
        read_pepper(folder)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_pepper_of_another_size_is_refused_and_kept(folder: Path, size: int) -> None:
    make_pepper(folder)
    (folder / "pepper").write_bytes(bytes(size))
    with pytest.raises(PepperError, match=r"(not|longer than) 32 bytes"):
        make_pepper(folder)
    assert (folder / "pepper").stat().st_size == size


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    for use in (read_pepper, make_pepper):
        with pytest.raises(PepperError):
            use(tmp_path / "state")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_pepper_of_another_user_is_refused(folder: Path) -> None:
    make_pepper(folder)
    os.chown(folder / "pepper", 12345, 12345)
    with pytest.raises(PepperError, match="another user"):
        read_pepper(folder)
