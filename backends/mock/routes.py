"""Which path speaks which API: the table from path to the function that plans an answer."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from backends.mock.answers.answer import Answer
from backends.mock.answers.chat import ChatBody, plan_chat
from backends.mock.answers.completions import CompletionBody, plan_completion
from backends.mock.answers.embeddings import EmbeddingBody, plan_embeddings
from backends.mock.answers.media import ImageBody, SpeechBody, plan_edit, plan_images, plan_speech, plan_transcription
from backends.mock.answers.messages import MessagesBody, plan_count, plan_message
from backends.mock.answers.rerank import ModerationBody, RerankBody, plan_moderation, plan_rerank
from backends.mock.answers.responses import ResponsesBody, plan_response
from backends.mock.draft import Context
from backends.mock.errors import RefusedError
from backends.mock.forms import Form, parse_form
from backends.mock.request import Request, decode_body

T = TypeVar("T")
Plan = Callable[[Context, Request], Answer]


def _json(kind: type[T], plan: Callable[[Context, T], Answer]) -> Plan:
    return lambda context, request: plan(context, decode_body(request.body, kind))


def _form(plan: Callable[[Context, Form], Answer]) -> Plan:
    return lambda context, request: plan(context, parse_form(request.header("content-type"), bytes(request.body)))


ROUTES: Mapping[str, Plan] = MappingProxyType(
    {
        "/v1/chat/completions": _json(ChatBody, plan_chat),
        "/v1/completions": _json(CompletionBody, plan_completion),
        "/v1/embeddings": _json(EmbeddingBody, plan_embeddings),
        "/v1/responses": _json(ResponsesBody, plan_response),
        "/v1/messages": _json(MessagesBody, plan_message),
        "/v1/messages/count_tokens": _json(MessagesBody, plan_count),
        "/v1/rerank": _json(RerankBody, plan_rerank),
        "/v1/moderations": _json(ModerationBody, plan_moderation),
        "/v1/images/generations": _json(ImageBody, plan_images),
        "/v1/images/edits": _form(plan_edit),
        "/v1/audio/speech": _json(SpeechBody, plan_speech),
        "/v1/audio/transcriptions": _form(plan_transcription),
        "/v1/audio/translations": _form(plan_transcription),
    }
)


#: Azure's v1 API, and its API by deployments: the same below another beginning.
AZURE = re.compile(r"^/openai/(v1|deployments/[^/]+)/")


def plan_answer(context: Context, request: Request) -> Answer:
    """Plans the answer of a model path. Raises RefusedError (400, 404, 405)."""
    plan = ROUTES.get(AZURE.sub("/v1/", request.path))
    if plan is None:
        raise RefusedError(404, f"Unknown path: {request.method} {request.path}", code="unknown_url")
    if request.method != "POST":
        raise RefusedError(405, f"{request.method} is not allowed for {request.path}", code="method_not_allowed")
    return plan(context, request)
