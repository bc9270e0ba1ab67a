"""JSON values that a translation passes on without reading them. null is the same as absent."""

from msgspec import Raw

ABSENT = Raw(b"null")


def is_given(value: Raw) -> bool:
    """Whether there is such a value."""
    return bytes(value) != b"null"


def text_or(value: Raw, otherwise: str) -> str:
    """The value's JSON text, `otherwise` where it is absent."""
    return bytes(value).decode() if is_given(value) else otherwise
