"""Multipart requests: the `model` part is read, then the rest streams to the model server as it arrives.

What a form asks for is not rewritten, because it is on its way: of pictures, more than the model's clamp lets pass is
refused (`account.hold`), before it is sent where `n` came before the file, and else by cutting the form off. So is a
form that other parsers may read in another way, as far as its `model` and its `n` go.

Owns what was read before the model was known, at most the path's body limit. A body that is complete by then is sent
like any other (and may be retried); one still arriving is sent once, and is cut off when it turns out to be malformed:
a second `model` part behind the file would be another request than the one that was decided about.
"""

from typing import TYPE_CHECKING

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from _native.relay import Source
from backends import base
from backends.call import Call
from fastpath import errors
from fastpath.account.hold import check_pictures
from fastpath.context import RequestContext
from fastpath.endpoints.disposition import DispositionError, name_of
from fastpath.errors import GatewayError
from fastpath.relay.delivery import Delivery
from fastpath.relay.fields import outbound

if TYPE_CHECKING:
    from fastpath.pipeline import Pipeline
    from fastpath.snapshot import Target

#: A model name is shorter than this, in bytes.
NAME_LIMIT = 512
#: And a number than this, with the spaces around it: 64 bits hold it.
_NUMBER_LIMIT = 19
#: Parts that are read.
_READ = frozenset({b"model", b"n"})
#: Of their values, which are read as they are; some servers decode others.
_PLAIN = frozenset({b"", b"7bit", b"8bit", b"binary"})


class ModelPart:
    """Finds the value of the form's `model` part and its byte span, push by push, and the number in its `n` part.

    `count`: None while none came, the largest when several did, -1 when one of them is no whole number.
    """

    def __init__(self, boundary: bytes) -> None:
        self.span: tuple[int, int] | None = None
        self.count: int | None = None
        self.ended = False
        self._base = 0
        self._field = b""
        self._value = b""
        self._disposition: bytes | None = None
        self._coding = b""
        self._inside = self._counting = False
        self._number = b""
        self._start = -1
        self._end = -1
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def push(self, data: bytes) -> None:
        """Raises MultipartParseError for what is no form, or one that others may read in another way."""
        self._parser.write(data)
        self._base += len(data)

    def _on_part_begin(self) -> None:
        self._inside = self._counting = False
        self._disposition = None
        self._number = self._coding = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        field = self._field.lower()
        if field == b"content-disposition":
            if self._disposition is not None:
                raise MultipartParseError("a part has two dispositions")
            self._disposition = self._value
        elif field == b"content-transfer-encoding":
            self._coding = self._value.strip().lower()
        self._field = self._value = b""

    def _on_headers_finished(self) -> None:
        try:
            name = None if self._disposition is None else name_of(self._disposition)
        except DispositionError as error:
            raise MultipartParseError(str(error)) from error
        if name is None or name.lower() not in _READ:
            return
        if name not in _READ or self._coding not in _PLAIN:
            raise MultipartParseError("the parts model and n are written in lower case and without a transfer encoding")
        if name == b"model":
            if self.span is not None or self._start >= 0:
                raise MultipartParseError("the model part appears twice")
            self._inside = True
        self._counting = name == b"n"

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._counting and len(self._number) < _NUMBER_LIMIT:
            self._number += data[start : min(end, start + _NUMBER_LIMIT)]
        if self._inside:
            if b"\r" in data[start:end] or b"\n" in data[start:end]:
                # No name has one, and the parser reports a CR that ended a push at no position of its own.
                raise MultipartParseError("the model part holds a line break")
            if self._start < 0:
                self._start = self._base + start
            self._end = self._base + end
            if self._end - self._start > NAME_LIMIT:
                raise MultipartParseError("the model part is too long")

    def _on_part_end(self) -> None:
        if self._counting:
            text, before = self._number.strip(), self.count
            known = len(self._number) < _NUMBER_LIMIT and text.isdigit() and before != -1
            self.count = max(int(text), before or 0) if known else -1
        if self._inside:
            self._inside = False
            self.span = (max(self._start, 0), max(self._end, 0))

    def _on_end(self) -> None:
        self.ended = True


