"""What tests ask of a gateway in processes of its own. `node` is its `url`, `admin(path)` and `line(text)`.

Owns nothing. Concurrency: every call blocks the calling thread.
"""

import re
import time
import urllib.error
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import psutil

PATIENCE = 60.0


def until(true: Callable[[], object], within: float = PATIENCE) -> None:
    """Waits for something in other processes that no event tells of. AssertionError after `within` seconds."""
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, f"it did not become true within {within} s"
        time.sleep(0.02)


def port_of(node: Any) -> int:
    """The port of its callers."""
    port: int | None = urlsplit(node.url).port
    assert port is not None
    return port


def ready(node: Any) -> bool:
    """Whether all of its workers take requests."""
    try:
        return bool(node.admin("/readyz"))
    except urllib.error.HTTPError as error:
        if error.code != 503:
            raise
        return False


def metric(node: Any, series: str) -> float:
    """One sample of its metrics; 0 when it is not there."""
    found = re.search(rf"^{re.escape(series)} (\S+)$", node.admin("/metrics"), re.MULTILINE)
    return float(found[1]) if found else 0.0


def over(process: psutil.Process) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
