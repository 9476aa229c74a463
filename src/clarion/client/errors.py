"""What can go wrong when asking a Clarion server, as one tree of exceptions.

ClarionClientError
├── Unreachable            no complete answer came, retries included
└── ClarionApiError        the server said no: `status`, `code`, `detail`, `where`
    ├── BadRequest         400
    ├── Unauthorized       401
    ├── Forbidden          403
    ├── NotFound           404
    ├── Stale              412  `If-Match` names an old version
    ├── TooLarge           413
    ├── Invalid            422
    │   └── IdempotencyConflict   the key was used for another event
    ├── RateLimited        429, retries included
    └── Unavailable        5xx, for 502, 503 and 504 retries included
"""

from __future__ import annotations


class ClarionClientError(Exception):
    """The root of all errors of the client."""


class Unreachable(ClarionClientError):
    """No complete answer came. What was asked may or may not have been done: asking again is safe."""


class ClarionApiError(ClarionClientError):
    """The server answered with an error. `code` is stable and for programs, `where` names the field."""

    def __init__(self, status: int, code: str, detail: str, where: str | None = None) -> None:
        super().__init__(f"{code}: {detail}" + (f" (at {where})" if where else ""))
        self.status, self.code, self.detail, self.where = status, code, detail, where

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.status, self.code, self.detail, self.where)


class BadRequest(ClarionApiError):
    """400: the server couldn't read the request."""


class Unauthorized(ClarionApiError):
    """401: no key, or one that the server doesn't know."""


class Forbidden(ClarionApiError):
    """403: the key's role or project doesn't allow it."""


class NotFound(ClarionApiError):
    """404: it doesn't exist in this project."""


class Stale(ClarionApiError):
    """412: somebody changed it in the meantime."""


class TooLarge(ClarionApiError):
    """413: more than the server takes at once."""


class Invalid(ClarionApiError):
    """422: well-formed but wrong; `code` says what."""


class IdempotencyConflict(Invalid):
    """422: this idempotency key already stands for another event."""


class RateLimited(ClarionApiError):
    """429: too many requests, and the retries are used up or the server asks for a longer wait than they allow."""


class Unavailable(ClarionApiError):
    """5xx: the server can't take it now; nothing was stored."""


_BY_STATUS: dict[int, type[ClarionApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    412: Stale,
    413: TooLarge,
    422: Invalid,
    429: RateLimited,
}


def error_for(status: int, code: str, detail: str, where: str | None) -> ClarionApiError:
    """The exception that fits an answer."""
    if code == "idempotency_conflict":
        return IdempotencyConflict(status, code, detail, where)
    kind = Unavailable if status >= 500 else _BY_STATUS.get(status, ClarionApiError)
    return kind(status, code, detail, where)
