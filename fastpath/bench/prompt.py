"""Made-up prompts of a wanted length, and the request bodies around them.

Owns the text. Every prompt begins with words that only its number has, so that no prefix cache answers for the model;
prompts of a trace that shared blocks share them here too. Words have three letters: with their space four bytes, which
is one token in the vocabularies of common models (so counts are estimates; usage says what they were). Built from
slices of one seeded text, because drawing a long prompt word by word stops the loop for 30 ms per 100,000 tokens.
"""

import random
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from fastpath.bench.load import Job

Api = Literal["chat", "completions"]

#: 64 common words: a number is spelled with six bits a word.
WORDS = (
    "the", "and", "for", "are", "but", "not", "you", "all", "any", "can", "had", "her", "was", "one", "our", "out",
    "day", "get", "has", "him", "his", "how", "man", "new", "now", "old", "see", "two", "way", "who", "boy", "did",
    "its", "let", "put", "say", "she", "too", "use", "dad", "mom", "sun", "sea", "sky", "oak", "fox", "owl", "bee",
    "map", "key", "jar", "cup", "tea", "ink", "pen", "box", "hat", "arc", "bay", "cat", "eye", "ear", "far", "gem",
)  # fmt: skip
WORD_BYTES = 4
#: Words that tell one prompt from all others: 24 bits.
MARK = 4
#: Tokens of a Mooncake block.
BLOCK = 512
_TEXT_WORDS = 1 << 14
#: Knuth's multiplier: neighbouring numbers begin far from each other in the text.
_STRIDE = 2654435761


class PromptMaker:
    """Prompts that depend on the seed and the job alone."""

    def __init__(self, seed: int) -> None:
        self._offset = random.Random(f"{seed} mark").randrange(64**MARK)
        self._text = "".join(f" {word}" for word in random.Random(f"{seed} text").choices(WORDS, k=_TEXT_WORDS))

    def make(self, job: Job) -> str:
        """A prompt of about `job.input_tokens` tokens."""
        if not job.blocks:
            return self._passage(job.number, job.input_tokens).lstrip()
        whole = "".join(self._passage(block, BLOCK) for block in job.blocks)
        missing = job.input_tokens - len(whole) // WORD_BYTES
        if missing > 0:  # a trace may leave the last, unfinished block out
            whole += self._passage(-1 - job.number, missing)
        return whole[: job.input_tokens * WORD_BYTES].lstrip()

    def _passage(self, number: int, words: int) -> str:
        """`words` words that begin with a mark only `number` has."""
        mark = _spell((number * 2 if number >= 0 else -number * 2 - 1) + self._offset)
        start = number * _STRIDE % _TEXT_WORDS
        text = mark + self._slice(start, words - MARK) if words > MARK else mark
        return text[: words * WORD_BYTES]

    def _slice(self, start: int, words: int) -> str:
        begin, size = start * WORD_BYTES, words * WORD_BYTES
        turns = -(-(begin + size) // len(self._text))
        return (self._text * turns)[begin : begin + size] if turns > 1 else self._text[begin : begin + size]


def _spell(number: int) -> str:
    """The number in words, its lowest digit first, so that neighbours differ from the first word on."""
    return "".join(f" {WORDS[number >> 6 * digit & 63]}" for digit in range(MARK))


class BodyMaker:
    """Request bodies. `extra`: fields to add or replace; one that is None is left out."""

    def __init__(self, api: Api, model: str, prompts: PromptMaker, extra: Mapping[str, Any]) -> None:
        self._api = api
        self._model = model
        self._prompts = prompts
        self._extra = extra

    def make(self, job: Job) -> bytes:
        """The JSON of one request."""
        prompt = self._prompts.make(job)
        asked: dict[str, Any] = {"model": self._model}
        if self._api == "chat":
            asked["messages"] = [{"role": "user", "content": prompt}]
        else:
            asked["prompt"] = prompt
        asked |= {"max_tokens": job.output_tokens, "stream": True, "stream_options": {"include_usage": True}}
        asked |= self._extra
        return msgspec.json.encode({name: value for name, value in asked.items() if value is not None})
