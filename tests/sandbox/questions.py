"""What children are asked in tests."""

from __future__ import annotations

import os
import signal

from clarion.sandbox.child import at


def twice(value: int) -> dict[str, int]:
    return {"twice": 2 * value}


def for_ever() -> None:
    at("the endless part")
    while True:
        pass


def for_ever_in_c() -> int:
    at("the part in C")
    return sum(range(1 << 50))


def dies() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def takes_memory() -> int:
    return len(bytes(3 << 30))


def says_its_environment() -> list[str]:
    return sorted(os.environ)
