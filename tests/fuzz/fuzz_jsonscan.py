"""The JSON kernel and its twin must say the same of any bytes, and agree with the standard library on validity."""

from collections.abc import Iterator
from typing import Any

from target import fuzz, instrumented, payloads

with instrumented("_native.reference"):
    from _native import jsonscan as native
    from _native.reference import jsonscan as twin

NAMES = ["model", "stream", "max_tokens", "messages", "n"]


def outcome(module: Any, call: str, data: bytes) -> Any:
    """What a call returns or raises, comparable across the two."""
    target = module.Fields(NAMES) if call in ("spans", "insertion") else module
    try:
        return getattr(target, call)(data)
    except (module.JsonError, module.DuplicateField) as error:
        return type(error).__name__, vars(error)


def check(data: bytes) -> None:
    for call in ("scan", "frame_facts", "spans", "insertion"):
        ours, theirs = outcome(native, call, data), outcome(twin, call, data)
        assert ours == theirs, (call, ours, theirs)
    assert (native.scan(data) == -1) == twin.is_valid(data)


def seeds() -> Iterator[bytes]:
    yield from payloads("json-suite", "json_parsing.jsonl")
    yield b'{"choices":[{"finish_reason":"stop"}],"usage":{"n":1},"error":{},"type":"x"}'
    # One pair each: the first duplicate hides the rest.
    for spelling in (b"Model", b"\\u006dodel", b"mod\\u0045l", b"models"):
        yield b'{"model":1,"' + spelling + b'":2}'
    for spelling in (b"me\xc5\xbfsages", b"me\\u017Fsages"):
        yield b'{"messages":1,"' + spelling + b'":2}'
    for spelling in (b"max_to\xe2\x84\xaaens", b"max_to\\u212aens"):
        yield b'{"max_tokens":1,"' + spelling + b'":2}'


if __name__ == "__main__":
    fuzz(__file__, check, seeds)
