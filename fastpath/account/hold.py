"""What is set aside for a request before it is sent, and what a clamp takes from what it asks.

Owns the long way to the worst case, by which impossible usage is later capped, and the edits that make it hold. A
clamp is applied to the body that is sent and to what is reserved by one reading of the body. Does not own the worst
case itself (`fastpath.money.reserve`) or the budgets that hold it (`fastpath.limits`). Synchronous.
"""

from _native.answers import is_plain
from backends.dialects.openai import set_number
from fastpath import errors
from fastpath.account.held import Held, Lane
from fastpath.account.tariff import Account, Tariff, Terms
from fastpath.context import RequestContext
from fastpath.endpoints.paths import ApiPath
from fastpath.money.ask import Ask, Patch, read_ask
from fastpath.money.currency import CurrencyError
from fastpath.money.price import Billable, Price, pico_of
from fastpath.money.reserve import ANSWER_ASSUMED, CONTEXT_ASSUMED, Bounds, Clamp, Reservation, picture_tokens, reserve

#: Pictures that are held for a form that does not ask for more: what OpenAI makes of one request. It may say a number,
#: or a larger one, when it is on its way.
UPLOAD_IMAGES = 10
#: APIs whose plain bodies are texts and nothing else.
_PLAIN_APIS = ("chat", "messages")
_NO_CLAMP = Clamp()
_FREE = Lane(Bounds(), _NO_CLAMP, None, None)


def hold(ctx: RequestContext) -> None:
    """Sets ctx.held and, for what a clamp lowers, ctx.edits with their header and record.

    Raises 400 for what a clamp refuses (of a form, as far as it was read), 503 where a price cannot be converted into
    the caller's currency.
    """
    route, path, record = ctx.route, ctx.path, ctx.record
    assert route is not None
    assert path is not None
    if ctx.gist is not None:
        ctx.answer_most, ctx.answers = ctx.gist.answer_most, ctx.gist.answers
    tariff, plain = route.tariff, _is_plain(ctx)
    if tariff is None:
        if not plain or not _hold_by_lane(ctx, _FREE):
            ctx.held = _held(_reserve(ctx, _NO_CLAMP, Bounds(), None), 0, None)
        return
    accounts, name = ctx.snapshot.accounts, record.model or route.name
    ctx.account = accounts.of(ctx.key)
    lane = tariff.lane(name, path, ctx.account, record.ts) if plain else None
    if lane is None or not _hold_by_lane(ctx, lane):
        _look_closer(ctx, tariff, (name, path, ctx.account))


def _is_plain(ctx: RequestContext) -> bool:
    """Whether a body is texts that a lane can judge: nothing in it is heard, seen or remembered."""
    members, path = ctx.members, ctx.path
    if members is None or path is None or not is_plain(members) or path.api not in _PLAIN_APIS:
        return False
    return members.span("conversation") is None and members.span("previous_response_id") is None


def _hold_by_lane(ctx: RequestContext, lane: Lane) -> bool:
    """Sets ctx.held of a plain body. False: look closer."""
    ctx.held = lane.hold(len(ctx.body), ctx.answer_most, ctx.answers)
    return ctx.held is not None


def _look_closer(ctx: RequestContext, tariff: Tariff, key: tuple[str, ApiPath, Account]) -> None:
    """The long way, which opens the short one for requests like it where there is one."""
    (name, path, account), record = key, ctx.record
    assert ctx.route is not None
    check_pictures(ctx)
    targets = ctx.route.serving(path.template)
    try:
        found = {terms.charge: terms for terms in (tariff.terms(one, name, account, record.ts) for one in targets)}
    except CurrencyError as error:
        raise errors.unpriceable(str(error)) from error
    bounds = tariff.bounds(targets, name, record.ts, path.api)
    if len(found) == 1:
        _open_lane(tariff, key, bounds, next(iter(found.values())), record.ts)
    held = [_hold_by(ctx, tariff, bounds, terms) for terms in found.values() or (Terms(),)]
    ctx.held = max(held, key=lambda one: one.nano)
    patches = ctx.held.reservation.patches
    if patches:
        _clamp(ctx, tariff, patches)


def _hold_by(ctx: RequestContext, tariff: Tariff, bounds: Bounds, terms: Terms) -> Held:
    reservation = _reserve(ctx, tariff.clamp, bounds, terms.charge)
    bounded = ctx.members is not None  # of an upload nobody knows what it is before it is settled
    return _held(reservation, terms.nano(reservation.pico), terms.charge if bounded else None, bounded)


def _held(reservation: Reservation, nano: int, price: Price | None, bounded: bool = True) -> Held:
    return Held(reservation.prompt_most, reservation.answer_most, nano, price, bounded, reservation)


def _open_lane(tariff: Tariff, key: object, bounds: Bounds, terms: Terms, at: float) -> None:
    """Remembers the short way for requests like this one, where their price has nothing that plain texts could meet."""
    price, clamp = terms.charge, tariff.clamp
    heard = price is not None and (price.audio_input is not None or price.audio_output is not None)
    kept = price is not None and price.cache_write_long is not None
    if not heard and not kept and clamp.logprobs is None and (price is None or terms.rates is not None):
        tariff.lanes.put(key, Lane(bounds, clamp, price, terms.rates), at)


def _reserve(ctx: RequestContext, clamp: Clamp, bounds: Bounds, price: Price | None) -> Reservation:
    path = ctx.path
    assert path is not None
    if ctx.members is None:
        return _of_upload(price, _pictures(ctx, clamp) if path.by_piece else 0)
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


def _of_upload(price: Price | None, images: int) -> Reservation:
    """Sound or pictures: what their tokens are is known when it is settled, so only what is by the piece is held."""
    worst = Billable(images=images)
    pico = 0 if price is None else pico_of(price, worst)
    answer = max(ANSWER_ASSUMED, picture_tokens(images))
    return Reservation(CONTEXT_ASSUMED, answer, images, worst, pico, assumed=True)


def _pictures(ctx: RequestContext, clamp: Clamp) -> int:
    """How many are held for a form."""
    most = max(UPLOAD_IMAGES, ctx.pictures)
    return most if clamp.n is None else min(most, clamp.n)


def check_pictures(ctx: RequestContext) -> None:
    """Raises 400 for a form that asks for more pictures than its model's clamp lets pass, or than are held for it.

    For each piece of it: it may say so when it is on its way, and what is held is held by then.
    """
    tariff, held, pictures = None if ctx.route is None else ctx.route.tariff, ctx.held, ctx.pictures
    if tariff is None or pictures == 0:
        return
    most = tariff.clamp.n
    if most is not None and pictures < 0:
        raise errors.invalid_request(f"n must be a whole number, at most {most} for this model.", "n")
    if most is not None and pictures > most:
        raise errors.invalid_request(f"n may be at most {most} for this model: ask for less.", "n")
    if held is not None and pictures > held.reservation.images:
        told = f"n: more than {held.reservation.images} pictures must be asked for before the file."
        raise errors.invalid_request(told, "n")


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
