"""The most that a request can cost, before it is sent.

Owns the worst case and the clamps that make it hold: what may be patched into the body so that the provider cannot
answer more than was reserved. Money is reserved by a bound and not by an estimate: a byte-level vocabulary never makes
more tokens than a text has bytes, and the JSON around a message is longer than what a chat template puts in its place.
(A tokenizer that first decomposes characters, NFC over exotic ones, can exceed it; `sanity` caps what is then billed.)
Rate limits use the closer `estimate`. Does not own who pays or the arena. Pure.
"""

from collections.abc import Iterator

import msgspec

from fastpath.money.ask import LIMIT_FIELDS, Api, Ask, Patch
from scheduler.money import IMPOSSIBLE, Billable, Price, answer_rates, pico_of, prompt_rates

#: Tokens that a chat template and a provider's own preamble add to any prompt. Anthropic's for tools is about 350.
TEMPLATE_MOST = 1_024
#: Tokens of one image, file or sound when its model does not say: a page of a document is at most some thousands, and
#: so is a picture that is made.
MEDIA_MOST = 16_384
#: Assumed where neither the caller nor the table bounds an answer or a prompt. `Reservation.assumed` then says so.
ANSWER_ASSUMED = 32_768
CONTEXT_ASSUMED = 1_048_576


class Bounds(msgspec.Struct, frozen=True):
    """What a model can do at most, in tokens. 0: not known."""

    context: int = 0  # of a prompt
    max_output: int = 0  # of one answer
    reasoning_beside: int = 0  # of reasoning that a limit on the answer does not limit
    media: int = MEDIA_MOST  # of one part that is not text
    limit_field: str = ""  # what its server calls the limit on an answer; "": as its API does


class Clamp(msgspec.Struct, frozen=True):
    """What a caller may ask for at most, by policy. None: as much as it likes."""

    max_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None
    logprobs: int | None = None


class Reservation(msgspec.Struct, frozen=True):
    """What is held for one request until it is settled.

    `worst` is the dearest usage within the bounds, `pico` what that costs, in the price's currency. `patches` must be
    in the body before it is sent. `assumed`: some bound is an assumption, so the provider may bill more than is held.
    """

    prompt_most: int
    answer_most: int
    images: int
    worst: Billable
    pico: int
    patches: tuple[Patch, ...] = ()
    assumed: bool = False


def reserve(ask: Ask, api: Api, bounds: Bounds, clamp: Clamp, price: Price | None) -> Reservation:
    """The worst case of `ask` after `clamp`. Without a price it costs nothing, and its tokens still count."""
    n, best_of = _clamp_choices(ask, clamp)
    limit = _lower(ask.max_tokens, clamp.max_tokens)
    each, answer_known = _answer_most(limit, bounds) if ask.answers else (0, True)
    prompt, prompt_known = _prompt_most(ask, bounds)
    answer = each * max(n, best_of or 1) * ask.prompts
    images = min(ask.images, clamp.n) if clamp.n is not None else ask.images
    if api == "images":
        answer, answer_known = picture_tokens(images), False
    worst = _worst(ask, price, prompt, answer, images)
    return Reservation(
        prompt,
        answer,
        images,
        worst,
        0 if price is None else pico_of(price, worst),
        tuple(_patches(ask, api, bounds, clamp, n, best_of)),
        not (answer_known and prompt_known),
    )


def picture_tokens(images: int) -> int:
    """That so many pictures of an answer may have at most, as far as anybody says."""
    return min(images * MEDIA_MOST, IMPOSSIBLE)


def _clamp_choices(ask: Ask, clamp: Clamp) -> tuple[int, int | None]:
    """n and best_of as they may stay. best_of must not be below n, so n gives way to it."""
    n = ask.n if clamp.n is None else min(ask.n, clamp.n)
    best_of = _lower(ask.best_of, clamp.best_of) if ask.best_of is not None else None
    return (n if best_of is None else min(n, best_of)), best_of


def _answer_most(limit: int | None, bounds: Bounds) -> tuple[int, bool]:
    most = _lower(limit, bounds.max_output or bounds.context or None)
    if most is None:
        return ANSWER_ASSUMED + bounds.reasoning_beside, False
    return most + bounds.reasoning_beside, True


def _prompt_most(ask: Ask, bounds: Bounds) -> tuple[int, bool]:
    whole = bounds.context * ask.prompts
    if ask.remembered:
        return whole or CONTEXT_ASSUMED, bool(whole)
    most = ask.size + TEMPLATE_MOST + ask.media * bounds.media
    return (min(most, whole) if whole else most), True


def _worst(ask: Ask, price: Price | None, prompt: int, answer: int, images: int) -> Billable:
    """The dearest way to use so many tokens: every tier that the prompt can reach, all tokens at its dearest rate."""
    if price is None:
        return Billable(input=prompt, output=answer, images=images)
    cases = [_dearest(ask, tier, most, answer, images) for tier, most in _tiers(price, prompt)]
    return max(cases, key=lambda usage: pico_of(price, usage))


def _tiers(price: Price, prompt: int) -> Iterator[tuple[Price, int]]:
    """The tiers that a prompt of at most so many tokens can be billed by, each with its longest prompt."""
    tier: Price | None = price
    while tier is not None:
        ends_here = tier.long is None or prompt <= tier.long_from
        yield tier, prompt if ends_here else tier.long_from
        tier = None if ends_here else tier.long


def _dearest(ask: Ask, tier: Price, prompt: int, answer: int, images: int) -> Billable:
    fresh, cached, write, write_long, heard = prompt_rates(tier)
    output, reasoning, spoken = answer_rates(tier)
    prompt_part = _argmax(
        ("input", fresh),
        ("cached", cached),
        ("cache_write", write),
        ("cache_write_long", write_long if ask.cache_long else 0),
        ("audio_input", heard if ask.audio else 0),
    )
    answer_part = _argmax(("output", output), ("reasoning", reasoning), ("audio_output", spoken if ask.audio else 0))
    return msgspec.structs.replace(Billable(images=images), **{prompt_part: prompt, answer_part: answer})


def _argmax(*rates: tuple[str, int]) -> str:
    return max(rates, key=lambda rate: rate[1])[0]


def _patches(ask: Ask, api: Api, bounds: Bounds, clamp: Clamp, n: int, best_of: int | None) -> Iterator[Patch]:
    most = clamp.max_tokens
    if ask.answers and most is not None:
        limits = ask.limits or ((bounds.limit_field or LIMIT_FIELDS[api][0], None),)
        yield from (Patch(name, most) for name, own in limits if own is None or own > most)
    if api == "images" and clamp.n is not None and ask.images > clamp.n:
        yield Patch("n", clamp.n)
    elif n != ask.n:
        yield Patch("n", n)
    if best_of is not None and best_of != ask.best_of:
        yield Patch("best_of", best_of)
    if ask.logprobs is not None and clamp.logprobs is not None and ask.logprobs > clamp.logprobs:
        yield Patch("logprobs" if api == "completions" else "top_logprobs", clamp.logprobs)


def _lower(left: int | None, right: int | None) -> int | None:
    if left is None or right is None:
        return right if left is None else left
    return min(left, right)
