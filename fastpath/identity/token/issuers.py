"""The issuers of one process: their keys, kept fresh by a task for each, and the verifier that believes them.

Owns the tasks, what is kept when settings change, and how often the operator is told the same. Does not own when keys
are fetched (`rotation`) or what a token proves (`verifier`). Single event loop: `use` is called on it and starts tasks,
`close` ends them.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Final

from fastpath.identity.token.fetch import GuardedFetch, Resolve
from fastpath.identity.token.refusal import Refusal
from fastpath.identity.token.rotation import IssuerKeys, Pace
from fastpath.identity.token.steady import SteadyClock
from fastpath.identity.token.trust import TrustedIssuer
from fastpath.identity.token.verifier import Revocations, TokenVerifier

#: The same line about an issuer is said again after so many seconds, and the same reason of a refusal.
SAID_AGAIN: Final = 600.0
REFUSED_AGAIN: Final = 60.0
#: Pause after a mistake of ours in a task, s.
STUMBLED: Final = 30.0

Seconds = Callable[[], float]
Say = Callable[[str], None]


class Issuers:
    """monotonic: seconds that never jump; wall: Unix seconds; resolve: addresses of a host; say: for the operator."""

    def __init__(self, monotonic: Seconds, wall: Seconds, resolve: Resolve, say: Say, pace: Pace | None = None) -> None:
        self.verifier = TokenVerifier(())
        self.now = SteadyClock(monotonic, wall).now
        self._monotonic = monotonic
        self._resolve = resolve
        self._say = say
        self._pace = pace or Pace()
        self._keys: dict[str, IssuerKeys] = {}
        self._tasks: dict[IssuerKeys, asyncio.Task[None]] = {}
        self._said: dict[str, float] = {}
        self._refused: dict[Refusal, float] = {}

    def use(self, trusted: Sequence[TrustedIssuer]) -> None:
        """Believes these from now on. What did not change keeps its keys and is not fetched anew.

        Raises ValueError, saying what to change, and changes nothing then.
        """
        if [keys.trusted for keys in self._keys.values()] == list(trusted):
            return
        keys = {one.name: self._keys_of(one) for one in trusted}
        verifier = TokenVerifier(keys.values())
        verifier.revoke(_revocations(trusted))
        for gone in [known for known in self._tasks if known not in keys.values()]:
            self._tasks[gone].cancel()  # `close` awaits it, too
        self._tasks = {known: task for known, task in self._tasks.items() if not task.done()}
        for fresh in keys.values():
            if fresh not in self._tasks:
                self._tasks[fresh] = asyncio.create_task(self._keep(fresh), name=f"keys of issuer {fresh.trusted.name}")
        self._keys, self.verifier = keys, verifier

    @property
    def losses(self) -> int:
        """How often keys of issuers went away. Another number: tokens that were proven may be so no more."""
        return sum(keys.losses for keys in self._keys.values())

    def renewing(self, name: str) -> bool:
        """Whether the keys of an issuer are being fetched just now."""
        keys = self._keys.get(name)
        return keys is not None and keys.renewing

    def due_in(self, name: str) -> float:
        """Seconds until an issuer's keys are fetched again."""
        keys = self._keys.get(name)
        return 0.0 if keys is None else max(0.0, keys.due_in())

    def note(self, refusal: Refusal, where: str) -> None:
        """Says why a token was refused, once a minute for each reason. where: which request."""
        now = self._monotonic()
        if now - self._refused.get(refusal, -REFUSED_AGAIN) >= REFUSED_AGAIN:
            self._refused[refusal] = now  # as many as there are issuers and reasons
            whose = f" of issuer {refusal.issuer}" if refusal.issuer else ""
            self._say(f"a token{whose} is refused, {refusal.reason}: {where}, and maybe more")

    async def begin(self, patience: float) -> None:
        """Returns when every issuer was asked once, and after `patience` seconds at the latest."""
        if self._keys:
            asked = [asyncio.ensure_future(keys.asked()) for keys in self._keys.values()]
            _, late = await asyncio.wait(asked, timeout=patience)
            for one in late:
                one.cancel()

    async def close(self) -> None:
        """Asks nobody any more."""
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _keys_of(self, trusted: TrustedIssuer) -> IssuerKeys:
        known = self._keys.get(trusted.name)
        if known is not None and known.trusted == trusted:
            return known
        allowed = frozenset(host.lower() for host in trusted.allow_hosts)
        fetch = GuardedFetch(self._resolve, allowed, _authorities(trusted))
        keys = IssuerKeys(trusted, fetch, self._monotonic, self._tell, self._pace)
        if known is not None and _same_keys(known.trusted, trusted):
            keys.inherit(known)
        return keys

    async def _keep(self, keys: IssuerKeys) -> None:
        """For ever: a mistake of ours in here must not leave an issuer with the keys that it had."""
        while True:
            try:
                await keys.run()
            except Exception as bug:
                self._tell(f"issuer {keys.trusted.name}: a bug in renewing its keys, please report it: {bug!r}")
                await asyncio.sleep(STUMBLED)

    def _tell(self, line: str) -> None:
        now = self._monotonic()
        if now - self._said.get(line, -SAID_AGAIN) >= SAID_AGAIN:
            self._said = {said: at for said, at in self._said.items() if now - at < SAID_AGAIN}
            self._said[line] = now
            self._say(line)


def _same_keys(one: TrustedIssuer, other: TrustedIssuer) -> bool:
    return (one.issuer, one.jwks_uri, one.ca_file) == (other.issuer, other.jwks_uri, other.ca_file)


def _authorities(trusted: TrustedIssuer) -> ssl.SSLContext | None:
    if trusted.ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=trusted.ca_file)
    except OSError as error:  # of which what ssl raises for a broken file is one
        raise ValueError(f"issuer {trusted.name}: ca_file cannot be used: {error.strerror or error}") from None


def _revocations(trusted: Sequence[TrustedIssuer]) -> Revocations:
    return Revocations(
        frozenset((one.name, token) for one in trusted for token in one.deny_tokens),
        {(one.name, user): float("inf") for one in trusted for user in one.deny_users},
    )
