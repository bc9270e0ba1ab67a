"""What the control plane published, joined with the settings file: the settings that workers run by.

Owns the join and its rule: what the file names wins, and what the admin API names the same is left out, with all that
hangs below it, and reported. A key that is not good at this moment (expired, disabled, revoked) is simply not there.
Does not own where a publication comes from (`plane`). Pure.
"""

import secrets
from collections.abc import Iterator, Set

import msgspec

from _native.keytable import KeyLookup
from fastpath.publication import Publication, Refused
from fastpath.settings import Control, Key, Settings, Tenant, decode_settings
from fastpath.settings import Policy as Rule

_DIGITS = 64


class Policy(msgspec.Struct, frozen=True, eq=False):
    """Tenants, keys and rules of the admin API. Whether a key is good says its row in the table."""

    tenants: tuple[Tenant, ...]
    keys: tuple[Key, ...]
    lookup: KeyLookup
    rules: tuple[Rule, ...] = ()


class Joined(msgspec.Struct, frozen=True):
    """Settings for workers; `clashes`: one sentence each; `ends`: Unix ms of the next key that ends, None for none."""

    settings: Settings
    clashes: tuple[str, ...] = ()
    ends: int | None = None


def read_policy(publication: Publication) -> Policy:
    """What a verified publication says. Raises Refused("unfit") when this version cannot read it."""
    try:
        published = decode_settings(publication.settings)
        return Policy(published.tenants, published.keys, publication.lookup(), published.policies)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Refused("unfit", f"its settings are of another version of fastpath ({error}): use one version") from None


def make_nobody(pepper_id: str) -> Key:
    """A key that nobody has. It stands where no other does, because settings without keys are open to everyone."""
    return Key(name="nobody", hash=f"b2:{pepper_id}:{secrets.token_hex(_DIGITS // 2)}")


def join(settings: Settings, policy: Policy | None, nobody: Key, now: float) -> Joined:
    """`settings` of the file with what is published. `now`: Unix seconds. No secret of `control` goes to workers."""
    if policy is None:
        return Joined(_complete(settings, settings.tenants, settings.keys, nobody))
    taken = {tenant.name for tenant in settings.tenants}
    tenants = tuple(tenant for tenant in policy.tenants if tenant.name not in taken)
    clashes = [_clash("tenant", tenant.name) for tenant in policy.tenants if tenant.name in taken]
    good: list[Key] = []
    ends: list[int] = []
    of_file = {key.name for key in settings.keys} | {key.hash for key in settings.keys}
    for key, end in _living(policy, int(now * 1000)):
        if key.name in of_file or key.hash in of_file:
            clashes.append(_clash("key", key.name))
        elif key.tenant is None or key.tenant not in taken:
            good.append(key)
            ends += [end] if end else []
    rules = tuple(rule for rule in policy.rules if rule.owner not in taken)
    clashes += _judge_rules(settings, rules)
    joined = _complete(settings, (*settings.tenants, *tenants), (*settings.keys, *good), nobody)
    joined = msgspec.structs.replace(joined, policies=(*settings.policies, *rules))
    return Joined(joined, tuple(clashes), min(ends, default=None))


def _judge_rules(settings: Settings, rules: tuple[Rule, ...]) -> Iterator[str]:
    """What is odd about rules that are in force all the same: leaving one out could let pass what it denies."""
    named = {rule.name for rule in settings.policies}
    for rule in rules:
        if rule.name in named:
            yield f"policy {rule.name} of the admin API has the name of one in the settings file: both hold; rename one"
        if rule.effect == "allow" and settings.policy_default == "allow":
            yield f"policy {rule.name} of the admin API allows what policy_default allows anyway: set that to deny"


def _living(policy: Policy, now_ms: int) -> Iterator[tuple[Key, int]]:
    """Keys that are good now, and when each ends (Unix ms, 0: never)."""
    for key in policy.keys:
        row = policy.lookup.find(_digest(key), now_ms)
        if row >= 0:
            yield key, policy.lookup.valid_until(row)


def _digest(key: Key) -> bytes:
    text = key.hash.rpartition(":")[2]
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    return digest if len(digest) == _DIGITS // 2 else bytes(_DIGITS // 2)


def _complete(settings: Settings, tenants: tuple[Tenant, ...], keys: tuple[Key, ...], nobody: Key) -> Settings:
    # That there is one is all that workers need to know: it reads what they write down.
    return msgspec.structs.replace(settings, control=Control(), tenants=tenants, keys=keys or (nobody,))


def _clash(kind: str, name: str) -> str:
    below = " and its keys are" if kind == "tenant" else " is"
    return f"{kind} {name} of the admin API{below} not used: the settings file has a {kind} of that name; rename one"


def news_in(clashes: tuple[str, ...], told: Set[str]) -> list[str]:
    """Those that were not told before."""
    return [clash for clash in clashes if clash not in told]
