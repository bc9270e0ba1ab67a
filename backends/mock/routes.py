"""Which path speaks which API: the table from path to the function that plans an answer."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from backends.mock.answers.answer import Answer
from backends.mock.answers.chat import ChatBody, plan_chat
from backends.mock.answers.completions import CompletionBody, plan_completion
from backends.mock.answers.embeddings import EmbeddingBody, plan_embeddings
from backends.mock.answers.gemini import (
    CountBody,
    EmbedBatch,
    EmbedBody,
    GenerateBody,
    plan_content,
    plan_embedding,
    plan_embedding_batch,
    plan_token_count,
    read_gemini,
)
from backends.mock.answers.media import ImageBody, SpeechBody, plan_edit, plan_images, plan_speech, plan_transcription
from backends.mock.answers.messages import MessagesBody, plan_count, plan_message
from backends.mock.answers.ollama import ChatBody as OllamaChatBody
from backends.mock.answers.ollama import EmbedBody as OllamaEmbedBody
from backends.mock.answers.ollama import GenerateBody as OllamaGenerateBody
from backends.mock.answers.ollama import ShowBody, plan_embed, plan_generate, plan_ollama_chat, plan_show
from backends.mock.answers.rerank import ModerationBody, RerankBody, plan_moderation, plan_rerank
from backends.mock.answers.responses import ResponsesBody, plan_response
from backends.mock.draft import Context
from backends.mock.errors import RefusedError
from backends.mock.forms import Form, parse_form
from backends.mock.paths import gemini_call
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
        "/api/chat": _json(OllamaChatBody, plan_ollama_chat),
        "/api/generate": _json(OllamaGenerateBody, plan_generate),
        "/api/embed": _json(OllamaEmbedBody, plan_embed),
        "/api/show": _json(ShowBody, plan_show),
    }
)


#: Azure's v1 API, and its API by deployments: the same below another beginning.
AZURE = re.compile(r"^/openai/(v1|deployments/[^/]+)/")


def plan_answer(context: Context, request: Request) -> Answer:
    """Plans the answer of a model path. Raises RefusedError (400, 404, 405)."""
    plan = ROUTES.get(AZURE.sub("/v1/", request.path))
    called = gemini_call(request.path) if plan is None else None
    if called is not None and request.method == "POST":
        return _plan_gemini(context, request, *called)
    if plan is None:
        raise RefusedError(404, f"Unknown path: {request.method} {request.path}", code="unknown_url")
    if request.method != "POST":
        raise RefusedError(405, f"{request.method} is not allowed for {request.path}", code="method_not_allowed")
    return plan(context, request)


def _plan_gemini(context: Context, request: Request, model: str, method: str) -> Answer:
    body = request.body
    match method:
        case "generateContent" | "streamGenerateContent":
            streamed = method[0] == "s"
            if streamed and request.query != "alt=sse":
                raise RefusedError(400, "The mock streams server-sent events only: alt=sse")
            return plan_content(context, model, read_gemini(body, GenerateBody), streamed=streamed)
        case "countTokens":
            return plan_token_count(context, model, read_gemini(body, CountBody))
        case "embedContent":
            return plan_embedding(context, model, read_gemini(body, EmbedBody))
        case _:
            return plan_embedding_batch(context, model, read_gemini(body, EmbedBatch))
