"""The pure twin of `_native.answers`: by the standard library's JSON and by slices."""

from _native.reference.jsonscan import JsonError, Numbers, frame_facts

SOUND, NOT_JSON, ERROR_OBJECT, BARE_VALUE = range(4)
FRAME_ERROR = 2


def read_answer(body: bytes) -> tuple[int, bytes | None]:
    """As the kernel's, with the value of `usage` itself in place of where it stands."""
    try:
        flags, _, usage = frame_facts(body)
    except JsonError:
        return NOT_JSON, None
    if flags & FRAME_ERROR:
        return ERROR_OBJECT, None
    if body.lstrip()[:1] not in (b"{", b"["):
        return BARE_VALUE, None
    return SOUND, usage


def seven_numbers(numbers: Numbers, text: bytes, start: int, end: int) -> tuple[int | None, ...] | None:
    """What the kernel found; None where it found nothing."""
    return numbers.read(text[start:end])
