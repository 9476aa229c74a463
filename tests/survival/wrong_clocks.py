"""Clocks of machines that are wrong, by Debian's faketime: a process under it sees another time, and may see it leap.

Its ticks (CLOCK_MONOTONIC, CLOCK_BOOTTIME) stay those of the machine, as when somebody sets a real clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.conftest import missing
from tests.servers import PostgreSQL


def _library() -> Path:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        missing("no libfaketime: apt-get install faketime")
    return found[0]


class WrongClock:
    """A machine's clock, ahead of the real one by so many seconds, which `set` changes while processes run."""

    def __init__(self, file: Path, ahead: float = 0) -> None:
        self._file = file
        self._library = _library()
        self.set(ahead)

    def set(self, ahead: float) -> None:
        """Whoever runs by it sees it within a moment."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{ahead:+.3f}")
        fresh.rename(self._file)

    @property
    def environment(self) -> dict[str, str]:
        """For a process that is to run by it."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            # Else a thread that waits for the interpreter's lock (CLOCK_MONOTONIC) is woken at once and asks again:
            # hundreds of times as often as without faketime, at any offset, and a worker does a tenth of its work.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }


class ClockedPostgreSQL(PostgreSQL):
    """A PostgreSQL on a machine with such a clock."""

    def __init__(self, folder: Path, clock: WrongClock) -> None:
        super().__init__(folder)
        self._clock = clock

    def command(self) -> Sequence[str | Path]:
        return [
            "/usr/bin/env",
            *(f"{name}={value}" for name, value in self._clock.environment.items()),
            *super().command(),
        ]
