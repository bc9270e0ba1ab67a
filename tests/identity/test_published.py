"""Keys in a published table: found where they lie, made when they are met, held to their rows."""

import gc
import sys
from typing import Any

import msgspec
import pytest

from _native.keytable import DISABLED, INSIGHT, NONE, TOMBSTONE, KeyTable, Row, build
from fastpath.identity import published as module
from fastpath.identity.published import Published, PublishedKeys
from fastpath.settings import Key, Team, Tenant, User
from fastpath.settings.roster import Grant, Roster, decode_roster, encode_roster
from fastpath.settings.token import KeyHasher
from scheduler.clock import ManualClock

HASHER = KeyHasher(bytes(range(32)))
IDS = tuple(f"{number:032x}" for number in range(9))
ROSTER = Roster(
    tenants=(
        Tenant(name="acme", teams=(Team(name="core"),), users=(User(name="core/ann", team="core"),)),
        Tenant(name="umbrella", teams=(Team(name="lab"),), users=(User(name="lab/bob", team="lab"),)),
    ),
    tenant_ids=IDS[:2],
    team_ids=IDS[2:4],
    user_ids=IDS[4:6],
    grants=(Grant(), Grant(("small",), ("/v1/embeddings",), ("10.0.0.0/8",), "P1")),
)
NOW = 1_800_000_000


def row(token: str, tenant: int = 0, **more: Any) -> Row:
    given = {"team": tenant, "user": tenant} | more
    return Row(HASHER.digest(token.encode()), bytes([len(token)]) * 16, tenant, **given)


def keys_of(
    rows: list[Row], delta: list[Row] | None = None, *of_file: Key, taken: frozenset[str] = frozenset()
) -> tuple[PublishedKeys, ManualClock]:
    base = KeyTable.open(build(rows, HASHER.pepper_id))
    tables = [base] + ([KeyTable.open(build(delta, HASHER.pepper_id, base.root))] if delta is not None else [])
    clock = ManualClock(now=float(NOW))
    return PublishedKeys(of_file, HASHER, clock.now, Published(ROSTER, tables), taken), clock


def find(keys: PublishedKeys, token: str) -> Key | None:
    return keys.find(b"Bearer " + token.encode())


def test_a_row_becomes_the_key_that_its_places_say() -> None:
    keys, _ = keys_of([row("alpha"), row("beta!", 1, grant=1, flags=INSIGHT)])
    assert find(keys, "alpha") == Key(
        name=f"acme/core/ann/{'05' * 16}",
        hash=HASHER.hash_text("alpha"),
        tenant="acme",
        team="core",
        user="core/ann",
        ids=(IDS[0], IDS[2], IDS[4], "05" * 16),
    )
    other = find(keys, "beta!")
    assert other is not None
    assert (other.tenant, other.team, other.user, other.insight) == ("umbrella", "lab", "lab/bob", True)
    assert (other.models, other.paths, other.networks) == (("small",), ("/v1/embeddings",), ("10.0.0.0/8",))
    assert (other.data_class, other.ids[:3]) == ("P1", (IDS[1], IDS[3], IDS[5]))


def test_a_key_need_not_have_a_team_or_a_user() -> None:
    keys, _ = keys_of([row("alpha", team=NONE, user=NONE)])
    found = find(keys, "alpha")
    assert found is not None
    assert (found.name, found.team, found.user) == (f"acme//{'05' * 16}", None, None)
    assert found.ids == (IDS[0], "", "", "05" * 16)


def test_what_is_not_good_reads_as_nothing_whatever_the_reason() -> None:
    base = [row("good"), row("revoked"), row("disabled", flags=DISABLED), row("strange", grant=7), row("strange!", 9)]
    ended, later = row("ended", valid_until=NOW * 1000), row("later", valid_from=NOW * 1000 + 1)
    keys, _ = keys_of([*base, ended, later], [row("revoked", flags=TOMBSTONE)])
    tokens = ("good", "revoked", "disabled", "strange", "strange!", "ended", "later", "unknown", "")
    assert [find(keys, token) is not None for token in tokens] == [True] + [False] * 8


def test_a_key_ends_by_its_row_without_anybody_saying_so() -> None:
    keys, clock = keys_of([row("alpha", valid_until=NOW * 1000 + 1500)])
    found = find(keys, "alpha")
    assert found is not None
    terms = keys.terms(found)
    assert terms is not None
    assert terms.ends == NOW + 1.5
    clock.advance(1.4)
    assert find(keys, "alpha") is found
    clock.advance(0.2)
    assert find(keys, "alpha") is None
    assert keys.current(found) is None


