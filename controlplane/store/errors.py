"""What a database refuses, by who must act: nobody (try again), the operator, or the program that wrote the statement.

Owns the judgement of driver errors. Does not own retries (`database`). Pure.
"""

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

#: SQLSTATE of what goes away when the transaction runs again: serialization failure, deadlock.
_AGAIN = frozenset({"40001", "40P01"})
#: SQLSTATE classes of a server that cannot serve now: connection, resources, operator intervention, system error.
_DOWN_CLASSES = frozenset({"08", "53", "57", "58"})
#: Lock not available, read-only transaction (a standby).
_DOWN = frozenset({"55P03", "25006"})
#: SQLite's primary result codes: BUSY and LOCKED; PERM, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, NOTADB.
_SQLITE_AGAIN = frozenset({5, 6})
_SQLITE_DOWN = frozenset({3, 8, 10, 11, 13, 14, 26})


class StoreError(Exception):
    """Of this room."""


class Contended(StoreError):
    """Another transaction was in the way. Nothing was written; the same work may be done again at once."""


class Unavailable(StoreError):
    """The database cannot be used now. Whether a commit under way took effect is unknown: send it again, by its ids."""


class Outdated(StoreError):
    """The database has another schema than this program. The operator must migrate it, or run the right program."""


def judge(error: Exception) -> StoreError | None:
    """What an error of the driver or the engine means for a transaction. None: the statement itself was wrong."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, DBAPIError):
        return _judge_driver(error)
    if isinstance(error, PoolTimeout):
        return Unavailable("every database connection is in use: raise the pool, or find the statement that holds them")
    if isinstance(error, OSError | TimeoutError):
        return Unavailable(f"the database cannot be reached: {_first_line(error)}")
    return None


def _judge_driver(error: DBAPIError) -> StoreError | None:
    origin = error.orig
    state = getattr(origin, "sqlstate", None)
    code = getattr(origin, "sqlite_errorcode", None)
    if state in _AGAIN or (code is not None and code & 0xFF in _SQLITE_AGAIN):
        return Contended(_first_line(origin))
    if isinstance(error, IntegrityError):
        return None
    if state is not None:
        down = state in _DOWN or state[:2] in _DOWN_CLASSES
    elif code is not None:
        down = code & 0xFF in _SQLITE_DOWN
    else:
        down = isinstance(error, OperationalError | InterfaceError)
    if down or error.connection_invalidated:
        return Unavailable(f"the database cannot be used: {_first_line(origin)}")
    return None


def _first_line(error: BaseException | None) -> str:
    """Never a statement or its parameters: they may hold what a log must not."""
    return (str(error).splitlines() or [type(error).__name__])[0]
