"""The two corpora as cases: what stands behind each vector is a request, in plain sight or hidden, as its oracle says.

llhttp's own vectors carry the log of its callbacks: where that says that the message is complete and the connection
goes on, what follows is a request; everywhere else it must never be read as one. smuggler's mutations of
Transfer-Encoding come with a Content-Length each, both ways round.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.smuggling.cases import FIRST, HALVES, HIDDEN, NEXT, SECOND, Case, request
from tests.smuggling.hyper import HYPERS

CORPORA = Path(__file__).parents[1] / "corpora"
#: Vectors that llhttp refuses for what is no matter of framing: it knows a list of methods, here every token is one.
OURS = frozenset({"llhttp-request-invalid-55"})
FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")


def rows(name: str) -> list[Any]:
    return [json.loads(line) for line in (CORPORA / name).read_text().split("\n") if line]


# -- llhttp


def llhttp(door: str) -> Iterator[Case]:
    """Each request vector as it is, and with the Host that most of them lack."""
    for row in rows("http-llhttp/vectors.jsonl"):
        if row["type"].startswith("request"):
            raw = row["raw"].encode()
            yield llhttp_case(row, door, row["id"], raw)
            if b"host:" not in raw.lower() and b" HTTP/1.1\r\n" in raw:
                yield llhttp_case(row, door, row["id"] + "-hosted", with_host(raw))


def llhttp_case(row: Any, door: str, id: str, raw: bytes) -> Case:
    if goes_on(row) or row["id"] in OURS or (door == "granian" and row["id"] in HYPERS):
        return Case(id, raw + NEXT, (), (SECOND,), methods(raw))
    return Case(id, raw + HIDDEN, (), (), methods(raw))


def with_host(raw: bytes) -> bytes:
    """The vector's requests, each with a Host."""
    return raw.replace(b" HTTP/1.1\r\n", b" HTTP/1.1\r\nHost: gateway\r\n")


def goes_on(row: Any) -> bool:
    """Whether llhttp, strict, has read the whole vector as messages and would read another."""
    raw, log = row["raw"].encode(), row["log"] or ""
    last = log.strip().rpartition("\n")[2]
    ends = f"off={len(raw)} " in last and any(word in last for word in ("message complete", "pause", "Pause on"))
    strict = row["type"] == "request" and not re.search(rb"(?i)\nconnection:[^\n]*close", raw)
    return (ends and strict) or "finish=0" in last


def methods(raw: bytes) -> tuple[str, ...]:
    """Of the vector's requests."""
    return tuple(found.decode() for found in re.findall(rb"(?:^|\n)([A-Z]+) [^\r\n]* HTTP/1\.[01](?=\r\n)", raw))


# -- smuggler

ALL = len(HALVES + HIDDEN)
#: A number is JSON: the bytes that the length leaves are a whole body; the rest is a chunk to whoever reads chunks.
SIZE = b"%x" % len(HIDDEN)


def smuggler(door: str) -> Iterator[Case]:
    """Each mutation twice. cl-te: the length covers everything, the chunks end before the hidden request. te-cl: the
    length ends before it, the first chunk holds it."""
    for row in rows("http-smuggler/te_mutations.jsonl"):
        line = row["te_header"].encode("latin-1")
        ignored = no_framing(line, door)
        raw = request(b"Content-Type: application/json", b"Content-Length: %d" % ALL, line, body=HALVES + HIDDEN)
        yield Case(f"smuggler-cl-te-{row['id']}", raw, (), (FIRST,) if door == "granian" else ())
        raw = request(b"Content-Type: application/json", b"Content-Length: %d" % (len(SIZE) + 2), line)
        behind = NEXT if ignored else HIDDEN  # a field of another name: the length rules, the rest is a request
        raw += SIZE + b"\r\n" + behind + b"\r\n0\r\n\r\n"
        yield Case(f"smuggler-te-cl-{row['id']}", raw, (), (SECOND,) if ignored else ())


def no_framing(line: bytes, door: str) -> bool:
    """Whether the mutation is sound fields of other names. Granian's hyper lets a bare LF end a line."""
    lines = re.split(rb"\r?\n" if door == "granian" else rb"\r\n", line)
    fields = [FIELD.fullmatch(each) for each in lines]
    return all(found and found[1].lower() != b"transfer-encoding" for found in fields)
