"""POST /v1/rerank and POST /v1/moderations."""

from typing import Any

import msgspec

from backends.mock.answers.answer import Fixed, fixed_json, served_model
from backends.mock.answers.prompts import render_content, utf8
from backends.mock.draft import Context, prompt_tokens
from backends.mock.errors import RefusedError
from backends.mock.tokens import digest


class RerankBody(msgspec.Struct):
    """The fields the mock looks at; others are accepted."""

    query: str
    documents: list[str | dict[str, Any]]
    model: str | None = None
    top_n: int | None = None


def plan_rerank(context: Context, body: RerankBody) -> Fixed:
    """Documents by the share of the query's words they hold; ties are broken by hash. Raises RefusedError."""
    model = served_model(context, body.model)
    texts = [document if isinstance(document, str) else str(document.get("text", "")) for document in body.documents]
    if not texts:
        raise RefusedError(400, "documents must not be empty", param="documents")
    results: list[dict[str, Any]] = [
        {"index": index, "document": {"text": text}, "relevance_score": _score(body.query, text)}
        for index, text in enumerate(texts)
    ]
    results.sort(key=lambda result: result["relevance_score"], reverse=True)
    prompt = utf8(body.query + "".join(texts))
    usage = {"prompt_tokens": prompt_tokens(prompt), "total_tokens": prompt_tokens(prompt)}
    tree = {"id": context.identity("rerank-"), "model": context.shown_model(model), "usage": usage}
    return fixed_json(prompt, tree | {"results": results[: body.top_n]})


def _score(query: str, text: str) -> float:
    words = set(query.lower().split())
    share = len(words & set(text.lower().split())) / max(1, len(words))
    return round(0.98 * share + digest(query, text)[0] / 25_600, 6)


CATEGORIES = {
    "harassment": "stupid", "harassment/threatening": "threat", "hate": "hate", "hate/threatening": "exterminate",
    "illicit": "steal", "illicit/violent": "bomb", "self-harm": "cutting", "self-harm/instructions": "overdose",
    "self-harm/intent": "suicide", "sexual": "porn", "sexual/minors": "lolita", "violence": "kill",
    "violence/graphic": "gore",
}  # fmt: skip
"""Category and the one word that flags it."""


class ModerationBody(msgspec.Struct):
    """The fields the mock looks at; others are accepted."""

    input: str | list[str | dict[str, Any]]
    model: str | None = None


def plan_moderation(context: Context, body: ModerationBody) -> Fixed:
    """One result per text; parts of one multi-modal input share a result. Raises RefusedError."""
    model = served_model(context, body.model or context.options.models[0])
    texts = _inputs(body.input)
    tree = {"id": context.identity("modr-"), "model": context.shown_model(model)}
    return fixed_json(b"".join(texts), tree | {"results": [_result(text) for text in texts]})


def _inputs(given: str | list[str | dict[str, Any]]) -> list[bytes]:
    if isinstance(given, list) and all(isinstance(entry, str) for entry in given):
        return [render_content([entry]) for entry in given]
    return [render_content(given)]


def _result(text: bytes) -> dict[str, Any]:
    found = {category: word.encode() in text.lower() for category, word in CATEGORIES.items()}
    return {
        "flagged": any(found.values()),
        "categories": found,
        "category_scores": {category: 0.95 if hit else 0.0001 for category, hit in found.items()},
        "category_applied_input_types": {category: ["text"] for category in found},
    }
