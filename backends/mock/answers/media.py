"""Images and audio: /v1/images/generations, /v1/images/edits, /v1/audio/speech, /v1/audio/transcriptions."""

import base64
import struct
import zlib
from typing import Any

import msgspec

from backends.mock.answers.answer import Fixed, served_model
from backends.mock.answers.prompts import utf8
from backends.mock.draft import Context, Wish, draft_all, prompt_tokens
from backends.mock.errors import RefusedError
from backends.mock.forms import Form
from backends.mock.tokens import IMAGE_TOKENS, digest

MOST_IMAGES = 10
SAMPLE_RATE = 8_000
SPEECH_TYPES = {"mp3": "audio/mpeg", "opus": "audio/opus", "aac": "audio/aac", "flac": "audio/flac", "pcm": "audio/pcm"}


class ImageBody(msgspec.Struct):
    """The fields the mock looks at; others are accepted."""

    prompt: str
    model: str | None = None
    n: int | None = None
    response_format: str | None = None


class SpeechBody(msgspec.Struct):
    """The fields the mock looks at; others are accepted."""

    input: str
    model: str | None = None
    response_format: str | None = None


def plan_images(context: Context, body: ImageBody) -> Fixed:
    """Small one-colour PNGs. Raises RefusedError."""
    served_model(context, body.model or context.options.models[0])
    return _images(context, utf8(body.prompt), body.n or 1, as_url=body.response_format == "url")


def plan_edit(context: Context, form: Form) -> Fixed:
    """The same for an upload; the files join the prompt. Raises RefusedError."""
    served_model(context, form.field("model") or context.options.models[0])
    if not form.files:
        raise RefusedError(400, "image is required", param="image", code="missing_required_parameter")
    files = b"".join(digest(file.data) for file in form.files)
    return _images(context, utf8(form.field("prompt")) + files, form.number("n", 1))


def _images(context: Context, prompt: bytes, count: int, *, as_url: bool = False) -> Fixed:
    if not 1 <= count <= MOST_IMAGES:
        raise RefusedError(400, f"n must be 1 to {MOST_IMAGES}", param="n", code="integer_out_of_range")
    data = [_image(digest(context.options.seed, index, prompt), as_url) for index in range(count)]
    text, drawn = prompt_tokens(prompt), IMAGE_TOKENS * count
    usage = {"input_tokens": text, "output_tokens": drawn, "total_tokens": text + drawn}
    details = {"input_tokens_details": {"text_tokens": text, "image_tokens": 0}}
    tree = {"created": context.created, "data": data, "output_format": "png", "usage": usage | details}
    return Fixed(prompt, msgspec.json.encode(tree), tokens=drawn)


def _image(seed: bytes, as_url: bool) -> dict[str, str]:
    coded = base64.b64encode(draw_png(seed[0], seed[1], seed[2])).decode()
    return {"url": "data:image/png;base64," + coded} if as_url else {"b64_json": coded}


def draw_png(red: int, green: int, blue: int, side: int = 8) -> bytes:
    """A square PNG of one colour."""
    rows = (b"\x00" + bytes((red, green, blue)) * side) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, data) for kind, data in parts)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def plan_speech(context: Context, body: SpeechBody) -> Fixed:
    """Noise of 10 ms a character: a WAV file for `wav`, bare samples under any other format's name."""
    served_model(context, body.model)
    wanted = body.response_format or "mp3"
    if wanted != "wav" and wanted not in SPEECH_TYPES:
        raise RefusedError(400, f"unknown response_format: {wanted}", param="response_format")
    prompt = utf8(body.input)
    samples = _noise(digest(context.options.seed, prompt), len(prompt) * SAMPLE_RATE // 100)
    if wanted == "wav":
        return Fixed(prompt, wav_header(len(samples)) + samples, "audio/wav")
    return Fixed(prompt, samples, SPEECH_TYPES[wanted])


def _noise(seed: bytes, count: int) -> bytes:
    return (seed * (count // len(seed) + 1))[:count]


def wav_header(size: int) -> bytes:
    """Header of a mono 8-bit WAV file with `size` bytes of samples."""
    form = struct.pack("<IHHIIHH", 16, 1, 1, SAMPLE_RATE, SAMPLE_RATE, 1, 8)
    return b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + form + b"data" + struct.pack("<I", size)


def plan_transcription(context: Context, form: Form) -> Fixed:
    """Text made from the file's hash, in the format asked for. Raises RefusedError."""
    served_model(context, form.field("model"))
    if not form.files:
        raise RefusedError(400, "file is required", param="file", code="missing_required_parameter")
    prompt = digest(form.files[0].data) + utf8(form.field("prompt"))
    draft = draft_all(context, prompt, Wish())[0]
    wanted = form.field("response_format") or "json"
    if wanted in PLAIN_TRANSCRIPTS:
        return Fixed(prompt, utf8(PLAIN_TRANSCRIPTS[wanted].format(draft.text)), "text/plain", draft.tokens)
    body = msgspec.json.encode(_transcript(draft.text, prompt_tokens(prompt), draft.tokens, wanted))
    return Fixed(prompt, body, tokens=draft.tokens)


PLAIN_TRANSCRIPTS = {
    "text": "{}\n",
    "srt": "1\n00:00:00,000 --> 00:00:01,000\n{}\n",
    "vtt": "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n{}\n",
}


def _transcript(text: str, heard: int, tokens: int, wanted: str) -> dict[str, Any]:
    if wanted == "verbose_json":
        return {"task": "transcribe", "language": "english", "duration": 1.0, "text": text}
    usage = {"type": "tokens", "input_tokens": heard, "output_tokens": tokens, "total_tokens": heard + tokens}
    return {"text": text, "usage": usage}
