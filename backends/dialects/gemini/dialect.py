"""The Gemini dialect: which paths are translated, and the translation of one request.

The endpoint's key goes in `x-goog-api-key`, never in the URL, where logs would keep it. Immutable.
"""

from backends.call import Call
from backends.dialects.dialect import Refused, Translation
from backends.dialects.framing import Events
from backends.dialects.gemini.answer import retell_answer
from backends.dialects.gemini.embeddings import make_embeddings, retell_embeddings
from backends.dialects.gemini.errors import retell
from backends.dialects.gemini.request import NAME, make_request, model_path, read_request
from backends.dialects.gemini.stream import GeminiStream
from backends.dialects.vectors import read_vectors

#: The whole head beside the key: nothing of the caller's goes on.
_FIELDS = b"content-type: application/json\r\n"


class Gemini:
    """Implements `backends.dialects.dialect.Dialect`."""

    name = "gemini"
    paths = frozenset({"/v1/chat/completions", "/v1/embeddings"})
    native: frozenset[str] = frozenset()
    auth = "x-goog-api-key"

    def begin(self, call: Call, created: int, ident: str) -> Translation:
        if call.path == "/embeddings":
            return _embed(call)
        if call.path != "/chat/completions":
            raise Refused(f"{NAME} endpoints serve chat completions and embeddings.", "model")
        return _chat(call, created, ident)


def _chat(call: Call, created: int, ident: str) -> Translation:
    asked = read_request(call.body or b"")
    method = ":streamGenerateContent?alt=sse" if asked.stream else ":generateContent"
    path = model_path(asked.model) + method
    return Translation(
        Call("POST", path, _FIELDS, make_request(asked), repeatable=call.repeatable),
        lambda body: retell_answer(body, asked.model, created, ident),
        retell,
        Events.media if asked.stream else None,
        lambda: GeminiStream(asked.model, created, ident, asked.wants_usage),
    )


def _embed(call: Call) -> Translation:
    asked = read_vectors(call.body or b"", NAME)
    path = model_path(asked.model)
    made = make_embeddings(asked, path)
    sent = Call("POST", path + ":batchEmbedContents", _FIELDS, made, repeatable=call.repeatable)
    return Translation(sent, lambda body: retell_embeddings(body, asked), retell)
