"""The table of API paths.

Everything that differs between paths is a column here; the pipeline has no special case by name. A path that is not in
the table does not exist, under any other spelling either (no decoding, no normalising: one path, one policy).
"""

from typing import Literal

import msgspec

from backends.dialects import openai
from fastpath.money.ask import Api

Body = Literal["none", "json", "multipart", "lookup"]  # lookup: none either, and the answer waits for the disk


#: JSON bodies of paths below these are uploads too (audio, images): the larger limit applies.
UPLOAD_PREFIXES = ("/v1/images/", "/v1/audio/")
#: Paths that need no key.
OPEN_PATHS = frozenset({"/healthz", "/readyz"})


class ApiPath:
    """One path. template: as documented, and its metrics label; dialect: of errors and event streams; schema: decision
    fields of its JSON body; asks_usage: usage is requested upstream when a streaming caller did not; json_reply: a 200
    must be JSON (or an event stream when streaming was asked for). upstream: the path below an endpoint's base URL;
    is_upload: the larger body limit applies; is_form: its body is a form; has_body: it has one; is_open: no key is
    needed; api: whose fields say what it may cost; by_piece: what its answers have may be billed by the piece."""

    def __init__(
        self,
        template: str,
        method: str,
        body: Body = "json",
        dialect: str = "other",
        schema: type[openai.Decision] = openai.Decision,
        asks_usage: bool = False,
        json_reply: bool = True,
        api: Api = "other",
    ) -> None:
        self.template = template
        self.api: Api = api
        self.by_piece = api == "images"
        self.method = method
        self.body = body
        self.dialect = dialect
        self.decode = msgspec.json.Decoder(schema).decode
        self.asks_usage = asks_usage
        self.json_reply = json_reply
        self.upstream = template.removeprefix("/v1")
        self.is_upload = template.startswith(UPLOAD_PREFIXES)
        self.is_form = body == "multipart"
        self.has_body = self.is_form or body == "json"
        self.is_open = template in OPEN_PATHS


PATHS = (
    ApiPath("/v1/chat/completions", "POST", dialect="chat", schema=openai.ChatRequest, asks_usage=True, api="chat"),
    ApiPath(
        "/v1/completions",
        "POST",
        dialect="chat",
        schema=openai.CompletionRequest,
        asks_usage=True,
        api="completions",
    ),
    ApiPath("/v1/embeddings", "POST", schema=openai.EmbeddingRequest, api="embeddings"),
    ApiPath("/v1/responses", "POST", dialect="responses", api="responses"),
    ApiPath("/v1/messages", "POST", dialect="messages", schema=openai.MessagesRequest, api="messages"),
    ApiPath("/v1/messages/count_tokens", "POST", dialect="messages"),
    ApiPath("/v1/rerank", "POST"),
    ApiPath("/v1/moderations", "POST"),
    ApiPath("/v1/images/generations", "POST", api="images"),
    ApiPath("/v1/images/edits", "POST", body="multipart", api="images"),
    ApiPath("/v1/images/variations", "POST", body="multipart", api="images"),
    ApiPath("/v1/audio/speech", "POST", json_reply=False),
    ApiPath("/v1/audio/transcriptions", "POST", body="multipart", json_reply=False),
    ApiPath("/v1/audio/translations", "POST", body="multipart", json_reply=False),
    ApiPath("/v1/models", "GET", body="none"),
    ApiPath("/v1/models/{id}", "GET", body="none"),
    ApiPath("/v1/decisions/{id}", "GET", body="lookup"),
    ApiPath("/healthz", "GET", body="none"),
    ApiPath("/readyz", "GET", body="none"),
)

BY_PATH = {path.template: path for path in PATHS if "{" not in path.template}
ONE_MODEL = next(path for path in PATHS if path.template == "/v1/models/{id}")
ONE_DECISION = next(path for path in PATHS if path.template == "/v1/decisions/{id}")


def find(path: str) -> ApiPath | None:
    """The table row of a raw request path, None when there is none."""
    found = BY_PATH.get(path)
    if found is None and path.startswith("/v1/models/") and len(path) > len("/v1/models/"):
        return ONE_MODEL
    if found is None and path.startswith("/v1/decisions/") and len(path) > len("/v1/decisions/"):
        return ONE_DECISION
    return found
