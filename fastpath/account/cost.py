"""What a request cost, by its record and the price that was pinned with its route.

Owns how the counts of a record become parts of a bill. Does not own the arithmetic (`fastpath.money`). Pure.
"""

from fastpath.context import RequestContext
from fastpath.money.price import Billable, Price, nano_of, pico_of
from fastpath.record import DecisionRecord


def billable_of(record: DecisionRecord) -> Billable | None:
    """The usage of the answer that the caller got; None when nobody knows of any."""
    given, taken = record.input_tokens, record.output_tokens
    if given is None and taken is None:
        return None
    cached, reasoning = record.cached_tokens or 0, record.reasoning_tokens or 0
    return Billable(
        input=max(0, (given or 0) - cached),
        cached=cached,
        output=max(0, (taken or 0) - reasoning),
        reasoning=reasoning,
    )


def cost_of(record: DecisionRecord, price: Price) -> int | None:
    """Nano-units of the price's currency; None where nothing is known of what was used."""
    usage = billable_of(record)
    return None if usage is None else nano_of(pico_of(price, usage))


def progress_of(record: DecisionRecord, events: int) -> Billable:
    """What a stream has used after so many events, each of which carries about one token."""
    return Billable(input=record.prompt_estimate(), output=events)


def note_progress(ctx: RequestContext, events: int) -> None:
    """Marks what a stream has cost so far on its ticket: what budgets are charged should this process die."""
    if ctx.ticket is None or ctx.route is None:
        return
    usage, price = progress_of(ctx.record, events), ctx.route.price
    money = 0 if price is None else nano_of(pico_of(price, usage))
    ctx.ticket.mark(usage.input + usage.output, money)
