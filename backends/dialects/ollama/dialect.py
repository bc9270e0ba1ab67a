"""The Ollama dialect: which paths are translated, and the translation of one request. Immutable."""

import msgspec

from backends.call import Call
from backends.dialects.dialect import Refused, Translation
from backends.dialects.framing import Lines
from backends.dialects.ollama.answer import retell, retell_answer, retell_vectors
from backends.dialects.ollama.request import NAME, make_request, read_request
from backends.dialects.ollama.stream import OllamaStream
from backends.dialects.vectors import read_vectors

#: The whole head beside the key: nothing of the caller's goes on.
_FIELDS = b"content-type: application/json\r\n"


class Ollama:
    """Implements `backends.dialects.dialect.Dialect`. The endpoint's URL ends with /api."""

    name = "ollama"
    paths = frozenset({"/v1/chat/completions", "/v1/embeddings"})
    native: frozenset[str] = frozenset()
    auth = "authorization"

    def begin(self, call: Call, created: int, ident: str) -> Translation:
        if call.path == "/embeddings":
            return _embed(call)
        if call.path != "/chat/completions":
            raise Refused(f"{NAME} endpoints serve chat completions and embeddings.", "model")
        return _chat(call, created, ident)


def _chat(call: Call, created: int, ident: str) -> Translation:
    asked = read_request(call.body or b"")
    return Translation(
        Call("POST", "/chat", _FIELDS, make_request(asked), repeatable=call.repeatable),
        lambda body: retell_answer(body, asked.model, created, ident),
        retell,
        Lines.media if asked.stream else None,
        lambda: OllamaStream(asked.model, created, ident, asked.wants_usage),
    )


def _embed(call: Call) -> Translation:
    """What is too long is refused, not cut."""
    asked = read_vectors(call.body or b"", NAME)
    tree = {"model": asked.model, "input": asked.texts, "truncate": False}
    if asked.dimensions is not None:
        tree["dimensions"] = asked.dimensions
    sent = Call("POST", "/embed", _FIELDS, msgspec.json.encode(tree), repeatable=call.repeatable)
    return Translation(sent, lambda body: retell_vectors(body, asked), retell)
