from __future__ import annotations

import pytest

from clarion.clock import DAY, HOUR, MINUTE
from clarion.deliveries.endpoints import Failing, after_failure


def days_of(*failures: int) -> float:
    """How long an endpoint counts as failing after failures at these instants (ms)."""
    standing: Failing | None = None
    for at in failures:
        standing = after_failure(standing, at)
    assert standing is not None
    return (standing.last_at - standing.first_at) / DAY


@pytest.mark.parametrize(
    "failures,days",
    [
        ([0], 0),
        ([0, MINUTE, 2 * MINUTE], 2 * MINUTE / DAY),  # one delivery and its retries
        ([n * 12 * HOUR for n in range(11)], 5),
        ([0, 6 * DAY], 0),  # a quiet week between: nothing was shown
        ([0, DAY, 3 * DAY, 4 * DAY], 1),
    ],
)
def test_only_failures_that_follow_one_another_within_a_day_add_up(failures: list[int], days: float) -> None:
    assert days_of(*failures) == days
