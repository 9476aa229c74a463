from __future__ import annotations

import pytest

from clarion.clock import HOUR
from clarion.model.rhythm import rhythm
from clarion.model.workflow import Digest


@pytest.mark.parametrize(
    "text, digest",
    [
        ("at_once", None),
        ("hourly", Digest(mode="fixed", window=HOUR)),
        ("daily at 9:00", Digest(mode="calendar", at=(540,))),
        ("daily at 09:05", Digest(mode="calendar", at=(545,))),
        ("daily at 23:59", Digest(mode="calendar", at=(1439,))),
    ],
)
def test_a_rhythm_says_how_messages_are_gathered(text: str, digest: Digest | None) -> None:
    assert rhythm(text) == digest


@pytest.mark.parametrize(
    "text", ["", "daily", "daily at 24:00", "daily at 9:60", "daily at 9", "weekly", "HOURLY", "daily at ٩:٠٠"]
)
def test_any_other_text_is_refused_with_the_words_that_there_are(text: str) -> None:
    with pytest.raises(ValueError, match='"at_once", "hourly" or "daily at 9:00"'):
        rhythm(text)