class UploadFeed:
    """The body of one attempt: what was read so far, then the pieces as they come. Implements `base.BodyFeed`."""

    def __init__(self, upload: "Upload", head: bytes) -> None:
        self._upload = upload
        self._head = head
        self._call: base.Upload | None = None
        self._held_back = False

    def start(self, call: base.Upload) -> None:
        self._call = call
        self._upload.feed = self
        call.send(self._head, last=False)
        if not self._held_back:
            self._upload.resume()

    def send(self, data: bytes, last: bool) -> None:
        if self._call is not None:
            self._call.send(data, last)

    def pause(self) -> None:
        self._held_back = True
        self._upload.pause()

    def resume(self) -> None:
        self._held_back = False
        self._upload.resume()


class Upload:
    """One multipart request. Implements the door's BodyReader."""

    def __init__(self, ctx: RequestContext, pipeline: "Pipeline", limit: int) -> None:
        self.source: Source | None = None
        self.feed: UploadFeed | None = None
        self._ctx = ctx
        self._pipeline = pipeline
        self._limit = limit
        self._read = bytearray()
        self._delivery: Delivery | None = None
        self._part = ModelPart(_boundary(ctx))
        self._draws = ctx.path is not None and ctx.path.by_piece

    def on_piece(self, data: bytes, last: bool) -> None:
        self._ctx.record.bytes_in += len(data)
        if self._delivery is None:
            try:
                self._look(data, last)
            except Exception as error:
                self._pipeline.fail(self._ctx, error)
            return
        try:
            self._check(data, last)
            check_pictures(self._ctx)
        except GatewayError as error:
            self._delivery.refuse(error)
            return
        if self.feed is not None:
            self.feed.send(data, last)

    def on_refused(self, error: GatewayError | None) -> None:
        if self._delivery is None:
            self._pipeline.refuse(self._ctx, error)
        elif error is None:
            self._delivery.client_left()
        else:
            self._delivery.refuse(error)

    def pause(self) -> None:
        if self.source is not None:
            self.source.pause()

    def resume(self) -> None:
        if self.source is not None:
            self.source.resume()

    def _check(self, data: bytes, last: bool) -> None:
        """Raises 400 for what is no form with at most one model part."""
        try:
            self._part.push(data)
        except MultipartParseError as error:
            raise errors.invalid_request(f"The multipart body is malformed: {error}.") from error
        if self._draws:
            self._ctx.pictures = self._part.count or 0
        if last and not self._part.ended:
            raise errors.invalid_request("The multipart body ends before its closing boundary.")

    def _look(self, data: bytes, last: bool) -> None:
        """Before the model is known."""
        self._check(data, last)
        self._pipeline.reserve(self._ctx, len(data))
        self._read += data
        if self._part.span is not None:
            self._dispatch(last)
        elif last:
            raise errors.invalid_request("model: the form needs this part.", "model")

    def _dispatch(self, complete: bool) -> None:
        ctx, span = self._ctx, self._part.span
        assert span is not None
        ctx.read_at = self._pipeline.now()
        try:
            model = bytes(self._read[span[0] : span[1]]).decode()
        except UnicodeDecodeError as error:
            raise errors.invalid_request("model: not valid UTF-8.", "model") from error
        if not model:
            raise errors.invalid_request("model: must not be empty.", "model")
        if complete:
            ctx.body = bytes(self._read)
        self._delivery = self._pipeline.dispatch(ctx, model, self._make_call)
        if not complete and self.feed is None:
            self.pause()  # until a connection is there

    def _make_call(self, delivery: Delivery, target: "Target") -> Call:
        ctx, span = self._ctx, self._part.span
        assert span is not None
        assert ctx.path is not None
        head = bytes(self._read)
        if target.model is not None:
            head = head[: span[0]] + target.model.encode() + head[span[1] :]
        fields = outbound(ctx.exchange.fields, ctx.id)
        if ctx.body:
            return Call("POST", ctx.path.upstream, fields, head)
        declared = ctx.exchange.fields.get(b"content-length")
        length = int(declared) + len(head) - len(self._read) if declared is not None else None
        return Call("POST", ctx.path.upstream, fields, None, UploadFeed(self, head), length)


def _boundary(ctx: RequestContext) -> bytes:
    boundary = parse_options_header(ctx.exchange.fields.get(b"content-type"))[1].get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        raise errors.invalid_request("The multipart Content-Type needs a boundary of 1 to 70 characters.")
    return boundary
