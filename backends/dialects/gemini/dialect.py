"""The Gemini dialect: which paths are translated, and the translation of one request.

The endpoint's key goes in `x-goog-api-key`, never in the URL, where logs would keep it. Immutable.
"""

from backends.call import Call
from backends.dialects.dialect import Refused, StreamTranslator, Translation
from backends.dialects.framing import Events
from backends.dialects.gemini.answer import retell_answer
from backends.dialects.gemini.embeddings import make_embeddings, retell_embeddings
from backends.dialects.gemini.errors import retell
from backends.dialects.gemini.request import NAME, make_request, model_path, read_request
from backends.dialects.gemini.stream import GeminiStream
from backends.dialects.vectors import EmbeddingTranslation, read_vectors

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
        return ChatTranslation(call, created, ident)


class ChatTranslation:
    """A chat-completions request."""

    def __init__(self, call: Call, created: int, ident: str) -> None:
        asked = read_request(call.body or b"")
        self.media = Events.media if asked.stream else None
        method = ":streamGenerateContent?alt=sse" if asked.stream else ":generateContent"
        path = model_path(asked.model) + method
        self.call = Call("POST", path, _FIELDS, make_request(asked), repeatable=call.repeatable)
        self._model = asked.model
        self._with_usage = asked.wants_usage
        self._created = created
        self._ident = ident

    def answer(self, body: bytes) -> bytes:
        return retell_answer(body, self._model, self._created, self._ident)

    def stream(self) -> StreamTranslator:
        return GeminiStream(self._model, self._created, self._ident, self._with_usage)

    def error(self, status: int, body: bytes) -> tuple[int, bytes]:
        return retell(status, body)


def _embed(call: Call) -> Translation:
    asked = read_vectors(call.body or b"", NAME)
    path = model_path(asked.model)
    body = make_embeddings(asked, path)
    sent = Call("POST", path + ":batchEmbedContents", _FIELDS, body, repeatable=call.repeatable)
    return EmbeddingTranslation(sent, asked, retell_embeddings, retell)
