"""What Clarion tells people who ask for something wrong.

ClarionError
├── Invalid            422 (or as `status` says), with a stable `code`
│   ├── Malformed      400
│   ├── NotFound       404
│   ├── TooLarge       413
│   ├── Stale          412
│   └── Forbidden      403
├── Misconfigured      start-up: the settings can't work, and how to mend them
└── Unavailable        503: the storage can't take it now; nothing was stored
"""

from __future__ import annotations

import re
from typing import Final

#: Characters of what was given that an error repeats at most.
MOST_ECHOED: Final = 80


_ENDLESS: Final = re.compile(rf"(\S{{{MOST_ECHOED}}})\S{{20,}}")
_LONGEST_LINE: Final = 400


def brief(text: str) -> str:
    """Without the rest of words and the midst of lines that nobody writes: what they repeat was meant to be large."""
    if len(text) <= MOST_ECHOED:
        return text
    lines = _ENDLESS.sub(r"\1…", text).split("\n")
    return "\n".join(
        line if len(line) <= _LONGEST_LINE else f"{line[:MOST_ECHOED]} … {line[-MOST_ECHOED:]}" for line in lines
    )


class ClarionError(Exception):
    """The root of all errors that are meant to be read by people."""


class Invalid(ClarionError):
    """A well-formed request that asks for something wrong.

    `code` is stable and for programs, `detail` says what is wrong and how to mend it, `where` names the
    field (`recipients[3].email`). `detail` must not repeat addresses or secrets.
    """

    status = 422

    def __init__(self, code: str, detail: str, where: str | None = None) -> None:
        detail = brief(detail)
        super().__init__(detail)
        self.code, self.detail, self.where = code, detail, None if where is None else brief(where)


class Malformed(Invalid):
    """The body isn't JSON at all."""

    status = 400

    def __init__(self, detail: str) -> None:
        super().__init__("malformed_json", detail)


class NotFound(Invalid):
    """What the path names doesn't exist in this project."""

    status = 404

    def __init__(self, detail: str) -> None:
        super().__init__("not_found", detail)


class TooLarge(Invalid):
    """More than the declared limit."""

    status = 413

    def __init__(self, detail: str, where: str | None = None) -> None:
        super().__init__("payload_too_large", detail, where)


class Stale(Invalid):
    """`If-Match` names a version that is no longer the current one."""

    status = 412

    def __init__(self, detail: str) -> None:
        super().__init__("stale_version", detail)


class Forbidden(Invalid):
    """The key's role or project doesn't allow it."""

    status = 403

    def __init__(self, detail: str) -> None:
        super().__init__("forbidden", detail)


class Misconfigured(ClarionError):
    """The settings can't work; the message says what to do."""


class Unavailable(ClarionError):
    """The storage can't take it now (locked, full, unreachable); nothing was stored."""
