"""Rows of the key table, kept from one publication to the next: only those of keys that changed are read again.

Owns the places that rows point at, which keys are held back, and how rows follow when a place moves. Does not own the
rows' layout (`_native.keytable`) nor what is read (`identity.roster`). Pure: nothing that was handed out is changed.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, TypeVar

from msgspec import Struct
from msgspec.structs import astuple

from _native.keytable import Row
from controlplane.identity.roster import KeySecret
from controlplane.identity.scope import Scope

_MILLI: Final = 1000
"""Microseconds, as the database has times, per millisecond, as rows have them."""
_CLASSES: Final = ("P0", "P1", "P2")
"""By their number in rows."""
_SPARE: Final = 64
"""Places beyond twice those in use; leaving the others out moves places, so all rows are written anew."""

T = TypeVar("T", str, Scope)
Judge = Callable[[KeySecret], str]
"""Why a key is not published, in a sentence; "" when it is."""


class Places(Struct, frozen=True):
    """Where everything stands that rows point at: by id, and grants by the scope that they are made of.

    Each in order of place. Places of teams and users that went are kept for a while.
    """

    tenants: dict[str, int]
    teams: dict[str, int]
    users: dict[str, int]
    grants: dict[Scope, int]


class HeldBack(Struct, frozen=True):
    """A secret that is not published, and why in a sentence. `ends`: microseconds, None: never."""

    key: str
    user: str
    ends: int | None
    sentence: str


class Rows(Struct, frozen=True):
    """What is published, by digest, and what is held back, by hash."""

    good: dict[bytes, Row]
    held_back: dict[str, HeldBack]


class Stale(Struct, frozen=True):
    """What is not kept: rows of these keys, of these users, and what ended by `at` (microseconds)."""

    keys: Collection[str]
    users: Collection[str]
    at: int


class Difference(Struct, frozen=True):
    """Between two publications whose rows point at the same places."""

    changed: tuple[Row, ...]  # new ones among them
    gone: tuple[bytes, ...]  # digests


def add_rows(rows: Rows, secrets: Iterable[KeySecret], places: Places, judge: Judge) -> tuple[Rows, Places]:
    """Those of `secrets` besides, and the places with the grants that these need."""
    good, held_back = dict(rows.good), dict(rows.held_back)
    grants = dict(places.grants)
    room = Places(places.tenants, places.teams, places.users, grants)
    for secret in secrets:
        reason = judge(secret)
        if reason:
            held_back[secret.hash] = HeldBack(secret.key, secret.holder.user, secret.ends, reason)
        else:
            row = _row(secret, room)
            good[row.digest] = row
    return Rows(good, held_back), room


def drop_rows(rows: Rows, stale: Stale, places: Places) -> tuple[Rows, dict[bytes, Row]]:
    """What is left, and the rows that went. `places`: those that `rows` point at."""
    keys = {bytes.fromhex(key) for key in stale.keys}
    users = {places.users[user] for user in stale.users if user in places.users}
    over = stale.at // _MILLI
    went = {
        digest: row
        for digest, row in rows.good.items()
        if row.key_id in keys or row.user in users or 0 < row.valid_until < over
    }
    good = {digest: row for digest, row in rows.good.items() if digest not in went} if went else rows.good
    return Rows(good, {name: one for name, one in rows.held_back.items() if not _is_stale(one, stale)}), went


def compare_rows(went: Mapping[bytes, Row], after: Rows, added: Iterable[bytes]) -> Difference:
    """`went`: as `drop_rows` gave it; `added`: digests that may stand in `after` since, as before or changed."""
    found = [after.good[digest] for digest in added if digest in after.good]
    changed = tuple(row for row in found if went.get(row.digest) != row)
    return Difference(changed, tuple(digest for digest in went if digest not in after.good))


def settle_places(rows: Rows, places: Places, now: Places) -> tuple[Rows, Places, bool]:
    """The rows where everything in `now` stands, the places, and whether any that stood somewhere had to move.

    All that rows point at must still stand somewhere. Tenants stand as in `now`. Teams, users and grants stand where
    they stood, new ones behind them; what is not needed any more is left out when there is too much of it.
    """
    grants = _kept_grants(rows, places.grants)
    settled = Places(now.tenants, _lasting(places.teams, now.teams), _lasting(places.users, now.users), grants)
    if not any(_moves_any(*pair) for pair in zip(astuple(places), astuple(settled), strict=True)):
        return rows, settled, False
    tenants, teams = _moves(places.tenants, settled.tenants), _moves(places.teams, settled.teams)
    users, kept = _moves(places.users, settled.users), _moves(places.grants, settled.grants)
    good = {
        digest: row._replace(
            tenant=tenants[row.tenant], team=teams[row.team], user=users[row.user], grant=kept[row.grant]
        )
        for digest, row in rows.good.items()
    }
    return Rows(good, rows.held_back), settled, True


def number(ids: Iterable[str]) -> dict[str, int]:
    """The place of each."""
    return {each: place for place, each in enumerate(ids)}


def _lasting(before: dict[str, int], now: dict[str, int]) -> dict[str, int]:
    """Those of `now` where they stood, and new ones behind all that ever stood; as in `now` when too many went."""
    new = [each for each in now if each not in before]
    if len(before) + len(new) > _SPARE + 2 * len(now):
        return now
    return before | {each: place for place, each in enumerate(new, len(before))} if new else before


def _kept_grants(rows: Rows, grants: dict[Scope, int]) -> dict[Scope, int]:
    if len(grants) <= _SPARE:
        return grants
    used = {row.grant for row in rows.good.values()}
    if len(grants) <= _SPARE + 2 * len(used):
        return grants
    return {scope: place for place, scope in enumerate(scope for scope, old in grants.items() if old in used)}


def _moves_any(before: Mapping[T, int], after: Mapping[T, int]) -> bool:
    return before is not after and any(after.get(each, place) != place for each, place in before.items())


def _moves(before: Mapping[T, int], after: Mapping[T, int]) -> dict[int, int]:
    """From where things stood to where they stand."""
    return {place: after[each] for each, place in before.items() if each in after}


def _is_stale(held: HeldBack, stale: Stale) -> bool:
    return held.key in stale.keys or held.user in stale.users or (held.ends is not None and held.ends <= stale.at)


def _row(secret: KeySecret, places: Places) -> Row:
    """Notes the scope among the places when it is new."""
    holder, scope = secret.holder, secret.scope
    return Row(
        digest=bytes.fromhex(secret.hash[-64:]),
        key_id=bytes.fromhex(secret.key),
        tenant=places.tenants[holder.tenant],
        team=places.teams[holder.team],
        user=places.users[holder.user],
        grant=places.grants.setdefault(scope, len(places.grants)),
        valid_until=0 if secret.ends is None else max(1, secret.ends // _MILLI),
        data_class=_CLASSES.index(scope.data_class or "P0"),
    )
