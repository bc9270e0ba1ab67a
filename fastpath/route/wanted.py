"""What a request wants of an endpoint: capabilities, room for its tokens, a language. Found once, for routes that ask.

Owns how each is told from the body. Nothing is parsed again: field spans come from the one pass that decoding made, and
the rest are searches for names in quotes, which no string of a prompt can contain (its quotes are escaped). A caller
that writes such a name with escapes hides it, and may be sent where it cannot be served. Synchronous.
"""

import msgspec

from _native.score import Ask
from fastpath.context import RequestContext
from fastpath.money.estimate import take_sample
from fastpath.policy.question import CLASSES
from fastpath.policy.stage import UNSAID
from scheduler.steps import AUDIO, JSON_OBJECT, JSON_SCHEMA, REASONING, TOOLS, VISION

#: What a picture or a sound counts as, whatever its size: about what models make of a large one.
MEDIA_TOKENS = 1_000
BYTES_PER_TOKEN = 4
#: APIs whose bodies have messages with parts.
_DIALOGUES = ("chat", "messages", "responses")
#: Where texts are, by API.
_TEXTS = ("messages", "prompt", "input")
_PICTURES = (b'"image_url"', b'"image"', b'"input_image"')
_SOUNDS = (b'"input_audio"',)
#: Where the base64 of a picture or a sound begins.
_DATA = (b'"data:', b'"data":"', b'"data": "')
#: How the UTF-8 of a script begins, and how much of a sample makes a text one of a language. Kana is not in Chinese.
_SCRIPTS = (
    ("ja", (b"\xe3\x81", b"\xe3\x82", b"\xe3\x83")),
    ("ko", (b"\xea", b"\xeb", b"\xec", b"\xed")),
    ("zh", (b"\xe4", b"\xe5", b"\xe6", b"\xe7", b"\xe8", b"\xe9")),
    ("ru", (b"\xd0", b"\xd1")),
    ("ar", (b"\xd8", b"\xd9")),
    ("he", (b"\xd7",)),
    ("th", (b"\xe0",)),
)
_ENOUGH = 0.05
_FOREIGN = 0.005


class Wanted(msgspec.Struct, frozen=True):
    """wants: bits of capabilities, in the order of `scheduler.steps.CAPABILITIES`. language: as `zh`, None: not asked,
    or not known."""

    ask: Ask
    wants: int
    language: str | None


def want(ctx: RequestContext, answer: int, languages: bool) -> Wanted:
    """What ctx's request wants. answer: tokens expected of one that does not say; languages: whether to guess one."""
    said = ctx.gist.answer_most if ctx.gist is not None else 0
    wants, media = _look(ctx)
    prompt = _prompt_tokens(ctx, media)
    ask = Ask(class_of(ctx), prompt, min(said, answer) if said else answer, prompt + (said or answer))
    return Wanted(ask, wants, guess_language(_sample(ctx)) if languages else None)


def class_of(ctx: RequestContext) -> int:
    """Its data class as a number, 0 the most sensitive."""
    return CLASSES.index(ctx.record.data_class or UNSAID)


def guess_language(text: bytes) -> str | None:
    """The language that a script gives away; `en` for plain ASCII; None for all else, which has many."""
    if not text or b"\\u" in text:  # spelt with escapes: it could be anything
        return None
    for language, leads in _SCRIPTS:
        if sum(text.count(lead) for lead in leads) >= _ENOUGH * len(text) / 3:
            return language
    foreign = sum(byte >= 0x80 for byte in text)
    return "en" if foreign <= _FOREIGN * len(text) else None


def _look(ctx: RequestContext) -> tuple[int, tuple[int, int]]:
    """Capabilities, and how many pictures and sounds there are and how many bytes they take."""
    members, path, body = ctx.members, ctx.path, ctx.body
    if members is None or path is None or path.api not in _DIALOGUES:
        return 0, (0, 0)
    spans = members.spans()
    wants = TOOLS if _says_something(body, spans.get("tools")) else 0
    wants |= _shape_of(body, sorted(span for name, span in spans.items() if name in ("messages", "input", "tools")))
    dialogue = spans.get("messages") or spans.get("input")
    if members.plain or dialogue is None:
        return wants, (0, 0)
    wants |= VISION if any(body.find(word, *dialogue) >= 0 for word in _PICTURES) else 0
    wants |= AUDIO if any(body.find(word, *dialogue) >= 0 for word in _SOUNDS) else 0
    return wants, _media(body, *dialogue) if wants & (VISION | AUDIO) else (0, 0)


def _says_something(body: bytes, span: tuple[int, int] | None) -> bool:
    """Whether a list has anything in it."""
    return span is not None and body[span[0]] == ord("[") and body[span[0] + 1 : span[1] - 1].strip() != b""


def _shape_of(body: bytes, bulk: list[tuple[int, int]]) -> int:
    """What is said outside the bulk about the shape of the answer, and thinking before it."""
    wants, at = 0, 0
    for start, end in [*bulk, (len(body), len(body))]:
        if body.find(b'"response_format"', at, start) >= 0 or body.find(b'"format"', at, start) >= 0:
            if body.find(b'"json_schema"', at, start) >= 0:
                wants |= JSON_SCHEMA
            elif body.find(b'"json_object"', at, start) >= 0:
                wants |= JSON_OBJECT
        if body.find(b'"reasoning_effort"', at, start) >= 0 or body.find(b'"thinking"', at, start) >= 0:
            wants |= REASONING
        at = end
    return wants


def _media(body: bytes, start: int, end: int) -> tuple[int, int]:
    """Pictures and sounds that are inside the body, as (how many, bytes)."""
    count = size = 0
    for mark in _DATA:
        at = body.find(mark, start, end)
        while at >= 0:
            begin = at + len(mark)
            close = body.find(b'"', begin, end)
            close = end if close < 0 else close
            count, size = count + 1, size + close - begin
            at = body.find(mark, close, end)
    return count, size


def _prompt_tokens(ctx: RequestContext, media: tuple[int, int]) -> int:
    count, size = media
    if ctx.members is None:
        return 0  # an upload is no text
    return max(len(ctx.body) - size, 0) // BYTES_PER_TOKEN + count * MEDIA_TOKENS


def _sample(ctx: RequestContext) -> bytes:
    """Some of the prompt's text."""
    texts = (ctx.members.text(name) for name in _TEXTS) if ctx.members is not None else ()
    return next((take_sample(text).text for text in texts if text is not None), b"")
