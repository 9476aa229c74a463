"""The packed form itself; what it answers is held to the oracle by the contract suite."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clarion.limits import rolling
from clarion.limits.rolling import DAY, ENTRY, HOUR, MOST_UNLIMITED, Send

SENDS = st.lists(st.builds(Send, st.integers(0, 2**32 - 1), st.binary(min_size=4, max_size=4)))


def _id(number: int) -> bytes:
    return number.to_bytes(16, "big")


@given(sends=SENDS)
def test_what_is_packed_is_unpacked_in_the_order_of_time(sends: list[Send]) -> None:
    packed = rolling.pack(sends)
    assert len(packed) == ENTRY * len(sends)
    assert rolling.unpack(packed) == sorted(sends)


@given(stamps=st.lists(st.integers(DAY, DAY + HOUR), max_size=30))
def test_sends_in_any_order_of_their_stamps_are_kept_in_the_order_of_time(stamps: list[int]) -> None:
    packed = b""
    for number, second in enumerate(stamps):
        packed = rolling.add(packed, second * 1000, _id(number), None, 100)
    assert [send.second for send in rolling.unpack(packed)] == sorted(stamps)


def test_an_owner_is_found_at_its_place_only() -> None:
    # Given a stamp and a mark whose bytes together look like another mark
    packed = rolling.pack([Send(0x01020304, b"\x05\x06\x07\x08"), Send(0x090A0B0C, b"\x01\x02\x03\x04")])
    # Then
    assert rolling.remove(packed, b"\x03\x04\x05\x06") == packed
    assert rolling.unpack(rolling.remove(packed, b"\x01\x02\x03\x04")) == [Send(0x01020304, b"\x05\x06\x07\x08")]
    assert rolling.remove(packed, b"\x09\x0a\x0b\x0c") == packed


def test_a_capped_counter_never_holds_more_than_a_days_cap() -> None:
    packed, now = b"", 10 * DAY * 1000
    for turn in range(200):
        if rolling.fits(packed, now, None, 20) is None:
            packed = rolling.add(packed, now, _id(turn), None, 20)
        now += 3 * HOUR * 1000 if turn % 2 else 1000
        assert len(packed) <= 20 * ENTRY


def test_an_unlimited_counter_keeps_its_newest_sends() -> None:
    packed = b""
    for second in range(MOST_UNLIMITED + 5):
        packed = rolling.add(packed, (DAY + second) * 1000, _id(second), None, None)
    sends = rolling.unpack(packed)
    assert (len(sends), sends[0].second, sends[-1].second) == (MOST_UNLIMITED, DAY + 5, DAY + MOST_UNLIMITED + 4)


def test_what_is_older_than_a_day_is_dropped_but_for_what_the_cap_may_look_at() -> None:
    packed = b""
    for second in (DAY, DAY + 1, DAY + 2):
        packed = rolling.add(packed, second * 1000, _id(second), 5, None)
    # When
    packed = rolling.add(packed, (2 * DAY + 1) * 1000, _id(0), 5, None)
    # Then
    assert [send.second for send in rolling.unpack(packed)] == [DAY + 2, 2 * DAY + 1]
