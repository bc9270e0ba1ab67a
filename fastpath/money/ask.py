"""What a request asks for, as far as it costs: read from the spans of its body, nothing decoded that need not be.

Owns which fields cost, and on which API. `spans` are those that `backends.dialects.openai.decode` finds (byte offsets
of top-level values). Does not own prices or bounds, nor how a body is changed when a clamp says less (`set_number`
there). Pure.
"""

import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

Spans: TypeAlias = Mapping[str, tuple[int, int]]
Api: TypeAlias = Literal["chat", "completions", "responses", "messages", "embeddings", "images", "other"]

#: What limits an answer's tokens on each API, the name to write first.
LIMIT_FIELDS: Mapping[str, tuple[str, ...]] = {
    "chat": ("max_tokens", "max_completion_tokens"),
    "completions": ("max_tokens",),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
}
#: The most answers that any server gives to one request (`backends.dialects.openai.Count`).
CHOICES_MOST = 128
_ASCII_ESCAPE = re.compile(rb"\\u00([2-7][0-9a-fA-F])")
_ANSWERING = frozenset(LIMIT_FIELDS)
#: The provider adds to the prompt what it keeps, and a body's size bounds nothing.
_REMEMBERED = ("previous_response_id", "conversation")
_MEDIA = re.compile(rb'"(?:input_)?(?:image|file|audio|document|video)')
_SOUND = re.compile(rb'"(?:input_|output_)?audio"')


class Ask(msgspec.Struct, frozen=True):
    """What one request may cost by its own words."""

    size: int  # bytes of the body
    max_tokens: int | None = None  # None: the caller set no limit that can be read
    limits: tuple[tuple[str, int | None], ...] = ()  # the fields that set one, each with its own
    n: int = 1
    best_of: int | None = None
    logprobs: int | None = None
    prompts: int = 1  # of a batch; each is answered
    media: int = 0  # parts that are images, files, sound or video, at most
    audio: bool = False  # sound may be heard or spoken, at its own price
    cache_long: bool = False  # asks the provider to keep the prompt for long, at its own price
    remembered: bool = False  # the prompt is more than the body
    answers: bool = True  # False: an embedding, which has no tokens of its own, or pictures, which it does not limit
    images: int = 0  # pieces asked for


class Patch(msgspec.Struct, frozen=True):
    """One top-level field that must say something else before the body is sent."""

    name: str
    value: int


def read_ask(
    body: bytes, spans: Spans, api: Api, *, media: int | None = None, sound: bool = True, ttl: bool = True
) -> Ask:
    """What the body asks for. 5 us; looking through 53 kB of it takes some 60 us more, so say what is known.

    media: parts that are not text, None to look for them. sound, ttl: whether sound and long caching have a price of
    their own, without which they need not be looked for.
    """
    n = _choices(body, spans, "n") or 1
    limits = tuple((name, _count(body, spans, name)) for name in LIMIT_FIELDS.get(api, ()) if _says(body, spans, name))
    return Ask(
        size=len(body),
        max_tokens=_largest(limits),
        limits=limits,
        n=1 if api == "images" else n,
        best_of=_choices(body, spans, "best_of") if api == "completions" else None,
        logprobs=_count(body, spans, "logprobs" if api == "completions" else "top_logprobs"),
        prompts=_prompts(body, spans, api),
        media=count_media(body) if media is None else media,
        audio=sound and _SOUND.search(_spell_out(body)) is not None,
        cache_long=ttl and api == "messages" and b'"ttl"' in _spell_out(body),
        remembered=any(_says(body, spans, name) for name in _REMEMBERED),
        answers=api in _ANSWERING,
        images=n if api == "images" else 0,
    )


def count_media(body: bytes) -> int:
    """How many parts may be media, at most: names that mark one are counted wherever they are quoted."""
    return len(_MEDIA.findall(_spell_out(body)))


def _spell_out(body: bytes) -> bytes:
    """The body with ASCII characters that are written as escapes spelt out, so that a mark cannot hide in them."""
    if b"\\" not in body or b"\\u00" not in body:
        return body
    return _ASCII_ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), body)


def _says(body: bytes, spans: Spans, name: str) -> bool:
    """Whether a field is there and not null."""
    span = spans.get(name)
    return span is not None and body[span[0] : span[1]] != b"null"


def _largest(limits: tuple[tuple[str, int | None], ...]) -> int | None:
    """The largest of several limits: servers differ about which one counts. None when one of them cannot be read."""
    known = [count for _, count in limits if count is not None]
    return max(known) if known and len(known) == len(limits) else None


def _choices(body: bytes, spans: Spans, name: str) -> int | None:
    """How many answers a field asks for; the most there can be when it says something that is no whole number."""
    count = _count(body, spans, name)
    return CHOICES_MOST if count is None and _says(body, spans, name) else count


def _count(body: bytes, spans: Spans, name: str) -> int | None:
    """The whole number that a field says; None when it says none, or nothing that is one."""
    span = spans.get(name)
    if span is None:
        return None
    text = body[span[0] : span[1]]
    return int(text) if text.isdigit() and len(text) < 19 else None


def _prompts(body: bytes, spans: Spans, api: Api) -> int:
    """How many prompts a batch has. A list of numbers is one prompt, already tokenised."""
    span = spans.get("prompt" if api == "completions" else "input") if api in ("completions", "embeddings") else None
    if span is None or body[span[0]] != 0x5B:
        return 1
    items = msgspec.json.decode(body[span[0] : span[1]], type=list[msgspec.Raw])
    return sum(bytes(item)[:1] in (b'"', b"[", b"{") for item in items) or 1
