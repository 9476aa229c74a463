"""The one event loop of a worker process, in a thread beside Celery's: it lives as long as the process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines of other threads on one loop."""

    def __init__(self) -> None:
        try:
            import uvloop

            self._loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        except ImportError:
            self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="clarion-loop", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], patience: float | None = None) -> T:
        """Waits until the coroutine has ended; raises what it raised, TimeoutError after `patience` s."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(patience)
        except BaseException:
            future.cancel()
            raise

    def end(self) -> None:
        """Stops the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
