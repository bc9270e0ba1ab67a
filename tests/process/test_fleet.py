"""The rules of replacing workers that need no process."""

import pytest

from fastpath.process.fleet import backoff, describe_exit
from fastpath.process.member import child_environment


def test_backoff_starts_small_and_ends_at_two_seconds() -> None:
    assert [backoff(deaths) for deaths in range(7)] == [0, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0]
    assert backoff(10**6) == 2.0


@pytest.mark.parametrize(("code", "words"), [(3, "status 3"), (-9, "SIGKILL"), (-11, "SIGSEGV"), (-200, "signal 200")])
def test_exits_are_told_in_words(code: int, words: str) -> None:
    assert words in describe_exit(code)


def test_a_child_sees_only_what_is_allowed() -> None:
    environ = {
        "PATH": "/bin",
        "LC_ALL": "C.UTF-8",
        "XDG_STATE_HOME": "/state",
        "XDG_SECRET": "canary",
        "FASTPATH_DEBUG_NATIVE": "1",
        "FASTPATH_KEY": "canary",
        "UPSTREAM_KEY": "canary",
        "NOTIFY_SOCKET": "/run/notify",
        "PYTHONSTARTUP": "x",
        "PATHS": "x",
    }
    allowed = {"PATH", "LC_ALL", "XDG_STATE_HOME", "FASTPATH_DEBUG_NATIVE"}
    assert set(child_environment(environ, {"XDG_SECRET"})) == allowed
