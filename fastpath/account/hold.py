"""What is set aside for a request before it is sent, and what a clamp takes from what it asks.

Owns `Held`, the worst case by which impossible usage is later capped, and the edits that make the worst case hold. A
clamp is applied to the body that is sent and to what is reserved by one reading of the body. Does not own the worst
case itself (`fastpath.money.reserve`) or the budgets that hold it (`fastpath.limits`). Synchronous.
"""

import msgspec

from backends.dialects.openai import set_number
from fastpath import errors
from fastpath.account.tariff import Tariff, Terms
from fastpath.context import RequestContext
from fastpath.money.ask import Ask, Patch, read_ask
from fastpath.money.currency import CurrencyError
from fastpath.money.price import Billable, Price, pico_of
from fastpath.money.reserve import ANSWER_ASSUMED, CONTEXT_ASSUMED, Bounds, Clamp, Reservation, reserve

#: Of an upload nobody reads the form: so many pictures at most, which is what OpenAI makes of one request.
UPLOAD_IMAGES = 10
_NO_CLAMP = Clamp()


class Held(msgspec.Struct, frozen=True):
    """What is set aside. nano: the most that the bill can say, in the caller's currency.

    price: by which the worst case is the worst; None where no single one is. bounded: nano holds for any usage.
    """

    reservation: Reservation
    nano: int = 0
    price: Price | None = None
    bounded: bool = True


def hold(ctx: RequestContext) -> None:
    """Sets ctx.held and, for what a clamp lowers, ctx.edits with their header and record.

    Raises 400 for what a clamp refuses, 503 where a price cannot be converted into the caller's currency.
    """
    route, path, record = ctx.route, ctx.path, ctx.record
    assert route is not None
    assert path is not None
    tariff = route.tariff
    if tariff is None:
        ctx.held = Held(_reserve(ctx, _NO_CLAMP, Bounds(), None))
        return
    name, targets = record.model or route.name, route.serving(path.template)
    account = ctx.snapshot.accounts.of(ctx.key)
    try:
        found = {terms.charge: terms for terms in (tariff.terms(one, name, account, record.ts) for one in targets)}
    except CurrencyError as error:
        raise errors.unpriceable(str(error)) from error
    bounds = tariff.bounds(targets, name, record.ts, path.api)
    held = [_hold_by(ctx, tariff, bounds, terms) for terms in found.values() or (Terms(),)]
    ctx.held = max(held, key=lambda one: one.nano)
    if ctx.held.reservation.patches:
        _clamp(ctx, tariff, ctx.held.reservation.patches)


def _hold_by(ctx: RequestContext, tariff: Tariff, bounds: Bounds, terms: Terms) -> Held:
    reservation = _reserve(ctx, tariff.clamp, bounds, terms.charge)
    nano = terms.nano(reservation.pico)
    return Held(reservation, nano, terms.charge) if ctx.members is not None else Held(reservation, nano, None, False)


def _reserve(ctx: RequestContext, clamp: Clamp, bounds: Bounds, price: Price | None) -> Reservation:
    path = ctx.path
    assert path is not None
    if ctx.members is None:
        return _of_upload(price, path.api == "images")
    return reserve(_ask(ctx, price), path.api, bounds, clamp, price)


def _ask(ctx: RequestContext, price: Price | None) -> Ask:
    assert ctx.members is not None
    assert ctx.path is not None
    return read_ask(
        ctx.body,
        ctx.members.spans(),
        ctx.path.api,
        media=0 if ctx.members.plain else None,
        sound=price is not None and (price.audio_input is not None or price.audio_output is not None),
        ttl=price is not None and price.cache_write_long is not None,
    )


def _of_upload(price: Price | None, pictures: bool) -> Reservation:
    """Sound or pictures: what their tokens are is known when it is settled, so only what is by the piece is held."""
    images = UPLOAD_IMAGES if pictures else 0
    worst = Billable(images=images)
    pico = 0 if price is None else pico_of(price, worst)
    return Reservation(CONTEXT_ASSUMED, ANSWER_ASSUMED, images, worst, pico, assumed=True)


def _clamp(ctx: RequestContext, tariff: Tariff, patches: tuple[Patch, ...]) -> None:
    members = ctx.members
    assert members is not None
    if tariff.refuses:
        for patch in patches:
            if members.text(patch.name) not in (None, b"null"):
                message = f"{patch.name} may be at most {patch.value} for this model: ask for less."
                raise errors.invalid_request(message, patch.name)
    ctx.edits = [set_number(members, patch.name, patch.value) for patch in patches]
    told = ", ".join([f"{patch.name}={patch.value}" for patch in patches])
    ctx.record.clamped = told
    ctx.reply_headers.append((b"x-fastpath-clamped", told.encode()))
