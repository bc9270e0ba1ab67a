"""Models and endpoints as the data plane gets them: read for whoever compiles a publication.

Owns which of them are published: endpoints that drain are not, so that nothing new goes there. A model stays when its
last endpoint is gone, and is answered with why. Keeps nothing.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.registry.tables import ENDPOINTS, MODELS
from controlplane.secrets.seal import SealError, bound_row
from fastpath.settings import Endpoint
from fastpath.settings.registry import Registered
from fastpath.settings.secret import Secret, secret_hook

ACTIVE: Final = "active"
DRAINING: Final = "draining"

Reveal = Callable[[bytes, str], Secret]
"""From what is sealed and the row it is sealed for to the secret. Raises SealError."""


def reveal_nothing(sealed: bytes, row: str) -> Secret:
    """Where no master key is at hand. Raises SealError."""
    raise SealError("an endpoint has a key and no master key is open to read it")


async def read_registry(connection: AsyncConnection, reveal: Reveal) -> tuple[tuple[Registered, ...], list[str]]:
    """The models in the order in which they were made, and a sentence for each row that is damaged."""
    said: list[str] = []
    below: dict[str, list[Endpoint]] = {}
    found = select(ENDPOINTS).where(ENDPOINTS.c.state == ACTIVE).order_by(ENDPOINTS.c.created_at, ENDPOINTS.c.id)
    for row in await connection.execute(found):
        try:
            below.setdefault(row.model_id, []).append(endpoint_of(row, reveal))
        except msgspec.ValidationError as error:
            said.append(f"endpoint {row.name} ({row.id}) is not served, its row is damaged ({error}): write it anew")
    every = select(MODELS).order_by(MODELS.c.created_at, MODELS.c.id)
    models = [Registered(row.name, row.says, tuple(below.get(row.id, ()))) for row in await connection.execute(every)]
    return tuple(models), said


def endpoint_of(row: Any, reveal: Reveal) -> Endpoint:
    """The endpoint in a row. Raises msgspec.ValidationError for what is none, SealError."""
    key = None if row.sealed is None else reveal(bytes(row.sealed), bound_row(ENDPOINTS.name, row.id))
    return msgspec.convert({**row.says, "name": row.name, "api_key": key}, Endpoint, dec_hook=secret_hook)
