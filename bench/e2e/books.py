"""Fastpath's own account of a measurement: its log lines and its metrics must equal what it served.

Owns the reading of both, and empties the log between measurements. A proxy that loses or invents lines is quick for
the wrong reason.
"""

import os
import time
import urllib.request
from pathlib import Path

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from bench.stage.gateway import Subject

SETTLE = 10.0
"""Seconds that the log's thread may take to write what is counted."""


class Books(msgspec.Struct, frozen=True):
    """Lines in the access log since it was emptied, and requests in the metrics since the start."""

    lines: int
    requests: int


def open_books(subject: Subject) -> Books:
    """Empties the log (it is opened for appending, so its writer does not mind) and notes where the metrics stand."""
    assert subject.log is not None
    requests = _settled(subject, None).requests
    os.truncate(subject.log, 0)
    return Books(0, requests)


def read_books(subject: Subject, before: Books) -> Books:
    """Both, as soon as they agree and nothing is in flight; as they are when that does not happen in time."""
    return _settled(subject, before)


def _settled(subject: Subject, before: Books | None) -> Books:
    assert subject.log is not None
    end = time.monotonic() + SETTLE
    last = -1
    while True:
        counts = read_metrics(subject.admin)
        books = Books(count_lines(subject.log), int(counts.get("ai_inference_requests_total", 0)))
        quiet = not counts.get("ai_inference_in_flight", 0)
        agreed = books.lines == last if before is None else books.lines == books.requests - before.requests
        if (quiet and agreed) or time.monotonic() > end:
            return books
        last = books.lines
        time.sleep(0.1)


def count_lines(path: Path) -> int:
    """Lines of a file; 0 before it is made."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def read_metrics(port: int) -> dict[str, float]:
    """Sums of all samples of the admin port, by sample name."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


def judge(before: Books, after: Books, served: int, cut: int) -> str | None:
    """Why the books do not match; None when they do. `served` were answered whole, at most `cut` more were begun."""
    lines, requests = after.lines - before.lines, after.requests - before.requests
    if lines != requests:
        return f"{lines} log lines for {requests} counted requests"
    if not served <= requests <= served + cut:
        return f"{requests} counted requests for {served} served (and at most {cut} cut off)"
    return None
