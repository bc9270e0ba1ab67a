"""The response parser and its twin must read any bytes alike, whole and in pieces.

The first byte of the input says how the rest is cut.
"""

from collections.abc import Iterator
from typing import Any

from target import corpus, fuzz, instrumented

with instrumented("_native.reference"):
    from _native import http1 as native
    from _native.reference import http1 as twin


def read_native(parts: list[bytes]) -> Any:
    parser = native.ResponseParser()
    body = b""
    try:
        for part in parts:
            body += parser.feed(part)
        parser.eof()
    except native.ProtocolError:
        return "refused"
    if not parser.head_done:
        return "no head yet"
    return (parser.status, parser.headers, body, parser.done, parser.keep_alive, parser.excess)


def read_twin(data: bytes) -> Any:
    try:
        found = twin.parse(data, eof=True)
    except twin.ProtocolError:
        return "refused"
    if not found.head_done:
        return "no head yet"
    return (found.status, found.headers, found.body, found.done, found.keep_alive, found.excess)


def check(data: bytes) -> None:
    if not data:
        return
    step, stream = data[0] or 1, data[1:]
    whole = read_native([stream])
    pieces = read_native([stream[at : at + step] for at in range(0, len(stream), step)])
    expected = read_twin(stream)
    assert whole == expected, (whole, expected)
    assert pieces == expected, (pieces, expected)


def seeds() -> Iterator[bytes]:
    for row in corpus("http-llhttp", "vectors.jsonl"):
        if row["type"].startswith("response"):
            yield b"\xff" + row["raw"].encode("latin-1", "replace")
            yield b"\x01" + row["raw"].encode("latin-1", "replace")


if __name__ == "__main__":
    fuzz(__file__, check, seeds)
