"""Gemini's whole answers, as chat completions. Pure."""

import msgspec

from backends.dialects.chunks import Call, Choice, Whole
from backends.dialects.dialect import BadAnswer, Failed
from backends.dialects.gemini.errors import retell
from backends.dialects.gemini.response import (
    Candidate,
    Response,
    call_of,
    carried,
    finish_of,
    read_response,
    usage_in,
)
from backends.dialects.raw import is_given


def retell_answer(body: bytes, model: str, created: int, ident: str) -> bytes:
    """The chat completion. model and ident: for an answer that gives none. Raises BadAnswer and Failed."""
    response = read_response(body)
    if is_given(response.error):
        raise Failed(retell(500, body)[1])
    first, *others = choices = _choices(response, ident)
    silent = not any(choice.text or choice.reasoning or choice.calls for choice in choices)
    return Whole(
        id=f"chatcmpl-{response.response_id or ident}",
        created=created,
        model=response.model_version or model,
        usage=usage_in(body, silent),
        others=others,
        **msgspec.structs.asdict(first),
    ).encode()


def _choices(response: Response, ident: str) -> list[Choice]:
    if response.blocked:
        return [Choice(text=None, finish="content_filter")]
    candidates = sorted(response.candidates or (), key=lambda candidate: candidate.index)
    if not candidates or [candidate.index for candidate in candidates] != list(range(len(candidates))):
        raise BadAnswer("an answer without candidates" if not candidates else "candidates are missing or twice there")
    return [_choice(candidate, f"{ident}_{candidate.index}") for candidate in candidates]


def _choice(candidate: Candidate, ident: str) -> Choice:
    said: list[str] = []
    thought: list[str] = []
    calls: list[Call] = []
    for part in candidate.parts:
        if not carried(part):
            raise BadAnswer("a part that chat completions cannot carry")
        call = call_of(part, f"call_{ident}_{len(calls)}")
        if call is not None:
            calls.append(call)
        elif part.text:
            (thought if part.thought else said).append(part.text)
    finish = finish_of(candidate.finish_reason or "", len(calls))
    if finish is None:
        raise BadAnswer(f"the candidate ended with {(candidate.finish_reason or 'no reason')[:100]}")
    text = "".join(said)
    return Choice(text=None if calls and not text else text, reasoning="".join(thought), calls=calls, finish=finish)
