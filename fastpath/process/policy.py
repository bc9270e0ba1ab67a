"""What the control plane published, beside the settings file: what workers are given.

Owns the rule that what the file names wins, told as sentences; workers hold to it (`fastpath.identity.published`). Does
not own where a publication comes from (`plane`), nor any key: rows stay in their table.
"""

import os
import secrets
from collections.abc import Iterator, Sequence, Set

import msgspec

from _native.keytable import KeyTable
from fastpath.identity.published import Published
from fastpath.publication import Publication, Refused
from fastpath.settings import Control, Key, Settings
from fastpath.settings import Policy as Rule
from fastpath.settings.registry import find_clashes as find_model_clashes
from fastpath.settings.registry import find_faults, join_models

_DIGITS = 64


class Policy:
    """One publication, verified, with descriptors of its tables of its own. Close it when nobody may be given it."""

    def __init__(self, roster: bytes, published: Published, tables: tuple[int, ...] = ()) -> None:
        self.roster = roster
        self.published = published
        self.tables = tables

    def close(self) -> None:
        """Lets the descriptors go. Workers that have the tables keep them."""
        for descriptor in self.tables:
            os.close(descriptor)
        self.tables = ()


class Joined(msgspec.Struct, frozen=True):
    """Settings of the file as workers get them, beside what is published. See `process.member.Given`."""

    settings: Settings
    roster: bytes = b""
    tables: tuple[int, ...] = ()


def read_policy(publication: Publication) -> Policy:
    """What a verified publication says. Raises Refused("unfit") when this version cannot read it."""
    held = [table for table in (publication.base, publication.delta) if table is not None]
    try:
        published = Published.open(publication.settings, [table.table for table in held])
    except (msgspec.MsgspecError, ValueError) as error:
        raise Refused("unfit", f"its settings are of another version of fastpath ({error}): use one version") from None
    return Policy(publication.settings, published, tuple(os.dup(table.sealed.descriptor) for table in held))


def make_nobody(pepper_id: str) -> Key:
    """A key that nobody has. It stands where no other does, because settings without keys are open to everyone."""
    return Key(name="nobody", hash=f"b2:{pepper_id}:{secrets.token_hex(_DIGITS // 2)}")


def join(settings: Settings, policy: Policy | None, nobody: Key) -> Joined:
    """What workers get: settings of the file, and what is published. No secret of `control` goes to them."""
    # That there is one is all that workers need to know: it reads what they write down. Of another node it does not.
    control = Control() if settings.control is not None else None
    own = msgspec.structs.replace(settings, control=control, keys=settings.keys or (nobody,))
    return Joined(own) if policy is None else Joined(own, policy.roster, policy.tables)


def join_registry(settings: Settings, policy: Policy | None) -> Settings:
    """The settings with the models that are published: what is watched, measured and shown."""
    return settings if policy is None else join_models(settings, policy.published.roster.models)


def judge_registry(settings: Settings, policy: Policy | None) -> tuple[str, ...]:
    """Why models of the file and of a policy should not be served together, a sentence each."""
    faults = find_faults(settings, policy.published.roster.models) if policy is not None else []
    return tuple(f"models of the admin API beside those of the settings file: {fault}" for fault in faults)


def find_clashes(settings: Settings, policy: Policy | None) -> tuple[str, ...]:
    """A sentence for each tenant and key that is published and not used, because the file has it."""
    if policy is None:
        return ()
    taken = {tenant.name for tenant in settings.tenants}
    tenants = [tenant.name for tenant in policy.published.roster.tenants if tenant.name in taken]
    rules = _judge_rules(settings, policy.published.policies(taken))
    models = find_model_clashes(settings, policy.published.roster.models)
    return (*(_clash("tenant", name) for name in tenants), *_twins(settings, policy), *rules, *models)


def _judge_rules(settings: Settings, rules: Sequence[Rule]) -> Iterator[str]:
    """What is odd about rules that are in force all the same: leaving one out could let pass what it denies."""
    named = {rule.name for rule in settings.policies}
    for rule in rules:
        if rule.name in named:
            yield f"policy {rule.name} of the admin API has the name of one in the settings file: both hold; rename one"
        if rule.effect == "allow" and settings.policy_default == "allow":
            yield f"policy {rule.name} of the admin API allows what policy_default allows anyway: set that to deny"


def _twins(settings: Settings, policy: Policy) -> Iterator[str]:
    """Keys of the file that the table has too."""
    lookup = policy.published.lookup
    for key in settings.keys:
        digest = bytes.fromhex(key.hash[-_DIGITS:])
        tables: list[KeyTable] = [table for table in (lookup.base, lookup.delta) if table is not None]
        if any(table.index_of(digest) >= 0 for table in tables):
            yield _clash("key", key.name)


def _clash(kind: str, name: str) -> str:
    below = " and its keys are" if kind == "tenant" else " is"
    return f"{kind} {name} of the admin API{below} not used: the settings file has a {kind} of that name; rename one"


def news_in(clashes: tuple[str, ...], told: Set[str]) -> list[str]:
    """Those that were not told before."""
    return [clash for clash in clashes if clash not in told]
