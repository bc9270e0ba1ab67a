"""Errors that reach the caller, by who must act, and their wire shapes. The only place that translates them.

A GatewayError is made where the mistake is seen; `shape` renders it once, at the border, in the caller's dialect.
"""

from collections.abc import Sequence

import msgspec

from backends.base import Cause, UpstreamError

Header = tuple[bytes, bytes]
JSON_TYPE: Header = (b"content-type", b"application/json")


class GatewayError(Exception):
    """What the caller is told. status: HTTP status; code, type, param: OpenAI error fields; headers: extra ones."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        headers: Sequence[Header] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.type = type
        self.param = param
        self.headers = tuple(headers)


# -- the caller's mistake


def invalid_request(message: str, param: str | None = None, code: str = "invalid_request") -> GatewayError:
    return GatewayError(400, code, message, param=param)


def unknown_path(path: str) -> GatewayError:
    return GatewayError(404, "unknown_path", f"No such path: {path[:200]}. See GET /v1/models for what is served.")


def wrong_method(method: str, allowed: str) -> GatewayError:
    message = f"Method {method[:20]} is not allowed here; use {allowed}."
    return GatewayError(405, "method_not_allowed", message, headers=[(b"allow", allowed.encode())])


def too_large(limit: int) -> GatewayError:
    message = f"The request body is larger than {limit} bytes, the limit of this path. Send less."
    return GatewayError(413, "request_too_large", message)


def unsupported_encoding(encoding: str) -> GatewayError:
    message = f"Content-Encoding {encoding[:40]!r} is not supported. Send the body without compression."
    return GatewayError(415, "unsupported_content_encoding", message)


def unsupported_type(wanted: str) -> GatewayError:
    return GatewayError(415, "unsupported_media_type", f"Send the body as {wanted}.")


def poisoned() -> GatewayError:
    message = (
        "A worker of this gateway died twice while this request was running on it, so it is not run again for a while. "
        "Tell the gateway's operator the x-request-id."
    )
    return GatewayError(422, "poisoned", message)


def slow_body() -> GatewayError:
    return GatewayError(408, "request_timeout", "The request body did not arrive in time. Send it again, faster.")


def broken_body() -> GatewayError:
    message = "The request body broke off or its framing is malformed. Send it again, whole."
    return GatewayError(400, "broken_body", message)


_BAD_HTTP_CODES = {408: "request_timeout", 431: "headers_too_large"}


def bad_http(status: int, reason: str) -> GatewayError:
    """Bytes that are no request: 400, 408 or 431."""
    return GatewayError(status, _BAD_HTTP_CODES.get(status, "invalid_request"), reason)


def unauthenticated(message: str) -> GatewayError:
    return GatewayError(
        401,
        "invalid_api_key",
        message,
        type="authentication_error",
        headers=[(b"www-authenticate", b"Bearer")],
    )


def token_expired() -> GatewayError:
    """401 for a token that was good: its client has to get a new one, and may know to."""
    return GatewayError(
        401,
        "token_expired",
        "The token has expired. Get a new one from your identity provider.",
        type="authentication_error",
        headers=[(b"www-authenticate", b'Bearer error="invalid_token"')],
    )


def unsupported(wanted: str, param: str) -> GatewayError:
    """400: no endpoint that may serve the request can do what it asks for. wanted: names of capabilities."""
    message = (
        f"No endpoint of this model that may serve this request offers {wanted}. Leave it out, or choose another model."
    )
    return GatewayError(400, "unsupported_parameter", message, param=param)


def context_exceeded(tokens: int, largest: int) -> GatewayError:
    """400. tokens: of prompt and answer, estimated; largest: context that an endpoint has."""
    message = (
        f"The prompt and the answer that it allows are about {tokens} tokens, and this model takes {largest} at most. "
        "Send less, or allow a shorter answer."
    )
    return GatewayError(400, "context_length_exceeded", message, param="messages")


def unknown_model(name: str) -> GatewayError:
    message = f"The model {name[:200]!r} does not exist or this key may not use it. GET /v1/models lists yours."
    return GatewayError(404, "model_not_found", message, param="model")


def unknown_decision() -> GatewayError:
    """404, the same for a decision of somebody else, one that is gone, and one that never was."""
    message = "There is no record of that request that you may see. The id is the x-request-id of its answer."
    return GatewayError(404, "decision_not_found", message)


# -- policy: what this caller may not, or not now


def forbidden(message: str) -> GatewayError:
    """403: the key is known, and may not do this. `message` says what, and who could change it."""
    return GatewayError(403, "permission_denied", message, type="permission_error")


def policy_blocked() -> GatewayError:
    """403: a rule about who may send what where. One sentence for all rules: they may speak of others."""
    message = (
        "A policy of this gateway does not allow this request: its model, data class, time or origin. "
        "The gateway's operator finds the rule in the access log by the x-request-id."
    )
    return GatewayError(403, "policy_blocked", message, type="permission_error")


def over_ceiling() -> GatewayError:
    """403: everywhere the request would cost more than the operator lets one cost."""
    message = (
        "Wherever this request could run now it would cost more than this gateway allows. Send less, or allow a "
        "shorter answer; the gateway's operator sets routing.cost_ceiling."
    )
    return GatewayError(403, "cost_ceiling", message, type="permission_error")


def rate_limited(message: str, retry_after: int | None, headers: Sequence[Header] = ()) -> GatewayError:
    """429 for a limit per time or of concurrency. retry_after in ns; None: it would never pass, so do not try again.

    headers: the x-ratelimit-* ones.
    """
    if retry_after is None:
        waits: list[Header] = [(b"x-should-retry", b"false")]
    else:
        milliseconds = max(1, -(-retry_after // 1_000_000))
        waits = [(b"retry-after", b"%d" % -(-milliseconds // 1_000)), (b"retry-after-ms", b"%d" % milliseconds)]
    return GatewayError(429, "rate_limit_exceeded", message, type="rate_limit_error", headers=[*waits, *headers])


def quota_spent(message: str, headers: Sequence[Header] = ()) -> GatewayError:
    """429 for a budget. Clients would try again by themselves, which cannot help."""
    fields = [(b"x-should-retry", b"false"), *headers]
    return GatewayError(429, "insufficient_quota", message, type="insufficient_quota", headers=fields)


# -- idempotency keys


def in_progress(wait: float) -> GatewayError:
    """409: the first request under this key still runs. wait: seconds after which to ask again, rounded up."""
    message = "The first request under this Idempotency-Key is still running. Repeat this one later for its answer."
    fields = [(b"retry-after", b"%d" % max(1, -int(-wait // 1)))]
    return GatewayError(409, "in_progress", message, headers=fields)


def idempotency_conflict() -> GatewayError:
    """409: another body or path was sent under this key. Clients would repeat a 409 by themselves."""
    message = "This Idempotency-Key was used for another request. Send each request under a key of its own."
    return GatewayError(409, "idempotency_conflict", message, headers=[(b"x-should-retry", b"false")])


def answer_not_stored(why: str) -> GatewayError:
    """409: the first request ran and was charged, and its answer cannot be given again."""
    message = (
        f"The first request under this Idempotency-Key ran, and its answer is not stored: {why}. To have it run, and "
        "charged, once more send it under a new key."
    )
    return GatewayError(409, "answer_not_stored", message, headers=[(b"x-should-retry", b"false")])


# -- no capacity, upstream failure


def overloaded(message: str, retry_after: float = 1.0) -> GatewayError:
    """503 with Retry-After (s, rounded up): ours or every endpoint's lack of capacity, never a caller's limit."""
    seconds = max(1, int(-(-retry_after // 1)))
    return GatewayError(
        503, "overloaded", message, type="server_error", headers=[(b"retry-after", str(seconds).encode())]
    )


def residency_unavailable(message: str, retry_after: float) -> GatewayError:
    """503: only endpoints are left that may not have this data. message: its class and rule; retry_after in s."""
    seconds = max(1, int(-(-retry_after // 1)))
    fields = [(b"retry-after", str(seconds).encode())]
    return GatewayError(503, "residency_unavailable", message, type="server_error", headers=fields)


def no_endpoint() -> GatewayError:
    """503: the model is there and its last endpoint was removed, or drains."""
    message = "This model has no endpoint at the moment. Try again later, or ask the operator of this gateway."
    return GatewayError(503, "no_endpoint", message, type="server_error", headers=[(b"retry-after", b"60")])


def superseded() -> GatewayError:
    """503: a newer gateway on this node counts now. A new connection reaches it."""
    error = overloaded("This process of the gateway has been replaced. Connect again.")
    error.headers = (*error.headers, (b"connection", b"close"))
    return error


def unrecordable() -> GatewayError:
    """503: what the request costs could not be written down, so it is not sent."""
    return overloaded("The gateway cannot record usage now (its disk is full or failing). Try again shortly.", 5.0)


def unpriceable(problem: str) -> GatewayError:
    """503: what the request costs has no amount in its caller's currency, so nothing could bound or bill it."""
    message = f"The gateway cannot bill this model in your currency ({problem}). Its operator must add the rate."
    return overloaded(message, 60.0)


