"""The personal links of a message: preferences and one-click unsubscribe (RFC 8058)."""

from __future__ import annotations

from collections.abc import Mapping

from clarion.model.words import Channel
from clarion.model.workflow import Workflow
from clarion.security.encryption import KeyRing


class Links:
    """Makes links under the server's public URL."""

    def __init__(self, url: str, ring: KeyRing) -> None:
        self._url, self._ring = url, ring

    def urls(self, project: int, recipient: str, workflow: Workflow, channel: Channel) -> dict[str, str]:
        """What templates see as `urls`."""
        return {}

    def headers(self, urls: Mapping[str, str], workflow: Workflow, channel: Channel) -> dict[str, str]:
        """List-Unsubscribe and List-Unsubscribe-Post for e-mail that a person may refuse."""
        return {}
