"""What a load is made of: talks, each of turns that follow each other.

Owns the shapes and the text of prompts. Does no I/O, reads no clock. Concurrency: frozen values.

One token is four bytes of text, as everywhere in the mock model server.
"""

import random
from typing import Literal

import msgspec

Manner = Literal["read", "slow", "leave_waiting", "leave_streaming"]
"""How a caller takes its answer: at once; in small pieces with pauses; it leaves before the first event; it leaves
after some events."""

TOKEN_BYTES = 4
BLOCK_TOKENS = 512
"""Tokens that one hash id of the Mooncake trace stands for."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One streamed request."""

    prompt: tuple[str, ...]
    """Contents of the messages, the user's and the assistant's in turn."""
    tokens: int
    """Length of the answer asked for."""
    manner: Manner = "read"
    leave_after: float = 0.0
    """Manner `leave_waiting`: seconds after sending. Manner `leave_streaming`: events."""
    think: float = 0.0
    """Seconds between the end of the answer before it and this request."""


class Talk(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation that begins `at` seconds after the start; each turn waits for the answer to the one before."""

    at: float
    turns: tuple[Turn, ...]


def body(turn: Turn, tag: str) -> bytes:
    """The JSON body of a turn. `tag` is how the model server's log finds it again."""
    roles = ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(turn.prompt)]
    common = {"model": "llama", "stream": True, "stream_options": {"include_usage": True}}
    return msgspec.json.encode({**common, "messages": messages, "max_tokens": turn.tokens, "tag": tag})


def text_of(seed: str, tokens: int) -> str:
    """So many tokens of text that depend on the seed alone."""
    drawn = random.Random(seed).getrandbits(16 * tokens) if tokens else 0
    return f"{drawn:0{tokens * TOKEN_BYTES}x}"[: tokens * TOKEN_BYTES]


def text_of_blocks(ids: tuple[int, ...], tokens: int) -> str:
    """`tokens` tokens, a block of BLOCK_TOKENS per id: prompts that share their first ids share their first bytes."""
    return "".join(text_of(f"block {one}", BLOCK_TOKENS) for one in ids)[: tokens * TOKEN_BYTES]
