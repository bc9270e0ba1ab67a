"""An issuer's keys over time: fetched in the background, and when.

Owns the decision when to fetch and how long keys are used that could not be renewed. Does not parse keys (`jwk`) and
opens no connection (`fetch`). A removed key is gone with the next fetch; a new one is here `regular` seconds after its
publication at the latest, or `least` seconds after the first token that names it. The hot path reads `keys` and calls
`want`; both are plain attribute work. Single event loop: whoever makes one runs `run` as a task and cancels it.
"""

import asyncio
from collections.abc import Callable

import msgspec

from fastpath.identity.token.discovery import discover, read_answer
from fastpath.identity.token.fetch import Fetch, FetchProblem
from fastpath.identity.token.jwk import KeyProblem, KeySet, read_keys
from fastpath.identity.token.trust import TrustedIssuer


class Pace(msgspec.Struct, frozen=True):
    """Seconds. regular: between fetches. least: never sooner, whatever tokens ask for or however often it fails.
    keep: how long keys are used while the provider cannot be asked."""

    regular: float = 300.0
    least: float = 30.0
    keep: float = 86400.0


class IssuerKeys:
    """The keys of one issuer. monotonic: a clock in seconds. say: prints a line for the operator."""

    def __init__(
        self,
        trusted: TrustedIssuer,
        fetch: Fetch,
        monotonic: Callable[[], float],
        say: Callable[[str], None],
        pace: Pace = Pace(),  # noqa: B008  (frozen)
    ) -> None:
        self.trusted = trusted
        self.keys = KeySet()
        self.fetches = 0
        self.losses = 0  # fetches after which a key was gone
        self._fetch = fetch
        self._monotonic = monotonic
        self._say = say
        self._pace = pace
        self._uri = trusted.jwks_uri
        self._wanted = False
        self._tried: float | None = None
        self._renewed: float | None = None
        self._news = asyncio.Event()
        self._asked = asyncio.Event()
        self._fetching = False

    @property
    def age(self) -> float | None:
        """Seconds since the keys were last confirmed, None when they never were."""
        return None if self._renewed is None else self._monotonic() - self._renewed

    @property
    def renewing(self) -> bool:
        """Whether its keys are being fetched or will be at once: what is unknown now may be known in a moment."""
        return self._fetching or (self._wanted and self.due_in() <= 0)

    def inherit(self, other: "IssuerKeys") -> None:
        """Begins with the keys of another one of the same issuer, and when they were confirmed."""
        self.keys, self._uri = other.keys, self.trusted.jwks_uri or other._uri
        self._tried, self._renewed = other._tried, other._renewed
        if other._asked.is_set():
            self._asked.set()

    async def asked(self) -> None:
        """Returns when the provider was asked at least once, whatever it answered."""
        await self._asked.wait()

    def want(self) -> None:
        """A token named a key that is not here. Costs nothing when that is known already."""
        if not self._wanted:
            self._wanted = True
            self._news.set()

    def due_in(self) -> float:
        """Seconds until the next fetch, 0 or less when it is time."""
        if self._tried is None:
            return 0.0
        failed = self._renewed is None or self._renewed < self._tried
        pause = self._pace.least if self._wanted or failed else self._pace.regular
        return self._tried + pause - self._monotonic()

    def expire(self) -> None:
        """Drops keys that were not confirmed for `keep` seconds."""
        if self._renewed is not None and self._monotonic() - self._renewed > self._pace.keep and len(self.keys):
            self.keys = KeySet()
            self._say(f"issuer {self.trusted.name}: its keys are too old to be used; its tokens are refused")

    async def refresh(self) -> bool:
        """Fetches once. On failure the keys stay, the operator is told, and False is returned."""
        self._tried = self._monotonic()
        self.fetches += 1
        self._fetching = True
        try:
            found = await self._read()
        except (FetchProblem, KeyProblem) as problem:
            self._uri = self.trusted.jwks_uri  # the provider may have moved: ask where, next time
            self._say(f"issuer {self.trusted.name}: keys not renewed, {len(self.keys)} stay in use: {problem}")
            return False
        finally:
            self._wanted = self._fetching = False
            self._asked.set()
        if found.left_out and found.left_out != self.keys.left_out:
            self._say(f"issuer {self.trusted.name}: keys not used: {'; '.join(found.left_out[:4])}")
        self.losses += not all(found.holds(key) for key in self.keys)
        self.keys = found
        self._renewed = self._tried
        return True

    async def run(self) -> None:
        """Keeps the keys fresh, for ever."""
        while True:
            self.expire()
            pause = self.due_in()
            if pause <= 0:
                await self.refresh()
            else:
                await self._sleep(pause)

    async def _read(self) -> KeySet:
        if not self._uri:
            self._uri = (await discover(self.trusted.issuer, self._fetch)).jwks_uri
        return read_keys(await read_answer(self._uri, self._fetch), self.keys)

    async def _sleep(self, pause: float) -> None:
        """Until then, or until a token wants a key."""
        self._news.clear()
        try:
            async with asyncio.timeout(pause):
                await self._news.wait()
        except TimeoutError:
            return
