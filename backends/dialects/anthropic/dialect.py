"""The Messages API as a dialect: which paths, which fields, and the translation of one request."""

from backends.call import Call
from backends.dialects.anthropic.answer import read_answer
from backends.dialects.anthropic.failure import retell_refusal
from backends.dialects.anthropic.request import write_request
from backends.dialects.anthropic.stream import MessageStream
from backends.dialects.dialect import Translation
from backends.dialects.framing import Events

#: The version of the API that this translation was written for.
VERSION = b"2023-06-01"
_FIELDS = b"content-type: application/json\r\nanthropic-version: " + VERSION + b"\r\n"


class Anthropic:
    """Implements `backends.dialects.dialect.Dialect`. max_output: most tokens of an answer, 0 where nobody says."""

    name = "anthropic"
    paths = frozenset({"/v1/chat/completions"})
    native = frozenset({"/v1/messages", "/v1/messages/count_tokens"})
    auth = "x-api-key"

    def __init__(self, max_output: int = 0) -> None:
        self._max_output = max_output

    def begin(self, call: Call, created: int, ident: str) -> Translation:
        """Raises Refused."""
        made, asked = write_request(call.body or b"", self._max_output)
        return Translation(
            Call("POST", "/messages", _FIELDS, made, None, None, call.repeatable),
            lambda body: read_answer(body, asked, created, ident),
            retell_refusal,
            Events.media if asked.streamed else None,
            lambda: MessageStream(asked, created, ident),
        )
