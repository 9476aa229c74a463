"""The pytest plug-in: a Clarion of its own for every test that asks for one. Costs nothing where none does.

Fixtures: `clarion_app` (a `ClarionApp`), `clarion_clock`, `clarion_outbox`; override `clarion_settings` for settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # nothing of Clarion is imported before a test asks for it
    from clarion.testing.app import ClarionApp, Sent
    from clarion.testing.clock import SimulatedClock


@pytest.fixture
def clarion_settings() -> dict[str, str]:
    """Settings of `clarion_app`, as environment variables: override it to change them."""
    return {}


@pytest.fixture(scope="session")
def _clarion_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with the schema, to copy from."""
    import asyncio

    from clarion.storage.schema import migrate

    path = tmp_path_factory.mktemp("clarion") / "clarion.db"
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture
def clarion_app(tmp_path: Path, clarion_settings: dict[str, str], _clarion_database: Path) -> Iterator[ClarionApp]:
    """A whole Clarion: a simulated clock, a scripted provider for every channel, a database of its own."""
    import shutil

    from clarion.testing.app import ClarionApp

    folder = tmp_path / "clarion"
    folder.mkdir()
    shutil.copy(_clarion_database, folder / "clarion.db")
    app = ClarionApp(folder, clarion_settings)
    yield app
    app.close()


@pytest.fixture
def clarion_clock(clarion_app: ClarionApp) -> SimulatedClock:
    """The clock of `clarion_app`; `clarion_app.advance` moves it with all that happens on the way."""
    return clarion_app.clock


@pytest.fixture
def clarion_outbox(clarion_app: ClarionApp) -> Callable[[], list[Sent]]:
    """Called, gives what `clarion_app` has sent so far."""
    return clarion_app.sent
