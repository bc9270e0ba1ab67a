"""Servers that are like OpenAI's but for a field or two which they refuse. Only requests are changed; answers pass.

Owns what is done about each such field: `max_completion_tokens` is sent under its older name, `stream_options` is left
out (usage then comes by itself, or is estimated). Stateless.
"""

from collections.abc import Set

import msgspec
from msgspec import Raw

from _native.relay import Sink
from backends.call import Call
from backends.http.client import HttpBackend, HttpCall

_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_LIMIT, _OLD_LIMIT = "max_completion_tokens", "max_tokens"


class LikeBackend:
    """Implements `backends.base.Backend` in front of an HttpBackend. lacks: the fields that its server refuses."""

    def __init__(self, inner: HttpBackend, lacks: Set[str]) -> None:
        self.inner = inner
        self._lacks = lacks
        self._words = tuple(f'"{name}"'.encode() for name in lacks)

    def start(self, call: Call, sink: Sink) -> HttpCall:
        body = call.body
        if body is not None and any(word in body for word in self._words):
            call.body = without(body, self._lacks)
        return self.inner.start(call, sink)

    async def close(self) -> None:
        await self.inner.close()


def without(body: bytes, lacks: Set[str]) -> bytes:
    """A JSON object without the fields. Whatever is not one is returned as it is: its server says what is wrong."""
    try:
        members = _MEMBERS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body
    kept = {name: value for name, value in members.items() if name not in lacks}
    if _LIMIT in lacks and _LIMIT in members:
        kept[_OLD_LIMIT] = members[_LIMIT]
    return msgspec.json.encode(kept)
