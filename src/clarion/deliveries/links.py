"""The personal links of a message: preferences, and one-click unsubscribing (RFC 8058).

A link is made when a text or a header asks for it, and not before: most messages show none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from clarion.clock import DAY, Clock
from clarion.model.words import Channel, Priority
from clarion.model.workflow import Workflow
from clarion.security.encryption import KeyRing
from clarion.security.tokens import Claims, TokenPurpose, issue

#: How long the link to the preferences in a message works. The one to unsubscribe never ends.
PREFERENCES_TTL: Final = 90 * DAY

#: The names that templates know them by.
LINKS: Final = ("preferences", "unsubscribe")

#: A longer link doesn't fit into one line of a header: then there is the one in the text.
_LONGEST_IN_HEADER: Final = 900


class PersonalLinks(dict[str, str]):
    """`preferences` and `unsubscribe`, each made when it is first asked for."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[str], str]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> str:
        self[name] = made = self._make(name)
        return made


class Links:
    """Makes links under the server's public URL."""

    def __init__(self, url: str, ring: KeyRing, clock: Clock) -> None:
        self._url, self._ring, self._clock = url, ring, clock
        self._secure = url.startswith("https://")

    def urls(self, project: int, recipient: str, workflow: Workflow, channel: Channel) -> dict[str, str]:
        """What templates see as `urls`."""

        def make(name: str) -> str:
            if name == "preferences":
                expires_at = self._clock.now() + PREFERENCES_TTL
                claims = Claims(
                    purpose=TokenPurpose.PREFERENCES, project=project, recipient=recipient, expires_at=expires_at
                )
                return f"{self._url}/preferences?token={issue(self._ring, claims)}"
            if name == "unsubscribe":
                claims = Claims(
                    purpose=TokenPurpose.UNSUBSCRIBE,
                    project=project,
                    recipient=recipient,
                    workflow=workflow.key,
                    channel=channel.value,
                )
                return f"{self._url}/unsubscribe/{issue(self._ring, claims)}"
            raise KeyError(name)

        return PersonalLinks(make)

    def headers(self, urls: Mapping[str, str], workflow: Workflow, channel: Channel) -> dict[str, str]:
        """List-Unsubscribe and List-Unsubscribe-Post for e-mail that a person may refuse; RFC 8058 wants https."""
        if channel is not Channel.EMAIL or not self._secure or not refusable(workflow):
            return {}
        url = urls["unsubscribe"]
        if len(url) > _LONGEST_IN_HEADER:
            return {}
        return {"List-Unsubscribe": f"<{url}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


def refusable(workflow: Workflow) -> bool:
    """Whether unsubscribing from it should be offered in the mail program's own place."""
    return workflow.priority is not Priority.critical and not workflow.ignores_opt_out
