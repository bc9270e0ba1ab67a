"""Which usage is believed: the provider's where it is possible, our own count where it is not, and never more than was
reserved.

Owns that decision and the flags it leaves: `estimated` (we counted) and `disputed` (the provider's word was impossible
and was capped or replaced). Does not own reading usage (`backends.dialects`) or counting (`estimate`). Pure.
"""

import msgspec

from fastpath.money.reserve import Reservation
from scheduler.money import IMPOSSIBLE, Billable, Price, Reading, pico_of

#: What an excess is taken from first: fresh tokens, because what is said of a cache is said more carefully.
_PROMPT_PARTS = ("input", "audio_input", "cache_write_long", "cache_write", "cached")
_ANSWER_PARTS = ("output", "audio_output", "reasoning")


class Settled(msgspec.Struct, frozen=True):
    """The usage that is billed."""

    usage: Billable
    estimated: bool = False
    disputed: bool = False


def settle_usage(report: Reading | None, held: Reservation, price: Price | None, own: Billable | None) -> Settled:
    """The usage to bill for an answer.

    report: what the provider said, None for nothing. own: what we counted ourselves, None when we could not; a side
    that nobody knows is billed as reserved, because the provider may bill as much, and is disputed.
    """
    if report is None:
        report = Reading(Billable(), prompt_known=False, answer_known=False)
    usage = _fill(report, held, own)
    capped = _cap(usage, held, price)
    estimated = not (report.prompt_known and report.answer_known)
    return Settled(
        capped,
        estimated,
        report.disputed or capped != usage or (estimated and own is None),
    )


def settle_unheld(report: Reading | None, own: Billable) -> Settled:
    """The same where nothing was reserved: there is nothing to cap by, and what is not known is our own count."""
    if report is None:
        return Settled(own, estimated=True)
    told = report.usage
    prompt_known = report.prompt_known and told.prompt < IMPOSSIBLE
    answer_known = report.answer_known and told.answer < IMPOSSIBLE
    if prompt_known and answer_known:
        return Settled(msgspec.structs.replace(told, images=own.images), disputed=report.disputed)
    prompt = told if prompt_known else Billable(own.prompt)
    answer = told if answer_known else Billable(output=own.answer)
    usage = Billable(
        prompt.input,
        prompt.cached,
        prompt.cache_write,
        answer.output,
        answer.reasoning,
        own.images,
        prompt.cache_write_long,
        prompt.audio_input,
        answer.audio_output,
    )
    return Settled(usage, estimated=True, disputed=report.disputed)


def _fill(report: Reading, held: Reservation, own: Billable | None) -> Billable:
    """The report with the sides that it does not know from our own count, and the images from the request."""
    usage = msgspec.structs.replace(report.usage, images=held.images if own is None else own.images)
    if not report.prompt_known:
        prompt = held.prompt_most if own is None else min(own.prompt, held.prompt_most)
        usage = msgspec.structs.replace(usage, input=prompt)
    if not report.answer_known:
        answer = held.answer_most if own is None else min(own.answer, held.answer_most)
        usage = msgspec.structs.replace(usage, output=answer)
    return usage


def _cap(usage: Billable, held: Reservation, price: Price | None) -> Billable:
    """The usage within the bounds that were reserved, and within what they cost."""
    capped = _trim(usage, _PROMPT_PARTS, usage.prompt - held.prompt_most)
    capped = _trim(capped, _ANSWER_PARTS, usage.answer - held.answer_most)
    capped = _trim(capped, ("images",), usage.images - held.images)
    if price is not None and pico_of(price, capped) > held.pico:
        # Dear parts that the request could not have had (sound, long caching): its tokens at their plain rates.
        return Billable(input=capped.prompt, output=capped.answer, images=capped.images)
    return capped


def _trim(usage: Billable, parts: tuple[str, ...], excess: int) -> Billable:
    """The usage with so many tokens fewer, taken from its parts in their order."""
    left: dict[str, int] = {}
    for part in parts:
        if excess <= 0:
            break
        count = getattr(usage, part)
        left[part] = max(count - excess, 0)
        excess -= count - left[part]
    return msgspec.structs.replace(usage, **left) if left else usage
