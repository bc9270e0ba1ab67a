"""What every request asks of its key, each looked up once: a key is a Struct, whose fields are found by name.

Owns `Known`, and the memory of the latest few thousand keys that were met, by which object a key is: newer settings
have other keys. Does not own what a key may do (`fastpath.snapshot.may_use` says it of any key). One event loop.
"""

from _native.entry import Memo
from fastpath.limits.desk import caller_of
from fastpath.settings import Key


class Known:
    """One key's. every_model: its scope has no end; models: names in it. caller: whose limits its requests meet."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.name = key.name
        self.tenant = key.tenant
        self.insight = key.insight
        self.models = frozenset(key.models)
        self.every_model = "*" in key.models
        self.caller = caller_of(key)

    def may_use(self, model: str) -> bool:
        """As `fastpath.snapshot.may_use`."""
        return self.every_model or model in self.models


class Acquaintances:
    """Keys that were met."""

    def __init__(self) -> None:
        self._met = Memo()

    def of(self, key: Key) -> Known:
        found = self._met.get(key)
        if found is None:
            found = Known(key)
            self._met.put(key, found)
        assert isinstance(found, Known)
        return found
