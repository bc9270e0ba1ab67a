"""What an answer says, before any dialect gives it a shape: text or tool calls, in pieces of one token.

Everything follows from the prompt, the seeds and the fault; nothing here knows HTTP. Pure functions.
"""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from backends.mock.errors import RefusedError
from backends.mock.fault import Fault
from backends.mock.options import MockOptions
from backends.mock.schema import example
from backends.mock.tokens import compose, count_tokens, digest, slice_text, stop_at


class Tool(msgspec.Struct, frozen=True):
    """A function the caller offers."""

    name: str
    schema: dict[str, Any]


class Call(msgspec.Struct, frozen=True):
    """A call of a tool; `pieces` joined are its arguments in JSON."""

    id: str
    name: str
    pieces: Sequence[str]

    @property
    def arguments(self) -> str:
        """The whole arguments."""
        return "".join(self.pieces)


class Draft(msgspec.Struct, frozen=True):
    """One choice. Either `pieces` or `calls` is filled."""

    pieces: Sequence[str]
    calls: tuple[Call, ...]
    finish: str
    """`stop`, `length` or `tool_calls`, as chat completions name them."""

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)

    @property
    def tokens(self) -> int:
        """Generated tokens."""
        return len(self.pieces) + sum(len(call.pieces) for call in self.calls)


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the request asks of an answer."""

    limit: int | None = None
    """Most tokens."""

    stops: tuple[str, ...] = ()
    schema: dict[str, Any] | None = None
    """JSON Schema of a structured answer; {} is any object."""

    tools: tuple[Tool, ...] = ()
    """Tools that are called."""

    seed: int | None = None
    count: int = 1
    """Number of choices."""


class Context(msgspec.Struct, frozen=True):
    """What is fixed about one request before its body is looked at."""

    options: MockOptions
    fault: Fault
    number: int
    created: int

    def identity(self, prefix: str, *more: int | str) -> str:
        """An id unique to this request."""
        return prefix + digest("id", self.options.seed, self.number, *more).hex()[:24]

    def shown_model(self, name: str) -> str:
        """The model's name as the answer gives it."""
        wrong = self.fault.wrong_model_name
        if wrong is True:
            return "another-model"
        return wrong or name


def draft_all(context: Context, prompt: bytes, wish: Wish) -> tuple[Draft, ...]:
    """The choices of an answer. Raises RefusedError (400) for a schema that cannot be met."""
    try:
        return tuple(_draft(context, prompt, wish, index) for index in range(wish.count))
    except (ValueError, TypeError, AttributeError) as error:  # a schema may hold anything
        raise RefusedError(400, f"Invalid schema: {error}", code="invalid_schema") from error


def _draft(context: Context, prompt: bytes, wish: Wish, index: int) -> Draft:
    if wish.tools:
        calls = tuple(_call(context, tool, index, number) for number, tool in enumerate(wish.tools))
        return Draft((), calls, "tool_calls")
    pieces, finish = _limited(context, _pieces(context, prompt, wish, index), wish)
    return Draft(pieces, (), finish)


def _call(context: Context, tool: Tool, index: int, number: int) -> Call:
    arguments = json.dumps(example(tool.schema or {"type": "object"}))
    return Call(context.identity("call_", index, number), tool.name, slice_text(arguments))


def _pieces(context: Context, prompt: bytes, wish: Wish, index: int) -> list[str]:
    fault, options = context.fault, context.options
    if wish.schema is not None:
        return slice_text(json.dumps(example(wish.schema or ANY_OBJECT)))
    if fault.firehose:
        return ["a"] * fault.firehose
    more = context.number if options.vary else 0
    seed = digest(options.seed, "" if wish.seed is None else wish.seed, index, more, prompt)
    length = options.tokens if fault.tokens is None else fault.tokens
    pieces = compose(seed, length)
    return ["x" * fault.huge_event, *pieces] if fault.huge_event else pieces


ANY_OBJECT: dict[str, Any] = {"type": "object", "properties": {"answer": {"type": "string"}}}


def _limited(context: Context, pieces: list[str], wish: Wish) -> tuple[list[str], str]:
    kept, stopped = stop_at(pieces, wish.stops) if wish.stops else (pieces, False)
    limit = wish.limit
    if limit is None or len(kept) <= limit or context.fault.firehose or context.fault.huge_event:
        return kept, "stop"
    return kept[:limit], "stop" if stopped and len(kept) <= limit else "length"


def prompt_tokens(prompt: bytes) -> int:
    """Tokens of a rendered prompt; an empty one has 1, since every server adds a start token."""
    return max(1, count_tokens(prompt))
