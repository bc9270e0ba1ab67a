"""What a dialect is: a provider's API, spoken by those who only know OpenAI's chat completions.

Owns the contract between a translation and whoever carries bytes (`translate`), and the words in which a translation
fails. Translations do no I/O, are splittable at every byte, and belong to one request.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from backends.call import Call


class Refused(Exception):
    """The request asks for something that this provider has no word for. param: the field; the caller must drop it."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


class BadAnswer(Exception):
    """What the provider said is no answer in its own dialect. The text is for our log.

    told: what the good events before the bad one gave, which is passed on.
    """

    told = b""


class Failed(Exception):
    """The provider said in its answer that it failed. body: the same as an OpenAI error object, JSON."""

    def __init__(self, body: bytes) -> None:
        super().__init__("an error in the answer")
        self.body = body


class StreamTranslator(Protocol):
    """A provider's stream in, OpenAI's events out. Both may be cut anywhere."""

    complete: bool
    """The provider said that this was all, and `[DONE]` was given."""

    def feed(self, data: bytes) -> bytes:
        """The whole events that `data` completes, b"" for none. An error of the provider is one of them, the last, and
        no `[DONE]` follows. Raises BadAnswer."""
        ...

    def end(self) -> bytes:
        """The stream ended: what a last event without its line end gives. Raises BadAnswer."""
        ...


def _no_stream() -> StreamTranslator:
    raise AssertionError("nothing of this is streamed")


@dataclass(frozen=True, slots=True)
class Translation:
    """One request: what is sent for it, and how its answer is read."""

    call: Call
    """In the provider's dialect. The caller's fields that it does not need are gone."""

    answer: Callable[[bytes], bytes]
    """A whole answer as OpenAI's. Raises BadAnswer, and Failed for an error under status 200."""

    error: Callable[[int, bytes], tuple[int, bytes]]
    """A refusal (status 400 or more) as OpenAI's: status and body. Any bytes make one."""

    media: bytes | None = None
    """Content type of the stream that was asked for, None where a whole answer was."""

    stream: Callable[[], StreamTranslator] = _no_stream


class Dialect(Protocol):
    """A provider's API. Immutable; serves all requests of its endpoints."""

    name: str
    """As settings call it."""

    paths: frozenset[str]
    """API paths, as callers write them, that are translated."""

    native: frozenset[str]
    """API paths that the provider itself has: their bodies pass as they are."""

    auth: str
    """Field that carries the endpoint's key."""

    def begin(self, call: Call, created: int, ident: str) -> Translation:
        """Translates a request. created: Unix seconds; ident: for an answer whose provider gives it none. Raises
        Refused. `call` and its body are not kept."""
        ...
