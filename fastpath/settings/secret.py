"""A text that must not be seen: upstream keys and whatever else came from `${NAME}`.

Owns `Secret` and the msgspec hooks that carry it: `reveal_hook` for the pipe from supervisor to worker, `mask_hook`
for everything that a person may read. Does not encrypt. Values are immutable, so any thread may hold them.
"""

import hmac
from typing import Any, NoReturn, final

MASK = "***"


@final
class Secret:
    """Holds a text; `repr`, `str` and `format` show a mask. `reveal()` is the only way out."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself. Call it where the bytes leave for their owner, nowhere else."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Secret":
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is not pickled: it would leak; use fastpath.settings.encode_settings")


def reveal_hook(value: object) -> str:
    """msgspec `enc_hook` that writes the text. Only for a pipe between our own processes."""
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError(f"cannot encode {type(value).__name__}")


def mask_hook(value: object) -> str:
    """msgspec `enc_hook` that writes the mask: for JSON, logs and screens."""
    if isinstance(value, Secret):
        return MASK
    raise NotImplementedError(f"cannot encode {type(value).__name__}")


def secret_hook(wanted: type, value: object) -> object:
    """msgspec `dec_hook`: makes a `Secret` of a text; one that is made already stays."""
    if wanted is Secret and isinstance(value, str | Secret):
        return value if isinstance(value, Secret) else Secret(value)
    raise NotImplementedError(f"cannot decode {wanted.__name__}")


def schema_hook(wanted: type) -> dict[str, Any]:
    """msgspec `schema_hook`: a secret is a text in the file."""
    if wanted is Secret:
        return {"type": "string", "minLength": 1}
    raise NotImplementedError(f"no schema for {wanted.__name__}")
