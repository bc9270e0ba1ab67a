"""The answer of the Gemini dialect: candidates, whole or piece by piece."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from backends.mock.answers.answer import BROKEN, Answer
from backends.mock.draft import Call, Context, Draft
from backends.mock.errors import error_body
from backends.mock.sse import Event
from backends.mock.tokens import compose, digest
from backends.mock.usage import Usage, bend, gemini_usage

FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}
SIGNATURE = "bW9jay1zaWduYXR1cmU="


class Thinking(msgspec.Struct, frozen=True):
    """Tokens thought before the answer; shown: as parts of it; signs: its first call carries a signature."""

    tokens: int = 0
    shown: bool = False
    signs: bool = False


class CandidatesAnswer(Answer):
    """A GenerateContentResponse."""

    def __init__(
        self,
        context: Context,
        model: str,
        prompt: bytes,
        drafts: Sequence[Draft],
        thinking: Thinking,
        *,
        streamed: bool,
    ) -> None:
        self.prompt = prompt
        self.streamed = streamed
        self._drafts = drafts
        self._thinking = thinking
        self._thoughts = compose(digest("thoughts", prompt), thinking.tokens)
        self._fault = context.fault
        self.steps = thinking.tokens + max(_steps(draft) for draft in drafts)
        self.tokens = thinking.tokens + sum(draft.tokens for draft in drafts)
        self._frame = {"modelVersion": context.shown_model(model), "responseId": context.identity("")}

    def body(self, cached: int) -> bytes:
        if self._fault.blocked:
            return msgspec.json.encode(self._blocked(cached))
        tree = {"candidates": [self._whole(index, draft) for index, draft in enumerate(self._drafts)], **self._frame}
        return msgspec.json.encode(self._with_usage(tree, cached, self.tokens))

    def _whole(self, index: int, draft: Draft) -> dict[str, Any]:
        parts = [{"text": "".join(self._thoughts), "thought": True}] if self._thinking.shown else []
        parts += [self._call(number, call) for number, call in enumerate(draft.calls)]
        if not draft.calls:
            parts.append({"text": draft.text})
        return self._candidate(index, parts, self._finish(draft))

    def _candidate(self, index: int, parts: list[dict[str, Any]], finish: str | None) -> dict[str, Any]:
        tree: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": index}
        return tree if finish is None else tree | {"finishReason": finish}

    def _call(self, number: int, call: Call) -> dict[str, Any]:
        part: dict[str, Any] = {
            "functionCall": {"name": call.name, "args": msgspec.json.decode(call.arguments), "id": call.id}
        }
        if self._fault.unlabelled_tool_calls:
            del part["functionCall"]["id"]
        if self._thinking.signs and number == 0:
            part["thoughtSignature"] = SIGNATURE
        return part

    def _finish(self, draft: Draft) -> str:
        return self._fault.finish or FINISH[draft.finish]

    def _with_usage(self, tree: dict[str, Any], cached: int, sent: int) -> dict[str, Any]:
        shape = self._fault.usage
        if shape != "none":
            thought = min(sent, len(self._thoughts))
            usage = Usage(self.prompt_tokens, cached, sent - thought, thought)
            tree["usageMetadata"] = bend(gemini_usage(usage), shape)
        return tree

    def _blocked(self, cached: int) -> dict[str, Any]:
        return self._with_usage({"promptFeedback": {"blockReason": self._fault.blocked}, **self._frame}, cached, 0)

    def events(self, cached: int) -> Iterator[Event]:
        if self._fault.blocked:
            yield Event(msgspec.json.encode(self._blocked(cached)))
            return
        sent = 0
        for step, piece in enumerate(self._thoughts):
            sent += 1
            parts = [{"text": piece, "thought": True}] if self._thinking.shown else []
            yield self._event(0, parts, step, cached, sent, None)
        for index, step, part, tokens, shown in self._pieces():
            sent += tokens
            yield self._event(index, [part], step, cached, sent, shown, tokens)
        ends = [self._candidate(index, [{"text": ""}], self._finish(draft)) for index, draft in enumerate(self._drafts)]
        tree = self._with_usage({"candidates": ends, **self._frame}, cached, sent)
        yield Event(msgspec.json.encode(tree), step=self.last_step)

    def _pieces(self) -> Iterator[tuple[int, int, dict[str, Any], int, str]]:
        """Candidate, step, part, tokens and text of every event; a call comes whole, with its last token."""
        begin = len(self._thoughts)
        for index, draft in enumerate(self._drafts):
            for number, piece in enumerate(draft.pieces):
                yield index, begin + number, {"text": piece}, 1, piece
            at = begin - 1
            for number, call in enumerate(draft.calls):
                at += len(call.pieces)
                yield index, at, self._call(number, call), len(call.pieces), call.arguments

    def _event(
        self,
        index: int,
        parts: list[dict[str, Any]],
        step: int,
        cached: int,
        sent: int,
        shown: str | None,
        tokens: int = 1,
    ) -> Event:
        tree = {"candidates": [self._candidate(index, parts, None)], **self._frame}
        content = None if shown is None else (index, shown)
        return Event(msgspec.json.encode(self._with_usage(tree, cached, sent)), None, step, tokens, content)

    def failure(self) -> Event:
        return Event(error_body("/v1beta/", BROKEN))


def _steps(draft: Draft) -> int:
    return len(draft.pieces) + sum(len(call.pieces) for call in draft.calls)
