"""POST /v1/completions."""

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import msgspec

from backends.mock.answers.answer import Answer, served_model
from backends.mock.answers.chat import StreamOptions
from backends.mock.answers.prompts import as_tuple, utf8
from backends.mock.draft import Context, Draft, Wish, draft_all
from backends.mock.errors import RefusedError
from backends.mock.sse import DONE, Event
from backends.mock.tokens import TOKEN_BYTES
from backends.mock.usage import Usage, openai_usage, put_usage

Prompts = str | list[str | int | list[int]]


class CompletionBody(msgspec.Struct):
    """The fields the mock looks at; others are accepted."""

    prompt: Prompts | None = None
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    echo: bool | None = None
    logprobs: int | None = None


def plan_completion(context: Context, body: CompletionBody) -> Answer:
    """Plans the answer. Raises RefusedError."""
    model = served_model(context, body.model)
    if (body.max_tokens or 0) < 0 or (body.n or 1) < 1:
        raise RefusedError(400, "n and max_tokens must be positive", code="integer_out_of_range")
    return CompletionAnswer(context, model, prompt_list(body.prompt or ""), body)


def prompt_list(prompt: Prompts) -> list[bytes]:
    """Texts or token arrays as one prompt's bytes each; a token id takes the four bytes of one token."""
    if isinstance(prompt, str):
        return [utf8(prompt)]
    if prompt and all(isinstance(entry, int) for entry in prompt):
        return [_token_bytes(prompt)]
    return [utf8(entry) if isinstance(entry, str) else _token_bytes(entry) for entry in prompt]


def _token_bytes(ids: Any) -> bytes:
    if not isinstance(ids, list) or not all(isinstance(entry, int) for entry in ids):
        raise RefusedError(400, "a prompt is a text, a list of texts or of token ids", code="invalid_type")
    return b"".join((entry % 2**32).to_bytes(TOKEN_BYTES, "little") for entry in ids)


class CompletionAnswer(Answer):
    """A text completion: `n` choices for each prompt."""

    def __init__(self, context: Context, model: str, prompts: list[bytes], body: CompletionBody) -> None:
        wish = Wish(limit=body.max_tokens, stops=as_tuple(body.stop), seed=body.seed, count=body.n or 1)
        self.prompt = b"".join(prompts)
        self._echoes = [_echo(prompt, body) for prompt in prompts for _ in range(wish.count)]
        self.drafts = [draft for prompt in prompts for draft in draft_all(context, prompt, wish)]
        self.steps = max(draft.tokens for draft in self.drafts)
        self.tokens = sum(draft.tokens for draft in self.drafts)
        self.streamed = bool(body.stream)
        self._asked = bool(body.stream_options and body.stream_options.include_usage)
        self._fault = context.fault
        self._logprobs = body.logprobs
        self._frame = {
            "id": context.identity("cmpl-"),
            "object": "text_completion",
            "created": context.created,
            "model": context.shown_model(model),
        }

    def body(self, cached: int) -> bytes:
        choices = [
            self._choice(index, echo + draft.text, draft.finish, draft.pieces)
            for index, (echo, draft) in enumerate(zip(self._echoes, self.drafts, strict=True))
        ]
        tree: dict[str, Any] = {**self._frame, "choices": choices}
        put_usage(tree, self._usage(cached, self.tokens), self._fault.usage)
        return msgspec.json.encode(tree)

    def _choice(self, index: int, text: str, finish: str | None, pieces: Any = ()) -> dict[str, Any]:
        logprobs = None if self._logprobs is None else _logprobs(pieces, self._logprobs)
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}

    def events(self, cached: int) -> Iterator[Event]:
        sent = 0
        for step in range(max(1, self.steps)):
            for index, draft in enumerate(self.drafts):
                if step < max(1, draft.tokens):
                    sent += bool(draft.pieces)
                    yield self._chunk(index, draft, step, cached, sent)
        yield from self._final_usage(cached)
        yield Event(DONE, step=self.last_step)

    def _chunk(self, index: int, draft: Draft, step: int, cached: int, sent: int) -> Event:
        piece = draft.pieces[step] if draft.pieces else ""
        text = (self._echoes[index] if step == 0 else "") + piece
        finish = draft.finish if step >= draft.tokens - 1 else None
        tree: dict[str, Any] = {**self._frame, "choices": [self._choice(index, text, finish, [piece])]}
        if self._fault.usage == "every":
            tree["usage"] = self._usage(cached, sent)
        elif self._asked and self._fault.usage != "none":
            tree["usage"] = None
        return Event(msgspec.json.encode(tree), step=step, tokens=int(bool(piece)), content=(index, text))

    def _final_usage(self, cached: int) -> Iterator[Event]:
        shape = self._fault.usage
        if shape != "none" and (self._asked or shape not in (None, "every")):
            choices = [self._choice(0, "", None)] if shape == "final_with_choices" else []
            tree = {**self._frame, "choices": choices}
            put_usage(tree, self._usage(cached, self.tokens), shape)
            yield Event(msgspec.json.encode(tree), step=self.last_step)

    def _usage(self, cached: int, sent: int) -> dict[str, Any]:
        return openai_usage(Usage(self.prompt_tokens, cached, sent))


def _echo(prompt: bytes, body: CompletionBody) -> str:
    return prompt.decode("utf-8", "replace") if body.echo else ""


def _logprobs(pieces: Any, top: int) -> dict[str, Any]:
    offsets = list(accumulate(map(len, pieces), initial=0))[:-1]
    values = [-0.25 for _ in pieces]
    ranked = [{piece: -0.25} for piece in pieces] if top else None
    return {"tokens": list(pieces), "token_logprobs": values, "top_logprobs": ranked, "text_offset": offsets}
