"""A connection that is lost at the n-th step: before a statement, before a commit, or after one nobody heard of."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from controlplane.store.database import Database
from controlplane.store.errors import Unavailable


class Planted(Unavailable):
    """What a lost connection looks like, from a test."""


class Fuse:
    """Counts steps while it is lit, and goes off once."""

    def __init__(self, database: Database) -> None:
        self._left: int | None = None
        engine = database.engine.sync_engine
        self._commit = engine.dialect.do_commit
        event.listen(engine, "before_cursor_execute", self._on_statement)
        engine.dialect.do_commit = self._on_commit  # no event comes after a commit

    @contextmanager
    def lit(self, steps: int | None) -> Iterator[None]:
        """Goes off at step `steps`, from 0; None: never."""
        self._left = steps
        try:
            yield
        finally:
            self._left = None

    def _burn(self) -> None:
        if self._left is None:
            return
        if self._left == 0:
            self._left = None
            raise Planted("the connection is lost")
        self._left -= 1

    def _on_statement(self, *_: object) -> None:
        self._burn()

    def _on_commit(self, connection: Any) -> None:
        self._burn()
        self._commit(connection)
        self._burn()