def upstream_failed(message: str = "The model server failed before it answered. Try again.") -> GatewayError:
    return GatewayError(502, "upstream_error", message, type="server_error")


def upstream_timeout() -> GatewayError:
    return GatewayError(504, "upstream_timeout", "The model server did not answer in time.", type="timeout")


def internal() -> GatewayError:
    message = "The gateway failed on this request. It is our bug; please report the x-request-id."
    return GatewayError(500, "internal_error", message, type="server_error")


_TIMEOUTS = {Cause.FIRST_BYTE_TIMEOUT, Cause.TOTAL_TIMEOUT, Cause.IDLE_TIMEOUT}


def before_answer(error: UpstreamError) -> GatewayError:
    """The caller's view of a failed attempt when nothing was delivered yet and no alternative is left."""
    if error.cause in _TIMEOUTS:
        return upstream_timeout()
    if error.cause is Cause.POOL_FULL:
        return overloaded("Every connection to the model server is in use. Try again shortly.")
    return upstream_failed()


def in_stream(error: UpstreamError, answering: bool) -> GatewayError:
    """The caller's view of a failure after the answer's head went out. answering: content was delivered."""
    if error.cause is Cause.TOTAL_TIMEOUT or (error.cause is Cause.IDLE_TIMEOUT and answering):
        message = "The stream took longer than allowed and was ended."
        return GatewayError(504, "stream_timeout", message, type="timeout")
    if error.cause in _TIMEOUTS:
        return upstream_timeout()
    if error.cause is Cause.DISCONNECTED:
        message = "The model server disconnected before the answer was complete."
        return GatewayError(502, "upstream_disconnected", message, type="server_error")
    return upstream_failed("The model server's answer broke off or was malformed.")


# -- shapes

#: OpenAI error type -> Anthropic error type, by status (wire contract D.8).
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout",
}


def shape(error: GatewayError, dialect: str, request_id: str) -> bytes:
    """The JSON body of an error answer. dialect: "messages" for Anthropic's shape, anything else for OpenAI's."""
    if dialect == "messages":
        kind = _ANTHROPIC_TYPES.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
        if error.code == "insufficient_quota":
            kind = "billing_error"
        body: object = {
            "type": "error",
            "error": {"type": kind, "message": error.message},
            "request_id": request_id,
        }
    else:
        body = {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}
    return msgspec.json.encode(body)


def frame(error: GatewayError, dialect: str, request_id: str, sequence: int = 0) -> bytes:
    """The in-band event that ends a broken stream. sequence: the event's number, for the Responses dialect."""
    if dialect == "responses":
        event = {
            "type": "error",
            "code": error.code,
            "message": error.message,
            "param": error.param,
            "sequence_number": sequence,
        }
        return b"event: error\ndata: " + msgspec.json.encode(event) + b"\n\n"
    head = b"event: error\ndata: " if dialect == "messages" else b"data: "
    return head + shape(error, dialect, request_id) + b"\n\n"
