"""The one place that reads time zone files: those of the pinned `tzdata` wheel, never the system's.

The system's files and the wheel can differ by years of law (Vancouver, Edmonton, Casablanca); a decision must come out
the same on every machine.
"""

from __future__ import annotations

import zoneinfo
from functools import cache
from importlib import metadata, resources
from zoneinfo import ZoneInfo


@cache
def names() -> frozenset[str]:
    """Every IANA name that the wheel knows; `Factory` isn't one, it stands for a machine never set up."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text("utf-8").split()) - {"Factory"}


def is_zone(name: str) -> bool:
    """Whether `name` is the IANA name of a time zone, as spelt there."""
    return name in names()


@cache
def zone(name: str) -> ZoneInfo:
    """The time zone of that IANA name. Raises ValueError for any other."""
    if not is_zone(name):
        raise ValueError(f"{name!r} is not a time zone: say its IANA name, for example Europe/Berlin")
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def first_known(*candidates: str | None) -> str:
    """The first of `candidates` that names a time zone, else UTC: a stored name may be gone from a later release."""
    for name in candidates:
        if name is not None and is_zone(name):
            return name
    return "UTC"


def pin() -> None:
    """Makes the rest of the process (`zoneinfo.ZoneInfo(name)` in any library) read the same files."""
    zoneinfo.reset_tzpath(to=())
    ZoneInfo.clear_cache()


def tzdata_version() -> str:
    """The release of the time zone files in use, for example 2026.6."""
    return metadata.version("tzdata")
