"""Keys that the control plane published, looked up where they lie: in a table that is never decoded.

Owns how a row becomes a `Key`: when it is first met, in a memory of `MOST_MET` rows that goes with the table. Whether a
row is good says the row, at every look-up. Keys of the settings file stand beside, and win. Does not own the table
(`_native.keytable`), nor whether it is the one that was signed: who hands it over has verified it. One event loop.
"""

from collections.abc import Callable, Iterable, Sequence, Set
from hmac import compare_digest
from math import inf

from _native.keytable import INSIGHT, Bounds, KeyLookup, build
from _native.keytable import KeyTable as Rows
from fastpath.identity.keys import KeyTable, bearer_token, digest_of
from fastpath.identity.scope import Terms, terms_of
from fastpath.settings import Key, Policy, Tenant
from fastpath.settings.roster import Roster, decode_roster
from fastpath.settings.token import KeyHasher

#: Keys that are kept as objects, about 0.7 kB each. Making one costs some 5 us.
MOST_MET = 8_192


_NOTHING = KeyLookup(Rows.open(build((), "0" * 8)))


class Published:
    """One publication as a process holds it: the table, and what its rows point at."""

    def __init__(self, roster: Roster, tables: Sequence[Rows]) -> None:
        """tables: the base, and the delta if there is one. Raises ValueError when they do not belong together."""
        self.roster = roster
        self.teams = roster.team_names()
        self.users = roster.user_names()
        bounds = Bounds(len(roster.tenants), len(self.teams), len(self.users), len(roster.grants), 0)
        self.lookup = KeyLookup(tables[0], tables[1] if len(tables) > 1 else None, bounds)

    @staticmethod
    def open(roster: bytes, tables: Sequence[Rows]) -> "Published":
        """As it is sent between processes. Raises ValueError (msgspec's too) for what is none."""
        return Published(decode_roster(roster), tables)

    def tenants(self, taken: Set[str]) -> list[Tenant]:
        """Its tenants, without those of a name that the settings file has: what the file names wins."""
        return [tenant for tenant in self.roster.tenants if tenant.name not in taken]

    def policies(self, taken: Set[str]) -> list[Policy]:
        """Its rules, without those of such tenants."""
        return [rule for rule in self.roster.policies if rule.owner not in taken]


class PublishedKeys(KeyTable):
    """Keys of the settings file and published ones. `taken`: names of the file's tenants."""

    def __init__(
        self,
        keys: Iterable[Key],
        hasher: KeyHasher,
        now: Callable[[], float],
        published: Published,
        taken: Set[str],
    ) -> None:
        """As `KeyTable`. Raises ValueError when the table was hashed under another pepper."""
        super().__init__(keys, hasher, now)
        if published.lookup.base.pepper_id != hasher.pepper_id:
            raise ValueError("the published keys were hashed under another pepper: restart the gateway")
        self.scoped = True
        self._roster, self._teams, self._users = published.roster, published.teams, published.users
        self._lookup = published.lookup
        self._taken = frozenset(taken)
        self._met: dict[int, Key | None] = {}
        self._met_terms: dict[str, Terms] = {}

    def find(self, authorization: bytes | None) -> Key | None:
        """As in `KeyTable`; both tables are searched, whatever was presented."""
        token = bearer_token(authorization)
        digest = self._hasher.digest(token)
        stored, key, ends = self._by_digest.get(digest, self._nobody)
        now = self._now()
        row = self._lookup.find(digest, int(now * 1000))
        if not token:
            return None
        if compare_digest(stored, digest):
            return key if now < ends else None
        return self._key_at(row, digest) if row >= 0 else None

    def terms(self, key: Key) -> Terms | None:
        """As in `KeyTable`."""
        return self._met_terms.get(key.hash) or self._terms.get(key.hash)

    def current(self, key: Key) -> Key | None:
        """As in `KeyTable`."""
        digest = digest_of(key)
        if digest is None or digest in self._by_digest:
            return KeyTable.current(self, key)
        row = self._lookup.find(digest, int(self._now() * 1000))
        return self._key_at(row, digest) if row >= 0 else None

    def retire(self) -> None:
        """As in `KeyTable`. Else each publication would keep 10 MB for as long as the longest stream from its time."""
        self._lookup, self._met, self._met_terms = _NOTHING, {}, {}

    def _key_at(self, row: int, digest: bytes) -> Key | None:
        """None for a key of a tenant whose name the file has, and of a team or user that is not there any more."""
        if row in self._met:
            return self._met[row]
        if len(self._met) >= MOST_MET:
            self._met.clear()
            self._met_terms.clear()
        key = self._met[row] = self._make(row, digest)
        if key is not None:
            ends = self._lookup.valid_until(row)
            terms = terms_of(key, ends / 1000 if ends else inf)
            if terms is not None:
                self._met_terms[key.hash] = terms
        return key

    def _make(self, row: int, digest: bytes) -> Key | None:
        lookup, roster = self._lookup, self._roster
        place, team, user = lookup.tenant(row), lookup.team(row), lookup.user(row)
        tenant, grant = roster.tenants[place], roster.grants[lookup.grant(row)]
        team_name = self._teams[team] if team >= 0 else None
        user_name = self._users[user] if user >= 0 else None
        if tenant.name in self._taken or team_name == "" or user_name == "":
            return None
        key_id = lookup.key_id(row).hex()
        return Key(
            name="/".join((tenant.name, user_name or team_name or "", key_id)),
            hash=f"b2:{self._hasher.pepper_id}:{digest.hex()}",
            models=grant.models,
            paths=grant.paths,
            networks=grant.networks,
            data_class=grant.data_class,
            insight=bool(lookup.flags(row) & INSIGHT),
            tenant=tenant.name,
            team=team_name,
            user=user_name,
            ids=(
                roster.tenant_ids[place],
                roster.team_ids[team] if team >= 0 else "",
                roster.user_ids[user] if user >= 0 else "",
                key_id,
            ),
        )
