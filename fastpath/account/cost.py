"""What a request used and what that is on its caller's bill, by the terms that were pinned with its attempt.

Owns which usage its record ends with: the model server's where it can be true, our own count, flagged, where it is
not. Does not own the arithmetic (`fastpath.money`), the judgement (`fastpath.money.sanity`) or the terms (`tariff`).
"""

from _native.rates import Rates
from backends.dialects.said import count_pictures, words_of
from backends.dialects.usage import Usage, usage_from
from fastpath.context import RequestContext
from fastpath.money.estimate import Sample, estimate_tokens, take_sample
from fastpath.money.price import Billable, Reading
from fastpath.money.sanity import Settled, settle_unheld, settle_usage
from fastpath.record import DecisionRecord

#: Paths whose answers have tokens; of others a model server may say nothing, which then means nothing.
_COUNTED = frozenset({"chat", "completions", "responses", "messages", "embeddings"})
_BULK = ("messages", "prompt", "input")


def note_whole(ctx: RequestContext, usage: Usage | None, body: bytes) -> None:
    """The usage of a whole answer that cannot simply be believed, was not told, or is not all that is billed.

    Pictures are counted whatever a usage says: it has tokens only."""
    assert ctx.path is not None
    pictures = count_pictures(body) if ctx.path.by_piece else 0
    if usage is None and ctx.path.api not in _COUNTED:
        if ctx.held is not None:
            most = ctx.held.reservation.images
            _note(ctx, Settled(Billable(images=min(pictures, most)), disputed=pictures > most))
        return
    answer = estimate_tokens(words_of(body)) if usage is None or not usage.answer_known else 0
    _judge(ctx, None if usage is None else usage.reading(), Billable(_prompt(ctx), output=answer, images=pictures))


def note_stream(ctx: RequestContext, usage: Usage | None, events: int, final: bool) -> None:
    """The same of a stream of so many events, each of which carries about one token. final: usage is of all of it.

    Where pictures are asked for each may carry one: as many came, at most those that were asked for."""
    assert ctx.path is not None
    report = None if usage is None else usage.reading()
    if report is not None and not final:
        told = report.usage
        prompt = Billable(told.input, told.cached, told.cache_write, 0, 0, 0, told.cache_write_long, told.audio_input)
        report = Reading(prompt, report.disputed, report.prompt_known, answer_known=False)
    own = Billable(_prompt(ctx), output=events)
    if ctx.path.by_piece:
        most = 0 if ctx.held is None else ctx.held.reservation.images
        own = Billable(own.input, images=min(events, most))
    _judge(ctx, report, own)


def sample_prompt(ctx: RequestContext) -> list[Sample] | None:
    """What is kept of a prompt that is forgotten, for the few streams whose server never says how long it was."""
    members = ctx.members
    if members is None:
        return None
    return [take_sample(text) for name in _BULK if (text := members.text(name)) is not None]


def bill(ctx: RequestContext) -> None:
    """Writes what the request is on the bill into its record."""
    record, terms = ctx.record, ctx.terms
    assert terms is not None
    if record.usage is None:
        return
    record.cost_nano = _by(terms.rates, record.usage)
    if record.cost_nano is None:
        record.cost_nano = terms.bill(record.usage.billable())
    record.currency = terms.currency if record.cost_nano is not None else None
    record.provider_usd_nano = _by(terms.dollars, record.usage)
    if record.provider_usd_nano is None:
        record.provider_usd_nano = terms.cost_in("USD", record.usage.billable())


def _by(rates: Rates | None, usage: Usage) -> int | None:
    """What the four totals of a usage cost; None where that takes a closer look."""
    if rates is None or usage.parts is not None:
        return None
    nano = rates.bill(usage.prompt, usage.cached, usage.answer, usage.reasoning)
    return nano if nano >= 0 else None


def progress_of(record: DecisionRecord, events: int) -> Billable:
    """What a stream has used after so many events, each of which carries about one token."""
    return Billable(input=record.prompt_estimate(), output=events)


def note_progress(ctx: RequestContext, events: int) -> None:
    """Marks what a stream has cost so far on its ticket: what budgets are charged should this process die."""
    if ctx.ticket is None:
        return
    usage, terms = progress_of(ctx.record, events), ctx.terms
    money = None if terms is None else terms.bill(usage)
    ctx.ticket.mark(usage.input + usage.output, money or 0)


def _prompt(ctx: RequestContext) -> int:
    """About how many tokens the prompt has, by its text where that was at hand."""
    samples = ctx.prompt_sample if ctx.prompt_sample is not None else sample_prompt(ctx)
    return ctx.record.prompt_estimate() if samples is None else sum([sample.tokens() for sample in samples])


def _judge(ctx: RequestContext, report: Reading | None, own: Billable) -> None:
    held = ctx.held
    if held is None:
        _note(ctx, settle_unheld(report, own))
        return
    price = held.price if ctx.terms is not None and ctx.terms.charge is held.price else None
    _note(ctx, settle_usage(report, held.reservation, price, own))


def _note(ctx: RequestContext, settled: Settled) -> None:
    record, usage = ctx.record, settled.usage
    record.usage = usage_from(Reading(usage))
    record.input_tokens, record.output_tokens = usage.prompt, usage.answer
    record.cached_tokens, record.reasoning_tokens = usage.cached, usage.reasoning
    record.estimated, record.disputed = settled.estimated, settled.disputed
