"""What makes the settings be read again, and what of them a running node takes."""

import os
from pathlib import Path

from msgspec.structs import replace

from fastpath.process.reload import FileWatch, keep_fixed
from fastpath.settings import Limits, Listen, Log, Model, Settings


def test_a_change_is_told_once_and_only_when_it_has_settled(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("a")
    watch = FileWatch(path)
    assert not watch.changed()
    path.write_text("half")
    assert not watch.changed()
    path.write_text("a whole file")
    assert not watch.changed()
    assert watch.changed()
    assert not watch.changed()


def test_a_rename_over_the_file_is_a_change(tmp_path: Path) -> None:
    path, new = tmp_path / "f", tmp_path / "g"
    path.write_text("a")
    new.write_text("b")
    stamp = path.stat()
    os.utime(new, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    watch = FileWatch(path)
    new.rename(path)
    assert [watch.changed(), watch.changed()] == [False, True]


def test_a_link_that_moves_is_a_change(tmp_path: Path) -> None:
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)
    (tmp_path / "data").symlink_to("1")
    watch = FileWatch(tmp_path / "data" / "f")
    (tmp_path / "next").symlink_to("2")
    (tmp_path / "next").rename(tmp_path / "data")
    assert [watch.changed(), watch.changed()] == [False, True]


def test_a_file_that_vanishes_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("a")
    watch = FileWatch(path)
    path.unlink()
    assert [watch.changed() for _ in range(4)] == [False, True, False, False]


def test_what_is_fixed_keeps_its_running_value_and_is_named() -> None:
    running = Settings()
    wanted = Settings(
        listen=Listen(port=9000, drain=5),
        workers=4,
        log=Log(access="off"),
        limits=Limits(memory=1 << 30, frame=1000),
        models=(Model(name="new", endpoints=()),),
    )
    effective, paths = keep_fixed(running, wanted)
    assert paths == ["workers", "listen.port", "log.access", "limits.memory"]
    assert effective == replace(
        running, listen=Listen(drain=5), limits=Limits(frame=1000), models=(Model(name="new", endpoints=()),)
    )


def test_equal_settings_have_nothing_fixed() -> None:
    assert keep_fixed(Settings(), Settings()) == (Settings(), [])
