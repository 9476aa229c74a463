"""When a provider is demoted, probed and brought back, as tables."""

from __future__ import annotations

import pytest

from clarion.clock import SECOND
from clarion.deliveries.health import FAULTS, PROBES, HealthPolicy, ProviderState, after_probe, demoted, is_ill
from clarion.limits.interface import Health
from clarion.model.words import OutcomeKind, ProviderStanding

NOW = 1_800_000_000 * SECOND
POLICY = HealthPolicy()
FALLEN = demoted(ProviderState("a"), Health(80, 20), POLICY, NOW)


@pytest.mark.parametrize(
    "accepted,failed,ill",
    [(0, 0, False), (0, 19, False), (0, 20, True), (95, 5, False), (94, 6, True), (949, 51, True), (950, 50, False)],
)
def test_a_provider_is_ill_below_the_rate_with_enough_samples(accepted: int, failed: int, ill: bool) -> None:
    assert is_ill(Health(accepted, failed), POLICY) is ill


def test_the_first_probe_comes_an_interval_after_the_fall() -> None:
    assert (FALLEN.state, FALLEN.probe_at, FALLEN.since) == (ProviderStanding.DEMOTED, NOW + 5 * SECOND, NOW)
    assert (FALLEN.accepted, FALLEN.failed) == (80, 20)


def test_probes_in_a_row_bring_it_back_to_be_counted_anew() -> None:
    state, now = FALLEN, NOW + 5 * SECOND
    for _ in range(PROBES - 1):
        state = after_probe(state, OutcomeKind.ACCEPTED, POLICY, now)
        assert state.state is ProviderStanding.PROBING
        assert state.probe_at == now + SECOND
        now = state.probe_at
    back = after_probe(state, OutcomeKind.ACCEPTED, POLICY, now)
    assert (back.state, back.since) == (ProviderStanding.HEALTHY, now)
    assert back.counted_as != FALLEN.counted_as


@pytest.mark.parametrize("kind", [*sorted(FAULTS), OutcomeKind.THROTTLED])
def test_a_probe_that_fails_begins_the_wait_anew(kind: OutcomeKind) -> None:
    probing = after_probe(FALLEN, OutcomeKind.ACCEPTED, POLICY, NOW)
    again = after_probe(probing, kind, POLICY, NOW)
    assert (again.state, again.probes, again.probe_at) == (ProviderStanding.DEMOTED, 0, NOW + 5 * SECOND)


@pytest.mark.parametrize("kind", [OutcomeKind.BAD_ADDRESS, OutcomeKind.OPTED_OUT, OutcomeKind.REFUSED])
def test_a_probe_that_tells_nothing_is_due_again(kind: OutcomeKind) -> None:
    assert after_probe(FALLEN, kind, POLICY, NOW + 9) == FALLEN._replace(probe_at=NOW + 9)
