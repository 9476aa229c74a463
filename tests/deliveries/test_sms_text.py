from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.deliveries.sms_text import GSM7, UCS2, keyword_in, measure
from clarion.model.words import ReceiptEvent


@pytest.mark.parametrize(
    "text,segments,encoding,units,forced_by",
    [
        ("", 0, GSM7, 0, None),
        ("Grace replied", 1, GSM7, 13, None),
        ("a" * 160, 1, GSM7, 160, None),
        ("a" * 161, 2, GSM7, 161, None),
        ("a" * 306, 2, GSM7, 306, None),
        ("a" * 307, 3, GSM7, 307, None),
        ("€" * 80, 1, GSM7, 160, None),  # an escape and a character each
        ("€" * 81, 2, GSM7, 162, None),
        ("€" * 153, 3, GSM7, 306, None),  # would fit into two, with one of them torn apart
        ("Grüße aus Ålesund, £5 für dich? ¡Sí!", 1, UCS2, 36, "í"),
        ("àèéìòù ÄÖÜäöüß ÇØøÅåÆæÉÑñ @$¥§¿¡£ ΔΦΓΛΩΠΨΣΘΞ", 1, GSM7, 44, None),
        ("ç", 1, UCS2, 1, "ç"),  # the table has the capital only
        ("`", 1, UCS2, 1, "`"),
        ("it’s", 1, UCS2, 4, "’"),
        ("я" * 70, 1, UCS2, 70, "я"),
        ("я" * 71, 2, UCS2, 71, "я"),
        ("я" * 134, 2, UCS2, 134, "я"),
        ("👍" * 35, 1, UCS2, 70, "👍"),
        ("👍" * 36, 2, UCS2, 72, "👍"),
        ("👍" * 67, 3, UCS2, 134, "👍"),  # 33 to a segment: a pair isn't torn apart
    ],
)
def test_segments_are_counted_as_the_network_counts_them(
    text: str, segments: int, encoding: str, units: int, forced_by: str | None
) -> None:
    found = measure(text)
    assert (found.segments, found.encoding, found.units, found.forced_by) == (segments, encoding, units, forced_by)


@given(st.text(max_size=400))
def test_any_text_is_measured_and_never_comes_out_smaller_than_it_is(text: str) -> None:
    found = measure(text)
    each = 153 if found.encoding == GSM7 else 67
    assert found.units >= len(text)
    assert found.segments * each >= found.units or found.segments == 1
    assert (found.forced_by is None) == (found.encoding == GSM7)


@pytest.mark.parametrize(
    "text,event",
    [
        ("STOP", ReceiptEvent.UNSUBSCRIBED),
        (" stop.\n", ReceiptEvent.UNSUBSCRIBED),
        ('"Stop"', ReceiptEvent.UNSUBSCRIBED),
        ("unsubscribe", ReceiptEvent.UNSUBSCRIBED),
        ("Start", ReceiptEvent.RESUBSCRIBED),
        ("UNSTOP", ReceiptEvent.RESUBSCRIBED),
        ("help", ReceiptEvent.HELP),
        ("please don't stop", None),
        ("stop please", None),
        ("yes", None),  # answers other questions too
        ("", None),
    ],
)
def test_only_a_keyword_alone_is_one(text: str, event: ReceiptEvent | None) -> None:
    assert keyword_in(text) == event
