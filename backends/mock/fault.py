"""What can be made to go wrong, as data, and the script that hands faults to coming requests.

Owns the vocabulary of faults and their order; carrying them out is the turn's and the outlet's work.
Concurrency: a ScriptRun belongs to one server on one loop.
"""

from typing import Literal

import msgspec

from backends.mock.paths import MODEL_PATHS

UsageShape = Literal["none", "final", "final_with_choices", "every", "zero", "negative", "huge", "nan", "null"]
How = Literal["fin", "rst", "stall"]


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One answer's misbehaviour; the default is a good answer. Fields combine unless they say otherwise.

    Events are counted from 0 and include `[DONE]`; the body of an answer that is not streamed counts as one event.
    """

    # --- pace and length -------------------------------------------------------------------------------------------
    ttft: float | None = None
    """Seconds to the first token, instead of the server's."""

    rate: float | None = None
    """Tokens a second, instead of the server's; 0 is as fast as possible."""

    tokens: int | None = None
    """Length of the answer, instead of the server's; the request's limit still applies."""

    charge: bool | None = None
    """True charges the prompt even when the request fails before it runs; False never charges."""

    # --- a refusal instead of an answer ----------------------------------------------------------------------------
    status: int | None = None
    """Answer with this status and an error body (also 200: an error in disguise). No slot is taken."""

    error_body: Literal["json", "html", "empty", "text"] = "json"
    """Kind of that body."""

    error_code: str | None = None
    """`error.code` of the JSON error body."""

    retry_after: float | str | None = None
    """Value of `retry-after`; a string (an HTTP date, nonsense) goes out as it is."""

    retry_after_ms: float | None = None
    """Value of `retry-after-ms`."""

    refuse_stream_options: bool = False
    """400 `unsupported_parameter` when the request carries `stream_options`, as old servers do."""

    # --- the head --------------------------------------------------------------------------------------------------
    headers: dict[str, str] | tuple[tuple[str, str], ...] = ()
    """Extra response headers, written as they are (set-cookie, location, x-ratelimit-remaining-tokens: -1, ...)."""

    content_type: str | None = None
    """`content-type` instead of the right one."""

    early_head: bool = False
    """The head goes out at once, the first event after `ttft`; otherwise both wait for the first token."""

    continue_100: bool | tuple[int, ...] = False
    """Informational answers before the head: true for one `100 Continue`, or a list such as [100, 103, 100]."""

    big_headers: int = 0
    """Bytes of one large header's value."""

    many_headers: int = 0
    """Number of extra small headers."""

    header_injection: bool = False
    """A header whose value holds a bare LF, a bare CR and a NUL, with a cookie and a redirect behind them."""

    # --- how it ends -----------------------------------------------------------------------------------------------
    die: Literal["accept", "pre"] | None = None
    """Close without a response byte: on accept (or as soon as a request's head is seen), or after the whole body."""

    how: How = "fin"
    """How a scripted end (die, cut, raw, garbage, short_body, endless_line) ends: FIN, RST, or silence."""

    stall_after: int | Literal["head", "end"] | None = None
    """Fall silent: before the head ("head"), after k events (0: after the head), or before the end ("end")."""

    cut_after: int | None = None
    """End the connection after k events."""

    cut_at_byte: int | None = None
    """End the connection after n bytes of the response, counted from its status line."""

    close_after: bool = False
    """Close after a complete answer that did not say `connection: close` (the keep-alive race)."""

    # --- bytes that are not HTTP -----------------------------------------------------------------------------------
    garbage: bool = False
    """Bytes that are no HTTP instead of an answer."""

    raw: bytes | None = None
    """These bytes (base64 in JSON) as the whole answer, verbatim."""

    trailing_bytes: int = 0
    """Bytes of rubbish after a complete answer, on a connection that stays open."""

    # --- framing ---------------------------------------------------------------------------------------------------
    gzip: bool = False
    """Gzip-encoded body whatever the request accepts; each event of a stream is flushed."""

    chunked: bool = False
    """Chunked body for an answer that is not streamed."""

    chunked_trailers: bool = False
    """Chunked body with trailer fields behind it."""

    content_length_sse: bool = False
    """A stream with Content-Length instead of chunks (not together with `gzip`)."""

    close_delimited: bool = False
    """Neither Content-Length nor chunks: the body ends with the connection."""

    short_body: int = 0
    """Content-Length that promises this many bytes more than are sent, then `how`."""

    split: int | tuple[int, ...] = 0
    """Each write goes out in pieces of n bytes, or cut at these offsets; every piece is its own segment."""

    split_pause: float = 0.0
    """Seconds between those pieces; 0 is one turn of the loop."""

    slow_bytes: float = 0.0
    """Bytes a second at which the whole response drips out."""

    early_response: bool = False
    """Answer as soon as the head of the request is there, with the body unread (script only, together with `status`,
    `raw` or `garbage`: nobody can answer what was not read). The body is read and hashed afterwards."""

    # --- the event stream ------------------------------------------------------------------------------------------
    json_not_sse: bool = False
    """JSON answer to a request that asked for a stream."""

    sse_not_json: bool = False
    """Stream to a request that asked for none."""

    crlf: bool = False
    """Lines end in CR LF."""

    cr: bool = False
    """Lines end in CR."""

    bom: bool = False
    """A byte order mark before the first event."""

    comments: bool = False
    """A `: keep-alive` comment before every event."""

    comment_every: float = 0.0
    """Seconds between comments while waiting or stalling after the head (which then goes out early)."""

    multi_line_data: bool = False
    """The JSON of each event spread over several `data:` lines."""

    no_blank_line: bool = False
    """The last event lacks its blank line."""

    no_done: bool = False
    """No `[DONE]`."""

    duplicate_done: bool = False
    """`[DONE]` twice."""

    bad_json_event: int | None = None
    """The k-th event's JSON is cut short."""

    in_band_error: int | None = None
    """After k events an error event in the dialect's form, then the end without `[DONE]`."""

    huge_event: int = 0
    """Bytes of text in the first content event."""

    firehose: int = 0
    """This many one-byte events, without pacing."""

    endless_line: int = 0
    """Bytes of one line without an end, in place of the events."""

    # --- the content -----------------------------------------------------------------------------------------------
    usage: UsageShape | None = None
    """How usage is told, whether asked for or not (None: honestly, and only when asked for)."""

    unlabelled_tool_calls: bool = False
    """Streamed fragments of tool calls lack `index`, and `id` from the first on."""

    metrics: Literal["wrong", "frozen"] | None = None
    """What `/metrics` tells (a script with that path): numbers that cannot be, or always those of the first time."""

    finish: str | None = None
    """Why the answer ended, in the dialect's own word, instead of the right one (Gemini and Ollama)."""

    blocked: str | None = None
    """The prompt is blocked for this reason, and there is no candidate (Gemini)."""

    wrong_model_name: bool | str = False
    """Another model's name in the answer: `another-model`, or this one."""


NO_FAULT = Fault()


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Faults for coming requests: the i-th one gets `faults[i % len(faults)]`."""

    faults: tuple[Fault, ...] = ()
    times: int | None = None
    """Requests it applies to; None: until it is replaced or reset."""

    path: str | None = None
    """The path it applies to, any method; None: every POST to a model."""


class ScriptRun:
    """A script being used up."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._used = 0

    def take(self, method: str, path: str) -> Fault | None:
        """The fault of this request, counted as used, or None when the script does not apply."""
        fault = self._current() if self._applies(method, path) else None
        if fault is not None:
            self._used += 1
        return fault

    def take_accept(self) -> Fault | None:
        """The next fault if it falls on new connections, counted as used."""
        fault = self._current()
        if fault is None or fault.die != "accept":
            return None
        self._used += 1
        return fault

    def _applies(self, method: str, path: str) -> bool:
        wanted = self._script.path
        return path == wanted if wanted is not None else method == "POST" and path.startswith(MODEL_PATHS)

    def _current(self) -> Fault | None:
        faults, times = self._script.faults, self._script.times
        if not faults or (times is not None and self._used >= times):
            return None
        return faults[self._used % len(faults)]