def test_the_file_wins() -> None:
    own = Key(name="own", hash=HASHER.hash_text("alpha"), models=("mine",))
    keys, _ = keys_of([row("alpha"), row("beta", 1)], None, own, taken=frozenset({"umbrella"}))
    assert find(keys, "alpha") is own
    assert find(keys, "beta") is None
    assert [tenant.name for tenant in Published(ROSTER, [KeyTable.open(build([], "0" * 8))]).tenants({"acme"})] == [
        "umbrella"
    ]


def test_a_key_of_the_file_that_has_ended_lets_no_published_one_in() -> None:
    own = Key(name="own", hash=HASHER.hash_text("alpha"), expires="2020-01-01T00:00:00Z")
    keys, _ = keys_of([row("alpha")], None, own)
    assert find(keys, "alpha") is None


def test_only_keys_that_were_met_are_objects_and_never_more_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_MET", 3)
    keys, _ = keys_of([row(f"token-{number}", grant=1) for number in range(500)])
    gc.collect()

    def made() -> int:
        return sum(1 for each in gc.get_objects() if type(each) is Key and each.hash.startswith("b2:"))

    before = made()
    met = [find(keys, f"token-{number}") for number in (1, 2, 1)]
    assert made() == before + 2
    assert met[0] is met[2]
    for number in range(500):
        assert find(keys, f"token-{number}") is not None
        assert find(keys, f"nobody-{number}") is None
    del met
    assert made() <= before + 4


def test_a_key_of_another_table_is_judged_by_this_one() -> None:
    before, _ = keys_of([row("alpha"), row("beta")])
    alpha, beta = find(before, "alpha"), find(before, "beta")
    assert alpha is not None
    assert beta is not None
    after, _ = keys_of([row("alpha", 1, grant=1)])
    current = after.current(alpha)
    assert current is not None
    assert (current.tenant, current.models) == ("umbrella", ("small",))
    assert after.current(beta) is None
    stranger = Key(name="by a token", hash="")
    assert after.current(stranger) is stranger


def test_a_table_that_was_replaced_holds_no_memory_and_lets_nobody_in() -> None:
    table = KeyTable.open(build([row("alpha")], HASHER.pepper_id))
    keys = PublishedKeys((), HASHER, ManualClock().now, Published(ROSTER, [table]), frozenset())
    found = find(keys, "alpha")
    assert found is not None
    before = sys.getrefcount(table)
    keys.retire()
    assert sys.getrefcount(table) < before
    assert find(keys, "alpha") is None
    assert keys.terms(found) is None


def test_teams_and_users_stand_where_their_ids_do_and_a_place_that_is_empty_is_nobodys() -> None:
    """As the control plane adds them: behind all, whatever their tenant; what went leaves its place."""
    ann, eve = (User(name=f"core/{name}", team="core", id=IDS[at]) for name, at in (("ann", 4), ("eve", 7)))
    bob = User(name="lab/bob", team="lab", id=IDS[5])
    tenants = (
        Tenant(name="acme", teams=(Team(name="core", id=IDS[3]),), users=(ann, eve)),
        Tenant(name="umbrella", teams=(Team(name="lab", id=IDS[2]),), users=(bob,)),
    )
    users = (IDS[4], IDS[5], IDS[6], IDS[7])
    roster = Roster(tenants, IDS[:2], IDS[2:4], users, (Grant(),))
    assert decode_roster(encode_roster(roster)) == roster
    assert (roster.team_names(), roster.user_names()) == (["lab", "core"], ["core/ann", "lab/bob", "", "core/eve"])
    rows = [row("alpha", team=1, user=3), row("beta!", 1, team=0, user=1), row("gone", 1, team=0, user=2)]
    published = Published(roster, [KeyTable.open(build(rows, HASHER.pepper_id))])
    keys = PublishedKeys((), HASHER, ManualClock(now=float(NOW)).now, published, frozenset())
    found = [find(keys, token) for token in ("alpha", "beta!", "gone")]
    assert [key and (key.tenant, key.team, key.user, key.ids[1:3]) for key in found] == [
        ("acme", "core", "core/eve", (IDS[3], IDS[7])),
        ("umbrella", "lab", "lab/bob", (IDS[2], IDS[5])),
        None,
    ]


def test_a_table_of_another_pepper_is_refused() -> None:
    published = Published(ROSTER, [KeyTable.open(build([], "00000000"))])
    with pytest.raises(ValueError, match="another pepper"):
        PublishedKeys((), HASHER, ManualClock().now, published, frozenset())


def test_a_roster_goes_through_the_pipe_whole_or_not_at_all() -> None:
    assert decode_roster(encode_roster(ROSTER)) == ROSTER
    short = Roster(ROSTER.tenants, IDS[:2], IDS[2:4], (), ROSTER.grants)
    with pytest.raises(ValueError, match="without ids"):
        decode_roster(encode_roster(short))
    with pytest.raises((ValueError, msgspec.MsgspecError)):
        decode_roster(b"\x93garbage")
