"""Why a request of the admin API is refused: one exception, by who must act. `api.errors` renders it.

Raised where the mistake is seen. A message never repeats a value that may be a secret. Values are immutable.
"""


class Problem(Exception):
    """status: HTTP status; code and param: as in OpenAI's error object; the message says what to do."""

    def __init__(self, status: int, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param


def invalid(message: str, param: str | None = None, code: str = "invalid_request") -> Problem:
    """The request itself is wrong."""
    return Problem(400, code, message, param)


def unauthenticated() -> Problem:
    """No admin key, or one that is not valid: missing, unknown, expired and disabled read the same."""
    return Problem(401, "invalid_api_key", "Send a valid admin key as `Authorization: Bearer`.")


def token_expired() -> Problem:
    """A token that was good: its holder has to get a new one."""
    return Problem(401, "token_expired", "The token has expired. Get a new one from your identity provider.")


def forbidden(message: str, code: str = "forbidden", param: str | None = None) -> Problem:
    """The key is good, but its role or its scope does not allow this."""
    return Problem(403, code, message, param)


def missing(kind: str) -> Problem:
    """No such object in the caller's reach. It does not say whether there is one out of reach."""
    return Problem(404, "not_found", f"There is no such {kind}.")


def conflict(message: str, code: str, param: str | None = None) -> Problem:
    """The request is sound, but what is stored forbids it."""
    return Problem(409, code, message, param)
