"""The JSON kernel and its twin must say the same of any bytes, and agree with the standard library on validity."""

from collections.abc import Iterator
from typing import Any

from target import fuzz, instrumented, payloads

with instrumented("_native.reference"):
    from _native import jsonscan as native
    from _native.reference import jsonscan as twin

NAMES = ["model", "stream", "max_tokens", "messages", "n"]
PATHS = ["n", "max_tokens", "usage.cached", "usage.n"]


def read(module: Any, data: bytes) -> Any:
    """Everything that a body's decision fields say."""
    members = module.Fields(NAMES, ["messages"], "messages").read(data)
    return members.spans(), members.plain, members.small(), members.opening, module.Numbers(PATHS).read(data)


def outcome(module: Any, call: str, data: bytes) -> Any:
    """What a call returns or raises, comparable across the two."""
    try:
        return read(module, data) if call == "read" else getattr(module, call)(data)
    except (module.JsonError, module.DuplicateField, module.MisspeltField) as error:
        return type(error).__name__, vars(error)


def check(data: bytes) -> None:
    for call in ("scan", "frame_facts", "read"):
        ours, theirs = outcome(native, call, data), outcome(twin, call, data)
        assert ours == theirs, (call, ours, theirs)
    assert (native.scan(data) == -1) == twin.is_valid(data)


def seeds() -> Iterator[bytes]:
    yield from payloads("json-suite", "json_parsing.jsonl")
    yield b'{"choices":[{"finish_reason":"stop"}],"usage":{"n":1},"error":{},"type":"x"}'
    yield b'{"messages":[{"role":"user","content":"x"},{"tool_calls":[]}],"usage":{"n":1,"cached":2}}'
    # One pair each: the first duplicate hides the rest.
    for spelling in (b"Model", b"\\u006dodel", b"mod\\u0045l", b"models"):
        yield b'{"model":1,"' + spelling + b'":2}'
    for spelling in (b"me\xc5\xbfsages", b"me\\u017Fsages"):
        yield b'{"messages":1,"' + spelling + b'":2}'
    for spelling in (b"max_to\xe2\x84\xaaens", b"max_to\\u212aens"):
        yield b'{"max_tokens":1,"' + spelling + b'":2}'


if __name__ == "__main__":
    fuzz(__file__, check, seeds)
