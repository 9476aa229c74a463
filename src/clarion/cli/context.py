"""What every command has: the settings in force, and an opened application to work with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path

from clarion.bootstrap import Clarion
from clarion.security import logs
from clarion.settings import Settings, load


class Context:
    """Loads the settings when they are first asked for, so that `--help` needs none."""

    def __init__(self, config: Path | None, environment: Mapping[str, str]) -> None:
        self.config, self._environment = config, environment

    @cached_property
    def settings(self) -> Settings:
        """The settings. Raises Misconfigured."""
        return load(self.config, self._environment)

    @asynccontextmanager
    async def clarion(self) -> AsyncIterator[Clarion]:
        """The application without its engine: what it stores, a running server takes up."""
        logs.set_up(self.settings.log.level, self.settings.log.format)
        opened = await Clarion.open(self.settings)
        try:
            yield opened
        finally:
            await opened.close()
