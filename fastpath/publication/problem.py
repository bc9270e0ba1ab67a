"""Why a publication is not taken, or cannot be made."""

from typing import Literal

Reason = Literal["malformed", "signature", "rollback", "pepper", "missing", "damaged", "unfit"]


class PublicationError(Exception):
    """Files or keys cannot be used. The message says who must do what."""


class Refused(Exception):
    """A publication is not taken; what is in use stays.

    malformed: it is none. signature: no trusted key signed it. rollback: a newer one, or another one of the same
    version, was taken before. pepper: its keys were hashed under another pepper. missing: a piece has not arrived.
    damaged: a piece is not the one that was signed. unfit: it is whole, and this node cannot run by it.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason
