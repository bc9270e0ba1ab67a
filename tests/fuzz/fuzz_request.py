"""The request parser and its twin must read any bytes alike, whole and in pieces.

The first byte of the input says how the rest is cut.
"""

from collections.abc import Iterator
from typing import Any

from target import corpus, fuzz, instrumented

with instrumented("_native.reference"):
    from _native import http1 as native
    from _native.reference import http1 as twin

FACTS = ("method", "target", "fields", "repeated", "expects_continue", "done", "keep_alive", "rest")


def read_native(parts: list[bytes]) -> Any:
    parser = native.RequestParser()
    body = b""
    try:
        for part in parts:
            body += parser.feed(part)
    except native.ProtocolError:
        return "refused"
    return [body, *(getattr(parser, name) for name in FACTS)] if parser.head_done else "no head yet"


def read_twin(data: bytes) -> Any:
    try:
        found = twin.parse_request(data)
    except twin.ProtocolError:
        return "refused"
    return [found.body, *(getattr(found, name) for name in FACTS)] if found.head_done else "no head yet"


def check(data: bytes) -> None:
    if not data:
        return
    step, stream = data[0] or 1, data[1:]
    expected = read_twin(stream)
    whole = read_native([stream])
    assert whole == expected, (whole, expected)
    pieces = read_native([stream[at : at + step] for at in range(0, len(stream), step)])
    assert pieces == expected, (pieces, expected)


def seeds() -> Iterator[bytes]:
    for row in corpus("http-llhttp", "vectors.jsonl"):
        if row["type"].startswith("request"):
            yield b"\xff" + row["raw"].encode("latin-1", "replace")
            yield b"\x01" + row["raw"].encode("latin-1", "replace")


if __name__ == "__main__":
    fuzz(__file__, check, seeds)
