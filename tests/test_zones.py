from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from clarion import zones

WINTER = datetime(2027, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def unpinned() -> Iterator[None]:
    yield
    zoneinfo.reset_tzpath()
    zoneinfo.ZoneInfo.clear_cache()


def test_zones_come_from_the_wheel_and_not_from_the_system() -> None:
    # Given that Vancouver keeps -7 all winter in the pinned files, and not in older ones
    assert WINTER.astimezone(zones.zone("America/Vancouver")).utcoffset() == timedelta(hours=-7)


def test_every_name_of_the_wheel_is_a_zone() -> None:
    assert len(zones.names()) > 500
    for name in zones.names():
        assert zones.zone(name).key == name


@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "", "europe/berlin", "../zones", "Europe", "Factory", "/etc/passwd", "__init__.py"]
)
def test_anything_else_is_refused(name: str) -> None:
    assert not zones.is_zone(name)
    with pytest.raises(ValueError, match="IANA name"):
        zones.zone(name)


def test_the_first_known_zone_is_taken_else_utc() -> None:
    assert zones.first_known(None, "Mars/Olympus", "Asia/Tokyo", "Europe/Berlin") == "Asia/Tokyo"
    assert zones.first_known(None) == "UTC"


def test_pinning_makes_the_rest_of_the_process_read_the_same_files(unpinned: None) -> None:
    zones.pin()
    assert zoneinfo.TZPATH == ()
    assert WINTER.astimezone(zoneinfo.ZoneInfo("America/Edmonton")).utcoffset() == timedelta(hours=-6)


def test_the_release_of_the_files_is_known() -> None:
    assert zones.tzdata_version() >= "2026.6"
